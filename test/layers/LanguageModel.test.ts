import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Exit, Fiber, Layer, Redacted, Schema, Stream } from "effect"
import { AiError, Chat, LanguageModel, Prompt, Tool, Toolkit } from "effect/ai"
import { inspect } from "node:util"
import * as LanguageModelOpenAi from "penguiflow/layers/LanguageModelOpenAi"
import * as LanguageModelTest from "penguiflow/layers/LanguageModelTest"
import * as Api from "../utils/servers/openAi.ts"
import { eventually, timed } from "../utils/servers/process.ts"

const secret = "sk-very-secret-key"

const server = Effect.gen(function*() {
  const api = yield* Api.start
  const layer = (options: LanguageModelOpenAi.Options = {}) =>
    LanguageModelOpenAi.layer({ apiKey: Redacted.make(secret), baseUrl: api.baseUrl, retries: 0, ...options })
  return { ...api, layer }
})

const usage = { prompt_tokens: 12, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 2 } }
const completion = (message: unknown, finish_reason = "stop") => ({
  id: "chat-1",
  model: "gpt-x",
  choices: [{ index: 0, message, finish_reason }],
  usage
})
const delta = (content: unknown, finish_reason: string | null = null) => ({
  id: "chat-1",
  model: "gpt-x",
  choices: [{ index: 0, delta: content, finish_reason }]
})

const isClean = (error: unknown) => {
  const all = [String(error), inspect(error, { depth: 20, showHidden: true }), JSON.stringify(error)].join("\n")
  assert.notInclude(all, secret)
}
const aiError = (error: unknown) => {
  isClean(error)
  if (!AiError.isAiError(error)) return assert.fail(`not an AiError: ${inspect(error)}`)
  return { tag: error.reason._tag, message: error.message }
}

const Weather = Tool.make("weather", {
  description: "The weather of a place",
  parameters: Schema.Struct({ place: Schema.String }),
  success: Schema.String
})
const Tools = Toolkit.make(Weather)
const Handlers = Tools.toLayer({ weather: ({ place }) => Effect.succeed(`cold in ${place}`) })

const text = (prompt: Prompt.RawInput) => LanguageModel.generateText({ prompt })
const streamed = LanguageModel.streamText({ prompt: "hello" })
const deltas = Stream.runFold(streamed, () => "", (all, part) => part.type === "text-delta" ? all + part.delta : all)

describe("LanguageModelOpenAi", () => {
  it.live("asks as the API wants it, and gives text, reason and usage", () =>
    Effect.gen(function*() {
      const { answer, asked, layer } = yield* server
      answer((response) => Api.json(response, completion({ role: "assistant", content: "In the sea." })))
      const found = yield* text([
        { role: "system", content: "Be brief." },
        { role: "user", content: [{ type: "text", text: "Where " }, { type: "text", text: "do penguins swim?" }] }
      ]).pipe(Effect.provide(layer({ parameters: { temperature: 0 } })))
      assert.strictEqual(found.text, "In the sea.")
      assert.strictEqual(found.finishReason, "stop")
      assert.strictEqual(found.usage.inputTokens.total, 12)
      assert.strictEqual(found.usage.inputTokens.uncached, 10)
      assert.strictEqual(found.usage.outputTokens.total, 5)
      assert.strictEqual(asked[0]?.path, "/v1/chat/completions")
      assert.strictEqual(asked[0]?.headers.authorization, `Bearer ${secret}`)
      assert.deepStrictEqual(asked[0]?.body, {
        model: "gpt-4o-mini",
        temperature: 0,
        messages: [
          { role: "system", content: "Be brief." },
          { role: "user", content: "Where do penguins swim?" }
        ]
      })
    }))

  it.live("images go in, other files are refused with what to do", () =>
    Effect.gen(function*() {
      const { answer, asked, layer } = yield* server
      answer((response) => Api.json(response, completion({ content: "a penguin" })))
      const file = (mediaType: string, data: string | Uint8Array | URL) =>
        text(Prompt.fromMessages([Prompt.userMessage({
          content: [Prompt.textPart({ text: "what?" }), Prompt.filePart({ mediaType, data })]
        })])).pipe(Effect.provide(layer()))
      yield* file("image/png", new Uint8Array([1, 2, 3]))
      yield* file("image/png", new URL("https://example.com/x.png"))
      const urls = asked.map((one) => JSON.stringify(one.body.messages))
      assert.include(urls[0], "data:image/png;base64,AQID")
      assert.include(urls[1], "https://example.com/x.png")
      const refused = aiError(yield* Effect.flip(file("application/pdf", "AAAA")))
      assert.strictEqual(refused.tag, "InvalidUserInputError")
      assert.include(refused.message, "only text and images")
      assert.strictEqual(asked.length, 2)
    }))

  it.live("tools: they are described, called with what the model says, and their results go back", () =>
    Effect.gen(function*() {
      const { answer, asked, layer } = yield* server
      const call = { id: "c1", type: "function", function: { name: "weather", arguments: "{\"place\":\"Palmer\"}" } }
      answer((response, _, nth) =>
        Api.json(
          response,
          nth === 0
            ? completion({ content: null, tool_calls: [call] }, "tool_calls")
            : completion({ content: "It is cold." })
        )
      )
      const chat = yield* Chat.fromPrompt("What is the weather in Palmer?")
      const first = yield* chat.generateText({ prompt: [], toolkit: Tools }).pipe(Effect.provide([layer(), Handlers]))
      assert.deepStrictEqual(first.toolResults.map((one) => one.result), ["cold in Palmer"])
      assert.strictEqual(first.finishReason, "tool-calls")
      const second = yield* chat.generateText({ prompt: [], toolkit: Tools }).pipe(Effect.provide([layer(), Handlers]))
      assert.strictEqual(second.text, "It is cold.")
      const [before, after] = asked
      assert.deepInclude(before?.body, { tool_choice: "auto" })
      assert.deepNestedInclude(before?.body, { "tools[0].function.name": "weather" })
      assert.deepNestedInclude(before?.body, { "tools[0].function.parameters.properties.place.type": "string" })
      assert.deepNestedInclude(after?.body, { "messages[1].tool_calls[0].id": "c1", "messages[1].content": null })
      assert.deepNestedInclude(after?.body, {
        "messages[2]": { role: "tool", tool_call_id: "c1", content: "cold in Palmer" }
      })
    }))

  it.live("an object comes by its JSON schema, and one that does not fit is a typed error", () =>
    Effect.gen(function*() {
      const { answer, asked, layer } = yield* server
      const Penguin = Schema.Struct({ name: Schema.String, age: Schema.Int })
      const ask = LanguageModel.generateObject({ prompt: "a penguin", schema: Penguin, objectName: "penguin" }).pipe(
        Effect.provide(layer())
      )
      answer((response) => Api.json(response, completion({ content: "{\"name\":\"Pingu\",\"age\":7}" })))
      assert.deepStrictEqual((yield* ask).value, { name: "Pingu", age: 7 })
      assert.deepNestedInclude(asked[0]?.body, {
        "response_format.type": "json_schema",
        "response_format.json_schema.name": "penguin",
        "response_format.json_schema.schema.required": ["name", "age"]
      })
      for (const content of ["{\"name\":\"Pingu\"}", "no JSON at all"]) {
        answer((response) => Api.json(response, completion({ content })))
        aiError(yield* Effect.flip(ask))
      }
    }))

  it.live("a stream gives the text piece by piece, also where bytes are cut within a letter, and then reason and usage", () =>
    Effect.gen(function*() {
      const { answer, asked, layer } = yield* server
      answer((response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        const whole = Buffer.from(
          [
            delta({ role: "assistant", content: "" }),
            delta({ content: "Pengu" }),
            delta({ content: "ïns 🐧" }),
            delta({}, "stop"),
            { choices: [], usage }
          ].map((one) => `data: ${JSON.stringify(one)}\r\n\r\n`).join("") + ": a comment\n\ndata: [DONE]\n\n"
        )
        // Byte by byte: whatever can be cut is.
        let i = 0
        const write = () => {
          if (i >= whole.length) return response.end()
          response.write(whole.subarray(i, i += 7))
          setImmediate(write)
        }
        write()
      })
      const parts = yield* Stream.runCollect(streamed).pipe(Effect.provide(layer()))
      assert.deepStrictEqual(parts.map((part) => part.type), [
        "response-metadata",
        "text-start",
        "text-delta",
        "text-delta",
        "text-end",
        "finish"
      ])
      assert.strictEqual(parts.map((part) => part.type === "text-delta" ? part.delta : "").join(""), "Penguïns 🐧")
      const end = parts.at(-1)
      assert.strictEqual(end?.type === "finish" ? end.reason : "", "stop")
      assert.strictEqual(end?.type === "finish" ? end.usage.outputTokens.total : 0, 5)
      assert.deepInclude(asked[0]?.body, { stream: true, stream_options: { include_usage: true } })
    }))

  it.live("tool calls come together from their pieces", () =>
    Effect.gen(function*() {
      const { answer, layer } = yield* server
      const piece = (index: number, more: object) => delta({ tool_calls: [{ index, ...more }] })
      answer((response) =>
        Api.events(response, [
          piece(0, { id: "a", function: { name: "weather", arguments: "" } }),
          piece(1, { id: "b", function: { name: "weather", arguments: "{\"place\":" } }),
          piece(0, { function: { arguments: "{\"place\":\"X\"}" } }),
          piece(1, { function: { arguments: "\"Y\"}" } }),
          delta({}, "tool_calls")
        ])
      )
      const parts = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "x", toolkit: Tools })).pipe(
        Effect.provide([layer(), Handlers])
      )
      const calls = parts.flatMap((part) => part.type === "tool-call" ? [[part.id, part.params]] : [])
      assert.deepStrictEqual(calls, [["a", { place: "X" }], ["b", { place: "Y" }]])
      const results = parts.flatMap((part) => part.type === "tool-result" ? [part.result] : [])
      assert.deepStrictEqual(results.toSorted(), ["cold in X", "cold in Y"])
    }))

  it.live("a stream that is cut, broken, paused or ends in an error fails typed, after what had come", () =>
    Effect.gen(function*() {
      const { answer, layer } = yield* server
      const hello = delta({ content: "hello" })
      const cases: ReadonlyArray<readonly [Api.Handler, string, string]> = [
        [(it) => Api.events(it, [hello], "cut"), "NetworkError", "cut off"],
        [
          (it) => it.writeHead(200, { "content-type": "text/event-stream" }).end(`data: ${JSON.stringify(hello)}\n\n`),
          "NetworkError",
          "cut off before its end"
        ],
        [(it) => Api.events(it, [hello], "open"), "NetworkError", "paused for more than 0.3 s"],
        [(it) => Api.events(it, [hello, "not json"]), "InvalidOutputError", "not JSON"],
        [
          (it) => Api.events(it, [hello, { error: { message: `overloaded ${secret}` } }]),
          "InternalProviderError",
          "broke off: overloaded <redacted>"
        ],
        [(it) => Api.events(it, [hello, delta({ refusal: "I won't" }, "stop")]), "ContentPolicyError", "I won't"],
        [
          (it) =>
            Api.events(it, [
              hello,
              delta(
                { tool_calls: [{ index: 0, id: "x", function: { name: "weather", arguments: "{" } }] },
                "tool_calls"
              )
            ]),
          "InvalidOutputError",
          "arguments for the tool weather are not JSON"
        ]
      ]
      for (const [handler, tag, message] of cases) {
        answer(handler)
        let seen = ""
        const stream = Stream.tap(streamed, (part) =>
          Effect.sync(() => {
            if (part.type === "text-delta") seen += part.delta
          }))
        const found = aiError(
          yield* Effect.flip(Effect.provide(Stream.runDrain(stream), layer({ timeout: "300 millis" })))
        )
        assert.strictEqual(found.tag, tag, found.message)
        assert.include(found.message, message)
        assert.strictEqual(seen, "hello")
      }
    }))

  it.live("a stream is tried again before its first byte, not after; a reader that leaves ends the request", () =>
    Effect.gen(function*() {
      const { abandoned, answer, asked, layer } = yield* server
      answer((response, _, nth) =>
        nth === 0
          ? Api.refuse(response, 429, { message: "slow down" }, { "retry-after-ms": "10" })
          : Api.events(response, [delta({ content: "hello" }, "stop")])
      )
      assert.strictEqual(yield* Effect.provide(deltas, layer({ retries: 2 })), "hello")
      assert.strictEqual(asked.length, 2)
      answer((response) => Api.events(response, [delta({ content: "hello" })], "cut"))
      yield* Effect.flip(Effect.provide(deltas, layer({ retries: 2 })))
      assert.strictEqual(asked.length, 1)
      const before = yield* abandoned
      answer((response) => Api.events(response, [delta({ content: "hello" })], "open"))
      yield* Effect.provide(Stream.runDrain(Stream.take(streamed, 2)), layer())
      assert.isTrue(yield* eventually(Effect.map(abandoned, (n) => n === before + 1)))
      // So does one that is interrupted while it waits.
      const fiber = yield* Effect.forkChild(Effect.provide(deltas, layer()), { startImmediately: true })
      assert.isTrue(yield* eventually(Effect.sync(() => asked.length === 2)))
      const [, ms] = yield* timed(Fiber.interrupt(fiber))
      assert.isBelow(ms, 500)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      assert.isTrue(yield* eventually(Effect.map(abandoned, (n) => n === before + 2)))
    }))

  it.live("answers that can't be meant are typed errors", () =>
    Effect.gen(function*() {
      const { answer, layer } = yield* server
      const cases: ReadonlyArray<readonly [unknown, string, string]> = [
        [{}, "InvalidOutputError", "no choices[0].message"],
        [null, "InvalidOutputError", "no choices[0].message"],
        [{ choices: [] }, "InvalidOutputError", "no choices[0].message"],
        [{ choices: "x" }, "InvalidOutputError", "no choices[0].message"],
        [completion({ content: [1] }), "InvalidOutputError", "is not text"],
        [completion({ content: null, refusal: "I won't" }), "ContentPolicyError", "I won't"],
        [completion({ tool_calls: [{ id: "c", function: {} }] }), "InvalidOutputError", "has no name"],
        [completion({ tool_calls: [{ function: { name: "x" } }] }), "InvalidOutputError", "has no id"]
      ]
      for (const [body, tag, message] of cases) {
        answer((response) => Api.json(response, body))
        const found = aiError(yield* Effect.flip(Effect.provide(text("x"), layer())))
        assert.strictEqual(found.tag, tag, found.message)
        assert.include(found.message, message)
      }
    }))

  it.live("takes its options from Config; without a key it does not start", () =>
    Effect.gen(function*() {
      const { answer, asked, baseUrl } = yield* server
      answer((response) => Api.json(response, completion({ content: "yes" })))
      const program = Effect.provide(text("x"), LanguageModelOpenAi.layerConfig())
      const withEnv = <A, E, R>(effect: Effect.Effect<A, E, R>, env: Record<string, string>) =>
        Effect.provide(effect, ConfigProvider.layer(ConfigProvider.fromUnknown(env)))
      const env = { OPENAI_API_KEY: secret, OPENAI_BASE_URL: `${baseUrl}/`, OPENAI_MODEL: "mine" }
      assert.strictEqual((yield* withEnv(program, env)).text, "yes")
      assert.strictEqual(asked[0]?.body.model, "mine")
      assert.strictEqual(asked[0]?.path, "/v1/chat/completions")
      assert.include(String(yield* Effect.flip(withEnv(program, {}))), "OPENAI_API_KEY")
      const none = LanguageModelOpenAi.layerConfig({ model: Config.succeed("mine") })
      assert.include(String(yield* Effect.flip(Effect.provide(text("x"), none))), "there is no apiKey")
    }))
})

describe("LanguageModelTest", () => {
  it.effect("answers by its script, remembers what it was asked, and says when it is at the end", () =>
    Effect.gen(function*() {
      const found = yield* text("a b c")
      assert.strictEqual(found.text, "one")
      assert.strictEqual(found.usage.inputTokens.total, 3)
      assert.strictEqual(yield* deltas, "two words")
      const tools = yield* LanguageModel.generateText({ prompt: "x", toolkit: Tools })
      assert.deepStrictEqual(tools.toolResults.map((one) => one.result), ["cold in Palmer"])
      assert.strictEqual(tools.usage.outputTokens.total, 9)
      assert.strictEqual(aiError(yield* Effect.flip(text("x"))).tag, "RateLimitError")
      assert.strictEqual((yield* text("echo me")).text, "echo me, the 4.")
      assert.include(aiError(yield* Effect.flip(text("x"))).message, "the script has 5 answers, and this is request 6")
      assert.deepStrictEqual(yield* LanguageModelTest.Transcript.use((transcript) => transcript.asked), [
        "a b c",
        "hello",
        "x",
        "x",
        "echo me",
        "x"
      ])
    }).pipe(Effect.provide(Layer.merge(
      Handlers,
      LanguageModelTest.layer([
        "one",
        "two words",
        { tools: [{ name: "weather", params: { place: "Palmer" } }], tokens: { input: 1, output: 9 } },
        new AiError.RateLimitError({}),
        (asked, nth) => `${asked}, the ${nth}.`
      ])
    ))))

  it.effect("a function alone answers for ever; a stream of it comes word by word", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 20; i++) assert.strictEqual((yield* text("x")).text, `x ${i}`)
      const parts = yield* Stream.runCollect(streamed)
      assert.deepStrictEqual(parts.flatMap((part) => part.type === "text-delta" ? [part.delta] : []), ["hello ", "20"])
    }).pipe(Effect.provide(LanguageModelTest.layer((asked, nth) => `${asked} ${nth}`))))
})
