/** A flow as a Mermaid flowchart. */
import type { Any } from "../../Flow.ts"
import { type Box, nodesOf, pictureOf, type Shape, type Words } from "./graph.ts"
import type { Options } from "./options.ts"
import { shown } from "./text.ts"

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
  const { arrows, box } = pictureOf(flow, options)
  return [
    "flowchart LR",
    ...inside(box, "  ", "s"),
    ...arrows.map(({ from, label, to }) =>
      `  n${from.id} -->${label === undefined ? "" : `|${quoted([label])}|`} n${to.id}`
    ),
    ...nodesOf(box).flatMap(marks)
  ].join("\n")
}

// ----------------------------------------------------------------------------------------------------------- internals

/** Two dollars begin a formula, and "fa:fa-" an icon, even as entities: something that can't be seen stands inside. */
const escaped = (text: string): string =>
  shown(text).replaceAll(/\$(?=\$)|(?<=fa[bklrs]?):(?=fa-)/g, (sign) => `${sign}\u2060`)
    .replaceAll(/[#"<>&\\`[\](){}|:;%$]/g, (character) => `#${character.codePointAt(0)};`)

const quoted = (lines: ReadonlyArray<string>): string => `"${lines.map(escaped).join("<br/>")}"`

const wordsOf = ({ details, label }: Words): string => quoted([label, ...details])

const isDecision = ({ kind }: Shape): boolean => kind === "router" || kind === "join" || kind === "collect"

const shape = (node: Shape): string => {
  const words = wordsOf(node)
  return node.kind === "router"
    ? `{${words}}`
    : isDecision(node)
    ? `{{${words}}}`
    : node.ingress
    ? `([${words}])`
    : node.egress
    ? `[[${words}]]`
    : `[${words}]`
}

/** Diamonds and hexagons have no form of their own for where messages enter and results leave: circles say so. */
const marks = (node: Shape): ReadonlyArray<string> =>
  isDecision(node)
    ? [
      ...(node.ingress ? [`  n${node.id}_in((" ")) --> n${node.id}`] : []),
      ...(node.egress ? [`  n${node.id} --> n${node.id}_out(((" ")))`] : [])
    ]
    : []

const inside = (box: Box, indent: string, id: string): ReadonlyArray<string> => [
  ...box.nodes.map((node) => `${indent}n${node.id}${shape(node)}`),
  ...box.frames.flatMap((frame, at) => [
    `${indent}subgraph ${id}_${at}[${wordsOf(frame)}]`,
    ...inside(frame, `${indent}  `, `${id}_${at}`),
    `${indent}end`
  ])
]
