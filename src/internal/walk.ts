/**
 * The walk: one branch of a trace, on its way over the plan.
 *
 * A walk is the iterator that a fiber pulls through `Effect.gen`: each `next` takes what the step gave, checks it, goes
 * on to the next step and hands out that step's effect. Steps that answer at once are walked in a loop without the fiber
 * knowing. One successor continues in the same walk; several are branches, each a walk of its own.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { isFlowError } from "../FlowError.ts"
import type { Step as LoopStep } from "../Loop.ts"
import type { AttemptScope } from "./attemptScope.ts"
import { spread } from "./branches.ts"
import type { Finished } from "./compensate.ts"
import { HopContext, VisitContext } from "./context.ts"
import { answered, type AnyEffect } from "./effects.ts"
import type { Frame } from "./frame.ts"
import { guard } from "./guard.ts"
import { visitInner } from "./inner.ts"
import type { Plan, Step, Target } from "./plan.ts"
import { unknownTime } from "./subscription.ts"
import { failureOf, type Trace } from "./trace.ts"
import * as Way from "./way.ts"

const phases = { Entering: 0, Running: 1, Ending: 2, Done: 3 } as const
type Phase = (typeof phases)[keyof typeof phases]
const { Done, Ending, Entering, Running } = phases

/** After so many answers at once the fiber gets a chance to let others run. */
const breath = 1024

export class Walk implements Iterator<AnyEffect, void> {
  readonly trace: Trace
  readonly frame: Frame
  /** How many branches deep: what keeps nested starts from growing the stack. */
  readonly depth: number
  /** Of the fiber that this walk runs in. */
  scope: AttemptScope
  step: Step
  input: unknown
  attempt = 1
  startedAt: number = unknownTime
  a: number
  b: number
  /** Whether the guard has told of the last failure itself. */
  reported = false
  /** A subflow's walk, while this one waits for it in the same fiber. */
  inner: Walk | undefined
  #check: Target["check"]
  #slot: number
  #phase: Phase = Entering
  #hop = 0
  /** What a loop has drawn of its budget. */
  spent = 0
  #remembered = false
  #answers = 0
  /** When the step before ended, which is when this one begins: the clock is read once for both. */
  leftAt: number = unknownTime
  #stashed: AnyEffect | undefined
  readonly #result: { done: boolean; value: AnyEffect } = { done: false, value: Effect.void }

  constructor(
    trace: Trace,
    frame: Frame,
    target: Target,
    input: unknown,
    scope: AttemptScope,
    a: number,
    b: number,
    depth: number
  ) {
    this.trace = trace
    this.frame = frame
    this.depth = depth
    this.scope = scope
    this.step = target.step
    this.input = input
    this.a = Way.mixA(a, target.edge)
    this.b = Way.mixB(b, target.edge)
    this.#check = target.check
    this.#slot = target.slot
  }

  /** Walks as far as it goes at once: undefined where that was the whole way, a failure, or what needs a fiber. */
  begin(): AnyEffect | undefined {
    try {
      const { done, value } = this.next(undefined)
      if (done) return undefined
      if (!answered(value)) this.#stashed = value
      return value
    } catch (defect) {
      return Exit.die(defect)
    }
  }

  /** The walk as what a fiber runs; once. */
  get effect(): AnyEffect {
    return Effect.gen(() => this as unknown as Generator<AnyEffect, void, never>)
  }

  next(value: unknown): IteratorResult<AnyEffect, void> {
    const stashed = this.#stashed
    if (stashed !== undefined) {
      this.#stashed = undefined
      return this.#hand(stashed)
    }
    for (;;) {
      const effect = this.#phase === Entering ? this.#enter() : this.#settle(value)
      if (effect === undefined) {
        if (this.#phase === Done) {
          this.#result.done = true
          return this.#result as unknown as IteratorReturnResult<void>
        }
        continue
      }
      if (!answered(effect)) return this.#hand(effect)
      if (effect._tag === "Failure") return this.#hand(effect)
      value = effect.value
      if ((++this.#answers & (breath - 1)) === 0) return this.#hand(Effect.as(Effect.yieldNow, value))
    }
  }

  #hand(effect: AnyEffect): IteratorResult<AnyEffect, void> {
    this.#result.value = effect
    return this.#result as IteratorYieldResult<AnyEffect>
  }

  /** Begins a visit: what the step's first attempt does. */
  #enter(): AnyEffect {
    const { frame, step, trace } = this
    if (trace.state._tag === "Stopping") return Effect.interrupt
    if (trace.deadline !== undefined && trace.supervisor.pastDeadline(trace)) return Effect.interrupt
    this.#phase = Running
    this.attempt = 1
    this.reported = false
    const { maxHops } = frame.plan
    if (maxHops !== undefined && !frame.count(step, maxHops)) {
      return Exit.fail(trace.fail(
        { _tag: "HopsExhausted", maxHops },
        `Node "${step.name}" was reached ${
          maxHops + 1
        } times by one message, and the flow allows ${maxHops}: raise \`maxHops\`, or let a router leave the cycle`,
        step.name,
        1
      ))
    }
    if (step.join >= 0) return this.#arrive()
    return step.guarded ? guard(this) : this.try()
  }

  /** One attempt, unguarded: the check of the input, then the run. */
  try(): AnyEffect {
    const { step, trace } = this
    const { hub } = trace.supervisor
    if (hub.listening) this.#started()
    else this.startedAt = unknownTime
    const invalid = this.#invalidInput()
    if (invalid !== undefined) return invalid
    const effect = this.#run()
    if (effect === undefined || effect === null) {
      return Exit.die(new TypeError(`node "${step.name}" gave no Effect: its run has to return one`))
    }
    return step.layers.length === 0 ? effect : this.#provided(effect)
  }

  #provided(effect: AnyEffect): AnyEffect {
    const { step, trace } = this
    const provided = trace.supervisor.withLayers(step, effect)
    // The fiber's context is put back as it was when the services were provided; a scope may have been renewed since.
    return step.inner === undefined ?
      provided :
      Effect.flatMap(provided, (value) =>
        Effect.withFiberSucceed((fiber: Fiber.Fiber<unknown, unknown>) => {
          fiber.setContext(this.scope.within(fiber.context))
          return value
        }))
  }

  #invalidInput(): AnyEffect | undefined {
    const { input, step, trace } = this
    if (this.#check === undefined || this.#check.is(input)) return undefined
    const issue = this.#check.explain(input)
    return Exit.fail(trace.fail(
      { _tag: "InvalidInput", issue },
      `Node "${step.name}" was given what its input schema does not accept: ${issue}`,
      step.name,
      this.attempt
    ))
  }

  #run(): AnyEffect {
    const { input, step, trace } = this
    switch (step.kind) {
      case "flow":
      case "each":
        return visitInner(this)
      case "loop":
        return step.run(input, new HopContext(this, this.#hop)) as AnyEffect
      case "router": {
        const decision = step.run(input, new VisitContext(trace, step, this.attempt, this.a, this.b))
        return Effect.isEffect(decision) ? decision as AnyEffect : Exit.succeed(decision)
      }
      default:
        return step.run(input, new VisitContext(trace, step, this.attempt, this.a, this.b)) as AnyEffect
    }
  }

  /** Whether an output fits; a failure where it does not. */
  invalidOutput(value: unknown): AnyEffect | undefined {
    const { step, trace } = this
    if (step.output === undefined || step.output.is(value)) return undefined
    const issue = step.output.explain(value)
    return Exit.fail(trace.fail(
      { _tag: "InvalidOutput", issue },
      `Node "${step.name}" gave what its output schema does not accept: ${issue}`,
      step.name,
      this.attempt
    ))
  }

  /** A step gave a value: where the walk goes on. */
  #settle(value: unknown): AnyEffect | undefined {
    if (this.#phase === Ending) {
      this.#phase = Done
      // Branches, or a reader of results, took time since.
      this.leftAt = unknownTime
      return undefined
    }
    const { step } = this
    if (this.scope.used) {
      this.keep(value)
      return Effect.as(this.scope.renew(Exit.succeed(value)), value)
    }
    switch (step.kind) {
      case "router":
        return this.#route(value)
      case "loop":
        return this.#turn(value as LoopStep<unknown, unknown>)
      case "flow":
        this.#succeeded()
        return this.#goOnWithEach(value as Frame)
      case "join":
      case "collect":
        this.#succeeded()
        return this.#goOn(step.targets, value)
      default: {
        const invalid = this.invalidOutput(value)
        if (invalid !== undefined) return invalid
        this.keep(value)
        this.#remembered = false
        this.#succeeded()
        return this.#goOn(step.targets, value)
      }
    }
  }

  /**
   * Notes a run that can be undone, once: as soon as its value is seen, before its finalizers begin, for they may take
   * time and the trace may be cancelled then.
   */
  keep(output: unknown): void {
    const { step, trace } = this
    if (step.compensate === undefined || this.#remembered || step.output?.is(output) === false) return
    this.#remembered = true
    ;(trace.finished ??= []).push(this.finishedWith(output))
  }

  /** What undoing the present attempt takes. */
  finishedWith(output: unknown): Finished {
    const { attempt, frame, step, trace } = this
    return { frame, step, output, context: new VisitContext(trace, step, attempt, this.a, this.b), attempt }
  }

  #started(): void {
    const { hub } = this.trace.supervisor
    this.startedAt = this.leftAt === unknownTime ? hub.now : this.leftAt
    this.leftAt = unknownTime
    hub.nodeStarted(this.trace, this.step.name, this.attempt, this.startedAt)
  }

  #succeeded(): void {
    const { hub } = this.trace.supervisor
    if (hub.listening) {
      this.leftAt = hub.nodeSucceeded(this.trace, this.step.name, this.attempt, this.startedAt)
    }
  }

  #goOn(targets: ReadonlyArray<Target>, value: unknown): AnyEffect | undefined {
    if (targets.length === 1) {
      const target = targets[0]!
      this.step = target.step
      this.input = value
      this.#check = target.check
      this.#slot = target.slot
      this.a = Way.mixA(this.a, target.edge)
      this.b = Way.mixB(this.b, target.edge)
      this.#phase = Entering
      return undefined
    }
    if (targets.length === 0) {
      const { frame, step, trace } = this
      this.#phase = Done
      if (step.egress < 0) return undefined
      frame.add(step.egress, value, this.a, this.b)
      if (trace.sink === undefined || frame !== trace.frame) return undefined
      this.#phase = Ending
      return trace.sendResult(step, value)
    }
    this.#phase = Ending
    return spread(
      this,
      targets.length,
      (at, scope) => this.#branch(targets[at]!, value, scope, this.a, this.b),
      Infinity
    )
  }

  #branch(target: Target, value: unknown, scope: AttemptScope, a: number, b: number): Walk {
    return new Walk(this.trace, this.frame, target, value, scope, a, b, this.depth + 1)
  }

  /** What a subflow gave goes on, each result by itself, and by the way that it came inside. */
  #goOnWithEach(inner: Frame): AnyEffect | undefined {
    const { targets } = this.step
    const results = inner.results
    if (results.length === 1) return this.#goOn(targets, results[0]!.value)
    if (results.length === 0 || targets.length === 0) {
      this.#phase = Done
      if (targets.length > 0 || this.step.egress < 0) return undefined
      for (const { a, b, value } of results) this.frame.add(this.step.egress, value, a, b)
      if (this.trace.sink === undefined || this.frame !== this.trace.frame || results.length === 0) return undefined
      this.#phase = Ending
      return Effect.forEach(results, ({ value }) => this.trace.sendResult(this.step, value), { discard: true })
    }
    this.#phase = Ending
    const width = targets.length
    return spread(this, results.length * width, (at, scope) => {
      const { a, b, value } = results[Math.floor(at / width)]!
      return this.#branch(targets[at % width]!, value, scope, Way.mixA(this.a, a), Way.mixB(this.b, b))
    }, Infinity)
  }

  #route(decision: unknown): AnyEffect | undefined {
    const { step } = this
    const cases: ReadonlyArray<unknown> = Array.isArray(decision) ? decision : [decision]
    if (!cases.every((name): name is string => typeof name === "string" && step.cases.has(name))) {
      return Exit.die(
        new Error(
          `router "${step.name}" chose a case that it does not have: it has ${[...step.cases.keys()].join(", ")}`
        )
      )
    }
    this.#succeeded()
    if (cases.length === 0) {
      this.#phase = Done
      return undefined
    }
    const targets = cases.length === 1
      ? step.cases.get(cases[0]!)!
      : cases.flatMap((name) => step.cases.get(name)!)
    return this.#goOn(targets, this.input)
  }

  /** A loop's step has answered: done, or once more within what bounds it. */
  #turn(answer: LoopStep<unknown, unknown>): AnyEffect | undefined {
    const { step, trace } = this
    const { budget, maxHops, onExhausted } = step
    if (trace.deadline !== undefined && trace.supervisor.pastDeadline(trace)) return Effect.interrupt
    if (answer._tag === "Done") return this.#leaveLoop(answer.value)
    if (answer._tag !== "Continue") {
      return Exit.die(new Error(`loop "${step.name}" answered neither Loop.again(state) nor Loop.done(value)`))
    }
    const spent = this.spent
    if (budget !== undefined && spent >= budget) {
      return onExhausted !== undefined
        ? this.#leaveLoop(onExhausted(answer.state))
        : Exit.fail(trace.fail(
          { _tag: "BudgetExhausted", budget, spent },
          `Loop "${step.name}" spent ${spent} of its budget of ${budget} and is not done: raise \`budget\`, or answer with \`onExhausted\``,
          step.name,
          this.attempt
        ))
    }
    if (this.#hop + 1 >= maxHops) {
      return onExhausted !== undefined
        ? this.#leaveLoop(onExhausted(answer.state))
        : Exit.fail(trace.fail(
          { _tag: "HopsExhausted", maxHops },
          `Loop "${step.name}" took ${maxHops} hops and is not done: raise \`maxHops\`, or answer with \`onExhausted\``,
          step.name,
          this.attempt
        ))
    }
    this.#succeeded()
    this.#hop++
    this.input = answer.state
    this.#check = step.inputs[0]
    this.attempt = 1
    this.reported = false
    if (trace.state._tag === "Stopping") return Effect.interrupt
    return step.guarded ? guard(this) : this.try()
  }

  #leaveLoop(value: unknown): AnyEffect | undefined {
    const invalid = this.invalidOutput(value)
    if (invalid !== undefined) return invalid
    this.#succeeded()
    this.#hop = 0
    this.spent = 0
    return this.#goOn(this.step.targets, value)
  }

  /** At a join: waits there, or goes on with all that has arrived. */
  #arrive(): AnyEffect {
    const { frame, step, trace } = this
    const invalid = this.#invalidInput()
    if (invalid !== undefined) return invalid
    const joined = frame.arrive(step, this.#slot, this.input, this.a, this.b)
    if (joined === undefined) {
      this.#phase = Ending
      return Exit.void
    }
    this.a = joined.way.a
    this.b = joined.way.b
    const { hub } = trace.supervisor
    if (hub.listening) this.#started()
    return Exit.succeed(joined.value)
  }

  /** Tells of a failed attempt: once. */
  report(error: unknown): void {
    const { attempt, startedAt, step, trace } = this
    const { hub } = trace.supervisor
    this.reported = true
    if (isFlowError(error) && error.reason._tag === "NodeTimedOut" && error.node === step.name) {
      hub.nodeTimedOut(trace, step.name, attempt, startedAt, step.timeout)
    } else hub.nodeErrored(trace, step.name, attempt, startedAt, error)
  }

  /** Whether a node is at work here, and not one of the branches that this walk waits for. */
  get isWorking(): boolean {
    return this.#phase === Running
  }

  /** The walk that was at work: in a subflow, the innermost. */
  get deepest(): Walk {
    return this.inner === undefined ? this : this.inner.deepest
  }

  /** The fiber of this walk ended badly. `stopped` where the walk itself is not to blame. */
  ended(cause: Cause.Cause<unknown>, stopped: boolean): void {
    this.trace.leave(this.scope)
    this.#endVisit(cause, stopped || this.trace.state._tag === "Stopping")
  }

  /** An attempt at a subflow ended badly: the visits within it have ended with it. */
  endInner(cause: Cause.Cause<unknown>, stopped: boolean): void {
    const { inner } = this
    this.inner = undefined
    if (inner !== undefined) inner.#endVisit(cause, stopped || this.trace.state._tag === "Stopping")
  }

  /** Says what became of the visit that is under way, and of those within it; the first failure is the trace's. */
  #endVisit(cause: Cause.Cause<unknown>, stopped: boolean): void {
    this.endInner(cause, stopped)
    if (this.#phase !== Running) return
    this.#phase = Done
    const { attempt, startedAt, step, trace } = this
    const { hub } = trace.supervisor
    if (stopped) return hub.nodeInterrupted(trace, step.name, attempt, startedAt)
    trace.failedAt ??= { node: step.name, attempt }
    if (!hub.listening) return
    const failure = failureOf(cause)
    const error = "error" in failure ? failure.error : failure.defect
    if (!this.reported) this.report(error)
    hub.nodeFailed(trace, step.name, attempt, error)
  }

  /** The node at work resists: it is named, and nothing more is said of its visit. */
  leftBehind(): void {
    this.trace.supervisor.hub.nodeStuck(this.trace, this.step.name, this.attempt)
    this.#phase = Done
  }
}

/** A whole plan, entered: what the root of a trace does, and each visit of a subflow. */
export const enterPlan = (
  trace: Trace,
  frame: Frame,
  plan: Plan,
  input: unknown,
  scope: AttemptScope,
  a: number,
  b: number,
  depth: number
): Walk | ((parent: Walk | undefined) => AnyEffect) =>
  plan.ingress.length === 1
    ? new Walk(trace, frame, plan.ingress[0]!, input, scope, a, b, depth)
    : (parent) =>
      spread(
        parent ?? { trace, depth },
        plan.ingress.length,
        (at, own) => new Walk(trace, frame, plan.ingress[at]!, input, own, a, b, depth + 1),
        Infinity
      )
