/**
 * Branches: several walks of one trace, as structured children of the fiber that forks them.
 *
 * The first failure stops the others and waits for them; interrupting the parent does the same. A branch that walks its
 * whole way at once never becomes a fiber.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { AttemptScope } from "./attemptScope.ts"
import type { Trace } from "./trace.ts"
import type { AnyEffect, Walk } from "./walk.ts"

/** So many branches that answer at once are walked before others get their turn. */
const breath = 512

/** So many nested starts or ends share one stack. */
const maxNesting = 32

/** Runs `count` walks, at most `concurrency` in fibers at a time. */
export const spread = (
  parent: { readonly trace: Trace; readonly depth: number },
  count: number,
  make: (at: number, scope: AttemptScope) => Walk,
  concurrency: number
): AnyEffect =>
  Effect.withFiber((fiber: Fiber.Fiber<unknown, unknown>) => {
    const { trace } = parent
    const deep = (parent.depth + 1) % maxNesting === 0
    const children = new Map<Fiber.Fiber<unknown, unknown>, Walk>()
    let started = 0
    let failure: Exit.Failure<unknown, unknown> | undefined
    let stopped = false
    let resume: ((effect: AnyEffect) => void) | undefined
    let final: AnyEffect | undefined

    const finish = (): void => {
      final = failure ?? Exit.void
      // An end that answers its parent inside itself would nest as deep as the branches do.
      if (resume !== undefined) resume(deep ? Effect.andThen(Effect.yieldNow, final) : final)
    }
    const fail = (exit: Exit.Failure<unknown, unknown>, walk: Walk): void => {
      const first = failure === undefined && !stopped
      walk.ended(exit.cause, !first)
      if (!first) return
      failure = exit
      for (const child of children.keys()) child.interruptUnsafe(fiber.id)
    }
    const onExit = (child: Fiber.Fiber<unknown, unknown>, walk: Walk, exit: Exit.Exit<unknown, unknown>): void => {
      children.delete(child)
      trace.walks?.delete(walk)
      if (exit._tag === "Failure") fail(exit, walk)
      pump()
    }
    const launch = (walk: Walk): void => {
      const child = Effect.runForkWith(walk.scope.within(fiber.context))(
        deep ? Effect.andThen(Effect.yieldNow, walk.effect) : walk.effect
      )
      const exit = child.pollUnsafe()
      if (exit !== undefined) {
        if (exit._tag === "Failure") fail(exit, walk)
        return
      }
      children.set(child, walk)
      ;(trace.walks ??= new Set()).add(walk)
      child.addObserver((end) => onExit(child, walk, end))
      if (failure !== undefined) child.interruptUnsafe(fiber.id)
    }
    let pumping = false
    const pump = (): void => {
      if (pumping || stopped) return
      pumping = true
      let budget = breath
      let spare: AttemptScope | undefined
      while (failure === undefined && started < count && children.size < concurrency) {
        if (--budget === 0) {
          fiber.currentDispatcher.scheduleTask(pump, 0)
          break
        }
        const walk = make(started++, spare ??= new AttemptScope())
        const todo = deep ? Effect.void : walk.begin()
        if (todo === undefined) continue
        spare = undefined
        if (Exit.isExit(todo) && todo._tag === "Failure") fail(todo, walk)
        else launch(walk)
      }
      pumping = false
      if (children.size === 0 && (failure !== undefined || started >= count)) finish()
    }
    pump()
    if (final !== undefined) return final
    return Effect.callback<unknown, unknown>((done) => {
      resume = done
      return Effect.suspend(() => {
        stopped = true
        return Fiber.interruptAll([...children.keys()])
      })
    })
  })
