/**
 * Embedding: a text becomes a vector, and a batch of texts as many.
 *
 * The model is a service; which one it is a layer says: `EmbeddingsOpenAi` in production, `EmbeddingsTest` in tests,
 * `EmbeddingsLocal` where nothing may leave the house. A vector of another length than the model promises is
 * {@link WrongDimensions} here, and not a surprise in the database.
 *
 * Both nodes are `"pure"`: a second run costs a second request and leaves nothing else behind.
 */
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Flow from "../Flow.ts"
import * as Node from "../Node.ts"
import * as Limits from "./Limits.ts"
import { patient } from "./Patience.ts"

/** The numbers of an embedding. */
export type Vector = ReadonlyArray<number>
export const Vector: Schema.Codec<Vector> = Schema.Array(Schema.Finite)

/** A text to embed: not an empty one. */
export interface Text {
  readonly text: string
}
export const Text: Schema.Codec<Text> = Schema.Struct({ text: Schema.NonEmptyString })

/** A text and its embedding. */
export interface Embedded {
  readonly text: string
  readonly embedding: Vector
}
export const Embedded: Schema.Codec<Embedded> = Schema.Struct({ text: Schema.String, embedding: Vector })

/** Texts to embed: at least one, none of them empty. */
export interface Batch {
  readonly texts: ReadonlyArray<string>
}
export const Batch: Schema.Codec<Batch> = Schema.Struct({
  texts: Schema.Array(Schema.NonEmptyString).check(Schema.isMinLength(1))
})

const WrongBase: Schema.Class<
  WrongDimensions,
  Schema.TaggedStruct<
    "WrongDimensions",
    { readonly expected: typeof Schema.Int; readonly actual: typeof Schema.Int }
  >,
  Cause.YieldableError
> = Schema.TaggedError<WrongDimensions>()("WrongDimensions", { expected: Schema.Int, actual: Schema.Int })

/** The model gave a vector of another length than it says it gives. */
export class WrongDimensions extends WrongBase {
  override get message(): string {
    return `the model gave an embedding of ${this.actual} numbers and should give ${this.expected}: check the model and its \`dimensions\``
  }
}

/** What can go wrong with an embedding. */
export type Failure = Limits.TooLong | WrongDimensions | AiError.AiError
export const Failure: Schema.Schema<Failure> = Schema.Union([Limits.TooLong, WrongDimensions, AiError.AiError])
/** What an embedding needs. */
export type Services = Limits.Limits | EmbeddingModel.EmbeddingModel | EmbeddingModel.Dimensions

const ofLength = (vector: ReadonlyArray<number>): Effect.Effect<Vector, WrongDimensions, EmbeddingModel.Dimensions> =>
  EmbeddingModel.Dimensions.use((expected) =>
    vector.length === expected
      ? Effect.succeed(vector)
      : Effect.fail(new WrongDimensions({ expected, actual: vector.length }))
  )

/** One text's embedding, for nodes of one's own. Requests of the same moment go out as one, where the model batches. */
export const embedText = (text: string): Effect.Effect<Vector, Failure, Services> =>
  Limits.check(text).pipe(
    Effect.andThen(EmbeddingModel.EmbeddingModel.use((model) => model.embed(text))),
    Effect.flatMap(({ vector }) => ofLength(vector))
  )

/** Embeds one text. */
export const embed: Node.Node<"embed", Text, Embedded, Failure, Services> = Node.make("embed", {
  input: Text,
  output: Embedded,
  error: Failure,
  rerun: "pure",
  policy: patient,
  description: "one text becomes a vector",
  run: ({ text }) => Effect.map(embedText(text), (embedding) => ({ text, embedding }))
})

/** Embeds all texts by one request, and gives them in the order in which they came. */
export const embedBatch: Node.Node<"embedBatch", Batch, ReadonlyArray<Embedded>, Failure, Services> = Node.make(
  "embedBatch",
  {
    input: Batch,
    output: Schema.Array(Embedded),
    error: Failure,
    rerun: "pure",
    policy: patient,
    description: "a batch of texts becomes as many vectors, by one request",
    run: Effect.fnUntraced(function*({ texts }) {
      yield* Effect.forEach(texts, Limits.check, { discard: true })
      const model = yield* EmbeddingModel.EmbeddingModel
      const { embeddings } = yield* model.embedMany(texts)
      return yield* Effect.forEach(
        texts,
        (text, at) => Effect.map(ofLength(embeddings[at]?.vector ?? []), (embedding) => ({ text, embedding }))
      )
    })
  }
)

/**
 * One text.
 *
 * @example
 * ```ts runnable
 * import { Effect, Layer } from "effect"
 * import { Flow } from "penguiflow"
 * import * as Embedding from "penguiflow/flows/Embedding"
 * import * as Limits from "penguiflow/flows/Limits"
 * import * as EmbeddingsTest from "penguiflow/layers/EmbeddingsTest"
 *
 * const program = Flow.run(Embedding.one, { text: "hello" })
 * const { embedding } = await Effect.runPromise(
 *   Effect.provide(program, Layer.merge(EmbeddingsTest.layer, Limits.layerTest()))
 * )
 * embedding.length // => 1536
 * ```
 */
export const one: Flow.Flow<"embedding", Text, Embedded, Failure, Services> = Flow.make("embedding", [embed.to()])

/** A batch. */
export const batch: Flow.Flow<"embeddings", Batch, ReadonlyArray<Embedded>, Failure, Services> = Flow.make(
  "embeddings",
  [embedBatch.to()]
)
