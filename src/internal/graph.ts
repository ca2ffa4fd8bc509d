/** The adjacency behind a flow: read, closed, and all its faults found at once. */
import * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"
import { FlowDefinitionError } from "../FlowError.ts"
import { type Definition, isTarget, NodeImpl, type Row } from "./definition.ts"

/** An edge between two nodes of a flow. */
export interface Edge {
  readonly from: NodeImpl
  readonly to: NodeImpl
  /** The join input that it ends in. */
  readonly input: string | undefined
  /** The router's case. */
  readonly on: string | undefined
}

export interface FlowOptions {
  readonly description?: string | undefined
  readonly maxHops?: number | undefined
}

/** The run-time value behind every flow. */
export class FlowImpl {
  readonly name: string
  readonly options: FlowOptions
  /** How many flows stand inside one another here, itself included. */
  readonly depth: number
  /** In order of first mention. */
  readonly nodes: ReadonlyArray<NodeImpl>
  /** In order of declaration. */
  readonly edges: ReadonlyArray<Edge>
  /** What is compiled from it, by whoever compiles it: kept here so that it is compiled once. */
  plan: unknown = undefined

  constructor(name: string, rows: ReadonlyArray<unknown>, options: FlowOptions) {
    const read = readRows(rows)
    const faults = [...read.faults, ...faultsOf(read.nodes, read.edges, read.rows, options)]
    if (faults.length > 0) throw new FlowDefinitionError(name, faults)
    this.name = name
    this.options = options
    this.depth = depthOf(read.nodes.keys())
    this.nodes = [...read.nodes.keys()]
    this.edges = read.edges
  }

  toString(): string {
    return `Flow(${this.name})`
  }
}

/** Subflows deeper than this are refused: compiling and walking them takes stack. */
const maxDepth = 1000

const depthOf = (nodes: Iterable<NodeImpl>): number => {
  let deepest = 0
  for (const node of nodes) deepest = Math.max(deepest, innerDepth(node.definition))
  return deepest + 1
}

const innerDepth = (definition: Definition): number => {
  let levels = 0
  let inner = definition
  while (inner.item !== undefined) {
    levels++
    inner = inner.item
  }
  return inner.flow instanceof FlowImpl ? levels + inner.flow.depth : levels
}

/** A flow of the types that the caller's signature has computed. */
export const flowOf = <F>(flow: FlowImpl): F => flow as F

/** What a public flow is made of. */
export const graphOf = (flow: { readonly name: string }): FlowImpl => {
  if (flow instanceof FlowImpl) return flow
  throw new TypeError(`"${String(flow?.name)}" is no flow: flows are made by Flow.make`)
}

interface Read {
  /** Each node with the row, counted from 1, that mentions it first. */
  readonly nodes: Map<NodeImpl, number>
  readonly edges: Array<Edge>
  readonly rows: Array<Row>
  readonly faults: Array<string>
}

const isRow = (u: unknown): u is Row =>
  typeof u === "object" && u !== null && "from" in u && u.from instanceof NodeImpl && "targets" in u

const readRows = (given: ReadonlyArray<unknown>): Read => {
  const nodes = new Map<NodeImpl, number>()
  const edges: Array<Edge> = []
  const rows: Array<Row> = []
  const faults: Array<string> = []
  given.forEach((row, index) => {
    const at = index + 1
    if (!isRow(row)) {
      faults.push(`row ${at} is no row: write \`node.to(…)\``)
      return
    }
    rows.push(row)
    if (!nodes.has(row.from)) nodes.set(row.from, at)
    row.targets.forEach(({ on, target }, position) => {
      if (!isTarget(target)) {
        faults.push(`target ${position + 1} of "${row.from.name}" (row ${at}) is no node`)
        return
      }
      const to = target.node
      if (to.definition.kind === "join" && target.input === undefined) {
        faults.push(`the edge ${row.from.name} → ${to.name} names no input of the join: write \`${to.name}.in.…\``)
      }
      if (!nodes.has(to)) nodes.set(to, at)
      edges.push({ from: row.from, to, input: target.input, on })
    })
  })
  return { nodes, edges, rows, faults }
}

const faultsOf = (
  nodes: ReadonlyMap<NodeImpl, number>,
  edges: ReadonlyArray<Edge>,
  rows: ReadonlyArray<Row>,
  options: FlowOptions
): Array<string> => {
  if (nodes.size === 0) return rows.length === 0 ? ["it has no nodes: give at least one row, `only.to()`"] : []
  const { maxHops } = options
  return [
    ...(maxHops !== undefined && !(Number.isSafeInteger(maxHops) && maxHops > 0)
      ? [`maxHops is ${maxHops}: it takes a whole number from 1`]
      : []),
    ...(depthOf(nodes.keys()) > maxDepth
      ? [`its subflows are nested ${depthOf(nodes.keys())} deep: ${maxDepth} is the most`]
      : []),
    ...twins(nodes),
    ...doubleEdges(edges),
    ...routerFaults(nodes, grouped(edges, "from"), rows),
    ...joinFaults(nodes, grouped(edges, "to")),
    ...[...nodes.keys()].flatMap((node) => definitionFaults(node.name, node.definition)),
    ...wayFaults(nodes, edges, maxHops)
  ]
}

const twins = (nodes: ReadonlyMap<NodeImpl, number>): Array<string> => {
  const seen = new Map<string, number>()
  const faults: Array<string> = []
  for (const [node, row] of nodes) {
    const first = seen.get(node.name)
    if (first === undefined) seen.set(node.name, row)
    else {
      faults.push(
        `two nodes are named "${node.name}" (row ${first}${
          row === first ? "" : ` and row ${row}`
        }): give one another name with Node.named`
      )
    }
    if (typeof node.name !== "string" || node.name === "") {
      faults.push(`the node first mentioned in row ${row} has no name`)
    }
  }
  return faults
}

const doubleEdges = (edges: ReadonlyArray<Edge>): Array<string> => {
  const seen = new Map<NodeImpl, Set<string>>()
  const faults: Array<string> = []
  for (const { from, input, on, to } of edges) {
    const key = JSON.stringify([to.name, input, on])
    const known = seen.get(from)
    if (known === undefined) seen.set(from, new Set([key]))
    else if (known.has(key)) {
      faults.push(`the edge ${from.name} → ${to.name}${input === undefined ? "" : `.${input}`} stands twice`)
    } else known.add(key)
  }
  return faults
}

/** The edges by the node that they leave, or end in. */
const grouped = (edges: ReadonlyArray<Edge>, end: "from" | "to"): ReadonlyMap<NodeImpl, ReadonlyArray<Edge>> =>
  Map.groupBy(edges, (edge) => edge[end])

const routerFaults = (
  nodes: ReadonlyMap<NodeImpl, number>,
  outgoing: ReadonlyMap<NodeImpl, ReadonlyArray<Edge>>,
  rows: ReadonlyArray<Row>
): Array<string> => {
  const faults: Array<string> = []
  const rowsOf = Map.groupBy(rows, (row) => row.from)
  for (const node of nodes.keys()) {
    if (node.definition.kind !== "router") continue
    const own = outgoing.get(node) ?? []
    if (own.length === 0) faults.push(`the router "${node.name}" leads nowhere: give its cases targets`)
    if ((rowsOf.get(node) ?? []).length > 1) {
      faults.push(`the router "${node.name}" has two rows: give all its cases in one`)
    }
    const taken = new Set(own.map((edge) => edge.on))
    for (const name of node.definition.cases ?? []) {
      if (!taken.has(name)) faults.push(`the case "${name}" of the router "${node.name}" has no target`)
    }
    for (const edge of own) {
      if (edge.on === undefined) {
        faults.push(`the edge ${node.name} → ${edge.to.name} names no case: write \`${node.name}.to({ case: … })\``)
      } else if (node.definition.cases !== undefined && !node.definition.cases.includes(edge.on)) {
        faults.push(`the router "${node.name}" has no case "${edge.on}"`)
      }
    }
  }
  return faults
}

const joinFaults = (
  nodes: ReadonlyMap<NodeImpl, number>,
  incoming: ReadonlyMap<NodeImpl, ReadonlyArray<Edge>>
): Array<string> => {
  const faults: Array<string> = []
  for (const node of nodes.keys()) {
    if (node.definition.kind !== "join") continue
    const inputs = Object.keys(node.definition.inputs ?? {})
    if (inputs.length === 0) faults.push(`the join "${node.name}" has no inputs`)
    if (inputs.includes("__proto__")) faults.push(`an input of the join "${node.name}" is named "__proto__"`)
    const fed = new Set((incoming.get(node) ?? []).map((edge) => edge.input))
    for (const input of inputs) if (!fed.has(input)) faults.push(`no edge ends in ${node.name}.${input}`)
    const known = new Set<string | undefined>(inputs)
    for (const input of fed) {
      if (input !== undefined && !known.has(input)) faults.push(`the join "${node.name}" has no input "${input}"`)
    }
  }
  return faults
}

const wholeFrom1 = (n: unknown): boolean => typeof n === "number" && Number.isSafeInteger(n) && n > 0

const definitionFaults = (name: string, definition: Definition): Array<string> => {
  const faults: Array<string> = []
  const { kind, policy } = definition
  if (policy?.concurrency !== undefined && !wholeFrom1(policy.concurrency)) {
    faults.push(`the policy of "${name}" has concurrency ${policy.concurrency}: it takes a whole number from 1`)
  }
  if (policy?.timeout !== undefined) {
    const timeout = Duration.fromInput(policy.timeout)
    const millis = timeout._tag === "Some" ? Duration.toMillis(timeout.value) : Number.NaN
    if (!(millis > 0)) {
      faults.push(`the policy of "${name}" has the timeout ${String(policy.timeout)}: it takes a duration above 0`)
    }
  }
  if (policy?.retry !== undefined && !Schedule.isSchedule(policy.retry)) {
    faults.push(`the policy of "${name}" has a retry that is no Schedule`)
  }
  if (policy?.retryWhile !== undefined && typeof policy.retryWhile !== "function") {
    faults.push(`the policy of "${name}" has a retryWhile that is no function`)
  }
  if (policy?.validate !== undefined && !["both", "input", "output", "none"].includes(policy.validate)) {
    faults.push(`the policy of "${name}" validates "${policy.validate}": it takes both, input, output or none`)
  }
  if (kind === "each") {
    if (!wholeFrom1(definition.concurrency)) {
      faults.push(
        `Node.forEach over "${name}" has concurrency ${definition.concurrency}: it takes a whole number from 1`
      )
    }
    if (definition.item !== undefined) faults.push(...definitionFaults(name, definition.item))
  }
  if (kind === "collect" && !wholeFrom1(definition.count)) {
    faults.push(`the join "${name}" collects ${definition.count} items: it takes a whole number from 1`)
  }
  if (kind === "loop") {
    if (!wholeFrom1(definition.maxHops)) {
      faults.push(`the loop "${name}" has maxHops ${definition.maxHops}: it takes a whole number from 1`)
    }
    if (definition.budget !== undefined && !(definition.budget > 0)) {
      faults.push(`the loop "${name}" has the budget ${definition.budget}: it takes a number above 0`)
    }
  }
  return faults
}

const wayFaults = (
  nodes: ReadonlyMap<NodeImpl, number>,
  edges: ReadonlyArray<Edge>,
  maxHops: number | undefined
): Array<string> => {
  const successors = new Map<NodeImpl, Array<NodeImpl>>()
  const targeted = new Set<NodeImpl>()
  for (const { from, to } of edges) {
    targeted.add(to)
    const known = successors.get(from)
    if (known === undefined) successors.set(from, [to])
    else known.push(to)
  }
  const faults: Array<string> = []
  if (maxHops === undefined) {
    const cycle = findCycle([...nodes.keys()], successors)
    if (cycle !== undefined) {
      faults.push(
        `it has the cycle ${
          cycle.map((node) => node.name).join(" → ")
        }: bound it with \`Flow.make(…, { maxHops })\`, or make it a Loop`
      )
    }
  }
  const ingress = [...nodes.keys()].filter((node) => !targeted.has(node))
  if (ingress.length === 0) {
    faults.push(
      `it has no ingress: an edge ends in every node (${[...nodes.keys()].map((node) => node.name).join(", ")})`
    )
    return faults
  }
  const reached = new Set(ingress)
  const queue = [...ingress]
  for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
    for (const next of successors.get(node) ?? []) {
      if (!reached.has(next)) {
        reached.add(next)
        queue.push(next)
      }
    }
  }
  const lost = [...nodes.keys()].filter((node) => !reached.has(node))
  if (lost.length > 0) faults.push(`no ingress leads to ${lost.map((node) => node.name).join(", ")}`)
  return faults
}

/** The first cycle on a depth-first way, closed: `a → b → a`. Without recursion: chains may be long. */
const findCycle = (
  nodes: ReadonlyArray<NodeImpl>,
  successors: ReadonlyMap<NodeImpl, ReadonlyArray<NodeImpl>>
): ReadonlyArray<NodeImpl> | undefined => {
  const finished = new Set<NodeImpl>()
  for (const start of nodes) {
    if (finished.has(start)) continue
    const way: Array<NodeImpl> = [start]
    const onWay = new Set<NodeImpl>([start])
    const cursors: Array<number> = [0]
    while (way.length > 0) {
      const node = way[way.length - 1]!
      const at = cursors[cursors.length - 1]!
      const next = successors.get(node)?.[at]
      if (next === undefined) {
        finished.add(node)
        onWay.delete(node)
        way.pop()
        cursors.pop()
        continue
      }
      cursors[cursors.length - 1] = at + 1
      if (onWay.has(next)) return [...way.slice(way.indexOf(next)), next]
      if (!finished.has(next)) {
        way.push(next)
        onWay.add(next)
        cursors.push(0)
      }
    }
  }
  return undefined
}
