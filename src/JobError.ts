/**
 * What a job queue fails with, and what the end of a job is called where it is not the flow's own.
 *
 * A node's own error stays what it is, and so does the runtime's `FlowError`; everything that belongs to the job and not
 * to the trace is one error, {@link JobError}, whose `reason` is tagged and whose `code` stays stable for logs and wires.
 */
import type * as Cause from "effect/Cause"
import * as Data from "effect/Data"

/** The payload is not JSON, or does not fit the flow's input schema. `issue` says what was expected, never the value. */
export interface InvalidPayload {
  readonly _tag: "InvalidPayload"
  /** Where, as in `payload.items[3].price`. */
  readonly path: string
  readonly issue: string
}
/** The payload is larger than the queue takes. Bytes of UTF-8; `bytes` may be a lower bound: counting stops at the limit. */
export interface PayloadTooLarge {
  readonly _tag: "PayloadTooLarge"
  readonly bytes: number
  readonly limit: number
}
/** The payload is nested deeper than the queue takes, or holds itself. */
export interface PayloadTooDeep {
  readonly _tag: "PayloadTooDeep"
  readonly path: string
  readonly limit: number
}
/** An id, a header, meta or an option is not what the queue takes. */
export interface InvalidOptions {
  readonly _tag: "InvalidOptions"
  /** Which: `id`, `headers.tenant`, `meta.user`, `delay`, … */
  readonly option: string
  readonly issue: string
}
/** A job with this id exists and was given another input, or belongs to another flow. */
export interface IdConflict {
  readonly _tag: "IdConflict"
  readonly flow: string
}
/** As many jobs wait as the queue takes. */
export interface QueueFull {
  readonly _tag: "QueueFull"
  readonly limit: number
  readonly retryAfterMs: number
}
/** No job has this id: it was never enqueued, or was purged. */
export interface JobNotFound {
  readonly _tag: "JobNotFound"
}
/** The job's result can't be decoded here: its flow is not known to this queue. Pass the flow to `await`. */
export interface UnknownFlow {
  readonly _tag: "UnknownFlow"
  readonly flow: string
}
/** The job ran longer than its timeout, and its trace was cancelled. */
export interface JobTimedOut {
  readonly _tag: "JobTimedOut"
  readonly timeoutMs: number
}
/** Somebody cancelled the job. */
export interface JobCancelled {
  readonly _tag: "JobCancelled"
  readonly reason: string | undefined
}
/** The job's node failed with an error that has no schema, so that only its words were stored. */
export interface NodeFailed {
  readonly _tag: "NodeFailed"
  /** The error's `_tag`, or its class name. */
  readonly tag: string
}
/** The processes that ran the job died, as often as the job may be tried. */
export interface WorkerDied {
  readonly _tag: "WorkerDied"
  readonly crashes: number
}
/** What is stored as the job's payload is not what its flow takes. */
export interface UndecodablePayload {
  readonly _tag: "UndecodablePayload"
  readonly issue: string
}
/** The job succeeded, and what it gave can't be stored: not JSON by its schema, or too large. */
export interface UnstorableResult {
  readonly _tag: "UnstorableResult"
  readonly issue: string
}
/** The queue's database does not answer, or refuses. */
export interface QueueUnavailable {
  readonly _tag: "QueueUnavailable"
  readonly operation: string
  /** Whether a write took effect: `"unknown"` where the answer got lost. Writing again with the same id is safe. */
  readonly stored: "no" | "unknown"
  readonly cause: unknown
  /** True: another try ends the same. The store will never take what it was given, or a program as old as this one. */
  readonly refused?: true | undefined
}

/** Why a queue refused, or how a job ended. */
export type JobErrorReason =
  | InvalidPayload
  | PayloadTooLarge
  | PayloadTooDeep
  | InvalidOptions
  | IdConflict
  | QueueFull
  | JobNotFound
  | UnknownFlow
  | JobTimedOut
  | JobCancelled
  | NodeFailed
  | WorkerDied
  | UndecodablePayload
  | UnstorableResult
  | QueueUnavailable

/** The reason's name for logs, wires and dashboards. Codes are never renamed. */
export type JobErrorCode =
  | "INVALID_PAYLOAD"
  | "PAYLOAD_TOO_LARGE"
  | "PAYLOAD_TOO_DEEP"
  | "INVALID_OPTIONS"
  | "ID_CONFLICT"
  | "QUEUE_FULL"
  | "JOB_NOT_FOUND"
  | "UNKNOWN_FLOW"
  | "JOB_TIMEOUT"
  | "JOB_CANCELLED"
  | "NODE_FAILED"
  | "WORKER_DIED"
  | "UNDECODABLE_PAYLOAD"
  | "UNSTORABLE_RESULT"
  | "QUEUE_UNAVAILABLE"

/** The code of each reason. */
export const codes: { readonly [Tag in JobErrorReason["_tag"]]: JobErrorCode } = {
  InvalidPayload: "INVALID_PAYLOAD",
  PayloadTooLarge: "PAYLOAD_TOO_LARGE",
  PayloadTooDeep: "PAYLOAD_TOO_DEEP",
  InvalidOptions: "INVALID_OPTIONS",
  IdConflict: "ID_CONFLICT",
  QueueFull: "QUEUE_FULL",
  JobNotFound: "JOB_NOT_FOUND",
  UnknownFlow: "UNKNOWN_FLOW",
  JobTimedOut: "JOB_TIMEOUT",
  JobCancelled: "JOB_CANCELLED",
  NodeFailed: "NODE_FAILED",
  WorkerDied: "WORKER_DIED",
  UndecodablePayload: "UNDECODABLE_PAYLOAD",
  UnstorableResult: "UNSTORABLE_RESULT",
  QueueUnavailable: "QUEUE_UNAVAILABLE"
}

interface Fields {
  readonly message: string
  /** Undefined where the failure belongs to no one job. */
  readonly jobId: string | undefined
  readonly reason: JobErrorReason
}

const Base: new(fields: Fields) => Cause.YieldableError & { readonly _tag: "JobError" } & Fields = Data.TaggedError(
  "JobError"
)

/**
 * The queue's one error. `message` says what happened and what to do about it; it holds no payload.
 *
 * @example
 * ```ts runnable
 * import { JobError } from "penguiflow/JobError"
 *
 * const error = new JobError({
 *   jobId: "a",
 *   reason: { _tag: "QueueFull", limit: 10, retryAfterMs: 1000 },
 *   message: "10 jobs wait already"
 * })
 * error.code // => "QUEUE_FULL"
 * ```
 */
export class JobError extends Base {
  /** The reason's stable name. */
  get code(): JobErrorCode {
    return codes[this.reason._tag]
  }
}

/** Whether a value is a {@link JobError}. */
export const isJobError = (u: unknown): u is JobError => u instanceof JobError

/** That a store does not answer, or refuses what it was given: what a backend fails with. */
export const unavailable = (
  operation: string,
  cause: unknown,
  stored: "no" | "unknown",
  message: string,
  refused = false
): JobError =>
  new JobError({
    jobId: undefined,
    reason: { _tag: "QueueUnavailable", operation, stored, cause, ...(refused ? { refused } : undefined) },
    message
  })
