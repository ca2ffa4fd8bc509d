/**
 * What the runtime itself fails with.
 *
 * A node's own error stays what it is, in `E`, and is caught by its own tag. Everything else that can end a trace is one
 * error, {@link FlowError}, whose `reason` is tagged: `Effect.catchReason("FlowError", "JoinIncomplete", …)` narrows to
 * it, and `code` is the same in words that stay stable for logs and wires.
 */
import type * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Predicate from "effect/Predicate"

/** An attempt took longer than its policy's `timeout`. */
export interface NodeTimedOut {
  readonly _tag: "NodeTimedOut"
  readonly timeoutMs: number
}
/** A node threw, died, or interrupted itself. */
export interface NodeDied {
  readonly _tag: "NodeDied"
  readonly defect: unknown
}
/** A value does not fit a node's input schema. `issue` says where and what was expected, never the value. */
export interface InvalidInput {
  readonly _tag: "InvalidInput"
  readonly issue: string
}
/** A node gave a value that does not fit its output schema. `issue` says where, never the value. */
export interface InvalidOutput {
  readonly _tag: "InvalidOutput"
  readonly issue: string
}
/** Something that is not JSON was on its way into a trace's meta. */
export interface InvalidMeta {
  readonly _tag: "InvalidMeta"
  readonly key: string
}
/** A trace with this id is open. */
export interface DuplicateTrace {
  readonly _tag: "DuplicateTrace"
}
/** Somebody cancelled the trace. */
export interface TraceCancelled {
  readonly _tag: "TraceCancelled"
  readonly reason: string | undefined
}
/** The trace's deadline passed. Milliseconds since the epoch. */
export interface DeadlineExceeded {
  readonly _tag: "DeadlineExceeded"
  readonly deadline: number
}
/** A loop or a cycle went round as often as it may. */
export interface HopsExhausted {
  readonly _tag: "HopsExhausted"
  readonly maxHops: number
}
/** A loop spent its budget and was not done. */
export interface BudgetExhausted {
  readonly _tag: "BudgetExhausted"
  readonly budget: number
  readonly spent: number
}
/** The trace ended while a join still waited. */
export interface JoinIncomplete {
  readonly _tag: "JoinIncomplete"
  readonly join: string
  readonly missing: ReadonlyArray<string>
}
/** `run` was asked for one result, and the trace gave none. */
export interface NoResult {
  readonly _tag: "NoResult"
}
/** `run` was asked for one result, and the trace gave several: `runAll` returns them. */
export interface ManyResults {
  readonly _tag: "ManyResults"
  readonly count: number
}
/** The runtime takes no more messages. */
export interface ShuttingDown {
  readonly _tag: "ShuttingDown"
}

/** Why a trace ended, or was not begun. */
export type FlowErrorReason =
  | NodeTimedOut
  | NodeDied
  | InvalidInput
  | InvalidOutput
  | InvalidMeta
  | DuplicateTrace
  | TraceCancelled
  | DeadlineExceeded
  | HopsExhausted
  | BudgetExhausted
  | JoinIncomplete
  | NoResult
  | ManyResults
  | ShuttingDown

/** The reason's name for logs, wires and dashboards. Codes are never renamed. */
export type FlowErrorCode =
  | "NODE_TIMEOUT"
  | "NODE_EXCEPTION"
  | "INVALID_INPUT"
  | "INVALID_OUTPUT"
  | "INVALID_META"
  | "DUPLICATE_TRACE"
  | "TRACE_CANCELLED"
  | "DEADLINE_EXCEEDED"
  | "HOP_BUDGET_EXHAUSTED"
  | "TOKEN_BUDGET_EXHAUSTED"
  | "JOIN_INCOMPLETE"
  | "NO_RESULT"
  | "MANY_RESULTS"
  | "SHUTTING_DOWN"

/** The code of each reason. */
export const codes: { readonly [Tag in FlowErrorReason["_tag"]]: FlowErrorCode } = {
  NodeTimedOut: "NODE_TIMEOUT",
  NodeDied: "NODE_EXCEPTION",
  InvalidInput: "INVALID_INPUT",
  InvalidOutput: "INVALID_OUTPUT",
  InvalidMeta: "INVALID_META",
  DuplicateTrace: "DUPLICATE_TRACE",
  TraceCancelled: "TRACE_CANCELLED",
  DeadlineExceeded: "DEADLINE_EXCEEDED",
  HopsExhausted: "HOP_BUDGET_EXHAUSTED",
  BudgetExhausted: "TOKEN_BUDGET_EXHAUSTED",
  JoinIncomplete: "JOIN_INCOMPLETE",
  NoResult: "NO_RESULT",
  ManyResults: "MANY_RESULTS",
  ShuttingDown: "SHUTTING_DOWN"
}

interface Fields {
  readonly message: string
  readonly flow: string
  readonly traceId: string
  readonly node: string | undefined
  readonly attempt: number | undefined
  readonly reason: FlowErrorReason
  /** The defect, where a node died: for loggers, which show its stack. */
  readonly cause?: unknown
}

const Base: new(fields: Fields) => Cause.YieldableError & { readonly _tag: "FlowError" } & Fields = Data.TaggedError(
  "FlowError"
)

/**
 * The runtime's one error.
 *
 * `message` says what happened, where, and what to do about it. `node` and `attempt` are undefined where the failure
 * belongs to no node.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * const slow = Node.make("slow", {
 *   input: Schema.Number,
 *   output: Schema.Number,
 *   policy: { timeout: "10 millis" },
 *   run: () => Effect.never
 * })
 * const program = Flow.run(Flow.make("patience", [slow.to()]), 1).pipe(
 *   Effect.catchReason("FlowError", "NodeTimedOut", (reason) => Effect.succeed(reason.timeoutMs))
 * )
 * await Effect.runPromise(program) // => 10
 * ```
 */
export class FlowError extends Base {
  // A brand that no proxy answers for: asking for it runs none of its code.
  readonly #brand = true

  /** Whether a value is a `FlowError`, whatever it is. */
  static is(u: unknown): u is FlowError {
    return typeof u === "object" && u !== null && #brand in u && u.#brand
  }

  /** The reason's stable name. */
  get code(): FlowErrorCode {
    return codes[this.reason._tag]
  }
}

/** Whether a value is a {@link FlowError}. */
export const isFlowError = (u: unknown): u is FlowError => FlowError.is(u)

/**
 * What `Flow.make` throws: every fault of the graph at once.
 *
 * It is a mistake in the program and not something that happens to it, which is why it is thrown and does not stand in
 * any `E`.
 */
export class FlowDefinitionError extends Error {
  readonly _tag = "FlowDefinitionError" as const
  override readonly name = "FlowDefinitionError"
  readonly flow: string
  readonly faults: ReadonlyArray<string>
  constructor(flow: string, faults: ReadonlyArray<string>) {
    super(
      `Flow "${flow}" can't be made, for ${faults.length === 1 ? "one reason" : `${faults.length} reasons`}:\n${
        faults.map((fault) => `  - ${fault}`).join("\n")
      }`
    )
    this.flow = flow
    this.faults = faults
  }
}

/** Whether a value is a {@link FlowDefinitionError}. */
export const isFlowDefinitionError = (u: unknown): u is FlowDefinitionError =>
  Predicate.isTagged(u, "FlowDefinitionError") && u instanceof Error
