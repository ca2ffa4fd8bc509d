/**
 * One reader's share of the events: a bounded buffer, written by traces and emptied in batches.
 *
 * What happened is noted in a flat array, seven fields an event, and made into event objects only when the reader takes
 * them: a trace that is watched allocates nothing for it, and what waits to be read is not copied about by the collector.
 */
import * as Effect from "effect/Effect"
import type { AnySpan } from "effect/Tracer"
import type { ErrorInfo, FlowEvent } from "../FlowEvent.ts"
import { traceparentOf } from "./traceparent.ts"

/** How many events wait for a reader at most, unless it says otherwise. */
export const defaultCapacity = 16_384

/** When something began that nobody watched then. */
export const unknownTime = -1

/** The kinds of events, as noted. */
export const kinds = {
  TraceStarted: 0,
  NodeStarted: 1,
  NodeSucceeded: 2,
  NodeErrored: 3,
  NodeTimedOut: 4,
  NodeRetried: 5,
  NodeFailed: 6,
  NodeInterrupted: 7,
  NodeCompensated: 8,
  PartEmitted: 9,
  NodeStuck: 10,
  TraceCancelled: 11,
  TraceSucceeded: 12,
  TraceFailed: 13
} as const
export type Kind = (typeof kinds)[keyof typeof kinds]

/** Fields of a note: kind, trace id, node, attempt, time since the hub began, duration, and what the kind adds. */
const stride = 7

export class Subscription {
  readonly #flow: string
  /** Milliseconds since the epoch; what is noted counts from here, so that it stays a small integer. */
  readonly #origin: number
  readonly #limit: number
  readonly #schedule: (wake: () => void) => void
  readonly #notes: Array<unknown> = []
  #end = 0
  #lost = 0
  #closed = false
  #reader: (() => void) | undefined
  #woken = false

  constructor(flow: string, origin: number, capacity: number, schedule: (wake: () => void) => void) {
    this.#flow = flow
    this.#origin = origin
    this.#limit = (capacity >= 1 && capacity < Infinity ? Math.floor(capacity) : defaultCapacity) * stride
    this.#schedule = schedule
  }

  note(
    kind: Kind,
    traceId: string,
    node: string | undefined,
    attempt: number | undefined,
    at: number,
    durationMs: number | undefined,
    more: unknown
  ): void {
    const end = this.#end
    if (end >= this.#limit) {
      this.#lost++
      return
    }
    const notes = this.#notes
    notes[end] = kind
    notes[end + 1] = traceId
    notes[end + 2] = node
    notes[end + 3] = attempt
    notes[end + 4] = at - this.#origin
    notes[end + 5] = durationMs
    notes[end + 6] = more
    this.#end = end + stride
    if (this.#reader !== undefined) this.#wake()
  }

  /** The reader runs later, never inside the step of a trace that woke it. */
  #wake(): void {
    if (this.#woken) return
    this.#woken = true
    this.#schedule(() => {
      this.#woken = false
      const reader = this.#reader
      this.#reader = undefined
      reader?.()
    })
  }

  close(): void {
    this.#closed = true
    this.#wake()
  }

  /** What was lost since the last time. */
  takeLost(): number {
    const lost = this.#lost
    this.#lost = 0
    return lost
  }

  /** All that waits; waits for the first. Undefined once the hub is closed and all has been read. */
  readonly take: Effect.Effect<ReadonlyArray<FlowEvent> | undefined> = Effect.suspend(() => {
    if (this.#end > 0 || this.#closed) return Effect.succeed(this.#drain())
    return Effect.callback<ReadonlyArray<FlowEvent> | undefined>((resume) => {
      const reader = () => resume(Effect.sync(() => this.#drain()))
      this.#reader = reader
      return Effect.sync(() => {
        if (this.#reader === reader) this.#reader = undefined
      })
    })
  })

  #drain(): ReadonlyArray<FlowEvent> | undefined {
    const end = this.#end
    if (end === 0) return this.#closed ? undefined : []
    const events: Array<FlowEvent> = []
    for (let start = 0; start < end; start += stride) events.push(this.#read(start))
    this.#end = 0
    return events
  }

  #read(start: number): FlowEvent {
    const notes = this.#notes
    // The hub is the only writer, and writes each kind with its own fields.
    return makeEvent(
      notes[start] as Kind,
      this.#flow,
      notes[start + 1] as string,
      notes[start + 2] as string,
      notes[start + 3] as number,
      this.#origin + (notes[start + 4] as number),
      notes[start + 5] as number,
      notes[start + 6]
    )
  }
}

/** Who sent a message from within a span. */
interface Caller {
  readonly tenant: string
  readonly span: AnySpan
}

const callerOf = ({ span, tenant }: Caller): { readonly tenant: string; readonly traceparent: string } => ({
  tenant,
  traceparent: traceparentOf(span)
})

const makeEvent = (
  kind: Kind,
  flow: string,
  traceId: string,
  node: string,
  attempt: number,
  at: number,
  durationMs: number,
  more: unknown
): FlowEvent => {
  switch (kind) {
    case kinds.NodeStarted:
      return { _tag: "NodeStarted", flow, traceId, node, attempt, at, durationMs: undefined }
    case kinds.NodeSucceeded:
      return { _tag: "NodeSucceeded", flow, traceId, node, attempt, at, durationMs }
    case kinds.TraceStarted:
      return {
        _tag: "TraceStarted",
        flow,
        traceId,
        node: undefined,
        attempt: undefined,
        at,
        durationMs: undefined,
        ...(typeof more === "string" ? { tenant: more } : callerOf(more as Caller)),
        ...(durationMs > 0 ? { waitedMs: durationMs } : undefined)
      }
    case kinds.TraceSucceeded:
      return {
        _tag: "TraceSucceeded",
        flow,
        traceId,
        node: undefined,
        attempt: undefined,
        at,
        durationMs,
        results: more as number
      }
    case kinds.NodeErrored:
      return { _tag: "NodeErrored", flow, traceId, node, attempt, at, durationMs, error: more as ErrorInfo }
    case kinds.NodeTimedOut:
      return { _tag: "NodeTimedOut", flow, traceId, node, attempt, at, durationMs, timeoutMs: more as number }
    case kinds.NodeRetried:
      return { _tag: "NodeRetried", flow, traceId, node, attempt, at, durationMs: undefined, delayMs: more as number }
    case kinds.NodeFailed:
      return { _tag: "NodeFailed", flow, traceId, node, attempt, at, durationMs: undefined, error: more as ErrorInfo }
    case kinds.NodeInterrupted:
      return { _tag: "NodeInterrupted", flow, traceId, node, attempt, at, durationMs }
    case kinds.NodeCompensated:
      return {
        _tag: "NodeCompensated",
        flow,
        traceId,
        node,
        attempt,
        at,
        durationMs,
        error: more as ErrorInfo | undefined
      }
    case kinds.PartEmitted:
      return { _tag: "PartEmitted", flow, traceId, node, attempt, at, durationMs: undefined, seq: more as number }
    case kinds.NodeStuck:
      return { _tag: "NodeStuck", flow, traceId, node, attempt, at, durationMs: undefined }
    case kinds.TraceCancelled:
      return {
        _tag: "TraceCancelled",
        flow,
        traceId,
        node: undefined,
        attempt: undefined,
        at,
        durationMs,
        reason: more as string | undefined
      }
    case kinds.TraceFailed:
      return { _tag: "TraceFailed", flow, traceId, node, attempt, at, durationMs, error: more as ErrorInfo }
  }
}
