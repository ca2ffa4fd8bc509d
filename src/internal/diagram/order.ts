/**
 * Which node of a column stands above which: in declaration order where that makes no more edges cross than the layout
 * library's own search, which takes equals in any order.
 */

/** What is used of the library's graph while it lays out: edges lead from one column to the next, through stand-ins. */
export interface LayeredGraph {
  nodes(): ReadonlyArray<string>
  children(name: string): ReadonlyArray<string>
  parent(name: string): string | undefined
  successors(name: string): ReadonlyArray<string>
  node(name: string): Layered
}

interface Layered {
  readonly rank?: number
  order?: number
  /** Of a frame, by column: stand-ins for its upper and its lower side. */
  readonly borderLeft?: ReadonlyArray<string>
  readonly borderRight?: ReadonlyArray<string>
}

/** The library's search, or its order before the search: that of a walk along the edges as they were declared. */
export type Search = (graph: LayeredGraph, options?: { readonly disableOptimalOrderHeuristic?: boolean }) => void

export const inDeclarationOrder = (graph: LayeredGraph, search: Search): void => {
  search(graph, { disableOptimalOrderHeuristic: true })
  const declared = whole(graph, columnsIn(graph))
  if (declared === undefined) return search(graph)
  apply(graph, declared)
  const crossings = crossingsIn(graph, declared)
  if (crossings === 0) return
  search(graph)
  if (crossingsIn(graph, columnsIn(graph)) >= crossings) apply(graph, declared)
}

// ----------------------------------------------------------------------------------------------------------- internals

type Columns = ReadonlyArray<ReadonlyArray<string>>

const apply = (graph: LayeredGraph, columns: Columns): void => {
  for (const column of columns) column.forEach((name, at) => graph.node(name).order = at)
}

const columnsIn = (graph: LayeredGraph): Columns => {
  const columns: Array<Array<string>> = []
  for (const name of graph.nodes()) {
    if (graph.children(name).length > 0) continue
    const { rank } = graph.node(name)
    ;(columns[rank!] ??= []).push(name)
  }
  return Array.from(
    columns,
    (column) => (column ?? []).toSorted((a, b) => graph.node(a).order! - graph.node(b).order!)
  )
}

/** The names around a node from the outermost frame to itself. */
const pathOf = (graph: LayeredGraph, name: string): ReadonlyArray<string> => {
  const path = [name]
  for (let at = graph.parent(name); at !== undefined; at = graph.parent(at)) path.unshift(at)
  return path
}

/** The same with frames whole, at the place of the first of theirs. Undefined where two frames would change places. */
const whole = (graph: LayeredGraph, columns: Columns): Columns | undefined => {
  const before = new Map<string, Set<string>>()
  const regrouped: Array<ReadonlyArray<string>> = []
  for (const [rank, column] of columns.entries()) {
    const paths = column.map((name) => pathOf(graph, name))
    const borders = new Set(column.filter((name) => isBorder(graph, name, rank)))
    const level = (members: ReadonlyArray<ReadonlyArray<string>>, depth: number): ReadonlyArray<string> => {
      const groups = Map.groupBy(members, (path) => path[depth]!)
      const inner: Array<string> = []
      const frames: Array<string> = []
      // What is in a frame counts before its sides, which no edge leads to.
      const ordered = [...groups].filter(([name]) => !borders.has(name))
      for (const [name, group] of ordered) {
        if (group[0]!.length === depth + 1) {
          inner.push(name)
          continue
        }
        const { borderLeft, borderRight } = graph.node(name)
        const [left, right] = [borderLeft?.[rank], borderRight?.[rank]]
        const within = level(group, depth + 1)
        inner.push(...(left === undefined ? [] : [left]), ...within, ...(right === undefined ? [] : [right]))
        frames.push(name)
      }
      for (const [at, upper] of frames.entries()) {
        for (const lower of frames.slice(at + 1)) {
          const below = before.get(upper)
          if (below === undefined) before.set(upper, new Set([lower]))
          else below.add(lower)
        }
      }
      return inner
    }
    regrouped.push(level(paths, 0))
  }
  for (const [upper, lowers] of before) {
    for (const lower of lowers) if (before.get(lower)?.has(upper) === true) return undefined
  }
  return regrouped
}

const isBorder = (graph: LayeredGraph, name: string, rank: number): boolean => {
  const frame = graph.parent(name)
  if (frame === undefined) return false
  const { borderLeft, borderRight } = graph.node(frame)
  return borderLeft?.[rank] === name || borderRight?.[rank] === name
}

/** How many pairs of edges cross: for each edge, those before it whose ends lie below its own. */
const crossingsIn = (graph: LayeredGraph, columns: Columns): number => {
  let crossings = 0
  for (const [at, column] of columns.entries()) {
    const next = columns[at + 1]
    if (next === undefined) break
    const places = new Map(next.map((name, place) => [name, place]))
    const ends = column.flatMap((name) =>
      graph.successors(name).map((to) => places.get(to)).filter((place) => place !== undefined).toSorted((a, b) =>
        a - b
      )
    )
    const counts = new Int32Array(next.length + 1)
    for (const [seen, end] of ends.entries()) {
      let notBelow = 0
      for (let i = end + 1; i > 0; i -= i & -i) notBelow += counts[i]!
      crossings += seen - notBelow
      for (let i = end + 1; i <= next.length; i += i & -i) counts[i]!++
    }
  }
  return crossings
}
