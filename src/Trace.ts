/**
 * A trace: one message's whole way through a flow.
 *
 * The runtime carries the envelope (id, headers, meta, deadline), so that nodes work on payloads alone. What a node may
 * know of its trace is {@link TraceInfo}, which it gets as part of its context, or deeper in its code from the service
 * {@link CurrentTrace}.
 *
 * A `traceId` is not an OpenTelemetry trace id; spans carry it as `penguiflow.trace_id`.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Schema from "effect/Schema"

/** Who a message is for, and what about. Fixed when the trace begins; no node can change it. */
export interface Headers {
  /** Whose message it is; `"default"` where the caller names none. */
  readonly tenant: string
  readonly topic?: string | undefined
  /** Higher goes first where something is queued; 0 where the caller says nothing. */
  readonly priority: number
}

/**
 * What a trace carries along besides its payload: JSON, and nothing else.
 *
 * A pool, a lock or a session does not compile here, and is refused at run time with `INVALID_META` and the key. What
 * has a life of its own is a service, provided by a Layer.
 */
export type Meta = Readonly<Record<string, Schema.Json>>

/** What is known of a trace while it runs. */
export interface TraceInfo {
  readonly traceId: string
  /** The name of the flow, of the outer one in a subflow. */
  readonly flow: string
  readonly headers: Headers
  /** As it is now: what earlier nodes added with `annotate` is there. */
  readonly meta: Meta
  /** Milliseconds since the epoch; undefined where the trace has no deadline. */
  readonly deadline: number | undefined
}

const TraceBase: Context.ServiceClass<CurrentTrace, "penguiflow/Trace/CurrentTrace", TraceInfo> = Context.Service<
  CurrentTrace,
  TraceInfo
>()("penguiflow/Trace/CurrentTrace")

/**
 * The trace that runs, for code deep inside a node. The runtime provides it, so that it leaves the node's `R`.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node, Trace } from "penguiflow"
 *
 * const who = Effect.map(Trace.CurrentTrace, (trace) => trace.headers.tenant)
 * const greet = Node.make("greet", {
 *   input: Schema.String,
 *   output: Schema.String,
 *   run: (word) => Effect.map(who, (tenant) => `${word}, ${tenant}`)
 * })
 * const flow = Flow.make("greeting", [greet.to()])
 * const program = Flow.run(flow, "hello", { headers: { tenant: "acme" } })
 * await Effect.runPromise(program) // => "hello, acme"
 * ```
 */
export class CurrentTrace extends TraceBase {}

/** Where a trace failed: of a node's own error, which knows nothing of nodes. */
export interface FailedAt {
  readonly node: string
  /** Which try of the node, from 1. */
  readonly attempt: number
}

const FailedAtBase: Context.ServiceClass<FailedAtNote, "penguiflow/Trace/FailedAt", FailedAt> = Context.Service<
  FailedAtNote,
  FailedAt
>()("penguiflow/Trace/FailedAt")

/** What the runtime annotates the cause of a failed trace with; {@link failedAt} reads it. */
export class FailedAtNote extends FailedAtBase {}

/**
 * The node at which a trace failed, from the cause of its failure; undefined where it was no node, as when a trace was
 * cancelled while it waited.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node, Trace } from "penguiflow"
 *
 * class Busy extends Schema.TaggedError<Busy>()("Busy", {}) {}
 * const fetch = Node.make("fetch", {
 *   input: Schema.String,
 *   output: Schema.String,
 *   error: Busy,
 *   run: () => Effect.fail(new Busy())
 * })
 * const flow = Flow.make("fetching", [fetch.to()])
 * const where = Flow.run(flow, "x").pipe(
 *   Effect.as("nowhere"),
 *   Effect.catchCause((cause) => Effect.succeed(Trace.failedAt(cause)?.node))
 * )
 * await Effect.runPromise(where) // => "fetch"
 * ```
 */
export const failedAt = (cause: Cause.Cause<unknown>): FailedAt | undefined =>
  Context.getOrUndefined(Cause.annotations(cause), FailedAtNote)
