/** Patience: the policy of nodes that ask a database or a model, which may be busy for a moment. */
import * as Schedule from "effect/Schedule"
import type * as Policy from "../Policy.ts"

/**
 * Three tries more, after 100, 200 and 400 milliseconds give or take a fifth, of what says that it is worth it
 * (`isRetryable`, as `SqlError` and `AiError` have it). An attempt takes a minute at most.
 */
export const patient: Policy.Policy = {
  timeout: "1 minute",
  retry: Schedule.exponential("100 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 3 })),
  retryWhile: (error) => isRetryable(error)
}

/** Whether an error says of itself that trying again may help. */
export const isRetryable = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "isRetryable" in error && error.isRetryable === true
