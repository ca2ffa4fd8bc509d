/**
 * What stands behind a job queue: rows, leases and outcomes, all of them text and numbers.
 *
 * A backend implements {@link JobStore} and is wrapped by `JobQueue.make`; one suite of tests holds every backend to what
 * is written here. Each operation is atomic, takes time from one clock (a database's own where there is one), and fails
 * with `JobError` (`QUEUE_UNAVAILABLE`) where the backend does not answer. None waits for ever, and none tries again but
 * what the backend itself undid for the sake of another.
 *
 * **A job's way**: `queued` → `running` → one of `done`, `dead`, `cancelled`, or back to `queued`. A claim gives a lease
 * and a token; the token is a counter in the row, raised by every claim and every takeover, so that whoever lost a job
 * can neither renew it nor record its outcome.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { after } from "./internal/after.ts"
import { type JobError, unavailable } from "./JobError.ts"

/** Where a job is. */
export type JobState = "queued" | "running" | "done" | "dead" | "cancelled"

/** What is stored of a failure. No text is longer than 8 kB, and none holds input. */
export interface Failure {
  /** A `JobErrorCode`, a `FlowErrorCode`, or the `_tag` of a node's own error. */
  readonly code: string
  readonly message: string
  readonly node: string | undefined
  /** Which try of the job it was, from 1. */
  readonly attempt: number
  /** A node's own error as its schema encodes it, or a reason of the runtime or the queue; JSON text. */
  readonly detail: string | undefined
  /** What `detail` is. */
  readonly kind: "node" | "flow" | "job"
}

/** A job to be stored. */
export interface NewJob {
  readonly id: string
  readonly flow: string
  /** JSON text, canonical: keys in order. Two payloads are the same if their texts are. */
  readonly payload: string
  readonly tenant: string
  readonly topic: string | undefined
  /** Higher goes first among one tenant's jobs. */
  readonly priority: number
  /** JSON text. */
  readonly meta: string
  readonly delayMs: number
  readonly maxAttempts: number
  readonly timeoutMs: number | undefined
}

/** `full`: nothing was stored. `taken`: created, and claimed by the {@link Taker}. */
export type Stored = "created" | "taken" | "same" | "conflict" | "full"

/** A worker that has a place for a job that is being stored. */
export interface Taker {
  readonly workerId: string
  readonly leaseMs: number
}

/** Everything that is known of a job. Times are milliseconds since the epoch, by the store's clock. */
export interface JobRecord extends Omit<NewJob, "delayMs"> {
  /** The order in which jobs came. */
  readonly seq: number
  readonly state: JobState
  /** Tries that failed. */
  readonly failures: number
  /** Tries whose worker died, or fell silent for longer than its lease. */
  readonly crashes: number
  readonly enqueuedAt: number
  /** Not to be started before. */
  readonly runAt: number
  readonly startedAt: number | undefined
  readonly finishedAt: number | undefined
  readonly workerId: string | undefined
  /** JSON text: an array, one for each result. */
  readonly results: string | undefined
  /** The last one; it stays when a later try succeeds. */
  readonly failure: Failure | undefined
  readonly cancelReason: string | undefined
}

/** What a worker asks for. */
export interface ClaimRequest {
  readonly workerId: string
  readonly flows: ReadonlyArray<string>
  readonly limit: number
  readonly leaseMs: number
  /** Tenants are served in turn: the first in order after this one. `""` begins at the first. */
  readonly after: string
  /** Tenants whose jobs are left alone. */
  readonly without: ReadonlyArray<string>
  /** How many jobs of one tenant may run at once, on all workers together. */
  readonly tenantLimit: number | undefined
}

/** A job that is now the worker's, until its lease ends. */
export interface Claim extends Omit<NewJob, "delayMs"> {
  /** The fence: goes with every renewal and with the outcome. */
  readonly token: number
  readonly failures: number
  readonly crashes: number
  /** Milliseconds from when it might have started until this claim, by the store's clock. */
  readonly waitedMs: number
  /** It is suspected of killing its process: to be run with no other job beside it, after {@link JobStore.start}. */
  readonly alone: boolean
}

/** Which claim is meant. */
export interface Lease {
  readonly id: string
  readonly token: number
}

/** How a try ended. `Retry` counts as a failure, `Returned` as nothing. */
export type Settlement =
  & Lease
  & (
    | { readonly _tag: "Done"; readonly results: string }
    | { readonly _tag: "Retry"; readonly delayMs: number; readonly failure: Failure }
    | { readonly _tag: "Dead"; readonly failure: Failure }
    | { readonly _tag: "Cancelled"; readonly failure: Failure }
    | { readonly _tag: "Returned"; readonly delayMs: number }
  )

/** What became of overdue jobs. */
export interface Swept {
  /** Jobs whose lease had ended, and that may be started again. */
  readonly recovered: ReadonlyArray<string>
  /** Jobs whose lease had ended as often as they may be tried. */
  readonly dead: ReadonlyArray<string>
  /** Whether a job waits that could be claimed. */
  readonly ready: boolean
  /** Milliseconds until the next job or lease falls due; undefined where there is none. */
  readonly nextMs: number | undefined
}

/** Which jobs are meant. All that is left out matches. */
export interface Filter {
  readonly ids?: ReadonlyArray<string> | undefined
  readonly states?: ReadonlyArray<JobState> | undefined
  readonly flow?: string | undefined
  readonly tenant?: string | undefined
  /** Ended before: milliseconds since the epoch. */
  readonly finishedBefore?: number | undefined
  /** Those that came after this one, by `seq`. */
  readonly afterSeq?: number | undefined
  readonly limit: number
}

/** What may have changed: jobs may wait, a running one is to be cancelled, one has ended. Too many calls do no harm. */
export type Change = "ready" | "cancel" | "ended"

/** A backend. */
export interface JobStore {
  /** Milliseconds within which every operation ends, whatever happens. Left out: nobody knows, and whoever asks sees to it. */
  readonly endsWithin?: number | undefined
  /**
   * Stores jobs, all or none: where one is in conflict or the queue is full, nothing is stored. Takes part in the
   * caller's transaction where there is one. Answers for each job, in order.
   *
   * `taker`: a store may give the job to that worker at once, by a claim with the token 1, and says so (`taken`); only one
   * alone that has no delay, and not within a caller's transaction, which may yet be rolled back. Whoever sends the same
   * write again leaves it out.
   */
  readonly enqueue: (
    jobs: ReadonlyArray<NewJob>,
    options: { readonly maxLength: number; readonly taker?: Taker | undefined }
  ) => Effect.Effect<ReadonlyArray<Stored>, JobError>
  /** Whether the caller stands in a transaction of this store's database. Left out: there are none. */
  readonly inTransaction?: Effect.Effect<boolean> | undefined
  /** Takes jobs that are due: first of each tenant in turn, then the second of each, and so on. */
  readonly claim: (request: ClaimRequest) => Effect.Effect<ReadonlyArray<Claim>, JobError>
  /** A job that was claimed to run alone begins: from now on its worker's death is its own. False: the lease is lost. */
  readonly start: (lease: Lease) => Effect.Effect<boolean, JobError>
  /**
   * Prolongs leases; says which are lost and which are to be cancelled. `stalledMs`: how long the worker was silent, of
   * which one with a lost job tells whoever has that job now, by giving it as much time as the job took so far.
   */
  readonly renew: (
    leases: ReadonlyArray<Lease>,
    options: { readonly leaseMs: number; readonly stalledMs: number }
  ) => Effect.Effect<
    {
      readonly lost: ReadonlyArray<Lease>
      readonly cancelled: ReadonlyArray<Lease & { readonly reason: string | undefined }>
    },
    JobError
  >
  /** Records outcomes; false where the lease was lost before. Again with the same lease: the same answer. */
  readonly settle: (settlements: ReadonlyArray<Settlement>) => Effect.Effect<ReadonlyArray<boolean>, JobError>
  /** Gives back what a worker claimed and does not know of: the answer to its claim got lost. */
  readonly disown: (workerId: string, known: ReadonlyArray<string>) => Effect.Effect<number, JobError>
  /** Makes delayed jobs ready that are due, and takes back those whose lease has ended. */
  readonly sweep: (flows: ReadonlyArray<string>) => Effect.Effect<Swept, JobError>
  /** In the order in which they came. */
  readonly list: (filter: Filter) => Effect.Effect<ReadonlyArray<JobRecord>, JobError>
  /** Which of these have ended or are not known: what `await` asks, again and again. */
  readonly ended: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<string>, JobError>
  /** Ends a waiting job, asks for the end of a running one. False where it has ended, or is not known. */
  readonly cancel: (id: string, reason: string | undefined) => Effect.Effect<boolean, JobError>
  /** Makes dead and cancelled jobs wait again, with all their tries. How many. */
  readonly requeue: (filter: Filter) => Effect.Effect<number, JobError>
  /** Forgets jobs, never running ones. How many. */
  readonly purge: (filter: Filter) => Effect.Effect<number, JobError>
  readonly counts: Effect.Effect<{ readonly [State in JobState]: number }, JobError>
  /**
   * Calls back while the scope is open: for `"ready"` and `"cancel"` whoever made the change, where the backend can tell;
   * for `"ended"` at least where it was this store. Polling covers the rest.
   */
  readonly watch: (
    changes: ReadonlyArray<Change>,
    listener: (change: Change) => void
  ) => Effect.Effect<void, never, Scope.Scope>
}

/** Whether somebody may have these jobs with their write: nobody has several, or what is not to start yet. */
export const mayBeTaken = (jobs: ReadonlyArray<NewJob>): boolean =>
  jobs.length === 1 && jobs.every(({ delayMs }) => delayMs <= 0)

/** Whether a job that was last cut off by its worker's death runs alone the next time. See `docs/jobs.md`, "Blame". */
export const suspect = (crashes: number, maxAttempts: number): boolean =>
  crashes >= Math.max(1, Math.min(2, maxAttempts - 1))

/** Whether a job is dead now that its worker died: `crashes` counts this death. */
export const condemned = (crashes: number, maxAttempts: number, alone: boolean): boolean =>
  maxAttempts <= 1 || alone && crashes >= maxAttempts

/** Tenants that one claim looks at, at most: the next begins after them. */
export const tenantsAtOnce = 50

/** The time that a second owner has on top of its lease, for the first to come back and say that it was only slow. */
export const secondOwnerMs = (leaseMs: number): number => Math.min(leaseMs, 1500)

/** What is recorded of a job whose workers died of it. */
export const workerDied = (crashes: number, attempt: number): Failure => ({
  code: "WORKER_DIED",
  message: `worker died (${crashes}×)`,
  node: undefined,
  attempt,
  detail: JSON.stringify({ _tag: "WorkerDied", crashes }),
  kind: "job"
})

/** A failure from the JSON text that a backend keeps it as. */
export const readFailure = (text: string | undefined): Failure | undefined => {
  if (text === undefined) return undefined
  const { attempt, code, detail, kind, message, node }: Partial<Failure> = JSON.parse(text)
  return { code: code ?? "", message: message ?? "", node, attempt: attempt ?? 0, detail, kind: kind ?? "job" }
}

/**
 * An operation that answers within `ms` milliseconds, or fails with `QUEUE_UNAVAILABLE` and `stored: "unknown"`. What was
 * begun is interrupted and not waited for: a driver on a dead link may resist for as long as it likes.
 */
export const bounded = <A>(
  operation: string,
  ms: number,
  effect: Effect.Effect<A, JobError>
): Effect.Effect<A, JobError> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const run = Effect.runForkWith(untold(context))
    const fiber = run(effect)
    return fiber.pollUnsafe() ?? Effect.callback<A, JobError>((resume) => {
      const answered = after(context, ms, () => {
        // In this order: its end may be heard at once.
        resume(Effect.fail(silent(operation, ms)))
        fiber.interruptUnsafe()
      })
      fiber.addObserver((exit) => {
        answered()
        resume(exit)
      })
      return Effect.sync(() => {
        answered()
        fiber.interruptUnsafe()
      })
    })
  })

// ----------------------------------------------------------------------------------------------------------- internals

/** Spans that go nowhere are not made: a statement costs less without. */
const untold = (context: Context.Context<never>): Context.Context<never> =>
  Context.get(context, Tracer.Tracer) === Tracer.nativeTracer && Context.get(context, References.TracerEnabled)
    ? Context.add(context, References.TracerEnabled, false)
    : context

const silent = (operation: string, ms: number): JobError =>
  unavailable(
    operation,
    undefined,
    "unknown",
    `The job queue did not answer to "${operation}" within ${Math.round(ms)} ms: whether it took effect is not known`
  )
