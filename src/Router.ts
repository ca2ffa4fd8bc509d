/**
 * A router: one of several ways on.
 *
 * A router passes its value on unchanged. Its cases are declared, each has a target in the flow, and the target accepts
 * what the case carries; all of that is checked by the compiler.
 */
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { AnyTarget, Connect, Edges, FedBy, Target } from "./Edge.ts"
import { nodeOf } from "./internal/definition.ts"
import type { NodeContext } from "./Node.ts"
import type { Tagged } from "./Policy.ts"
import type { CurrentTrace } from "./Trace.ts"

/** Sends a value to one of several targets, to more than one, or to none. */
export interface Router<
  out Name extends string,
  in In,
  Cases extends Record<string, unknown>,
  out E = never,
  out R = never
> extends Target<In> {
  readonly name: Name
  readonly node: this
  readonly "~in": (_: In) => void
  readonly "~out": never
  readonly "~error": E
  readonly "~services": R
  readonly "~part": never
  /** Every case has a target, and each target accepts what its case carries. */
  to<const T extends { readonly [K in string]: AnyTarget }>(
    targets:
      & {
        readonly [K in keyof Cases]: K extends keyof T ? Connect<`${Name}[${K & string}]`, Cases[K], T[K]> : AnyTarget
      }
      & { readonly [K in keyof T]: K extends keyof Cases ? unknown : `✗ ${Name} has no case "${K & string}"` }
      & T
  ): Edges<this, T[keyof T]["node"], FedBy<T[keyof T]>>
}

/**
 * Routes by `_tag`, narrowed and exhaustive.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node, Router } from "penguiflow"
 *
 * const Card = Schema.TaggedStruct("Card", { number: Schema.String })
 * const Cash = Schema.TaggedStruct("Cash", { amount: Schema.Number })
 * const payment = Router.tagged("payment", Schema.Union([Card, Cash]))
 * const card = Node.make("card", { input: Card, output: Schema.String, run: (c) => Effect.succeed(c.number.slice(-4)) })
 * const cash = Node.make("cash", { input: Cash, output: Schema.String, run: (c) => Effect.succeed(`${c.amount} €`) })
 * const flow = Flow.make("pay", [payment.to({ Card: card, Cash: cash })])
 * await Effect.runPromise(Flow.run(flow, { _tag: "Cash", amount: 5 })) // => "5 €"
 * ```
 */
export const tagged = <const Name extends string, In extends Tagged>(
  name: Name,
  input: Schema.Schema<In>
): Router<Name, In, { [K in In["_tag"]]: Extract<In, { readonly _tag: K }> }> => nodeOf({ kind: "router", name, input })

/**
 * Routes by a decision, which may be an Effect: a routing policy is a service that the decision asks.
 *
 * The decision is a case, several cases, or `[]`: then this branch ends here.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node, Router } from "penguiflow"
 *
 * const size = Router.make("size", {
 *   input: Schema.String,
 *   cases: ["short", "long"],
 *   decide: (text) => text.length < 10 ? "short" : "long"
 * })
 * const label = (name: string) =>
 *   Node.make(name, { input: Schema.String, output: Schema.String, run: () => Effect.succeed(name) })
 * const flow = Flow.make("sizes", [size.to({ short: label("brief"), long: label("essay") })])
 * await Effect.runPromise(Flow.run(flow, "a word")) // => "brief"
 * ```
 */
export const make = <
  const Name extends string,
  In,
  const Case extends string,
  E extends Tagged = never,
  R = never
>(
  name: Name,
  options: {
    readonly input: Schema.Schema<In>
    readonly cases: ReadonlyArray<Case>
    readonly description?: string | undefined
    /** One case, several, or none: then this branch ends here. */
    readonly decide: (
      input: In,
      context: NodeContext
    ) =>
      | NoInfer<Case>
      | ReadonlyArray<NoInfer<Case>>
      | Effect.Effect<NoInfer<Case> | ReadonlyArray<NoInfer<Case>>, E, R>
  }
): Router<Name, In, { [K in Case]: In }, E, Exclude<R, CurrentTrace | Scope.Scope>> =>
  nodeOf({
    kind: "router",
    name,
    input: options.input,
    cases: options.cases,
    description: options.description,
    decide: options.decide
  })
