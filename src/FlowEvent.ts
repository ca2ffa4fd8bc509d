/**
 * An event: what happened, in the past tense.
 *
 * Events are data with a schema, so that they can be stored and sent. They are built only while somebody watches, and
 * reach observers through bounded buffers: watching never slows a trace.
 *
 * The order within a visit of a node is: `NodeStarted`, then either `NodeSucceeded`, or `NodeErrored`/`NodeTimedOut`
 * followed by `NodeRetried` and the next `NodeStarted`, or by `NodeFailed`. A trace begins with `TraceStarted` and ends
 * with exactly one of `TraceSucceeded`, `TraceFailed` and `TraceCancelled`.
 *
 * `attempt` is 1 on the first try. Times are milliseconds since the epoch, durations milliseconds. An event holds no
 * payload; of an error it holds the tag and the message, cut at 8 kB.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** What an event tells of an error: never the input that caused it. */
export interface ErrorInfo {
  /** The error's `_tag`, or its class name. */
  readonly tag: string
  /** The code where it is the runtime's own error. */
  readonly code: string | undefined
  /** Cut at 8 kB. */
  readonly message: string
}

interface Base {
  readonly flow: string
  readonly traceId: string
  readonly node: string | undefined
  readonly attempt: number | undefined
  readonly at: number
  readonly durationMs: number | undefined
}
interface OfNode extends Base {
  readonly node: string
  readonly attempt: number
}

/** A trace was admitted and began. */
export interface TraceStarted extends Base {
  readonly _tag: "TraceStarted"
  readonly tenant: string
  /** The caller's span, where there was one, as W3C's `traceparent` header. */
  readonly traceparent?: string | undefined
  /** How long it waited for a place among `maxInFlight`; left out where it did not. */
  readonly waitedMs?: number | undefined
}
/** An attempt at a node began. */
export interface NodeStarted extends OfNode {
  readonly _tag: "NodeStarted"
}
/** An attempt succeeded; `durationMs` is what it took, waiting for what follows not counted. */
export interface NodeSucceeded extends OfNode {
  readonly _tag: "NodeSucceeded"
  readonly durationMs: number
}
/** An attempt failed. */
export interface NodeErrored extends OfNode {
  readonly _tag: "NodeErrored"
  readonly durationMs: number
  readonly error: ErrorInfo
}
/** An attempt took longer than its timeout. */
export interface NodeTimedOut extends OfNode {
  readonly _tag: "NodeTimedOut"
  readonly durationMs: number
  readonly timeoutMs: number
}
/** Another attempt will follow after `delayMs`; `attempt` is the one that failed. */
export interface NodeRetried extends OfNode {
  readonly _tag: "NodeRetried"
  readonly delayMs: number
}
/** No further attempt at this visit will follow. The trace fails of it, unless a subflow around it is tried again. */
export interface NodeFailed extends OfNode {
  readonly _tag: "NodeFailed"
  readonly error: ErrorInfo
}
/** A node was stopped while it ran: cancelled, past the deadline, or because a sibling failed. */
export interface NodeInterrupted extends OfNode {
  readonly _tag: "NodeInterrupted"
  readonly durationMs: number
}
/** A finished run was undone; `error` where undoing it died. */
export interface NodeCompensated extends OfNode {
  readonly _tag: "NodeCompensated"
  readonly durationMs: number
  readonly error: ErrorInfo | undefined
}
/** A node sent partial output; `seq` counts within the trace. */
export interface PartEmitted extends OfNode {
  readonly _tag: "PartEmitted"
  readonly seq: number
}
/** A node resisted interruption for longer than `interruptGrace` and was left behind. */
export interface NodeStuck extends OfNode {
  readonly _tag: "NodeStuck"
}
/** The trace ended by `cancel`, or because its caller was interrupted. */
export interface TraceCancelled extends Base {
  readonly _tag: "TraceCancelled"
  readonly durationMs: number
  readonly reason: string | undefined
}
/** The trace ended well. */
export interface TraceSucceeded extends Base {
  readonly _tag: "TraceSucceeded"
  readonly durationMs: number
  readonly results: number
}
/** The trace ended with an error; `node` and `attempt` say where. */
export interface TraceFailed extends Base {
  readonly _tag: "TraceFailed"
  readonly durationMs: number
  readonly error: ErrorInfo
}

/** What can be seen of a flow. */
export type FlowEvent =
  | TraceStarted
  | NodeStarted
  | NodeSucceeded
  | NodeErrored
  | NodeTimedOut
  | NodeRetried
  | NodeFailed
  | NodeInterrupted
  | NodeCompensated
  | PartEmitted
  | NodeStuck
  | TraceCancelled
  | TraceSucceeded
  | TraceFailed

/** JSON leaves out what is undefined: decoded, it is there again. */
const nothing = Effect.succeed(undefined)

const ErrorInfo = Schema.Struct({
  tag: Schema.String,
  code: Schema.UndefinedOr(Schema.String).pipe(Schema.withDecodingDefaultKey(nothing)),
  message: Schema.String
})
const base = {
  flow: Schema.String,
  traceId: Schema.String,
  at: Schema.Number
}
const ofNode = { ...base, node: Schema.String, attempt: Schema.Int }
const ofTrace = {
  ...base,
  node: Schema.UndefinedOr(Schema.String).pipe(Schema.withDecodingDefaultKey(nothing)),
  attempt: Schema.UndefinedOr(Schema.Int).pipe(Schema.withDecodingDefaultKey(nothing))
}
const lasting = { durationMs: Schema.Number }
const instant = { durationMs: Schema.Undefined.pipe(Schema.withDecodingDefaultKey(nothing)) }

/**
 * The schema of events, for storing and sending them. `Schema.fromJsonString(FlowEvent.FlowEvent)` writes and reads them as
 * text; what JSON leaves out because it is undefined is there again once decoded.
 */
export const FlowEvent: Schema.Codec<FlowEvent, unknown> = Schema.Union([
  Schema.TaggedStruct("TraceStarted", {
    ...ofTrace,
    ...instant,
    tenant: Schema.String,
    traceparent: Schema.optional(Schema.String),
    waitedMs: Schema.optional(Schema.Number)
  }),
  Schema.TaggedStruct("NodeStarted", { ...ofNode, ...instant }),
  Schema.TaggedStruct("NodeSucceeded", { ...ofNode, ...lasting }),
  Schema.TaggedStruct("NodeErrored", { ...ofNode, ...lasting, error: ErrorInfo }),
  Schema.TaggedStruct("NodeTimedOut", { ...ofNode, ...lasting, timeoutMs: Schema.Number }),
  Schema.TaggedStruct("NodeRetried", { ...ofNode, ...instant, delayMs: Schema.Number }),
  Schema.TaggedStruct("NodeFailed", { ...ofNode, ...instant, error: ErrorInfo }),
  Schema.TaggedStruct("NodeInterrupted", { ...ofNode, ...lasting }),
  Schema.TaggedStruct("NodeCompensated", {
    ...ofNode,
    ...lasting,
    error: Schema.UndefinedOr(ErrorInfo).pipe(Schema.withDecodingDefaultKey(nothing))
  }),
  Schema.TaggedStruct("PartEmitted", { ...ofNode, ...instant, seq: Schema.Int }),
  Schema.TaggedStruct("NodeStuck", { ...ofNode, ...instant }),
  Schema.TaggedStruct("TraceCancelled", {
    ...ofTrace,
    ...lasting,
    reason: Schema.UndefinedOr(Schema.String).pipe(Schema.withDecodingDefaultKey(nothing))
  }),
  Schema.TaggedStruct("TraceSucceeded", { ...ofTrace, ...lasting, results: Schema.Int }),
  Schema.TaggedStruct("TraceFailed", { ...ofTrace, ...lasting, error: ErrorInfo })
])
