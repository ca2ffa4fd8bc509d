/** The tables of a job queue: made once, by whoever comes first, and refused where a newer program has changed them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import { type JobError, unavailable } from "../../../JobError.ts"

/** What this program makes and understands. PostgreSQL's version 1 was never released. */
const versionOf = (sql: SqlClient.SqlClient): number => sql.onDialectOrElse({ pg: () => 2, orElse: () => 1 })

type Failed = SqlError.SqlError | JobError

/** Makes the tables where they are missing. Cheap once they were there; asks again after a failure. */
export const makeTables = (client: SqlClient.SqlClient, table: string): Effect.Effect<void, Failed> => {
  const sql = client.withoutTransforms()
  const versions = `${table}_version`
  const version = versionOf(sql)
  let there = false

  const known: Effect.Effect<number | undefined, SqlError.SqlError> = Effect.gen(function*() {
    const found = yield* sql.onDialectOrElse({
      pg: () => sql<{ n: number }>`SELECT count(*) AS n FROM (${sql.literal(pgHas(versions))}) AS found`,
      orElse: () => sql<{ n: number }>`SELECT count(*) AS n FROM sqlite_master WHERE name = ${versions}`
    })
    if (Number(found[0]?.n) === 0) return undefined
    const rows = yield* sql<{ version: number }>`SELECT max(version) AS version FROM ${sql(versions)}`
    const newest = rows[0]?.version ?? undefined
    return newest === undefined ? undefined : Number(newest)
  })

  const all = [
    ...statements(sql, table),
    `CREATE TABLE IF NOT EXISTS "${versions}" (version INTEGER PRIMARY KEY)`,
    `INSERT INTO "${versions}" (version) VALUES (${version}) ON CONFLICT DO NOTHING`
  ]

  /** One after the other: "IF NOT EXISTS" alone fails where two begin at once. */
  const makeAlone: Effect.Effect<void, SqlError.SqlError> = sql.onDialectOrElse({
    // In one message: a far server is not to be asked a dozen times within the time of one operation. Whether it is
    // there is asked twice after the lock, for either may only remember: rows are seen as they were when a transaction
    // that is stricter than `read committed` began, and what to_regclass says is refreshed by whatever reads rows.
    pg: () =>
      Effect.asVoid(sql.unsafe(
        `DO $make$ BEGIN
          PERFORM pg_advisory_xact_lock(7071, hashtext('${table}'));
          IF NOT EXISTS (${pgHas(versions)}) AND to_regclass('"${versions}"') IS NULL THEN ${all.join("; ")}; END IF;
        END $make$`
      )),
    orElse: () =>
      client.withTransaction(Effect.gen(function*() {
        if ((yield* known) === undefined) { for (const statement of all) yield* sql.unsafe(statement) }
      }))
  })

  const check = (found: number | undefined): Effect.Effect<void, JobError> => {
    if (found === undefined || found === version) return Effect.void
    const what = found > version
      ? `and this program knows versions up to ${version}: update it`
      : `from before the first release: give this queue another \`table\`, or drop that one and "${versions}"`
    const words = `The table "${table}" is of version ${found}, ${what}`
    return Effect.fail(unavailable("start", undefined, "no", words, true))
  }

  return Effect.suspend(() => {
    if (there) return Effect.void
    return Effect.gen(function*() {
      const inside = Option.isSome(Context.getOption(yield* Effect.context<never>(), client.transactionService))
      const outside = sql.onDialectOrElse({ pg: () => true, orElse: () => false })
      const found = yield* known
      yield* check(found)
      if (found === undefined) {
        // PostgreSQL: on a connection of its own, or a rollback of the caller's transaction would take the tables with it.
        if (inside && outside) {
          const fiber = yield* Effect.forkDetach(makeAlone.pipe(
            Effect.updateContext((context: Context.Context<never>) => Context.omit(client.transactionService)(context))
          ))
          yield* Fiber.join(fiber)
        } else yield* makeAlone
      }
      // SQLite has one connection: made inside of the caller's transaction, they may yet be rolled back.
      there = !inside || found !== undefined || outside
    })
  })
}

/** A row where PostgreSQL has this table. */
const pgHas = (table: string): string =>
  `SELECT 1 FROM pg_catalog.pg_class WHERE relname = '${table}' AND pg_catalog.pg_table_is_visible(oid)`

/**
 * PostgreSQL writes a row anew at each change, with an entry in each index, unless none of the indexed columns has
 * changed and its page has room. So no index is on what changes while a job runs: which jobs can be claimed, and which may
 * be running, stands in narrow tables beside it, and half of each page is left free.
 *
 * A job that is `ready` has a row in `_ready`, a `running` one is named by a row of `_claims`. Rows without such a job may
 * be there too, and do no harm: a claim takes only what is `ready`, a sweep only what is `running`.
 */
const statements = (sql: SqlClient.SqlClient, table: string): ReadonlyArray<string> => {
  const [key, text] = sql.onDialectOrElse({
    pg: () => ["BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "TEXT COLLATE \"C\""] as const,
    orElse: () => ["INTEGER PRIMARY KEY AUTOINCREMENT", "TEXT"] as const
  })
  const columns = `
      seq ${key},
      id ${text} NOT NULL UNIQUE,
      flow ${text} NOT NULL,
      payload TEXT NOT NULL,
      tenant ${text} NOT NULL,
      topic TEXT,
      priority INTEGER NOT NULL,
      meta TEXT NOT NULL,
      max_attempts INTEGER NOT NULL,
      timeout_ms BIGINT,
      state TEXT NOT NULL,
      failures INTEGER NOT NULL DEFAULT 0,
      crashes INTEGER NOT NULL DEFAULT 0,
      token BIGINT NOT NULL DEFAULT 0,
      alone INTEGER NOT NULL DEFAULT 0,
      started INTEGER NOT NULL DEFAULT 0,
      cancelling INTEGER NOT NULL DEFAULT 0,
      enqueued_at BIGINT NOT NULL,
      run_at BIGINT NOT NULL,
      lease_until BIGINT,
      started_at BIGINT,
      finished_at BIGINT,
      worker_id TEXT,
      results TEXT,
      failure TEXT,
      cancel_reason TEXT`
  return sql.onDialectOrElse({
    pg: () => [
      `CREATE TABLE IF NOT EXISTS "${table}" (${columns},
        due_at BIGINT GENERATED ALWAYS AS (CASE WHEN state = 'delayed' THEN run_at END) STORED
      ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02)`,
      `CREATE INDEX IF NOT EXISTS "${table}_delayed" ON "${table}" (due_at) WHERE due_at IS NOT NULL`,
      `CREATE INDEX IF NOT EXISTS "${table}_age" ON "${table}" USING brin (enqueued_at) WITH (pages_per_range = 32, autosummarize = on)`,
      `CREATE TABLE IF NOT EXISTS "${table}_ready" (
        seq BIGINT NOT NULL,
        flow ${text} NOT NULL,
        tenant ${text} NOT NULL,
        priority INTEGER NOT NULL
      ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)`,
      `CREATE INDEX IF NOT EXISTS "${table}_turns" ON "${table}_ready" (flow, tenant, priority DESC, seq)`,
      `CREATE TABLE IF NOT EXISTS "${table}_claims" (
        n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        worker_id TEXT NOT NULL,
        lease_until BIGINT NOT NULL,
        jobs BIGINT[] NOT NULL
      ) WITH (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500)`
    ],
    orElse: () => [
      `CREATE TABLE IF NOT EXISTS "${table}" (${columns})`,
      `CREATE INDEX IF NOT EXISTS "${table}_ready" ON "${table}" (flow, tenant, priority DESC, seq) WHERE state = 'ready'`,
      `CREATE INDEX IF NOT EXISTS "${table}_delayed" ON "${table}" (run_at) WHERE state = 'delayed'`,
      `CREATE INDEX IF NOT EXISTS "${table}_leases" ON "${table}" (lease_until) WHERE state = 'running'`,
      `CREATE INDEX IF NOT EXISTS "${table}_ended" ON "${table}" (finished_at) WHERE finished_at IS NOT NULL`
    ]
  })
}
