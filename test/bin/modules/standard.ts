/** A flow that needs nothing, as the default export. */
import { Effect, Schema } from "effect"
import { Flow, Node } from "penguiflow"

const inc = Node.make("inc", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n + 1) })

export default Flow.make("standard", [inc.to()])
