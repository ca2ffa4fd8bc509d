/** The flow: what is done with one document. Everything else in this folder is around it. */
import { Effect, Option, Schedule, Schema } from "effect"
import { EmbeddingModel } from "effect/ai"
import { createHash } from "node:crypto"
import { Flow, Join, Node, type Policy } from "penguiflow"
import { Address, decode, InvalidDocument, RawLine } from "./address.ts"
import { Corpus } from "./services.ts"
import * as Store from "./store.ts"
import * as Topics from "./topics.ts"

const Vector = Schema.Array(Schema.Finite)
const Classified = Schema.Struct({
  topic: Schema.String,
  words: Schema.Int,
  scores: Schema.Record(Schema.String, Schema.Finite)
})
const Written = Schema.Struct({ id: Schema.String, written: Store.Written, topic: Schema.String })

/** A document whose author is in no table. */
export class UnknownAuthor extends Schema.TaggedError<UnknownAuthor>()("UnknownAuthor", { name: Schema.String }) {
  override get message() {
    return `no author "${this.name}" in the database`
  }
}
/** What is in the database is not what was to be written. */
export class Inconsistent extends Schema.TaggedError<Inconsistent>()("Inconsistent", {
  id: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.id} is stored inconsistently: ${this.problem}`
  }
}

/** A database may be busy for a moment: three tries more, further and further apart. */
const patient: Policy.Policy = {
  timeout: "20 seconds",
  retry: Schedule.exponential("50 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 3 })),
  retryWhile: (error) => isRetryable(error)
}
const isRetryable = (error: unknown) =>
  typeof error === "object" && error !== null && "isRetryable" in error && error.isRetryable === true

const validate = Node.make("validate", {
  input: RawLine,
  output: Address,
  rerun: "pure",
  run: Effect.fnUntraced(function*(raw) {
    const address = yield* Effect.fromResult(decode(raw))
    const first = (yield* Corpus).lineOf(address.id)
    if (first === undefined || first === raw.line) return address
    const problems = [`has the same id as line ${first}`]
    return yield* new InvalidDocument({ line: raw.line, id: address.id, problems })
  })
})

const embed = Node.make("embed", {
  input: Address,
  output: Vector,
  rerun: "pure",
  policy: { timeout: "20 seconds" },
  run: Effect.fnUntraced(function*({ text }) {
    const model = yield* EmbeddingModel.EmbeddingModel
    return (yield* model.embed(text)).vector
  })
})

const author = Node.make("author", {
  input: Address,
  output: Store.Author,
  rerun: "pure",
  policy: patient,
  run: ({ name }) =>
    Effect.flatMap(
      Store.findAuthor(name),
      Option.match({ onNone: () => new UnknownAuthor({ name }), onSome: Effect.succeed })
    )
})

const classify = Node.make("classify", {
  input: Address,
  output: Classified,
  rerun: "pure",
  run: ({ text }) =>
    Corpus.useSync(({ baseline }) => {
      const { scores, words } = Topics.score(text)
      return { topic: Topics.topicOf(scores, baseline), words, scores }
    })
})

const gather = Join.all("gather", { address: Address, vector: Vector, author: Store.Author, classified: Classified })

const store = Node.make("store", {
  input: Schema.Struct({ address: Address, vector: Vector, author: Store.Author, classified: Classified }),
  output: Written,
  rerun: "transactional",
  policy: patient,
  run: Effect.fnUntraced(function*({ address, author, classified, vector }, { idempotencyKey }) {
    const document = {
      id: address.id,
      year: address.year,
      author: author.name,
      ...classified,
      digest: createHash("sha256").update(JSON.stringify(address)).digest("hex"),
      embeddingId: (yield* Corpus).embeddingId,
      embedding: vector
    }
    const written = yield* Store.write(document, idempotencyKey)
    return { id: address.id, written, topic: classified.topic }
  })
})

const verify = Node.make("verify", {
  input: Written,
  output: Written,
  rerun: "pure",
  policy: patient,
  run: Effect.fnUntraced(function*(stored) {
    const { id } = stored
    const found = yield* Effect.flatMap(
      Store.readBack(id),
      Option.match({
        onNone: () => new Inconsistent({ id, problem: "the document or its author is missing" }),
        onSome: Effect.succeed
      })
    )
    if (found.dimensions !== Topics.names.length || found.best !== 1) {
      const problem = `${found.dimensions} dimensions instead of ${Topics.names.length}`
      return yield* new Inconsistent({ id, problem })
    }
    return stored
  })
})

/** One document's way. */
export const flow = Flow.make("corpus", [
  validate.to(embed, author, classify, gather.in.address),
  embed.to(gather.in.vector),
  author.to(gather.in.author),
  classify.to(gather.in.classified),
  gather.to(store),
  store.to(verify)
])
