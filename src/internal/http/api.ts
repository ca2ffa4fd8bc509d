/** The interface, as a definition: what the server answers by, what clients are made from, and what is documented. */
import * as Effect from "effect/Effect"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import type * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { ErrorBody } from "./errors.ts"

type Answer = Effect.Effect<HttpServerResponse, never, Scope.Scope>

/** What a request that runs a flow says of it. */
export interface Asked {
  readonly traceId?: string | undefined
  readonly tenant?: string | undefined
  readonly topic?: string | undefined
  /** Milliseconds. */
  readonly deadline?: number | undefined
}

/** What a request that enqueues says of the job. Durations are milliseconds. */
export interface AskedJob {
  readonly id?: string | undefined
  readonly tenant?: string | undefined
  readonly topic?: string | undefined
  readonly delay?: number | undefined
  readonly priority?: number | undefined
  readonly maxAttempts?: number | undefined
  readonly timeout?: number | undefined
}

/** Which jobs a request means. */
export interface AskedJobs {
  readonly state?: "queued" | "running" | "done" | "dead" | "cancelled" | undefined
  readonly flow?: string | undefined
  readonly tenant?: string | undefined
  readonly after?: number | undefined
  readonly limit?: number | undefined
}

/** Which traces a request means. */
export interface AskedTraces {
  readonly flow?: string | undefined
  readonly tenant?: string | undefined
  readonly status?: "running" | "succeeded" | "failed" | "cancelled" | undefined
  readonly from?: number | undefined
  readonly until?: number | undefined
  readonly limit?: number | undefined
}

/** What answers each endpoint. */
export interface Endpoints {
  readonly flows: {
    readonly list: () => Answer
    readonly diagram: (flow: string, format: "svg" | "mermaid" | "dot" | undefined) => Answer
    readonly run: (flow: string, asked: Asked, request: HttpServerRequest) => Answer
    readonly stream: (flow: string, asked: Asked, detach: boolean, request: HttpServerRequest) => Answer
    readonly enqueue: (flow: string, asked: AskedJob, request: HttpServerRequest) => Answer
    readonly resume: (traceId: string, request: HttpServerRequest) => Answer
  }
  readonly jobs: {
    readonly list: (asked: AskedJobs) => Answer
    readonly get: (id: string) => Answer
    readonly purge: (id: string) => Answer
    readonly cancel: (id: string) => Answer
    readonly retry: (id: string) => Answer
  }
  readonly traces: {
    readonly list: (asked: AskedTraces) => Answer
    readonly get: (id: string, flow: string | undefined) => Answer
    readonly cancel: (id: string, flow: string | undefined, request: HttpServerRequest) => Answer
    readonly replay: (id: string, flow: string | undefined) => Answer
  }
  readonly migrations: {
    readonly list: () => Answer
    readonly report: (name: string) => Answer
  }
  readonly server: {
    readonly events: (flow: string | undefined, request: HttpServerRequest) => Answer
    readonly health: () => Answer
    readonly ready: () => Answer
    readonly metrics: () => Answer
  }
}

/** The definition, without the types of its endpoints: they fill pages. */
export interface Api extends HttpApi.HttpApi<"penguiflow", HttpApiGroup.Top> {}

/** The definition. */
export const api = (): Api => definition as unknown as Api

/** The routes of the definition, or of the same with other annotations, and of its OpenAPI document. */
export const routesOf = (
  described: Api,
  { flows, jobs, migrations, server, traces }: Endpoints
): Layer.Layer<never, never, HttpRouter.HttpRouter> => {
  const groups = Layer.mergeAll(
    HttpApiBuilder.group(definition, "flows", (handlers) =>
      handlers
        .handleRaw("list", flows.list)
        .handleRaw("diagram", ({ params, query }) => flows.diagram(params.flow, query.format))
        .handleRaw("run", ({ params, query, request }) => flows.run(params.flow, query, request))
        .handleRaw(
          "stream",
          ({ params, query, request }) => flows.stream(params.flow, query, query.detach === "true", request)
        )
        .handleRaw("enqueue", ({ params, query, request }) => flows.enqueue(params.flow, query, request))
        .handleRaw("resume", ({ params, request }) => flows.resume(params.id, request))),
    HttpApiBuilder.group(definition, "jobs", (handlers) =>
      handlers
        .handleRaw("list", ({ query }) => jobs.list(query))
        .handleRaw("get", ({ params }) => jobs.get(params.id))
        .handleRaw("purge", ({ params }) => jobs.purge(params.id))
        .handleRaw("cancel", ({ params }) => jobs.cancel(params.id))
        .handleRaw("retry", ({ params }) => jobs.retry(params.id))),
    HttpApiBuilder.group(definition, "traces", (handlers) =>
      handlers
        .handleRaw("list", ({ query }) => traces.list(query))
        .handleRaw("get", ({ params, query }) => traces.get(params.id, query.flow))
        .handleRaw("cancel", ({ params, query, request }) => traces.cancel(params.id, query.flow, request))
        .handleRaw("replay", ({ params, query }) => traces.replay(params.id, query.flow))),
    HttpApiBuilder.group(definition, "migrations", (handlers) =>
      handlers
        .handleRaw("list", migrations.list)
        .handleRaw("report", ({ params }) => migrations.report(params.id))),
    HttpApiBuilder.group(definition, "server", (handlers) =>
      handlers
        .handleRaw("events", ({ query, request }) => server.events(query.flow, request))
        .handleRaw("health", server.health)
        .handleRaw("ready", server.ready)
        .handleRaw("metrics", server.metrics))
  )
  // Annotations leave a definition what it was.
  return HttpApiBuilder.layer(described as unknown as typeof definition, { openapiPath: "/openapi.json" }).pipe(
    Layer.provide(groups),
    Layer.provide(HttpServer.layerServices)
  )
}

/** What a client sends: an answer, whatever its status is, or why there is none. */
export interface Requests {
  readonly run: (flow: string, asked: Asked, body: Schema.Json) => Requested
  readonly stream: (flow: string, asked: Asked, body: Schema.Json) => Requested
  readonly enqueue: (flow: string, asked: AskedJob, body: Schema.Json) => Requested
  readonly job: (id: string) => Requested
  readonly cancel: (traceId: string, flow: string | undefined) => Requested
}

type Requested = Effect.Effect<HttpClientResponse, unknown>

/** The definition's client, by which requests are made as the definition says. */
export const requestsTo = (
  baseUrl: string,
  token: string | undefined
): Effect.Effect<Requests, never, HttpClient.HttpClient> =>
  Effect.map(
    HttpApiClient.make(definition, {
      baseUrl,
      transformClient: token === undefined ? undefined : HttpClient.mapRequest(HttpClientRequest.bearerToken(token))
    }),
    ({ flows, jobs, traces }): Requests => {
      const responseMode = "response-only"
      return {
        run: (flow, query, payload) => flows.run({ params: { flow }, query: said(query), payload, responseMode }),
        stream: (flow, query, payload) => flows.stream({ params: { flow }, query: said(query), payload, responseMode }),
        enqueue: (flow, query, payload) =>
          flows.enqueue({ params: { flow }, query: said(query), payload, responseMode }),
        job: (id) => jobs.get({ params: { id }, responseMode }),
        cancel: (id, flow) => traces.cancel({ params: { id }, query: said({ flow }), responseMode })
      }
    }
  )

// ----------------------------------------------------------------------------------------------------------- internals

/** Without what nothing is said of. */
const said = <A extends object>(query: A): { readonly [K in keyof A]: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined)) as {
    readonly [K in keyof A]: Exclude<A[K], undefined>
  }

const errors = (...statuses: ReadonlyArray<number>) =>
  [...new Set([...statuses, 400, 401, 403, 500, 503])].toSorted((a, b) => a - b).map((status) =>
    ErrorBody.pipe(HttpApiSchema.status(status))
  )

const text = Schema.optionalKey(Schema.String)
const number = Schema.optionalKey(Schema.FiniteFromString)
const flow = { flow: Schema.String }
const id = { id: Schema.String }

/** What a request that runs a flow may say. Durations are milliseconds. */
const runQuery = { traceId: text, tenant: text, topic: text, deadline: number }
const sse = Schema.String.pipe(HttpApiSchema.asText({ contentType: "text/event-stream" }))

const about = (summary: string) => OpenApi.annotations({ summary })

const flows = HttpApiGroup.make("flows")
  .add(
    HttpApiEndpoint.get("list", "/api/flows", { success: Schema.Json, error: errors() })
      .annotateMerge(about("The flows that are served, and what else there is")),
    HttpApiEndpoint.get("diagram", "/api/flows/:flow/diagram", {
      params: flow,
      query: { format: Schema.optionalKey(Schema.Literals(["svg", "mermaid", "dot"])) },
      success: Schema.String.pipe(HttpApiSchema.asText({ contentType: "image/svg+xml" })),
      error: errors(404)
    }).annotateMerge(about("A flow, drawn")),
    HttpApiEndpoint.post("run", "/api/flows/:flow/run", {
      params: flow,
      query: runQuery,
      payload: Schema.Json,
      success: Schema.Struct({ traceId: Schema.String, results: Schema.Array(Schema.Json) }),
      error: errors(404, 408, 409, 413, 415, 422, 429, 499, 504)
    }).annotateMerge(about("Runs a message to its results; leaving cancels it")),
    HttpApiEndpoint.post("stream", "/api/flows/:flow/stream", {
      params: flow,
      query: { ...runQuery, detach: Schema.optionalKey(Schema.Literals(["true", "false"])) },
      payload: Schema.Json,
      success: sse,
      error: errors(404, 408, 409, 413, 415, 429)
    }).annotateMerge(about("Runs a message, and sends its parts and results as they come")),
    HttpApiEndpoint.post("enqueue", "/api/flows/:flow/jobs", {
      params: flow,
      query: {
        id: text,
        tenant: text,
        topic: text,
        delay: number,
        priority: number,
        maxAttempts: number,
        timeout: number
      },
      payload: Schema.Json,
      success: Schema.Struct(id).pipe(HttpApiSchema.status(202)),
      error: errors(404, 408, 409, 413, 415, 429)
    }).annotateMerge(about("Stores a job: once this has answered, it will be run")),
    HttpApiEndpoint.get("resume", "/api/streams/:id", { params: id, success: sse, error: errors(404, 429) })
      .annotateMerge(about("Goes on reading a detached stream, from `Last-Event-ID`"))
  )

const jobs = HttpApiGroup.make("jobs")
  .add(
    HttpApiEndpoint.get("list", "/api/jobs", {
      query: {
        state: Schema.optionalKey(Schema.Literals(["queued", "running", "done", "dead", "cancelled"])),
        flow: text,
        tenant: text,
        after: number,
        limit: number
      },
      success: Schema.Json,
      error: errors(404)
    }).annotateMerge(about("Jobs, in the order in which they came, and how many there are")),
    HttpApiEndpoint.get("get", "/api/jobs/:id", { params: id, success: Schema.Json, error: errors(404) })
      .annotateMerge(about("A job as it stands")),
    HttpApiEndpoint.delete("purge", "/api/jobs/:id", {
      params: id,
      success: Schema.Struct({ purged: Schema.Number }),
      error: errors(404)
    }).annotateMerge(about("Forgets a job that does not run")),
    HttpApiEndpoint.post("cancel", "/api/jobs/:id/cancel", {
      params: id,
      success: Schema.Struct({ cancelled: Schema.Boolean }),
      error: errors(404)
    }).annotateMerge(about("Ends a job")),
    HttpApiEndpoint.post("retry", "/api/jobs/:id/retry", {
      params: id,
      success: Schema.Struct({ requeued: Schema.Number }),
      error: errors(404)
    }).annotateMerge(about("Lets a dead or cancelled job wait again"))
  )

const traces = HttpApiGroup.make("traces")
  .add(
    HttpApiEndpoint.get("list", "/api/traces", {
      query: {
        flow: text,
        tenant: text,
        status: Schema.optionalKey(Schema.Literals(["running", "succeeded", "failed", "cancelled"])),
        from: number,
        until: number,
        limit: number
      },
      success: Schema.Json,
      error: errors(404)
    }).annotateMerge(about("Traces that are kept, the newest first")),
    HttpApiEndpoint.get("get", "/api/traces/:id", {
      params: id,
      query: { flow: text },
      success: Schema.Json,
      error: errors(404)
    }).annotateMerge(about("A trace and its events")),
    HttpApiEndpoint.post("cancel", "/api/traces/:id/cancel", {
      params: id,
      query: { flow: text },
      success: Schema.Struct({ cancelled: Schema.Boolean }),
      error: errors(404)
    }).annotateMerge(about("Cancels a trace; answers once its finalizers have run")),
    HttpApiEndpoint.post("replay", "/api/traces/:id/replay", {
      params: id,
      query: { flow: text },
      success: Schema.Json,
      error: errors(404, 409)
    }).annotateMerge(about("Runs a kept input again, and compares"))
  )

const migrations = HttpApiGroup.make("migrations")
  .add(
    HttpApiEndpoint.get("list", "/api/migrations", { success: Schema.Json, error: errors() })
      .annotateMerge(about("The migrations whose reports are served")),
    HttpApiEndpoint.get("report", "/api/migrations/:id", { params: id, success: Schema.Json, error: errors(404) })
      .annotateMerge(about("What is known of a migration"))
  )

const server = HttpApiGroup.make("server")
  .add(
    HttpApiEndpoint.get("events", "/api/events", { query: { flow: text }, success: sse, error: errors(429) })
      .annotateMerge(about("What happens: a snapshot first, then each event")),
    HttpApiEndpoint.get("health", "/healthz", { success: Schema.Struct({ status: Schema.Literal("ok") }) })
      .annotateMerge(about("That the process answers")),
    HttpApiEndpoint.get("ready", "/readyz", {
      success: Schema.Struct({ status: Schema.Literal("ready") }),
      error: Schema.Struct({ status: Schema.Literals(["not ready", "draining"]) }).pipe(HttpApiSchema.status(503))
    }).annotateMerge(about("That it takes work")),
    HttpApiEndpoint.get("metrics", "/metrics", {
      success: Schema.String.pipe(HttpApiSchema.asText()),
      error: errors()
    }).annotateMerge(about("All metrics, as Prometheus' text"))
  )

const definition = HttpApi.make("penguiflow").add(flows).add(jobs).add(traces).add(migrations).add(server)
