/**
 * A flow compiled: who runs, what is checked, and where it goes on, as arrays. Compiled once per flow; nothing is looked
 * up by name while a trace runs, but a router's case.
 */
import * as Duration from "effect/Duration"
import type * as Schedule from "effect/Schedule"
import { type Check, checkOf } from "./check.ts"
import type { AnyLayer, AnySchema, Definition, Kind, NodeImpl } from "./definition.ts"
import { type FlowImpl, graphOf } from "./graph.ts"

/** Where a value goes on. */
export interface Target {
  readonly step: Step
  /** Of a join: which input. Else -1. */
  readonly slot: number
  /** What the value is checked with on arrival; undefined where the source's check serves. */
  readonly check: Check | undefined
  /** Tells this edge from all others of the plan: part of the way by which a visit was reached. */
  readonly edge: number
}

/** A node of a plan, ready to run. */
export interface Step {
  /** Its place among all steps of the outermost plan, inner flows included. */
  readonly id: number
  readonly kind: Kind
  /** As events and contexts name it: `inner/node` in a subflow. */
  readonly name: string
  readonly definition: Definition
  readonly output: Check | undefined
  readonly part: Check | undefined
  readonly inputs: ReadonlyArray<Check | undefined>
  /** Names of a join's inputs, by slot. */
  readonly slots: ReadonlyArray<string>
  readonly targets: ReadonlyArray<Target>
  /** A router's, by case. */
  readonly cases: ReadonlyMap<string, ReadonlyArray<Target>>
  /** Its place among the egress nodes of its plan; -1 where edges leave it. */
  readonly egress: number
  /** Its place among the joins of its plan; -1 for other kinds. */
  readonly join: number
  /** Whether an attempt needs more than a check and a call: a retry, a timeout, a permit, a run to be undone. */
  readonly guarded: boolean
  readonly retry: Schedule.Schedule<unknown, unknown> | undefined
  readonly retryWhile: ((error: unknown) => boolean) | undefined
  /** Milliseconds; 0 where there is none. */
  readonly timeout: number
  readonly concurrency: number | undefined
  /** Of `Node.provide`, outermost first: each may need what those before it give. */
  readonly layers: ReadonlyArray<AnyLayer>
  /** An inner flow's, or that of a `forEach` item. */
  readonly inner: Plan | undefined
  /** Whether a trace can visit it in one way only, so that its name says which visit it is. */
  readonly once: boolean
  /** A loop's; 0 for other kinds. */
  readonly maxHops: number
  readonly budget: number | undefined
  readonly onExhausted: ((state: unknown) => unknown) | undefined
  readonly run: (input: unknown, context: unknown) => unknown
  readonly compensate: ((output: unknown, context: unknown) => unknown) | undefined
}

/** A flow, compiled. */
export interface Plan {
  readonly name: string
  readonly steps: ReadonlyArray<Step>
  readonly ingress: ReadonlyArray<Target>
  readonly egress: number
  readonly joins: ReadonlyArray<Step>
  /** How often a trace may visit one node; undefined where there are no cycles. */
  readonly maxHops: number | undefined
  /** The id of its first step. */
  readonly first: number
  /** How many steps there are in this plan and all inner ones: what runtimes size their tables by. */
  readonly size: number
  /** Whether any of its steps brings a layer of its own. */
  readonly layered: boolean
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Counters shared by a plan and its inner ones. */
interface Ids {
  step: number
  edge: number
}

/** The plan of a flow; compiled at the first call. */
export const planOf = (flow: { readonly name: string }): Plan => {
  const graph = graphOf(flow)
  return (graph.plan ??= compile(graph, "", { step: 0, edge: 0 }, true)) as Plan
}

const validates = (definition: Definition, side: "input" | "output"): boolean => {
  const validate = definition.policy?.validate ?? "both"
  return validate === "both" || validate === side
}

const none: ReadonlyArray<never> = []
const noCases: ReadonlyMap<string, ReadonlyArray<Target>> = new Map()

const compile = (graph: FlowImpl, prefix: string, ids: Ids, once: boolean): Plan => {
  const from = ids.step
  const steps = new Map<NodeImpl, Mutable<Step>>()
  const joins: Array<Step> = []
  const ways = waysOf(graph)
  const withEdges = new Set(graph.edges.map((edge) => edge.from))
  let egress = 0
  for (const node of graph.nodes) {
    const single = once && graph.options.maxHops === undefined && ways.get(node) === true
    const step = compileStep(node.definition, prefix, ids, single)
    if (!withEdges.has(node) && node.definition.kind !== "router") step.egress = egress++
    if (step.kind === "join" || step.kind === "collect") {
      step.join = joins.length
      joins.push(step)
    }
    steps.set(node, step)
  }
  const outgoing = new Map<NodeImpl, Array<Target>>()
  const cases = new Map<NodeImpl, Map<string, Array<Target>>>()
  const targeted = new Set<NodeImpl>()
  for (const { from: source, input, on, to } of graph.edges) {
    const step = steps.get(to)!
    const slot = slotOf(step, input)
    targeted.add(to)
    const target: Target = {
      step,
      slot,
      check: served(source.definition, to.definition, input) ? undefined : step.inputs[Math.max(slot, 0)],
      edge: ++ids.edge
    }
    if (on === undefined) push(outgoing, source, target)
    else {
      let own = cases.get(source)
      if (own === undefined) cases.set(source, own = new Map())
      push(own, on, target)
    }
  }
  for (const [node, step] of steps) {
    step.targets = outgoing.get(node) ?? none
    step.cases = cases.get(node) ?? noCases
  }
  const ingress = graph.nodes.filter((node) => !targeted.has(node)).map((node): Target => {
    const step = steps.get(node)!
    return { step, slot: step.kind === "collect" ? 0 : -1, check: step.inputs[0], edge: ++ids.edge }
  })
  return {
    name: graph.name,
    steps: [...steps.values()],
    ingress,
    egress,
    joins,
    maxHops: graph.options.maxHops,
    first: from,
    size: ids.step - from,
    layered: [...steps.values()].some(bringsLayer)
  }
}

const bringsLayer = (step: Step): boolean => step.layers.length > 0 || step.inner?.layered === true

const push = <K, V>(map: Map<K, Array<V>>, key: K, value: V): void => {
  const known = map.get(key)
  if (known === undefined) map.set(key, [value])
  else known.push(value)
}

const slotOf = (step: Step, input: string | undefined): number =>
  step.kind === "collect" ? 0 : step.kind === "join" ? step.slots.indexOf(input ?? "") : -1

const sourceSchema = (definition: Definition): AnySchema | undefined =>
  definition.kind === "router" ? definition.input : definition.output

const targetSchema = (definition: Definition, input: string | undefined): AnySchema | undefined =>
  definition.kind === "join" && input !== undefined ? definition.inputs?.[input] : definition.input

/** Whether the check of what the source gave serves for what the target takes: it is the same schema. */
const served = (source: Definition, target: Definition, input: string | undefined): boolean => {
  const gives = sourceSchema(source)
  const takes = targetSchema(target, input)
  return gives !== undefined && takes !== undefined && gives.ast === takes.ast &&
    validates(source, source.kind === "router" ? "input" : "output")
}

const unrunnable = (): never => {
  throw new Error("a join does not run")
}

const compileStep = (definition: Definition, prefix: string, ids: Ids, once: boolean): Mutable<Step> => {
  const { kind, policy } = definition
  const id = ids.step++
  const name = prefix + definition.name
  const inner = kind === "flow"
    ? compile(definition.flow as FlowImpl, `${name}/`, ids, once)
    : kind === "each"
    ? compileItem(definition.item!, prefix, ids)
    : undefined
  const slots = kind === "join" ? Object.keys(definition.inputs ?? {}) : none
  const timeout = policy?.timeout === undefined ? 0 : Duration.toMillis(Duration.fromInputUnsafe(policy.timeout))
  return {
    id,
    kind,
    name,
    definition,
    inputs: kind === "join"
      ? slots.map((slot) => checkOf(definition.inputs?.[slot]))
      : validates(definition, "input")
      ? [checkOf(definition.input)]
      : none,
    output: validates(definition, "output") ? checkOf(definition.output) : undefined,
    part: validates(definition, "output") ? checkOf(definition.part) : undefined,
    slots,
    targets: none,
    cases: noCases,
    egress: -1,
    join: -1,
    guarded: policy?.retry !== undefined || Number.isFinite(timeout) && timeout > 0 ||
      policy?.concurrency !== undefined || definition.compensate !== undefined,
    retry: policy?.retry as Schedule.Schedule<unknown, unknown> | undefined,
    retryWhile: policy?.retryWhile as ((error: unknown) => boolean) | undefined,
    timeout: Number.isFinite(timeout) ? timeout : 0,
    concurrency: policy?.concurrency,
    layers: definition.layers?.toReversed() ?? none,
    inner,
    once,
    maxHops: definition.maxHops ?? 0,
    budget: definition.budget,
    onExhausted: definition.onExhausted as Step["onExhausted"],
    run: (definition.run ?? definition.decide ?? (kind === "router" ? byTag : unrunnable)) as Step["run"],
    compensate: definition.compensate as Step["compensate"]
  }
}

const byTag = (input: { readonly _tag: string }): string => input._tag

/** The plan of what `forEach` does with one item: its node, alone. */
const compileItem = (definition: Definition, prefix: string, ids: Ids): Plan => {
  const from = ids.step
  const step = compileStep(definition, prefix, ids, false)
  step.egress = 0
  return {
    name: step.name,
    steps: [step],
    ingress: [{ step, slot: -1, check: step.inputs[0], edge: ++ids.edge }],
    egress: 1,
    joins: none,
    maxHops: undefined,
    first: from,
    size: ids.step - from,
    layered: bringsLayer(step)
  }
}

/** For each node, whether exactly one way leads to it: at most one edge into it, or into each input of a join. */
const waysOf = (graph: FlowImpl): ReadonlyMap<NodeImpl, boolean> => {
  const incoming = new Map<NodeImpl, Array<{ readonly from: NodeImpl; readonly input: string | undefined }>>()
  for (const edge of graph.edges) push(incoming, edge.to, edge)
  const ways = new Map<NodeImpl, boolean>()
  const pending = graph.nodes.map((node) => ({ node, open: (incoming.get(node) ?? []).length }))
  const open = new Map(pending.map((entry) => [entry.node, entry]))
  const outgoing = new Map<NodeImpl, Array<NodeImpl>>()
  for (const edge of graph.edges) push(outgoing, edge.from, edge.to)
  const ready = pending.filter((entry) => entry.open === 0).map((entry) => entry.node)
  for (let node = ready.pop(); node !== undefined; node = ready.pop()) {
    const edges = incoming.get(node) ?? []
    const inputs = new Set(edges.map((edge) => edge.input))
    ways.set(
      node,
      node.definition.kind !== "collect" && inputs.size === edges.length &&
        edges.every(({ from }) => ways.get(from) === true && from.definition.kind !== "flow")
    )
    for (const next of outgoing.get(node) ?? []) {
      const entry = open.get(next)!
      if (--entry.open === 0) ready.push(next)
    }
  }
  return ways
}
