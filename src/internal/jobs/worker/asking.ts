/** Asking a store that may fail: each question is bounded, and what fails is told, logged seldom, and tried again. */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import { isJobError, type JobError } from "../../../JobError.ts"
import { bounded } from "../../../JobStore.ts"
import type { WorkerEvent } from "../../../WorkerEvent.ts"
import { messageOf } from "../../text.ts"
import { errorOf } from "../outcome.ts"
import type { Signal } from "../signal.ts"

/** Log lines about a queue that fails: one, then one each … milliseconds. */
const logEvery = 5000
/** How long an operation counts as failing where nobody asks for it again: longer than any pause between tries. */
const believed = 8000

export class Asking {
  readonly #id: string
  readonly #queryTimeout: number
  readonly #endsWithin: number
  readonly #clock: Clock.Clock
  readonly #publish: (event: WorkerEvent) => void
  /** Monotonic, since when the store has failed; undefined while it answers. */
  #failingSince: number | undefined
  #failures = 0
  #loggedAt = -Infinity
  #told = false
  #answered = false
  /** Operations that failed when they were last asked for, and when that was. */
  readonly #failing: Map<string, number> = new Map()

  constructor(
    { id, queryTimeout }: { readonly id: string; readonly queryTimeout: number },
    endsWithin: number,
    clock: Clock.Clock,
    publish: (event: WorkerEvent) => void
  ) {
    this.#id = id
    this.#queryTimeout = queryTimeout
    this.#endsWithin = endsWithin
    this.#clock = clock
    this.#publish = publish
  }

  /** Whether the store answered last time. */
  get available(): boolean {
    return this.#answered && this.#failingSince === undefined
  }

  ask<A>(
    operation: string,
    effect: Effect.Effect<A, JobError>,
    ms: number = this.#queryTimeout
  ): Effect.Effect<A, JobError> {
    return Effect.onExit(ms >= this.#endsWithin ? effect : bounded(operation, ms, effect), (exit) => {
      if (exit._tag === "Success") return this.#works(operation)
      return Cause.hasInterruptsOnly(exit.cause) ? Effect.void : this.#fails(operation, errorOf(exit.cause))
    })
  }

  #now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe() / 1_000_000n)
  }

  #works(operation: string): Effect.Effect<void> {
    this.#answered = true
    if (this.#failingSince === undefined) return Effect.void
    // A standby answers what only reads, and a full disk what is small: that one works proves nothing for another.
    this.#failing.delete(operation)
    const now = this.#now()
    for (const at of this.#failing.values()) if (now - at < believed) return Effect.void
    this.#failing.clear()
    const downMs = now - this.#failingSince
    this.#failingSince = undefined
    this.#publish({
      _tag: "QueueRecovered",
      at: this.#clock.currentTimeMillisUnsafe(),
      downMs,
      failures: this.#failures
    })
    this.#failures = 0
    if (!this.#told) return Effect.void
    this.#told = false
    return Effect.logInfo(`worker ${this.#id}: the job queue answers again, after ${downMs} ms`)
  }

  #fails(operation: string, error: unknown): Effect.Effect<void> {
    const now = this.#now()
    this.#failingSince ??= now
    this.#failures++
    this.#failing.set(operation, now)
    const message = messageOf(error)
    this.#publish({ _tag: "QueueFailed", at: this.#clock.currentTimeMillisUnsafe(), operation, message })
    if (now - this.#loggedAt < logEvery) return Effect.void
    this.#loggedAt = now
    this.#told = true
    return Effect.logWarning(
      `worker ${this.#id}: the job queue fails (${operation}, ${this.#failures} so far), trying again: ${message}`
    )
  }
}

/** A loop of a worker, that nothing ends but the worker's end. What it asks is nobody's request, and is not traced. */
export const forever = (
  worker: { readonly phase: "Running" | "Draining" | "Stopped"; readonly settings: { readonly id: string } },
  step: Effect.Effect<void, JobError>,
  wake: Signal
): Effect.Effect<void> =>
  Effect.provideService(
    Effect.gen(function*() {
      let pause = 0
      while (worker.phase !== "Stopped") {
        const exit = yield* Effect.exit(step)
        if (exit._tag === "Success") {
          pause = 0
          continue
        }
        if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
        const error = errorOf(exit.cause)
        if (!isJobError(error)) yield* Effect.logError(`worker ${worker.settings.id}: ${messageOf(error)}`)
        pause = Math.min(5000, Math.max(100, pause * 2))
        yield* Effect.sleep(Duration.millis(pause * (0.75 + Math.random() / 2)))
        if (worker.phase === "Draining") wake.ring()
      }
    }),
    References.TracerEnabled,
    false
  )
