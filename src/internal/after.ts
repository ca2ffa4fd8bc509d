/** A moment later, by a fiber's clock. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** The clock of whoever was given none. */
const machines = Context.get(Context.empty(), Clock.Clock)
/** The longest that a timer of the machine takes; a longer one would go off at once. */
const longest = 2 ** 31 - 1

/**
 * Calls back after `ms` milliseconds; returns how to stop that. By the machine's own clock it is a plain timer, which costs
 * a tenth of a fiber that sleeps.
 */
export const after = (context: Context.Context<never>, ms: number, then: () => void): () => void => {
  if (Context.get(context, Clock.Clock) === machines && ms <= longest) {
    const timer = setTimeout(then, ms)
    return () => clearTimeout(timer)
  }
  const sleeping = Effect.runForkWith(context)(Effect.andThen(Effect.sleep(Duration.millis(ms)), Effect.sync(then)))
  return () => sleeping.interruptUnsafe()
}
