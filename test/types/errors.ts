/** A declared error schema: the node's errors are those of the schema, and a run can't fail with another. */
// The mistake at the end is made on purpose.
// @effect-diagnostics *:skip-file
import { Effect, Schema } from "effect"
import { Loop, Node } from "penguiflow"

type Exact<X, Y> = (<T>() => T extends X ? 1 : 2) extends (<T>() => T extends Y ? 1 : 2) ? true : false
type ErrorOf<N> = N extends { readonly "~error": infer E } ? E : never
const exactly = <A, B>(_: Exact<A, B>) => {}

class TooLong extends Schema.TaggedError<TooLong>()("TooLong", { length: Schema.Number }) {}
class Other extends Schema.TaggedError<Other>()("Other", {}) {}

const strict = Node.make("strict", {
  input: Schema.Number,
  output: Schema.Number,
  error: TooLong,
  run: (n) => n > 1 ? Effect.fail(new TooLong({ length: n })) : Effect.succeed(n)
})
exactly<ErrorOf<typeof strict>, TooLong>(true)

const wider = Node.make("wider", {
  input: Schema.Number,
  output: Schema.Number,
  error: Schema.Union([TooLong, Other]),
  run: Effect.fn(function*(n) {
    if (n > 1) return yield* new TooLong({ length: n })
    return n
  })
})
exactly<ErrorOf<typeof wider>, TooLong | Other>(true)

const looping = Loop.make("looping", {
  state: Schema.Number,
  output: Schema.Number,
  maxHops: 3,
  error: TooLong,
  step: (n) => n > 1 ? Effect.fail(new TooLong({ length: n })) : Effect.succeed(Loop.done(n))
})
exactly<ErrorOf<typeof looping>, TooLong>(true)

const failing = (n: number) => n > 1 ? Effect.fail(new TooLong({ length: n })) : Effect.succeed(n)
// @ts-expect-error Type 'TooLong' is not assignable to type 'Other'
Node.make("wrong", { input: Schema.Number, output: Schema.Number, error: Other, run: failing })
