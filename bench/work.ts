/**
 * The work: what a node does, whoever runs it. Both sides of every comparison call these very functions.
 *
 * The kinds differ in how a node answers. `atOnce` has its answer before it is asked to run, `sync` computes it when it
 * runs, `generator` is a small program, `promise` and `yielding` let others run before they answer.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** The payload: a record of five fields. */
export const Order = Schema.Struct({
  id: Schema.String,
  customer: Schema.String,
  quantity: Schema.Number,
  price: Schema.Number,
  express: Schema.Boolean
})
export type Order = typeof Order.Type

/** What every node gives: the record with one more of it. */
export const more = (order: Order): Order => ({ ...order, quantity: order.quantity + 1 })

export const atOnce = (order: Order): Effect.Effect<Order> => Effect.succeed(more(order))

export const sync = (order: Order): Effect.Effect<Order> => Effect.sync(() => more(order))

export const generator: (order: Order) => Effect.Effect<Order> = Effect.fnUntraced(function*(order: Order) {
  const quantity = yield* Effect.sync(() => order.quantity + 1)
  const price = yield* Effect.sync(() => order.price)
  return { ...order, quantity, price }
})

export const promise = (order: Order): Effect.Effect<Order> => Effect.promise(() => Promise.resolve(more(order)))

export const yielding = (order: Order): Effect.Effect<Order> => Effect.as(Effect.yieldNow, more(order))

/** What a loop is done with, and how many steps that takes from a fresh order. */
export const enough = 100

/** Different messages, so that nothing can be learnt from one. */
export const orders: ReadonlyArray<Order> = Array.from({ length: 64 }, (_, at) => ({
  id: `order-${at}`,
  customer: `customer-${at % 7}`,
  quantity: 0,
  price: at * 1.5,
  express: at % 3 === 0
}))
