/**
 * The same flow with other definitions: names, edges and their order stay, and with them every visit's way and
 * idempotency key.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { FlowDefinitionError } from "../FlowError.ts"
import { type Definition, NodeImpl, type StreamContext } from "./definition.ts"
import { FlowImpl } from "./graph.ts"

/** A node of a flow or of a flow inside it, under the name that events use. */
export interface Place {
  readonly path: string
  readonly definition: Definition
}

type Change = (definition: Definition, path: string) => Definition

/** Every node, inner ones after the one that holds them. The item of a `forEach` stands beside it, often by the same path. */
export const placesOf = (graph: FlowImpl, prefix = ""): ReadonlyArray<Place> =>
  graph.nodes.flatMap((node) => placesIn(node.definition, prefix))

const placesIn = (definition: Definition, prefix: string): ReadonlyArray<Place> => {
  const path = prefix + definition.name
  const own = { path, definition }
  if (definition.kind === "flow") return [own, ...placesOf(definition.flow as FlowImpl, `${path}/`)]
  return definition.item === undefined ? [own] : [own, ...placesIn(definition.item, prefix)]
}

/**
 * The one node of that name: by its whole path, or by the end of it where only one node has that. Of a `forEach` the
 * item, since that is what runs, unless the whole is asked for.
 */
export const find = (graph: FlowImpl, name: string, whole: boolean): Place => {
  const places = placesOf(graph)
  const runs = places.filter(({ definition }) => definition.kind !== "each")
  const candidates = whole ? places : runs
  const exact = candidates.find(({ path }) => path === name)
  if (exact !== undefined) return exact
  const inner = candidates.filter(({ path }) => path.endsWith(`/${name}`))
  if (inner.length === 1) return inner[0]!
  const names = [...new Set((inner.length > 1 ? inner : places).map(({ path }) => path))].join(", ")
  throw new FlowDefinitionError(graph.name, [
    inner.length > 1
      ? `"${name}" may be each of ${names}: write the whole path`
      : `it has no node "${name}": it has ${names}`
  ])
}

/** The flow with one definition changed. */
export const change = (graph: FlowImpl, place: Place, f: (definition: Definition) => Definition): FlowImpl =>
  changeAll(
    graph,
    (definition, path) => definition === place.definition && path === place.path ? f(definition) : definition
  )

/** The flow with every definition that `f` changes; itself where it changes none. */
export const changeAll = (graph: FlowImpl, f: Change, prefix = ""): FlowImpl => {
  const nodes = new Map<NodeImpl, NodeImpl>()
  let changed = false
  for (const node of graph.nodes) {
    const definition = changeIn(node.definition, f, prefix)
    nodes.set(node, definition === node.definition ? node : new NodeImpl(definition))
    changed ||= definition !== node.definition
  }
  if (!changed) return graph
  // Not by the constructor: rows would lose the order in which nodes and edges were declared, and all was checked.
  return Object.assign(Object.create(FlowImpl.prototype) as FlowImpl, {
    name: graph.name,
    options: graph.options,
    nodes: graph.nodes.map((node) => nodes.get(node)!),
    edges: graph.edges.map((edge) => ({ ...edge, from: nodes.get(edge.from)!, to: nodes.get(edge.to)! })),
    plan: undefined
  })
}

const changeIn = (definition: Definition, f: Change, prefix: string): Definition => {
  const path = prefix + definition.name
  const changed = f(definition, path)
  if (changed !== definition) return changed
  if (definition.kind === "flow") {
    const inner = definition.flow as FlowImpl
    const flow = changeAll(inner, f, `${path}/`)
    return flow === inner ? definition : { ...definition, flow }
  }
  if (definition.item === undefined) return definition
  const item = changeIn(definition.item, f, prefix)
  return item === definition.item ? definition : { ...definition, item }
}

type AnyRun = (input: never, context: never) => Effect.Effect<unknown, unknown, unknown>

/** What an attempt at a node does, as an Effect, whatever its kind. Undefined where nothing of the user's runs. */
export const runOf = (definition: Definition): AnyRun | undefined => {
  const { decide, kind, run } = definition
  if (kind === "task" || kind === "loop") return run
  if (kind !== "router") return undefined
  return (input, context) =>
    Effect.suspend(() => {
      const decision = decide === undefined ? (input as { readonly _tag: string })._tag : decide(input, context)
      return Effect.isEffect(decision) ? decision as Effect.Effect<unknown, unknown, unknown> : Effect.succeed(decision)
    })
}

/** The same definition with another run. A subflow or a `forEach` becomes a task. */
export const withRun = (definition: Definition, run: AnyRun): Definition => {
  const { kind, name, policy, rerun } = definition
  if (kind === "router") return { ...definition, decide: run }
  return kind === "task" || kind === "loop"
    ? { ...definition, run }
    : { kind: "task", name, policy, rerun, run }
}

/** The same run, whose parts `told` hears of. */
export const tellParts = (run: AnyRun, told: (attempt: number, part: unknown) => void): AnyRun => (input, context) =>
  run(input, listening(context as StreamContext<unknown>, told) as never)

// A context is an object with private fields: its getters must run on itself.
const listening = (
  context: StreamContext<unknown>,
  told: (attempt: number, part: unknown) => void
): StreamContext<unknown> => {
  const tell = (part: unknown) => Effect.sync(() => told(context.attempt, part))
  const emit: StreamContext<unknown>["emit"] = (part) => Effect.andThen(tell(part), context.emit(part as never))
  const collect: StreamContext<unknown>["collect"] = (parts, f) => context.collect(Stream.tap(parts, tell), f)
  return new Proxy(context, {
    get: (target, key) => key === "emit" ? emit : key === "collect" ? collect : Reflect.get(target, key, target)
  })
}
