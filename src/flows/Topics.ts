/**
 * Topics and their dimensions: the store behind two flows, `TopicStaging` and `TopicCreation`.
 *
 * Each topic remembers the request that made it, the node's `idempotencyKey`: asked to create it once more, the store
 * gives the topic that is there. The statements mean the same on SQLite and PostgreSQL.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"

/** Names of dimensions: none of them empty, none of them twice. */
export type Dimensions = ReadonlyArray<string>
export const Dimensions: Schema.Codec<Dimensions> = Schema.Array(Schema.NonEmptyString).check(
  Schema.makeFilter((names: ReadonlyArray<string>) =>
    new Set(names).size === names.length || "Expected each dimension once"
  )
)

interface Store {
  /** All of it or nothing: rolled back on failure, interruption and death. */
  readonly transaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError.SqlError, R>
  /** The topic of this request, made unless it is there already. */
  readonly create: (
    topic: { readonly request: string; readonly tenant: string; readonly name: string }
  ) => Effect.Effect<number, SqlError.SqlError>
  /** Those that the topic has already stay as they are. */
  readonly addDimensions: (topicId: number, names: Dimensions) => Effect.Effect<void, SqlError.SqlError>
  readonly countDimensions: (topicId: number) => Effect.Effect<number, SqlError.SqlError>
  /** With its dimensions; nothing where it is gone already. */
  readonly remove: (topicId: number) => Effect.Effect<void, SqlError.SqlError>
}

const Base: Context.ServiceClass<Topics, "penguiflow/flows/Topics", Store> = Context.Service<Topics, Store>()(
  "penguiflow/flows/Topics"
)

/** Where topics and dimensions are kept. */
export class Topics extends Base {}

/** A migration that makes the tables `topics` and `dimensions`. */
export const tables: Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient> = SqlClient.SqlClient.use(
  Effect.fnUntraced(function*(sql) {
    const id = sql.onDialectOrElse({
      sqlite: () => sql.literal("id INTEGER PRIMARY KEY AUTOINCREMENT"),
      orElse: () => sql.literal("id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY")
    })
    yield* sql`CREATE TABLE topics (
      ${id},
      request TEXT NOT NULL UNIQUE,
      tenant TEXT NOT NULL,
      name TEXT NOT NULL
    )`
    yield* sql`CREATE TABLE dimensions (
      topic_id INTEGER NOT NULL REFERENCES topics (id),
      name TEXT NOT NULL,
      PRIMARY KEY (topic_id, name)
    )`
  })
)

/** In the database. */
export const layer: Layer.Layer<Topics, never, SqlClient.SqlClient> = Layer.effect(
  Topics,
  SqlClient.SqlClient.useSync((sql) =>
    Topics.of({
      transaction: sql.withTransaction,
      create: (topic) =>
        Effect.map(
          // DO NOTHING would return no row on a conflict, and nobody would know which topic it is.
          sql<{ readonly id: number }>`INSERT INTO topics ${sql.insert(topic)}
            ON CONFLICT (request) DO UPDATE SET request = excluded.request RETURNING id`,
          ([row]) => row!.id
        ),
      addDimensions: (topic_id, names) =>
        Effect.forEach(
          names,
          (name) =>
            sql`INSERT INTO dimensions ${sql.insert({ topic_id, name })} ON CONFLICT (topic_id, name) DO NOTHING`,
          { discard: true }
        ),
      countDimensions: (topicId) =>
        Effect.map(
          sql<
            { readonly n: number | bigint | string }
          >`SELECT count(*) AS n FROM dimensions WHERE topic_id = ${topicId}`,
          ([row]) => Number(row!.n)
        ),
      remove: (topicId) =>
        sql.withTransaction(Effect.andThen(
          sql`DELETE FROM dimensions WHERE topic_id = ${topicId}`,
          Effect.asVoid(sql`DELETE FROM topics WHERE id = ${topicId}`)
        ))
    })
  )
)

/** What the store in memory holds. */
export interface Held {
  readonly topics: ReadonlyArray<{
    readonly id: number
    readonly request: string
    readonly tenant: string
    readonly name: string
  }>
  readonly dimensions: ReadonlyArray<{ readonly topicId: number; readonly name: string }>
}

/** In memory, for tests of one trace at a time. `seen` is told what it holds after every change. */
export const layerTest = (seen: (held: Held) => void = () => {}): Layer.Layer<Topics> =>
  Layer.sync(Topics, () => {
    let held: Held = { topics: [], dimensions: [] }
    let ids = 0
    const change = (next: Held) => {
      held = next
      seen(held)
    }
    return Topics.of({
      transaction: (effect) =>
        Effect.suspend(() => {
          const before = held
          return Effect.onExit(effect, (exit) => Effect.sync(() => Exit.isFailure(exit) && change(before)))
        }),
      create: (topic) =>
        Effect.sync(() => {
          const known = held.topics.find(({ request }) => request === topic.request)
          if (known !== undefined) return known.id
          const id = ++ids
          change({ ...held, topics: [...held.topics, { id, ...topic }] })
          return id
        }),
      addDimensions: (topicId, names) =>
        Effect.sync(() => {
          const has = (name: string) => held.dimensions.some((it) => it.topicId === topicId && it.name === name)
          const added = names.filter((name) => !has(name)).map((name) => ({ topicId, name }))
          change({ ...held, dimensions: [...held.dimensions, ...added] })
        }),
      countDimensions: (topicId) => Effect.sync(() => held.dimensions.filter((it) => it.topicId === topicId).length),
      remove: (topicId) =>
        Effect.sync(() =>
          change({
            topics: held.topics.filter(({ id }) => id !== topicId),
            dimensions: held.dimensions.filter((it) => it.topicId !== topicId)
          })
        )
    })
  })
