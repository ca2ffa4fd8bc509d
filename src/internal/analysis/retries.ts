/**
 * How often a Schedule lets something be tried, and how long that takes at most, without waiting for any of it.
 *
 * A Schedule is a function of the time and of what failed. It is stepped here with times of the worst sort: attempts that
 * fail at once, where attempts are counted, and attempts that take as long as they may, where time is. A jittered delay
 * counts with its longest, where time is measured, and with its shortest, where a Schedule ends after a duration. What a
 * Schedule makes of the errors themselves can't be known: it is asked with a timeout.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import { FlowError } from "../../FlowError.ts"

/** What a retry may cost. Infinity where there is no end to it. */
export interface Retries {
  readonly attempts: number
  /** Milliseconds from the begin of the first attempt to the end of the last one. */
  readonly totalMs: number
}

/** A Schedule that has not ended after so many steps counts as endless. */
const maxSteps = 10_000
/** Of the first so many steps it is found out exactly until when each can be reached. */
const maxExact = 64

interface Stepper {
  /** The delay before the next attempt; undefined where there is none. */
  readonly next: (now: number) => number | undefined
}

type AnySchedule = Schedule.Schedule<unknown, unknown>

const luck = (low: boolean): Random.Random => ({
  nextDoubleUnsafe: () => low ? 0 : 1 - Number.EPSILON,
  nextIntUnsafe: () => low ? Number.MIN_SAFE_INTEGER : Number.MAX_SAFE_INTEGER
})

/** Undefined where a Schedule can't be begun. One that fails, dies or needs time of its own ends with its luck. */
const stepper = (schedule: AnySchedule, shortest: boolean, timeoutMs: number): Stepper | undefined => {
  const error = new FlowError({
    flow: "",
    traceId: "",
    node: "",
    attempt: 1,
    message: "",
    reason: { _tag: "NodeTimedOut", timeoutMs }
  })
  const random = luck(shortest)
  const begun = Effect.runSyncExit(Effect.provideService(Schedule.toStep(schedule), Random.Random, random))
  if (Exit.isFailure(begun)) return undefined
  const step = begun.value
  return {
    next: (now) => {
      const exit = Effect.runSyncExit(Effect.provideService(step(now, error), Random.Random, random))
      return Exit.isSuccess(exit) ? Duration.toMillis(exit.value[1]) : undefined
    }
  }
}

const endless: Retries = { attempts: Infinity, totalMs: Infinity }

/**
 * The worst that a Schedule allows for attempts of `attemptMs` at most; Infinity for attempts without a timeout.
 *
 * A Schedule sees the first failure at its time 0: the first attempt is not part of what it measures.
 */
export const retriesOf = (schedule: AnySchedule, attemptMs: number): Retries => {
  const timeout = Number.isFinite(attemptMs) ? attemptMs : 0
  const make = (shortest: boolean) => stepper(schedule, shortest, timeout)
  const [short, long] = [make(true), make(false)]
  if (short === undefined || long === undefined) return endless

  // Attempts that fail at once, after the shortest delays: as many of them as there can be.
  const nows: Array<number> = []
  const delays: Array<number> = []
  for (let now = 0; nows.length <= maxSteps;) {
    const delay = short.next(now)
    if (delay === undefined) break
    nows.push(now)
    delays.push(Math.max(delay, long.next(now) ?? 0))
    now += delay
  }
  const retries = nows.length
  const attempts = retries > maxSteps ? Infinity : retries + 1
  if (!Number.isFinite(attemptMs)) return { attempts, totalMs: Infinity }
  if (attempts === Infinity) return { attempts, totalMs: lasting(make(false), attemptMs) }

  // Before each retry, failures come as late as the Schedule lets it happen: then its delay, then the last attempt.
  let totalMs = attemptMs
  let latest = 0
  for (let at = 0; at < retries; at++) {
    const reached = at < maxExact ? latestNow(make, nows, at, latest) : latest
    totalMs = Math.max(totalMs, attemptMs + reached + delays[at]! + attemptMs)
    latest += delays[at]! + attemptMs
  }
  return { attempts, totalMs }
}

/** The latest time, at most `wanted`, at which the Schedule still goes on after the steps before this one. */
const latestNow = (
  make: (shortest: boolean) => Stepper | undefined,
  nows: ReadonlyArray<number>,
  at: number,
  wanted: number
): number => {
  const goesOn = (now: number): boolean => {
    const fresh = make(true)
    if (fresh === undefined) return true
    for (let before = 0; before < at; before++) fresh.next(nows[before]!)
    return fresh.next(now) !== undefined
  }
  if (goesOn(wanted)) return wanted
  let [low, high] = [nows[at]!, wanted]
  // To the millisecond, rounded up: a bound.
  while (high - low > 1) {
    const middle = (low + high) / 2
    if (goesOn(middle)) low = middle
    else high = middle
  }
  return high
}

/** How long a Schedule without an end to its attempts lasts where each takes all its time: it may end by time. */
const lasting = (long: Stepper | undefined, attemptMs: number): number => {
  let longest = 0
  let now = 0
  for (let step = 0; step <= maxSteps; step++) {
    const delay = long?.next(now)
    if (delay === undefined) return attemptMs + now + longest + attemptMs
    longest = Math.max(longest, delay)
    now += delay + attemptMs
  }
  return Infinity
}
