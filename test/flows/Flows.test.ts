/** The ready-made flows with test layers alone, and what they say to bad input and bad configuration. */
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Exit, Layer, Schema } from "effect"
import { EmbeddingModel } from "effect/ai"
import { SqlError } from "effect/sql"
import { Flow, FlowError, Node, type Trace } from "penguiflow"
import * as CostTracking from "penguiflow/flows/CostTracking"
import * as Embedding from "penguiflow/flows/Embedding"
import * as Enrichment from "penguiflow/flows/Enrichment"
import * as ItemEnhancement from "penguiflow/flows/ItemEnhancement"
import * as Limits from "penguiflow/flows/Limits"
import * as TopicCreation from "penguiflow/flows/TopicCreation"
import * as Topics from "penguiflow/flows/Topics"
import * as TopicStaging from "penguiflow/flows/TopicStaging"
import * as EmbeddingsTest from "penguiflow/layers/EmbeddingsTest"
import * as UsageMemory from "penguiflow/layers/UsageMemory"
import * as FlowTest from "penguiflow/testing/FlowTest"
import * as Usage from "penguiflow/Usage"
import * as Services from "./services.ts"

const embeddings = Layer.merge(EmbeddingsTest.layer, Limits.layerTest(1_000_000))

/** A model whose answers are the test's, and that counts what it is asked. */
const model = (answer: (texts: ReadonlyArray<string>) => Array<Array<number>>, dimensions = 3) => {
  const asked: Array<ReadonlyArray<string>> = []
  const layer = Layer.mergeAll(
    Layer.effect(
      EmbeddingModel.EmbeddingModel,
      EmbeddingModel.make({
        embedMany: ({ inputs }) =>
          Effect.sync(() => {
            asked.push(inputs)
            return { results: answer(inputs), usage: { inputTokens: undefined } }
          })
      })
    ),
    Layer.succeed(EmbeddingModel.Dimensions, dimensions),
    Limits.layerTest(20)
  )
  return { asked, layer }
}

const codeOf = (error: unknown) => FlowError.isFlowError(error) ? error.code : String(error)

describe("enrichment", () => {
  const services = Layer.merge(Enrichment.layerTest({ 7: "likes birds" }), embeddings)

  it.effect("refuses a text that is too long before anybody is asked", () =>
    Effect.gen(function*() {
      const result = yield* FlowTest.run(Enrichment.flow, { userId: 7, text: "x".repeat(21) })
      const error = yield* Effect.flip(result.outcome.exit)
      assert.strictEqual(error._tag, "TooLong")
      assert.match(error.message, /21 characters and may have 20.*MAX_INPUT_LENGTH/)
      assert.deepStrictEqual(result.path.map((it) => it.node), ["validate"])
    }).pipe(Effect.provide(Layer.mergeAll(services, Limits.layerTest(20), Layer.mock(Enrichment.UserContexts, {})))))

  it.effect("takes a megabyte where it may, and an empty text never", () =>
    Effect.gen(function*() {
      const { outcome } = yield* FlowTest.run(Enrichment.flow, { userId: 7, text: "x".repeat(1_000_000) })
      assert.isTrue(Exit.isSuccess(outcome.exit))
      const { outcome: empty } = yield* FlowTest.run(Enrichment.flow, { userId: 7, text: "" })
      assert.strictEqual(codeOf(yield* Effect.flip(empty.exit)), "INVALID_INPUT")
    }).pipe(Effect.provide(services)))

  it.effect("asks once more where the database is busy, and not where the user is unknown", () =>
    Effect.gen(function*() {
      let asked = 0
      const busy = new SqlError.SqlError({ reason: new SqlError.LockTimeoutError({ cause: undefined }) })
      const users = Layer.mock(Enrichment.UserContexts, {
        find: () => Effect.suspend(() => asked++ < 2 ? Effect.fail(busy) : Effect.succeedNone)
      })
      const result = yield* Effect.provide(FlowTest.run(Enrichment.flow, { userId: 1, text: "a" }), users)
      assert.strictEqual((yield* Effect.flip(result.outcome.exit))._tag, "UnknownUser")
      assert.deepStrictEqual(result.path.map((it) => `${it.node} ${it.attempt} ${it.end}`), [
        "validate 1 succeeded",
        "enrich 1 failed",
        "enrich 2 failed",
        "enrich 3 failed"
      ])
      assert.isAtLeast(result.outcome.durationMs, 80 + 160)
    }).pipe(Effect.provide(embeddings)))
})

describe("limits", () => {
  const from = (env: Record<string, unknown>) =>
    Limits.Limits.useSync((limits) => limits.maxInputLength).pipe(
      Effect.provide(Layer.provide(Limits.layer, ConfigProvider.layer(ConfigProvider.fromUnknown(env))))
    )

  it.effect("come from the configuration, and a bad number is an error before any flow runs", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* from({}), 100_000)
      assert.strictEqual(yield* from({ MAX_INPUT_LENGTH: "" }), 100_000, "an empty variable is one that is not set")
      assert.strictEqual(yield* from({ MAX_INPUT_LENGTH: "12" }), 12)
      for (const bad of ["many", "-1", "0", "1.5"]) {
        const error = yield* Effect.flip(from({ MAX_INPUT_LENGTH: bad }))
        assert.instanceOf(error, Config.ConfigError)
        assert.include(error.message, "MAX_INPUT_LENGTH", bad)
      }
    }))
})

describe("embedding", () => {
  it.effect("gives 1536 times 0.1 under the test layer", () =>
    Effect.gen(function*() {
      const { embedding, text } = yield* Flow.run(Embedding.one, { text: "hello" })
      assert.deepStrictEqual([text, embedding.length, new Set(embedding).size, embedding[0]], ["hello", 1536, 1, 0.1])
    }).pipe(Effect.provide(embeddings)))

  it.effect("a batch is one request, and its answers are in the order of its texts", () =>
    Effect.gen(function*() {
      const { asked, layer } = model((texts) => texts.map((text) => [text.length, 0, 0]))
      const result = yield* Effect.provide(Flow.run(Embedding.batch, { texts: ["aaa", "b", "cc"] }), layer)
      assert.deepStrictEqual(result, [
        { text: "aaa", embedding: [3, 0, 0] },
        { text: "b", embedding: [1, 0, 0] },
        { text: "cc", embedding: [2, 0, 0] }
      ])
      assert.deepStrictEqual(asked.map((texts) => [...texts]), [["aaa", "b", "cc"]])
    }))

  it.effect("an embedding of the wrong length says which was expected", () =>
    Effect.gen(function*() {
      const { layer } = model((texts) => texts.map(() => [1, 2]))
      const errors = [
        yield* Effect.flip(Effect.provide(Flow.run(Embedding.one, { text: "a" }), layer)),
        yield* Effect.flip(Effect.provide(Flow.run(Embedding.batch, { texts: ["a", "b"] }), layer))
      ]
      for (const error of errors) {
        assert.isTrue(error._tag === "WrongDimensions" && error.expected === 3 && error.actual === 2)
        assert.match(error.message, /2 numbers and should give 3: check the model/)
      }
    }))

  it.effect("an empty batch, an empty text in one, and one that is too long ask nobody", () =>
    Effect.gen(function*() {
      const { asked, layer } = model(() => [])
      const failureOf = (texts: ReadonlyArray<string>) =>
        Effect.flip(Effect.provide(Flow.run(Embedding.batch, { texts }), layer))
      assert.strictEqual(codeOf(yield* failureOf([])), "INVALID_INPUT")
      assert.strictEqual(codeOf(yield* failureOf(["a", ""])), "INVALID_INPUT")
      assert.strictEqual((yield* failureOf(["a", "x".repeat(1_000_000)]))._tag, "TooLong")
      assert.deepStrictEqual(asked, [])
    }))
})

describe("item enhancement", () => {
  it.effect("asks what its prompt says, about the item that there is", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Flow.run(ItemEnhancement.flow, { itemId: 1 }), { itemId: 1, enhanced: "A BIRD" })
      const other = yield* Flow.run(ItemEnhancement.flow, { itemId: 1 }).pipe(
        Effect.provideService(ItemEnhancement.Prompt, () => "What is a fish?")
      )
      assert.strictEqual(other.enhanced, "?")
      const error = yield* Effect.flip(Flow.run(ItemEnhancement.flow, { itemId: 2 }))
      assert.match(error.message, /no item 2/)
    }).pipe(Effect.provide(Layer.merge(ItemEnhancement.layerTest({ 1: "a bird" }), Services.loudModel))))
})

describe("cost tracking", () => {
  const spent = { text: "an answer", tokenCount: 42 }
  const meta = { user_id: 456, start_time: 1_700_000_000_000 }

  it.effect("is a node of any flow, for values of one's own, and bills once whatever is retried", () =>
    Effect.gen(function*() {
      const start = Node.make("start", {
        input: Schema.String,
        output: CostTracking.Result,
        run: (text) => Effect.succeed({ text, tokenCount: text.length })
      })
      const length = Node.make("length", {
        input: CostTracking.Result,
        output: Schema.Int,
        run: ({ text }) => Effect.succeed(text.length)
      })
      const tracking = Node.fromFlow(CostTracking.flow)
      const bill = CostTracking.make("bill", { value: Schema.Int, tokens: (n) => n * 2, meta: { userId: "who" } })
      const flow = Flow.make("outer", [
        start.to(tracking),
        tracking.to(length),
        length.to(bill)
      ])
      const failing = FlowTest.failing(flow, "bill", {
        error: new Usage.UsageError({ kind: "StoreFailed", message: "the answer was lost" }),
        at: "end",
        times: 2
      })
      const { outcome } = yield* FlowTest.run(failing, "four", { meta: { ...meta, who: "somebody else" } })
      assert.deepStrictEqual(outcome.exit, Exit.succeed([4]))
      const records = yield* Usage.Usage.use((usage) => usage.list())
      assert.deepStrictEqual(records.map((it) => [it.node, it.userId, it.tokens]), [
        ["bill", "somebody else", 8],
        ["cost tracking/track_cost", "456", 4]
      ])
    }).pipe(Effect.provide(UsageMemory.layer)))

  it.effect("says which key of meta is missing, records nothing, and does not try that again", () =>
    Effect.gen(function*() {
      for (const key of ["user_id", "start_time"] as const) {
        const { [key]: _, ...rest } = meta
        const result = yield* FlowTest.run(CostTracking.flow, spent, { meta: rest })
        const error = yield* Effect.flip(result.outcome.exit)
        assert.isTrue(error._tag === "UsageError" && error.kind === "MissingMeta")
        assert.include(error.message, key)
        assert.strictEqual(FlowTest.attempts(result, "track_cost"), 1)
      }
      assert.strictEqual((yield* Usage.Usage.use((usage) => usage.totals())).records, 0)
    }).pipe(Effect.provide(UsageMemory.layer)))
})

describe("topics in memory", () => {
  const request = { topic: "birds", dimensions: ["colour", "size"] }

  it.effect("do what the database does: found again by the request, rolled back, removed", () =>
    Effect.gen(function*() {
      let held: Topics.Held = { topics: [], dimensions: [] }
      const services = Layer.provideMerge(TopicCreation.layerRules, Topics.layerTest((now) => held = now))
      yield* Effect.gen(function*() {
        const options: { readonly traceId: string; readonly headers: Partial<Trace.Headers> } = {
          traceId: "t",
          headers: { tenant: "acme" }
        }
        const first = yield* Flow.run(TopicStaging.flow, request, options)
        assert.deepStrictEqual(yield* Flow.run(TopicStaging.flow, request, options), first)
        assert.deepStrictEqual(held.topics, [{
          id: 1,
          request: "topic staging/t/stage",
          tenant: "acme",
          name: "birds"
        }])
        assert.lengthOf(held.dimensions, 2)
        const rejecting = TopicCreation.DimensionRules.of({ accept: () => Effect.succeed(false) })
        const rejected = yield* FlowTest.run(TopicCreation.flow, request).pipe(
          Effect.provideService(TopicCreation.DimensionRules, rejecting)
        )
        assert.deepStrictEqual(rejected.compensated, ["create"])
        assert.lengthOf(held.topics, 1)
        assert.lengthOf(held.dimensions, 2)
        assert.strictEqual((yield* Flow.run(TopicCreation.flow, request)).status, "success")
        assert.lengthOf(held.dimensions, 4)
      }).pipe(Effect.provide(services))
    }))

  it.effect("a compensation that the database refuses is tried again, and then told as an event", () =>
    Effect.gen(function*() {
      let removed = 0
      const busy = new SqlError.SqlError({ reason: new SqlError.LockTimeoutError({ cause: undefined }) })
      const topics = Layer.mock(Topics.Topics, {
        create: () => Effect.succeed(1),
        remove: () => Effect.suspend(() => (removed++, Effect.fail(busy)))
      })
      const flow = FlowTest.dying(TopicCreation.flow, "enhance")
      const result = yield* Effect.provide(
        FlowTest.run(flow, request),
        Layer.merge(topics, TopicCreation.layerRulesTest(() => Effect.succeed(true)))
      )
      assert.strictEqual(removed, 4)
      const told = result.events.find((event) => event._tag === "NodeCompensated")
      assert.strictEqual(told?.error?.tag, "SqlError")
      assert.strictEqual(codeOf(yield* Effect.flip(result.outcome.exit)), "NODE_EXCEPTION")
    }))
})
