/** A flow that can't be made. */
import { Effect, Schema } from "effect"
import { Flow, Node } from "penguiflow"

const n = (name: string) =>
  Node.make(name, { input: Schema.Number, output: Schema.Number, run: (x) => Effect.succeed(x) })
const [a, b, c] = [n("a"), n("b"), n("c")]

export const flow = Flow.make("broken", [c.to(a), a.to(b), b.to(a)])
