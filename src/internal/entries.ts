/** The ways into a runtime: run, emit, stream; and what one can do from outside: cancel, watch. */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { FlowError, type FlowErrorReason } from "../FlowError.ts"
import type { FlowEvent } from "../FlowEvent.ts"
import type { Item, RunOptions } from "../FlowRuntime.ts"
import { onFreshStack } from "./nesting.ts"
import { defaultCapacity } from "./subscription.ts"
import type { Supervisor } from "./supervisor.ts"
import { failureOf, type Trace, type TraceExit } from "./trace.ts"

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** Parts and results that wait for whoever streams a trace. */
const streamBuffer = 64

const cancelled = (reason: string | undefined): FlowErrorReason => ({ _tag: "TraceCancelled", reason })

const stopAndWait = (trace: Trace, reason: FlowErrorReason): Effect.Effect<void> =>
  Effect.suspend(() => {
    trace.supervisor.stop(trace, reason)
    return trace.end
  })

/** One message, awaited; `view` says what its caller sees of the trace's end. */
export const run = <A>(
  supervisor: Supervisor,
  input: unknown,
  options: RunOptions | undefined,
  view: (trace: Trace, exit: TraceExit) => Exit.Exit<A, unknown>
): Effect.Effect<A, unknown> =>
  Effect.withFiber((caller: AnyFiber) => {
    const trace = supervisor.accept(input, options, caller, false)
    if (trace instanceof FlowError) return Exit.fail(trace)
    supervisor.admit(trace)
    if (trace.state._tag === "Done") return view(trace, trace.state.exit)
    return Effect.callback<A, unknown>((resume) => {
      trace.whenDone((exit) => resume(onFreshStack(trace.nests, view(trace, exit))))
      return onFreshStack(trace.nests, stopAndWait(trace, cancelled("its caller was interrupted")))
    })
  })

/** One message, accepted: its outcome will be fetched. */
export const emit = (
  supervisor: Supervisor,
  input: unknown,
  options: RunOptions | undefined
): Effect.Effect<string, FlowError> =>
  Effect.withFiber((caller: AnyFiber) => {
    const trace = supervisor.accept(input, options, caller, true)
    if (trace instanceof FlowError) return Exit.fail(trace)
    const { traceId } = trace
    supervisor.admit(trace)
    if (trace.taken) return Exit.succeed(traceId)
    if (trace.state._tag === "Done") return Exit.fail(refusalOf(trace.state.exit))
    return Effect.callback<string, FlowError>((resume) => {
      trace.onAdmitted = () => {
        trace.onAdmitted = undefined
        const { state, taken } = trace
        resume(!taken && state._tag === "Done" ? Exit.fail(refusalOf(state.exit)) : Exit.succeed(traceId))
      }
      return Effect.sync(() => {
        trace.onAdmitted = undefined
        supervisor.stop(trace, cancelled("its caller was interrupted"))
      })
    })
  })

/** Why a trace that never began has ended. */
const refusalOf = (exit: TraceExit): FlowError => {
  const failure = exit._tag === "Failure" ? failureOf(exit.cause) : undefined
  return failure !== undefined && "error" in failure ? failure.error as FlowError : neverBegun()
}

const neverBegun = (): never => {
  throw new Error("a trace that never began ended well")
}

/** One message, its parts and results as they come. */
export const stream = (
  supervisor: Supervisor,
  input: unknown,
  options: RunOptions | undefined
): Stream.Stream<Item<unknown, unknown>, unknown> => {
  const open = Effect.withFiber((caller: AnyFiber) => {
    const trace = supervisor.accept(input, options, caller, false)
    if (trace instanceof FlowError) return Exit.fail(trace)
    return Effect.map(Queue.bounded<Item<unknown, unknown>, unknown>(streamBuffer), (queue) => {
      trace.sink = queue
      trace.whenDone((exit) => {
        if (exit._tag === "Success") Queue.failCauseUnsafe(queue, Cause.fail(Cause.Done()))
        else Queue.failCauseUnsafe(queue, exit.cause)
      })
      supervisor.admit(trace)
      return { queue, trace }
    })
  })
  return Stream.unwrap(Effect.map(
    Effect.acquireRelease(open, ({ queue, trace }) =>
      trace.done
        ? Effect.void
        : Effect.andThen(stopAndWait(trace, cancelled("its consumer left")), Queue.shutdown(queue))),
    ({ queue }) => Stream.fromQueue(queue)
  ))
}

/** True when the trace was open; returns once it has ended. */
export const cancel = (
  supervisor: Supervisor,
  traceId: string,
  reason: string | undefined
): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const trace = supervisor.find(traceId)
    return trace === undefined ? Exit.succeed(false) : Effect.as(stopAndWait(trace, cancelled(reason)), true)
  })

/** What happens from when the stream is run. */
export const events = (supervisor: Supervisor): Stream.Stream<FlowEvent> =>
  Stream.unwrap(Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => supervisor.hub.subscribe(defaultCapacity)),
      (subscription) => Effect.sync(() => supervisor.hub.unsubscribe(subscription))
    ),
    (subscription) => {
      const pull: Effect.Effect<Arr.NonEmptyReadonlyArray<FlowEvent>, Cause.Done> = Effect.flatMap(
        subscription.take,
        (batch) =>
          batch === undefined ? Cause.done() : Arr.isReadonlyArrayNonEmpty(batch) ? Effect.succeed(batch) : pull
      )
      return Stream.fromPull(Effect.succeed(pull))
    }
  ))
