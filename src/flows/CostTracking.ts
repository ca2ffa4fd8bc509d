/**
 * Cost tracking: who used how many tokens, for how long, is recorded on the way, and the result goes on as it is.
 *
 * Who and since when stands in the trace's meta (`user_id`, `start_time` in milliseconds since the epoch), which is what
 * meta is for; where it is recorded is a service, `Usage`: `UsageSql` in production, `UsageMemory` in tests.
 *
 * The node is `"idempotent"`: a record's key is the visit's idempotency key, so that a retried or redelivered message
 * bills nobody twice.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Flow from "../Flow.ts"
import * as Node from "../Node.ts"
import * as Usage from "../Usage.ts"
import { patient } from "./Patience.ts"

/** A result that has cost tokens. */
export interface Result {
  readonly text: string
  readonly tokenCount: number
}
export const Result: Schema.Codec<Result> = Schema.Struct({ text: Schema.String, tokenCount: Schema.Int })

/**
 * The node for results of one's own: it gives what it gets.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as CostTracking from "penguiflow/flows/CostTracking"
 * import * as UsageMemory from "penguiflow/layers/UsageMemory"
 * import * as Usage from "penguiflow/Usage"
 *
 * const Words = Schema.Array(Schema.String)
 * const split = Node.make("split", {
 *   input: Schema.String,
 *   output: Words,
 *   run: (text) => Effect.succeed(text.split(" "))
 * })
 * const bill = CostTracking.make("bill", { value: Words, tokens: (words) => words.length })
 * const program = Effect.gen(function*() {
 *   yield* Flow.run(Flow.make("splitting", [split.to(bill)]), "to be billed", {
 *     meta: { user_id: "user-456", start_time: Date.now() }
 *   })
 *   return yield* Usage.Usage.use((usage) => usage.totals({ userId: "user-456" }))
 * })
 * const { tokens } = await Effect.runPromise(Effect.provide(program, UsageMemory.layer))
 * tokens // => 3
 * ```
 */
export const make = <const Name extends string, A>(name: Name, options: {
  readonly value: Schema.Schema<A>
  /** How many tokens the value has cost: a whole number, 0 or more. */
  readonly tokens: (value: A) => number
  /** Under which names meta says who and since when; default `user_id` and `start_time`. */
  readonly meta?: Usage.MetaKeys | undefined
}): Node.Node<Name, A, A, Usage.UsageError, Usage.Usage> =>
  Node.make(name, {
    input: options.value,
    output: options.value,
    error: Usage.UsageError,
    rerun: "idempotent",
    policy: patient,
    description: "records what the trace has cost, and lets the value pass",
    run: (value, context) =>
      Effect.as(Usage.track(context, { tokens: options.tokens(value), meta: options.meta }), value)
  })

/** Records what a {@link Result} has cost. */
export const trackCost: Node.Node<"track_cost", Result, Result, Usage.UsageError, Usage.Usage> = make("track_cost", {
  value: Result,
  tokens: (result) => result.tokenCount
})

/** The flow. */
export const flow: Flow.Flow<"cost tracking", Result, Result, Usage.UsageError, Usage.Usage> = Flow.make(
  "cost tracking",
  [trackCost.to()]
)
