/**
 * Embeddings for tests: 1536 times 0.1 for every text, at once, and never a failure.
 *
 * The length is that of OpenAI's text-embedding-3-small, so that whatever stores or checks a vector meets the real
 * size. Every text has the same one: a test that is about nearness wants `EmbeddingsLocal`.
 */
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** How many numbers a vector has. */
export const dimensions = 1536

/** An `EmbeddingModel` whose every vector is the same. */
export const layer: Layer.Layer<EmbeddingModel.EmbeddingModel | EmbeddingModel.Dimensions> = Layer.merge(
  Layer.effect(
    EmbeddingModel.EmbeddingModel,
    EmbeddingModel.make({
      embedMany: ({ inputs }) =>
        Effect.succeed({
          results: inputs.map(() => Array.from({ length: dimensions }, () => 0.1)),
          usage: { inputTokens: undefined }
        })
    })
  ),
  Layer.succeed(EmbeddingModel.Dimensions, dimensions)
)
