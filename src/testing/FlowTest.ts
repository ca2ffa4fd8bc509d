/**
 * A test of a flow: one message through it, what became of it, and faults wherever one wants them.
 *
 * **Time.** Under a test clock (`it.effect` of `@effect/vitest`, or `TestClock.layer()`), {@link run} moves it: whenever
 * the trace waits for nothing but time, the clock goes on to the next instant at which something wakes. Retries, backoff,
 * timeouts and deadlines take no time, and `durationMs` says what they would have taken. Under the real clock nothing is
 * moved. What waits for the outside (a socket, a file, a child process) can't be told from what waits for time: give such
 * a test the real clock (`it.live`), or `advance: 0` and move the clock yourself:
 *
 * ```ts
 * const fiber = yield* Effect.forkChild(FlowTest.run(flow, input, { advance: 0 }))
 * yield* TestClock.adjust("1 minute")
 * const { outcome } = yield* Fiber.join(fiber)
 * ```
 *
 * **Faults.** {@link failing}, {@link dying}, {@link hanging}, {@link slow} and {@link replace} give a changed flow; the
 * given one stays what it is. Nodes are named as events name them, see `penguiflow/FlowRewrite`. `times` counts the
 * attempts of each visit, redeliveries and retries of a subflow around it included: of a node over five items each item
 * fails so often.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type * as TestClock from "effect/testing/TestClock"
import type { Flow } from "../Flow.ts"
import type { FlowError } from "../FlowError.ts"
import type { FlowEvent } from "../FlowEvent.ts"
import * as FlowObserver from "../FlowObserver.ts"
import * as FlowRewrite from "../FlowRewrite.ts"
import * as FlowRuntime from "../FlowRuntime.ts"
import type { Tagged } from "../Policy.ts"

/** One attempt at a node. */
export interface Visit {
  readonly node: string
  readonly attempt: number
  readonly end: "succeeded" | "failed" | "timed out" | "interrupted" | "left behind"
}

/** A part that a node sent. */
export interface Part<out A> {
  readonly node: string
  readonly attempt: number
  readonly value: A
}

/** What became of the message. */
export interface Result<out Out, out E, out Part_> {
  readonly outcome: FlowRuntime.Outcome<Out, E>
  /** Every attempt, in the order in which they began. Steps of a loop and nodes of subflows are there, too. */
  readonly path: ReadonlyArray<Visit>
  /** Finished runs that were undone, in the order in which they were. */
  readonly compensated: ReadonlyArray<string>
  readonly events: ReadonlyArray<FlowEvent>
  readonly parts: ReadonlyArray<Part<Part_>>
}

/** How a message is run. */
export interface Options extends FlowRuntime.RunOptions {
  /** How far the test clock is moved at most, default 30 days; 0 where the test moves it itself. */
  readonly advance?: Duration.Input | undefined
  /** Real time after which a trace that waits for nothing that the clock could bring is given up; default 5 seconds. */
  readonly patience?: Duration.Input | undefined
  /** Of the runtime that is made for the message. */
  readonly runtime?: FlowRuntime.Options | undefined
}

/**
 * Runs one message and gives all that can be known of it.
 *
 * The trace's failure is in `outcome.exit`; the Effect itself fails only where the message is not accepted. A trace that
 * neither ends nor waits for time dies, after `patience`, with the names of the nodes that it is in; so does one
 * that would need more time than `advance`. Interrupting it cancels the trace.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schedule, Schema } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Flow, Node } from "penguiflow"
 * import * as FlowTest from "penguiflow/testing/FlowTest"
 *
 * class Busy extends Schema.TaggedError<Busy>()("Busy", {}) {}
 * const ask = Node.make("ask", {
 *   input: Schema.String,
 *   output: Schema.Number,
 *   policy: { retry: Schedule.exponential("1 hour").pipe(Schedule.upTo({ times: 3 })) },
 *   run: (text) => Effect.succeed(text.length)
 * })
 * const flow = FlowTest.failing(Flow.make("asking", [ask.to()]), "ask", { times: 2, error: new Busy() })
 * const program = Effect.map(
 *   FlowTest.run(flow, "four"),
 *   ({ outcome, path }) => [outcome.durationMs, path.map(({ end }) => end)]
 * )
 * await Effect.runPromise(Effect.provide(program, TestClock.layer())) // => [10_800_000, ["failed", "failed", "succeeded"]]
 * ```
 */
export const run = <In, Out, E, R, P>(
  flow: Flow<string, In, Out, E, R, P>,
  input: NoInfer<In>,
  options: Options = {}
): Effect.Effect<Result<Out, E, P>, FlowError, Exclude<R, Scope.Scope>> =>
  Effect.suspend(() => {
    const events: Array<FlowEvent> = []
    const parts: Array<Part<P>> = []
    const { advance, patience, runtime: runtimeOptions, ...runOptions } = options
    const running = Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(FlowRewrite.onPart(flow, (part) => parts.push(part)), runtimeOptions)
      yield* runtime.emit(input, runOptions)
      const outcome = yield* runtime.fetch
      // Once the runtime has shut down, the observer has seen all.
      yield* runtime.shutdown()
      return { outcome, path: pathOf(events), compensated: compensatedIn(events), events, parts }
    }).pipe(
      Effect.scoped,
      Effect.provide(FlowObserver.layer({
        name: "penguiflow/testing/FlowTest",
        capacity: 1_000_000,
        observe: (batch) =>
          Effect.sync(() => {
            events.push(...batch)
          })
      }))
    )
    return driven(running, millis(advance ?? "30 days"), millis(patience ?? "5 seconds"), () =>
      `of flow "${flow.name}", in ${open(events)}`)
  })

/** Which part of an attempt a fault stands at. */
export interface Fault {
  /** How many attempts of each visit; default 1. `Infinity` for all. */
  readonly times?: number | undefined
  /**
   * `"start"`, the default: instead of what the node does. `"end"`: after it has done its work, before its result is
   * recorded, as when a process dies at the worst moment.
   */
  readonly at?: "start" | "end" | undefined
}

/** The flow, one of whose nodes fails with an error. */
export const failing = <Name extends string, In, Out, E, R, P, E2 extends Tagged>(
  flow: Flow<Name, In, Out, E, R, P>,
  node: FlowRewrite.Named,
  options: Fault & { readonly error: E2 }
): Flow<Name, In, Out, E | E2, R, P> => faulty(flow, node, options, Effect.fail(options.error))

/** The flow, one of whose nodes dies: what a bug looks like. */
export const dying = <Name extends string, In, Out, E, R, P>(
  flow: Flow<Name, In, Out, E, R, P>,
  node: FlowRewrite.Named,
  options: Fault & { readonly defect?: unknown } = {}
): Flow<Name, In, Out, E, R, P> =>
  faulty(flow, node, options, Effect.die(options.defect ?? new Error("a fault of the test")))

/** The flow, one of whose nodes never ends: what a timeout is for. Interruption stops it. */
export const hanging = <Name extends string, In, Out, E, R, P>(
  flow: Flow<Name, In, Out, E, R, P>,
  node: FlowRewrite.Named,
  options: Fault = {}
): Flow<Name, In, Out, E, R, P> => faulty(flow, node, options, Effect.never)

/** The flow, one of whose nodes takes longer, by so much, in every attempt unless `times` says otherwise. */
export const slow = <Name extends string, In, Out, E, R, P>(
  flow: Flow<Name, In, Out, E, R, P>,
  node: FlowRewrite.Named,
  options: { readonly by: Duration.Input; readonly times?: number | undefined }
): Flow<Name, In, Out, E, R, P> => {
  const strikes = counter(options.times ?? Infinity)
  return FlowRewrite.around(
    flow,
    node,
    (run, { context }) => Effect.suspend(() => strikes(context.idempotencyKey) ? Effect.delay(run, options.by) : run)
  )
}

/** The flow with another run in the place of a node's: see `FlowRewrite.replace`. */
export const replace: typeof FlowRewrite.replace = FlowRewrite.replace

/** How many attempts at a node began. */
export const attempts = (result: { readonly path: ReadonlyArray<Visit> }, node: string): number =>
  result.path.filter((visit) => visit.node === node).length

// ----------------------------------------------------------------------------------------------------------- internals

const faulty = <Name extends string, In, Out, E, R, P, E2>(
  flow: Flow<Name, In, Out, E, R, P>,
  node: FlowRewrite.Named,
  { at, times }: Fault,
  fault: Effect.Effect<never, E2>
): Flow<Name, In, Out, E | E2, R, P> => {
  const strikes = counter(times ?? 1)
  return FlowRewrite.around(
    flow,
    node,
    (run, { context }) =>
      Effect.suspend((): Effect.Effect<FlowRewrite.Given, FlowRewrite.Own | E2> => {
        if (!strikes(context.idempotencyKey)) return run
        return at === "end" ? Effect.andThen(run, fault) : fault
      })
  )
}

/** Says yes so often for each key. */
const counter = (times: number) => {
  const counts = new Map<string, number>()
  return (key: string): boolean => {
    const count = counts.get(key) ?? 0
    if (count < times) counts.set(key, count + 1)
    return count < times
  }
}

const millis = (duration: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(duration))

const ends: { readonly [Tag in FlowEvent["_tag"]]?: Visit["end"] } = {
  NodeSucceeded: "succeeded",
  NodeErrored: "failed",
  NodeTimedOut: "timed out",
  NodeInterrupted: "interrupted",
  NodeStuck: "left behind"
}

const visitsOf = (events: ReadonlyArray<FlowEvent>) => {
  const visits: Array<{ node: string; attempt: number; end: Visit["end"] | undefined }> = []
  for (const { _tag, attempt, node } of events) {
    if (node === undefined || attempt === undefined) continue
    if (_tag === "NodeStarted") visits.push({ node, attempt, end: undefined })
    const end = ends[_tag]
    if (end === undefined) continue
    const visit = visits.find((it) => it.node === node && it.attempt === attempt && it.end === undefined)
    if (visit !== undefined) visit.end = end
  }
  return visits
}

const pathOf = (events: ReadonlyArray<FlowEvent>): ReadonlyArray<Visit> =>
  visitsOf(events).map(({ attempt, end, node }) => ({ node, attempt, end: end ?? "interrupted" }))

const compensatedIn = (events: ReadonlyArray<FlowEvent>): ReadonlyArray<string> =>
  events.flatMap((event) => event._tag === "NodeCompensated" ? [event.node] : [])

const open = (events: ReadonlyArray<FlowEvent>): string => {
  const nodes = visitsOf(events).flatMap(({ end, node }) => end === undefined ? [`"${node}"`] : [])
  return nodes.length === 0 ? "no node" : nodes.join(", ")
}

/** How many turns of the event loop a trace gets to do what it can do without time. */
const turns = 8

const isTestClock = (clock: Clock.Clock): clock is TestClock.TestClock => "adjust" in clock && "withLive" in clock

/** Runs the effect under a clock that knows who sleeps until when, and moves it from one such instant to the next. */
const driven = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  limit: number,
  patience: number,
  where: () => string
): Effect.Effect<A, E, R> =>
  Effect.flatMap(Clock.Clock, (clock) => {
    if (!isTestClock(clock) || limit <= 0) return effect
    const sleepers = new Set<{ readonly until: number }>()
    const watched: TestClock.TestClock = {
      ...clock,
      sleep: (duration) =>
        Effect.suspend(() => {
          // Timers wake at whole milliseconds, and so does everybody here: jitter would leave the clock between two.
          const ms = Math.ceil(Duration.toMillis(duration))
          const sleeper = { until: clock.currentTimeMillisUnsafe() + ms }
          sleepers.add(sleeper)
          return Effect.ensuring(clock.sleep(Duration.millis(ms)), Effect.sync(() => sleepers.delete(sleeper)))
        })
    }
    const next = () => [...sleepers].reduce((first, { until }) => Math.min(first, until), Infinity)
    return Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(Effect.provideService(effect, Clock.Clock, watched), {
        startImmediately: true
      })
      const end = clock.currentTimeMillisUnsafe() + limit
      let idleSince = performance.now()
      while (true) {
        for (let turn = 0; turn < turns && fiber.pollUnsafe() === undefined; turn++) yield* Effect.yieldNow
        const exit = fiber.pollUnsafe()
        if (exit !== undefined) return yield* exit
        const until = next()
        if (until > end) {
          if (until < Infinity) {
            return yield* giveUp(fiber, `FlowTest.run: the trace ${where()}, needs more time than \`advance\` allows`)
          }
          if (performance.now() - idleSince > patience) {
            return yield* giveUp(fiber, `FlowTest.run: the trace ${where()}, waits for nothing that time could bring`)
          }
          yield* clock.withLive(Effect.sleep(1))
        } else {
          yield* clock.adjust(Math.max(0, until - clock.currentTimeMillisUnsafe()))
          idleSince = performance.now()
        }
      }
    })
  })

/** A node that resists interruption would hold up the report, too. */
const giveUp = (fiber: Fiber.Fiber<unknown, unknown>, why: string): Effect.Effect<never> =>
  Effect.suspend(() => {
    fiber.interruptUnsafe()
    return Effect.die(new Error(why))
  })
