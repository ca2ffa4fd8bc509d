/** How the public modules reach the supervisor: a runtime to keep, and a run that keeps nothing. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { Flow } from "../Flow.ts"
import type { FlowError } from "../FlowError.ts"
import * as FlowObserver from "../FlowObserver.ts"
import type { FlowRuntime, Options, RunOptions } from "../FlowRuntime.ts"
import { CurrentTrace } from "../Trace.ts"
import * as Entries from "./entries.ts"
import { planOf } from "./plan.ts"
import { Supervisor } from "./supervisor.ts"
import type { Trace, TraceExit } from "./trace.ts"

const one = (trace: Trace, exit: TraceExit): Exit.Exit<unknown, unknown> => {
  if (exit._tag === "Failure") return exit
  const results = exit.value
  if (results.length === 1) return Exit.succeed(results[0])
  return Exit.fail(
    results.length === 0
      ? trace.fail({ _tag: "NoResult" }, "The trace succeeded and gave no result: no egress node was reached")
      : trace.fail(
        { _tag: "ManyResults", count: results.length },
        `The trace succeeded and gave ${results.length} results: \`runAll\` returns them all`
      )
  )
}

const all = (_: Trace, exit: TraceExit): TraceExit => exit

/** Milliseconds that a shutdown waits for open traces, unless told otherwise. */
const defaultGrace = 30_000

/** Milliseconds that one message waits, after its result is there, for observers to read what they were told. */
const observersGrace = 100

/** See `FlowRuntime.make`. */
export const makeRuntime = <In, Out, E, R, Part>(
  flow: Flow<string, In, Out, E, R, Part>,
  options: Options
): Effect.Effect<FlowRuntime<In, Out, E, Part>, never, R | Scope.Scope> =>
  Effect.gen(function*() {
    const plan = planOf(flow)
    const fault = faultOf(options)
    if (fault !== undefined) {
      return yield* Effect.die(new RangeError(`The runtime of "${flow.name}" can't be made: ${fault}`))
    }
    const context = Context.omit(Scope.Scope, CurrentTrace)(
      yield* Effect.context<R | Scope.Scope>()
    ) as Context.Context<never>
    const supervisor = new Supervisor(plan, context, options)
    supervisor.observe(FlowObserver.fromContext(context))
    // The supervisor's fiber: as long as it lives the runtime does.
    yield* Effect.forkScoped(Effect.ensuring(Effect.never, supervisor.close), { startImmediately: true })
    const runtime = {
      run: (input: unknown, opts?: RunOptions) => Entries.run(supervisor, input, opts, one),
      runAll: (input: unknown, opts?: RunOptions) => Entries.run(supervisor, input, opts, all),
      stream: (input: unknown, opts?: RunOptions) => Entries.stream(supervisor, input, opts),
      emit: (input: unknown, opts?: RunOptions) => Entries.emit(supervisor, input, opts),
      fetch: supervisor.outcomes.fetch,
      cancel: (traceId: string, reason?: string) => Entries.cancel(supervisor, traceId, reason),
      events: Entries.events(supervisor),
      open: Effect.sync(() => supervisor.open),
      shutdown: (opts?: { readonly grace?: Duration.Input | undefined }) =>
        supervisor.shutdown(Duration.toMillis(Duration.fromInputUnsafe(opts?.grace ?? defaultGrace)))
    }
    return runtime as unknown as FlowRuntime<In, Out, E, Part>
  })

const faultOf = ({ interruptGrace, maxInFlight }: Options): string | undefined => {
  if (
    maxInFlight !== undefined && !(maxInFlight === Infinity || Number.isSafeInteger(maxInFlight) && maxInFlight > 0)
  ) {
    return `maxInFlight is ${maxInFlight}, and takes a whole number from 1, or Infinity`
  }
  if (interruptGrace === undefined) return undefined
  const grace = Duration.fromInput(interruptGrace)
  return grace._tag === "Some" && Duration.toMillis(grace.value) >= 0
    ? undefined
    : `interruptGrace is ${String(interruptGrace)}, and takes a duration`
}

/** See `Flow.run`: a supervisor for one message, closed after it only where there is something to close. */
export const runOnce = <In, Out, E, R>(
  flow: Flow<string, In, Out, E, R, unknown>,
  input: In,
  options: RunOptions | undefined
): Effect.Effect<Out, E | FlowError, R> =>
  Effect.withFiber((caller: Fiber.Fiber<unknown, unknown>) => {
    const plan = planOf(flow)
    const supervisor = new Supervisor(plan, caller.context, { maxInFlight: 1 })
    const observers = FlowObserver.fromContext(caller.context)
    const running = Entries.run(supervisor, input, options, one) as Effect.Effect<Out, E | FlowError, R>
    if (observers.length === 0 && !plan.layered) return running
    supervisor.observe(observers)
    return Effect.ensuring(running, supervisor.closeWithin(observersGrace))
  })
