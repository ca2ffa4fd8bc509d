/**
 * An observer: who watches a flow.
 *
 * Observers are layers. Every runtime made under them is watched by all of them; each has a bounded buffer of its own
 * and a fiber that reads it, so that a slow or failing observer loses events (counted) and never slows, stops or fails a
 * trace. A runtime that closes waits for its observers up to `interruptGrace`, `Flow.run` up to 100 milliseconds, so that
 * they see the end; what they have not read by then is lost.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { FlowEvent } from "./FlowEvent.ts"

/** Who watches. */
export interface FlowObserver {
  /** Names the observer; two of one name in one place: the inner one watches. */
  readonly name: string
  /** Gets the events in batches, in order. What it fails with is logged once per runtime and otherwise ignored. */
  readonly observe: (events: ReadonlyArray<FlowEvent>) => Effect.Effect<void, unknown>
  /** Told how many events were lost since the last time, because the observer was slow. Default: a warning in the log. */
  readonly onLost?: ((count: number) => Effect.Effect<void, unknown>) | undefined
  /** How many events wait for it at most. Default: 16 384. */
  readonly capacity?: number | undefined
}

const prefix = "penguiflow/FlowObserver/"

/** Tells, without looking through a whole context, that there are observers in it. */
const Present: Context.Reference<boolean> = Context.Reference<boolean>("penguiflow/FlowObservers", {
  defaultValue: () => false
})

/**
 * A layer under which every runtime is watched by an observer.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, FlowObserver, FlowRuntime, Node } from "penguiflow"
 *
 * const seen: Array<string> = []
 * const watching = FlowObserver.layer({
 *   name: "tags",
 *   observe: (events) => Effect.sync(() => { seen.push(...events.map((event) => event._tag)) })
 * })
 * const flow = Flow.make("one", [
 *   Node.make("inc", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n + 1) }).to()
 * ])
 * const program = Effect.gen(function*() {
 *   const runtime = yield* FlowRuntime.make(flow)
 *   yield* runtime.run(1)
 * }).pipe(Effect.scoped, Effect.provide(watching))
 * await Effect.runPromise(program)
 * seen // => ["TraceStarted", "NodeStarted", "NodeSucceeded", "TraceSucceeded"]
 * ```
 */
export const layer = (observer: FlowObserver): Layer.Layer<never> =>
  layerEffect(observer.name, Effect.succeed(observer))

/** As {@link layer}, of an observer that has to be made. What it holds is released with the layer. */
export const layerEffect = <E, R>(
  name: string,
  make: Effect.Effect<Omit<FlowObserver, "name">, E, R>
): Layer.Layer<never, E, Exclude<R, Scope.Scope>> =>
  Layer.effectContext(
    Effect.map(make, (observer) =>
      Context.makeUnsafe<never>(
        new Map<string, unknown>([[prefix + name, { ...observer, name }], [Present.key, true]])
      ))
  )

/** The observers in a context, in the order in which they were provided. */
export const fromContext = (context: Context.Context<never>): ReadonlyArray<FlowObserver> => {
  if (!Context.get(context, Present)) return []
  const observers: Array<FlowObserver> = []
  for (const [key, service] of context.mapUnsafe) {
    if (key.startsWith(prefix)) observers.push(service as FlowObserver)
  }
  return observers
}
