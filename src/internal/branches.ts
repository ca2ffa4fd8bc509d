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
import { answered, type AnyEffect } from "./effects.ts"
import type { Trace } from "./trace.ts"
import type { Walk } from "./walk.ts"

/** So many branches that answer at once are walked before others get their turn. */
const breath = 512

/** So many nested starts or ends share one stack. */
const maxNesting = 32

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** What makes the branches: the `at`-th walk, in a fiber that carries this scope. */
type MakeWalk = (at: number, scope: AttemptScope) => Walk

/** Runs `count` walks, at most `concurrency` in fibers at a time. */
export const spread = (
  parent: { readonly trace: Trace; readonly depth: number },
  count: number,
  make: MakeWalk,
  concurrency: number
): AnyEffect =>
  Effect.withFiber((fiber: AnyFiber) => new Branches(fiber, parent.trace, parent.depth, count, make, concurrency).run())

class Branches {
  readonly #fiber: AnyFiber
  readonly #trace: Trace
  readonly #count: number
  readonly #make: MakeWalk
  readonly #concurrency: number
  /** A start or an end that answers inside another would nest as deep as the branches do: every so often it waits. */
  readonly #deep: boolean
  #children: Map<AnyFiber, Walk> | undefined
  #live = 0
  #started = 0
  #pumping = false
  /** The parent was interrupted. */
  #stopped = false
  #failure: Exit.Failure<unknown, unknown> | undefined
  #final: AnyEffect | undefined
  #resume: ((effect: AnyEffect) => void) | undefined

  constructor(fiber: AnyFiber, trace: Trace, depth: number, count: number, make: MakeWalk, concurrency: number) {
    this.#fiber = fiber
    this.#trace = trace
    this.#count = count
    this.#make = make
    this.#concurrency = concurrency
    this.#deep = (depth + 1) % maxNesting === 0
  }

  run(): AnyEffect {
    this.#pump()
    return this.#final ?? Effect.callback<unknown, unknown>((resume) => {
      this.#resume = resume
      return Effect.suspend(() => {
        this.#stopped = true
        return this.#children === undefined ? Effect.void : Fiber.interruptAll([...this.#children.keys()])
      })
    })
  }

  /** Starts what may start. */
  #pump(): void {
    if (this.#pumping || this.#stopped) return
    this.#pumping = true
    let budget = breath
    // A scope that no attempt has used serves the next branch as well.
    let spare: AttemptScope | undefined
    while (this.#failure === undefined && this.#started < this.#count && this.#live < this.#concurrency) {
      if (--budget === 0) {
        this.#fiber.currentDispatcher.scheduleTask(() => this.#pump(), 0)
        break
      }
      const scope = spare ??= new AttemptScope()
      const walk = this.#make(this.#started++, scope)
      const todo = this.#deep ? Effect.void : walk.begin()
      if (todo === undefined) continue
      const running = answered(todo) && todo._tag === "Failure" ? this.#fail(todo, walk) : this.#launch(walk)
      if (running || walk.scope !== scope || scope.used) spare = undefined
    }
    this.#pumping = false
    if (this.#live === 0 && (this.#failure !== undefined || this.#started >= this.#count)) this.#finish()
  }

  /** Whether the branch goes on in a fiber. */
  #launch(walk: Walk): boolean {
    const child = Effect.runForkWith(walk.scope.within(this.#fiber.context))(
      this.#deep ? Effect.andThen(Effect.yieldNow, walk.effect) : walk.effect
    )
    const exit = child.pollUnsafe()
    if (exit !== undefined) return exit._tag === "Failure" && this.#fail(exit, walk)
    this.#live++
    ;(this.#children ??= new Map()).set(child, walk)
    ;(this.#trace.walks ??= new Set()).add(walk)
    child.addObserver((end) => this.#onExit(child, walk, end))
    if (this.#failure !== undefined) child.interruptUnsafe(this.#fiber.id)
    return true
  }

  #onExit(child: AnyFiber, walk: Walk, exit: Exit.Exit<unknown, unknown>): void {
    this.#live--
    this.#children!.delete(child)
    this.#trace.walks!.delete(walk)
    if (exit._tag === "Failure") this.#fail(exit, walk)
    this.#pump()
  }

  #fail(exit: Exit.Failure<unknown, unknown>, walk: Walk): false {
    const first = this.#failure === undefined && !this.#stopped
    walk.ended(exit.cause, !first)
    if (first) {
      this.#failure = exit
      if (this.#children !== undefined) {
        for (const child of this.#children.keys()) child.interruptUnsafe(this.#fiber.id)
      }
    }
    return false
  }

  #finish(): void {
    const final = this.#failure ?? Exit.void
    this.#final = final
    this.#resume?.(this.#deep ? Effect.andThen(Effect.yieldNow, final) : final)
  }
}
