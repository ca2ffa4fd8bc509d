/** Two flows and two layers: nobody can tell which are meant. */
import { Context, Layer, Schema } from "effect"
import { Flow, Node } from "penguiflow"

export class Plus extends Context.Service<Plus, number>()("test/bin/Plus") {}

const inc = Node.make("inc", {
  input: Schema.Number,
  output: Schema.Number,
  run: (n) => Plus.useSync((plus) => n + plus)
})

export const first = Flow.make("first", [inc.to()])
export const second = Flow.make("second", [inc.to()])
export const ten = Layer.succeed(Plus, 10)
export const hundred = Layer.succeed(Plus, 100)
