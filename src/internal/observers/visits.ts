/** The way that a message took: every attempt at a node, and how it ended. */
import type { FlowEvent } from "../../FlowEvent.ts"

/** One attempt at a node. */
export interface Visit {
  readonly node: string
  readonly attempt: number
  /** `"unknown"` where no event tells: the trace ended around it, or is still under way. */
  readonly end: "succeeded" | "failed" | "timed out" | "interrupted" | "left behind" | "unknown"
}

const ends: { readonly [Tag in FlowEvent["_tag"]]?: Visit["end"] } = {
  NodeSucceeded: "succeeded",
  NodeErrored: "failed",
  NodeTimedOut: "timed out",
  NodeInterrupted: "interrupted",
  NodeStuck: "left behind"
}

/** In the order in which they began; of several runs of a trace the last one's. */
export const visitsIn = (events: ReadonlyArray<FlowEvent>): ReadonlyArray<Visit> => {
  const visits: Array<{ node: string; attempt: number; end: Visit["end"] }> = []
  const open = new Map<string, Array<{ end: Visit["end"] }>>()
  const begin = Math.max(0, events.findLastIndex((event) => event._tag === "TraceStarted"))
  for (let i = begin; i < events.length; i++) {
    const { _tag, attempt, node } = events[i]!
    if (node === undefined || attempt === undefined) continue
    const key = `${attempt} ${node}`
    if (_tag === "NodeStarted") {
      const visit = { node, attempt, end: "unknown" as const }
      visits.push(visit)
      const others = open.get(key)
      if (others === undefined) open.set(key, [visit])
      else others.push(visit)
      continue
    }
    const end = ends[_tag]
    const visit = end === undefined ? undefined : open.get(key)?.shift()
    if (visit !== undefined && end !== undefined) visit.end = end
  }
  return visits
}

const words = ({ attempt, end, node }: Visit): string => `${node} (attempt ${attempt}) ${end}`

/**
 * What one way has and the other has not, whatever the order: branches of a trace run side by side, and which of them
 * comes first says nothing.
 */
export const differenceOf = (
  before: ReadonlyArray<Visit>,
  after: ReadonlyArray<Visit>
): { readonly missing: ReadonlyArray<string>; readonly added: ReadonlyArray<string> } => {
  const counts = new Map<string, number>()
  for (const visit of before) counts.set(words(visit), (counts.get(words(visit)) ?? 0) + 1)
  const added: Array<string> = []
  for (const visit of after) {
    const count = counts.get(words(visit)) ?? 0
    if (count === 0) added.push(words(visit))
    else counts.set(words(visit), count - 1)
  }
  return { missing: [...counts].flatMap(([visit, count]) => Array.from({ length: count }, () => visit)), added }
}

/** Whether two values are the same JSON, whatever the order of their keys. */
export const sameJson = (a: unknown, b: unknown): boolean => {
  if (a === b) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && sameJson(Reflect.get(a, key), Reflect.get(b, key)))
}
