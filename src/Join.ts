/**
 * A join: several branches of one trace become one value.
 *
 * What a join waits for lives in the trace and dies with it: another trace at the same join is never touched, and a join
 * that can't be completed any more ends its trace with `JOIN_INCOMPLETE` and the names of what is missing, instead of
 * waiting for ever.
 */
import type * as Schema from "effect/Schema"
import type { AnyTarget, Connect, Edges, FedBy } from "./Edge.ts"
import { nodeOf } from "./internal/definition.ts"
import type * as Node from "./Node.ts"

/** Waits, within a trace, for every named input; gives them as one record. */
export interface Join<out Name extends string, Inputs> {
  readonly name: Name
  readonly node: this
  readonly "~in": (_: never) => void
  readonly "~out": Inputs
  readonly "~error": never
  readonly "~services": never
  readonly "~part": never
  /** Nothing. It is here for a compiler's complaint to know the join that was taken for a target. */
  readonly "~accepts": (_: never) => void
  readonly "~inputs": `${Name}.${keyof Inputs & string}`
  /** The inputs, as targets of edges: `weather.to(gather.in.weather)`. */
  readonly in: {
    readonly [K in keyof Inputs]: {
      readonly node: Join<Name, Inputs>
      readonly "~accepts": (_: Inputs[K]) => void
      readonly "~fed": `${Name}.${K & string}`
    }
  }
  to<const T extends ReadonlyArray<AnyTarget>>(
    ...targets: { readonly [K in keyof T]: Connect<Name, Inputs, T[K]> }
  ): Edges<this, T[number]["node"], FedBy<T[number]>>
}

/**
 * Waits, within a trace, for every named input.
 *
 * An input that gets several values pairs them first in, first out with those of the other inputs; what is left over
 * when the trace ends is `JOIN_INCOMPLETE`.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Join, Node } from "penguiflow"
 *
 * const start = Node.make("start", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n) })
 * const double = Node.make("double", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n * 2) })
 * const square = Node.make("square", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n * n) })
 * const both = Join.all("both", { double: Schema.Number, square: Schema.Number })
 * const flow = Flow.make("numbers", [
 *   start.to(double, square),
 *   double.to(both.in.double),
 *   square.to(both.in.square),
 *   both.to()
 * ])
 * await Effect.runPromise(Flow.run(flow, 5)) // => { double: 10, square: 25 }
 * ```
 */
export const all = <const Name extends string, const F extends Record<string, Schema.Top>>(
  name: Name,
  inputs: F
): Join<Name, { readonly [K in keyof F]: F[K]["Type"] }> => nodeOf({ kind: "join", name, inputs })

/**
 * Waits, within a trace, for `count` items, and gives them in order of arrival. With more items it gives again after
 * each further `count`; what is left over at the end is `JOIN_INCOMPLETE`.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Join, Node } from "penguiflow"
 *
 * const word = (name: string) =>
 *   Node.make(name, { input: Schema.String, output: Schema.String, run: (s) => Effect.succeed(`${name} ${s}`) })
 * const a = word("a")
 * const b = word("b")
 * const pair = Join.collect("pair", { item: Schema.String, count: 2 })
 * const flow = Flow.make("pairs", [a.to(pair), b.to(pair), pair.to()])
 * await Effect.runPromise(Flow.run(flow, "penguin")) // => ["a penguin", "b penguin"]
 * ```
 */
export const collect = <const Name extends string, A>(
  name: Name,
  options: { readonly item: Schema.Schema<A>; readonly count: number }
): Node.Node<Name, A, ReadonlyArray<A>> => nodeOf({ kind: "collect", name, input: options.item, count: options.count })
