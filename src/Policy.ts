/**
 * A policy: how the runs of one node are guarded.
 *
 * A policy is plain data. It can be made once and given to many nodes, at `Node.make` or later by `Node.withPolicy`.
 *
 * | field | guards | held |
 * |---|---|---|
 * | `retry`, `retryWhile` | what happens after a failed attempt | per visit of the node |
 * | `timeout` | one attempt | per attempt |
 * | `concurrency` | how many traces are inside at once | per attempt, not during backoff |
 * | `validate` | the type side of input and output | per attempt |
 *
 * The parts act from the outside in: retry around permit around timeout around validation around `run`: waiting for a
 * permit does not count against the timeout. A deadline
 * belongs to the trace, not to a node: see `RunOptions.deadline`.
 */
import type * as Duration from "effect/Duration"
import type * as Schedule from "effect/Schedule"
import type { FlowError } from "./FlowError.ts"

/** An error that can be told from others by its `_tag`: what nodes fail with. */
export interface Tagged {
  readonly _tag: string
}

/**
 * How a node's runs are guarded. Every field may be left out; the empty policy runs once, unbounded, validating both
 * sides.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schedule, Schema } from "effect"
 * import { Flow, Node, type Policy } from "penguiflow"
 *
 * let calls = 0
 * const patient: Policy.Policy = { retry: Schedule.recurs(3), timeout: "1 second" }
 * const flaky = Node.make("flaky", {
 *   input: Schema.Number,
 *   output: Schema.Number,
 *   policy: patient,
 *   run: (n) => Effect.suspend(() => ++calls < 3 ? Effect.fail({ _tag: "Busy" as const }) : Effect.succeed(n * 2))
 * })
 * await Effect.runPromise(Flow.run(Flow.make("doubling", [flaky.to()]), 21)) // => 42
 * calls // => 3
 * ```
 */
export interface Policy<in E = unknown> {
  /**
   * Asked after a failed or timed-out attempt, with the node's error or the runtime's: says how long to wait, and when
   * to stop. `Schedule.recurs(3)` makes four attempts at most. Default: no retry.
   */
  readonly retry?: Schedule.Schedule<unknown, E | FlowError> | undefined
  /**
   * Which failures are tried again. Default: every failure and timeout, but no validation failure and no defect, which
   * would only fail again.
   */
  readonly retryWhile?: ((error: E | FlowError) => boolean) | undefined
  /** For one attempt. It fails with `NODE_TIMEOUT` once its finalizers have run. Default: none. */
  readonly timeout?: Duration.Input | undefined
  /** How many traces may be inside this node at once, in one runtime. Default: no bound but the runtime's own. */
  readonly concurrency?: number | undefined
  /** Which sides are checked against the node's schemas. Default: `"both"`. */
  readonly validate?: "both" | "input" | "output" | "none" | undefined
}
