/** An edge that ends in a join: the compiler says the join's name, and that an input of it is meant. */
// The mistakes are made on purpose.
// @effect-diagnostics *:skip-file
import { Effect, Schema } from "effect"
import { Flow, Join, Node, Router } from "penguiflow"

const start = Node.make("start", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n) })
const double = Node.make("double", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n * 2) })
const never = Node.make("never", { input: Schema.Number, output: Schema.Never, run: () => Effect.die("never") })
const both = Join.all("both", { start: Schema.Number, double: Schema.Number })
const sign = Router.make("sign", { input: Schema.Number, cases: ["plus", "minus"], decide: () => "plus" })

export const numbers = Flow.make("numbers", [
  start.to(double, both.in.start),
  double.to(both.in.double),
  both.to()
])

// @ts-expect-error ✗ the edge start → both names no input of the join: write both.in.…
start.to(both)
// @ts-expect-error ✗ the edge start → both names no input of the join: write both.in.…
start.to(double, both)
// @ts-expect-error ✗ the edge both → both names no input of the join: write both.in.…
both.to(both)
// @ts-expect-error ✗ the edge sign[minus] → both names no input of the join: write both.in.…
sign.to({ plus: double, minus: both })
// @ts-expect-error ✗ the edge never → both names no input of the join: write both.in.…
never.to(both)
