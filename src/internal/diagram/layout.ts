/**
 * Places for the nodes of a picture, from left to right. The one room that knows the layout library.
 *
 * The same picture always gets the same places: what the library iterates over stands in declaration order, and its names
 * are no numbers, which objects would put into an order of their own.
 */
import * as Dagre from "@dagrejs/dagre"
import { inDeclarationOrder, type LayeredGraph, type Search } from "./order.ts"

export interface Size {
  readonly width: number
  readonly height: number
}

export interface Point {
  readonly x: number
  readonly y: number
}

/** Its middle, and its size. */
export interface Place extends Point, Size {}

export interface ToPlace {
  readonly nodes: ReadonlyArray<Size & { readonly id: number; readonly frame: number | undefined }>
  /** Each after the one that it is in. */
  readonly frames: ReadonlyArray<{ readonly id: number; readonly frame: number | undefined }>
  readonly edges: ReadonlyArray<{ readonly from: number; readonly to: number; readonly label: Size | undefined }>
}

export interface Placed extends Size {
  readonly nodes: ReadonlyMap<number, Place>
  readonly frames: ReadonlyMap<number, Place>
  /** In the order of the edges: where each bends, without its ends, and the middle of its label. */
  readonly edges: ReadonlyArray<{ readonly bends: ReadonlyArray<Point>; readonly label: Point | undefined }>
}

const margin = 16
/** Room between nodes above one another, between edges, between what stands one after the other, and around the whole. */
const room = { nodesep: 34, edgesep: 26, ranksep: 64, marginx: margin, marginy: margin }

export const place = ({ edges, frames, nodes }: ToPlace): Placed => {
  const graph: Graph = new Dagre.Graph({ compound: true, multigraph: true, directed: true })
  graph.setGraph({ rankdir: "LR", ...room })
  for (const { frame, id } of frames) {
    graph.setNode(`f${id}`, {})
    if (frame !== undefined) graph.setParent(`f${id}`, `f${frame}`)
  }
  for (const { frame, height, id, width } of nodes) {
    graph.setNode(`n${id}`, { width, height })
    if (frame !== undefined) graph.setParent(`n${id}`, `f${frame}`)
  }
  edges.forEach(({ from, label, to }, at) => {
    graph.setEdge(`n${from}`, `n${to}`, label === undefined ? {} : { ...label, labelpos: "c" }, `e${at}`)
  })
  layOut(graph)
  const ends = edges.map(({ from, to }, at) => graph.edge({ v: `n${from}`, w: `n${to}`, name: `e${at}` }))
  // The library's own size leaves out the lanes of edges.
  const xs = ends.flatMap(({ points }) => points.map(({ x }) => x))
  const ys = ends.flatMap(({ points }) => points.map(({ y }) => y))
  const { height, width } = graph.graph()
  const [left, top] = [least([margin, ...xs]) - margin, least([margin, ...ys]) - margin]
  const [right, bottom] = [most([width - margin, ...xs]) + margin, most([height - margin, ...ys]) + margin]
  const placeOf = (name: string): Place => {
    const { height, width, x, y } = graph.node(name)
    return { x: x - left, y: y - top, width, height }
  }
  return {
    width: right - left,
    height: bottom - top,
    nodes: new Map(nodes.map(({ id }) => [id, placeOf(`n${id}`)])),
    frames: new Map(frames.map(({ id }) => [id, placeOf(`f${id}`)])),
    edges: ends.map(({ points, x, y }, at) => ({
      bends: points.slice(1, -1).map((point) => ({ x: point.x - left, y: point.y - top })),
      label: edges[at]!.label === undefined ? undefined : { x: x! - left, y: y! - top }
    }))
  }
}

const least = (numbers: ReadonlyArray<number>): number => numbers.reduce((a, b) => Math.min(a, b))
const most = (numbers: ReadonlyArray<number>): number => numbers.reduce((a, b) => Math.max(a, b))

const layOut = (graph: Graph): void => {
  try {
    Dagre.layout(graph, { customOrder: (layered: LayeredGraph, search: Search) => inDeclarationOrder(layered, search) })
  } catch (error) {
    // The library walks along edges by recursion.
    if (!(error instanceof RangeError)) throw error
    throw new RangeError(
      "The flow is too long to be laid out: so many nodes in a row take more stack than there is. " +
        "Draw it as Mermaid or DOT, or make subflows of its parts",
      { cause: error }
    )
  }
}

/** What is used of the library's graph: its own types do not resolve under `NodeNext`. */
interface Graph {
  setGraph(label: { readonly rankdir: "LR" } & typeof room): unknown
  setNode(name: string, label: { readonly width?: number; readonly height?: number }): unknown
  setParent(name: string, parent: string): unknown
  setEdge(from: string, to: string, label: Partial<Size> & { readonly labelpos?: "c" }, name: string): unknown
  graph(): Size
  node(name: string): Place
  edge(edge: { readonly v: string; readonly w: string; readonly name: string }): Partial<Point> & {
    readonly points: ReadonlyArray<Point>
  }
}
