/** Endpoints of traces: those that are kept, and those that run. */
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type * as Response from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { Flow } from "../../Flow.ts"
import * as TraceStore from "../../TraceStore.ts"
import { flowOf, json } from "./answers.ts"
import { optionalJsonBody } from "./body.ts"
import { ofStore, type Refusal, refusal } from "./errors.ts"
import type { Hosting } from "./hosting.ts"

type Answer = Effect.Effect<Response.HttpServerResponse, Refusal>

/** `GET /api/traces` */
export const list = (hosting: Hosting, filter: TraceStore.Filter): Answer =>
  withStore(hosting, (store) =>
    Effect.flatMap(
      Effect.mapError(store.list({ ...filter, limit: Math.min(filter.limit ?? 100, 1000) }), ofStore),
      (traces) => json({ traces })
    ))

/** `GET /api/traces/:id` */
export const get = (hosting: Hosting, id: string, flow: string | undefined): Answer =>
  withStore(hosting, (store) =>
    Effect.gen(function*() {
      const trace = yield* Effect.mapError(store.get(id, { flow }), ofStore)
      if (trace === undefined) return yield* Effect.fail(notFound)
      const events = yield* Effect.mapError(store.history(id, { flow: trace.flow }), ofStore)
      return yield* json({ trace, events })
    }))

/** `POST /api/traces/:id/cancel` */
export const cancel = (hosting: Hosting, id: string, flow: string | undefined, request: HttpServerRequest): Answer =>
  Effect.gen(function*() {
    const body = yield* optionalJsonBody(request, hosting.settings)
    const reason = Predicate.hasProperty(body, "reason") && typeof body.reason === "string"
      ? body.reason.slice(0, 1024)
      : undefined
    const among = flow === undefined ? [...hosting.flows.values()] : [yield* flowOf(hosting, flow)]
    const cancelled = yield* Effect.forEach(among, ({ runtime }) => runtime.cancel(id, reason), {
      concurrency: "unbounded"
    })
    return yield* json({ cancelled: cancelled.includes(true) })
  })

/** `POST /api/traces/:id/replay` */
export const replay = (hosting: Hosting, id: string, flow: string | undefined): Answer =>
  withStore(hosting, (store) =>
    Effect.gen(function*() {
      const stored = yield* Effect.mapError(store.get(id, { flow }), ofStore)
      if (stored === undefined) return yield* Effect.fail(notFound)
      const running = yield* flowOf(hosting, stored.flow)
      const known = running.flow as Flow<string, unknown, unknown, unknown, never, unknown>
      const replayed = yield* TraceStore.replay(known, id).pipe(
        Effect.provideContext(running.context),
        Effect.provideService(TraceStore.TraceStore, store),
        Effect.mapError(ofStore),
        Effect.timeoutOrElse({
          duration: hosting.settings.maxDeadline,
          orElse: () =>
            Effect.fail(refusal(504, "DEADLINE_EXCEEDED", "The replay took longer than the server lets a trace take"))
        })
      )
      return yield* json(replayed)
    }))

// ----------------------------------------------------------------------------------------------------------- internals

const notFound = refusal(
  404,
  "TRACE_NOT_FOUND",
  "The store has no trace of this id: it was never noted, or was removed"
)

const withStore = ({ store }: Hosting, use: (store: TraceStore.Service) => Answer): Answer =>
  Option.isNone(store)
    ? Effect.fail(refusal(404, "NO_TRACE_STORE", "This server has no trace store: provide one of its layers"))
    : use(store.value)
