/** Authors, topics, documents and their dimensions, in any database that is an `SqlClient`. */
import { Effect, Layer, Schema } from "effect"
import { Migrator, SqlClient, type SqlError, SqlSchema } from "effect/sql"
import { Corpus } from "./services.ts"
import * as Topics from "./topics.ts"

const tables = SqlClient.SqlClient.use((sql) =>
  Effect.gen(function*() {
    const bytes = sql.onDialectOrElse({ pg: () => sql`bytea`, orElse: () => sql`BLOB` })
    yield* sql`CREATE TABLE authors (
      name TEXT PRIMARY KEY,
      party TEXT NOT NULL,
      first_year INTEGER NOT NULL,
      last_year INTEGER NOT NULL,
      addresses INTEGER NOT NULL
    )`
    yield* sql`CREATE TABLE topics (name TEXT PRIMARY KEY)`
    yield* sql`CREATE TABLE documents (
      id TEXT PRIMARY KEY,
      year INTEGER NOT NULL,
      author TEXT NOT NULL REFERENCES authors (name),
      topic TEXT NOT NULL REFERENCES topics (name),
      words INTEGER NOT NULL,
      digest TEXT NOT NULL,
      embedding_id TEXT NOT NULL,
      embedding ${bytes} NOT NULL,
      written_by TEXT NOT NULL
    )`
    yield* sql`CREATE TABLE dimensions (
      document TEXT NOT NULL REFERENCES documents (id),
      topic TEXT NOT NULL REFERENCES topics (name),
      score REAL NOT NULL,
      PRIMARY KEY (document, topic)
    )`
  })
)

/** Brings the tables up to date, and enters what the corpus knows: topics and authors. Any number may start at once. */
export const layer = Layer.effectDiscard(Effect.gen(function*() {
  yield* Migrator.make({})({ loader: Migrator.fromRecord({ "0001_tables": tables }), table: "migrations" })
  const sql = yield* SqlClient.SqlClient
  const { authors } = yield* Corpus
  yield* sql.withTransaction(Effect.gen(function*() {
    for (const name of Topics.names) {
      yield* sql`INSERT INTO topics ${sql.insert({ name })} ON CONFLICT (name) DO NOTHING`
    }
    for (const { addresses, firstYear, lastYear, name, party } of authors) {
      const row = { name, party, first_year: firstYear, last_year: lastYear, addresses }
      yield* sql`INSERT INTO authors ${sql.insert(row)} ON CONFLICT (name) DO UPDATE SET
        party = excluded.party, first_year = excluded.first_year,
        last_year = excluded.last_year, addresses = excluded.addresses`
    }
  }))
}))

/** An author's row. */
export class Author extends Schema.Class<Author>("Author")({
  name: Schema.String,
  party: Schema.String,
  first_year: Schema.Int,
  last_year: Schema.Int,
  addresses: Schema.Int
}) {}

export const findAuthor = SqlSchema.findOneOption({
  Request: Schema.String,
  Result: Author,
  execute: (name) => SqlClient.SqlClient.use((sql) => sql`SELECT * FROM authors WHERE name = ${name}`)
})

/** A document as it is written. */
export interface NewDocument {
  readonly id: string
  readonly year: number
  readonly author: string
  readonly topic: string
  readonly words: number
  readonly digest: string
  readonly embeddingId: string
  readonly embedding: ReadonlyArray<number>
  readonly scores: Topics.Scores
}

/** What a write found: nothing of that id, another version of it, or exactly this. */
export const Written = Schema.Literals(["stored", "replaced", "unchanged"])

/**
 * Document and dimensions in one transaction. `key` is the same on every retry of one visit: a write that was committed
 * but not acknowledged counts as stored, not as found.
 */
export const write = (document: NewDocument, key: string) =>
  SqlClient.SqlClient.use((sql) =>
    sql.withTransaction(Effect.gen(function*(): Effect.fn.Return<typeof Written.Type, SqlError.SqlError> {
      const [found] = yield* sql<{ digest: string; embedding_id: string; written_by: string }>`
        SELECT digest, embedding_id, written_by FROM documents WHERE id = ${document.id}`
      if (found?.written_by === key) return "stored"
      if (found?.digest === document.digest && found.embedding_id === document.embeddingId) return "unchanged"
      const { id, ...row } = {
        id: document.id,
        year: document.year,
        author: document.author,
        topic: document.topic,
        words: document.words,
        digest: document.digest,
        embedding_id: document.embeddingId,
        embedding: toBytes(document.embedding),
        written_by: key
      }
      yield* sql`INSERT INTO documents ${sql.insert({ id, ...row })} ON CONFLICT (id) DO UPDATE SET ${sql.update(row)}`
      for (const [topic, score] of Object.entries(document.scores)) {
        yield* sql`INSERT INTO dimensions ${sql.insert({ document: id, topic, score })}
          ON CONFLICT (document, topic) DO UPDATE SET score = excluded.score`
      }
      return found === undefined ? "stored" : "replaced"
    }))
  )

/** What is stored of a document, as the consistency check reads it. */
export const readBack = SqlSchema.findOneOption({
  Request: Schema.String,
  Result: Schema.Struct({ author: Schema.String, topic: Schema.String, dimensions: Schema.Int, best: Schema.Int }),
  execute: (id) =>
    SqlClient.SqlClient.use((sql) =>
      sql`SELECT d.author, d.topic,
          CAST((SELECT count(*) FROM dimensions x WHERE x.document = d.id) AS INTEGER) AS dimensions,
          CAST((SELECT count(*) FROM dimensions x WHERE x.document = d.id AND x.topic = d.topic) AS INTEGER) AS best
        FROM documents d JOIN authors a ON a.name = d.author WHERE d.id = ${id}`
    )
})

/** All that is stored, for the report. */
export const all = SqlSchema.findAll({
  Request: Schema.Void,
  Result: Schema.Struct({
    id: Schema.String,
    year: Schema.Int,
    author: Schema.String,
    topic: Schema.String,
    embedding_id: Schema.String,
    embedding: Schema.Uint8Array
  }),
  execute: () =>
    SqlClient.SqlClient.use((sql) =>
      sql`SELECT id, year, author, topic, embedding_id, embedding FROM documents ORDER BY year, id`
    )
})

/** 32-bit numbers, little end first: a quarter of what they need as text. */
const toBytes = (vector: ReadonlyArray<number>): Uint8Array => {
  const view = new DataView(new ArrayBuffer(vector.length * 4))
  for (const [i, x] of vector.entries()) view.setFloat32(i * 4, x, true)
  return new Uint8Array(view.buffer)
}

export const fromBytes = (bytes: Uint8Array): ReadonlyArray<number> => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: bytes.byteLength / 4 }, (_, i) => view.getFloat32(i * 4, true))
}
