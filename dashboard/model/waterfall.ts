/** A trace as a waterfall: every attempt at a node, when it began, how long it took, and how it ended. */
import type { ErrorInfo, FlowEvent } from "../wire/types.ts"

export type End =
  | "running"
  | "succeeded"
  | "failed"
  | "timed out"
  | "interrupted"
  | "left behind"
  | "unknown"
  | "undone"

/** One attempt, or the undoing of a finished run. Times are milliseconds since the trace began. */
export interface Bar {
  readonly node: string
  readonly attempt: number
  readonly from: number
  /** Undefined while it runs, and where no event tells. */
  readonly to: number | undefined
  readonly end: End
  readonly error: ErrorInfo | undefined
  /** Partial outputs that it sent. */
  readonly parts: number
  /** The pause before this attempt, after the one that failed. */
  readonly waited: number | undefined
  /** No attempt of the visit will follow. */
  readonly last: boolean
}

export interface Waterfall {
  /** When the trace began the last time, since the epoch. */
  readonly began: number
  /** How long it took, or has taken so far. */
  readonly total: number
  readonly running: boolean
  readonly bars: ReadonlyArray<Bar>
}

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

/** In the order in which attempts began; of several runs of a trace the last one's. `now` ends what still runs. */
export const waterfallOf = (events: ReadonlyArray<FlowEvent>, now: number): Waterfall => {
  const first = Math.max(0, events.findLastIndex((event) => event._tag === "TraceStarted"))
  const began = events[first]?.at ?? now
  const ended = events.slice(first).find(isEnd)
  const bars: Array<Mutable<Bar>> = []
  const open = new Map<string, Array<Mutable<Bar>>>()
  /** Visits that wait for another attempt: since when. */
  const waiting = new Map<string, Array<number>>()
  for (let at = first; at < events.length; at++) {
    const event = events[at]!
    if (event.node === undefined || event.attempt === undefined || isEnd(event)) continue
    const { attempt, node } = event
    const key = `${attempt}\0${node}`
    const time = event.at - began
    switch (event._tag) {
      case "NodeStarted": {
        const since = waiting.get(`${attempt - 1}\0${node}`)?.shift()
        const bar: Mutable<Bar> = {
          node,
          attempt,
          from: time,
          to: undefined,
          end: "running",
          error: undefined,
          parts: 0,
          waited: since === undefined ? undefined : Math.max(0, time - since),
          last: true
        }
        bars.push(bar)
        const others = open.get(key)
        if (others === undefined) open.set(key, [bar])
        else others.push(bar)
        break
      }
      case "PartEmitted": {
        const bar = open.get(key)?.[0]
        if (bar !== undefined) bar.parts++
        break
      }
      case "NodeSucceeded":
      case "NodeErrored":
      case "NodeTimedOut":
      case "NodeInterrupted":
      case "NodeStuck": {
        const bar = open.get(key)?.shift()
        if (bar === undefined) break
        bar.to = time
        bar.end = ends[event._tag]
        if (event._tag === "NodeErrored") bar.error = event.error
        if (event._tag === "NodeTimedOut") {
          bar.error = {
            tag: "NodeTimedOut",
            code: "NODE_TIMEOUT",
            message: `The attempt took longer than ${event.timeoutMs} ms`
          }
        }
        break
      }
      case "NodeRetried": {
        const failed = bars.findLast((bar) => bar.node === node && bar.attempt === attempt && bar.to !== undefined)
        if (failed !== undefined) failed.last = false
        const others = waiting.get(key)
        if (others === undefined) waiting.set(key, [time])
        else others.push(time)
        break
      }
      case "NodeCompensated":
        bars.push({
          node,
          attempt,
          from: Math.max(0, time - event.durationMs),
          to: time,
          end: "undone",
          error: event.error,
          parts: 0,
          waited: undefined,
          last: true
        })
    }
  }
  const end = ended === undefined ? now : ended.at
  for (const bar of bars) if (bar.end === "running" && ended !== undefined) bar.end = "unknown"
  const total = bars.reduce((most, bar) => Math.max(most, bar.to ?? 0), Math.max(0, end - began))
  return { began, total, running: ended === undefined && events.length > 0, bars }
}

// ----------------------------------------------------------------------------------------------------------- internals

const ends = {
  NodeSucceeded: "succeeded",
  NodeErrored: "failed",
  NodeTimedOut: "timed out",
  NodeInterrupted: "interrupted",
  NodeStuck: "left behind"
} as const

const isEnd = ({ _tag }: FlowEvent): boolean =>
  _tag === "TraceSucceeded" || _tag === "TraceFailed" || _tag === "TraceCancelled"
