/**
 * The Scope of an attempt, made only if the node asks for one.
 *
 * Each fiber of a trace carries one of these in its context. As long as no node adds a finalizer it serves every attempt
 * of that fiber; once used it is closed at that attempt's end, for good, and the fiber gets a fresh one.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"

/** Where the branches that run in one fiber find its scope. */
export class AttemptScope {
  scope: Scope.Closeable = Scope.makeUnsafe()

  #outer: Context.Context<never> | undefined
  #within: Context.Context<never> | undefined

  /** The context of a fiber that starts with this scope. Branches that share it share the context as well. */
  within(context: Context.Context<never>): Context.Context<never> {
    if (this.#within === undefined || this.#outer !== context) {
      this.#outer = context
      this.#within = Context.add(context, Scope.Scope, this.scope)
    }
    return this.#within
  }

  get used(): boolean {
    return this.scope.state._tag !== "Empty"
  }

  /** Closes the used scope and gives the fiber that runs this a fresh one. */
  renew(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    const used = this.scope
    this.scope = Scope.makeUnsafe()
    this.#within = undefined
    return Effect.andThen(
      Effect.withFiberSucceed((fiber: Fiber.Fiber<unknown, unknown>) => fiber.setContext(this.within(fiber.context))),
      Scope.close(used, exit)
    )
  }
}
