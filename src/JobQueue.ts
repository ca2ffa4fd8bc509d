/**
 * A job queue: durable requests to run flows.
 *
 * `enqueue` returns when the job is stored; a `Worker`, here or in another process, takes it, runs its flow and records
 * how that ended, once. What is promised depends on the layer: `JobQueueMemory` forgets with the process,
 * `JobQueueSql` keeps jobs in a database, `JobQueueRedis` in Redis.
 *
 * | | |
 * |---|---|
 * | accepted | stored, together with the caller's rows inside `sql.withTransaction` |
 * | run | at least once; more often only after a crash, a lost lease, or a failure that is retried |
 * | outcome | recorded once, by whoever holds the job: a token per claim fences all others out |
 * | id | the idempotency key: the same id with the same input is the same job, with another input a conflict |
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Flow } from "./Flow.ts"
import type { FlowError } from "./FlowError.ts"
import { makeQueue } from "./internal/jobs/queue.ts"
import type { JobError } from "./JobError.ts"
import type { JobState, JobStore } from "./JobStore.ts"
import type { Headers, Meta } from "./Trace.ts"

export { isJobError, JobError, type JobErrorCode, type JobErrorReason } from "./JobError.ts"
export type { JobState } from "./JobStore.ts"

/** The id of a job, and what its flow gives and fails with. At run time a string. */
export type JobId<Out = unknown, E = unknown> = string & {
  readonly "~out": Out
  readonly "~error": E
}

/** What a caller says of one job. */
export interface EnqueueOptions {
  /** The idempotency key, 1 to 255 bytes; default: a UUID of version 7, which begins with the time. The job's trace has the id `job-{id}`. */
  readonly id?: string | undefined
  readonly headers?: Partial<Headers> | undefined
  /**
   * JSON that nodes see; the worker adds `jobId`, `workerId` and `attempt`. At most 16 kB. Where the caller is in a span,
   * `traceparent` tells of it, so that the job's spans continue it; one that is given here goes first.
   */
  readonly meta?: Meta | undefined
  /** Not to be started earlier than this from now on; default 0. */
  readonly delay?: Duration.Input | undefined
  /** Higher goes first among one tenant's jobs; default `headers.priority`, else 0. */
  readonly priority?: number | undefined
  /**
   * How often the job may fail before it is dead, and how often its worker may die of it; default 5. With 1 it is
   * started at most once, and dead when its worker dies, whoever's fault that is.
   */
  readonly maxAttempts?: number | undefined
  /** For one try; default: the worker's `jobTimeout`. */
  readonly timeout?: Duration.Input | undefined
}

/** Where an error came from, as it is stored: texts are cut at 8 kB, secrets are not in it. */
export interface JobFailure {
  /** A code of `JobError` or `FlowError`, or the `_tag` of a node's own error. */
  readonly code: string
  readonly message: string
  readonly node: string | undefined
  /** Which try of the job failed, from 1. */
  readonly attempt: number
  /** A node's own error as its schema encodes it. */
  readonly error: Schema.Json | undefined
}

/** A job as it stands. Times are milliseconds since the epoch, by the store's clock. */
export interface Job {
  readonly id: string
  readonly flow: string
  readonly state: JobState
  readonly headers: Headers
  readonly meta: Meta
  /** The input, encoded by the flow's schema. */
  readonly payload: Schema.Json
  /** Tries that failed or whose worker died, and the one that runs. */
  readonly attempts: number
  readonly failures: number
  readonly crashes: number
  readonly maxAttempts: number
  readonly timeoutMs: number | undefined
  readonly enqueuedAt: number
  /** Not to be started before. */
  readonly runAt: number
  readonly startedAt: number | undefined
  readonly finishedAt: number | undefined
  readonly workerId: string | undefined
  /** What the flow gave, encoded by its schema; undefined unless done. */
  readonly results: ReadonlyArray<Schema.Json> | undefined
  /** The last failure: the reason why a dead job is dead. It stays when a later try succeeds. */
  readonly failure: JobFailure | undefined
  /** What was said when somebody cancelled it, or asked for it while it ran. */
  readonly cancelReason: string | undefined
  /** Its place in the order in which jobs came: for paging. */
  readonly seq: number
}

/** Which jobs are meant: all that is left out matches. */
export interface JobFilter {
  readonly id?: string | ReadonlyArray<string> | undefined
  readonly state?: JobState | ReadonlyArray<JobState> | undefined
  readonly flow?: string | undefined
  readonly tenant?: string | undefined
  /** Ended longer ago than this. */
  readonly olderThan?: Duration.Input | undefined
  /** Those that came after this one, by `seq`. */
  readonly after?: number | undefined
  /** Default 100 for `list`, 10 000 for `requeue` and `purge`. */
  readonly limit?: number | undefined
}

type AnyFlow<In, Out, E> = Flow<string, In, Out, E, unknown, unknown>

/** A queue as its callers see it. */
export interface Service {
  /** Returns once the job is stored. The same id with the same input: the same job, stored once. */
  enqueue<In, Out, E>(
    flow: AnyFlow<In, Out, E>,
    input: In,
    options?: EnqueueOptions
  ): Effect.Effect<JobId<Out, E>, JobError>
  /** All or none, in one write. */
  enqueueMany<In, Out, E>(
    flow: AnyFlow<In, Out, E>,
    jobs: ReadonlyArray<EnqueueOptions & { readonly input: In }>
  ): Effect.Effect<ReadonlyArray<JobId<Out, E>>, JobError>
  /** A job as it stands; undefined where none has this id. */
  get(id: string): Effect.Effect<Job | undefined, JobError>
  /**
   * Waits for the job's end, and gives what its flow gave or fails with what it failed with. Interrupting it leaves the
   * job alone. An id that came from elsewhere is decoded by the flow that is given with it.
   */
  await<Out, E>(id: JobId<Out, E>): Effect.Effect<Out, E | FlowError | JobError>
  await<In, Out, E>(flow: AnyFlow<In, Out, E>, id: string): Effect.Effect<Out, E | FlowError | JobError>
  await(id: string): Effect.Effect<unknown, unknown>
  /** In the order in which they came. */
  list(filter?: JobFilter): Effect.Effect<ReadonlyArray<Job>, JobError>
  /** Jobs that will not be tried again, each with its `failure`. */
  deadLetters(filter?: Omit<JobFilter, "state">): Effect.Effect<ReadonlyArray<Job>, JobError>
  /**
   * Ends a job that waits, at once; asks whichever worker runs it to stop it, which takes a moment: `await` tells. False
   * where it has ended, or none has this id.
   */
  cancel(id: string, reason?: string): Effect.Effect<boolean, JobError>
  /** Lets dead and cancelled jobs wait again, with all their tries. How many: none where it is neither. */
  requeue(which: string | JobFilter): Effect.Effect<number, JobError>
  /** Forgets jobs that have ended (or, by `id` or `state`, that wait), never running ones. How many. */
  purge(which: string | JobFilter): Effect.Effect<number, JobError>
  readonly counts: Effect.Effect<{ readonly [State in JobState]: number }, JobError>
  /** What stands behind it: for workers and tools. */
  readonly store: JobStore
  readonly limits: Required<Limits>
}

/** What a queue takes. */
export interface Limits {
  /** Of one payload, in bytes of UTF-8; default 1 MiB. */
  readonly maxPayload?: number | undefined
  /** How deep a payload may be nested; default 64. */
  readonly maxDepth?: number | undefined
  /** Of one job's results together, in bytes; default 1 MiB. */
  readonly maxResult?: number | undefined
  /**
   * How many jobs may wait; default 1 000 000. Up to 100 000 000. It is counted anew after each hundredth part of it, so
   * that several producers may overshoot by that much each.
   */
  readonly maxLength?: number | undefined
}

const QueueBase: Context.ServiceClass<JobQueue, "penguiflow/JobQueue", Service> = Context.Service<JobQueue, Service>()(
  "penguiflow/JobQueue"
)

/**
 * The queue of an application.
 *
 * @example
 * ```ts runnable
 * import { Effect, Layer, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as JobQueue from "penguiflow/JobQueue"
 * import * as JobQueueMemory from "penguiflow/layers/JobQueueMemory"
 * import * as Worker from "penguiflow/Worker"
 *
 * const flow = Flow.make("lengths", [
 *   Node.make("measure", { input: Schema.String, output: Schema.Number, run: (s) => Effect.succeed(s.length) }).to()
 * ])
 * const program = Effect.gen(function*() {
 *   const queue = yield* JobQueue.JobQueue
 *   const id = yield* queue.enqueue(flow, "penguin", { id: "one", headers: { tenant: "acme" } })
 *   return yield* queue.await(id)
 * })
 * const live = Worker.layer(flow).pipe(Layer.provideMerge(JobQueueMemory.layer()))
 * await Effect.runPromise(Effect.provide(program, live)) // => 7
 * ```
 */
export class JobQueue extends QueueBase {}

/** A queue on a store: what each layer ends with. */
export const make = (store: JobStore, limits?: Limits): Effect.Effect<Service, never, Scope.Scope> =>
  makeQueue(store, limits ?? {})
