/** Fibers that listen: what they are told they hear at once, not after a turn of the event loop. */
import * as Effect from "effect/Effect"
import * as Scheduler from "effect/Scheduler"

const microtasks = new Scheduler.MixedScheduler("async", (run) => {
  let wanted = true
  queueMicrotask(() => {
    if (wanted) run()
  })
  return () => {
    wanted = false
  }
})

/** Fibers that are forked in it have a scheduler of microtasks, which also wakes who takes from a queue that they make. For short steps. */
export const atOnce = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, Scheduler.Scheduler, microtasks)
