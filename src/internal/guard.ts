/**
 * A guarded attempt: retry around permit around timeout around the run.
 *
 * All of it begins late: a step that answers at once pays for nothing, the timer starts when the first instant has passed
 * without an answer, the retry machinery after the first failure.
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { type FlowError, isFlowError } from "../FlowError.ts"
import { AttemptScope } from "./attemptScope.ts"
import { compensate, undo } from "./compensate.ts"
import { answered, type AnyEffect } from "./effects.ts"
import { isDeep, onFreshStack, stopOnFreshStack } from "./nesting.ts"
import { interruptAtRest } from "./stop.ts"
import { unknownTime } from "./subscription.ts"
import { failureOf } from "./trace.ts"
import type { Walk } from "./walk.ts"

/** What a guarded step does in one visit. */
export const guard = (walk: Walk): AnyEffect => {
  const first = attempt(walk)
  if (walk.step.retry === undefined || answered(first) && first._tag === "Success") return first
  return Effect.catchCause(first, (cause) => again(walk, cause))
}

/** One attempt, within its permit and its timeout. Never throws. */
const attempt = (walk: Walk): AnyEffect => {
  const { step, trace } = walk
  const permits = trace.supervisor.permits(step)
  return permits === undefined
    ? timed(walk)
    : permits.withPermits(1)(Effect.suspend(() => {
      // The permit may have been waited for: the attempt begins now, not when the step before ended.
      walk.leftAt = unknownTime
      return timed(walk)
    }))
}

const timed = (walk: Walk): AnyEffect => {
  const { step } = walk
  if (step.timeout === 0 && step.concurrency === undefined && step.compensate === undefined) {
    return outputChecked(walk, attempted(walk))
  }
  const outer = walk.scope
  const own = walk.scope = new AttemptScope()
  const tried = outputChecked(walk, attempted(walk))
  if (!answered(tried)) return inOwnFiber(walk, tried, own, outer)
  walk.scope = outer
  return tried
}

const attempted = (walk: Walk): AnyEffect => {
  try {
    return walk.try()
  } catch (defect) {
    return Exit.die(defect)
  }
}

/** Where a predicate may want to try again after a bad output, the output is checked within the attempt. */
const outputChecked = (walk: Walk, tried: AnyEffect): AnyEffect =>
  walk.step.retryWhile === undefined || walk.step.kind === "loop" || walk.step.kind === "router" ||
    walk.step.kind === "flow"
    ? tried
    : Effect.flatMap(tried, (value) => walk.invalidOutput(value) ?? Exit.succeed(value))

/**
 * An attempt in a fiber of its own, so that it can be stopped and the trace go on, and so that whatever the attempt does to
 * its fiber the permit comes back. If it resists for longer than the runtime's `interruptGrace` it is left behind.
 *
 * A run that can be undone is stopped only where that loses nothing it has done, and is undone if it finishes all the same.
 */
const inOwnFiber = (walk: Walk, effect: AnyEffect, own: AttemptScope, outer: AttemptScope): AnyEffect =>
  Effect.withFiber((parent: Fiber.Fiber<unknown, unknown>) => {
    const { step, trace } = walk
    const { clock, grace } = trace.supervisor
    const deep = isDeep(walk.depth)
    const ended = (exit: Exit.Exit<unknown, unknown>, stopped: boolean): AnyEffect => {
      const used = walk.scope.used ? walk.scope.scope : undefined
      walk.scope = outer
      if (exit._tag === "Failure") walk.endInner(exit.cause, stopped)
      else walk.keep(exit.value)
      return used === undefined ? exit : Effect.andThen(Scope.close(used, exit), exit)
    }
    const undoable = step.compensate !== undefined
    const stop = (fiber: Fiber.Fiber<unknown, unknown>): void =>
      undoable ? interruptAtRest(fiber, parent.id) : fiber.interruptUnsafe(parent.id)
    /** What finished after its time. */
    const undone = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
      undoable && exit._tag === "Success" ? undo(trace, walk.finishedWith(exit.value)) : Effect.void
    const child = Effect.runForkWith(own.within(parent.context))(onFreshStack(deep, effect))
    const answer = child.pollUnsafe()
    if (answer !== undefined) return ended(answer, false)
    return Effect.callback<unknown, unknown>((resume) => {
      let timedOut = false
      let abandoned = false
      let timer: Fiber.Fiber<unknown> | undefined = undefined
      const abandon = Effect.sync(() => {
        abandoned = true
        for (const stuck of trace.atWork(walk)) stuck.leftBehind()
        resume(Effect.suspend(() => ended(Exit.fail(overtime(walk)), true)))
      })
      const expire = Effect.suspend(() => {
        timedOut = true
        stop(child)
        return child.pollUnsafe() === undefined
          ? Effect.andThen(clock.sleep(Duration.millis(grace)), abandon)
          : Effect.void
      })
      child.addObserver((exit) => {
        timer?.interruptUnsafe()
        if (abandoned) {
          Effect.runForkWith(parent.context)(undone(exit), { uninterruptible: true })
          return
        }
        const end = Effect.suspend(() => ended(timedOut ? Exit.fail(overtime(walk)) : exit, timedOut))
        resume(onFreshStack(deep, timedOut ? Effect.andThen(undone(exit), end) : end))
      })
      if (step.timeout > 0) {
        timer = Effect.runForkWith(parent.context)(Effect.andThen(clock.sleep(Duration.millis(step.timeout)), expire))
      }
      return Effect.suspend(() => {
        timer?.interruptUnsafe()
        return stopOnFreshStack(
          deep,
          Effect.suspend(() => {
            stop(child)
            return Effect.callback<void>((stopped) => {
              child.addObserver((exit) => stopped(Effect.suspend(() => Effect.ignoreCause(ended(exit, true)))))
            })
          })
        )
      })
    })
  })

const overtime = (walk: Walk): FlowError => {
  const { attempt: at, step, trace } = walk
  return trace.fail(
    { _tag: "NodeTimedOut", timeoutMs: step.timeout },
    `Node "${step.name}" took longer than its timeout of ${step.timeout} ms (attempt ${at}): raise the policy's \`timeout\`, or make the node faster`,
    step.name,
    at
  )
}

/** After a failed first attempt: as often as the Schedule says. */
const again = Effect.fnUntraced(function*(walk: Walk, firstCause: Cause.Cause<unknown>) {
  const { step, trace } = walk
  const { clock, hub } = trace.supervisor
  const next = yield* Schedule.toStep(step.retry!)
  let cause = firstCause
  for (;;) {
    walk.endInner(cause, false)
    const error = errorOf(walk, cause)
    walk.report(error)
    if (!retryable(walk, error)) return yield* Effect.failCause(cause)
    const answer = yield* Effect.exit(next(clock.currentTimeMillisUnsafe(), error))
    if (answer._tag === "Failure") {
      // Pull's end is how a Schedule says that it is exhausted; anything else is a fault of the Schedule itself.
      return yield* Effect.failCause(Pull.isDoneCause(answer.cause) ? cause : answer.cause)
    }
    if (walk.scope.used) yield* Effect.ignoreCause(walk.scope.renew(Exit.failCause(cause)))
    if (step.inner !== undefined && trace.finished !== undefined) yield* compensate(trace, walk)
    const delay = answer.value[1]
    hub.nodeRetried(trace, step.name, walk.attempt, Duration.toMillis(delay))
    yield* clock.sleep(delay)
    walk.attempt++
    walk.reported = false
    // What failed within a subflow is forgiven once the subflow is tried again.
    trace.failedAt = undefined
    const exit = yield* Effect.exit(Effect.suspend(() => attempt(walk)))
    if (exit._tag === "Success") return exit.value
    cause = exit.cause
  }
})

/** What the policy is asked about: the node's error, or the runtime's. */
const errorOf = (walk: Walk, cause: Cause.Cause<unknown>): unknown => {
  const failure = failureOf(cause)
  return "error" in failure
    ? failure.error
    : walk.trace.supervisor.nodeDied(walk.trace, walk.step.name, walk.attempt, failure.defect)
}

const hopeless = new Set(["InvalidInput", "InvalidOutput", "NodeDied"])

const retryable = (walk: Walk, error: unknown): boolean =>
  walk.step.retryWhile !== undefined
    ? walk.step.retryWhile(error)
    : !(isFlowError(error) && hopeless.has(error.reason._tag))
