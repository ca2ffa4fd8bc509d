/** Small effects that tests share. */
import { Clock, Effect } from "effect"
import type { FlowError } from "penguiflow"

/** Starts an effect in a child fiber and lets it run as far as it can. */
export const start = Effect.forkChild({ startImmediately: true })

/** The code that an effect fails with; the tag where it is a node's own error. */
export const codeOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => (error as Partial<FlowError.FlowError>).code ?? error._tag)

/** What time it is, in milliseconds on the test's clock. */
export const now = Effect.map(Clock.currentTimeMillis, Number)

/** How many are inside at once, and how many were at most. */
export const gauge = () => {
  const state = { now: 0, most: 0, entered: 0 }
  const inside = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        state.entered++
        state.most = Math.max(state.most, ++state.now)
      }),
      () => effect,
      () => Effect.sync(() => state.now--)
    )
  return { state, inside }
}

/**
 * Lets a test's clock know its first sleeper. The first sleep under a test clock takes an interruption that is pending, so
 * that a finalizer which sleeps first would be cut short by the clock and not by what is tested.
 */
export const sleeper = Effect.asVoid(start(Effect.sleep("365 days")))
