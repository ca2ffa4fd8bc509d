/** What the server says, as the page reads it. Times are milliseconds since the epoch, durations milliseconds. */
import type { ErrorInfo, FlowEvent } from "../../src/FlowEvent.ts"
import type { Job, JobState } from "../../src/JobQueue.ts"
import type { Stored, Summary } from "../../src/TraceStore.ts"

export type { ErrorInfo, FlowEvent } from "../../src/FlowEvent.ts"
export type { Job, JobState } from "../../src/JobQueue.ts"
export type { Report } from "../../src/Migration.ts"
export type { Ended, Replay, Stored, Summary } from "../../src/TraceStore.ts"

export interface FlowInfo {
  readonly name: string
  /** The JSON Schema of its input; null where it has none. */
  readonly input: unknown
  readonly nodes: ReadonlyArray<{ readonly name: string; readonly kind: string }>
  /** Whether it can be run as a job. */
  readonly jobs: boolean
}

/** What the server has been given: what it has not, the page does not offer. */
export interface Features {
  readonly jobs: boolean
  readonly traces: boolean
  readonly replay: boolean
  readonly migrations: boolean
}

export interface FlowList {
  readonly flows: ReadonlyArray<FlowInfo>
  readonly features: Features
  readonly version?: string | undefined
}

export interface NodeCounts {
  /** Attempts in flight now. */
  readonly running: number
  /** Visits that wait for another attempt now. */
  readonly retrying: number
  readonly succeeded: number
  readonly errored: number
  readonly failed: number
  readonly timedOut: number
  readonly lastError?: LastError | undefined
}

export interface LastError {
  readonly tag: string
  readonly code?: string | undefined
  readonly message: string
  readonly traceId: string
  readonly at: number
}

export interface FlowCounts {
  readonly open: number
  readonly started: number
  readonly succeeded: number
  readonly failed: number
  readonly cancelled: number
  readonly nodes: Readonly<Record<string, NodeCounts>>
}

export type Status = Summary["status"]

export interface RecentTrace {
  readonly flow: string
  readonly traceId: string
  readonly status: Status
  readonly at: number
  readonly durationMs?: number | undefined
  readonly node?: string | undefined
  readonly error?: ErrorInfo | undefined
}

export interface Snapshot {
  readonly at: number
  readonly flows: Readonly<Record<string, FlowCounts>>
  /** The newest first. */
  readonly recent: ReadonlyArray<RecentTrace>
  /** Of each flow the oldest that are open. */
  readonly running: ReadonlyArray<{ readonly flow: string; readonly traceId: string; readonly at: number }>
}

export interface JobList {
  readonly jobs: ReadonlyArray<Job>
  readonly counts: { readonly [State in JobState]: number }
}

export interface TraceDetail {
  readonly trace: Stored
  readonly events: ReadonlyArray<FlowEvent>
}

/** The body of every refusal. */
export interface ErrorBody {
  readonly error: string
  readonly code: string
  readonly path?: string | undefined
  readonly traceId?: string | undefined
  readonly node?: string | undefined
}
