/**
 * Where events go out: noted only while somebody listens, into the bounded buffers of those who do. A reader that is slow
 * loses events and slows nothing.
 */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Scheduler from "effect/Scheduler"
import * as Tracer from "effect/Tracer"
import type { FlowErrorReason } from "../FlowError.ts"
import type { ErrorInfo } from "../FlowEvent.ts"
import { type Kind, kinds, Subscription, unknownTime } from "./subscription.ts"
import { errorInfo } from "./text.ts"
import type { Trace } from "./trace.ts"

/** A visit that began before anybody watched has no known beginning. */
const since = (startedAt: number, at: number): number => startedAt === unknownTime ? 0 : at - startedAt

/** The events of one runtime. */
export class Hub {
  readonly #flow: string
  readonly #clock: Clock.Clock
  readonly #makeDispatcher: () => Scheduler.SchedulerDispatcher
  #dispatcher: Scheduler.SchedulerDispatcher | undefined
  #subscriptions: Array<Subscription> = []
  #closed = false
  /** Whether anybody watches: asked before anything is noted. */
  listening = false

  constructor(flow: string, clock: Clock.Clock, makeDispatcher: () => Scheduler.SchedulerDispatcher) {
    this.#flow = flow
    this.#clock = clock
    this.#makeDispatcher = makeDispatcher
  }

  subscribe(capacity: number): Subscription {
    const dispatcher = this.#dispatcher ??= this.#makeDispatcher()
    const subscription = new Subscription(
      this.#flow,
      this.now,
      capacity,
      (wake) => dispatcher.scheduleTask(wake, 0)
    )
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

  #note(
    kind: Kind,
    trace: Trace,
    node: string | undefined,
    attempt: number | undefined,
    at: number,
    durationMs: number | undefined,
    more: unknown
  ): void {
    const subscriptions = this.#subscriptions
    const { traceId } = trace
    for (let i = 0; i < subscriptions.length; i++) {
      subscriptions[i]!.note(kind, traceId, node, attempt, at, durationMs, more)
    }
  }

  traceStarted(trace: Trace, at: number): void {
    const { tenant } = trace.headers
    const span = Context.getOrUndefined(trace.context, Tracer.ParentSpan)
    // An object only where there is a span: a trace that is watched and has none allocates nothing.
    const more = span === undefined ? tenant : { tenant, span }
    const waitedMs = since(trace.queuedAt, at)
    this.#note(kinds.TraceStarted, trace, undefined, undefined, at, waitedMs === 0 ? undefined : waitedMs, more)
  }

  nodeStarted(trace: Trace, node: string, attempt: number, at: number): void {
    this.#note(kinds.NodeStarted, trace, node, attempt, at, undefined, undefined)
  }

  /** Gives the time, for whoever begins at the same instant. */
  nodeSucceeded(trace: Trace, node: string, attempt: number, startedAt: number): number {
    const at = this.now
    this.#note(kinds.NodeSucceeded, trace, node, attempt, at, since(startedAt, at), undefined)
    return at
  }

  nodeErrored(trace: Trace, node: string, attempt: number, startedAt: number, error: unknown): void {
    if (!this.listening) return
    const at = this.now
    this.#note(kinds.NodeErrored, trace, node, attempt, at, since(startedAt, at), errorInfo(error))
  }

  nodeTimedOut(trace: Trace, node: string, attempt: number, startedAt: number, timeoutMs: number): void {
    if (!this.listening) return
    const at = this.now
    this.#note(kinds.NodeTimedOut, trace, node, attempt, at, since(startedAt, at), timeoutMs)
  }

  nodeRetried(trace: Trace, node: string, attempt: number, delayMs: number): void {
    if (this.listening) this.#note(kinds.NodeRetried, trace, node, attempt, this.now, undefined, delayMs)
  }

  nodeFailed(trace: Trace, node: string, attempt: number, error: unknown): void {
    if (this.listening) this.#note(kinds.NodeFailed, trace, node, attempt, this.now, undefined, errorInfo(error))
  }

  nodeInterrupted(trace: Trace, node: string, attempt: number, startedAt: number): void {
    if (!this.listening) return
    const at = this.now
    this.#note(kinds.NodeInterrupted, trace, node, attempt, at, since(startedAt, at), undefined)
  }

  nodeCompensated(
    trace: Trace,
    node: string,
    attempt: number,
    startedAt: number,
    error: ErrorInfo | undefined
  ): void {
    if (!this.listening) return
    const at = this.now
    this.#note(kinds.NodeCompensated, trace, node, attempt, at, since(startedAt, at), error)
  }

  nodeStuck(trace: Trace, node: string, attempt: number): void {
    if (this.listening) this.#note(kinds.NodeStuck, trace, node, attempt, this.now, undefined, undefined)
  }

  partEmitted(trace: Trace, node: string, attempt: number, seq: number): void {
    this.#note(kinds.PartEmitted, trace, node, attempt, this.now, undefined, seq)
  }

  /** `at` where the last node's end told the time already. */
  traceSucceeded(trace: Trace, results: number, at: number = this.now): void {
    this.#note(kinds.TraceSucceeded, trace, undefined, undefined, at, since(trace.startedAt, at), results)
  }

  traceEnded(trace: Trace, error: unknown, reason: FlowErrorReason | undefined): void {
    const at = this.now
    const durationMs = since(trace.startedAt, at)
    if (reason?._tag === "TraceCancelled") {
      this.#note(kinds.TraceCancelled, trace, undefined, undefined, at, durationMs, reason.reason)
    } else {
      const { attempt, node } = trace.failedAt ?? { attempt: undefined, node: undefined }
      this.#note(kinds.TraceFailed, trace, node, attempt, at, durationMs, errorInfo(error))
    }
  }
}
