/**
 * Enrichment: a text is checked, and gets what is known of its user, and its embedding.
 *
 * `validate → enrich`. How long a text may be is configuration ({@link Limits}), what is known of a user stands behind
 * {@link UserContexts}, the embedding comes from whatever `EmbeddingModel` is provided. Nothing of it is in the message.
 *
 * The user's id goes along from `validate` to `enrich`, which needs it. Both nodes are `"pure"`: they read.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import * as SqlError from "effect/sql/SqlError"
import * as Flow from "../Flow.ts"
import * as Node from "../Node.ts"
import * as Embedding from "./Embedding.ts"
import * as Limits from "./Limits.ts"
import { patient } from "./Patience.ts"

/** What a user wrote. */
export interface Request {
  readonly userId: number
  readonly text: string
}
export const Request: Schema.Codec<Request> = Schema.Struct({ userId: Schema.Int, text: Schema.NonEmptyString })

/** A request that is not too long. */
export interface Validated extends Request {
  readonly validated: true
}
export const Validated: Schema.Codec<Validated> = Schema.Struct({
  userId: Schema.Int,
  text: Schema.NonEmptyString,
  validated: Schema.Literal(true)
})

/** A request, what is known of its user, and its embedding. */
export interface Enriched {
  readonly userId: number
  readonly text: string
  readonly context: string
  readonly embedding: Embedding.Vector
}
export const Enriched: Schema.Codec<Enriched> = Schema.Struct({
  userId: Schema.Int,
  text: Schema.String,
  context: Schema.String,
  embedding: Embedding.Vector
})

interface Contexts {
  readonly find: (userId: number) => Effect.Effect<Option.Option<string>, SqlError.SqlError>
}

const Base: Context.ServiceClass<UserContexts, "penguiflow/flows/Enrichment/UserContexts", Contexts> = Context.Service<
  UserContexts,
  Contexts
>()("penguiflow/flows/Enrichment/UserContexts")

/** What is known of users. */
export class UserContexts extends Base {}

/** Out of the table `users`, by a fresh connection for each question. */
export const layer: Layer.Layer<UserContexts, never, SqlClient.SqlClient> = Layer.effect(
  UserContexts,
  SqlClient.SqlClient.useSync((sql) =>
    UserContexts.of({
      find: (userId) =>
        Effect.map(
          sql<{ readonly context: string }>`SELECT context FROM users WHERE id = ${userId}`,
          ([row]) => Option.fromNullishOr(row?.context)
        )
    })
  )
)

/** What the test says of them: a context by user id. */
export const layerTest = (contexts: Readonly<Record<number, string>>): Layer.Layer<UserContexts> =>
  Layer.succeed(
    UserContexts,
    UserContexts.of({ find: (userId) => Effect.succeed(Option.fromNullishOr(contexts[userId])) })
  )

/** A migration that makes the table. */
export const tables: Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient> = SqlClient.SqlClient.use((sql) =>
  Effect.asVoid(sql`CREATE TABLE users (id INTEGER PRIMARY KEY, context TEXT NOT NULL)`)
)

const UnknownBase: Schema.Class<
  UnknownUser,
  Schema.TaggedStruct<"UnknownUser", { readonly userId: typeof Schema.Int }>,
  Cause.YieldableError
> = Schema.TaggedError<UnknownUser>()("UnknownUser", { userId: Schema.Int })

/** Nothing is known of this user. */
export class UnknownUser extends UnknownBase {
  override get message(): string {
    return `there is no user ${this.userId}: create one, or ask for another`
  }
}

/** Refuses what is too long. */
export const validate: Node.Node<"validate", Request, Validated, Limits.TooLong, Limits.Limits> = Node.make(
  "validate",
  {
    input: Request,
    output: Validated,
    error: Limits.TooLong,
    rerun: "pure",
    description: "refuses a text that is too long",
    run: ({ text, userId }) => Effect.as(Limits.check(text), { userId, text, validated: true as const })
  }
)

/** What `enrich` fails with. */
export type EnrichFailure = UnknownUser | SqlError.SqlError | Embedding.Failure
/** What `enrich` needs. */
export type EnrichServices = UserContexts | Embedding.Services

/** Adds the user's context and the text's embedding. */
export const enrich: Node.Node<"enrich", Validated, Enriched, EnrichFailure, EnrichServices> = Node.make("enrich", {
  input: Validated,
  output: Enriched,
  error: Schema.Union([UnknownUser, SqlError.SqlError, Embedding.Failure]),
  rerun: "pure",
  policy: patient,
  description: "adds the user's context and the text's embedding",
  run: Effect.fnUntraced(function*({ text, userId }) {
    const users = yield* UserContexts
    const context = yield* users.find(userId)
    if (Option.isNone(context)) return yield* new UnknownUser({ userId })
    return { userId, text, context: context.value, embedding: yield* Embedding.embedText(text) }
  })
})

/**
 * The flow.
 *
 * @example
 * ```ts runnable
 * import { Effect, Layer } from "effect"
 * import { Flow } from "penguiflow"
 * import * as Enrichment from "penguiflow/flows/Enrichment"
 * import * as Limits from "penguiflow/flows/Limits"
 * import * as EmbeddingsTest from "penguiflow/layers/EmbeddingsTest"
 *
 * const services = Layer.mergeAll(Enrichment.layerTest({ 7: "a bird" }), Limits.layerTest(), EmbeddingsTest.layer)
 * const program = Flow.run(Enrichment.flow, { userId: 7, text: "hello" })
 * const { context, embedding } = await Effect.runPromise(Effect.provide(program, services))
 * const found = [context, embedding.length] // => ["a bird", 1536]
 * ```
 */
export const flow: Flow.Flow<"enrichment", Request, Enriched, EnrichFailure, EnrichServices> = Flow.make("enrichment", [
  validate.to(enrich)
])
