/** A picture with places: forms of the size that their words need, laid out, and the ways between them. */
import { type Arrow, type Frame, framesOf, nodesOf, type Picture } from "./graph.ts"
import { type Place, place, type Placed, type Point, type Size, type ToPlace } from "./layout.ts"
import { columnsOf, loopOf, type Way, wayOf } from "./route.ts"
import { type Form, formOf, type Line, lineOf, loopEndsOf, portOf } from "./shapes.ts"

/** Words on an edge or on a frame, on ground of their own. */
export interface Tab extends Point, Size {
  readonly line: Line
}

export interface DrawnFrame {
  readonly frame: Frame
  readonly place: Place
  readonly tab: Tab
}

export interface DrawnArrow {
  readonly arrow: Arrow
  readonly way: Way
  readonly label: Tab | undefined
}

export interface Drawing extends Size {
  readonly forms: ReadonlyArray<{ readonly form: Form; readonly at: Point }>
  /** Each after the one that it is in. */
  readonly frames: ReadonlyArray<DrawnFrame>
  readonly arrows: ReadonlyArray<DrawnArrow>
}

/** The drawing of a picture. */
export const arrange = (picture: Picture): Drawing => {
  const forms = new Map(nodesOf(picture.box).map((node) => [node.id, formOf(node)]))
  const frames = new Map(framesOf(picture.box).map((frame) => [frame.id, frame]))
  const tabs = new Map([...frames].map(([id, frame]) => [id, tabOf(frame.label, frame.details, longest.frame)]))
  const labels = picture.arrows.map(({ label }) => label === undefined ? undefined : tabOf(label, [], longest.edge))
  const around = framesAround(picture)
  const wanted: ToPlace = {
    nodes: [...forms].map(([id, { room }]) => ({ id, frame: around.get(id), ...room })),
    frames: [...frames.keys()].map((id) => ({ id, frame: around.get(id) })),
    edges: picture.arrows.map(({ from, to }, at) => ({ from: from.id, to: to.id, label: labels[at] }))
  }
  const placed = placeWide(wanted, new Map([...tabs].map(([id, { width }]) => [id, width + 12])))
  const placesOfLabels = placed.edges.flatMap(({ label }, at) =>
    label === undefined ? [] : [{ ...label, ...labels[at]! }]
  )
  const columns = columnsOf([...placed.nodes.values(), ...placesOfLabels])
  const between = (from: number, to: number, bends: ReadonlyArray<Point>): Way => {
    const ends = [from, to].map((id) => ({ form: forms.get(id)!, at: placed.nodes.get(id)! }))
    const [start, end] = [ends[0]!, ends[1]!]
    // What leads back leaves where others arrive, and arrives where others leave.
    const [out, into] = start.at.x < end.at.x ? ["right", "left"] as const : ["left", "right"] as const
    return wayOf(
      { ...portOf(start.form, start.at, out), column: start.at.x },
      bends,
      { ...portOf(end.form, end.at, into), column: end.at.x },
      columns
    )
  }
  const arrows = picture.arrows.map((arrow, at): DrawnArrow => {
    const { bends, label } = placed.edges[at]!
    const [from, to] = [arrow.from.id, arrow.to.id]
    const middle = label ?? bends[Math.floor(bends.length / 2)]!
    return {
      arrow,
      way: from === to
        ? loopOf(loopEndsOf(forms.get(from)!, placed.nodes.get(from)!), middle.y)
        : between(from, to, bends),
      label: label === undefined ? undefined : { ...labels[at]!, ...label }
    }
  })
  const drawnFrames = [...frames.values()].map((frame): DrawnFrame => {
    const at = placed.frames.get(frame.id)!
    const tab = tabs.get(frame.id)!
    return {
      frame,
      place: at,
      tab: { ...tab, x: at.x - at.width / 2 + tab.width / 2 + 1, y: at.y - at.height / 2 + tab.height / 2 + 1 }
    }
  })
  return {
    width: placed.width,
    height: placed.height,
    forms: [...forms].map(([id, form]) => ({ form, at: pointOf(placed.nodes.get(id)!) })),
    frames: drawnFrames,
    arrows
  }
}

// ----------------------------------------------------------------------------------------------------------- internals

/** The longest name on an edge and on a frame, in pixels, and the longest of a name and all that is said with it. */
const longest = { edge: 180, frame: 280, all: 640 } as const

const pointOf = ({ x, y }: Point): Point => ({ x, y })

const tabOf = (label: string, details: ReadonlyArray<string>, most: number): Size & { readonly line: Line } => {
  const name = lineOf(label, "detail", most).line.text
  const { line, width } = lineOf([name, ...details].join(" · "), "detail", longest.all)
  return { line, width: width + 14, height: 20 }
}

/** Frames as wide as their words: where one is not, the first node in it gets the room that is missing. */
const placeWide = (wanted: ToPlace, least: ReadonlyMap<number, number>): Placed => {
  const placed = place(wanted)
  const wider = new Map<number, number>()
  for (const { id } of wanted.frames) {
    const missing = least.get(id)! - placed.frames.get(id)!.width
    const first = wanted.nodes.find((node) => isIn(wanted, node.frame, id))
    if (missing <= 0 || first === undefined) continue
    const at = placed.nodes.get(first.id)!
    const column = columnsOf(placed.nodes.values()).get(Math.round(at.x))!
    wider.set(first.id, Math.max(wider.get(first.id) ?? 0, column + missing))
  }
  if (wider.size === 0) return placed
  return place({ ...wanted, nodes: wanted.nodes.map((node) => ({ ...node, width: wider.get(node.id) ?? node.width })) })
}

/** Whether a frame is this one, or in it. */
const isIn = ({ frames }: ToPlace, frame: number | undefined, outer: number): boolean =>
  frame === outer ||
  frame !== undefined && isIn({ frames, nodes: [], edges: [] }, frames.find(({ id }) => id === frame)?.frame, outer)

/** The id of the frame that each node and each inner frame is in. */
const framesAround = (picture: Picture): ReadonlyMap<number, number> => {
  const around = new Map<number, number>()
  for (const frame of framesOf(picture.box)) {
    for (const inner of [...frame.nodes, ...frame.frames]) around.set(inner.id, frame.id)
  }
  return around
}
