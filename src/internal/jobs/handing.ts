/**
 * A job that can run at once goes to a worker of this process with the very write that stores it: one question to the
 * store in place of two.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { JobError } from "../../JobError.ts"
import { type JobStore, mayBeTaken, type NewJob, type Stored, type Taker } from "../../JobStore.ts"

/** Whose a job is that was stored for a worker. */
export type Whose = "its own" | "not its own" | "unknown"

/** A worker of this process. */
export interface Receiver {
  readonly taker: Taker
  /** Keeps a place for the job, where it has one, until it is told whose the job is. */
  readonly keepPlace: (job: NewJob) => ((whose: Whose) => void) | undefined
}

/** Until the scope closes. */
export const offerTo = (store: JobStore, receiver: Receiver): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(Effect.acquireRelease(
    Effect.sync(() => receiversOf(store).add(receiver)),
    () => Effect.sync(() => receiversOf(store).delete(receiver))
  ))

/** Stores jobs. */
export const enqueueIn = (
  store: JobStore,
  jobs: ReadonlyArray<NewJob>,
  maxLength: number
): Effect.Effect<ReadonlyArray<Stored>, JobError> =>
  Effect.flatMap(store.inTransaction ?? Effect.succeed(false), (inTransaction) => {
    const [job] = jobs
    if (!inTransaction && job !== undefined && mayBeTaken(jobs)) {
      for (const { keepPlace, taker } of receiversOf(store)) {
        const tell = keepPlace(job)
        if (tell !== undefined) return hand(store, job, maxLength, taker, tell)
      }
    }
    return store.enqueue(jobs, { maxLength })
  })

// ----------------------------------------------------------------------------------------------------------- internals

const receivers = new WeakMap<JobStore, Set<Receiver>>()

const receiversOf = (store: JobStore): Set<Receiver> => {
  const known = receivers.get(store)
  if (known !== undefined) return known
  const none = new Set<Receiver>()
  receivers.set(store, none)
  return none
}

/** In a fiber of its own: whoever enqueues may be interrupted, and the worker must hear all the same. */
const hand = (
  store: JobStore,
  job: NewJob,
  maxLength: number,
  taker: Taker,
  tell: (whose: Whose) => void
): Effect.Effect<ReadonlyArray<Stored>, JobError> => {
  const storing = Effect.onExit(
    Effect.suspend(() => store.enqueue([job], { maxLength, taker })),
    (exit) => Effect.sync(() => tell(whoseIs(exit)))
  )
  return Effect.flatMap(Effect.forkDetach(storing, { startImmediately: true }), Fiber.join)
}

const whoseIs = (exit: Exit.Exit<ReadonlyArray<Stored>, JobError>): Whose => {
  if (exit._tag === "Success") {
    const [stored] = exit.value
    // The same job is there already: it may be from this very write, which somebody below has sent twice.
    return stored === "taken" ? "its own" : stored === "same" ? "unknown" : "not its own"
  }
  const error = Cause.findErrorOption(exit.cause)
  const refused = error._tag === "Some" && error.value.reason._tag === "QueueUnavailable" &&
    error.value.reason.stored === "no"
  return refused ? "not its own" : "unknown"
}
