/** The ways of edges between nodes that have their places: level where nodes stand, curved between them. */
import type { Place, Point } from "./layout.ts"
import { type LoopEnds, n } from "./shapes.ts"

/** How long an arrow's head is. */
const head = 8

export interface Way {
  /** The line, up to the arrow's head. */
  readonly line: string
  readonly head: string
}

/** The widest thing in each rank: ranks stand above one another in one column, around one middle. */
export const columnsOf = (places: Iterable<Place>): ReadonlyMap<number, number> => {
  const columns = new Map<number, number>()
  for (const { width, x } of places) columns.set(Math.round(x), Math.max(columns.get(Math.round(x)) ?? 0, width))
  return columns
}

/** Where an edge begins or ends: at a node's side, and the middle of the column that the node stands in. */
export interface End extends Point {
  readonly column: number
}

/**
 * From one node's side to another's.
 *
 * The layout keeps a lane free for the edge in each column that it passes, and nodes have theirs. It goes level through
 * the whole column, and changes lanes between columns, where no node stands: so it touches none.
 */
export const wayOf = (
  from: End,
  bends: ReadonlyArray<Point>,
  to: End,
  columns: ReadonlyMap<number, number>
): Way => {
  const step = from.column < to.column ? 1 : -1
  const half = (x: number): number => (columns.get(Math.round(x)) ?? 0) / 2
  const end = { x: to.x - step * head, y: to.y }
  const points: ReadonlyArray<Point> = [
    from,
    { x: from.column + step * half(from.column), y: from.y },
    ...bends.flatMap(({ x, y }) => [{ x: x - step * half(x), y }, { x: x + step * half(x), y }]),
    { x: Math.min(step * end.x, step * to.column - half(to.column)) * step, y: to.y },
    end
  ]
  const line = [`M${n(from.x)} ${n(from.y)}`]
  for (let at = 1; at < points.length; at++) {
    const [a, b] = [points[at - 1]!, points[at]!]
    if (a.x === b.x && a.y === b.y) continue
    if (Math.abs(a.y - b.y) < 0.05) line.push(`H${n(b.x)}`)
    else {
      const middle = (a.x + b.x) / 2
      line.push(`C${n(middle)} ${n(a.y)} ${n(middle)} ${n(b.y)} ${n(b.x)} ${n(b.y)}`)
    }
  }
  return { line: line.join(""), head: headAt(to, step, 0) }
}

/** Out of a node's lower side, around below it, and back into it. */
export const loopOf = ({ left, right, y }: LoopEnds, turn: number): Way => {
  const out = Math.min(18, (right - left) / 2)
  return {
    line: `M${n(right)} ${n(y)}C${n(right)} ${n(turn)} ${n(right)} ${n(turn)} ${n(right - out)} ${n(turn)}` +
      `H${n(left + out)}C${n(left)} ${n(turn)} ${n(left)} ${n(turn)} ${n(left)} ${n(y + head)}`,
    head: headAt({ x: left, y }, 0, -1)
  }
}

/** A head whose tip is here, pointing this way. */
const headAt = ({ x, y }: Point, dx: number, dy: number): string => {
  const [backX, backY] = [x - dx * head, y - dy * head]
  const [sideX, sideY] = [dy * head / 2, dx * head / 2]
  return `M${n(x)} ${n(y)}L${n(backX + sideX)} ${n(backY + sideY)}L${n(backX - sideX)} ${n(backY - sideY)}Z`
}
