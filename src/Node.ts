/**
 * A node: a named Effect program between two schemas.
 *
 * What a node needs is a service in its `R`, what can go wrong with it is in its `E`, and what it gives is checked
 * against what the next one takes by the compiler. A node is a value: it runs nothing until a flow that holds it runs.
 */
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { AnyTarget, Connect, Edges, FedBy, Target } from "./Edge.ts"
import type { Flow } from "./Flow.ts"
import { definitionOf, nodeOf, type StreamContext } from "./internal/definition.ts"
import type { Policy, Tagged } from "./Policy.ts"
import type { CurrentTrace, TraceInfo } from "./Trace.ts"

/**
 * What a node's `run` gets besides its input.
 *
 * An alias on purpose: as an interface it breaks the inference of `run: Effect.fn(function*(x, { emit }) { … })`.
 */
export type NodeContext<Part = never> = TraceInfo & {
  /** The node's name; `inner/node` in a subflow. */
  readonly node: string
  /** 1 on the first try. */
  readonly attempt: number
  /**
   * The same on every retry and every redelivery of this visit: the key for an idempotent write. Made of the flow's name,
   * the trace id and the way by which the visit was reached, never of arrival order.
   */
  readonly idempotencyKey: string
  /** Sends partial output to whoever streams this trace, and waits while they are slow. Where nobody streams, nothing. */
  readonly emit: (part: Part) => Effect.Effect<void>
  /** Adds to the trace's meta: later nodes and the outcome see it. A value that is not JSON is a defect naming the key. */
  readonly annotate: (key: string, value: Schema.Json) => Effect.Effect<void>
}

/**
 * How a node may be run again: what `Flow.check` and the durable engine ask.
 *
 * | value | a second run with the same input and idempotency key … |
 * |---|---|
 * | `"pure"` | touches nothing outside |
 * | `"idempotent"` | leaves the outside as the first one did |
 * | `"transactional"` | finds either nothing or everything of the first one done |
 * | `"compensated"` | may do it again; `compensate` undoes each finished run |
 * | `"unsafe"` | does it again, and nothing undoes it |
 */
export type Rerun = "pure" | "idempotent" | "transactional" | "compensated" | "unsafe"

/** A node of whatever types: what erased code holds. */
export interface Any {
  readonly name: string
  readonly "~in": (_: never) => void
  readonly "~out": unknown
  readonly "~error": unknown
  readonly "~services": unknown
  readonly "~part": unknown
}

/** What a node takes. */
export type Input<N> = N extends { readonly "~in": (_: infer I) => void } ? I : never

/** A named Effect program between two schemas. */
export interface Node<out Name extends string, in In, out Out, out E = never, out R = never, out Part = never>
  extends Target<In>
{
  readonly name: Name
  readonly node: this
  readonly "~in": (_: In) => void
  readonly "~out": Out
  readonly "~error": E
  readonly "~services": R
  readonly "~part": Part
  /** `validate.to(enrich)`, `split.to(a, b)`, and `only.to()` for a flow of one node. */
  to<const T extends ReadonlyArray<AnyTarget>>(
    ...targets: { readonly [K in keyof T]: Connect<Name, Out, T[K]> }
  ): Edges<this, T[number]["node"], FedBy<T[number]>>
}

/**
 * Makes a node.
 *
 * `run` may answer with any Effect. What it acquires in its Scope is released when the attempt ends; the runtime
 * provides `Scope` and `Trace.CurrentTrace`, so that neither stands in the node's `R`.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * const shout = Node.make("shout", {
 *   input: Schema.String,
 *   output: Schema.String,
 *   run: (text) => Effect.succeed(text.toUpperCase())
 * })
 * await Effect.runPromise(Flow.run(Flow.make("shouting", [shout.to()]), "penguin")) // => "PENGUIN"
 * ```
 */
export const make = <
  const Name extends string,
  In,
  Out,
  E extends Tagged = never,
  R = never,
  R2 = never,
  Part = never
>(name: Name, options: {
  readonly input: Schema.Schema<In>
  readonly output: Schema.Schema<Out>
  /** Needed where the error must cross a wire: the durable engine, the job queue, HTTP. */
  readonly error?: Schema.Schema<E> | undefined
  readonly part?: Schema.Schema<Part> | undefined
  /** Here errors are known by their `_tag` alone; {@link withPolicy} knows this node's exactly. */
  readonly policy?: Policy<Tagged> | undefined
  readonly rerun?: Rerun | undefined
  readonly description?: string | undefined
  /** Each attempt runs in a Scope of its own: what it acquires is released when the attempt ends. */
  readonly run: (input: In, context: NodeContext<NoInfer<Part>>) => Effect.Effect<Out, E, R>
  /**
   * Undoes a finished run when the trace fails or is cancelled later; undone in reverse order of finishing. A run that
   * can't be interrupted, a transaction that commits for one, is waited for (up to `interruptGrace`) and undone once it
   * has finished, after its timeout and after it was left behind as well. A run that was interrupted has not finished.
   */
  readonly compensate?: ((output: Out, context: NodeContext) => Effect.Effect<void, never, R2>) | undefined
}): Node<Name, In, Out, E, Exclude<R | R2, CurrentTrace | Scope.Scope>, Part> =>
  nodeOf({
    kind: "task",
    name,
    input: options.input,
    output: options.output,
    error: options.error,
    part: options.part,
    policy: options.policy,
    rerun: options.rerun,
    description: options.description,
    run: options.run,
    compensate: options.compensate
  })

/**
 * A node that streams its output part by part, and gives what `collect` makes of the parts.
 *
 * Whoever streams the trace (`FlowRuntime.stream`) sees each part as it comes. A retried attempt sends its parts anew,
 * told by `attempt`.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema, Stream } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * const words = Node.stream("words", {
 *   input: Schema.String,
 *   part: Schema.String,
 *   output: Schema.Number,
 *   run: (text) => Stream.fromIterable(text.split(" ")),
 *   collect: (parts) => parts.length
 * })
 * await Effect.runPromise(Flow.run(Flow.make("counting", [words.to()]), "one two three")) // => 3
 * ```
 */
export const stream = <const Name extends string, In, Part, Out, E extends Tagged = never, R = never>(
  name: Name,
  options: {
    readonly input: Schema.Schema<In>
    readonly part: Schema.Schema<Part>
    readonly output: Schema.Schema<Out>
    readonly error?: Schema.Schema<E> | undefined
    readonly policy?: Policy<Tagged> | undefined
    readonly rerun?: Rerun | undefined
    readonly description?: string | undefined
    readonly run: (input: In, context: NodeContext) => Stream.Stream<Part, E, R>
    readonly collect: (parts: ReadonlyArray<Part>) => Out
  }
): Node<Name, In, Out, E, Exclude<R, CurrentTrace | Scope.Scope>, Part> =>
  nodeOf({
    kind: "task",
    name,
    input: options.input,
    output: options.output,
    error: options.error,
    part: options.part,
    policy: options.policy,
    rerun: options.rerun,
    description: options.description,
    run: (input: In, context: StreamContext<Part>) => context.collect(options.run(input, context), options.collect)
  })

/**
 * The node over every item, in order, at most `concurrency` at a time; the first failure stops the others.
 *
 * The node's policy guards each item. A policy given to the result guards the whole.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * const square = Node.make("square", {
 *   input: Schema.Number,
 *   output: Schema.Number,
 *   run: (n) => Effect.succeed(n * n)
 * })
 * const flow = Flow.make("squares", [Node.forEach(square, { concurrency: 4 }).to()])
 * await Effect.runPromise(Flow.run(flow, [1, 2, 3])) // => [1, 4, 9]
 * ```
 */
export const forEach = <Name extends string, In, Out, E, R, Part>(
  node: Node<Name, In, Out, E, R, Part>,
  options: { readonly concurrency: number }
): Node<Name, ReadonlyArray<In>, ReadonlyArray<Out>, E, R, Part> =>
  nodeOf({ kind: "each", name: node.name, item: definitionOf(node), concurrency: options.concurrency })

/**
 * The same node under another name: a node or a subflow that stands twice in one flow.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * const inc = Node.make("inc", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n + 1) })
 * await Effect.runPromise(Flow.run(Flow.make("plus two", [inc.to(Node.named(inc, "again"))]), 1)) // => 3
 * ```
 */
export const named = <const Name extends string, In, Out, E, R, Part>(
  node: Node<string, In, Out, E, R, Part>,
  name: Name
): Node<Name, In, Out, E, R, Part> => nodeOf({ ...definitionOf(node), name })

/**
 * A flow as one node, in the same trace. Events name the inner nodes `flow/node`.
 *
 * Every result of the inner flow is sent on: one that gives none ends its branch. A policy given to this node guards the
 * inner flow as a whole.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * const inc = Node.make("inc", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n + 1) })
 * const inner = Flow.make("inner", [inc.to()])
 * await Effect.runPromise(Flow.run(Flow.make("outer", [inc.to(Node.fromFlow(inner))]), 1)) // => 3
 * ```
 */
export const fromFlow = <Name extends string, In, Out, E, R, Part>(
  flow: Flow<Name, In, Out, E, R, Part>
): Node<Name, In, Out, E, R, Part> => nodeOf({ kind: "flow", name: flow.name, flow })

/**
 * The node under another policy, which replaces the one it had. Here `retryWhile` knows the node's errors exactly.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schedule, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * class Busy extends Schema.TaggedError<Busy>()("Busy", { soon: Schema.Boolean }) {}
 * let calls = 0
 * const ask = Node.make("ask", {
 *   input: Schema.Number,
 *   output: Schema.Number,
 *   run: (n) => ++calls < 2 ? Effect.fail(new Busy({ soon: true })) : Effect.succeed(n)
 * })
 * const patient = Node.withPolicy(ask, {
 *   retry: Schedule.recurs(5),
 *   retryWhile: (error) => error._tag === "Busy" && error.soon
 * })
 * await Effect.runPromise(Flow.run(Flow.make("asking", [patient.to()]), 7)) // => 7
 * ```
 */
export const withPolicy = <Name extends string, In, Out, E, R, Part>(
  node: Node<Name, In, Out, E, R, Part>,
  policy: Policy<NoInfer<E>>
): Node<Name, In, Out, E, R, Part> => nodeOf({ ...definitionOf(node), policy })

/**
 * The node with some of its services provided.
 *
 * The layer is built when the node first runs, once per runtime, and released when the runtime ends. If it can't be
 * built, that is the node's error, and the next visit tries again.
 *
 * @example
 * ```ts runnable
 * import { Context, Effect, Layer, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * class Rate extends Context.Service<Rate, number>()("app/Rate") {}
 * const convert = Node.make("convert", {
 *   input: Schema.Number,
 *   output: Schema.Number,
 *   run: (n) => Rate.useSync((rate) => n * rate)
 * })
 * const flow = Flow.make("converting", [Node.provide(convert, Layer.succeed(Rate, 2)).to()])
 * await Effect.runPromise(Flow.run(flow, 4)) // => 8
 * ```
 */
export const provide = <Name extends string, In, Out, E, R, Part, ROut, LE, RIn>(
  node: Node<Name, In, Out, E, R, Part>,
  layer: Layer.Layer<ROut, LE, RIn>
): Node<Name, In, Out, E | LE, Exclude<R, ROut> | RIn, Part> => {
  const definition = definitionOf(node)
  return nodeOf({ ...definition, layers: [...(definition.layers ?? []), layer] })
}
