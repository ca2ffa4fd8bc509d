/** Undoing what finished: in reverse order of finishing, uninterruptibly, each whatever became of the others. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Step } from "./plan.ts"
import type { Trace } from "./trace.ts"

/** A run that can be undone. */
export interface Finished {
  readonly step: Step
  readonly output: unknown
  readonly context: unknown
  readonly attempt: number
}

/** Undoes the runs that finished since `from`; each is undone once. */
export const compensate = (trace: Trace, from = 0): Effect.Effect<void> =>
  Effect.uninterruptible(
    Effect.whileLoop({
      while: () => trace.finished !== undefined && trace.finished.length > from,
      body: () => undo(trace, trace.finished!.pop()!),
      step: () => {}
    })
  )

const undo = (trace: Trace, { attempt, context, output, step }: Finished): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { clock, hub } = trace.supervisor
    const startedAt = clock.currentTimeMillisUnsafe()
    const undoing = Effect.suspend(() => step.compensate!(output, context) as Effect.Effect<void>)
    return Effect.matchCauseEffect(
      trace.supervisor.withLayers(step, undoing as Effect.Effect<void, never, never>) as Effect.Effect<void>,
      {
        onFailure: (cause) =>
          Effect.sync(() => hub.nodeCompensated(trace, step.name, attempt, startedAt, Cause.squash(cause))),
        onSuccess: () => Effect.sync(() => hub.nodeCompensated(trace, step.name, attempt, startedAt, undefined))
      }
    )
  })

/** Closes what failed or interrupted attempts acquired, last first. A finalizer that dies stops no other. */
export const closeScopes = (trace: Trace, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.whileLoop({
    while: () => trace.scopes !== undefined && trace.scopes.length > 0,
    body: () => Effect.ignoreCause(Scope.close(trace.scopes!.pop()!, exit)),
    step: () => {}
  })
