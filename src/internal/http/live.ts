/**
 * What happens right now, as a small model of it: how many traces are open, which nodes run, what failed last. It is fed
 * by an observer, so that it slows nothing and may be told too little; then it says by how much.
 */
import type { FlowEvent } from "../../FlowEvent.ts"
import { Ring } from "./ring.ts"

/** What is known of a node since the server began; `running` and `retrying` are now. */
export interface LiveNode {
  running: number
  succeeded: number
  errored: number
  failed: number
  retrying: number
  timedOut: number
  lastError?: { tag: string; code?: string; message: string; traceId: string; at: number }
}

/** What is known of a flow since the server began; `open` is now. */
export interface LiveFlow {
  open: number
  started: number
  succeeded: number
  failed: number
  cancelled: number
  readonly nodes: Readonly<Record<string, LiveNode>>
}

/** How a trace ended. */
export interface RecentTrace {
  readonly flow: string
  readonly traceId: string
  readonly status: "succeeded" | "failed" | "cancelled"
  readonly at: number
  readonly durationMs: number
  readonly node?: string
  readonly error?: { readonly tag: string; readonly code?: string; readonly message: string }
}

/** A trace that is open. */
export interface RunningTrace {
  readonly flow: string
  readonly traceId: string
  /** When it began. */
  readonly at: number
}

/** The whole of it. */
export interface Snapshot {
  readonly at: number
  readonly flows: Readonly<Record<string, LiveFlow>>
  /** The newest first. */
  readonly recent: ReadonlyArray<RecentTrace>
  /** Of each flow the oldest that are open, up to 100. */
  readonly running: ReadonlyArray<RunningTrace>
  /** How many events were lost before they were counted. */
  readonly lost: number
}

/** What is said to those who watch. */
export type Said =
  | { readonly _tag: "Event"; readonly event: FlowEvent }
  | { readonly _tag: "Lost"; readonly count: number }

const mostRecent = 100
/** Of each flow, in a snapshot. */
const mostRunning = 100
/** Names that are not of the flows that were given: of runtimes elsewhere that are watched by the same observer. */
const mostNames = 1000
/** Traces of which no end was heard are forgotten beyond this. */
const mostOpen = 20_000

interface Flow extends Omit<LiveFlow, "nodes"> {
  readonly nodes: Map<string, LiveNode>
}

/** Of a trace that is open: what runs in it. */
interface Open {
  readonly flow: Flow
  readonly trace: RunningTrace
  /** By node: attempts that run, and visits that wait for another attempt. */
  readonly nodes: Map<string, { running: number; retrying: number }>
}

const newNode = (): LiveNode => ({ running: 0, succeeded: 0, errored: 0, failed: 0, retrying: 0, timedOut: 0 })

/** The model and the ring of the last events. Not thread-safe, and needs not be. */
export class Live {
  readonly ring: Ring<Said>
  readonly #flows = new Map<string, Flow>()
  readonly #open = new Map<string, Open>()
  #names = 0
  #recent: Array<RecentTrace> = []
  #lost = 0

  constructor(capacity: number) {
    this.ring = new Ring(capacity)
  }

  /** Names that are there from the beginning. */
  know(flow: string, nodes: ReadonlyArray<string>): void {
    const known = this.#flow(flow)
    for (const node of nodes) if (!known.nodes.has(node)) known.nodes.set(node, newNode())
  }

  take(events: ReadonlyArray<FlowEvent>): void {
    for (const event of events) {
      this.#count(event)
      this.ring.push({ _tag: "Event", event })
    }
  }

  /** Events were lost: what is open is no longer known, and begins anew. */
  lose(count: number): void {
    this.#lost += count
    for (const key of this.#open.keys()) this.#forget(key)
    this.ring.push({ _tag: "Lost", count })
  }

  snapshot(at: number): Snapshot {
    return {
      at,
      flows: Object.fromEntries(
        [...this.#flows].map(([name, { nodes, ...flow }]) => [name, { ...flow, nodes: Object.fromEntries(nodes) }])
      ),
      recent: this.#recent.toReversed(),
      running: this.#running(),
      lost: this.#lost
    }
  }

  /** The map holds them in the order in which they began. */
  #running(): ReadonlyArray<RunningTrace> {
    const counts = new Map<Flow, number>()
    const running: Array<RunningTrace> = []
    for (const { flow, trace } of this.#open.values()) {
      const count = counts.get(flow) ?? 0
      if (count === mostRunning) continue
      counts.set(flow, count + 1)
      running.push(trace)
    }
    return running
  }

  #flow(name: string): Flow {
    let flow = this.#flows.get(name)
    if (flow === undefined) {
      flow = { open: 0, started: 0, succeeded: 0, failed: 0, cancelled: 0, nodes: new Map() }
      if (this.#flows.size < mostNames) this.#flows.set(name, flow)
    }
    return flow
  }

  #node(flow: Flow, name: string): LiveNode {
    let node = flow.nodes.get(name)
    if (node === undefined) {
      node = newNode()
      if (this.#names < mostNames) {
        this.#names++
        flow.nodes.set(name, node)
      }
    }
    return node
  }

  #count(event: FlowEvent): void {
    const flow = this.#flow(event.flow)
    const key = `${event.flow}\0${event.traceId}`
    switch (event._tag) {
      case "TraceStarted": {
        flow.started++
        // The end of an earlier run of this id was lost.
        this.#forget(key)
        flow.open++
        this.#open.set(key, {
          flow,
          trace: { flow: event.flow, traceId: event.traceId, at: event.at },
          nodes: new Map()
        })
        if (this.#open.size > mostOpen) {
          for (const oldest of this.#open.keys()) {
            this.#forget(oldest)
            break
          }
        }
        return
      }
      case "TraceSucceeded":
        flow.succeeded++
        return this.#ended(key, event, "succeeded")
      case "TraceFailed":
        flow.failed++
        return this.#ended(key, event, "failed")
      case "TraceCancelled":
        flow.cancelled++
        return this.#ended(key, event, "cancelled")
      default:
        return this.#ofNode(event, flow, this.#open.get(key))
    }
  }

  #ofNode(
    event: Exclude<FlowEvent, { readonly _tag: `Trace${string}` }>,
    flow: Flow,
    open: Open | undefined
  ): void {
    const node = this.#node(flow, event.node)
    const { at, traceId } = event
    switch (event._tag) {
      case "NodeStarted":
        if (open === undefined) return
        if (event.attempt > 1) this.#move(open, event.node, node, "retrying", -1)
        return this.#move(open, event.node, node, "running", 1)
      case "NodeSucceeded":
        node.succeeded++
        return this.#move(open, event.node, node, "running", -1)
      case "NodeErrored":
        node.errored++
        node.lastError = { ...event.error, traceId, at } as LiveNode["lastError"] & object
        return this.#move(open, event.node, node, "running", -1)
      case "NodeTimedOut":
        node.timedOut++
        node.lastError = { tag: "NodeTimedOut", code: "NODE_TIMEOUT", message: timedOut(event.timeoutMs), traceId, at }
        return this.#move(open, event.node, node, "running", -1)
      case "NodeInterrupted":
        return this.#move(open, event.node, node, "running", -1)
      case "NodeRetried":
        return this.#move(open, event.node, node, "retrying", 1)
      case "NodeFailed":
        node.failed++
        node.lastError = { ...event.error, traceId, at } as LiveNode["lastError"] & object
    }
  }

  #move(open: Open | undefined, name: string, node: LiveNode, what: "running" | "retrying", by: 1 | -1): void {
    if (open === undefined) return
    let counts = open.nodes.get(name)
    if (counts === undefined) open.nodes.set(name, counts = { running: 0, retrying: 0 })
    if (counts[what] + by < 0) return
    counts[what] += by
    node[what] += by
  }

  #forget(key: string): void {
    const open = this.#open.get(key)
    if (open === undefined) return
    this.#open.delete(key)
    open.flow.open--
    for (const [name, { retrying, running }] of open.nodes) {
      const node = open.flow.nodes.get(name)
      if (node === undefined) continue
      node.running -= running
      node.retrying -= retrying
    }
  }

  #ended(
    key: string,
    event: FlowEvent & { readonly _tag: "TraceSucceeded" | "TraceFailed" | "TraceCancelled" },
    status: RecentTrace["status"]
  ): void {
    this.#forget(key)
    const { at, durationMs, flow, node, traceId } = event
    this.#recent.push({
      flow,
      traceId,
      status,
      at,
      durationMs,
      ...(node === undefined ? {} : { node }),
      ...(event._tag === "TraceFailed" ? { error: event.error as RecentTrace["error"] & object } : {})
    })
    if (this.#recent.length > mostRecent) this.#recent = this.#recent.slice(-mostRecent)
  }
}

const timedOut = (timeoutMs: number): string => `An attempt took longer than ${timeoutMs} ms`
