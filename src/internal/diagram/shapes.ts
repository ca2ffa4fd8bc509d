/** The forms of nodes: how large one must be for its words, and how it is drawn around a point. */
import type { Shape, Words } from "./graph.ts"
import type { Point, Size } from "./layout.ts"
import { elided, shown, widthOf } from "./text.ts"

const fontSize = { label: 14, detail: 11.5 } as const
const lineHeight = { label: 19, detail: 16 } as const

/** The longest line in a node, in pixels: longer ones are elided, and stand in the title as a whole. */
const longest = { box: 300, decision: 220 } as const
/** Room before an ingress node for its dot, and after an egress node for its ring. */
const markRoom = 22
/** How far the points of a hexagon stand out. */
const point = 14
/** How far the sheets of a `forEach` stand out behind it. */
const sheet = 4

export interface Line {
  readonly text: string
  readonly of: "label" | "detail"
  /** What the text is made to fit by, where its own width is not known well enough. */
  readonly fitted: number | undefined
  /** Of its baseline, from the middle of the node. */
  readonly dy: number
}

export interface Form {
  readonly node: Shape
  readonly lines: ReadonlyArray<Line>
  /** Of the form itself. */
  readonly size: Size
  /** With its marks: what no other node may touch. */
  readonly room: Size
}

const isBox = ({ kind }: Shape): boolean => kind === "task" || kind === "loop" || kind === "each"

export const formOf = (node: Shape): Form => {
  const most = isBox(node) ? longest.box : longest.decision
  const { height, lines, width } = linesOf(node, most)
  const size = isBox(node)
    ? { width: Math.max(72, width + 28), height: height + 21 }
    : node.kind === "router"
    ? diamondAround(width + 8, height + 4)
    : { width: Math.max(72, width + 20 + 2 * point), height: height + 21 }
  const marks = node.ingress || node.egress ? 2 * markRoom : 0
  const sheets = node.kind === "each" ? 2 * sheet : 0
  return { node, lines, size, room: { width: size.width + marks + 2 * sheets, height: size.height + 2 * sheets } }
}

/** A line that is no wider than `most`, its baseline so far below its middle that it stands in the middle. */
export const lineOf = (
  whole: string,
  of: Line["of"],
  most: number
): { readonly line: Line; readonly width: number } => {
  const text = elided(shown(whole), fontSize[of], most)
  const { certain, width } = widthOf(text, fontSize[of])
  return { line: { text, of, fitted: certain ? undefined : width, dy: fontSize[of] * 0.35 }, width }
}

/** The lines of a text block around its middle, none wider than `most`. */
const linesOf = ({ details, label }: Words, most: number): Size & { readonly lines: ReadonlyArray<Line> } => {
  const all = [lineOf(label, "label", most), ...details.map((text) => lineOf(text, "detail", most))]
  const height = all.reduce((sum, { line }) => sum + lineHeight[line.of], 0)
  let top = -height / 2
  const lines = all.map(({ line }): Line => {
    const middle = top + lineHeight[line.of] / 2
    top += lineHeight[line.of]
    return { ...line, dy: line.dy + middle }
  })
  return { lines, height, width: Math.max(...all.map(({ width }) => width)) }
}

/** Of all diamonds around a text, one about three times as wide as high. */
const diamondAround = (width: number, height: number): Size => {
  const half = Math.max(26, height / 2 + Math.sqrt(width * height / 12))
  return { width: Math.ceil(width / (1 - height / 2 / half)), height: Math.ceil(2 * half) }
}

/** Where edges end: the middle of the left side; where they begin: of the right one. */
export const portOf = ({ size }: Form, { x, y }: Point, side: "left" | "right"): Point => ({
  x: side === "left" ? x - size.width / 2 : x + size.width / 2,
  y
})

/** Where a loop leaves the lower side, and comes back to it. */
export const loopEndsOf = ({ node, size: { height, width } }: Form, { x, y }: Point): LoopEnds => ({
  right: x + width / 4,
  left: x - width / 4,
  y: y + (node.kind === "router" ? height / 4 : height / 2)
})

export interface LoopEnds {
  readonly right: number
  readonly left: number
  readonly y: number
}

/** A polygon's corners, for kinds that are no box. */
const cornersOf = ({ node, size: { height, width } }: Form, { x, y }: Point): ReadonlyArray<Point> => {
  const [left, right, top, bottom] = [x - width / 2, x + width / 2, y - height / 2, y + height / 2]
  return node.kind === "router"
    ? [{ x: left, y }, { x, y: top }, { x: right, y }, { x, y: bottom }]
    : [
      { x: left, y },
      { x: left + point, y: top },
      { x: right - point, y: top },
      { x: right, y },
      { x: right - point, y: bottom },
      { x: left + point, y: bottom }
    ]
}

export const sizeOf = (line: Line): number => fontSize[line.of]

/** Numbers in pictures have one digit after the point at most. */
export const n = (value: number): string => String(Math.round(value * 10) / 10)

const rect = ({ height, width }: Size, x: number, y: number, attributes: string): string =>
  `<rect ${attributes} x="${n(x - width / 2)}" y="${n(y - height / 2)}" width="${n(width)}" height="${
    n(height)
  }" rx="8"/>`

interface Colours {
  readonly fill: string
  readonly line: string
  readonly words: string
}

const colours: Readonly<Record<Shape["kind"], Colours>> = {
  task: { fill: "#e8f1fd", line: "#3b7dd8", words: "#14304f" },
  loop: { fill: "#def5ec", line: "#1f9d78", words: "#0d3b2d" },
  each: { fill: "#e0f4f9", line: "#2b8ca8", words: "#0e3a47" },
  router: { fill: "#fff4d6", line: "#b7791f", words: "#4a3208" },
  join: { fill: "#f1e9fd", line: "#8b5cd6", words: "#35205a" },
  collect: { fill: "#f1e9fd", line: "#8b5cd6", words: "#35205a" }
}

/** The form around a point, without its words. */
export const outlineOf = (form: Form, at: Point): ReadonlyArray<string> => {
  const { node, size } = form
  const { fill, line } = colours[node.kind]
  const paint = `fill="${fill}" stroke="${line}" stroke-width="1.5"`
  const port = { in: portOf(form, at, "left"), out: portOf(form, at, "right") }
  const ring = port.out.x + markRoom - 6
  return [
    ...(node.ingress
      ? [
        `<path class="ingress" d="M${n(port.in.x - markRoom + 6)} ${n(at.y)}H${n(port.in.x)}" ${edgePaint}/>`,
        `<circle class="ingress" cx="${n(port.in.x - markRoom + 6)}" cy="${n(at.y)}" r="4.5" fill="${grey}"/>`
      ]
      : []),
    ...(node.egress
      ? [
        `<path class="egress" d="M${n(port.out.x)} ${n(at.y)}H${n(ring - 5)}" ${edgePaint}/>`,
        `<circle class="egress" cx="${n(ring)}" cy="${n(at.y)}" r="5" ${edgePaint}/>`,
        `<circle class="egress" cx="${n(ring)}" cy="${n(at.y)}" r="2" fill="${grey}"/>`
      ]
      : []),
    ...(node.kind === "each"
      ? [2, 1].map((away) => rect(size, at.x + away * sheet, at.y + away * sheet, `class="sheet" ${paint}`))
      : []),
    isBox(node)
      ? rect(size, at.x, at.y, `class="shape" ${paint}`)
      : `<path class="shape" d="M${
        cornersOf(form, at).map((corner) => `${n(corner.x)} ${n(corner.y)}`).join("L")
      }Z" ${paint} stroke-linejoin="round"/>`
  ]
}

export const wordColour = ({ kind }: Shape): string => colours[kind].words

/** Of edges and marks: in the middle between white and black. */
export const grey = "#7c8798"
export const edgePaint: string = `fill="none" stroke="${grey}" stroke-width="1.5"`
