/**
 * A language model behind an API that speaks as OpenAI's chat completions do: OpenAI, or a server of one's own.
 *
 * It is effect's `LanguageModel`: `generateText`, `generateObject` (as a JSON schema the API keeps to), `streamText`, and
 * tools that are effects. What it promises about retries, timeouts, the key and errors is what {@link layer} of
 * `EmbeddingsOpenAi` does. A stream is tried again only until its first byte; after that, a stream that ends without
 * saying that it has ended fails with a `NetworkError`, so that half an answer is never taken for a whole one.
 *
 * Images go in; other files are refused with an `InvalidUserInputError`.
 */
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as OpenAiStructuredOutput from "effect/ai/OpenAiStructuredOutput"
import type * as Response from "effect/ai/Response"
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as OpenAi from "./internal/openAi.ts"
import * as Chat from "./internal/openAiChat.ts"
import { settings } from "./internal/settings.ts"

/** Whom to ask, and how. */
export interface Options {
  /** Sent as `Authorization: Bearer …`. Needed for OpenAI itself; a server of one's own may do without. */
  readonly apiKey?: Redacted.Redacted | undefined
  /** Up to `/v1`; default `https://api.openai.com/v1`. */
  readonly baseUrl?: string | undefined
  /** Default `gpt-4o-mini`. */
  readonly model?: string | undefined
  /** What else the request is to say: `{ temperature: 0, max_completion_tokens: 500 }`. */
  readonly parameters?: Readonly<Record<string, Schema.Json>> | undefined
  /** How long one attempt may take; of a stream, the wait for what comes next. Default 1 minute. */
  readonly timeout?: Duration.Input | undefined
  /** How often a request is sent again; default 3. The first wait is half a second, each further one twice as long. */
  readonly retries?: number | undefined
  /** A server that asks to wait longer than this (`Retry-After`) is not waited for; default 1 minute. */
  readonly maxRetryAfter?: Duration.Input | undefined
  /** Further headers, `OpenAI-Organization` for one. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** The model that is asked where none is named. */
export const defaultModel = "gpt-4o-mini"

/** The names under which {@link layerConfig} looks: `OPENAI_API_KEY` (needed), `OPENAI_BASE_URL`, `OPENAI_MODEL`. */
export const config: Config.Config<Options> = Config.all({
  apiKey: Config.Redacted("OPENAI_API_KEY"),
  baseUrl: Config.withDefault(Config.NonEmptyString("OPENAI_BASE_URL"), OpenAi.defaultBaseUrl),
  model: Config.withDefault(Config.NonEmptyString("OPENAI_MODEL"), defaultModel)
})

/**
 * The model, over the `fetch` of the platform. Fails at the start where there is no key, or an option can't be meant.
 *
 * ```ts
 * import { Effect, Redacted } from "effect"
 * import { LanguageModel } from "effect/ai"
 * import * as LanguageModelOpenAi from "penguiflow/layers/LanguageModelOpenAi"
 *
 * const Model = LanguageModelOpenAi.layer({ apiKey: Redacted.make("sk-…"), parameters: { temperature: 0 } })
 * const program = LanguageModel.generateText({ prompt: "Where do penguins swim?" })
 * const { text } = await Effect.runPromise(Effect.provide(program, Model))
 * ```
 */
export const layer = (options: Options): Layer.Layer<LanguageModel.LanguageModel, AiError.AiError> =>
  Layer.provide(layerClient(options), FetchHttpClient.layer)

/** The same over the `HttpClient` that is there. */
export const layerClient = (
  options: Options
): Layer.Layer<LanguageModel.LanguageModel, AiError.AiError, HttpClient.HttpClient> =>
  Layer.effect(LanguageModel.LanguageModel, make(options))

/** The same with options from `Config`, by default from those that {@link config} names. */
export const layerConfig = (
  options: Config.Wrap<Options> = config
): Layer.Layer<LanguageModel.LanguageModel, Config.ConfigError | AiError.AiError> =>
  Layer.unwrap(Effect.map(settings("language model", options), layer))

// ----------------------------------------------------------------------------------------------------------- internals

const path = "/chat/completions"

const make = (
  options: Options
): Effect.Effect<LanguageModel.LanguageModel, AiError.AiError, HttpClient.HttpClient> =>
  Effect.gen(function*() {
    const api = yield* OpenAi.make("LanguageModelOpenAi", options)
    const model = options.model ?? defaultModel
    const request = (asked: LanguageModel.ProviderOptions, method: string) =>
      Effect.try({
        try: () => ({ model, ...options.parameters, ...Chat.toRequest(asked) }),
        catch: (cause) =>
          api.error(
            method,
            new AiError.InvalidUserInputError({
              description: cause instanceof Chat.Unsupported ? cause.message : "the prompt can't be sent as JSON"
            })
          )
      })
    const checked = <A>(method: string, read: () => A) =>
      Effect.try({
        try: read,
        catch: (cause) =>
          api.error(
            method,
            cause instanceof Chat.Refused
              ? new AiError.ContentPolicyError({ description: api.quote(cause.message) })
              : new AiError.InvalidOutputError({
                description: cause instanceof Chat.Malformed
                  ? cause.message
                  : "the answer is not one of a chat completion"
              })
          )
      })

    const streamText = (asked: LanguageModel.ProviderOptions) => {
      const lost = (description: string) => api.lost("streamText", path, description)
      return Stream.unwrap(Effect.gen(function*() {
        const body = yield* request(asked, "streamText")
        const response = yield* api.open(path, "streamText", {
          ...body,
          stream: true,
          stream_options: { include_usage: true }
        })
        const state = Chat.makeStream()
        const events = response.stream.pipe(
          Stream.mapError(() => lost("the answer was cut off")),
          Stream.timeoutOrElse({
            duration: api.timeoutMs,
            orElse: () => Stream.fail(lost(`the answer paused for more than ${api.timeoutMs / 1000} s`))
          }),
          Stream.decodeText(),
          Stream.pipeThroughChannel(Sse.decode()),
          // What is left is an event beyond all size, or the request to come again later, which no chat completion makes.
          Stream.mapError((error) =>
            AiError.isAiError(error) ? error : lost("the stream is not one of a chat completion")
          )
        )
        const parts = Stream.mapEffect(events, (event) =>
          checked("streamText", () => state.take(event.data)).pipe(
            Effect.flatMap((found) =>
              found.error === undefined ? Effect.succeed(found.parts) : Effect.fail(
                api.error(
                  "streamText",
                  new AiError.InternalProviderError({
                    description: `the server broke off: ${api.quote(found.error)}`
                  })
                )
              )
            )
          ))
        const end = Stream.unwrap(Effect.suspend(() =>
          state.isComplete()
            ? Effect.map(checked("streamText", state.end), Stream.fromIterable)
            : Effect.fail(lost("the answer was cut off before its end"))
        ))
        return Stream.concat(Stream.flattenIterable(parts), end)
      }))
    }

    return yield* LanguageModel.make({
      codecTransformer: OpenAiStructuredOutput.toCodecOpenAI,
      generateText: (asked): Effect.Effect<Array<Response.PartEncoded>, AiError.AiError> =>
        request(asked, "generateText").pipe(
          Effect.flatMap((body) => api.post(path, "generateText", body)),
          Effect.flatMap((json) => checked("generateText", () => Chat.fromCompletion(json)))
        ),
      streamText
    })
  })
