/** The services of `Node.provide`: each layer built at its first use, once per runtime, and released with it. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { AnyLayer } from "./definition.ts"
import type { AnyEffect } from "./effects.ts"

/** A layer among those that it is built with: two nodes that share a layer and all that it stands in share what it gives. */
class Built {
  readonly inner = new Map<AnyLayer, Built>()
  /** Nobody waits for another layer than the one that he needs. */
  readonly lock = Semaphore.makeUnsafe(1)
  context: Context.Context<never> | undefined
}

export class Provided {
  readonly #scope = Scope.makeUnsafe()
  readonly #outermost = new Map<AnyLayer, Built>()

  /** The effect with the services of layers, of which each may need what those before it give. */
  to(layers: ReadonlyArray<AnyLayer>, effect: AnyEffect): AnyEffect {
    let provided = effect
    let known = this.#outermost
    for (
      const entry of layers.map((layer) => ({ layer, built: this.#entry(known, layer, (next) => known = next) }))
        .toReversed()
    ) {
      provided = this.#provide(entry.layer, entry.built, provided)
    }
    return provided
  }

  #entry(known: Map<AnyLayer, Built>, layer: AnyLayer, goOn: (inner: Map<AnyLayer, Built>) => void): Built {
    let built = known.get(layer)
    if (built === undefined) known.set(layer, built = new Built())
    goOn(built.inner)
    return built
  }

  #provide(layer: AnyLayer, built: Built, effect: AnyEffect): AnyEffect {
    return built.context !== undefined
      ? Effect.provideContext(effect, built.context)
      : Effect.flatMap(this.#build(layer, built), (context) => Effect.provideContext(effect, context))
  }

  /** What fails is released, and built anew at the next visit. */
  #build(layer: AnyLayer, built: Built): Effect.Effect<Context.Context<never>, unknown> {
    return built.lock.withPermits(1)(Effect.suspend(() => {
      if (built.context !== undefined) return Effect.succeed(built.context)
      const scope = Scope.forkUnsafe(this.#scope)
      const building = Effect.map(
        // What the layer itself needs is in the runtime's services, or in those of an outer layer: the flow's `R` says so.
        Layer.buildWithScope(layer as Layer.Layer<never, unknown>, scope),
        (context): Context.Context<never> => built.context = context
      )
      return Effect.onExit(building, (exit) => exit._tag === "Success" ? Effect.void : Scope.close(scope, exit))
    }))
  }

  readonly close: Effect.Effect<void> = Effect.suspend(() => Effect.ignoreCause(Scope.close(this.#scope, Exit.void)))
}
