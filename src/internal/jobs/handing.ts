/**
 * A job that can run at once goes to an idle worker of this process with the very write that stores it: one question to
 * the store in place of two.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { JobError } from "../../JobError.ts"
import type { JobStore, NewJob, Stored, Taker } from "../../JobStore.ts"

/** Whose a job is that was stored for a worker; `unknown`: the answer got lost. */
export type Handed = "its own" | "not its own" | "unknown"

/** A worker of this process. */
export interface Idle {
  readonly taker: Taker
  /** Whether it has a place for the job now. Then it keeps one until {@link Idle.answered}. */
  readonly wants: (job: NewJob) => boolean
  readonly answered: (job: NewJob, whose: Handed) => void
}

/** Until the scope closes. */
export const offerTo = (store: JobStore, idle: Idle): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(Effect.acquireRelease(
    Effect.sync(() => workersOf(store).add(idle)),
    () => Effect.sync(() => workersOf(store).delete(idle))
  ))

/** Stores jobs. */
export const enqueueIn = (
  store: JobStore,
  jobs: ReadonlyArray<NewJob>,
  maxLength: number
): Effect.Effect<ReadonlyArray<Stored>, JobError> =>
  Effect.suspend(() => {
    const [job] = jobs
    if (job !== undefined && jobs.length === 1 && job.delayMs <= 0) {
      for (const idle of workersOf(store)) if (idle.wants(job)) return hand(store, job, maxLength, idle)
    }
    return store.enqueue(jobs, { maxLength })
  })

// ----------------------------------------------------------------------------------------------------------- internals

const workers = new WeakMap<JobStore, Set<Idle>>()

const workersOf = (store: JobStore): Set<Idle> => {
  const known = workers.get(store)
  if (known !== undefined) return known
  const none = new Set<Idle>()
  workers.set(store, none)
  return none
}

/** In a fiber of its own: whoever enqueues may be interrupted, and the worker must hear all the same. */
const hand = (
  store: JobStore,
  job: NewJob,
  maxLength: number,
  idle: Idle
): Effect.Effect<ReadonlyArray<Stored>, JobError> => {
  const storing = Effect.onExit(
    store.enqueue([job], { maxLength, taker: idle.taker }),
    (exit) => Effect.sync(() => idle.answered(job, whose(exit)))
  )
  return Effect.flatMap(Effect.forkDetach(storing, { startImmediately: true }), Fiber.join)
}

const whose = (exit: Exit.Exit<ReadonlyArray<Stored>, JobError>): Handed => {
  if (exit._tag === "Success") return exit.value[0] === "taken" ? "its own" : "not its own"
  const error = Cause.findErrorOption(exit.cause)
  const refused = error._tag === "Some" && error.value.reason._tag === "QueueUnavailable" &&
    error.value.reason.stored === "no"
  return refused ? "not its own" : "unknown"
}
