/** An observer's fiber: what reads its buffer. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { FlowObserver } from "../FlowObserver.ts"
import type { Subscription } from "./subscription.ts"
import { messageOf } from "./text.ts"

/** Reads batches until the hub closes. What the observer fails with is logged once. */
export const watch = (observer: FlowObserver, subscription: Subscription): Effect.Effect<void> => {
  let complained = false
  const guarded = (effect: () => Effect.Effect<void, unknown>): Effect.Effect<void> =>
    Effect.catchCause(Effect.suspend(() => answerOf(observer, effect())), (cause) => {
      if (complained || Cause.hasInterruptsOnly(cause)) return Effect.void
      complained = true
      return Effect.logWarning(
        `Observer "${observer.name}" failed, and is not reported again: ${messageOf(Cause.squash(cause))}`
      )
    })
  const lost = (count: number): Effect.Effect<void, unknown> =>
    observer.onLost === undefined
      ? Effect.logWarning(`Observer "${observer.name}" is slow: ${count} events were lost`)
      : observer.onLost(count)
  const step: Effect.Effect<void> = Effect.flatMap(subscription.take, (events) => {
    if (events === undefined) return Effect.void
    const count = subscription.takeLost()
    const told = count === 0 ? Effect.void : guarded(() => lost(count))
    return Effect.andThen(
      events.length === 0 ? told : Effect.andThen(told, guarded(() => observer.observe(events))),
      step
    )
  })
  return step
}

/** An observer that answers with no Effect has failed; its fiber goes on. */
const answerOf = (observer: FlowObserver, answer: unknown): Effect.Effect<void, unknown> =>
  Effect.isEffect(answer)
    ? answer as Effect.Effect<void, unknown>
    : Effect.die(new TypeError(`observer "${observer.name}" answered with no Effect`))
