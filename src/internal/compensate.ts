/** Undoing what finished: in reverse order of finishing, uninterruptibly, each whatever became of the others. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { ErrorInfo } from "../FlowEvent.ts"
import type { AnyEffect } from "./effects.ts"
import type { Frame } from "./frame.ts"
import type { Step } from "./plan.ts"
import { errorInfo } from "./text.ts"
import type { Trace } from "./trace.ts"
import type { Walk } from "./walk.ts"

/** A run that can be undone. */
export interface Finished {
  /** Where it ran. */
  readonly frame: Frame
  readonly step: Step
  readonly output: unknown
  readonly context: unknown
  readonly attempt: number
}

/** Undoes what finished, in the whole trace or within one visit; each run is undone once. */
export const compensate = (trace: Trace, visit?: Walk): Effect.Effect<void> =>
  Effect.uninterruptible(Effect.suspend(() => {
    const all = trace.finished ?? []
    const undone = visit === undefined ? all : all.filter((run) => run.frame.isWithin(visit))
    trace.finished = visit === undefined ? [] : all.filter((run) => !run.frame.isWithin(visit))
    return Effect.forEach(undone.toReversed(), (run) => undo(trace, run), { discard: true })
  }))

/** Undoes one run. */
export const undo = (trace: Trace, run: Finished): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { attempt, context, output, step } = run
    trace.undoing = run
    const { clock, hub } = trace.supervisor
    const startedAt = clock.currentTimeMillisUnsafe()
    const undoing: AnyEffect = Effect.suspend(() => {
      const effect = step.compensate!(output, context)
      return Effect.isEffect(effect)
        ? effect as AnyEffect
        : Effect.die(new TypeError(`the compensation of node "${step.name}" gave no Effect: it has to return one`))
    })
    const told = (error: ErrorInfo | undefined) =>
      Effect.sync(() => {
        trace.undoing = undefined
        hub.nodeCompensated(trace, step.name, attempt, startedAt, error)
      })
    // In a fiber of its own: what one does to its fiber does not stop the others.
    const options = { startImmediately: true, uninterruptible: true } as const
    return Effect.flatMap(
      Effect.forkDetach(trace.supervisor.withLayers(step, undoing), options),
      (fiber) =>
        Effect.flatMap(
          Fiber.await(fiber),
          (exit) => told(exit._tag === "Success" ? undefined : errorInfo(Cause.squash(exit.cause)))
        )
    )
  })

/** Closes what failed or interrupted attempts acquired, last first. A finalizer that dies stops no other. */
export const closeScopes = (trace: Trace, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.whileLoop({
    while: () => trace.scopes !== undefined && trace.scopes.length > 0,
    body: () => Effect.ignoreCause(Scope.close(trace.scopes!.pop()!, exit)),
    step: () => {}
  })
