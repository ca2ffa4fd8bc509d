/**
 * Branches: several walks of one trace, as structured children of the fiber that forks them.
 *
 * The first failure stops the others and waits for them; interrupting the parent does the same. A branch that walks its
 * whole way at once never becomes a fiber.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { AttemptScope } from "./attemptScope.ts"
import { answered, type AnyEffect } from "./effects.ts"
import { isDeep, onFreshStack, stopOnFreshStack } from "./nesting.ts"
import type { Trace } from "./trace.ts"
import type { Walk } from "./walk.ts"

/** So many branches that answer at once are walked before others get their turn. */
const breath = 512

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
  readonly #deep: boolean
  #children: Map<AnyFiber, Walk> | undefined
  #live = 0
  #started = 0
  #pumping = false
  /** The parent was interrupted. */
  #stopped = false
  #failure: Exit.Failure<unknown, unknown> | undefined
  #grace: AnyFiber | undefined
  #final: AnyEffect | undefined
  #resume: ((effect: AnyEffect) => void) | undefined

  constructor(fiber: AnyFiber, trace: Trace, depth: number, count: number, make: MakeWalk, concurrency: number) {
    this.#fiber = fiber
    this.#trace = trace
    this.#count = count
    this.#make = make
    this.#concurrency = concurrency
    this.#deep = isDeep(depth)
  }

  run(): AnyEffect {
    this.#pump()
    return this.#final ?? Effect.callback<unknown, unknown>((resume) => {
      this.#resume = resume
      return Effect.suspend(() => {
        this.#stopped = true
        return this.#children === undefined
          ? Effect.void
          : stopOnFreshStack(this.#deep, Fiber.interruptAll([...this.#children.keys()]))
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
      onFreshStack(this.#deep, walk.effect)
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
    // One that was left behind and ends after all has nothing to say any more.
    if (!this.#children!.delete(child)) return
    this.#live--
    this.#trace.walks?.delete(walk)
    if (exit._tag === "Failure") this.#fail(exit, walk)
    this.#pump()
  }

  #fail(exit: Exit.Failure<unknown, unknown>, walk: Walk): false {
    const first = this.#failure === undefined && !this.#stopped
    walk.ended(exit.cause, !first)
    if (first) {
      this.#failure = exit
      this.#stopOthers()
    }
    return false
  }

  /** A branch has failed: the others are stopped, and those that resist for too long are left behind. */
  #stopOthers(): void {
    if (this.#children === undefined) return
    for (const child of this.#children.keys()) child.interruptUnsafe(this.#fiber.id)
    if (this.#live === 0 || this.#grace !== undefined) return
    const { clock, grace } = this.#trace.supervisor
    this.#grace = Effect.runForkWith(this.#fiber.context)(
      Effect.andThen(clock.sleep(Duration.millis(grace)), Effect.sync(() => this.#leaveBehind()))
    )
  }

  #leaveBehind(): void {
    for (const [child, walk] of this.#children!) {
      for (const stuck of this.#trace.atWork(walk)) stuck.leftBehind()
      this.#trace.walks?.delete(walk)
      this.#children!.delete(child)
      this.#live--
    }
    this.#finish()
  }

  #finish(): void {
    this.#grace?.interruptUnsafe()
    const final = this.#failure ?? Exit.void
    this.#final = final
    this.#resume?.(onFreshStack(this.#deep, final))
  }
}
