/** A flow as a DOT digraph. */
import type { Any } from "../../Flow.ts"
import { type Box, pictureOf, type Shape, type Words } from "./graph.ts"
import type { Options } from "./options.ts"
import { shown } from "./text.ts"

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
  const { arrows, box, name } = pictureOf(flow, options)
  return [
    `digraph ${quoted([name])} {`,
    "  rankdir=LR",
    ...inside(box, "  ", "s"),
    ...arrows.map(({ from, label, to }) =>
      `  n${from.id} -> n${to.id}${label === undefined ? "" : ` [label=${quoted([label])}]`}`
    ),
    "}"
  ].join("\n")
}

// ----------------------------------------------------------------------------------------------------------- internals

/** Graphviz reads entities of HTML in labels, too. */
const escaped = (text: string): string =>
  shown(text).replaceAll("\\", "\\\\").replaceAll("\"", "\\\"").replaceAll("&", "&amp;")

const quoted = (lines: ReadonlyArray<string>): string => `"${lines.map(escaped).join("\\n")}"`

const wordsOf = ({ details, label }: Words): string => quoted([label, ...details])

const nodeLine = (node: Shape): string => {
  const shape = node.kind === "router" ? "diamond" : node.kind === "join" || node.kind === "collect" ? "hexagon" : "box"
  const style = node.ingress ? ", style=rounded" : ""
  return `n${node.id} [label=${wordsOf(node)}, shape=${shape}${style}${node.egress ? ", peripheries=2" : ""}]`
}

const inside = (box: Box, indent: string, id: string): ReadonlyArray<string> => [
  ...box.nodes.map((node) => indent + nodeLine(node)),
  ...box.frames.flatMap((frame, at) => [
    `${indent}subgraph cluster_${id}_${at} {`,
    `${indent}  label=${wordsOf(frame)}`,
    ...inside(frame, `${indent}  `, `${id}_${at}`),
    `${indent}}`
  ])
]
