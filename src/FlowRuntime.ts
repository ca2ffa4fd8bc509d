/**
 * A runtime: a flow, running.
 *
 * Each message that it takes is a trace, run by a fiber of its own. The runtime admits traces while fewer than
 * `maxInFlight` are open, knows each by its id, turns every end into exactly one outcome, and interrupts whatever is left
 * when its scope closes. Nobody who waits for it waits for ever.
 *
 * It promises what memory can: bounded, observable, cancellable. What must survive the process is a job (`JobQueue`).
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Flow } from "./Flow.ts"
import type { FlowError } from "./FlowError.ts"
import type { FlowEvent } from "./FlowEvent.ts"
import { makeRuntime } from "./internal/runtime.ts"
import type { FailedAt, Headers, Meta } from "./Trace.ts"

/** What a caller says of one message. */
export interface RunOptions {
  /**
   * Default: a random UUID, one for each runtime, with a count behind it. An id that is open is refused with
   * `DUPLICATE_TRACE`; one that has ended is free again.
   */
  readonly traceId?: string | undefined
  readonly headers?: Partial<Headers> | undefined
  readonly meta?: Meta | undefined
  /** From now on, waiting for admission included; the whole trace is interrupted when it passes. */
  readonly deadline?: Duration.Input | undefined
}

/** What a streamed trace gives: parts as nodes send them, results as they arrive. */
export type Item<Part, Out> =
  /** `seq` counts within the trace; a retried node begins its parts anew, told by `attempt`. */
  | {
    readonly _tag: "Part"
    readonly node: string
    readonly attempt: number
    readonly seq: number
    readonly value: Part
  }
  | { readonly _tag: "Result"; readonly node: string; readonly value: Out }

/** How a trace ended: exactly one per trace. */
export interface Outcome<out Out, out E> {
  readonly traceId: string
  readonly headers: Headers
  readonly meta: Meta
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly durationMs: number
  readonly exit: Exit.Exit<ReadonlyArray<Out>, E | FlowError>
  /** Where it failed; undefined on success. */
  readonly failedAt: FailedAt | undefined
}

/** A running flow. */
export interface FlowRuntime<in In, out Out, out E, out Part> {
  /**
   * The trace's one result: waits for the whole trace; fails with `NO_RESULT` or `MANY_RESULTS` where it is not one.
   * Interrupting it cancels the trace.
   */
  run(input: In, options?: RunOptions): Effect.Effect<Out, E | FlowError>
  /** Every result, by the declaration order of the egress nodes, then by arrival. */
  runAll(input: In, options?: RunOptions): Effect.Effect<ReadonlyArray<Out>, E | FlowError>
  /** Parts and results as they come. A consumer that leaves cancels the trace; one that is slow slows it. */
  stream(input: In, options?: RunOptions): Stream.Stream<Item<Part, Out>, E | FlowError>
  /**
   * Accepts a message and returns its trace id; waits while `maxInFlight` traces are open or unfetched. A node that emits
   * into its own runtime waits like anybody else, but for the traces that it stands in.
   */
  emit(input: In, options?: RunOptions): Effect.Effect<string, FlowError>
  /**
   * The next finished trace of those emitted, failed ones included. Safe to interrupt: nothing is lost. Fails with
   * `SHUTTING_DOWN` once the runtime has shut down and every outcome has been fetched.
   */
  readonly fetch: Effect.Effect<Outcome<Out, E>, FlowError>
  /** True when the trace was open; returns once its nodes have stopped and their finalizers have run. */
  cancel(traceId: string, reason?: string): Effect.Effect<boolean>
  /** What happens from now on. A reader that is slow loses events; it slows nothing. Ends with the runtime. */
  readonly events: Stream.Stream<FlowEvent>
  /** How many traces are open, those that wait for admission included. */
  readonly open: Effect.Effect<number>
  /**
   * Refuses new messages, lets open traces end for up to `grace` (default 30 seconds), then interrupts the rest; says
   * what became of them. Again: the same answer.
   */
  shutdown(
    options?: { readonly grace?: Duration.Input | undefined }
  ): Effect.Effect<{ readonly drained: number; readonly interrupted: ReadonlyArray<string> }>
}

/** How a runtime is bounded. */
export interface Options {
  /** Open traces and unfetched outcomes of emitted ones; default 64. `run` and `stream` count while they are open. */
  readonly maxInFlight?: number | undefined
  /** How long a timeout, deadline, cancel or shutdown waits for a node that resists interruption; default 5 seconds. */
  readonly interruptGrace?: Duration.Input | undefined
}

/**
 * Starts a runtime. Closing the scope shuts it down at once.
 *
 * The nodes' services come from here; the caller's span and log annotations come along with each message.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, FlowRuntime, Node } from "penguiflow"
 *
 * const flow = Flow.make("upper", [
 *   Node.make("upper", {
 *     input: Schema.String,
 *     output: Schema.String,
 *     run: (text) => Effect.succeed(text.toUpperCase())
 *   }).to()
 * ])
 * const program = Effect.scoped(Effect.gen(function*() {
 *   const runtime = yield* FlowRuntime.make(flow, { maxInFlight: 8 })
 *   yield* runtime.emit("penguin", { traceId: "one" })
 *   const outcome = yield* runtime.fetch
 *   return [outcome.traceId, yield* outcome.exit]
 * }))
 * await Effect.runPromise(program) // => ["one", ["PENGUIN"]]
 * ```
 */
export const make = <In, Out, E, R, Part>(
  flow: Flow<string, In, Out, E, R, Part>,
  options?: Options
): Effect.Effect<FlowRuntime<In, Out, E, Part>, never, R | Scope.Scope> => makeRuntime(flow, options ?? {})

/**
 * A runtime as a service:
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, FlowRuntime, Node } from "penguiflow"
 *
 * const inc = Node.make("inc", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n + 1) })
 * const flow = Flow.make("counter", [inc.to()])
 * class Counter extends FlowRuntime.Service<Counter>()("app/Counter", flow) {}
 *
 * const program = Counter.use((counter) => counter.run(41))
 * await Effect.runPromise(Effect.provide(program, Counter.layer)) // => 42
 * ```
 */
export const Service = <Self>(): <const Id extends string, In, Out, E, R, Part>(
  id: Id,
  flow: Flow<string, In, Out, E, R, Part>,
  options?: Options
) => Context.ServiceClass<Self, Id, FlowRuntime<In, Out, E, Part>> & {
  readonly layer: Layer.Layer<Self, never, Exclude<R, Scope.Scope>>
} =>
<const Id extends string, In, Out, E, R, Part>(
  id: Id,
  flow: Flow<string, In, Out, E, R, Part>,
  options?: Options
) => {
  const Tag = Context.Service<Self, FlowRuntime<In, Out, E, Part>>()(id)
  return Object.assign(Tag, { layer: Layer.effect(Tag, make(flow, options)) })
}
