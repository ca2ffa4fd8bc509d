import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Exit, Fiber, Layer, Redacted } from "effect"
import { type AiError, EmbeddingModel } from "effect/ai"
import { HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import * as EmbeddingsOpenAi from "penguiflow/layers/EmbeddingsOpenAi"
import * as Api from "../utils/servers/openAi.ts"
import { eventually, freePort, timed } from "../utils/servers/process.ts"

const secret = "sk-very-secret-key"
const { EmbeddingModel: Model } = EmbeddingModel
const embed = (text: string) => Effect.map(Model.use((model) => model.embed(text)), ({ vector }) => vector)
const embedMany = (texts: ReadonlyArray<string>) => Model.use((model) => model.embedMany(texts))

/** A server, and a client that does not take its time. */
const server = Effect.gen(function*() {
  const api = yield* Api.start
  const layer = (options: EmbeddingsOpenAi.Options = {}) =>
    EmbeddingsOpenAi.layer({ apiKey: Redacted.make(secret), baseUrl: api.baseUrl, retries: 0, ...options })
  return { ...api, layer }
})

/** Nothing of an error, however it is looked at, holds the key. */
const isClean = (error: unknown) => {
  const all = [String(error), inspect(error, { depth: 20, showHidden: true }), JSON.stringify(error)].join("\n")
  assert.notInclude(all, secret)
}
const fails = <A>(
  effect: Effect.Effect<A, AiError.AiError, EmbeddingModel.EmbeddingModel>,
  layer: Layer.Layer<EmbeddingModel.EmbeddingModel | EmbeddingModel.Dimensions, AiError.AiError>
) =>
  Effect.map(Effect.flip(Effect.provide(effect, layer, { local: true })), (error) => {
    isClean(error)
    return { tag: error.reason._tag, message: error.message, error }
  })

describe("EmbeddingsOpenAi", () => {
  it.live("asks as the API wants it: model, texts and key; and gives the vectors in the order of the texts", () =>
    Effect.gen(function*() {
      const { answer, asked, layer } = yield* server
      answer((response, one) => Api.json(response, Api.embeddings(one)))
      const texts = ["a", "bb", "ccc", "🐧"]
      const many = yield* Effect.provide(embedMany(texts), layer())
      assert.deepStrictEqual(many.embeddings.map(({ vector }) => vector[0]), [1, 2, 3, 2])
      assert.isTrue(many.embeddings.every(({ vector }) => vector.length === 1536))
      assert.strictEqual(many.usage.inputTokens, 8)
      assert.strictEqual(asked.length, 1)
      assert.strictEqual(asked[0]?.path, "/v1/embeddings")
      assert.strictEqual(asked[0]?.headers.authorization, `Bearer ${secret}`)
      assert.deepStrictEqual(asked[0]?.body, {
        model: "text-embedding-3-small",
        input: texts,
        encoding_format: "float"
      })
      assert.strictEqual((yield* Effect.provide(embed("seven w"), layer()))[0], 7)
      assert.strictEqual(yield* Effect.provide(EmbeddingModel.Dimensions, layer()), 1536)
    }))

  it.live("embeds that fibers ask for at the same time become one request; an empty batch becomes none", () =>
    Effect.gen(function*() {
      const { answer, asked, layer } = yield* server
      answer((response, one) => Api.json(response, Api.embeddings(one)))
      yield* Effect.gen(function*() {
        assert.deepStrictEqual((yield* embedMany([])).embeddings, [])
        assert.strictEqual(asked.length, 0)
        const vectors = yield* Effect.forEach(
          Array.from({ length: 100 }, (_, i) => "x".repeat(i + 1)),
          embed,
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(vectors.map((vector) => vector[0]), vectors.map((_, i) => i + 1))
        assert.strictEqual(asked.length, 1)
      }).pipe(Effect.provide(layer()))
      // Those of a time, not only those of a moment.
      answer((response, one) => Api.json(response, Api.embeddings(one)))
      yield* Effect.all([embed("a"), Effect.delay(embed("bb"), "20 millis")], { concurrency: 2 }).pipe(
        Effect.provide(layer({ batchWindow: "200 millis" }))
      )
      assert.strictEqual(asked.length, 1)
    }))

  it.live("more than fits into one request goes into several, and comes back in order", () =>
    Effect.gen(function*() {
      const { answer, asked, layer } = yield* server
      answer((response, one) => Api.json(response, Api.embeddings(one)))
      const texts = Array.from({ length: 25 }, (_, i) => "x".repeat(i + 1))
      const many = yield* Effect.provide(embedMany(texts), layer({ maxBatchSize: 10 }))
      assert.deepStrictEqual(many.embeddings.map(({ vector }) => vector[0]), texts.map((text) => text.length))
      assert.deepStrictEqual(asked.map((one) => Api.inputsOf(one).length), [10, 10, 5])
      assert.strictEqual(many.usage.inputTokens, 325)
      answer((response, one) => Api.json(response, Api.embeddings(one)))
      yield* Effect.provide(
        embedMany(["x".repeat(60), "x".repeat(60), "x".repeat(300), "x"]),
        layer({ maxBatchLength: 100 })
      )
      assert.deepStrictEqual(asked.map((one) => Api.inputsOf(one).length), [1, 1, 1, 1])
    }))

  it.live(
    "429 and 5xx are tried again, no sooner than the server asks; other 4xx are not",
    () =>
      Effect.gen(function*() {
        const { answer, asked, layer } = yield* server
        answer((response, one, nth) =>
          nth === 0
            ? Api.refuse(response, 429, { message: "slow down" }, { "retry-after": "1" })
            : Api.json(response, Api.embeddings(one))
        )
        const [vector, ms] = yield* timed(Effect.provide(embed("abc"), layer({ retries: 3 })))
        assert.strictEqual(vector[0], 3)
        assert.strictEqual(asked.length, 2)
        assert.isAtLeast(ms, 990)
        answer((response, one, nth) =>
          nth < 1
            ? Api.refuse(response, 503, { message: "busy" }, { "retry-after-ms": "700" })
            : Api.json(response, Api.embeddings(one))
        )
        const [, busy] = yield* timed(Effect.provide(embed("abc"), layer({ retries: 1 })))
        assert.isAtLeast(busy, 690)
        for (const status of [400, 401, 403, 404, 408, 409, 413, 422]) {
          answer((response) => Api.refuse(response, status, { message: "no" }))
          yield* fails(embed("abc"), layer({ retries: 3 }))
          assert.strictEqual(asked.length, 1, String(status))
        }
        // Too long a wait is the caller's to decide about.
        answer((response) => Api.refuse(response, 429, { message: "slow down" }, { "retry-after": "600" }))
        const [limited, at] = yield* timed(fails(embed("abc"), layer({ retries: 3 })))
        assert.strictEqual(limited.tag, "RateLimitError")
        assert.isTrue(limited.error.isRetryable)
        assert.strictEqual(limited.message.includes("10m"), true, limited.message)
        assert.isBelow(at, 900)
        // Money that is spent does not come back by waiting.
        answer((response) => Api.refuse(response, 429, { message: "pay", code: "insufficient_quota" }))
        assert.strictEqual((yield* fails(embed("abc"), layer({ retries: 3 }))).tag, "QuotaExhaustedError")
        assert.strictEqual(asked.length, 1)
      }),
    20_000
  )

  it.effect("waits twice as long each time, and gives up with the last failure", () =>
    Effect.gen(function*() {
      let asked = 0
      const client = HttpClient.make((request) =>
        Effect.sync(() => {
          asked++
          return HttpClientResponse.fromWeb(
            request,
            new Response("{\"error\":{\"message\":\"broken\"}}", { status: 500 })
          )
        })
      )
      const layer = EmbeddingsOpenAi.layerClient({ apiKey: Redacted.make(secret) }).pipe(
        Layer.provide(Layer.succeed(HttpClient.HttpClient, client))
      )
      const fiber = yield* Effect.forkChild(Effect.flip(Effect.provide(embed("abc"), layer)), {
        startImmediately: true
      })
      yield* TestClock.adjust("350 millis")
      assert.strictEqual(asked, 1)
      yield* TestClock.adjust("300 millis")
      assert.strictEqual(asked, 2)
      yield* TestClock.adjust("3 seconds")
      yield* TestClock.adjust("3 seconds")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(asked, 4)
      assert.strictEqual(error.reason._tag, "InternalProviderError")
      assert.include(error.message, "500: broken")
    }))

  it.live("what is wrong with the answer is a typed error that says it: malformed, cut off, count, length, numbers", () =>
    Effect.gen(function*() {
      const { answer, layer } = yield* server
      const vector = Api.vectorOf("a", 1536)
      const data = (...items: ReadonlyArray<unknown>) => ({ data: items })
      const cases: ReadonlyArray<readonly [Api.Handler, string, string]> = [
        [(it) => it.writeHead(200).end("<html>hello"), "InvalidResponseError", "not JSON"],
        [(it) => it.writeHead(200).end(""), "InvalidResponseError", "not JSON"],
        [(it) => Api.cutOff(it, "{\"data\": ["), "NetworkError", "cut off"],
        [(it) => it.destroy(), "NetworkError", "connection failed"],
        [(it) => Api.json(it, { hello: "world" }), "InvalidOutputError", "no list `data`"],
        [(it) => Api.json(it, null), "InvalidOutputError", "no list `data`"],
        [(it) => Api.json(it, data()), "InvalidOutputError", "0 embeddings for 2 texts"],
        [(it) => Api.json(it, data({ index: 0, embedding: vector })), "InvalidOutputError", "1 embeddings for 2 texts"],
        [
          (it) => Api.json(it, data(...[0, 1, 2].map((index) => ({ index, embedding: vector })))),
          "InvalidOutputError",
          "3 embeddings for 2 texts"
        ],
        [
          (it) => Api.json(it, data({ index: 0, embedding: vector }, { index: 0, embedding: vector })),
          "InvalidOutputError",
          "indexes"
        ],
        [
          (it) => Api.json(it, data({ index: 0, embedding: vector }, { index: 7, embedding: vector })),
          "InvalidOutputError",
          "indexes"
        ],
        [
          (it) => Api.json(it, data({ index: 1, embedding: vector }, { index: 0, embedding: [1, 2, 3] })),
          "InvalidOutputError",
          "embedding 1 of 2 has 3 numbers, where 1536 were expected"
        ],
        [
          (it) =>
            Api.json(it, data({ index: 0, embedding: vector }, { index: 1, embedding: ["x", ...vector.slice(1)] })),
          "InvalidOutputError",
          "embedding 2 of 2 is not a list of finite numbers"
        ],
        [
          (it) =>
            it.writeHead(200).end(
              `{"data":[{"index":0,"embedding":[1e999]},{"index":1,"embedding":${JSON.stringify(vector)}}]}`
            ),
          "InvalidOutputError",
          "finite"
        ],
        [(it) => Api.json(it, data({ index: 0, embedding: "AAAA" }, {})), "InvalidOutputError", "finite"],
        [(it) => it.writeHead(502).end("bad gateway"), "InternalProviderError", "502"],
        [
          (it) => Api.refuse(it, 401, { message: `Incorrect API key provided: ${secret}` }),
          "AuthenticationError",
          "<redacted>"
        ],
        [(it) => Api.refuse(it, 404, { message: "no such model" }), "InvalidRequestError", "Check baseUrl and model"],
        [(it) => Api.refuse(it, 400, { message: secret.repeat(100) }), "InvalidRequestError", "<redacted>"]
      ]
      for (const [handler, tag, message] of cases) {
        answer(handler)
        const found = yield* fails(embedMany(["a", "b"]), layer())
        assert.strictEqual(found.tag, tag, found.message)
        assert.include(found.message, message)
        assert.isBelow(found.message.length, 800)
      }
    }))

  it.live("a server that is slow is given up in time, and the request with it; one that is not there is said", () =>
    Effect.gen(function*() {
      const { abandoned, answer, asked, layer } = yield* server
      answer((response, one, nth) => {
        // First nothing at all, then a beginning without an end, then an answer.
        if (nth === 1) response.writeHead(200).write("{")
        if (nth === 2) Api.json(response, Api.embeddings(one))
      })
      const [found, ms] = yield* timed(fails(embed("abc"), layer({ timeout: "200 millis" })))
      assert.strictEqual(found.tag, "NetworkError")
      assert.include(found.message, "no answer within 0.2 s")
      assert.isBelow(ms, 1500)
      assert.strictEqual((yield* Effect.provide(embed("abc"), layer({ timeout: "200 millis", retries: 2 })))[0], 3)
      assert.strictEqual(asked.length, 3)
      assert.isTrue(yield* eventually(Effect.map(abandoned, (n) => n === 2)))
      const nobody = yield* fails(embed("abc"), layer({ baseUrl: `http://127.0.0.1:${yield* freePort}/v1` }))
      assert.strictEqual(nobody.tag, "NetworkError")
      assert.include(nobody.message, "nobody listens there (ECONNREFUSED)")
    }))

  it.live("interrupting ends the request, where several share it when the last of them is interrupted", () =>
    Effect.gen(function*() {
      const { abandoned, answer, asked, layer } = yield* server
      const services = yield* Layer.build(layer())
      const interrupt = (embedding: Effect.Effect<unknown, AiError.AiError, EmbeddingModel.EmbeddingModel>) =>
        Effect.gen(function*() {
          answer(() => {})
          const fiber = yield* Effect.forkChild(Effect.provideContext(embedding, services), { startImmediately: true })
          assert.isTrue(yield* eventually(Effect.sync(() => asked.length === 1)))
          const [, ms] = yield* timed(Fiber.interrupt(fiber))
          assert.isBelow(ms, 500)
          assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
        })
      yield* interrupt(embed("abc"))
      assert.isTrue(yield* eventually(Effect.map(abandoned, (n) => n === 1)))
      yield* interrupt(embedMany(["abc"]))
      assert.isTrue(yield* eventually(Effect.map(abandoned, (n) => n === 2)))
      yield* interrupt(Effect.all([embed("abc"), embed("bcd"), embed("cde")], { concurrency: 3 }))
      assert.isTrue(yield* eventually(Effect.map(abandoned, (n) => n === 3)))
      // One of two goes: the other has its answer.
      answer((response, one) => void setTimeout(() => Api.json(response, Api.embeddings(one)), 150))
      const both = yield* Effect.forEach(
        ["abc", "bcde"],
        (text) => Effect.forkChild(Effect.provideContext(embed(text), services), { startImmediately: true })
      )
      assert.isTrue(yield* eventually(Effect.sync(() => asked.length === 1)))
      const [goes, stays] = both
      if (goes === undefined || stays === undefined) return assert.fail()
      yield* Fiber.interrupt(goes)
      assert.strictEqual((yield* Fiber.join(stays))[0], 4)
      assert.strictEqual(yield* abandoned, 3)
    }))

  it.live("a text that can't be embedded is refused before anything is sent, and harms no other", () =>
    Effect.gen(function*() {
      const { answer, asked, layer } = yield* server
      answer((response, one) => Api.json(response, Api.embeddings(one)))
      const megabyte = "x".repeat(1_000_000)
      for (
        const [text, message] of [["", "is empty"], [megabyte, "has 1000000 characters, and may have 200000"]] as const
      ) {
        const one = yield* fails(embed(text), layer())
        assert.strictEqual(one.tag, "InvalidUserInputError")
        assert.include(one.message, message)
        const many = yield* fails(embedMany(["a", text, "c"]), layer())
        assert.include(many.message, `text 2 of 3 ${message}`)
      }
      assert.strictEqual(asked.length, 0)
      const mixed = yield* Effect.forEach(["aa", megabyte, "", "bb"], (text) => Effect.exit(embed(text)), {
        concurrency: "unbounded"
      }).pipe(Effect.provide(layer()))
      assert.deepStrictEqual(mixed.map(Exit.isSuccess), [true, false, false, true])
      assert.strictEqual(asked.length, 1)
      // Where the limit is raised, it goes through, whole.
      const large = yield* Effect.provide(embed(megabyte), layer({ maxTextLength: 2_000_000 }))
      assert.strictEqual(large[0], 1_000_000)
    }))

  it.live("a text that the API refuses fails for who asked for it; the others of the batch have theirs", () =>
    Effect.gen(function*() {
      const { answer, asked, layer } = yield* server
      answer((response, one) =>
        Api.inputsOf(one).some((text) => text.startsWith("too long"))
          ? Api.refuse(response, 400, { message: "This model's maximum context length is 8192 tokens", param: "input" })
          : Api.json(response, Api.embeddings(one))
      )
      const texts = ["a", "bb", "too long 1", "dddd", "eeeee", "too long 2", "ggggggg", "h"]
      const exits = yield* Effect.forEach(texts, (text) => Effect.exit(embed(text)), { concurrency: "unbounded" }).pipe(
        Effect.provide(layer())
      )
      assert.deepStrictEqual(exits.map(Exit.isSuccess), texts.map((text) => !text.startsWith("too long")))
      assert.isBelow(asked.length, 16)
      // What is not about a text is not asked again for each of them.
      answer((response) => Api.refuse(response, 400, { message: "model is not available", param: "model" }))
      yield* Effect.forEach(texts, (text) => Effect.exit(embed(text)), { concurrency: "unbounded" }).pipe(
        Effect.provide(layer())
      )
      assert.strictEqual(asked.length, 1)
    }))

  it.live("dimensions: asked for where OpenAI's models give fewer, only checked elsewhere, needed for unknown models", () =>
    Effect.gen(function*() {
      const { answer, asked, layer } = yield* server
      answer((response, one) => Api.json(response, Api.embeddings(one, 256)))
      assert.strictEqual((yield* Effect.provide(embed("abc"), layer({ dimensions: 256 }))).length, 256)
      assert.strictEqual(asked[0]?.body.dimensions, 256)
      const own = layer({ model: "nomic-embed-text", dimensions: 256, apiKey: undefined })
      assert.strictEqual((yield* Effect.provide(embed("abc"), own)).length, 256)
      assert.isUndefined(asked[1]?.body.dimensions)
      assert.isUndefined(asked[1]?.headers.authorization)
      assert.strictEqual(yield* Effect.provide(EmbeddingModel.Dimensions, own), 256)
    }))

  it.live("at the start: what is missing or can't be meant is a typed error that says what to do", () =>
    Effect.gen(function*() {
      const apiKey = Redacted.make(secret)
      const cases: ReadonlyArray<readonly [EmbeddingsOpenAi.Options, string, string]> = [
        [{}, "AuthenticationError", "there is no apiKey"],
        [{ apiKey: Redacted.make("") }, "AuthenticationError", "is empty"],
        [{ apiKey: Redacted.make(`${secret}\n`) }, "AuthenticationError", "line breaks"],
        [{ apiKey, baseUrl: "api.openai.com" }, "NetworkError", "baseUrl must be"],
        [{ apiKey, baseUrl: `https://user:${secret}@host/v1` }, "NetworkError", "without user and password"],
        [{ apiKey, baseUrl: "file:///etc/passwd" }, "NetworkError", "baseUrl must be"],
        [{ apiKey, model: "unknown" }, "InvalidUserInputError", "give dimensions"],
        [{ apiKey, dimensions: 4000 }, "InvalidUserInputError", "have 1536 numbers, not 4000"],
        [{ apiKey, dimensions: 0.5 }, "InvalidUserInputError", "dimensions must be"],
        [{ apiKey, model: "text-embedding-ada-002", dimensions: 10 }, "InvalidUserInputError", "have 1536 numbers"],
        [{ apiKey, maxBatchSize: 0 }, "InvalidUserInputError", "maxBatchSize must be"],
        [{ apiKey, retries: -1 }, "InvalidUserInputError", "retries a whole number"],
        [{ apiKey, timeout: 0 }, "InvalidUserInputError", "timeout"]
      ]
      for (const [options, tag, message] of cases) {
        const found = yield* fails(embed("never sent"), EmbeddingsOpenAi.layer(options))
        assert.strictEqual(found.tag, tag, found.message)
        assert.include(found.message, message)
      }
    }))

  it.live("takes its options from Config, and names what is missing or not of its type", () =>
    Effect.gen(function*() {
      const { answer, asked, baseUrl } = yield* server
      answer((response, one) => Api.json(response, Api.embeddings(one, 8)))
      const withEnv = <A, E, R>(effect: Effect.Effect<A, E, R>, env: Record<string, string>) =>
        Effect.provide(effect, ConfigProvider.layer(ConfigProvider.fromUnknown(env)))
      const program = Effect.provide(embed("abc"), EmbeddingsOpenAi.layerConfig())
      const env = {
        OPENAI_API_KEY: secret,
        OPENAI_BASE_URL: baseUrl,
        OPENAI_EMBEDDING_MODEL: "tiny",
        OPENAI_EMBEDDING_DIMENSIONS: "8"
      }
      assert.strictEqual((yield* withEnv(program, env)).length, 8)
      assert.strictEqual(asked[0]?.body.model, "tiny")
      const missing = yield* Effect.flip(withEnv(program, {}))
      assert.strictEqual(missing._tag, "ConfigError")
      assert.include(missing.message, "OPENAI_API_KEY")
      const bad = yield* Effect.flip(withEnv(program, { ...env, OPENAI_EMBEDDING_DIMENSIONS: "many" }))
      assert.include(bad.message, "OPENAI_EMBEDDING_DIMENSIONS")
      isClean(bad)
      const mine = EmbeddingsOpenAi.layerConfig({ apiKey: Config.Redacted("MINE"), baseUrl: Config.succeed(baseUrl) })
      const wrong = yield* Effect.flip(withEnv(Effect.provide(embed("abc"), mine), { MINE: secret }))
      assert.include(wrong.message, "8 numbers, where 1536")
    }))
})
