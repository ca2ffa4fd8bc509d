/** A flow whose node says no to some, takes its time with others: for tests of jobs and workers. */
import { Console, Effect, Schema } from "effect"
import { Flow, Node } from "penguiflow"

const Order = Schema.Struct({
  item: Schema.String,
  /** Milliseconds before it is shipped. */
  wait: Schema.optionalKey(Schema.Number)
})

export class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { item: Schema.String }) {
  override get message() {
    return `none left of ${this.item}`
  }
}

const reserve = Node.make("reserve", {
  input: Order,
  output: Order,
  error: OutOfStock,
  run: (order) => order.item === "fish" ? Effect.fail(new OutOfStock({ item: "fish" })) : Effect.succeed(order)
})

const ship = Node.make("ship", {
  input: Order,
  output: Schema.String,
  run: ({ item, wait }) =>
    wait === undefined
      ? Effect.succeed(`${item} shipped`)
      : Effect.as(Effect.andThen(Console.log(`shipping ${item}`), Effect.sleep(wait)), `${item} shipped late`)
})

export const orders = Flow.make("orders", [reserve.to(ship), ship.to()])

const note = Node.make("note", { input: Schema.String, output: Schema.String, run: (text) => Effect.succeed(text) })

export const notes = Flow.make("notes", [note.to()])
