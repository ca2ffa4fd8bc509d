/**
 * Reports of migrations in a database: SQLite and PostgreSQL, by the `SqlClient` that is there. All processes that share
 * the database share the report.
 *
 * Entries are written in batches, each in one statement: all of a batch or none. A batch that is written again, because
 * the answer to the first time was lost, is the same rows. The table `penguiflow_migration_entries` is made when the layer
 * is built; processes that start at once do it one after the other. Nothing is ever deleted: see docs/migration.md.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import * as Stream from "effect/Stream"
import * as Migration from "../Migration.ts"

/** So many rows are read at a time. */
const page = 1000

/**
 * Entries in the database. Fails at the start where its table can't be made.
 *
 * @example
 * ```ts runnable
 * import { Effect, Layer } from "effect"
 * import * as MigrationReportsSql from "penguiflow/layers/MigrationReportsSql"
 * import * as Sqlite from "penguiflow/layers/Sqlite"
 * import * as Migration from "penguiflow/Migration"
 *
 * const Reports = MigrationReportsSql.layer.pipe(Layer.provide(Sqlite.layer({ filename: ":memory:" })))
 * const program = Effect.map(Migration.report("orders"), (report) => report.compared)
 * await Effect.runPromise(Effect.provide(program, Reports)) // => 0
 * ```
 */
export const layer: Layer.Layer<Migration.Reports, Migration.ReportsError, SqlClient.SqlClient> = Layer.effect(
  Migration.Reports,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* Effect.mapError(migrate, failed("make its table"))
    return Migration.Reports.of({
      add: (entries) => {
        const [first, ...rest] = entries.map((entry) => ({
          id: entry.id,
          migration: entry.migration,
          noted_at: Math.round(entry.at),
          entry: JSON.stringify(encode(entry))
        }))
        if (first === undefined) return Effect.void
        return sql`INSERT INTO penguiflow_migration_entries ${sql.insert([first, ...rest])} ON CONFLICT (id) DO NOTHING`
          .pipe(Effect.mapError(failed("write")), Effect.asVoid)
      },
      read: (migration, { from, to }) =>
        Stream.paginate(undefined as Row | undefined, (after) => {
          const conditions = [
            sql`migration = ${migration}`,
            ...(from === undefined ? [] : [sql`noted_at >= ${from}`]),
            ...(to === undefined ? [] : [sql`noted_at < ${to}`]),
            ...(after === undefined ? [] : [sql`(noted_at, id) > (${after.noted_at}, ${after.id})`])
          ]
          return sql<Row>`SELECT id, CAST(noted_at AS DOUBLE PRECISION) AS noted_at, entry
            FROM penguiflow_migration_entries WHERE ${sql.and(conditions)}
            ORDER BY noted_at, id LIMIT ${page}`.pipe(
            Effect.mapError(failed("read")),
            Effect.flatMap((rows) =>
              Effect.map(
                Effect.forEach(rows, read),
                (entries) => [entries, Option.fromNullishOr(rows.length < page ? undefined : rows.at(-1))] as const
              )
            )
          )
        })
    })
  })
)

// ----------------------------------------------------------------------------------------------------------- internals

interface Row {
  readonly id: string
  readonly noted_at: number
  readonly entry: string
}

const encode = Schema.encodeSync(Migration.Entry)
const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Migration.Entry))

const read = (row: Row): Effect.Effect<Migration.Entry, Migration.ReportsError> =>
  Effect.mapError(decode(row.entry), failed(`understand the entry ${row.id}`))

const migrate = Migrator.make({})({
  table: "penguiflow_migration_migrations",
  loader: Migrator.fromRecord({
    "1_entries": SqlClient.SqlClient.use((sql) =>
      sql`CREATE TABLE penguiflow_migration_entries (
        id TEXT PRIMARY KEY,
        migration TEXT NOT NULL,
        noted_at BIGINT NOT NULL,
        entry TEXT NOT NULL
      )`.pipe(
        Effect.andThen(
          sql`CREATE INDEX penguiflow_migration_entries_by_time ON penguiflow_migration_entries (migration, noted_at, id)`
        ),
        Effect.asVoid
      )
    )
  })
})

const failed = (what: string) => (cause: { readonly message: string }): Migration.ReportsError =>
  new Migration.ReportsError({ message: `MigrationReportsSql can't ${what}: ${cause.message}`, cause })
