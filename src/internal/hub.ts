/**
 * Where events go out: built only while somebody listens, into bounded buffers that their readers empty in batches. A
 * reader that is slow loses events and slows nothing.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scheduler from "effect/Scheduler"
import type { FlowErrorReason } from "../FlowError.ts"
import type { FlowEvent } from "../FlowEvent.ts"
import { errorInfo } from "./text.ts"
import type { Trace } from "./trace.ts"

/** How many events wait for a reader at most, unless it says otherwise. */
export const defaultCapacity = 16_384

/** One reader's buffer. */
export class Subscription {
  readonly capacity: number
  readonly #schedule: (wake: () => void) => void
  #events: Array<FlowEvent> = []
  #lost = 0
  #closed = false
  #reader: (() => void) | undefined
  #woken = false

  constructor(capacity: number, schedule: (wake: () => void) => void) {
    this.capacity = capacity
    this.#schedule = schedule
  }

  push(event: FlowEvent): void {
    if (this.#events.length >= this.capacity) this.#lost++
    else this.#events.push(event)
    this.#wake()
  }

  /** The reader runs later, never inside the step of a trace that woke it. */
  #wake(): void {
    if (this.#reader === undefined || this.#woken) return
    this.#woken = true
    this.#schedule(() => {
      this.#woken = false
      const reader = this.#reader
      this.#reader = undefined
      reader?.()
    })
  }

  close(): void {
    this.#closed = true
    this.#wake()
  }

  get lost(): number {
    return this.#lost
  }

  /** What was lost since the last time. */
  takeLost(): number {
    const lost = this.#lost
    this.#lost = 0
    return lost
  }

  /** All that waits; waits for the first. Undefined once the hub is closed and empty. */
  readonly take: Effect.Effect<ReadonlyArray<FlowEvent> | undefined> = Effect.suspend(() => {
    if (this.#events.length > 0 || this.#closed) return Effect.succeed(this.#drain())
    return Effect.callback<ReadonlyArray<FlowEvent> | undefined>((resume) => {
      const reader = () => resume(Effect.sync(() => this.#drain()))
      this.#reader = reader
      return Effect.sync(() => {
        if (this.#reader === reader) this.#reader = undefined
      })
    })
  })

  #drain(): ReadonlyArray<FlowEvent> | undefined {
    if (this.#events.length === 0) return this.#closed ? undefined : []
    const events = this.#events
    this.#events = []
    return events
  }
}

/** A visit that began before anybody watched has no known beginning. */
const since = (startedAt: number, at: number): number => startedAt === 0 ? 0 : at - startedAt

/** The events of one runtime. */
export class Hub {
  readonly #clock: Clock.Clock
  readonly #makeDispatcher: () => Scheduler.SchedulerDispatcher
  #dispatcher: Scheduler.SchedulerDispatcher | undefined
  #subscriptions: Array<Subscription> = []
  #closed = false
  /** Whether anybody watches: asked before an event is built. */
  listening = false

  constructor(clock: Clock.Clock, makeDispatcher: () => Scheduler.SchedulerDispatcher) {
    this.#clock = clock
    this.#makeDispatcher = makeDispatcher
  }

  subscribe(capacity: number): Subscription {
    const dispatcher = this.#dispatcher ??= this.#makeDispatcher()
    const subscription = new Subscription(capacity, (wake) => dispatcher.scheduleTask(wake, 0))
    if (this.#closed) subscription.close()
    else {
      this.#subscriptions.push(subscription)
      this.listening = true
    }
    return subscription
  }

  unsubscribe(subscription: Subscription): void {
    this.#subscriptions = this.#subscriptions.filter((other) => other !== subscription)
    this.listening = this.#subscriptions.length > 0
  }

  /** Readers get what they have not read yet, then the end. */
  close(): void {
    this.#closed = true
    this.listening = false
    for (const subscription of this.#subscriptions) subscription.close()
    this.#subscriptions = []
  }

  get now(): number {
    return this.#clock.currentTimeMillisUnsafe()
  }

  #publish(event: FlowEvent): void {
    const subscriptions = this.#subscriptions
    for (let i = 0; i < subscriptions.length; i++) subscriptions[i]!.push(event)
  }

  traceStarted(trace: Trace, at: number): void {
    const { flow, headers, traceId } = trace.info
    this.#publish({
      _tag: "TraceStarted",
      flow,
      traceId,
      node: undefined,
      attempt: undefined,
      at,
      durationMs: undefined,
      tenant: headers.tenant
    })
  }

  nodeStarted(trace: Trace, node: string, attempt: number, at: number): void {
    const { flow, traceId } = trace.info
    this.#publish({ _tag: "NodeStarted", flow, traceId, node, attempt, at, durationMs: undefined })
  }

  nodeSucceeded(trace: Trace, node: string, attempt: number, startedAt: number): number {
    const { flow, traceId } = trace.info
    const at = this.now
    this.#publish({ _tag: "NodeSucceeded", flow, traceId, node, attempt, at, durationMs: since(startedAt, at) })
    return at
  }

  nodeErrored(trace: Trace, node: string, attempt: number, startedAt: number, error: unknown): void {
    if (!this.listening) return
    const { flow, traceId } = trace.info
    const at = this.now
    this.#publish({
      _tag: "NodeErrored",
      flow,
      traceId,
      node,
      attempt,
      at,
      durationMs: since(startedAt, at),
      error: errorInfo(error)
    })
  }

  nodeTimedOut(trace: Trace, node: string, attempt: number, startedAt: number, timeoutMs: number): void {
    if (!this.listening) return
    const { flow, traceId } = trace.info
    const at = this.now
    this.#publish({
      _tag: "NodeTimedOut",
      flow,
      traceId,
      node,
      attempt,
      at,
      durationMs: since(startedAt, at),
      timeoutMs
    })
  }

  nodeRetried(trace: Trace, node: string, attempt: number, delayMs: number): void {
    if (!this.listening) return
    const { flow, traceId } = trace.info
    this.#publish({ _tag: "NodeRetried", flow, traceId, node, attempt, at: this.now, durationMs: undefined, delayMs })
  }

  nodeFailed(trace: Trace, node: string, attempt: number, error: unknown): void {
    if (!this.listening) return
    const { flow, traceId } = trace.info
    this.#publish({
      _tag: "NodeFailed",
      flow,
      traceId,
      node,
      attempt,
      at: this.now,
      durationMs: undefined,
      error: errorInfo(error)
    })
  }

  nodeInterrupted(trace: Trace, node: string, attempt: number, startedAt: number): void {
    if (!this.listening) return
    const { flow, traceId } = trace.info
    const at = this.now
    this.#publish({ _tag: "NodeInterrupted", flow, traceId, node, attempt, at, durationMs: since(startedAt, at) })
  }

  nodeCompensated(trace: Trace, node: string, attempt: number, startedAt: number, defect: unknown): void {
    if (!this.listening) return
    const { flow, traceId } = trace.info
    const at = this.now
    this.#publish({
      _tag: "NodeCompensated",
      flow,
      traceId,
      node,
      attempt,
      at,
      durationMs: since(startedAt, at),
      error: defect === undefined ? undefined : errorInfo(defect)
    })
  }

  nodeStuck(trace: Trace, node: string, attempt: number): void {
    if (!this.listening) return
    const { flow, traceId } = trace.info
    this.#publish({ _tag: "NodeStuck", flow, traceId, node, attempt, at: this.now, durationMs: undefined })
  }

  partEmitted(trace: Trace, node: string, attempt: number, seq: number): void {
    const { flow, traceId } = trace.info
    this.#publish({ _tag: "PartEmitted", flow, traceId, node, attempt, at: this.now, durationMs: undefined, seq })
  }

  traceSucceeded(trace: Trace, results: number): void {
    if (!this.listening) return
    const { flow, traceId } = trace.info
    const at = this.now
    this.#publish({
      _tag: "TraceSucceeded",
      flow,
      traceId,
      node: undefined,
      attempt: undefined,
      at,
      durationMs: at - trace.startedAt,
      results
    })
  }

  traceEnded(trace: Trace, error: unknown, reason: FlowErrorReason | undefined): void {
    if (!this.listening) return
    const { flow, traceId } = trace.info
    const at = this.now
    const durationMs = at - trace.startedAt
    if (reason?._tag === "TraceCancelled") {
      this.#publish({
        _tag: "TraceCancelled",
        flow,
        traceId,
        node: undefined,
        attempt: undefined,
        at,
        durationMs,
        reason: reason.reason
      })
    } else {
      this.#publish({
        _tag: "TraceFailed",
        flow,
        traceId,
        node: trace.failedAt?.node,
        attempt: trace.failedAt?.attempt,
        at,
        durationMs,
        error: errorInfo(error)
      })
    }
  }
}
