/** What the flow needs, as it is outside of tests: put a database or an API here. */
import { Effect, Layer } from "effect"
import { Prices, UnknownItem } from "./flow.ts"

const catalogue: ReadonlyMap<string, number> = new Map([["fish", 3], ["ice", 0.5]])

const prices = Layer.succeed(Prices, {
  of: (sku) => {
    const price = catalogue.get(sku)
    return price === undefined ? Effect.fail(new UnknownItem({ sku })) : Effect.succeed(price)
  }
})

/** Several become one by `Layer.mergeAll(prices, …)`. */
export const layer = prices
