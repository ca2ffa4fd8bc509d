/** How a try ended, as it is to be recorded: done, to be tried again, dead, cancelled, or given back. */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import { FlowError } from "../../../FlowError.ts"
import { JobError } from "../../../JobError.ts"
import type { Claim, Failure, Settlement } from "../../../JobStore.ts"
import { failedAt } from "../../../Trace.ts"
import type { FlowCodecs } from "../../schemas.ts"
import { cancelWords, errorOf, failureIn, jobFailure, storeResults } from "../outcome.ts"
import { attemptOf, leaseOf, type Running, type Settings, type Stop } from "./state.ts"

/** Of a trace that ended; undefined where somebody else has the job. */
export const settlementOf = (
  { claim, stop }: Running,
  exit: Exit.Exit<ReadonlyArray<unknown>, unknown>,
  codecs: FlowCodecs,
  settings: Settings
): Settlement | undefined => {
  if (exit._tag === "Success") {
    const results = storeResults(exit.value, codecs, settings.maxResult)
    if (results._tag === "Success") return { ...leaseOf(claim), _tag: "Done", results: results.value }
    const reason = results.cause.reasons[0]
    return unstorable(claim, reason?._tag === "Fail" ? reason.error : "it can't be stored")
  }
  const error = errorOf(exit.cause)
  const stopped = error instanceof FlowError && (error.code === "TRACE_CANCELLED" || error.code === "SHUTTING_DOWN")
  if (stopped) return afterStop(claim, stop ?? { _tag: "Shutdown" }, settings)
  // Its predecessor, whose lease was lost, still resists in this process.
  if (error instanceof FlowError && error.code === "DUPLICATE_TRACE") {
    return { ...leaseOf(claim), _tag: "Returned", delayMs: 1000 }
  }
  return afterFailure(claim, exit.cause, codecs, settings)
}

/** Of a job that was stopped. */
export const afterStop = (claim: Claim, stop: Stop, settings: Settings): Settlement | undefined => {
  switch (stop._tag) {
    case "Lost":
      return undefined
    case "Shutdown":
      return { ...leaseOf(claim), _tag: "Returned", delayMs: 0 }
    case "Cancelled": {
      const reason = { _tag: "JobCancelled", reason: stop.reason } as const
      const failure = jobFailure("JOB_CANCELLED", cancelWords(stop.reason), reason, attemptOf(claim))
      return { ...leaseOf(claim), _tag: "Cancelled", failure }
    }
    case "TimedOut": {
      const reason = { _tag: "JobTimedOut", timeoutMs: stop.timeoutMs } as const
      const message = `The job ran longer than its timeout of ${stop.timeoutMs} ms, and its trace was cancelled`
      const error = new JobError({ jobId: claim.id, reason, message })
      return retryOrDie(claim, error, jobFailure("JOB_TIMEOUT", message, reason, attemptOf(claim)), settings)
    }
  }
}

/** Of a job that failed. */
export const afterFailure = (
  claim: Claim,
  cause: Cause.Cause<unknown>,
  codecs: FlowCodecs,
  settings: Settings
): Settlement => {
  const error = errorOf(cause)
  return retryOrDie(claim, error, failureIn(error, failedAt(cause)?.node, codecs, attemptOf(claim)), settings)
}

/** Of a job whose payload is not what its flow takes any more. */
export const undecodable = (claim: Claim, issue: string): Settlement => {
  const words = `What is stored as the job's payload does not fit what the flow "${claim.flow}" takes: ${issue}`
  const failure = jobFailure("UNDECODABLE_PAYLOAD", words, { _tag: "UndecodablePayload", issue }, attemptOf(claim))
  return { ...leaseOf(claim), _tag: "Dead", failure }
}

/** Of a job that succeeded with what can't be kept. */
export const unstorable = (claim: Claim, issue: string): Settlement => {
  const words = `The job succeeded, and its result can't be stored: ${issue}`
  const failure = jobFailure("UNSTORABLE_RESULT", words, { _tag: "UnstorableResult", issue }, attemptOf(claim))
  return { ...leaseOf(claim), _tag: "Dead", failure }
}

// ----------------------------------------------------------------------------------------------------------- internals

const retryOrDie = (claim: Claim, error: unknown, failure: Failure, settings: Settings): Settlement => {
  const failures = claim.failures + 1
  const dead: Settlement = { ...leaseOf(claim), _tag: "Dead", failure }
  if (failures >= claim.maxAttempts || !mayRetry(error, settings)) return dead
  const delayMs = delayOf(settings.retry, failures, error)
  return delayMs === undefined ? dead : { ...leaseOf(claim), _tag: "Retry", delayMs, failure }
}

const mayRetry = (error: unknown, settings: Settings): boolean => {
  try {
    return (settings.retryWhile ?? retryable)(error)
  } catch {
    return true
  }
}

/** Whether another try may end differently: not where the error says that it will not, nor where the input is wrong. */
const retryable = (error: unknown): boolean => {
  if (error instanceof FlowError) {
    return !["INVALID_INPUT", "INVALID_OUTPUT", "INVALID_META"].includes(error.code)
  }
  if (typeof error !== "object" || error === null) return true
  return Reflect.get(error, "retryable") !== false && Reflect.get(error, "isRetryable") !== false
}

/**
 * What a schedule says to the `failures`th failure, in milliseconds; undefined where it has ended. A schedule's state
 * can't be stored, so it is asked again for each failure so far, as if they had followed each other at its own pace.
 */
const delayOf = (
  schedule: Schedule.Schedule<unknown, unknown>,
  failures: number,
  error: unknown
): number | undefined => {
  const ask = Effect.gen(function*() {
    const step = yield* Schedule.toStep(schedule)
    let now = 0
    let delay = 0
    for (let i = 0; i < failures; i++) {
      const [, duration] = yield* step(now, error)
      delay = Duration.toMillis(duration)
      now += delay
    }
    return delay
  })
  const exit = Effect.runSyncExit(ask)
  if (exit._tag === "Success") return Number.isFinite(exit.value) ? Math.max(0, Math.round(exit.value)) : undefined
  return Pull.isDoneCause(exit.cause) ? undefined : 1000
}
