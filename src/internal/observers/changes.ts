/** What a batch of events changes in what is known of each trace. */
import type { ErrorInfo, FlowEvent } from "../../FlowEvent.ts"
import { kept } from "./ids.ts"

/** How a trace is, or ended. */
export type Status = "running" | "succeeded" | "failed" | "cancelled"

/** What is kept of a payload, or why it is not. */
export type Kept =
  | { readonly _tag: "Kept"; readonly json: unknown }
  | { readonly _tag: "Omitted"; readonly reason: string }

/** What went into a trace and came out of it. */
export interface Payload {
  readonly input: Kept | undefined
  /** An array of results, or an object with the one key `error`. */
  readonly outcome: Kept | undefined
}

/** What is known of a trace's end; all of it undefined while it runs. */
export interface End {
  readonly endedAt: number | undefined
  readonly durationMs: number | undefined
  readonly results: number | undefined
  readonly error: ErrorInfo | undefined
  readonly reason: string | undefined
  readonly node: string | undefined
  readonly attempt: number | undefined
}

export interface Change extends End {
  readonly flow: string
  readonly traceId: string
  /** When it last began, else when the first of these events happened. */
  readonly at: number
  /** Undefined where these events do not tell. */
  readonly tenant: string | undefined
  /** How often it began. */
  readonly runs: number
  readonly events: number
  /** Undefined where these events neither begin nor end it: then nothing of {@link End} changes. */
  readonly status: Status | undefined
  readonly payload: Payload | undefined
}

export const open: End = {
  endedAt: undefined,
  durationMs: undefined,
  results: undefined,
  error: undefined,
  reason: undefined,
  node: undefined,
  attempt: undefined
}

/** The event under the ids that are kept. */
export const keptEvent = (event: FlowEvent): FlowEvent => {
  const flow = kept(event.flow)
  const traceId = kept(event.traceId)
  return flow === event.flow && traceId === event.traceId ? event : { ...event, flow, traceId }
}

export const keyOf = (of: { readonly flow: string; readonly traceId: string }): string => `${of.flow}\0${of.traceId}`

/** A change that has not come to anything yet. */
export const noChange = (flow: string, traceId: string, at: number): Change => ({
  ...open,
  flow,
  traceId,
  at,
  tenant: undefined,
  runs: 0,
  events: 0,
  status: undefined,
  payload: undefined
})

/** The change with one more event. */
export const withEvent = (before: Change, event: FlowEvent): Change => {
  const change = { ...before, events: before.events + 1 }
  const { at, attempt, durationMs, node } = event
  switch (event._tag) {
    case "TraceStarted":
      return { ...change, ...open, at, tenant: kept(event.tenant), runs: change.runs + 1, status: "running" }
    case "TraceSucceeded":
      return { ...change, ...open, status: "succeeded", endedAt: at, durationMs, results: event.results }
    case "TraceFailed":
      return { ...change, ...open, status: "failed", endedAt: at, durationMs, error: event.error, node, attempt }
    case "TraceCancelled":
      return { ...change, ...open, status: "cancelled", endedAt: at, durationMs, reason: event.reason }
    default:
      return change
  }
}

/** What is known after a change of what was known before it. */
export const applied = (before: Change, change: Change): Change => ({
  ...(change.status === undefined ? before : change),
  flow: before.flow,
  traceId: before.traceId,
  at: change.runs > 0 ? change.at : before.at,
  tenant: change.tenant ?? before.tenant,
  runs: before.runs + change.runs,
  events: before.events + change.events,
  status: change.status ?? before.status,
  payload: change.payload ?? before.payload
})
