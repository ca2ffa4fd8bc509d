/** The services of `Node.provide`: each layer built at its first use, once per runtime, and released with it. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { AnyLayer } from "./definition.ts"
import type { AnyEffect } from "./walk.ts"

export class Provided {
  readonly #scope = Scope.makeUnsafe()
  readonly #built = new Map<AnyLayer, Context.Context<never>>()
  readonly #building = Semaphore.makeUnsafe(1)

  to(layer: AnyLayer, effect: AnyEffect): AnyEffect {
    const built = this.#built.get(layer)
    return built !== undefined
      ? Effect.provideContext(effect, built)
      : Effect.flatMap(this.#build(layer), (context) => Effect.provideContext(effect, context))
  }

  /** One at a time, so that no layer is built twice. What fails is released and built anew at the next visit. */
  #build(layer: AnyLayer): Effect.Effect<Context.Context<never>, unknown> {
    return this.#building.withPermits(1)(Effect.suspend(() => {
      const known = this.#built.get(layer)
      if (known !== undefined) return Effect.succeed(known)
      const scope = Scope.forkUnsafe(this.#scope)
      const building = Effect.map(
        // What the layer itself needs is in the runtime's services: the flow's `R` says so.
        Layer.buildWithScope(layer as Layer.Layer<never, unknown>, scope),
        (context): Context.Context<never> => {
          this.#built.set(layer, context)
          return context
        }
      )
      return Effect.onExit(building, (exit) => exit._tag === "Success" ? Effect.void : Scope.close(scope, exit))
    }))
  }

  readonly close: Effect.Effect<void> = Effect.suspend(() => Effect.ignoreCause(Scope.close(this.#scope, Exit.void)))
}
