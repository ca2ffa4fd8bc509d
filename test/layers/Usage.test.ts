import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { join } from "node:path"
import * as Postgres from "penguiflow/layers/Postgres"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as UsageMemory from "penguiflow/layers/UsageMemory"
import * as UsageSql from "penguiflow/layers/UsageSql"
import * as Usage from "penguiflow/Usage"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { temporaryFolder } from "../utils/servers/process.ts"
import { usageSuite } from "./UsageSuite.ts"

const record: Usage.UsageRecord = {
  key: "k",
  userId: "u",
  tenant: "default",
  flow: "f",
  node: "n",
  traceId: "t",
  tokens: 5,
  durationMs: 1,
  at: 1
}

describe("Usage", () => {
  usageSuite("in memory", UsageMemory.layer)
  usageSuite("in SQLite", UsageSql.layer.pipe(Layer.provide(Sqlite.layer({ filename: ":memory:" }))))

  describe.skipIf(!PostgresServer.available)("with a server", () => {
    usageSuite(
      "in PostgreSQL",
      UsageSql.layer.pipe(
        Layer.provide(Layer.unwrap(Effect.map(PostgresServer.start(), ({ url }) => Postgres.layer({ url }))))
      )
    )
  })

  it.effect("in a database it is part of the transaction that is open", () =>
    Effect.gen(function*() {
      const usage = yield* Usage.Usage
      const sql = yield* SqlClient.SqlClient
      yield* Effect.ignore(sql.withTransaction(Effect.andThen(usage.record(record), Effect.fail("no"))))
      assert.strictEqual((yield* usage.totals()).records, 0)
      yield* sql.withTransaction(usage.record(record))
      assert.strictEqual((yield* usage.totals()).records, 1)
    }).pipe(Effect.provide(UsageSql.layer.pipe(Layer.provideMerge(Sqlite.layer({ filename: ":memory:" }))))))

  it.effect("in a file it is there again after a restart; ten that start at once make one table", () =>
    Effect.gen(function*() {
      const filename = join(yield* temporaryFolder("usage"), "usage.sqlite")
      // A layer of its own for each, as in a process of its own.
      const store = () => UsageSql.layer.pipe(Layer.provide(Sqlite.layer({ filename })))
      const news = yield* Effect.all(
        Array.from(
          { length: 10 },
          () => Usage.Usage.use((usage) => usage.record(record)).pipe(Effect.provide(store(), { local: true }))
        ),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(news.filter((isNew) => isNew).length, 1)
      const again = yield* Usage.Usage.use((usage) => usage.totals()).pipe(Effect.provide(store()))
      assert.strictEqual(again.records, 1)
    }))

  it.effect("a store that fails is a typed error that may be tried again, and does not repeat what was recorded", () =>
    Effect.gen(function*() {
      const usage = yield* Usage.Usage
      yield* SqlClient.SqlClient.use((sql) => sql`DROP TABLE penguiflow_usage`)
      const error = yield* Effect.flip(usage.record({ ...record, userId: "secret-user" }))
      assert.strictEqual(error.kind, "StoreFailed")
      assert.isTrue(error.isRetryable)
      assert.include(error.message, "penguiflow_usage")
      assert.notInclude(JSON.stringify(error) + String(error), "secret-user")
    }).pipe(Effect.provide(UsageSql.layer.pipe(Layer.provideMerge(Sqlite.layer({ filename: ":memory:" }))))))
})
