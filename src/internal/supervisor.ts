/**
 * The supervisor: takes messages, starts a trace for each while there is room, knows them by their ids, and turns every
 * end into exactly one outcome.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Semaphore from "effect/Semaphore"
import { FlowError, type FlowErrorReason } from "../FlowError.ts"
import type { FlowObserver } from "../FlowObserver.ts"
import type { Options, RunOptions } from "../FlowRuntime.ts"
import { CurrentTrace, FailedAtNote } from "../Trace.ts"
import { AttemptScope } from "./attemptScope.ts"
import { closeScopes, compensate } from "./compensate.ts"
import { answered, type AnyEffect } from "./effects.ts"
import { Hub } from "./hub.ts"
import { joinIncomplete } from "./inner.ts"
import { Intake } from "./intake.ts"
import { onFreshStack } from "./nesting.ts"
import { Outcomes } from "./outcomes.ts"
import type { Plan, Step } from "./plan.ts"
import { Provided } from "./provided.ts"
import { defaultCapacity, unknownTime } from "./subscription.ts"
import { messageOf } from "./text.ts"
import { failureOf, Info, running, type Trace, type TraceExit } from "./trace.ts"
import { enterPlan, Walk } from "./walk.ts"
import { watch } from "./watch.ts"
import * as Way from "./way.ts"

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** What became of the open traces. */
interface Drained {
  readonly drained: number
  readonly interrupted: ReadonlyArray<string>
}

const shuttingDown: FlowErrorReason = { _tag: "ShuttingDown" }

export class Supervisor {
  readonly plan: Plan
  readonly clock: Clock.Clock
  readonly hub: Hub
  /** Milliseconds that a node may resist interruption. */
  readonly grace: number
  readonly #context: Context.Context<never>
  readonly #maxInFlight: number
  /** `Open` takes messages; `Draining` lets the open ones end; `Closed` has none left. */
  #state: "Open" | "Draining" | "Closed" = "Open"
  readonly #traces = new Map<string, Trace>()
  readonly #waiting = new Set<Trace>()
  readonly #intake: Intake
  readonly outcomes: Outcomes
  #inFlight = 0
  #admitting = false
  #permits: Array<Semaphore.Semaphore | undefined> | undefined
  #onEmpty: (() => void) | undefined
  #shutdown: Fiber.Fiber<Drained> | undefined
  #hurry: (() => void) | undefined
  #provided: Provided | undefined
  #observers: ReadonlyArray<AnyFiber> = []

  constructor(plan: Plan, context: Context.Context<never>, options: Options) {
    this.plan = plan
    this.#context = context
    this.#intake = new Intake(this, context)
    this.clock = Context.get(context, Clock.Clock)
    this.hub = new Hub(plan.name, this.clock, () => Context.get(context, Scheduler.Scheduler).makeDispatcher())
    this.outcomes = new Outcomes(plan.name, this.clock, () => this.#release())
    this.#maxInFlight = options.maxInFlight ?? 64
    this.grace = options.interruptGrace === undefined
      ? 5000
      : Duration.toMillis(Duration.fromInputUnsafe(options.interruptGrace))
  }

  get open(): number {
    return this.#traces.size
  }

  isOpen(traceId: string): boolean {
    return this.#traces.has(traceId)
  }

  find(traceId: string): Trace | undefined {
    return this.#traces.get(traceId)
  }

  // ---------------------------------------------------------------- taking messages

  accept(input: unknown, options: RunOptions | undefined, caller: AnyFiber, emitted: boolean): Trace | FlowError {
    const outer = Info.traceOf(Context.getOrUndefined(caller.context, CurrentTrace))
    const parent = outer?.done === true ? undefined : outer
    const trace = this.#intake.take(input, options, caller, parent, emitted)
    if (trace instanceof FlowError) return trace
    this.#traces.set(trace.traceId, trace)
    if (emitted) this.outcomes.expect()
    return trace
  }

  /** Once it shuts down, only for the sake of traces that are open. */
  takesFrom(parent: Trace | undefined): boolean {
    return this.#state === "Open" || this.#isInside(parent)
  }

  /** Starts a trace if there is room for it, else lets it wait. */
  admit(trace: Trace): void {
    // Inside a trace of this runtime a run shares that trace's place: it can't wait for itself.
    if (!trace.emitted && this.#isInside(trace.parent)) return this.#start(trace)
    // An emit waits there as well, unless it would wait for nobody but the traces that it comes from.
    if (this.#inFlight < this.#maxInFlight || this.#inFlight <= this.#placesAround(trace)) {
      this.#take(trace)
      this.#start(trace)
    } else {
      if (this.hub.listening) trace.queuedAt = this.clock.currentTimeMillisUnsafe()
      this.#waiting.add(trace)
      this.#armDeadline(trace)
    }
  }

  /** How many places of this runtime the traces hold that a message comes from. */
  #placesAround(trace: Trace): number {
    let places = 0
    for (let outer = trace.parent; outer !== undefined; outer = outer.parent) {
      if (outer.supervisor === this && outer.admitted && !outer.done) places++
    }
    return places
  }

  /** Whether a trace of this runtime, still open, is what a message comes from. */
  #isInside(parent: Trace | undefined): boolean {
    for (let outer = parent; outer !== undefined; outer = outer.parent) {
      if (outer.supervisor === this && !outer.done) return true
    }
    return false
  }

  #take(trace: Trace): void {
    trace.admitted = true
    this.#inFlight++
  }

  /** A place is free: for whoever has waited longest. A loop, so that traces that end at once do not nest. */
  #release(): void {
    this.#inFlight--
    if (this.#admitting) return
    this.#admitting = true
    while (this.#waiting.size > 0 && this.#inFlight < this.#maxInFlight) {
      const [next] = this.#waiting
      this.#waiting.delete(next!)
      this.#take(next!)
      this.#start(next!)
    }
    this.#admitting = false
  }

  // ---------------------------------------------------------------- running traces

  /** Whatever happens in a first step, the trace gets its outcome. */
  #start(trace: Trace): void {
    trace.state = running
    trace.taken = true
    try {
      this.#begin(trace)
    } catch (defect) {
      this.#finish(trace, Exit.die(defect))
    }
  }

  #begin(trace: Trace): void {
    if (trace.emitted || this.hub.listening) trace.startedAt = this.clock.currentTimeMillisUnsafe()
    if (trace.deadline !== undefined && this.pastDeadline(trace)) return this.#finish(trace, Exit.interrupt())
    if (this.hub.listening) this.hub.traceStarted(trace, trace.startedAt)
    const scope = new AttemptScope()
    const entered = enterPlan(trace, trace.frame, this.plan, trace.input, scope, Way.start.a, Way.start.b, 0)
    if (!(entered instanceof Walk)) return this.#fork(trace, scope, entered(undefined))
    trace.root = entered
    if (trace.nests) return this.#fork(trace, scope, onFreshStack(true, entered.effect))
    const todo = entered.begin()
    if (todo === undefined) this.#finish(trace, Exit.void)
    else if (answered(todo) && todo._tag === "Failure") this.#finish(trace, todo)
    else this.#fork(trace, scope, entered.effect)
  }

  #fork(trace: Trace, scope: AttemptScope, effect: AnyEffect): void {
    const context = scope.within(Context.add(trace.context, CurrentTrace, trace.info))
    const fiber = Effect.runForkWith(context)(effect)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.#finish(trace, exit)
    trace.fiber = fiber
    fiber.addObserver((end) => this.#finish(trace, end))
    if (trace.state._tag === "Stopping") this.#interrupt(trace)
    else this.#armDeadline(trace)
    trace.onAdmitted?.()
  }

  #armDeadline(trace: Trace): void {
    const { deadline } = trace
    if (deadline === undefined || trace.deadlineTimer !== undefined) return
    const left = Math.max(0, deadline - this.clock.currentTimeMillisUnsafe())
    trace.deadlineTimer = Effect.runForkWith(trace.context)(
      Effect.andThen(this.clock.sleep(Duration.millis(left)), Effect.sync(() => this.#expire(trace)))
    )
  }

  #expire(trace: Trace): void {
    this.stop(trace, { _tag: "DeadlineExceeded", deadline: trace.deadline! })
  }

  /** Whether a trace's deadline has passed; if so it is stopped. */
  pastDeadline(trace: Trace): boolean {
    if (this.clock.currentTimeMillisUnsafe() < trace.deadline!) return false
    this.#expire(trace)
    return true
  }

  /** Ends a trace for a reason that is not its own. The first reason counts. */
  stop(trace: Trace, reason: FlowErrorReason): void {
    switch (trace.state._tag) {
      case "Waiting":
        this.#waiting.delete(trace)
        return this.#conclude(trace, Exit.fail(this.#errorFor(trace, reason)), reason)
      case "Running":
        trace.state = { _tag: "Stopping", reason }
        // A trace that has no fiber yet is in its first step, and sees its state after it.
        if (trace.fiber !== undefined) this.#interrupt(trace)
        return
      case "Ending":
        return this.#armGrace(trace)
    }
  }

  #interrupt(trace: Trace): void {
    trace.fiber!.interruptUnsafe()
    if (!trace.done) this.#armGrace(trace)
  }

  #armGrace(trace: Trace): void {
    trace.graceTimer ??= Effect.runForkWith(trace.context)(
      Effect.andThen(this.clock.sleep(Duration.millis(this.grace)), Effect.sync(() => this.#abandon(trace)))
    )
  }

  /** A node, a finalizer or a compensation does not end: the trace goes on without it. */
  #abandon(trace: Trace): void {
    if (trace.done) return
    if (trace.state._tag === "Ending") {
      const { undoing } = trace
      if (undoing !== undefined) this.hub.nodeStuck(trace, undoing.step.name, undoing.attempt)
      return this.#conclude(trace, trace.state.exit, trace.state.reason)
    }
    for (const walk of trace.atWork(undefined)) walk.leftBehind()
    trace.graceTimer = undefined
    this.#finish(trace, Exit.interrupt())
  }

  /** A trace's fiber tree has ended, or is left behind: what was acquired is released, what finished may be undone. */
  #finish(trace: Trace, exit: Exit.Exit<unknown, unknown>): void {
    if (trace.state._tag === "Ending" || trace.state._tag === "Done") return this.#undoLate(trace)
    if (exit._tag === "Failure" && trace.root !== undefined) trace.root.ended(exit.cause, false)
    const reason = trace.state._tag === "Stopping" ? trace.state.reason : undefined
    const final = this.#exitOf(trace, exit, reason)
    const nothingToUndo = trace.scopes === undefined && (trace.finished === undefined || final._tag === "Success")
    if (nothingToUndo) return this.#conclude(trace, final, reason)
    trace.state = { _tag: "Ending", exit: final, reason }
    const ending = Effect.andThen(closeScopes(trace, exit), final._tag === "Success" ? Effect.void : compensate(trace))
    const context = Context.add(trace.context, CurrentTrace, trace.info)
    const fiber = Effect.runForkWith(context)(ending, { uninterruptible: true })
    if (fiber.pollUnsafe() !== undefined) return this.#conclude(trace, final, reason)
    if (reason === undefined) this.#armDeadline(trace)
    else this.#armGrace(trace)
    fiber.addObserver(() => this.#conclude(trace, final, reason))
  }

  /** One that was left behind has ended after all: it has nothing to say any more, but what it finished is undone. */
  #undoLate(trace: Trace): void {
    if (trace.finished === undefined || trace.finished.length === 0) return
    Effect.runForkWith(trace.context)(compensate(trace), { uninterruptible: true })
  }

  #exitOf(
    trace: Trace,
    exit: Exit.Exit<unknown, unknown>,
    reason: FlowErrorReason | undefined
  ): TraceExit {
    if (reason !== undefined) return Exit.fail(this.#errorFor(trace, reason))
    if (exit._tag === "Success") {
      const incomplete = joinIncomplete(trace, trace.frame)
      return incomplete === undefined ? Exit.succeed(trace.frame.values) : Exit.fail(incomplete)
    }
    const { failedAt } = trace
    const failure = failureOf(exit.cause)
    const cause = Cause.fail(
      "error" in failure ? failure.error : this.nodeDied(trace, failedAt?.node, failedAt?.attempt, failure.defect)
    )
    return Exit.failCause(failedAt === undefined ? cause : Cause.annotate(cause, Context.make(FailedAtNote, failedAt)))
  }

  /** What becomes of a defect. */
  nodeDied(trace: Trace, node: string | undefined, attempt: number | undefined, defect: unknown): FlowError {
    const words = messageOf(defect)
    const hint = words.startsWith("Service not found: ") ? ". Provide it by a Layer" : ""
    const message = `Node "${node ?? "?"}" died: ${words}${hint}`
    return trace.fail({ _tag: "NodeDied", defect }, message, node, attempt, defect)
  }

  #errorFor(trace: Trace, reason: FlowErrorReason): FlowError {
    return trace.fail(reason, wordsFor(reason), trace.failedAt?.node, trace.failedAt?.attempt)
  }

  /** The one outcome of a trace. */
  #conclude(trace: Trace, exit: TraceExit, reason: FlowErrorReason | undefined): void {
    if (trace.done) return
    this.#traces.delete(trace.traceId)
    trace.deadlineTimer?.interruptUnsafe()
    trace.graceTimer?.interruptUnsafe()
    if (this.hub.listening) {
      if (exit._tag === "Success") {
        this.hub.traceSucceeded(
          trace,
          exit.value.length,
          trace.root === undefined || trace.root.leftAt === unknownTime ? undefined : trace.root.leftAt
        )
      } else this.hub.traceEnded(trace, errorIn(exit), reason)
    }
    trace.letGo()
    trace.state = { _tag: "Done", exit }
    if (trace.emitted) this.outcomes.deliver(trace, exit)
    else if (trace.admitted) this.#release()
    trace.tell(exit)
    if (this.#traces.size === 0) this.#onEmpty?.()
  }

  // ---------------------------------------------------------------- what steps share

  /** The permits of a step whose policy bounds its concurrency. */
  permits(step: Step): Semaphore.Semaphore | undefined {
    if (step.concurrency === undefined) return undefined
    const all = this.#permits ??= []
    return all[step.id] ??= Semaphore.makeUnsafe(step.concurrency)
  }

  /** The effect with the services that `Node.provide` gave its step. */
  withLayers(step: Step, effect: AnyEffect): AnyEffect {
    return step.layers.length === 0 ? effect : (this.#provided ??= new Provided()).to(step.layers, effect)
  }

  // ---------------------------------------------------------------- observers and the end

  /** Gives each observer its buffer and its fiber. */
  observe(observers: ReadonlyArray<FlowObserver>): void {
    this.#observers = observers.map((observer) => {
      const subscription = this.hub.subscribe(observer.capacity ?? defaultCapacity)
      return Effect.runForkWith(this.#context)(watch(observer, subscription))
    })
  }

  shutdown(grace: number): Effect.Effect<Drained> {
    return Effect.suspend(() => {
      this.#shutdown ??= Effect.runForkWith(this.#context)(this.#drain(grace, this.grace))
      return Fiber.join(this.#shutdown)
    })
  }

  /** Shuts down at once, or hurries a shutdown that waits. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.#hurry?.()
    return Effect.asVoid(this.shutdown(0))
  })

  /** As `close`, but observers that are slow are waited for no longer than so many milliseconds. */
  closeWithin(observersGrace: number): Effect.Effect<void> {
    return Effect.asVoid(this.#drain(0, observersGrace))
  }

  #drain(grace: number, observersGrace: number): Effect.Effect<Drained> {
    return Effect.gen({ self: this }, function*() {
      this.#state = "Draining"
      for (const trace of this.#waiting) this.stop(trace, shuttingDown)
      const open = this.#traces.size
      this.outcomes.drain()
      if (open > 0 && grace > 0) yield* this.#emptyWithin(grace)
      const left = [...this.#traces.values()]
      for (const trace of left) this.stop(trace, shuttingDown)
      yield* Effect.forEach(left, (trace) => trace.end, { discard: true })
      this.#state = "Closed"
      this.outcomes.close()
      this.hub.close()
      if (this.#observers.length > 0) {
        yield* Effect.timeoutOption(Fiber.awaitAll(this.#observers), Duration.millis(observersGrace))
        yield* Effect.forkDetach(Fiber.interruptAll(this.#observers))
      }
      if (this.#provided !== undefined) yield* this.#provided.close
      const interrupted = left.map((trace) => trace.traceId)
      return { drained: open - interrupted.length, interrupted }
    })
  }

  #emptyWithin(grace: number): Effect.Effect<void> {
    const empty = Effect.callback<void>((resume) => {
      if (this.#traces.size === 0) return resume(Effect.void)
      this.#onEmpty = this.#hurry = () => resume(Effect.void)
    })
    return Effect.asVoid(Effect.timeoutOption(empty, Duration.millis(grace)))
  }
}

const errorIn = (exit: Exit.Exit<unknown, unknown>): unknown => {
  if (exit._tag === "Success") return undefined
  const failure = failureOf(exit.cause)
  return "error" in failure ? failure.error : failure.defect
}

/** A time for people; whatever it is, never a throw. */
const instant = (millis: number): string => {
  const date = new Date(millis)
  return Number.isNaN(date.getTime()) ? String(millis) : date.toISOString()
}

const wordsFor = (reason: FlowErrorReason): string => {
  switch (reason._tag) {
    case "TraceCancelled":
      return reason.reason === undefined ? "The trace was cancelled" : `The trace was cancelled: ${reason.reason}`
    case "DeadlineExceeded":
      return `The trace's deadline, ${instant(reason.deadline)}, passed before it had ended`
    case "ShuttingDown":
      return "The runtime shut down before the trace had ended"
    default:
      return reason._tag
  }
}
