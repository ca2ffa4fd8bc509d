/**
 * A trace store: what became of each message, kept for those who ask later.
 *
 * | what | kept by |
 * |---|---|
 * | events, and how each trace ended | {@link layerObserver}, which the layers `TraceStoreMemory` and `TraceStoreSql` include |
 * | inputs, results and errors | {@link runtime} and {@link run}, in the place of `FlowRuntime.make` and `Flow.run` |
 *
 * A trace is kept under its flow and its trace id. Where an id is used again, as by a job that is delivered twice, it is
 * one trace that ran twice: its events follow one another, its outcome is the last.
 *
 * **What it costs.** Nothing is written by a trace's own fiber: notes go into a bounded buffer, from where a fiber of the
 * store writes them in batches, tries again for three seconds, and then loses and counts them ({@link Service.lost}).
 * When the layer ends, what is still noted is written, within five seconds. A process that is killed loses what it had
 * not written.
 *
 * **What is not kept.** Of inputs, results and errors: what is `Redacted`, and what {@link secret} marks. Of events: what
 * the option `redact` takes away. Words of errors are kept as they are, cut at 8 kB: say no secrets in them.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Flow } from "./Flow.ts"
import type { FlowError } from "./FlowError.ts"
import type { ErrorInfo, FlowEvent } from "./FlowEvent.ts"
import * as FlowObserver from "./FlowObserver.ts"
import * as FlowRuntime from "./FlowRuntime.ts"
import type { Change, Kept, Payload, Status } from "./internal/observers/changes.ts"
import { isConcealed, keptCodecsOf } from "./internal/observers/codecs.ts"
import { secretKey } from "./internal/observers/conceal.ts"
import { kept } from "./internal/observers/ids.ts"
import { makeRecorder, recorded } from "./internal/observers/recorder.ts"
import { differenceOf, sameJson, type Visit, visitsIn } from "./internal/observers/visits.ts"
import { type Batch, type Recorded, Writer } from "./internal/observers/writer.ts"
import type { Meta } from "./Trace.ts"

export { applied, type Change, type Kept, noChange, type Payload, type Status } from "./internal/observers/changes.ts"
export type { Visit } from "./internal/observers/visits.ts"
export type { Batch, Recorded } from "./internal/observers/writer.ts"

/** What is known of a trace. Times are milliseconds since the epoch, durations milliseconds. */
export interface Summary {
  readonly flow: string
  /** Shortened where it has more than 500 UTF-16 units; whole ids are found all the same. */
  readonly traceId: string
  /** Undefined where its beginning was lost. */
  readonly tenant: string | undefined
  /** `"running"` also where its end was lost, or its process died. */
  readonly status: Status
  /** When it began the last time. */
  readonly at: number
  readonly endedAt: number | undefined
  readonly durationMs: number | undefined
  /** How many results it gave. */
  readonly results: number | undefined
  readonly error: ErrorInfo | undefined
  /** Why it was cancelled. */
  readonly reason: string | undefined
  /** Where it failed. */
  readonly node: string | undefined
  readonly attempt: number | undefined
  /** How often it began, and how many events of it there are. */
  readonly runs: number
  readonly events: number
}

/** A trace with what went in and came out, where that was recorded. */
export interface Stored extends Summary, Payload {}

/** Which traces are meant; all of them where nothing is said. */
export interface Filter {
  readonly flow?: string | undefined
  readonly tenant?: string | undefined
  readonly status?: Status | undefined
  /** Begun then or later. */
  readonly from?: number | undefined
  /** Begun before then. */
  readonly until?: number | undefined
  /** Those that come after this one in the list: for the next page. */
  readonly after?: Pick<Summary, "at" | "flow" | "traceId"> | undefined
  /** At most so many; default 100. */
  readonly limit?: number | undefined
}

/** How long, and how many. */
export interface Retention {
  /** What began longer ago is removed, whether it has ended or not. */
  readonly maxAge?: Duration.Input | undefined
  /** How many traces are kept: the newest. */
  readonly maxTraces?: number | undefined
}

const kinds: Schema.Literals<readonly ["StoreFailed", "NotStored", "NotRecorded", "Concealed", "InputChanged"]> = Schema
  .Literals(["StoreFailed", "NotStored", "NotRecorded", "Concealed", "InputChanged"])

const ErrorBase: Schema.Class<
  TraceStoreError,
  Schema.TaggedStruct<
    "TraceStoreError",
    {
      readonly kind: typeof kinds
      readonly message: typeof Schema.String
      readonly cause: Schema.optional<ReturnType<typeof Schema.Defect>>
    }
  >,
  Cause.YieldableError
> = Schema.TaggedError<TraceStoreError>()("TraceStoreError", {
  kind: kinds,
  message: Schema.String,
  cause: Schema.optional(Schema.Defect())
})

/**
 * Why a store did not answer, or a trace can't be replayed.
 *
 * `StoreFailed`: what keeps the traces failed; another try may help. `NotStored`: there is no such trace. `NotRecorded`:
 * its input was not recorded. `Concealed`: something in its input was secret and is gone. `InputChanged`: the flow of
 * today does not take it.
 */
export class TraceStoreError extends ErrorBase {
  get isRetryable(): boolean {
    return this.kind === "StoreFailed"
  }
}

/** What a store does. */
export interface Service {
  /**
   * The events of a trace, of all its runs, in the order in which they happened; of all flows that had a trace of this
   * id, unless one is named. At most `limit`, default 10 000.
   */
  readonly history: (
    traceId: string,
    options?: { readonly flow?: string | undefined; readonly limit?: number | undefined }
  ) => Effect.Effect<ReadonlyArray<FlowEvent>, TraceStoreError>
  /** One trace; of several flows the one that began last, unless one is named. */
  readonly get: (
    traceId: string,
    options?: { readonly flow?: string | undefined }
  ) => Effect.Effect<Stored | undefined, TraceStoreError>
  /** The newest first. */
  readonly list: (filter?: Filter) => Effect.Effect<ReadonlyArray<Summary>, TraceStoreError>
  /** Removes now what is older or more than that; how many traces. The layers do it by themselves, as they were told. */
  readonly prune: (retention: Retention) => Effect.Effect<number, TraceStoreError>
  /**
   * Waits until all that was noted so far is written or given up. What a runtime's observers have not read yet is not
   * noted: that it is once the runtime has shut down.
   */
  readonly flush: Effect.Effect<void>
  /** How many events and records were not kept since the layer was made. */
  readonly lost: Effect.Effect<number>
  /** Notes events or what was recorded: returns at once, and never fails. */
  readonly note: (notes: ReadonlyArray<FlowEvent | Recorded>) => Effect.Effect<void>
  /** Counts what was lost before it could be noted. */
  readonly lose: (count: number) => Effect.Effect<void>
}

const TraceStoreBase: Context.ServiceClass<TraceStore, "penguiflow/TraceStore", Service> = Context.Service<
  TraceStore,
  Service
>()("penguiflow/TraceStore")

/** Where traces are kept. */
export class TraceStore extends TraceStoreBase {}

/** What a place to keep traces in has to do: one suite of tests holds every one of them to it. */
export interface Backend {
  /** All of it or none. Called by one fiber at a time. */
  readonly write: (batch: Batch) => Effect.Effect<void, TraceStoreError>
  readonly history: (
    traceId: string,
    flow: string | undefined,
    limit: number
  ) => Effect.Effect<ReadonlyArray<FlowEvent>, TraceStoreError>
  /** Those of which there is an event. */
  readonly get: (traceId: string, flow: string | undefined) => Effect.Effect<Change | undefined, TraceStoreError>
  /** Those of which there is an event; by `at`, the last first, then by flow and trace id. */
  readonly list: (filter: Filter & { readonly limit: number }) => Effect.Effect<ReadonlyArray<Change>, TraceStoreError>
  /** Removes what began before `before`, and all but the newest `maxTraces`. */
  readonly prune: (before: number | undefined, maxTraces: number | undefined) => Effect.Effect<number, TraceStoreError>
}

/** How a store keeps what it is told. */
export interface Options extends Retention {
  /** What is kept of an event; undefined for nothing. It must be fast, and is not asked twice. */
  readonly redact?: ((event: FlowEvent) => FlowEvent | undefined) | undefined
  /** How many notes wait to be written at most; default 65 536. */
  readonly capacity?: number | undefined
  /** How many are written at once; default 1000. */
  readonly batchSize?: number | undefined
  /** How often what is too old or too much is removed, while there is something new; default every minute. */
  readonly pruneEvery?: Duration.Input | undefined
}

/** A store on top of a backend, for as long as the scope is open. */
export const make: (backend: Backend, options?: Options) => Effect.Effect<Service, never, Scope.Scope> = Effect
  .fnUntraced(function*(backend: Backend, options: Options = {}) {
    const written = Latch.makeUnsafe(true)
    const writer = new Writer({
      write: (batch) => Effect.tap(backend.write(batch), () => written.open),
      capacity: options.capacity ?? 65_536,
      batchSize: options.batchSize ?? 1000,
      redact: options.redact
    })
    const fiber = yield* Effect.forkDetach(writer.run, { startImmediately: true })
    yield* Effect.addFinalizer(() => writer.close(fiber, 5000))
    const prune = ({ maxAge, maxTraces }: Retention): Effect.Effect<number, TraceStoreError> =>
      maxAge === undefined && maxTraces === undefined
        ? Effect.succeed(0)
        : Effect.clockWith((clock) =>
          backend.prune(
            maxAge === undefined
              ? undefined
              : clock.currentTimeMillisUnsafe() - Duration.toMillis(Duration.fromInputUnsafe(maxAge)),
            maxTraces
          )
        )
    const every = options.pruneEvery ?? "1 minute"
    const pruned = Effect.ignore(prune(options))
    // Sleeps only while something is there to become too old: a store that is left alone comes to rest.
    const tidying = Effect.gen(function*() {
      yield* written.await
      yield* written.close
      yield* pruned
      yield* Effect.sleep(every)
      yield* pruned
      if (options.maxAge !== undefined) {
        const more = yield* Effect.timeoutOption(written.await, options.maxAge)
        if (more._tag === "None") yield* pruned
      }
    })
    if (options.maxAge !== undefined || options.maxTraces !== undefined) {
      yield* Effect.forkScoped(Effect.forever(tidying))
    }
    return {
      history: (traceId, { flow, limit } = {}) =>
        backend.history(kept(traceId), flow === undefined ? undefined : kept(flow), limit ?? 10_000),
      get: (traceId, { flow } = {}) =>
        Effect.map(
          backend.get(kept(traceId), flow === undefined ? undefined : kept(flow)),
          (change) => change && { ...summaryOf(change), input: change.payload?.input, outcome: change.payload?.outcome }
        ),
      list: (filter = {}) =>
        Effect.map(backend.list({ ...filter, limit: filter.limit ?? 100 }), (changes) => changes.map(summaryOf)),
      prune,
      flush: writer.flush,
      lost: Effect.sync(() => writer.lost),
      note: (notes) => Effect.sync(() => writer.note(notes)),
      lose: (count) => Effect.sync(() => writer.lose(count))
    }
  })

/** Notes the events of every runtime under it, in the store that is there. */
export const layerObserver: Layer.Layer<never, never, TraceStore> = FlowObserver.layerEffect(
  "penguiflow/TraceStore",
  Effect.map(TraceStore, (store) => ({
    observe: store.note,
    onLost: (count: number) =>
      Effect.andThen(store.lose(count), Effect.logWarning(`The trace store lost ${count} events: they came too fast`))
  }))
)

// ------------------------------------------------------------------------------------------ inputs, results and errors

/**
 * Says of a schema that its values are not to be kept: `Schema.String.annotate(TraceStore.secret)`. In a trace store the
 * word `<redacted>` stands for them. What is `Schema.Redacted` needs no such mark.
 */
export const secret: { readonly "penguiflow/secret": true } = { [secretKey]: true }

/** What is recorded. */
export interface RecordOptions {
  /** Default true. */
  readonly inputs?: boolean | undefined
  /** Results, and the errors for which a node declares a schema. Default true. */
  readonly outcomes?: boolean | undefined
  /** The largest JSON text that is kept of an input or of an outcome, in UTF-16 units; default 262 144. */
  readonly maxSize?: number | undefined
}

/**
 * A runtime whose messages are recorded: as `FlowRuntime.make`, and the input and outcome of each message are noted when
 * it has ended, encoded by the flow's schemas as JSON. Of emitted messages they are noted when they are fetched.
 *
 * What can't be encoded, or is too large, is left out, and the store says why.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as TraceStoreMemory from "penguiflow/layers/TraceStoreMemory"
 * import * as TraceStore from "penguiflow/TraceStore"
 *
 * const Login = Schema.Struct({ name: Schema.String, password: Schema.String.annotate(TraceStore.secret) })
 * const greet = Node.make("greet", { input: Login, output: Schema.String, run: ({ name }) => Effect.succeed(`hi ${name}`) })
 * const program = Effect.gen(function*() {
 *   yield* Effect.scoped(Effect.gen(function*() {
 *     const runtime = yield* TraceStore.runtime(Flow.make("greeting", [greet.to()]))
 *     yield* runtime.run({ name: "pingu", password: "noot" }, { traceId: "one" })
 *   }))
 *   const store = yield* TraceStore.TraceStore
 *   yield* store.flush
 *   return yield* store.get("one")
 * })
 * const stored = await Effect.runPromise(Effect.provide(program, TraceStoreMemory.layer()))
 * stored?.input // => { _tag: "Kept", json: { name: "pingu", password: "<redacted>" } }
 * stored?.outcome // => { _tag: "Kept", json: ["hi pingu"] }
 * ```
 */
export const runtime = <In, Out, E, R, Part>(
  flow: Flow<string, In, Out, E, R, Part>,
  options: FlowRuntime.Options & RecordOptions = {}
): Effect.Effect<FlowRuntime.FlowRuntime<In, Out, E, Part>, never, R | Scope.Scope | TraceStore> =>
  Effect.gen(function*() {
    const store = yield* TraceStore
    const inner = yield* FlowRuntime.make(flow, options)
    return recorded(inner, makeRecorder(flow, options, store.note))
  })

/** One message through a flow, recorded: as `Flow.run`. */
export const run = <In, Out, E, R>(
  flow: Flow<string, In, Out, E, R, unknown>,
  input: NoInfer<In>,
  options?: FlowRuntime.RunOptions & RecordOptions
): Effect.Effect<Out, E | FlowError, Exclude<R, Scope.Scope> | TraceStore> =>
  Effect.scoped(Effect.flatMap(runtime(flow, options), (recording) => recording.run(input, options)))

// ---------------------------------------------------------------------------------------------------------- replaying

/** How a run ended, as far as it is compared. */
export interface Ended {
  readonly status: Status
  readonly results: number | undefined
  readonly error: ErrorInfo | undefined
  readonly node: string | undefined
  readonly outcome: Kept | undefined
}

/** What a replay showed. */
export interface Replay {
  /** Of the replay. */
  readonly traceId: string
  /** Whether outcome and path are the same. */
  readonly same: boolean
  readonly outcome: { readonly same: boolean; readonly stored: Ended; readonly now: Ended }
  /** `missing`: visits that the stored run has and the replay has not; `added`: the other way round. */
  readonly path: {
    readonly same: boolean
    readonly stored: ReadonlyArray<Visit>
    readonly now: ReadonlyArray<Visit>
    readonly missing: ReadonlyArray<string>
    readonly added: ReadonlyArray<string>
  }
}

/**
 * Runs the stored input of a trace on the flow of today, and compares how it ended and which way it took with what is
 * stored of its last run.
 *
 * Everything is done again, under a trace id of its own: give the flow's nodes services that may be called again. Meta
 * and deadline are not stored; `meta` gives what nodes need. Outcomes are the same where the status is, and results are
 * equal as JSON, or errors of the same tag and code from the same node; where results were not recorded, where there are
 * as many. Paths are the same where each attempt at each node is in both, and ended alike, in whatever order.
 *
 * Fails where the input was not recorded, is concealed, or is not taken by the flow of today.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as TraceStoreMemory from "penguiflow/layers/TraceStoreMemory"
 * import * as TraceStore from "penguiflow/TraceStore"
 *
 * const counting = (from: number) =>
 *   Flow.make("counting", [
 *     Node.make("inc", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n + from) }).to()
 *   ])
 * const program = Effect.gen(function*() {
 *   yield* TraceStore.run(counting(1), 41, { traceId: "one" })
 *   yield* TraceStore.TraceStore.use((store) => store.flush)
 *   const today = yield* TraceStore.replay(counting(2), "one")
 *   return [today.outcome.same, today.path.same, today.outcome.now.outcome]
 * })
 * const answer = await Effect.runPromise(Effect.provide(program, TraceStoreMemory.layer()))
 * answer // => [false, true, { _tag: "Kept", json: [43] }]
 * ```
 */
export const replay = <In, Out, E, R>(
  flow: Flow<string, In, Out, E, R, unknown>,
  traceId: string,
  options: { readonly meta?: Meta | undefined; readonly traceId?: string | undefined } = {}
): Effect.Effect<Replay, TraceStoreError | FlowError, Exclude<R, Scope.Scope> | TraceStore> =>
  Effect.gen(function*() {
    const store = yield* TraceStore
    const stored = yield* store.get(traceId, { flow: flow.name })
    if (stored === undefined) {
      return yield* refuse("NotStored", `the store has no trace of the flow "${flow.name}" under this id`)
    }
    const input = yield* inputOf(flow, stored)
    const before = visitsIn(yield* store.history(traceId, { flow: flow.name }))
    const events: Array<FlowEvent> = []
    const watching = FlowObserver.layer({
      name: "penguiflow/TraceStore/replay",
      capacity: 1_000_000,
      observe: (batch) =>
        Effect.sync(() => {
          for (const event of batch) events.push(event)
        })
    })
    const headers = stored.tenant === undefined ? undefined : { tenant: stored.tenant }
    const outcome = yield* Effect.gen(function*() {
      const running = yield* FlowRuntime.make(flow)
      // What was encoded by a flow of this name is decoded by this flow's schemas.
      yield* running.emit(input as In, { traceId: options.traceId, meta: options.meta, headers })
      const ended = yield* running.fetch
      // Once the runtime has shut down, the observer has seen all.
      yield* running.shutdown()
      return ended
    }).pipe(Effect.scoped, Effect.provide(watching))
    const payload = makeRecorder(flow, {}, () => Effect.void).outcomeOf(outcome.exit)
    return compared(stored, before, outcome.traceId, events, payload)
  })

// ----------------------------------------------------------------------------------------------------------- internals

const summaryOf = (change: Change): Summary => ({
  flow: change.flow,
  traceId: change.traceId,
  tenant: change.tenant,
  status: change.status ?? "running",
  at: change.at,
  endedAt: change.endedAt,
  durationMs: change.durationMs,
  results: change.results,
  error: change.error,
  reason: change.reason,
  node: change.node,
  attempt: change.attempt,
  runs: change.runs,
  events: change.events
})

const refuse = (kind: TraceStoreError["kind"], why: string) =>
  Effect.fail(new TraceStoreError({ kind, message: `The trace can't be replayed: ${why}` }))

const inputOf = (flow: { readonly name: string }, { input }: Stored): Effect.Effect<unknown, TraceStoreError> => {
  if (input === undefined) {
    return refuse("NotRecorded", "its input was not recorded. Run it by TraceStore.runtime or TraceStore.run")
  }
  if (input._tag === "Omitted") return refuse("NotRecorded", `its input was left out: ${input.reason}`)
  if (isConcealed(input.json)) {
    return refuse("Concealed", "its input held what is secret, which is not kept. Run it anew with the whole input")
  }
  const exit = keptCodecsOf(flow).decodeInput(input.json)
  if (exit._tag === "Success") return Effect.succeed(exit.value)
  const [reason] = exit.cause.reasons
  const why = reason?._tag === "Fail" ? reason.error : "its schema can't be applied"
  return refuse("InputChanged", `the flow of today does not take its input: ${why}`)
}

const compared = (
  stored: Stored,
  before: ReadonlyArray<Visit>,
  traceId: string,
  events: ReadonlyArray<FlowEvent>,
  payload: Kept
): Replay => {
  const end = events.findLast((event) =>
    event._tag === "TraceSucceeded" || event._tag === "TraceFailed" || event._tag === "TraceCancelled"
  )
  const now: Ended = {
    status: end?._tag === "TraceSucceeded" ? "succeeded" : end?._tag === "TraceCancelled" ? "cancelled" : "failed",
    results: end?._tag === "TraceSucceeded" ? end.results : undefined,
    error: end?._tag === "TraceFailed" ? end.error : undefined,
    node: end?.node,
    outcome: payload
  }
  const { error, node, outcome, results, status } = stored
  const then: Ended = { status, results, error, node, outcome }
  const after = visitsIn(events)
  const difference = differenceOf(before, after)
  const samePath = difference.missing.length === 0 && difference.added.length === 0
  const sameOutcome = isSame(then, now)
  return {
    traceId,
    same: samePath && sameOutcome,
    outcome: { same: sameOutcome, stored: then, now },
    path: { same: samePath, stored: before, now: after, ...difference }
  }
}

const isSame = (then: Ended, now: Ended): boolean => {
  if (then.status !== now.status) return false
  if (then.status === "succeeded") {
    return then.outcome?._tag === "Kept" && now.outcome?._tag === "Kept"
      ? sameJson(then.outcome.json, now.outcome.json)
      : then.results === now.results
  }
  return then.error?.tag === now.error?.tag && then.error?.code === now.error?.code && then.node === now.node
}
