/** Options read from a `Config`, with a failure that says what to do about it. */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"

/** What a layer's options are where the configuration has them; `what` names whose options they are. */
export const settings = <A>(what: string, config: Config.Wrap<A>): Effect.Effect<A, Config.ConfigError> =>
  Effect.mapError(Config.unwrap(config), (error) => {
    const said = error.cause.message.replaceAll(/\s*\n\s*/g, " ")
    const message = `${what}: ${said}. Set it in the environment, or in the ConfigProvider that is provided`
    return new Config.ConfigError(new ConfigProvider.SourceError({ message, cause: error.cause }))
  })
