/** A flow that does a bit of everything that observers tell of, and runs of it under observers. */
import { Effect, type Layer, Schedule, Schema } from "effect"
import { Flow, FlowRuntime, Node } from "penguiflow"
import { Bad } from "../utils/nodes.ts"

export const Order = Schema.Struct({
  /** How often `charge` fails before it succeeds. */
  failures: Schema.Int,
  /** What `pack/wrap` does. */
  wrap: Schema.Literals(["well", "badly", "slowly", "never"])
})
export type Order = typeof Order.Type

/**
 * `reserve` can be undone; `charge` takes 20 ms and is tried three times, 100 ms apart; `pack/wrap` sends a part, has
 * 50 ms, and fails, or takes too long.
 */
export const watchedFlow = (name: string) => {
  const tries = new Map<string, number>()
  const reserve = Node.make("reserve", {
    input: Order,
    output: Order,
    compensate: () => Effect.sleep("5 millis"),
    run: (order) => Effect.succeed(order)
  })
  const charge = Node.make("charge", {
    input: Order,
    output: Order,
    policy: { retry: Schedule.max([Schedule.spaced("100 millis"), Schedule.recurs(2)]) },
    run: (order, { idempotencyKey }) =>
      Effect.gen(function*() {
        yield* Effect.sleep("20 millis")
        const count = tries.get(idempotencyKey) ?? 0
        tries.set(idempotencyKey, count + 1)
        return count < order.failures ? yield* new Bad({ n: count }) : order
      })
  })
  const wrap = Node.make("wrap", {
    input: Order,
    output: Schema.String,
    part: Schema.String,
    policy: { timeout: "50 millis" },
    run: (order, { emit }) =>
      Effect.gen(function*() {
        yield* emit("paper")
        switch (order.wrap) {
          case "well":
            return "wrapped"
          case "badly":
            return yield* new Bad({ n: 1 })
          case "slowly":
            yield* Effect.sleep("1 second")
            return "late"
          case "never":
            return yield* Effect.never
        }
      })
  })
  return Flow.make(name, [
    reserve.to(charge),
    charge.to(Node.fromFlow(Flow.make("pack", [wrap.to()])))
  ])
}

/** Runs an effect with a runtime of the flow under observers, and lets the runtime end before the observers do. */
export const under = <A, E, R, LE>(
  observers: Layer.Layer<never, LE>,
  name: string,
  use: (
    runtime: FlowRuntime.FlowRuntime<Order, string, Bad, string>
  ) => Effect.Effect<A, E, R>
) => Effect.scoped(Effect.flatMap(FlowRuntime.make(watchedFlow(name)), use)).pipe(Effect.provide(observers))
