/** A flow that does what its message says: for tests of commands. */
import { Console, Context, Effect, Layer, Schema, Stream } from "effect"
import { Flow, Node } from "penguiflow"

const In = Schema.Struct({
  n: Schema.Int,
  /** Milliseconds before it answers. */
  wait: Schema.optionalKey(Schema.Number),
  secret: Schema.optionalKey(Schema.RedactedFromValue(Schema.String)),
  do: Schema.optionalKey(Schema.Literals(["fail", "die", "log", "shout", "forever", "stuck", "hostile"]))
})

export class Refused extends Schema.TaggedError<Refused>()("Refused", { n: Schema.Int }) {
  override get message() {
    return `refuses ${this.n}\nby a second line \u001b[31m`
  }
}

class Away extends Schema.TaggedError<Away>()("Away", { message: Schema.String }) {}

export class Factor extends Context.Service<Factor, number>()("test/bin/Factor") {}

const work = Node.make("work", {
  input: In,
  output: Schema.Struct({ n: Schema.Number, secret: Schema.optionalKey(Schema.Redacted(Schema.String)) }),
  error: Refused,
  part: Schema.String,
  run: Effect.fnUntraced(function*(message, { emit }) {
    const factor = yield* Factor
    const { do: what, n, secret, wait } = message
    if (wait !== undefined) yield* Effect.sleep(wait)
    switch (what) {
      case "fail":
        return yield* new Refused({ n })
      case "die":
        throw new Error("boom")
      case "log":
        yield* Effect.log("logged")
        yield* Console.log("printed")
        break
      case "shout":
        yield* emit(`${n}!`)
        yield* emit(`${n}!!`)
        break
      case "hostile":
        return yield* Effect.die({
          get message(): string {
            throw new Error("no message")
          }
        })
      case "forever":
        return yield* Effect.onInterrupt(
          Effect.andThen(Console.error(`begun ${n}`), Effect.never),
          () => Effect.delay(Console.error(`released ${n}`), 200)
        )
      case "stuck":
        yield* Effect.uninterruptible(Effect.andThen(Console.error(`begun ${n}`), Effect.sleep("1 minute")))
    }
    return { n: n * factor, ...(secret === undefined ? {} : { secret }) }
  })
})

export const flow = Flow.make("numbers", [work.to()])

export const layer = Layer.effect(
  Factor,
  Effect.gen(function*() {
    if (process.env["NO_DATABASE"] !== undefined) {
      return yield* new Away({ message: "the database at\n127.0.0.1 is away" })
    }
    yield* Effect.acquireRelease(Console.log("opened"), () => Console.log("closed"))
    return 2
  })
)

/** Not what a flow is made of. */
export const other = Stream.empty
