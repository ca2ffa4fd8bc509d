/**
 * Usage in a database: SQLite and PostgreSQL, by the `SqlClient` that is there.
 *
 * A record is written with `ON CONFLICT DO NOTHING`, within the caller's transaction where one is open: what is rolled
 * back was not used. The table `penguiflow_usage` is made, and later changed, when the layer is built; processes that
 * start at once do it one after the other.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import * as Usage from "../Usage.ts"

/** Records in the database. Fails at the start where its table can't be made. */
export const layer: Layer.Layer<Usage.Usage, Usage.UsageError, SqlClient.SqlClient> = Layer.effect(
  Usage.Usage,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* Effect.mapError(migrate, failed("make its table"))
    const where = (filter: Usage.Filter | undefined) => {
      const conditions = [
        ...(filter?.userId === undefined ? [] : [sql`user_id = ${filter.userId}`]),
        ...(filter?.tenant === undefined ? [] : [sql`tenant = ${filter.tenant}`]),
        ...(filter?.traceId === undefined ? [] : [sql`trace_id = ${filter.traceId}`]),
        ...(filter?.from === undefined ? [] : [sql`recorded_at >= ${filter.from}`]),
        ...(filter?.until === undefined ? [] : [sql`recorded_at < ${filter.until}`])
      ]
      return conditions.length === 0 ? sql.literal("") : sql`WHERE ${sql.and(conditions)}`
    }
    return Usage.Usage.of({
      record: (record) =>
        Effect.flatMap(Usage.check(record), () =>
          sql`INSERT INTO penguiflow_usage ${
            sql.insert({
              record_key: record.key,
              user_id: record.userId,
              tenant: record.tenant,
              flow: record.flow,
              node: record.node,
              trace_id: record.traceId,
              tokens: record.tokens,
              duration_ms: record.durationMs,
              recorded_at: record.at
            })
          } ON CONFLICT (record_key) DO NOTHING RETURNING record_key`.pipe(
            Effect.mapBoth({ onFailure: failed("record"), onSuccess: (rows) => rows.length > 0 })
          )),
      totals: (filter) =>
        sql<Usage.Totals>`SELECT
          CAST(COUNT(*) AS DOUBLE PRECISION) AS "records",
          CAST(COALESCE(SUM(tokens), 0) AS DOUBLE PRECISION) AS "tokens",
          CAST(COALESCE(SUM(duration_ms), 0) AS DOUBLE PRECISION) AS "durationMs"
          FROM penguiflow_usage ${where(filter)}`.pipe(
          Effect.mapBoth({
            onFailure: failed("add up"),
            onSuccess: ([row]) => row ?? { records: 0, tokens: 0, durationMs: 0 }
          })
        ),
      list: (filter) =>
        sql<Usage.UsageRecord>`SELECT record_key AS "key", user_id AS "userId", tenant, flow, node,
          trace_id AS "traceId", CAST(tokens AS DOUBLE PRECISION) AS "tokens", duration_ms AS "durationMs",
          CAST(recorded_at AS DOUBLE PRECISION) AS "at"
          FROM penguiflow_usage ${where(filter)} ORDER BY recorded_at, record_key`.pipe(
          Effect.mapError(failed("list"))
        )
    })
  })
)

// ----------------------------------------------------------------------------------------------------------- internals

const migrate = Migrator.make({})({
  table: "penguiflow_usage_migrations",
  loader: Migrator.fromRecord({
    "1_usage": SqlClient.SqlClient.use((sql) =>
      sql`CREATE TABLE penguiflow_usage (
        record_key TEXT PRIMARY KEY,
        user_id TEXT NOT NULL,
        tenant TEXT NOT NULL,
        flow TEXT NOT NULL,
        node TEXT NOT NULL,
        trace_id TEXT NOT NULL,
        tokens BIGINT NOT NULL,
        duration_ms DOUBLE PRECISION NOT NULL,
        recorded_at BIGINT NOT NULL
      )`.pipe(
        Effect.andThen(sql`CREATE INDEX penguiflow_usage_by_user ON penguiflow_usage (user_id, recorded_at)`),
        Effect.asVoid
      )
    )
  })
})

const failed = (what: string) => (cause: SqlError.SqlError | Migrator.MigrationError): Usage.UsageError =>
  new Usage.UsageError({ kind: "StoreFailed", message: `UsageSql can't ${what}: ${cause.message}`, cause })
