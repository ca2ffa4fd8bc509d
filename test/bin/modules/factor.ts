/** The flow of `numbers.ts` with another layer: for tests of replays. */
import { Context, Effect, Layer, Schedule, Schema } from "effect"
import { Flow, Node } from "penguiflow"

class Factor extends Context.Service<Factor, number>()("test/bin/factor/Factor") {}

class Busy extends Schema.TaggedError<Busy>()("Busy", { message: Schema.String }) {}

const read = Node.make("read", {
  input: Schema.Number,
  output: Schema.Number,
  run: (n) => Effect.delay(Effect.succeed(n), 20)
})

let tries = 0
const times = Node.make("times", {
  input: Schema.Number,
  output: Schema.Number,
  error: Busy,
  policy: { retry: Schedule.spaced("30 millis") },
  run: (n) =>
    Effect.gen(function*() {
      yield* Effect.sleep(20)
      if (tries++ === 0) return yield* new Busy({ message: "once more" })
      return n * (yield* Factor)
    })
})

export const flow = Flow.make("factor", [read.to(times)])

export const two = Layer.succeed(Factor, 2)
export const three = Layer.succeed(Factor, 3)
