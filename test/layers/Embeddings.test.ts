import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { EmbeddingModel } from "effect/ai"
import * as EmbeddingsLocal from "penguiflow/layers/EmbeddingsLocal"
import * as EmbeddingsTest from "penguiflow/layers/EmbeddingsTest"

const { EmbeddingModel: Model } = EmbeddingModel

const cosine = (a: ReadonlyArray<number>, b: ReadonlyArray<number>) => a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0)
const embed = (text: string) => Effect.map(Model.use((model) => model.embed(text)), (response) => response.vector)

describe("EmbeddingsTest", () => {
  it.effect("gives 1536 times 0.1 for every text, one by one and many at once", () =>
    Effect.gen(function*() {
      const expected = Array.from({ length: 1536 }, () => 0.1)
      assert.deepStrictEqual(yield* embed("anything"), expected)
      const many = yield* Model.use((model) => model.embedMany(["a", "", "c"]))
      assert.deepStrictEqual(many.embeddings.map((one) => one.vector), [expected, expected, expected])
      assert.deepStrictEqual((yield* Model.use((model) => model.embedMany([]))).embeddings, [])
      assert.strictEqual(yield* EmbeddingModel.Dimensions, 1536)
    }).pipe(Effect.provide(EmbeddingsTest.layer)))
})

describe("EmbeddingsLocal", () => {
  it.effect("gives vectors of length 1 and of the dimensions that were asked for, 512 if none", () =>
    Effect.gen(function*() {
      for (const dimensions of [512, 64, 1, 1000]) {
        const layer = EmbeddingsLocal.layer(dimensions === 512 ? {} : { dimensions })
        const vector = yield* Effect.provide(embed("The penguins went to the sea"), layer)
        assert.strictEqual(vector.length, dimensions)
        assert.closeTo(cosine(vector, vector), 1, 1e-9)
        assert.strictEqual(yield* Effect.provide(EmbeddingModel.Dimensions, layer), dimensions)
      }
    }))

  it.effect("is near for texts that share words, word forms or spelling, and far for others", () =>
    Effect.gen(function*() {
      const [text, forms, typo, other] = yield* Effect.forEach([
        "The government governs the country by law",
        "Governments governed countries by laws",
        "The goverment governs the contry by law",
        "Penguins swim in cold water"
      ], embed)
      if (text === undefined || forms === undefined || typo === undefined || other === undefined) return assert.fail()
      assert.isAbove(cosine(text, typo), 0.6)
      assert.isAbove(cosine(text, forms), 0.2)
      assert.isBelow(Math.abs(cosine(text, other)), 0.15)
    }).pipe(Effect.provide(EmbeddingsLocal.layer({ dimensions: 1024 }))))

  it("pays no heed to case, punctuation and ways to encode the same letters", () => {
    const { embed } = EmbeddingsLocal.makeEmbedder()
    assert.deepStrictEqual(embed("Caf\u00e9, Society!"), embed("CAFE\u0301 society"))
    assert.deepStrictEqual(embed("ﬁne"), embed("fine"))
  })

  it("learns from a corpus what is rare: a shared rare word brings nearer than shared common ones", () => {
    const corpus = Array.from(
      { length: 40 },
      (_, i) => `it is the duty of the people number${i} ${i < 3 ? "to feed penguins" : "to pay taxes"}`
    )
    const measured = (corpus: ReadonlyArray<string>) => {
      const { embed } = EmbeddingsLocal.makeEmbedder({ corpus, dimensions: 2048 })
      const [rare, common] = ["feed penguins to the people", "it is the duty to pay the people"]
      const query = embed("penguins it is the duty of") ?? []
      return cosine(query, embed(rare ?? "") ?? []) - cosine(query, embed(common ?? "") ?? [])
    }
    assert.isBelow(measured([]), 0)
    assert.isAbove(measured(corpus), 0.3)
  })

  it("is the same in every run, and its id tells corpus and dimensions apart", () => {
    const make = EmbeddingsLocal.makeEmbedder
    assert.deepStrictEqual(
      make({ corpus: ["a b", "b c"] }).embed("b c d"),
      make({ corpus: ["a b", "b c"] }).embed("b c d")
    )
    // Written down: another version of the method must have another id.
    assert.strictEqual(make().id, "ngrams-1/512/plain")
    assert.deepStrictEqual(
      (make({ dimensions: 4 }).embed("the state of the union") ?? []).map((x) => x.toFixed(4)),
      ["0.6105", "-0.2584", "0.7448", "0.0762"]
    )
    const ids = new Set([
      make().id,
      make({ dimensions: 64 }).id,
      make({ corpus: ["a b", "b c"] }).id,
      make({ corpus: ["a b", "b d"] }).id
    ])
    assert.strictEqual(ids.size, 4)
  })

  it("embeds texts without a word, in any script, of one letter, and of things the corpus never said", () => {
    const { embed } = EmbeddingsLocal.makeEmbedder({ corpus: ["one text", "another text"] })
    for (const text of ["!?", "a", "🐧", "企鹅在水里", "пингвин", "xyzzy", "text", "\u0000"]) {
      const vector = embed(text)
      assert.isDefined(vector, text)
      assert.closeTo(cosine(vector ?? [], vector ?? []), 1, 1e-9, text)
    }
    assert.isUndefined(embed(""))
    assert.isUndefined(embed(" \n\t"))
  })

  it.effect("an empty text is an AiError that says which one of the batch it was", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Model.use((model) => model.embedMany(["a", " ", "c"])))
      assert.strictEqual(error.reason._tag, "InvalidUserInputError")
      assert.include(error.message, "Text 2 of 3 is empty")
      assert.include((yield* Effect.flip(embed(""))).message, "The text is empty")
    }).pipe(Effect.provide(EmbeddingsLocal.layer())))

  it.effect("keeps the order of a batch, and an empty batch is an empty answer", () =>
    Effect.gen(function*() {
      const texts = Array.from({ length: 20 }, (_, i) => `text number ${i}`)
      const many = yield* Model.use((model) => model.embedMany(texts))
      const { embed } = EmbeddingsLocal.makeEmbedder()
      assert.deepStrictEqual(many.embeddings.map((one) => [...one.vector]), texts.map((text) => embed(text) ?? []))
      assert.deepStrictEqual((yield* Model.use((model) => model.embedMany([]))).embeddings, [])
    }).pipe(Effect.provide(EmbeddingsLocal.layer())))

  it.effect("can be interrupted between the texts of a batch", () =>
    Effect.gen(function*() {
      let embedded = 0
      const { dimensions, embed, id } = EmbeddingsLocal.makeEmbedder()
      const counting = EmbeddingsLocal.layerEmbedder({ id, dimensions, embed: (text) => (embedded++, embed(text)) })
      const batch = Model.use((model) => model.embedMany(Array.from({ length: 1000 }, () => "a text")))
      const fiber = yield* Effect.forkChild(Effect.provide(batch, counting), { startImmediately: true })
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.isBelow(embedded, 100)
    }))

  it("takes a text of a megabyte", () => {
    const { embed } = EmbeddingsLocal.makeEmbedder()
    assert.isDefined(embed("the state of the union ".repeat(45_000)))
    assert.isDefined(embed("x".repeat(1_000_000)))
  })

  it("refuses dimensions that are no whole number from 1 on", () => {
    for (const dimensions of [0, -1, 1.5, NaN, Infinity]) {
      assert.throws(() => EmbeddingsLocal.makeEmbedder({ dimensions }), /whole number from 1 on/)
    }
  })
})
