/**
 * A flow, drawn: as Mermaid and as DOT.
 *
 * Nodes and edges stand in declaration order, so that the same flow always gives the same text. Ingress nodes are rounded,
 * egress nodes have a double border, routers are diamonds with their cases on the edges, joins name their inputs on the
 * edges, loops lead back to themselves, and a subflow is a box around its nodes. Names are escaped: they may hold
 * anything.
 */
import type { Any } from "./Flow.ts"
import { analyze } from "./FlowAnalysis.ts"
import { type Plan, planOf, type Step, type Target } from "./internal/plan.ts"

/** What is drawn besides nodes and edges. */
export interface Options {
  /** What `Flow.analyze` tells of each node: attempts and time at worst. Default: false. */
  readonly costs?: boolean | undefined
}

interface Drawn {
  readonly step: Step
  readonly ingress: boolean
  readonly egress: boolean
}

interface Arrow {
  readonly from: Step
  readonly to: Step
  readonly label: string | undefined
}

/** A plan, or the inside of a subflow. */
interface Box {
  readonly name: string
  readonly nodes: ReadonlyArray<Drawn>
  readonly boxes: ReadonlyArray<Box>
}

interface Picture {
  readonly box: Box
  readonly arrows: ReadonlyArray<Arrow>
}

/** Where edges into a step end: at the ingress nodes of a subflow. */
const entries = (step: Step): ReadonlyArray<Step> =>
  step.kind === "flow" ? step.inner!.ingress.flatMap((target) => entries(target.step)) : [step]

/** Where edges out of a step begin: at the egress nodes of a subflow. */
const exits = (step: Step): ReadonlyArray<Step> =>
  step.kind === "flow" ? step.inner!.steps.filter((inner) => inner.egress >= 0).flatMap(exits) : [step]

const arrowsFrom = (step: Step, targets: ReadonlyArray<Target>, on: string | undefined): ReadonlyArray<Arrow> =>
  targets.flatMap(({ slot, step: target }) => {
    const input = target.kind === "join" ? target.slots[slot] : undefined
    const label = [on, input].filter((word) => word !== undefined).join(" → ")
    return exits(step).flatMap((from) =>
      entries(target).map((to) => ({ from, to, label: label === "" ? undefined : label }))
    )
  })

const draw = (plan: Plan, outerIngress: boolean, outerEgress: boolean): Picture => {
  const ingress = new Set(plan.ingress.map((target) => target.step))
  const inner = plan.steps.flatMap((step) =>
    step.kind === "flow"
      ? [draw(step.inner!, outerIngress && ingress.has(step), outerEgress && step.egress >= 0)]
      : []
  )
  const own = plan.steps.flatMap((step) => [
    ...(step.kind === "loop"
      ? [{ from: step, to: step, label: `again, at most ${step.definition.maxHops} hops` }]
      : []),
    ...arrowsFrom(step, step.targets, undefined),
    ...[...step.cases].flatMap(([on, targets]) => arrowsFrom(step, targets, on))
  ])
  return {
    box: {
      name: plan.name,
      nodes: plan.steps.filter((step) => step.kind !== "flow").map((step) => ({
        step,
        ingress: outerIngress && ingress.has(step),
        egress: outerEgress && step.egress >= 0
      })),
      boxes: inner.map((picture) => picture.box)
    },
    arrows: [...own, ...inner.flatMap((picture) => picture.arrows)]
  }
}

/** What a node says in the picture. */
type Label = (step: Step) => string

/** The node's own name: inside the box of its subflow the way to it is plain. */
const nameOf: Label = (step) => step.kind === "each" ? `${step.definition.name} × each` : step.definition.name

const duration = (ms: number): string =>
  ms === Infinity ? "no bound" : ms < 1000 ? `at most ${Math.round(ms)} ms` : `at most ${Math.round(ms / 100) / 10} s`

const labelWith = (flow: Any, options: Options | undefined): Label => {
  if (options?.costs !== true) return nameOf
  const costs = new Map(analyze(flow).nodes.map((cost) => [cost.node, cost]))
  return (step) => {
    const cost = costs.get(step.name)
    if (cost === undefined || step.kind === "router" || step.join >= 0) return nameOf(step)
    const attempts = cost.maxAttempts === 1
      ? []
      : [cost.maxAttempts === Infinity ? "tries for ever" : `${cost.maxAttempts} attempts`]
    return `${nameOf(step)} (${[...attempts, duration(cost.worstCaseMs)].join(", ")})`
  }
}

const mermaidText = (text: string): string =>
  `"${text.replaceAll(/[#"<>&\\`[\](){}|]/g, (c) => `#${c.codePointAt(0)};`).replaceAll(/\s+/g, " ")}"`

const mermaidNode = ({ egress, ingress, step }: Drawn, labelOf: Label): string => {
  const label = mermaidText(labelOf(step))
  const shape = step.kind === "router"
    ? `{${label}}`
    : step.kind === "join" || step.kind === "collect"
    ? `{{${label}}}`
    : ingress
    ? `([${label}])`
    : egress
    ? `[[${label}]]`
    : `[${label}]`
  return `n${step.id}${shape}`
}

const mermaidBox = (box: Box, indent: string, id: string, labelOf: Label): ReadonlyArray<string> => [
  ...box.nodes.map((node) => indent + mermaidNode(node, labelOf)),
  ...box.boxes.flatMap((inner, at) => [
    `${indent}subgraph ${id}_${at}[${mermaidText(inner.name)}]`,
    ...mermaidBox(inner, `${indent}  `, `${id}_${at}`, labelOf),
    `${indent}end`
  ])
]

/**
 * The flow as a Mermaid flowchart.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * const n = (name: string) =>
 *   Node.make(name, { input: Schema.Number, output: Schema.Number, run: (x) => Effect.succeed(x) })
 * const lines = Flow.toMermaid(Flow.make("two", [n("first").to(n("second"))])).split("\n")
 * lines[1] // => '  n0(["first"])'
 * lines[3] // => "  n0 --> n1"
 * ```
 */
export const toMermaid = (flow: Any, options?: Options): string => {
  const { arrows, box } = draw(planOf(flow), true, true)
  return [
    "flowchart LR",
    ...mermaidBox(box, "  ", "s", labelWith(flow, options)),
    ...arrows.map(({ from, label, to }) =>
      `  n${from.id} -->${label === undefined ? "" : `|${mermaidText(label)}|`} n${to.id}`
    )
  ].join("\n")
}

const dotText = (text: string): string =>
  `"${text.replaceAll("\\", "\\\\").replaceAll("\"", "\\\"").replaceAll(/\s+/g, " ")}"`

const dotNode = ({ egress, ingress, step }: Drawn, labelOf: Label): string => {
  const shape = step.kind === "router" ? "diamond" : step.kind === "join" || step.kind === "collect" ? "hexagon" : "box"
  const style = ingress ? ", style=rounded" : ""
  return `n${step.id} [label=${dotText(labelOf(step))}, shape=${shape}${style}${egress ? ", peripheries=2" : ""}]`
}

const dotBox = (box: Box, indent: string, id: string, labelOf: Label): ReadonlyArray<string> => [
  ...box.nodes.map((node) => indent + dotNode(node, labelOf)),
  ...box.boxes.flatMap((inner, at) => [
    `${indent}subgraph cluster_${id}_${at} {`,
    `${indent}  label=${dotText(inner.name)}`,
    ...dotBox(inner, `${indent}  `, `${id}_${at}`, labelOf),
    `${indent}}`
  ])
]

/**
 * The flow as a DOT digraph, for Graphviz.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * const n = (name: string) =>
 *   Node.make(name, { input: Schema.Number, output: Schema.Number, run: (x) => Effect.succeed(x) })
 * const lines = Flow.toGraphViz(Flow.make("two", [n("first").to(n("second"))])).split("\n")
 * lines[0] // => 'digraph "two" {'
 * lines[4] // => "  n0 -> n1"
 * ```
 */
export const toGraphViz = (flow: Any, options?: Options): string => {
  const { arrows, box } = draw(planOf(flow), true, true)
  return [
    `digraph ${dotText(flow.name)} {`,
    "  rankdir=LR",
    ...dotBox(box, "  ", "s", labelWith(flow, options)),
    ...arrows.map(({ from, label, to }) =>
      `  n${from.id} -> n${to.id}${label === undefined ? "" : ` [label=${dotText(label)}]`}`
    ),
    "}"
  ].join("\n")
}
