/** The flow: an order gets its prices, then its total. Export it, and `penguiflow run` and `penguiflow graph` find it. */
import { Context, Effect, Schema } from "effect"
import { Flow, Node } from "penguiflow"

const Item = Schema.Struct({ sku: Schema.String, quantity: Schema.Int.check(Schema.isGreaterThan(0)) })

export const Order = Schema.Struct({ customer: Schema.String, items: Schema.Array(Item) })

const Priced = Schema.Struct({
  customer: Schema.String,
  items: Schema.Array(Schema.Struct({ ...Item.fields, price: Schema.Number }))
})

export const Invoice = Schema.Struct({ customer: Schema.String, total: Schema.Number })

/** What a node can fail with is a value that callers can catch. */
export class UnknownItem extends Schema.TaggedError<UnknownItem>()("UnknownItem", { sku: Schema.String }) {
  override get message() {
    return `nobody sells ${this.sku}`
  }
}

/** What the flow needs from outside. `layers.ts` says what that is, a test says something else. */
export class Prices extends Context.Service<Prices, {
  readonly of: (sku: string) => Effect.Effect<number, UnknownItem>
}>()("app/Prices") {}

const price = Node.make("price", {
  input: Order,
  output: Priced,
  error: UnknownItem,
  policy: { timeout: "5 seconds" },
  run: Effect.fnUntraced(function*({ customer, items }) {
    const prices = yield* Prices
    const priced = yield* Effect.forEach(
      items,
      (item) => Effect.map(prices.of(item.sku), (price) => ({ ...item, price })),
      { concurrency: 4 }
    )
    return { customer, items: priced }
  })
})

const total = Node.make("total", {
  input: Priced,
  output: Invoice,
  run: ({ customer, items }) =>
    Effect.succeed({ customer, total: items.reduce((sum, { price, quantity }) => sum + price * quantity, 0) })
})

export const flow = Flow.make("orders", [price.to(total)])
