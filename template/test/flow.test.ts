/** The flow with a mock in the place of its layer: fast, and nothing outside is called. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Flow } from "penguiflow"
import { flow, Prices, UnknownItem } from "../src/flow.ts"

const mock = Layer.succeed(Prices, {
  of: (sku) => sku === "penguin" ? Effect.fail(new UnknownItem({ sku })) : Effect.succeed(2)
})

it.effect("an order gets its total", () =>
  Effect.gen(function*() {
    const order = { customer: "pingu", items: [{ sku: "fish", quantity: 2 }, { sku: "ice", quantity: 1 }] }
    assert.deepStrictEqual(yield* Flow.run(flow, order), { customer: "pingu", total: 6 })
  }).pipe(Effect.provide(mock)))

it.effect("what nobody sells is an error that says so", () =>
  Effect.gen(function*() {
    const order = { customer: "pingu", items: [{ sku: "penguin", quantity: 1 }] }
    const error = yield* Effect.flip(Flow.run(flow, order))
    assert.deepStrictEqual(error, new UnknownItem({ sku: "penguin" }))
  }).pipe(Effect.provide(mock)))
