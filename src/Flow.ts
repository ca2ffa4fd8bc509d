/**
 * A flow: a typed adjacency, closed and checked. An immutable value.
 *
 * A flow can be drawn, costed, checked, tested and run, as often and at as many places as one likes; running it is a
 * service ({@link FlowRuntime}), or a function call ({@link run}).
 */
import type * as Effect from "effect/Effect"
import type { AnyEdges } from "./Edge.ts"
import type { FlowError } from "./FlowError.ts"
import type { RunOptions } from "./FlowRuntime.ts"
import { FlowImpl, flowOf } from "./internal/graph.ts"
import { runOnce } from "./internal/runtime.ts"
import type * as Node from "./Node.ts"

type NodesOf<A extends ReadonlyArray<AnyEdges>> = A[number]["from"] | A[number]["~to"]
/**
 * A name known only as `string`, or as a pattern of strings, says nothing about which node it is: such a node counts as
 * ingress and as egress.
 */
type Known<Name> = Name extends string ? ({} extends { readonly [K in Name]: 1 } ? never : Name) : never
type Targeted<A extends ReadonlyArray<AnyEdges>> = Known<A[number]["~to"]["name"]>
type Sourced<A extends ReadonlyArray<AnyEdges>> = Known<
  { [K in keyof A]: [A[K]["~to"]] extends [never] ? never : A[K]["from"]["name"] }[number]
>
type Without<N extends Node.Any, Names> = N extends Node.Any ? (N["name"] extends Names ? never : N) : never
type Intersect<U> = (U extends unknown ? (k: U) => void : never) extends (k: infer I) => void ? I : never
type Unbox<T> = T extends readonly [infer I] ? I : never
type IngressInput<N extends Node.Any> = Unbox<Intersect<N extends Node.Any ? readonly [Node.Input<N>] : never>>
type Wanted<N> = N extends { readonly "~inputs": infer I extends string } ? I : never
type Unfed<A extends ReadonlyArray<AnyEdges>> = Exclude<Wanted<NodesOf<A>>, A[number]["~fed"]>
/** The edges themselves where the graph is complete, else the sentence that says what is missing. */
type Complete<A extends ReadonlyArray<AnyEdges>> = [Unfed<A>] extends [never] ? A : `✗ no edge ends in ${Unfed<A>}`

/** The closed, checked adjacency. `In`, `Out`, `E`, `R` and `Part` are computed from its rows. */
export interface Flow<out Name extends string, in In, out Out, out E = never, out R = never, out Part = never> {
  readonly name: Name
  readonly "~in": (_: In) => void
  readonly "~out": Out
  readonly "~error": E
  readonly "~services": R
  readonly "~part": Part
}

/** A flow of whatever types. */
export type Any = Flow<string, never, unknown, unknown, unknown, unknown>

/**
 * Closes the adjacency.
 *
 * Ingress are the nodes that no edge ends in: each gets the message. Egress are the nodes that no edge leaves: what they
 * give are the results, in the order in which they are declared.
 *
 * Throws one `FlowDefinitionError` that lists every fault at once: no nodes, two nodes of one name, cycles without
 * `maxHops` (as their path), no ingress, nodes that nothing reaches, join inputs that nothing feeds, router cases without
 * a target, policies that make no sense.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * const parse = Node.make("parse", { input: Schema.String, output: Schema.Number, run: (s) => Effect.succeed(s.length) })
 * const double = Node.make("double", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n * 2) })
 * const flow = Flow.make("lengths", [parse.to(double)])
 * await Effect.runPromise(Flow.run(flow, "four")) // => 8
 * ```
 */
export const make = <const Name extends string, const A extends ReadonlyArray<AnyEdges>>(
  name: Name,
  edges: A & Complete<A>,
  options?: {
    readonly description?: string | undefined
    /** Allows cycles, and bounds the visits that one message may make to one node; in a subflow, per visit of it. */
    readonly maxHops?: number | undefined
  }
): Flow<
  Name,
  IngressInput<Without<NodesOf<A>, Targeted<A>>>,
  Without<NodesOf<A>, Sourced<A>>["~out"],
  NodesOf<A>["~error"],
  NodesOf<A>["~services"],
  NodesOf<A>["~part"]
> => flowOf(new FlowImpl(name, edges, options ?? {}))

/**
 * One message through a flow that lives for it alone.
 *
 * It is `FlowRuntime.run` without a runtime to keep: services come from the caller, layers given by `Node.provide` are
 * built for this message and released after it, `concurrency` bounds only what this one trace does at once.
 * Interrupting the caller cancels the trace.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * const wait = Node.make("wait", { input: Schema.Number, output: Schema.Number, run: () => Effect.never })
 * const program = Flow.run(Flow.make("waiting", [wait.to()]), 1, { deadline: "10 millis" })
 * const error = await Effect.runPromise(Effect.flip(program))
 * error.code // => "DEADLINE_EXCEEDED"
 * ```
 */
export const run = <In, Out, E, R>(
  flow: Flow<string, In, Out, E, R, unknown>,
  input: In,
  options?: RunOptions
): Effect.Effect<Out, E | FlowError, R> => runOnce(flow, input, options)

export { analyze, check, type CheckOptions, type Finding, type FlowAnalysis } from "./FlowAnalysis.ts"
export { toGraphViz } from "./internal/diagram/dot.ts"
export { toMermaid } from "./internal/diagram/mermaid.ts"
