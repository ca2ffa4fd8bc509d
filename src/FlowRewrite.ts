/**
 * A rewritten flow: the same graph with something else in the place of one node's run, or around it.
 *
 * It is how tests inject faults (`penguiflow/testing`), and how an application puts the same thing around a node of a flow
 * that it did not write. A flow is a value, so the given one stays what it is. Names and edges stay, and with them what
 * events say and each visit's idempotency key.
 *
 * Nodes are named as events name them: `enrich`, and `inner/enrich` for a node of a subflow. The end of the path is
 * enough where only one node has it. A name that no node has throws a `FlowDefinitionError` that lists those there are:
 * like a graph that can't be closed it is a mistake in the program.
 */
import * as Effect from "effect/Effect"
import type { Any, Flow } from "./Flow.ts"
import { FlowDefinitionError } from "./FlowError.ts"
import { type Definition, definitionOf, type Kind } from "./internal/definition.ts"
import { type FlowImpl, flowOf, graphOf } from "./internal/graph.ts"
import * as Rewrite from "./internal/rewrite.ts"
import type * as Node from "./Node.ts"
import type { Policy, Tagged } from "./Policy.ts"

/** What is known of a node without running it. */
export interface NodeInfo {
  /** As events name it. */
  readonly node: string
  readonly kind: Kind
  /** How it may be run again; undefined where the node does not say. */
  readonly rerun: Node.Rerun | undefined
}

/** One attempt at a node. */
export interface Call {
  readonly node: string
  readonly input: unknown
  readonly context: Node.NodeContext
}

/** What a node gives: nobody else can give it. */
export interface Given {
  readonly "~penguiflow/FlowRewrite": "given"
}

/** What a node itself fails with. */
export interface Own {
  readonly "~penguiflow/FlowRewrite": "own error"
  readonly _tag: string
}

/** A node by its name, or by the node itself, whose types are then known. */
export type Named = string | { readonly name: string }

/**
 * All nodes in the order in which they are declared, those of subflows after the node that holds them.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as FlowRewrite from "penguiflow/FlowRewrite"
 *
 * const inc = Node.make("inc", {
 *   input: Schema.Number,
 *   output: Schema.Number,
 *   rerun: "pure",
 *   run: (n) => Effect.succeed(n + 1)
 * })
 * const flow = Flow.make("outer", [inc.to(Node.fromFlow(Flow.make("inner", [inc.to()])))])
 * FlowRewrite.nodes(flow).map((it) => it.node) // => ["inc", "inner", "inner/inc"]
 * ```
 */
export const nodes = (flow: Any): ReadonlyArray<NodeInfo> =>
  Rewrite.placesOf(graphOf(flow)).map(({ definition, path }) => ({
    node: path,
    kind: definition.kind,
    rerun: definition.rerun as Node.Rerun | undefined
  }))

/**
 * The flow with something around every attempt at one node: a log, a measurement, a fault.
 *
 * What stands around it can fail in other ways and need other services, but has to give what the node gives, whose type
 * it does not know.
 * Of a loop it stands around each step, of a `Node.forEach` around each item. A subflow or a join runs nothing of its
 * own: to name one throws.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as FlowRewrite from "penguiflow/FlowRewrite"
 *
 * const inc = Node.make("inc", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n + 1) })
 * const seen: Array<unknown> = []
 * const flow = FlowRewrite.around(Flow.make("counting", [inc.to()]), "inc", (run, { input, node }) =>
 *   Effect.tap(run, () => Effect.sync(() => seen.push([node, input]))))
 * await Effect.runPromise(Flow.run(flow, 1)) // => 2
 * seen // => [["inc", 1]]
 * ```
 */
export const around = <Name extends string, In, Out, E, R, Part, E2 = never, R2 = never>(
  flow: Flow<Name, In, Out, E, R, Part>,
  node: Named,
  wrap: (run: Effect.Effect<Given, Own>, call: Call) => Effect.Effect<Given, E2, R2>
): Flow<Name, In, Out, E | Exclude<E2, Own>, R | R2, Part> =>
  changed(flow, node, false, (definition, path) => {
    const run = Rewrite.runOf(definition)
    if (run === undefined) {
      const { kind } = definition
      throw new FlowDefinitionError(flow.name, [
        `"${path}" is a ${kind} and runs nothing of its own${
          kind === "flow" ? `: name a node in it, \`${path}/…\`` : ""
        }`
      ])
    }
    return Rewrite.withRun(
      definition,
      (input, context) =>
        wrap(Effect.suspend(() => run(input, context)) as Effect.Effect<Given, Own>, { node: path, input, context })
    )
  })

/**
 * The flow with another run in the place of a node's.
 *
 * Given the node itself, input and output are known; given its name they are not, and are checked where it runs, by the
 * node's schemas. Its policy stays, its compensation goes with the run that it would undo, and so do layers that
 * `Node.provide` gave it. A subflow or a `Node.forEach` is replaced as a whole where the node itself is given.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as FlowRewrite from "penguiflow/FlowRewrite"
 *
 * const ask = Node.make("ask", { input: Schema.String, output: Schema.Number, run: () => Effect.die("not in a test") })
 * const flow = FlowRewrite.replace(Flow.make("asking", [ask.to()]), ask, (text) => Effect.succeed(text.length))
 * await Effect.runPromise(Flow.run(flow, "four")) // => 4
 * ```
 */
export const replace: {
  <Name extends string, FlowIn, FlowOut, E, R, Part, In, Out, E2 extends Tagged = never, R2 = never>(
    flow: Flow<Name, FlowIn, FlowOut, E, R, Part>,
    node: { readonly name: string; readonly "~in": (_: In) => void; readonly "~out": Out },
    run: (input: In, context: Node.NodeContext) => Effect.Effect<NoInfer<Out>, E2, R2>
  ): Flow<Name, FlowIn, FlowOut, E | E2, R | R2, Part>
  <Name extends string, FlowIn, FlowOut, E, R, Part, E2 extends Tagged = never, R2 = never>(
    flow: Flow<Name, FlowIn, FlowOut, E, R, Part>,
    node: string,
    run: (input: never, context: Node.NodeContext) => Effect.Effect<unknown, E2, R2>
  ): Flow<Name, FlowIn, FlowOut, E | E2, R | R2, Part>
} = <Name extends string, In, Out, E, R, Part>(
  flow: Flow<Name, In, Out, E, R, Part>,
  node: Named,
  run: (input: never, context: Node.NodeContext) => Effect.Effect<unknown, unknown, unknown>
): Flow<Name, In, Out, E, R, Part> =>
  changed(flow, node, typeof node !== "string" && definitionOf(node).kind === "each", (definition) => ({
    ...Rewrite.withRun(definition, run),
    compensate: undefined,
    layers: undefined
  }))

/** The flow with another policy for one node; the one it had is given. */
export const withPolicy = <Name extends string, In, Out, E, R, Part>(
  flow: Flow<Name, In, Out, E, R, Part>,
  node: Named,
  policy: (policy: Policy<Tagged>) => Policy<Tagged>
): Flow<Name, In, Out, E, R, Part> =>
  changed(flow, node, false, (definition) => ({
    ...definition,
    policy: policy(definition.policy as Policy<Tagged> | undefined ?? {})
  }))

/** The flow, telling of each part that a node sends: when it is sent, and whether anybody streams it or not. */
export const onPart = <Name extends string, In, Out, E, R, Part>(
  flow: Flow<Name, In, Out, E, R, Part>,
  told: (part: { readonly node: string; readonly attempt: number; readonly value: Part }) => void
): Flow<Name, In, Out, E, R, Part> =>
  flowOf(
    Rewrite.changeAll(graphOf(flow), (definition, path) =>
      definition.part === undefined || definition.run === undefined
        ? definition
        : {
          ...definition,
          run: Rewrite.tellParts(definition.run, (attempt, part) => told({ node: path, attempt, value: part as Part }))
        })
  )

// ----------------------------------------------------------------------------------------------------------- internals

const changed = <F>(
  flow: { readonly name: string },
  node: Named,
  whole: boolean,
  f: (definition: Definition, path: string) => Definition
): F => {
  const graph: FlowImpl = graphOf(flow)
  const place = Rewrite.find(graph, typeof node === "string" ? node : node.name, whole)
  return flowOf(Rewrite.change(graph, place, (definition) => f(definition, place.path)))
}
