/** Who answers what: the definition's endpoints, and the pages that are no part of it. */
import * as Effect from "effect/Effect"
import * as HttpApiSwagger from "effect/http-api/HttpApiSwagger"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Response from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import { json } from "./answers.ts"
import { type Api, api, type Endpoints, routesOf } from "./api.ts"
import { type Assets, assets } from "./assets.ts"
import { type Refusal, toResponse } from "./errors.ts"
import { events } from "./events.ts"
import * as Flows from "./flows.ts"
import type { Hosting } from "./hosting.ts"
import * as Jobs from "./jobs.ts"
import * as Migrations from "./migrations.ts"
import { documented } from "./openapi.ts"
import { lastEventId } from "./sse.ts"
import * as Traces from "./traces.ts"

/** The routes of a server, for the router in the context. */
export const routes = (hosting: Hosting, secured: boolean): Layer.Layer<never, never, HttpRouter.HttpRouter> => {
  const described = documented([...hosting.flows.values()], { version: hosting.settings.version, secured })
  return Layer.merge(routesOf(described, endpointsOf(hosting)), pages(described))
}

/** Every path that is answered, with its methods: for those that are asked with another one. */
export const methodsOf = (path: string): ReadonlyArray<string> =>
  table.flatMap(({ method, pattern }) => pattern.test(path) ? method === "GET" ? ["GET", "HEAD"] : [method] : [])

// ----------------------------------------------------------------------------------------------------------- internals

const pagePaths = ["/", "/assets/app.js", "/assets/app.css", "/assets/icon.svg", "/openapi.json", "/docs"]

const table: ReadonlyArray<{ readonly method: string; readonly pattern: RegExp }> = [
  ...Object.values(api().groups).flatMap((group) =>
    Object.values(group.endpoints).map(({ method, path }) => ({
      method,
      pattern: new RegExp(`^${path.replaceAll(/:\w+/g, "[^/]+")}$`)
    }))
  ),
  ...pagePaths.map((path) => ({ method: "GET", pattern: new RegExp(`^${path.replaceAll(".", "\\.")}$`) }))
]

/** A refusal is an answer like any other. */
const answered = <R>(
  answer: Effect.Effect<Response.HttpServerResponse, Refusal, R>
): Effect.Effect<Response.HttpServerResponse, never, R> =>
  Effect.catch(answer, (refused) => Effect.succeed(toResponse(refused)))

const endpointsOf = (hosting: Hosting): Endpoints => ({
  flows: {
    list: () => answered(Flows.list(hosting)),
    diagram: (flow, format) => answered(Flows.diagram(hosting, flow, format)),
    run: (flow, asked, request) => answered(Flows.run(hosting, flow, asked, request)),
    stream: (flow, asked, detach, request) => answered(Flows.stream(hosting, flow, asked, detach, request)),
    enqueue: (flow, asked, request) => answered(Flows.enqueue(hosting, flow, asked, request)),
    resume: (traceId, request) => answered(hosting.streams.resume(traceId, lastEventId(request)))
  },
  jobs: {
    list: (asked) => answered(Jobs.list(hosting, asked)),
    get: (id) => answered(Jobs.get(hosting, id)),
    purge: (id) => answered(Jobs.purge(hosting, id)),
    cancel: (id) => answered(Jobs.cancel(hosting, id)),
    retry: (id) => answered(Jobs.retry(hosting, id))
  },
  traces: {
    list: (asked) => answered(Traces.list(hosting, asked)),
    get: (id, flow) => answered(Traces.get(hosting, id, flow)),
    cancel: (id, flow, request) => answered(Traces.cancel(hosting, id, flow, request)),
    replay: (id, flow) => answered(Traces.replay(hosting, id, flow))
  },
  migrations: {
    list: () => answered(Migrations.list(hosting)),
    report: (name) => answered(Migrations.report(hosting, name))
  },
  server: {
    events: (flow, request) => answered(events(hosting, flow, lastEventId(request))),
    health: () => answered(json({ status: "ok" })),
    ready: () => answered(readiness(hosting)),
    metrics: () =>
      Effect.map(
        PrometheusMetrics.format(),
        (text) => Response.text(text, { contentType: "text/plain; version=0.0.4; charset=utf-8" })
      )
  }
})

const readiness = ({ phase }: Hosting) =>
  phase === "ready"
    ? json({ status: "ready" })
    : json({ status: phase === "starting" ? "not ready" : "draining" }, 503, { "retry-after": "5" })

/** What the page of the documentation may do: it brings everything along, inline. */
const docsPolicy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; " +
  "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"

const pages = (described: Api): Layer.Layer<never, never, HttpRouter.HttpRouter> =>
  HttpRouter.use(Effect.fnUntraced(function*(router) {
    // Read when first asked for, and once.
    const loaded = yield* Effect.cached(assets)
    const page = (which: keyof Assets) => Effect.map(loaded, (all) => all[which])
    yield* router.add("GET", "/", page("page"))
    yield* router.add("GET", "/assets/app.js", page("script"))
    yield* router.add("GET", "/assets/app.css", page("style"))
    yield* router.add("GET", "/assets/icon.svg", page("icon"))
    const docs = yield* Effect.cached(docsOf(described))
    yield* router.add("GET", "/docs", Effect.flatten(docs))
  }))

/** Two megabytes of script: loaded when somebody reads the documentation. */
const docsOf = (described: Api) =>
  Effect.scoped(Effect.gen(function*() {
    const router = yield* HttpRouter.make
    yield* Layer.build(
      Layer.provide(HttpApiSwagger.layer(described), Layer.succeed(HttpRouter.HttpRouter, router))
    )
    return Effect.map(Effect.orDie(router.asHttpEffect()), (response) =>
      Response.setHeader(response, "content-security-policy", docsPolicy))
  }))
