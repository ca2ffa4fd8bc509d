/**
 * Embeddings from an API that speaks as OpenAI's does: OpenAI itself, or a server of one's own (Ollama, vLLM, LocalAI).
 *
 * **What is promised**
 *
 * - *One request per batch.* `embedMany` sends its texts together, in as many requests as the API's limits make
 *   necessary; `embed` calls that fibers make at the same time become one request. Vectors come in the order of texts.
 * - *A bad text harms itself alone.* What can be known here (empty, too long) is refused before anything is sent, and
 *   where the API refuses a request that several fibers share, it is asked again for each part of them.
 * - *Retries*: 429, 5xx, timeouts and lost connections, up to `retries` times, no sooner than `Retry-After` says. Other
 *   4xx fail at once.
 * - *Nothing is believed*: count, order, length and numbers of an answer are checked.
 * - *Errors* are `AiError`s whose reason says what to do. The key is in none of them.
 *
 * **What is not**
 *
 * - A text that has more tokens than the model takes is refused by the API, with an `InvalidRequestError`.
 * - Interrupting one of several fibers that share a request does not end the request; interrupting all of them does.
 */
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Config from "effect/Config"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Request from "effect/Request"
import * as RequestResolver from "effect/RequestResolver"
import * as OpenAi from "./internal/openAi.ts"
import { settings } from "./internal/settings.ts"

/** Whom to ask, for what, and how much at a time. */
export interface Options {
  /** Sent as `Authorization: Bearer …`. Needed for OpenAI itself; a server of one's own may do without. */
  readonly apiKey?: Redacted.Redacted | undefined
  /** Up to `/v1`; default `https://api.openai.com/v1`. */
  readonly baseUrl?: string | undefined
  /** Default `text-embedding-3-small`. */
  readonly model?: string | undefined
  /**
   * How many numbers a vector has: an answer with another length is refused. Known for OpenAI's models, needed for
   * others. OpenAI's third generation gives shorter ones when asked to, which it then is.
   */
  readonly dimensions?: number | undefined
  /** How long one attempt may take; default 1 minute. */
  readonly timeout?: Duration.Input | undefined
  /** How often a request is sent again; default 3. The first wait is half a second, each further one twice as long. */
  readonly retries?: number | undefined
  /** A server that asks to wait longer than this (`Retry-After`) is not waited for; default 1 minute. */
  readonly maxRetryAfter?: Duration.Input | undefined
  /** The most texts of one request; default 2048, which is OpenAI's limit. */
  readonly maxBatchSize?: number | undefined
  /** The most characters of one request, unless one text has more; default 1 million. */
  readonly maxBatchLength?: number | undefined
  /** The most characters of one text; default 200 000, more than any of OpenAI's models takes. */
  readonly maxTextLength?: number | undefined
  /** How long the first of several `embed` calls waits for others to share its request; default: those of the same moment. */
  readonly batchWindow?: Duration.Input | undefined
  /** Further headers, `OpenAI-Organization` for one. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** The model that is asked where none is named. */
export const defaultModel = "text-embedding-3-small"

/**
 * The names under which {@link layerConfig} looks where it is given none: `OPENAI_API_KEY` (needed), `OPENAI_BASE_URL`,
 * `OPENAI_EMBEDDING_MODEL` and `OPENAI_EMBEDDING_DIMENSIONS`.
 */
export const config: Config.Config<Options> = Config.all({
  apiKey: Config.Redacted("OPENAI_API_KEY"),
  baseUrl: Config.withDefault(Config.NonEmptyString("OPENAI_BASE_URL"), OpenAi.defaultBaseUrl),
  model: Config.withDefault(Config.NonEmptyString("OPENAI_EMBEDDING_MODEL"), defaultModel),
  dimensions: Config.withDefault(Config.Int("OPENAI_EMBEDDING_DIMENSIONS"), undefined)
})

type Services = EmbeddingModel.EmbeddingModel | EmbeddingModel.Dimensions

/**
 * The model, over the `fetch` of the platform. Fails at the start where there is no key, or the URL, the dimensions or
 * another option can't be meant.
 *
 * ```ts
 * import { Effect, Redacted } from "effect"
 * import { EmbeddingModel } from "effect/ai"
 * import * as EmbeddingsOpenAi from "penguiflow/layers/EmbeddingsOpenAi"
 *
 * const Embeddings = EmbeddingsOpenAi.layer({ apiKey: Redacted.make("sk-…") })
 * const program = EmbeddingModel.EmbeddingModel.use((model) => model.embed("penguins swim in cold water"))
 * const { vector } = await Effect.runPromise(Effect.provide(program, Embeddings))
 * vector.length // => 1536
 * ```
 */
export const layer = (options: Options): Layer.Layer<Services, AiError.AiError> =>
  Layer.provide(layerClient(options), FetchHttpClient.layer)

/** The same over the `HttpClient` that is there. */
export const layerClient = (options: Options): Layer.Layer<Services, AiError.AiError, HttpClient.HttpClient> =>
  Layer.unwrap(Effect.map(make(options), ({ dimensions, model }) =>
    Layer.merge(
      Layer.succeed(EmbeddingModel.EmbeddingModel, model),
      Layer.succeed(EmbeddingModel.Dimensions, dimensions)
    )))

/** The same with options from `Config`, by default from those that {@link config} names. */
export const layerConfig = (
  options: Config.Wrap<Options> = config
): Layer.Layer<Services, Config.ConfigError | AiError.AiError> =>
  Layer.unwrap(Effect.map(settings("embeddings", options), layer))

// ----------------------------------------------------------------------------------------------------------- internals

const module = "EmbeddingsOpenAi"

/** The models whose length is known; the third generation gives shorter vectors too. */
const known: ReadonlyMap<string, { readonly dimensions: number; readonly shortens: boolean }> = new Map([
  ["text-embedding-3-small", { dimensions: 1536, shortens: true }],
  ["text-embedding-3-large", { dimensions: 3072, shortens: true }],
  ["text-embedding-ada-002", { dimensions: 1536, shortens: false }]
])

interface Limits {
  readonly dimensions: number
  readonly maxBatchSize: number
  readonly maxBatchLength: number
  readonly maxTextLength: number
}

const limitsOf = (options: Options, model: string): Limits | string => {
  const native = known.get(model)
  const dimensions = options.dimensions ?? native?.dimensions
  if (dimensions === undefined) {
    return `the length of the vectors of ${JSON.stringify(model)} is not known here: give dimensions`
  }
  if (
    native !== undefined && (dimensions > native.dimensions || (!native.shortens && dimensions !== native.dimensions))
  ) {
    return `the vectors of ${model} have ${native.dimensions} numbers, not ${dimensions}: leave dimensions out`
  }
  const limits = {
    dimensions,
    maxBatchSize: options.maxBatchSize ?? 2048,
    maxBatchLength: options.maxBatchLength ?? 1_000_000,
    maxTextLength: options.maxTextLength ?? 200_000
  }
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isSafeInteger(value) || value < 1) return `${name} must be a whole number from 1 on, not ${value}`
  }
  return limits
}

const make = (
  options: Options
): Effect.Effect<
  { readonly model: EmbeddingModel.EmbeddingModel; readonly dimensions: number },
  AiError.AiError,
  HttpClient.HttpClient
> =>
  Effect.gen(function*() {
    const name = options.model ?? defaultModel
    const limits = limitsOf(options, name)
    if (typeof limits === "string") {
      const reason = new AiError.InvalidUserInputError({ description: limits })
      return yield* AiError.make({ module, method: "layer", reason })
    }
    const api = yield* OpenAi.make(module, options)
    const shortened = limits.dimensions === known.get(name)?.dimensions || known.get(name)?.shortens !== true
      ? {}
      : { dimensions: limits.dimensions }

    const request = (inputs: ReadonlyArray<string>): Effect.Effect<Answer, AiError.AiError> =>
      Effect.flatMap(
        api.post("/embeddings", "embedMany", { model: name, input: inputs, encoding_format: "float", ...shortened }),
        (json) => {
          const answer = read(json, inputs.length, limits.dimensions)
          return typeof answer === "string"
            ? Effect.fail(api.error("embedMany", new AiError.InvalidOutputError({ description: answer })))
            : Effect.succeed(answer)
        }
      )

    const bad = (text: string, which: string): AiError.AiError | undefined => {
      const description = text === ""
        ? `${which} is empty: there is nothing to embed`
        : text.length > limits.maxTextLength
        ? `${which} has ${text.length} characters, and may have ${limits.maxTextLength}: cut it into parts, and embed ` +
          "those, or raise maxTextLength"
        : undefined
      return description === undefined
        ? undefined
        : api.error("embedMany", new AiError.InvalidUserInputError({ description }))
    }

    const plain = yield* EmbeddingModel.make({
      embedMany: ({ inputs }) =>
        Effect.suspend(() => {
          for (const [i, text] of inputs.entries()) {
            const error = bad(text, inputs.length === 1 ? "the text" : `text ${i + 1} of ${inputs.length}`)
            if (error !== undefined) return Effect.fail(error)
          }
          return Effect.map(
            Effect.forEach(portions(inputs, limits), request),
            (answers) => ({
              results: answers.flatMap((answer) => answer.vectors),
              usage: { inputTokens: sum(answers.map((answer) => answer.tokens)) }
            })
          )
        })
    })

    type Entry = Request.Entry<EmbeddingModel.EmbeddingRequest>
    /** For fibers that have nothing to do with each other: one's bad text must not fail the others. */
    const forEntries = (entries: ReadonlyArray<Entry>): Effect.Effect<void> =>
      Effect.matchCauseEffect(request(entries.map((entry) => entry.request.input)), {
        onSuccess: ({ vectors }) =>
          Effect.sync(() => {
            for (const [i, entry] of entries.entries()) {
              entry.completeUnsafe(Exit.succeed(new EmbeddingModel.EmbedResponse({ vector: vectors[i] ?? [] })))
            }
          }),
        onFailure: (cause) => {
          if (entries.length > 1 && cause.reasons.some((it) => it._tag === "Fail" && isAboutInput(it.error))) {
            const half = Math.ceil(entries.length / 2)
            return Effect.andThen(forEntries(entries.slice(0, half)), forEntries(entries.slice(half)))
          }
          return Effect.sync(() => {
            for (const entry of entries) entry.completeUnsafe(Exit.failCause(cause))
          })
        }
      })
    // Effect's resolver lets a request go on whose callers have all been interrupted: nobody would pay for that.
    const groups = new WeakMap<EmbeddingModel.EmbeddingRequest, Group>()
    const resolver = RequestResolver.make<EmbeddingModel.EmbeddingRequest>((entries) =>
      Effect.forEach(
        portions(entries, limits, (entry) => entry.request.input),
        (portion) =>
          Effect.suspend(() => {
            const group: Group = { waiting: portion.length, deserted: Deferred.makeUnsafe() }
            for (const entry of portion) groups.set(entry.request, group)
            return Effect.raceFirst(forEntries(portion), Deferred.await(group.deserted))
          }),
        { discard: true }
      )
    ).pipe(
      RequestResolver.batchN(limits.maxBatchSize),
      options.batchWindow === undefined ? (it) => it : RequestResolver.setDelay(options.batchWindow)
    )
    const model = EmbeddingModel.EmbeddingModel.of({
      ...plain,
      resolver,
      embed: (input) =>
        Effect.suspend(() => {
          const error = bad(input, "the text")
          if (error !== undefined) return Effect.fail(error)
          const own = new EmbeddingModel.EmbeddingRequest({ input })
          return Effect.onInterrupt(Effect.request(own, resolver), () =>
            Effect.sync(() => {
              const group = groups.get(own)
              if (group !== undefined && --group.waiting === 0) Deferred.doneUnsafe(group.deserted, Exit.void)
            }))
        })
    })
    return { model, dimensions: limits.dimensions }
  })

/** Those who share a request. */
interface Group {
  waiting: number
  readonly deserted: Deferred.Deferred<void>
}

interface Answer {
  readonly vectors: Array<Array<number>>
  readonly tokens: number | undefined
}

/** The vectors in the order of their texts, or what is wrong with the answer. Looked through by hand: it may be long. */
const read = (json: unknown, count: number, dimensions: number): Answer | string => {
  const data = OpenAi.field(json, "data")
  if (!Array.isArray(data)) {
    return "the answer has no list `data`. Check baseUrl: it may not be that of an embeddings API"
  }
  if (data.length !== count) return `the answer has ${data.length} embeddings for ${count} texts`
  const vectors: Array<Array<number>> = []
  for (let i = 0; i < count; i++) {
    const item: unknown = data[i]
    const index = OpenAi.field(item, "index") ?? i
    if (typeof index !== "number" || !Number.isInteger(index) || index < 0 || index >= count || index in vectors) {
      return "the answer's indexes are not those of the texts, each once"
    }
    const vector = OpenAi.field(item, "embedding")
    if (!isNumbers(vector)) return `embedding ${index + 1} of ${count} is not a list of finite numbers`
    if (vector.length !== dimensions) {
      return `embedding ${
        index + 1
      } of ${count} has ${vector.length} numbers, where ${dimensions} were expected. Check ` +
        "the model, or give its dimensions"
    }
    vectors[index] = vector
  }
  return { vectors, tokens: OpenAi.count(OpenAi.field(OpenAi.field(json, "usage"), "prompt_tokens")) }
}

const isNumbers = (value: unknown): value is Array<number> => {
  if (!Array.isArray(value)) return false
  for (let i = 0; i < value.length; i++) if (typeof value[i] !== "number" || !Number.isFinite(value[i])) return false
  return true
}

const sum = (counts: ReadonlyArray<number | undefined>): number | undefined =>
  counts.reduce<number | undefined>((all, one) => one === undefined || all === undefined ? undefined : all + one, 0)

/** As many at a time as fit into one request. */
const portions = <A>(
  items: ReadonlyArray<A>,
  limits: Limits,
  textOf: (item: A) => string = String
): ReadonlyArray<ReadonlyArray<A>> => {
  const found: Array<Array<A>> = []
  let last: Array<A> = []
  let length = 0
  for (const item of items) {
    const more = textOf(item).length
    if (last.length > 0 && (last.length >= limits.maxBatchSize || length + more > limits.maxBatchLength)) {
      found.push(last)
      last = []
      length = 0
    }
    last.push(item)
    length += more
  }
  if (last.length > 0) found.push(last)
  return found
}

/** Whether a request was refused for one of its texts: another reason, such as the model, would be one for all of them. */
const isAboutInput = (error: AiError.AiError): boolean =>
  error.reason._tag === "InvalidRequestError" &&
  (error.reason.parameter === "input" ||
    /input|token|context length|too (long|large)|answered 413/i.test(error.reason.description ?? ""))
