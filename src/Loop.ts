/**
 * A loop: a controller that runs itself again until it is done.
 *
 * A step answers with {@link again} and its next state, or with {@link done} and the answer. What bounds it: the trace's
 * deadline, `maxHops`, and a `budget` that steps draw on. They are asked after each step in this order: deadline, then
 * `Done` is accepted, then budget, then hops.
 */
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { nodeOf } from "./internal/definition.ts"
import type * as Node from "./Node.ts"
import type { Policy, Tagged } from "./Policy.ts"
import type { CurrentTrace } from "./Trace.ts"

/** What a step answers. */
export type Step<S, A> =
  | { readonly _tag: "Continue"; readonly state: S }
  | { readonly _tag: "Done"; readonly value: A }

/** Once more, with this state. */
export const again = <S>(state: S): Step<S, never> => ({ _tag: "Continue", state })

/** Finished: the loop gives this value. */
export const done = <A>(value: A): Step<never, A> => ({ _tag: "Done", value })

/** What a step knows besides what every node knows. */
export type LoopContext = Node.NodeContext & {
  /** 0 in the first step of a visit. */
  readonly hop: number
  /** Draws on the loop's `budget`, tokens for example. What a failed attempt spent stays spent. */
  readonly spend: (amount: number) => Effect.Effect<void>
}

/**
 * A node that runs its step until the step is done.
 *
 * The policy guards one step, not the whole loop. When `maxHops` steps have run, or the budget is spent, and the last
 * one was not done, the answer is `onExhausted` of the state; without it the trace fails with `HOP_BUDGET_EXHAUSTED` or
 * `TOKEN_BUDGET_EXHAUSTED`. 100 000 hops grow no stack.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Loop } from "penguiflow"
 *
 * const halve = Loop.make("halve", {
 *   state: Schema.Number,
 *   output: Schema.Number,
 *   maxHops: 10,
 *   step: (n, { hop }) => Effect.succeed(n > 1 ? Loop.again(n / 2) : Loop.done(hop))
 * })
 * await Effect.runPromise(Flow.run(Flow.make("halving", [halve.to()]), 64)) // => 6
 * ```
 */
export const make = <const Name extends string, S, A, E extends Tagged = never, R = never>(name: Name, options: {
  readonly state: Schema.Schema<S>
  readonly output: Schema.Schema<A>
  readonly error?: Schema.Schema<E> | undefined
  /** How often `step` may run in one visit. */
  readonly maxHops: number
  /** A budget the step draws on with `context.spend`, tokens for example. Default: none. */
  readonly budget?: number | undefined
  readonly policy?: Policy<Tagged> | undefined
  readonly rerun?: Node.Rerun | undefined
  readonly description?: string | undefined
  readonly step: (state: S, context: LoopContext) => Effect.Effect<Step<S, A>, E, R>
  /** The answer when hops or budget run out; without it the trace fails. */
  readonly onExhausted?: ((state: S) => A) | undefined
}): Node.Node<Name, S, A, E, Exclude<R, CurrentTrace | Scope.Scope>> =>
  nodeOf({
    kind: "loop",
    name,
    input: options.state,
    output: options.output,
    error: options.error,
    policy: options.policy,
    rerun: options.rerun,
    description: options.description,
    maxHops: options.maxHops,
    budget: options.budget,
    onExhausted: options.onExhausted,
    run: options.step
  })
