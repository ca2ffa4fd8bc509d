/** A flow as SVG: laid out here, with plain elements and attributes, so that no style, script or font is needed. */
import type { Any } from "../../Flow.ts"
import { arrange, type DrawnArrow, type DrawnFrame, type Tab } from "./arrange.ts"
import { nodesOf, type Picture, pictureOf, type Shape, type Words } from "./graph.ts"
import type { Point } from "./layout.ts"
import type { Options } from "./options.ts"
import { edgePaint, type Form, grey, type Line, n, outlineOf, sizeOf, wordColour } from "./shapes.ts"
import { escaped, kept, shown } from "./text.ts"

/**
 * The flow as SVG, laid out from left to right: a whole document, which also stands in a page.
 *
 * Messages enter at a dot and leave at a ring. What is too long is elided, and whole in the `<title>` of its group, with
 * the description. Colours are attributes that read on light and dark: style sheets may change them. Programs find
 * `g.node[data-node]` with the name that events use, `g.edge[data-from][data-to]` and `g.cluster[data-flow]`.
 *
 * It throws a `RangeError` where `services` names a node that the flow does not have, and where more nodes stand in a row
 * than can be laid out: 1500 can where the stack is as Node makes it. The work grows faster than the flow: 500 nodes in a
 * row take 0.1 to 0.3 s, 500 that each lead to two others 1.5 to 2 s.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as FlowDiagram from "penguiflow/FlowDiagram"
 *
 * const n = (name: string) =>
 *   Node.make(name, { input: Schema.Number, output: Schema.Number, run: (x) => Effect.succeed(x) })
 * const svg = FlowDiagram.toSvg(Flow.make("two", [n("first").to(n("second"))]))
 * svg.startsWith("<svg") // => true
 * svg.includes('<g class="edge" data-from="first" data-to="second">') // => true
 * ```
 */
export const toSvg = (flow: Any, options?: Options): string => {
  const picture = pictureOf(flow, options)
  const { arrows, forms, frames, height, width } = arrange(picture)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="penguiflow" role="img" viewBox="0 0 ${n(width)} ${n(height)}" ` +
    `width="${n(width)}" height="${n(height)}" font-family="system-ui, sans-serif">`,
    `<title>${escaped(shown(picture.name))}</title>`,
    `<desc>${escaped(sentence(picture))}</desc>`,
    ...frames.map(frameOf),
    ...arrows.map(arrowOf),
    ...forms.map(({ at, form }) => nodeOf(form, at)),
    "</svg>"
  ].join("\n")
}

// ----------------------------------------------------------------------------------------------------------- internals

/** All of a text where it was elided, and what else there is to say. */
const titleOf = ({ description, details, label, name }: Words): string =>
  `<title>${
    escaped(
      [label, ...(name === label ? [] : [name]), ...details, description ?? ""].filter((it) => it !== "").map(shown)
        .join("\n")
    )
  }</title>`

const textOf = (line: Line, { x, y }: Point, colour: string): string =>
  `<text class="${line.of}" x="${n(x)}" y="${n(y + line.dy)}" text-anchor="middle" font-size="${sizeOf(line)}"` +
  `${line.of === "label" ? ` font-weight="600"` : ""} fill="${colour}"` +
  `${line.fitted === undefined ? "" : ` textLength="${n(line.fitted)}" lengthAdjust="spacingAndGlyphs"`}>` +
  `${escaped(line.text)}</text>`

const tabWords = "#2b3443"

const pill = ({ height, line, width, x, y }: Tab): string =>
  `<rect class="tab" x="${n(x - width / 2)}" y="${n(y - height / 2)}" width="${n(width)}" height="${n(height)}" ` +
  `rx="6" fill="#e7ebf2"/>${textOf(line, { x, y }, tabWords)}`

const frameOf = ({ frame, place: { height, width, x, y }, tab }: DrawnFrame): string =>
  `<g class="cluster" data-flow="${escaped(kept(frame.name))}">${titleOf(frame)}` +
  `<rect class="shape" x="${n(x - width / 2)}" y="${n(y - height / 2)}" width="${n(width)}" height="${n(height)}" ` +
  `rx="10" fill="${grey}" fill-opacity="0.1" stroke="${grey}" stroke-dasharray="5 4"/>${pill(tab)}</g>`

const arrowOf = ({ arrow, label, way }: DrawnArrow): string =>
  `<g class="edge" data-from="${escaped(kept(arrow.from.name))}" data-to="${escaped(kept(arrow.to.name))}">` +
  `${arrow.label === undefined ? "" : `<title>${escaped(shown(arrow.label))}</title>`}` +
  `<path class="line" d="${way.line}" ${edgePaint}/><path class="arrow" d="${way.head}" fill="${grey}"/>` +
  `${label === undefined ? "" : pill(label)}</g>`

const kindOf = ({ kind }: Shape): string => kind === "task" ? "node" : kind

const nodeOf = (form: Form, at: Point): string =>
  `<g class="node" data-node="${escaped(kept(form.node.name))}" data-kind="${kindOf(form.node)}">` +
  `${titleOf(form.node)}${outlineOf(form, at).join("")}` +
  `${form.lines.map((line) => textOf(line, at, wordColour(form.node))).join("")}</g>`

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`

const listed = (nodes: ReadonlyArray<Shape>): string =>
  nodes.length > 5
    ? `${counted(nodes.length, "node")}`
    : nodes.map(({ name }) => shown(name)).join(", ")

/** The picture in words, for those who do not see it. */
const sentence = ({ arrows, box, description }: Picture): string => {
  const nodes = nodesOf(box)
  const [ingress, egress] = [nodes.filter((node) => node.ingress), nodes.filter((node) => node.egress)]
  return [
    ...(description === undefined ? [] : [shown(description)]),
    `A flow of ${counted(nodes.length, "node")} and ${counted(arrows.length, "edge")}.`,
    `Messages enter at ${listed(ingress)}.`,
    ...(egress.length === 0 ? [] : [`Results leave at ${listed(egress)}.`])
  ].join(" ")
}
