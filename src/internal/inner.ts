/** A flow or a node inside a node: subflows and `forEach`, in the same trace, each visit with a frame of its own. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { FlowError } from "../FlowError.ts"
import { spread } from "./branches.ts"
import { answered, type AnyEffect } from "./effects.ts"
import { Frame } from "./frame.ts"
import { isDeep, onFreshStack } from "./nesting.ts"
import type { Plan } from "./plan.ts"
import type { Trace } from "./trace.ts"
import { enterPlan, Walk } from "./walk.ts"
import * as Way from "./way.ts"

/** What a visit of a subflow or a `forEach` does. A subflow gives its frame with all its results, a `forEach` one value per
 * item. */
export const visitInner = (walk: Walk): AnyEffect =>
  walk.step.kind === "flow" ? visitFlow(walk, walk.step.inner!) : visitItems(walk, walk.step.inner!)

const visitFlow = (walk: Walk, plan: Plan): AnyEffect => {
  const frame = new Frame(plan, walk)
  const entered = enterPlan(walk.trace, frame, plan, walk.input, walk.scope, walk.a, walk.b, walk.depth + 1)
  if (!(entered instanceof Walk)) return Effect.flatMap(entered(walk), () => completed(walk.trace, frame))
  walk.inner = entered
  const deep = isDeep(walk.depth)
  const todo = deep ? Effect.void : entered.begin()
  if (todo === undefined) return finishInner(walk, entered, frame)
  if (answered(todo) && todo._tag === "Failure") return todo
  return onFreshStack(deep, Effect.flatMap(entered.effect, () => finishInner(walk, entered, frame)))
}

const finishInner = (walk: Walk, inner: Walk, frame: Frame): AnyEffect => {
  walk.scope = inner.scope
  walk.inner = undefined
  return completed(walk.trace, frame)
}

/** The frame itself, once all its joins have got what they waited for. */
const completed = (trace: Trace, frame: Frame): Exit.Exit<Frame, unknown> => {
  const failure = joinIncomplete(trace, frame)
  return failure === undefined ? Exit.succeed(frame) : Exit.fail(failure)
}

/** The failure of a frame whose joins did not get all they waited for. */
export const joinIncomplete = (trace: Trace, frame: Frame): FlowError | undefined => {
  const incomplete = frame.incomplete
  if (incomplete === undefined) return undefined
  const { missing, step } = incomplete
  trace.failedAt ??= { node: step.name, attempt: 1 }
  return trace.fail(
    { _tag: "JoinIncomplete", join: step.name, missing },
    `Join "${step.name}" still waited for ${
      missing.join(", ")
    } when nothing more could arrive: every branch that feeds it has ended`,
    step.name,
    1
  )
}

const visitItems = (walk: Walk, plan: Plan): AnyEffect => {
  const { a, b, depth, input, step, trace } = walk
  if (!Array.isArray(input)) {
    return Exit.fail(trace.fail(
      { _tag: "InvalidInput", issue: "Expected array" },
      `Node "${step.name}" runs over every item and was given what is no array`,
      step.name,
      walk.attempt
    ))
  }
  const frames = input.map(() => new Frame(plan, walk))
  const target = plan.ingress[0]!
  const walking = spread(
    walk,
    input.length,
    (at, scope) => new Walk(trace, frames[at]!, target, input[at], scope, Way.mixA(a, at), Way.mixB(b, at), depth + 1),
    step.definition.concurrency!
  )
  return Effect.flatMap(walking, () => itemsOf(walk, frames))
}

const itemsOf = (walk: Walk, frames: ReadonlyArray<Frame>): Exit.Exit<ReadonlyArray<unknown>, unknown> => {
  const items: Array<unknown> = []
  for (const { results } of frames) {
    if (results.length !== 1) {
      return Exit.fail(
        walk.trace.fail(
          results.length === 0 ? { _tag: "NoResult" } : { _tag: "ManyResults", count: results.length },
          `Node "${walk.step.name}" runs over every item and must give one result for each: item ${items.length} gave ${results.length}`,
          walk.step.name,
          walk.attempt
        )
      )
    }
    items.push(results[0]!.value)
  }
  return Exit.succeed(items)
}
