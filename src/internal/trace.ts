/** One trace, while it lives: what the runtime knows of a message, from acceptance to outcome. */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { FlowError, type FlowErrorReason } from "../FlowError.ts"
import type { Item } from "../FlowRuntime.ts"
import type { FailedAt, Headers, Meta, TraceInfo } from "../Trace.ts"
import type { AttemptScope } from "./attemptScope.ts"
import type { Finished } from "./compensate.ts"
import { Frame } from "./frame.ts"
import { isDeep } from "./nesting.ts"
import type { Step } from "./plan.ts"
import { unknownTime } from "./subscription.ts"
import type { Supervisor } from "./supervisor.ts"
import type { Walk } from "./walk.ts"

/**
 * The service value behind `Trace.CurrentTrace`: what is known of a trace, and, for the engine alone, the trace. The
 * engine itself asks the trace, so that a node that writes here deceives nobody but its readers.
 */
export class Info implements TraceInfo {
  readonly traceId: string
  readonly flow: string
  readonly headers: Headers
  meta: Meta
  readonly deadline: number | undefined
  #trace: Trace | undefined

  constructor(traceId: string, flow: string, headers: Headers, meta: Meta, deadline: number | undefined) {
    this.traceId = traceId
    this.flow = flow
    this.headers = headers
    this.meta = meta
    this.deadline = deadline
  }

  /** The trace behind the service in a caller's context. */
  static traceOf(info: unknown): Trace | undefined {
    return typeof info === "object" && info !== null && #trace in info ? info.#trace : undefined
  }

  static bind(info: Info, trace: Trace | undefined): void {
    info.#trace = trace
  }
}

/** Who takes what a streamed trace gives. */
export type Sink = Queue.Queue<Item<unknown, unknown>, unknown>

/**
 * Where a trace is: `Waiting` for admission; `Running`; `Stopping` once somebody asked it to end; `Ending` while what it
 * acquired is released and what it did is undone; `Done` with its one outcome. The supervisor makes each transition.
 */
export type State =
  | { readonly _tag: "Waiting" }
  | { readonly _tag: "Running" }
  | { readonly _tag: "Stopping"; readonly reason: FlowErrorReason }
  | { readonly _tag: "Ending"; readonly exit: TraceExit; readonly reason: FlowErrorReason | undefined }
  | { readonly _tag: "Done"; readonly exit: TraceExit }

export type TraceExit = Exit.Exit<ReadonlyArray<unknown>, unknown>

export const waiting: State = { _tag: "Waiting" }
export const running: State = { _tag: "Running" }

export class Trace {
  readonly supervisor: Supervisor
  readonly info: Info
  readonly traceId: string
  readonly headers: Headers
  /** Milliseconds since the epoch. */
  readonly deadline: number | undefined
  meta: Meta
  readonly frame: Frame
  readonly input: unknown
  state: State = waiting
  readonly context: Context.Context<never>
  /** The trace of the same or another runtime that this one runs inside. */
  parent: Trace | undefined
  /** How many traces it runs inside. */
  readonly depth: number
  /** Whether its outcome is fetched, or returned to its caller. */
  readonly emitted: boolean
  /** The first branch, while the trace runs. */
  root: Walk | undefined
  /** Undefined until the trace does something that takes time. */
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  deadlineTimer: Fiber.Fiber<unknown> | undefined
  graceTimer: Fiber.Fiber<unknown> | undefined
  /** Whether it takes one of the runtime's places: not if it runs inside another trace of the same runtime. */
  admitted = false
  /** Whether it has begun: accepted, for one that was emitted. */
  taken = false
  startedAt: number = unknownTime
  /** Since when it waits for a place, where it has to and somebody watches. */
  queuedAt: number = unknownTime
  failedAt: FailedAt | undefined
  /** The branches that run in fibers of their own: who is named when one is stuck. */
  walks: Set<Walk> | undefined
  finished: Array<Finished> | undefined
  /** The run that is being undone. */
  undoing: Finished | undefined
  /** Scopes of attempts that failed or were interrupted, to be closed before the outcome. */
  scopes: Array<Scope.Closeable> | undefined
  sink: Sink | undefined
  #seq = 0
  /** Who waits for room in the stream, in order. */
  #senders = 0
  #sending: Semaphore.Semaphore | undefined
  #onDone: Array<(exit: TraceExit) => void> | undefined
  /** Called once it no longer waits for admission. */
  onAdmitted: (() => void) | undefined

  constructor(
    supervisor: Supervisor,
    info: Info,
    input: unknown,
    context: Context.Context<never>,
    parent: Trace | undefined,
    emitted: boolean
  ) {
    this.supervisor = supervisor
    this.info = info
    this.traceId = info.traceId
    this.headers = info.headers
    this.deadline = info.deadline
    this.meta = info.meta
    this.frame = new Frame(supervisor.plan, undefined)
    this.input = input
    this.context = context
    this.parent = parent
    this.depth = parent === undefined ? 0 : parent.depth + 1
    this.emitted = emitted
    Info.bind(info, this)
  }

  fail(reason: FlowErrorReason, message: string, node?: string, attempt?: number, cause?: unknown): FlowError {
    return new FlowError({
      flow: this.supervisor.plan.name,
      traceId: this.traceId,
      node,
      attempt,
      reason,
      message,
      cause
    })
  }

  get done(): boolean {
    return this.state._tag === "Done"
  }

  /** Calls back once the outcome stands; at once if it does. */
  whenDone(listener: (exit: TraceExit) => void): void {
    if (this.state._tag === "Done") listener(this.state.exit)
    else (this.#onDone ??= []).push(listener)
  }

  /** Waits for the outcome. */
  get end(): Effect.Effect<void> {
    return this.done
      ? Effect.void
      : Effect.callback<void>((resume) => {
        const listener = () => resume(Effect.void)
        this.whenDone(listener)
        return Effect.sync(() => this.forget(listener))
      })
  }

  forget(listener: (exit: TraceExit) => void): void {
    const at = this.#onDone?.indexOf(listener) ?? -1
    if (at >= 0) this.#onDone?.splice(at, 1)
  }

  /** Whether its start and its end wait for a fresh stack: every so many traces that run inside one another. */
  get nests(): boolean {
    return isDeep(this.depth)
  }

  /** The nodes at work, in the whole trace or within one visit: whoever is told as stuck. */
  atWork(visit: Walk | undefined): ReadonlyArray<Walk> {
    const outer = visit ?? this.root
    const all = outer === undefined ? [...this.walks ?? []] : [outer, ...this.walks ?? []]
    const working = all
      .filter((walk) => walk === outer || visit === undefined || walk.frame.isWithin(visit))
      .map((walk) => walk.deepest)
      .filter((walk) => walk.isWorking)
    return working.length > 0 || outer === undefined ? working : [outer]
  }

  /** What only an open trace needs: a chain of messages that send the next holds no more than its last. */
  letGo(): void {
    this.parent = undefined
    this.root = undefined
    this.walks = undefined
    Info.bind(this.info, undefined)
  }

  /** Tells whoever waits. */
  tell(exit: TraceExit): void {
    this.onAdmitted?.()
    const listeners = this.#onDone
    this.#onDone = undefined
    if (listeners !== undefined) { for (const listener of listeners) listener(exit) }
  }

  annotate(added: Meta): void {
    this.meta = { ...this.meta, ...added }
    this.info.meta = this.meta
  }

  sendPart(step: Step, attempt: number, part: unknown): Effect.Effect<void> {
    return this.sendParts(step, attempt, [part])
  }

  /** Hands parts to whoever streams this trace, and waits while they are slow. After the trace's end: nothing. */
  sendParts(step: Step, attempt: number, parts: ReadonlyArray<unknown>): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.done) return Effect.void
      const bad = step.part === undefined ? -1 : parts.findIndex((part) => !step.part!.is(part))
      if (bad >= 0) {
        return Effect.die(new TypeError(`node "${step.name}" emits a part: ${step.part!.explain(parts[bad])}`))
      }
      const { sink } = this
      if (sink === undefined) {
        for (const _ of parts) this.#number(step, attempt)
        return Effect.void
      }
      // Numbered in the order in which the stream gets them: nobody overtakes one that waits.
      let sent = 0
      if (this.#senders === 0) {
        while (sent < parts.length && !Queue.isFullUnsafe(sink)) {
          if (!Queue.offerUnsafe(sink, this.#itemOf(step, attempt, parts[sent++]))) return Effect.void
        }
      }
      return sent === parts.length ? Effect.void : this.#waitAndSend(sink, step, attempt, parts.slice(sent))
    })
  }

  #waitAndSend(sink: Sink, step: Step, attempt: number, parts: ReadonlyArray<unknown>): Effect.Effect<void> {
    this.#senders++
    const sending = this.#sending ??= Semaphore.makeUnsafe(1)
    const send = Effect.forEach(
      parts,
      (part) => Effect.suspend(() => Queue.offer(sink, this.#itemOf(step, attempt, part))),
      { discard: true }
    )
    return Effect.ensuring(
      sending.withPermits(1)(send),
      Effect.sync(() => {
        this.#senders--
      })
    )
  }

  #itemOf(step: Step, attempt: number, value: unknown): Item<unknown, unknown> {
    return { _tag: "Part", node: step.name, attempt, seq: this.#number(step, attempt), value }
  }

  #number(step: Step, attempt: number): number {
    const seq = this.#seq++
    const { hub } = this.supervisor
    if (hub.listening) hub.partEmitted(this, step.name, attempt, seq)
    return seq
  }

  sendResult(step: Step, value: unknown): Effect.Effect<void> {
    return this.sink === undefined
      ? Effect.void
      : Effect.asVoid(Queue.offer(this.sink, { _tag: "Result", node: step.name, value }))
  }

  /** A fiber of this trace ended badly: what its attempt acquired is released before the outcome. */
  leave(scope: AttemptScope): void {
    if (scope.used) (this.scopes ??= []).push(scope.scope)
  }
}

/** What a cause says to those who look at values: the first typed error, else the defect, else the interruption. */
export const failureOf = (cause: Cause.Cause<unknown>): { readonly error: unknown } | { readonly defect: unknown } => {
  let died: Cause.Die | undefined
  for (const reason of cause.reasons) {
    if (Cause.isFailReason(reason)) return { error: reason.error }
    if (Cause.isDieReason(reason)) died ??= reason
  }
  return { defect: died === undefined ? new Error("the node was interrupted from within") : died.defect }
}
