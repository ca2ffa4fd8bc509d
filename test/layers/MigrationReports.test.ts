import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { join } from "node:path"
import * as MigrationReportsMemory from "penguiflow/layers/MigrationReportsMemory"
import * as MigrationReportsSql from "penguiflow/layers/MigrationReportsSql"
import * as Postgres from "penguiflow/layers/Postgres"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as Migration from "penguiflow/Migration"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { temporaryFolder } from "../utils/servers/process.ts"
import { reportsSuite } from "./MigrationReportsSuite.ts"

const skipped = (n: number): Migration.Entry => ({
  _tag: "Skipped",
  id: `id-${n}`,
  migration: "m",
  at: n,
  reason: "busy",
  count: 1
})

describe("reports of migrations", () => {
  reportsSuite("in memory", MigrationReportsMemory.layer(), { twice: false })
  reportsSuite("in SQLite", MigrationReportsSql.layer.pipe(Layer.provide(Sqlite.layer({ filename: ":memory:" }))), {
    twice: true
  })

  describe.skipIf(!PostgresServer.available)("with a server", () => {
    reportsSuite(
      "in PostgreSQL",
      MigrationReportsSql.layer.pipe(
        Layer.provide(Layer.unwrap(Effect.map(PostgresServer.start(), ({ url }) => Postgres.layer({ url }))))
      ),
      { twice: true }
    )
  })

  it.effect("in memory, the oldest are forgotten first", () =>
    Effect.gen(function*() {
      const store = yield* Migration.Reports
      for (let n = 0; n < 100; n++) yield* store.add([skipped(n)])
      const kept = yield* Stream.runCollect(store.read("m", {}))
      assert.deepStrictEqual(kept.map(({ at }) => at), Array.from({ length: 10 }, (_, n) => 90 + n))
    }).pipe(Effect.provide(MigrationReportsMemory.layer({ capacity: 10 }))))

  it.effect("in a file they are there after a restart; ten that start at once make one table", () =>
    Effect.gen(function*() {
      const filename = join(yield* temporaryFolder("reports"), "reports.sqlite")
      // A layer of its own for each, as in a process of its own.
      const store = () => MigrationReportsSql.layer.pipe(Layer.provide(Sqlite.layer({ filename })))
      yield* Effect.all(
        Array.from({ length: 10 }, (_, n) =>
          Migration.Reports.use((reports) => reports.add([skipped(n)])).pipe(
            Effect.provide(store(), { local: true })
          )),
        { concurrency: "unbounded" }
      )
      const { skipped: counted } = yield* Effect.provide(Migration.report("m"), store(), { local: true })
      assert.strictEqual(counted.busy, 10)
    }))

  it.effect("a table that is gone, and an entry that nobody understands, are errors that say so", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`INSERT INTO penguiflow_migration_entries (id, migration, noted_at, entry) VALUES ('a', 'm', 1, '{"secret":1')`
      const unreadable = yield* Effect.flip(Migration.report("m"))
      assert.strictEqual(unreadable._tag, "ReportsError")
      assert.match(unreadable.message, /^MigrationReportsSql can't understand the entry a: /)
      yield* sql`DROP TABLE penguiflow_migration_entries`
      const gone = yield* Effect.flip(Migration.Reports.use((reports) => reports.add([skipped(1)])))
      assert.match(gone.message, /^MigrationReportsSql can't write: /)
    }).pipe(
      Effect.provide(MigrationReportsSql.layer.pipe(Layer.provideMerge(Sqlite.layer({ filename: ":memory:" }))))
    ))
})
