/** Endpoints of flows: what there is, and one message run, streamed or stored. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Response from "effect/http/HttpServerResponse"
import * as HttpTraceContext from "effect/http/HttpTraceContext"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { Any } from "../../Flow.ts"
import type { RunOptions } from "../../FlowRuntime.ts"
import { flowOf, json } from "./answers.ts"
import type { Asked, AskedJob } from "./api.ts"
import { jsonBody } from "./body.ts"
import { ofJob, ofTrace, pathIn, Refusal, refusal } from "./errors.ts"
import type { Hosting } from "./hosting.ts"
import type { Running } from "./running.ts"

type Answer = Effect.Effect<Response.HttpServerResponse, Refusal>

/** `GET /api/flows` */
export const list = (hosting: Hosting): Answer => {
  const jobs = Option.isSome(hosting.queue)
  const traces = Option.isSome(hosting.store)
  const { migrations, version } = hosting.settings
  return json({
    flows: [...hosting.flows.values()].map(({ name, nodes, schemas }) => ({
      name,
      input: schemas.input ?? null,
      nodes,
      jobs
    })),
    features: {
      jobs,
      traces,
      replay: traces,
      migrations: Option.isSome(hosting.reports) && migrations.length > 0
    },
    ...(version === undefined ? {} : { version })
  })
}

/** A large flow takes seconds to lay out, and is always the same picture. */
const svgs = new WeakMap<Any, string>()
const svgOf = (flow: Any, draw: (flow: Any) => string): string => {
  const known = svgs.get(flow)
  if (known !== undefined) return known
  const svg = draw(flow)
  svgs.set(flow, svg)
  return svg
}

/** `GET /api/flows/:flow/diagram` */
export const diagram = (hosting: Hosting, name: string, format: "svg" | "mermaid" | "dot" = "svg"): Answer =>
  Effect.gen(function*() {
    const { flow } = yield* flowOf(hosting, name)
    // Loaded when somebody looks: a server whose flows nobody draws needs no layout library.
    const diagrams = yield* Effect.promise(() => import("../../FlowDiagram.ts"))
    switch (format) {
      case "svg":
        return Response.text(svgOf(flow, diagrams.toSvg), { contentType: "image/svg+xml; charset=utf-8" })
      case "mermaid":
        return Response.text(diagrams.toMermaid(flow), { contentType: "text/vnd.mermaid; charset=utf-8" })
      case "dot":
        return Response.text(diagrams.toGraphViz(flow), { contentType: "text/vnd.graphviz; charset=utf-8" })
    }
  })

/** `POST /api/flows/:flow/run` */
export const run = (hosting: Hosting, name: string, asked: Asked, request: HttpServerRequest): Answer =>
  Effect.gen(function*() {
    const running = yield* flowOf(hosting, name)
    yield* takesWork(hosting, running)
    const options = yield* optionsOf(hosting, asked)
    const input = yield* inputOf(hosting, running, request)
    const { traceId } = options
    const given = yield* Effect.catchCause(
      continued(request, running.runtime.runAll(input, options)),
      (cause) => Effect.fail(ofTrace(cause, { ...running, traceId }))
    )
    const results: Array<unknown> = []
    for (const result of given) {
      const encoded = running.codecs.encodeResult(result)
      if (encoded._tag === "Failure") {
        return yield* Effect.fail(
          refusal(500, "UNWRITABLE_RESULT", "What the flow gave can't be written as JSON by its schema", { traceId })
        )
      }
      results.push(encoded.value ?? null)
    }
    return yield* json({ traceId, results })
  })

/** `POST /api/flows/:flow/stream` */
export const stream = (
  hosting: Hosting,
  name: string,
  asked: Asked,
  detach: boolean,
  request: HttpServerRequest
): Effect.Effect<Response.HttpServerResponse, Refusal, Scope.Scope> =>
  Effect.gen(function*() {
    const running = yield* flowOf(hosting, name)
    yield* takesWork(hosting, running)
    const options = yield* optionsOf(hosting, asked)
    const input = yield* inputOf(hosting, running, request)
    return yield* continued(request, hosting.streams.start(running, input, options, detach))
  })

/** `POST /api/flows/:flow/jobs` */
export const enqueue = (hosting: Hosting, name: string, asked: AskedJob, request: HttpServerRequest): Answer =>
  Effect.gen(function*() {
    const running = yield* flowOf(hosting, name)
    if (Option.isNone(hosting.queue)) return yield* Effect.fail(noQueue)
    yield* takesWork(hosting)
    const input = yield* inputOf(hosting, running, request)
    const { delay, id, maxAttempts, priority, tenant, timeout, topic } = asked
    const stored = yield* Effect.mapError(
      hosting.queue.value.enqueue(running.flow, input, {
        id,
        headers: { ...(tenant === undefined ? {} : { tenant }), topic },
        delay,
        priority,
        maxAttempts,
        timeout
      }),
      ofJob
    )
    return yield* json({ id: stored }, 202, { location: `/api/jobs/${encodeURIComponent(stored)}` })
  })

/** Where there is no queue. */
export const noQueue: Refusal = refusal(404, "NO_JOB_QUEUE", "This server has no job queue: provide one of its layers")

// ----------------------------------------------------------------------------------------------------------- internals

/** Longer than any id that a program makes. */
const longestId = 1024

const takesWork = (hosting: Hosting, running?: Running): Effect.Effect<void, Refusal> =>
  hosting.phase === "stopping"
    ? Effect.fail(
      new Refusal(503, { error: "The server is shutting down and takes no more work", code: "SHUTTING_DOWN" }, {
        connection: "close",
        "retry-after": "5"
      })
    )
    : running === undefined
    ? Effect.void
    : Effect.flatMap(running.runtime.open, (open) =>
      open < running.mostOpen ? Effect.void : Effect.fail(
        new Refusal(
          429,
          { error: `${open} traces of this flow are open already: try again later`, code: "OVER_CAPACITY" },
          { "retry-after": "1" }
        )
      ))

const optionsOf = (
  { settings }: Hosting,
  { deadline, tenant, topic, traceId }: Asked
): Effect.Effect<RunOptions & { readonly traceId: string }, Refusal> => {
  if (traceId !== undefined && (traceId === "" || traceId.length > longestId)) {
    return Effect.fail(
      refusal(400, "INVALID_REQUEST", `A trace id has 1 to ${longestId} characters`, { path: "traceId" })
    )
  }
  const most = Duration.toMillis(Duration.fromInputUnsafe(settings.maxDeadline))
  return Effect.succeed({
    traceId: traceId ?? globalThis.crypto.randomUUID(),
    headers: { ...(tenant === undefined ? {} : { tenant }), topic },
    deadline: Math.min(deadline ?? most, most)
  })
}

const inputOf = (hosting: Hosting, running: Running, request: HttpServerRequest): Effect.Effect<unknown, Refusal> =>
  Effect.flatMap(jsonBody(request, hosting.settings), (value) => {
    const decoded = running.codecs.decodeInput(value)
    if (decoded._tag === "Success") return Effect.succeed(decoded.value)
    const [reason] = decoded.cause.reasons
    const words = reason?._tag === "Fail" ? reason.error : "its schema can't be applied"
    return Effect.fail(
      refusal(
        400,
        "INVALID_INPUT",
        `The body does not fit the input of the flow "${running.name}": ${words}`,
        pathIn(words)
      )
    )
  })

/** Under the span that the caller names, unless a tracer has made one of it already. */
const continued = <A, E, R>(request: HttpServerRequest, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Effect.serviceOption(Tracer.ParentSpan), (parent) => {
    if (Option.isSome(parent)) return effect
    const span = HttpTraceContext.w3c(request.headers)
    return Option.isNone(span) ? effect : Effect.withParentSpan(effect, span.value)
  })
