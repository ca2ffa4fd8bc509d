/** Limits: how long a text may be that a flow takes. A service, so that it comes from configuration and tests set their own. */
import type * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

const Base: Context.ServiceClass<Limits, "penguiflow/flows/Limits", { readonly maxInputLength: number }> = Context
  .Service<Limits, { readonly maxInputLength: number }>()("penguiflow/flows/Limits")

/** How long a text may be, in UTF-16 units as `String.length` counts them. */
export class Limits extends Base {}

/**
 * From the configuration: `MAX_INPUT_LENGTH`, a whole number from 1, default 100 000. Anything else is a `ConfigError`
 * when the layer is built.
 */
export const layer: Layer.Layer<Limits, Config.ConfigError> = Layer.effect(
  Limits,
  Effect.map(
    Config.schema(Schema.NumberFromString.check(Schema.isInt(), Schema.isGreaterThan(0)), "MAX_INPUT_LENGTH").pipe(
      Config.withDefault(100_000)
    ),
    (maxInputLength) => Limits.of({ maxInputLength })
  )
)

/** So long and no longer; default 1000. */
export const layerTest = (maxInputLength = 1000): Layer.Layer<Limits> =>
  Layer.succeed(Limits, Limits.of({ maxInputLength }))

const TooLongBase: Schema.Class<
  TooLong,
  Schema.TaggedStruct<"TooLong", { readonly length: typeof Schema.Int; readonly limit: typeof Schema.Int }>,
  Cause.YieldableError
> = Schema.TaggedError<TooLong>()("TooLong", { length: Schema.Int, limit: Schema.Int })

/** The text is longer than it may be. */
export class TooLong extends TooLongBase {
  override get message(): string {
    return `the text has ${this.length} characters and may have ${this.limit}: shorten it, or raise MAX_INPUT_LENGTH`
  }
}

/** Fails with {@link TooLong} where the text is longer than it may be. */
export const check = (text: string): Effect.Effect<void, TooLong, Limits> =>
  Limits.use(({ maxInputLength }) =>
    text.length > maxInputLength
      ? Effect.fail(new TooLong({ length: text.length, limit: maxInputLength }))
      : Effect.void
  )
