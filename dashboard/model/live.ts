/**
 * What happens right now: the server's snapshot, and the events since. A pure reducer, bounded in everything: what is
 * touched by a batch is copied once, what is not stays the same object, so that views see at once what changed.
 */
import type { ErrorInfo, FlowCounts, FlowEvent, NodeCounts, Snapshot, Status } from "../wire/types.ts"

export interface TraceRow {
  readonly flow: string
  readonly traceId: string
  readonly status: Status
  /** When it ended; of a running one, when it began. */
  readonly at: number
  readonly durationMs?: number | undefined
  readonly node?: string | undefined
  readonly error?: ErrorInfo | undefined
  readonly reason?: string | undefined
}

/** How many traces ended in each of the last seconds, the oldest first. */
export interface Rate {
  /** The second since the epoch that the last entry is of. */
  readonly second: number
  readonly ended: ReadonlyArray<number>
  readonly failed: ReadonlyArray<number>
}

export interface FlowLive extends FlowCounts {
  readonly rate: Rate
}

/** An open trace, and what runs in it. */
export interface OpenTrace {
  readonly flow: string
  readonly traceId: string
  readonly at: number
  /** It began before the page listened: what it holds is not known in full. */
  readonly partial: boolean
  readonly held: ReadonlyMap<string, { readonly running: number; readonly retrying: number }>
}

export interface Live {
  /** How far the server's clock is ahead of this one, in milliseconds. */
  readonly skew: number
  readonly ready: boolean
  readonly flows: Readonly<Record<string, FlowLive>>
  readonly open: ReadonlyMap<string, OpenTrace>
  /** The newest first. */
  readonly ended: ReadonlyArray<TraceRow>
  /** The last events of all traces, the newest last. */
  readonly events: ReadonlyArray<FlowEvent>
  /** Events that this page heard, and that it was told it missed. */
  readonly heard: number
  readonly lost: number
}

export type Said =
  | { readonly _tag: "Snapshot"; readonly snapshot: Snapshot; readonly now: number }
  | { readonly _tag: "Event"; readonly event: FlowEvent }
  | { readonly _tag: "Lost"; readonly count: number }

export const bounds = { open: 2000, ended: 200, events: 5000, seconds: 60, nodes: 1000 } as const

const noFlows: Readonly<Record<string, FlowLive>> = Object.create(null)

export const nothing: Live = {
  skew: 0,
  ready: false,
  flows: noFlows,
  open: new Map(),
  ended: [],
  events: [],
  heard: 0,
  lost: 0
}

export const keyOf = (flow: string, traceId: string): string => `${flow}\0${traceId}`

/** How long after an error a node is shown as failing. */
export const failingFor = 5 * 60_000

/** Whether an attempt at the node failed within the last five minutes. */
export const isFailing = ({ lastError }: NodeCounts, now: number): boolean =>
  lastError !== undefined && now - lastError.at < failingFor

/** Traces that ended per second, over the last ten seconds. */
export const perSecond = ({ ended, second }: Rate, now: number): number => {
  const gone = Math.max(0, Math.floor(now / 1000) - second)
  return ended.slice(-10).slice(gone).reduce((sum, count) => sum + count, 0) / 10
}

export const reduce = (live: Live, batch: ReadonlyArray<Said>): Live => {
  const draft = new Draft(live)
  for (const said of batch) {
    if (said._tag === "Event") draft.event(said.event)
    else if (said._tag === "Lost") draft.lost += said.count
    else draft.restart(said.snapshot, said.now)
  }
  return draft.done()
}

// ----------------------------------------------------------------------------------------------------------- internals

type Mutable<A> = { -readonly [K in keyof A]: A[K] }
type NodeDraft = Mutable<NodeCounts>
type FlowDraft = Mutable<Omit<FlowLive, "nodes">> & { nodes: Record<string, NodeDraft> }
type HeldDraft = Map<string, { running: number; retrying: number }>
type OpenDraft = Omit<OpenTrace, "held"> & { readonly held: HeldDraft }

const emptyNode: NodeCounts = { running: 0, retrying: 0, succeeded: 0, errored: 0, failed: 0, timedOut: 0 }
const zeros: ReadonlyArray<number> = Array.from({ length: bounds.seconds }, () => 0)
const noRate: Rate = { second: 0, ended: zeros, failed: zeros }
const emptyFlow: FlowLive = {
  open: 0,
  started: 0,
  succeeded: 0,
  failed: 0,
  cancelled: 0,
  nodes: Object.create(null),
  rate: noRate
}

/** Names come from outside: an object without a prototype has no name of its own. */
const plain = <A>(record: Readonly<Record<string, A>>): Record<string, A> =>
  Object.assign<Record<string, A>, Readonly<Record<string, A>>>(Object.create(null), record)

class Draft {
  readonly #before: Live
  #flows: Record<string, FlowLive | FlowDraft>
  #open: Map<string, OpenTrace | OpenDraft>
  #ended: Array<TraceRow> = []
  #events: Array<FlowEvent> = []
  /** What was copied for this batch, and may be changed. */
  readonly #own = new Set<object>()
  #skew: number
  #ready: boolean
  #earlier: ReadonlyArray<TraceRow>
  lost: number

  constructor(live: Live) {
    this.#before = live
    this.#flows = plain(live.flows)
    this.#open = new Map(live.open)
    this.#skew = live.skew
    this.#ready = live.ready
    this.#earlier = live.ended
    this.lost = live.lost
  }

  done(): Live {
    const { events, heard } = this.#before
    return {
      skew: this.#skew,
      ready: this.#ready,
      flows: this.#flows,
      open: this.#open,
      ended: this.#ended.length === 0
        ? this.#earlier
        : [...this.#ended.toReversed(), ...this.#earlier].slice(0, bounds.ended),
      events: this.#events.length === 0 ? events : [...events, ...this.#events].slice(-bounds.events),
      heard: heard + this.#events.length,
      lost: this.lost
    }
  }

  /** The server counts anew, or this page has missed something: what is counted is the server's word from here on. */
  restart(snapshot: Snapshot, now: number): void {
    const flows = this.#flows
    this.#flows = Object.create(null)
    for (const [name, flow] of Object.entries(snapshot.flows)) {
      this.#flows[name] = { ...flow, nodes: plain(flow.nodes), rate: flows[name]?.rate ?? noRate }
    }
    this.#open = new Map(snapshot.running.map((it): [string, OpenTrace] => [
      keyOf(it.flow, it.traceId),
      { ...it, partial: true, held: new Map() }
    ]))
    this.#ended = []
    this.#earlier = snapshot.recent.slice(0, bounds.ended)
    this.#skew = snapshot.at - now
    this.#ready = true
  }

  event(event: FlowEvent): void {
    this.#events.push(event)
    const flow = this.#flow(event.flow)
    const key = keyOf(event.flow, event.traceId)
    switch (event._tag) {
      case "TraceStarted":
        // The end of an earlier run of this id was missed.
        if (this.#open.has(key)) flow.open = Math.max(0, flow.open - 1)
        this.#forget(flow, key)
        flow.started++
        flow.open++
        return this.#remember(key, {
          flow: event.flow,
          traceId: event.traceId,
          at: event.at,
          partial: false,
          held: new Map()
        })
      case "TraceSucceeded":
        flow.succeeded++
        return this.#end(flow, key, event, "succeeded")
      case "TraceFailed":
        flow.failed++
        return this.#end(flow, key, event, "failed")
      case "TraceCancelled":
        flow.cancelled++
        return this.#end(flow, key, event, "cancelled")
      default:
        return this.#ofNode(flow, key, event)
    }
  }

  #ofNode(flow: FlowDraft, key: string, event: Exclude<FlowEvent, { readonly _tag: `Trace${string}` }>): void {
    const node = this.#node(flow, event.node)
    const open = this.#opened(key, event)
    const { at, traceId } = event
    const move = (what: "running" | "retrying", by: 1 | -1) => {
      let held = open.held.get(event.node)
      if (held === undefined) open.held.set(event.node, held = { running: 0, retrying: 0 })
      if (by < 0 && held[what] === 0 && !open.partial) return
      held[what] = Math.max(0, held[what] + by)
      node[what] = Math.max(0, node[what] + by)
    }
    switch (event._tag) {
      case "NodeStarted":
        if (event.attempt > 1) move("retrying", -1)
        return move("running", 1)
      case "NodeSucceeded":
        node.succeeded++
        return move("running", -1)
      case "NodeErrored":
        node.errored++
        node.lastError = { ...event.error, traceId, at }
        return move("running", -1)
      case "NodeTimedOut":
        node.timedOut++
        node.lastError = {
          tag: "NodeTimedOut",
          code: "NODE_TIMEOUT",
          message: `An attempt took longer than ${event.timeoutMs} ms`,
          traceId,
          at
        }
        return move("running", -1)
      case "NodeInterrupted":
      case "NodeStuck":
        return move("running", -1)
      case "NodeRetried":
        return move("retrying", 1)
      case "NodeFailed":
        node.failed++
        node.lastError = { ...event.error, traceId, at }
    }
  }

  #flow(name: string): FlowDraft {
    const flow = this.#flows[name] ?? emptyFlow
    if (this.#own.has(flow)) return flow as FlowDraft
    const copy: FlowDraft = { ...flow, nodes: plain(flow.nodes) }
    this.#own.add(copy)
    this.#flows[name] = copy
    return copy
  }

  #node(flow: FlowDraft, name: string): NodeDraft {
    const known = flow.nodes[name]
    if (known !== undefined && this.#own.has(known)) return known
    const copy: NodeDraft = { ...known ?? emptyNode }
    this.#own.add(copy)
    if (known !== undefined || Object.keys(flow.nodes).length < bounds.nodes) flow.nodes[name] = copy
    return copy
  }

  #opened(key: string, event: FlowEvent): OpenDraft {
    const known = this.#open.get(key)
    if (known !== undefined && this.#own.has(known)) return known as OpenDraft
    const copy: OpenDraft = known === undefined
      ? { flow: event.flow, traceId: event.traceId, at: event.at, partial: true, held: new Map() }
      : { ...known, held: new Map([...known.held].map(([node, counts]) => [node, { ...counts }])) }
    this.#remember(key, copy)
    return copy
  }

  #remember(key: string, open: OpenDraft): void {
    this.#own.add(open)
    this.#open.set(key, open)
    if (this.#open.size <= bounds.open) return
    for (const oldest of this.#open.keys()) {
      this.#open.delete(oldest)
      return
    }
  }

  /** What a trace still holds ends with it. */
  #forget(flow: FlowDraft, key: string): void {
    const open = this.#open.get(key)
    if (open === undefined) return
    this.#open.delete(key)
    for (const [name, { retrying, running }] of open.held) {
      if (running === 0 && retrying === 0) continue
      const node = this.#node(flow, name)
      node.running = Math.max(0, node.running - running)
      node.retrying = Math.max(0, node.retrying - retrying)
    }
  }

  #end(
    flow: FlowDraft,
    key: string,
    event: Extract<FlowEvent, { readonly _tag: "TraceSucceeded" | "TraceFailed" | "TraceCancelled" }>,
    status: TraceRow["status"]
  ): void {
    this.#forget(flow, key)
    flow.open = Math.max(0, flow.open - 1)
    // Traces that began before the snapshot may have held what is not known: with the last of them it is gone.
    if (flow.open === 0) {
      for (const [name, { retrying, running }] of Object.entries(flow.nodes)) {
        if (running > 0 || retrying > 0) Object.assign(this.#node(flow, name), { running: 0, retrying: 0 })
      }
    }
    flow.rate = counted(flow.rate, Math.floor(event.at / 1000), status === "failed")
    this.#ended.push({
      flow: event.flow,
      traceId: event.traceId,
      status,
      at: event.at,
      durationMs: event.durationMs,
      node: event.node,
      ...(event._tag === "TraceFailed" ? { error: event.error } : {}),
      ...(event._tag === "TraceCancelled" ? { reason: event.reason } : {})
    })
    if (this.#ended.length > bounds.ended) this.#ended = this.#ended.slice(-bounds.ended)
  }
}

/** One trace more that ended in this second. */
const counted = (rate: Rate, second: number, failed: boolean): Rate => {
  const moved = Math.min(bounds.seconds, Math.max(0, second - rate.second))
  const shift = (counts: ReadonlyArray<number>): Array<number> => [...counts.slice(moved), ...zeros.slice(0, moved)]
  const [ended, failures] = [shift(rate.ended), shift(rate.failed)]
  const newest = Math.max(second, rate.second)
  const at = bounds.seconds - 1 - (newest - second)
  if (at >= 0) {
    ended[at] = (ended[at] ?? 0) + 1
    if (failed) failures[at] = (failures[at] ?? 0) + 1
  }
  return { second: newest, ended, failed: failures }
}
