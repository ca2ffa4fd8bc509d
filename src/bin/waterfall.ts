/** The events of a trace as bars of time, one for each attempt at a node. */
import * as FlowCli from "../FlowCli.ts"
import type { ErrorInfo, FlowEvent } from "../FlowEvent.ts"
import { lasting } from "./table.ts"

interface Bar {
  readonly node: string
  readonly attempt: number
  readonly from: number
  to: number
  end: string
  /** What there is to say below it. */
  readonly notes: Array<string>
}

const ends: { readonly [Tag in FlowEvent["_tag"]]?: string } = {
  NodeSucceeded: "",
  NodeErrored: "failed",
  NodeTimedOut: "timed out",
  NodeInterrupted: "interrupted",
  NodeStuck: "left behind"
}

const fewest = 10
const most = 60

/** Lines, no wider than that; of several runs of a trace the last one's. */
export const waterfall = (events: ReadonlyArray<FlowEvent>, columns: number): ReadonlyArray<string> => {
  const run = events.slice(Math.max(0, events.findLastIndex((event) => event._tag === "TraceStarted")))
  const bars = barsOf(run)
  if (bars.length === 0) return []
  const began = Math.min(run[0]?.at ?? Infinity, ...bars.map((bar) => bar.from))
  const ended = Math.max(began, ...bars.map((bar) => bar.to))
  const rows = bars.map((bar) => [
    FlowCli.oneLine(bar.node),
    bar.attempt > 1 ? `try ${bar.attempt}` : "",
    `+${lasting(bar.from - began)}`,
    bar.end === "?" ? "" : lasting(bar.to - bar.from),
    bar.end === "?" ? "not ended" : bar.end
  ])
  const widths = [0, 1, 2, 3, 4].map((at) => rows.reduce((widest, row) => Math.max(widest, row[at]!.length), 0))
  const label = widths.reduce((sum, width) => sum + (width === 0 ? 0 : width + 2), 0)
  const space = Math.min(most, columns - 1 - label)
  return bars.flatMap((bar, nth) => {
    const cells = rows[nth]!.flatMap((cell, at) => {
      const width = widths[at]!
      if (width === 0) return []
      return [at === 2 || at === 3 ? cell.padStart(width) : cell.padEnd(width)]
    })
    const drawn = space < fewest ? "" : draw(bar, began, ended, space)
    return [`${cells.join("  ")}  ${drawn}`, ...bar.notes.map((note) => `  ${FlowCli.oneLine(note)}`)]
      .map((line) => FlowCli.fit(line.trimEnd(), columns))
  })
}

// ----------------------------------------------------------------------------------------------------------- internals

const draw = (bar: Bar, began: number, ended: number, space: number): string => {
  const scale = ended === began ? 0 : space / (ended - began)
  const from = Math.min(space - 1, Math.floor((bar.from - began) * scale))
  const length = Math.max(1, Math.min(space - from, Math.round((bar.to - bar.from) * scale)))
  return " ".repeat(from) + (bar.end === "" || bar.end === "undone" ? "█" : "▒").repeat(length)
}

const words = ({ code, message, tag }: ErrorInfo): string =>
  `${tag}${code === undefined ? "" : ` (${code})`}: ${message}`

const barsOf = (events: ReadonlyArray<FlowEvent>): ReadonlyArray<Bar> => {
  const bars: Array<Bar> = []
  const open = new Map<string, Array<Bar>>()
  const latest = new Map<string, Bar>()
  const end = events.at(-1)?.at ?? 0
  for (const event of events) {
    const { at, attempt, node } = event
    if (node === undefined || attempt === undefined) continue
    const key = `${attempt} ${node}`
    switch (event._tag) {
      case "NodeStarted": {
        const bar: Bar = { node, attempt, from: at, to: end, end: "?", notes: [] }
        bars.push(bar)
        latest.set(key, bar)
        const others = open.get(key)
        if (others === undefined) open.set(key, [bar])
        else others.push(bar)
        break
      }
      case "NodeRetried":
        latest.get(key)?.notes.push(`tried again after ${lasting(event.delayMs)}`)
        break
      case "NodeCompensated":
        bars.push({
          node,
          attempt: 1,
          from: at - event.durationMs,
          to: at,
          end: "undone",
          notes: event.error === undefined ? [] : [`undoing it died: ${words(event.error)}`]
        })
        break
      default: {
        const how = ends[event._tag]
        const bar = how === undefined ? undefined : open.get(key)?.shift()
        if (bar === undefined || how === undefined) break
        bar.end = how
        bar.to = event.durationMs === undefined ? at : bar.from + event.durationMs
        latest.set(key, bar)
        if (event._tag === "NodeErrored") bar.notes.push(words(event.error))
        if (event._tag === "NodeTimedOut") bar.notes.push(`its timeout is ${lasting(event.timeoutMs)}`)
      }
    }
  }
  return bars
}
