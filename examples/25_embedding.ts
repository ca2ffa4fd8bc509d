/** One text and a batch become vectors: the same flow over two models, one that computes here, one for tests. */
import { Console, Effect, Layer } from "effect"
import { Flow } from "penguiflow"
import * as Embedding from "penguiflow/flows/Embedding"
import * as Limits from "penguiflow/flows/Limits"
import * as EmbeddingsLocal from "penguiflow/layers/EmbeddingsLocal"
import * as EmbeddingsTest from "penguiflow/layers/EmbeddingsTest"

const cosine = (a: Embedding.Vector, b: Embedding.Vector) => a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0)

const near = Effect.gen(function*() {
  const query = yield* Flow.run(Embedding.one, { text: "birds that swim" })
  const found = yield* Flow.run(Embedding.batch, {
    texts: ["which birds swim well", "the price of coffee"]
  })
  for (const { embedding, text } of found) {
    yield* Console.log(`"${text}" is ${cosine(query.embedding, embedding) > 0.2 ? "near" : "far"}`)
  }
})
await Effect.runPromise(Effect.provide(near, Layer.merge(EmbeddingsLocal.layer(), Limits.layer)))

const length = Effect.map(Flow.run(Embedding.one, { text: "anything" }), ({ embedding }) => embedding.length)
const numbers = await Effect.runPromise(Effect.provide(length, Layer.merge(EmbeddingsTest.layer, Limits.layerTest())))
await Effect.runPromise(Console.log(`in tests: ${numbers} numbers`))
