/** Rows of the jobs' table, as they are read. */
import * as JobStore from "../../../JobStore.ts"

export type Row = Readonly<Record<string, unknown>>

export const textOf = (value: unknown): string | undefined =>
  value === null || value === undefined ? undefined : String(value)
export const numberOf = (value: unknown): number | undefined =>
  value === null || value === undefined ? undefined : Number(value)
export const clean = (text: string): string => text.replaceAll("\0", "").toWellFormed()

export const stateOf = (state: unknown): JobStore.JobState =>
  state === "ready" || state === "delayed" ? "queued" : state as JobStore.JobState

export const keyOf = (row: Row): string => `${Number(row["token"])} ${String(row["id"])}`

const jobOf = (row: Row) => ({
  id: String(row["id"]),
  flow: String(row["flow"]),
  payload: String(row["payload"]),
  tenant: String(row["tenant"]),
  topic: textOf(row["topic"]),
  priority: Number(row["priority"]),
  meta: String(row["meta"]),
  maxAttempts: Number(row["max_attempts"]),
  timeoutMs: numberOf(row["timeout_ms"]),
  failures: Number(row["failures"]),
  crashes: Number(row["crashes"])
})

export const toClaim = (row: Row): JobStore.Claim => ({
  ...jobOf(row),
  token: Number(row["token"]),
  waitedMs: Math.max(0, Number(row["waited_ms"])),
  alone: Number(row["alone"]) === 1
})

export const toRecord = (row: Row): JobStore.JobRecord => ({
  ...jobOf(row),
  seq: Number(row["seq"]),
  state: stateOf(row["state"]),
  enqueuedAt: Number(row["enqueued_at"]),
  runAt: Number(row["run_at"]),
  startedAt: numberOf(row["started_at"]),
  finishedAt: numberOf(row["finished_at"]),
  workerId: textOf(row["worker_id"]),
  results: textOf(row["results"]),
  failure: JobStore.readFailure(textOf(row["failure"])),
  cancelReason: textOf(row["cancel_reason"])
})
