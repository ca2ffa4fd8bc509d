import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Schema, type Scope } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { TestClock } from "effect/testing"
import { mkdirSync, readdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { Flow, FlowRuntime, Node } from "penguiflow"
import * as Postgres from "penguiflow/layers/Postgres"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as Tenants from "penguiflow/layers/Tenants"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { temporaryFolder } from "../utils/servers/process.ts"

const write = Node.make("write", {
  input: Schema.String,
  output: Schema.Array(Schema.String),
  run: (word) =>
    Tenants.provide(Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY)`.pipe(Effect.ignore)
      yield* sql.withTransaction(Effect.andThen(sql`INSERT INTO words VALUES (${word})`, Effect.yieldNow))
      return (yield* sql<{ word: string }>`SELECT word FROM words ORDER BY word`).map((row) => row.word)
    }))
})
const flow = Flow.make("writing", [write.to()])

type Database = (tenant: string) => Layer.Layer<SqlClient.SqlClient, SqlError.SqlError>

/** Counts what is opened and closed. */
const counted = (database: Database) => {
  const log: Array<string> = []
  const layer = (tenant: string) =>
    Layer.effectDiscard(Effect.acquireRelease(
      Effect.sync(() => log.push(`open ${tenant}`)),
      () => Effect.sync(() => log.push(`close ${tenant}`))
    )).pipe(Layer.provideMerge(database(tenant)))
  return { log, layer }
}

const suite = (databases: Effect.Effect<Database, never, Scope.Scope>) => {
  it.effect("two tenants never see each other's rows, however their messages are mixed", () =>
    Effect.gen(function*() {
      const { layer, log } = counted(yield* databases)
      yield* Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(flow)
        const words = Array.from({ length: 30 }, (_, i) => [`t${i % 3}`, `word${i}`] as const)
        yield* Effect.forEach(
          words,
          ([tenant, word]) => runtime.run(`${tenant}-${word}`, { headers: { tenant } }),
          { concurrency: 10 }
        )
        for (const tenant of ["t0", "t1", "t2"]) {
          const seen = yield* runtime.run(`${tenant}-last`, { headers: { tenant } })
          assert.strictEqual(seen.length, 11)
          assert.isTrue(seen.every((word) => word.startsWith(`${tenant}-`)), seen.join())
        }
        // Opened on first use, once, and shared by all.
        assert.deepStrictEqual(log.toSorted(), ["open t0", "open t1", "open t2"])
      }).pipe(Effect.scoped, Effect.provide(Tenants.layer({ database: layer })))
      assert.strictEqual(log.filter((one) => one.startsWith("close")).length, 3)
    }))

  it.effect("one is closed when it was idle for its time, not while it is used, and opened again when needed", () =>
    Effect.gen(function*() {
      const { layer, log } = counted(yield* databases)
      yield* Effect.gen(function*() {
        const say = (tenant: string, word: string) => Flow.run(flow, word, { headers: { tenant } })
        yield* say("a", "1")
        yield* TestClock.adjust("40 seconds")
        yield* say("a", "2")
        const held = yield* Effect.forkChild(Tenants.provideTenant(Effect.never, "b"), { startImmediately: true })
        yield* say("b", "1")
        yield* TestClock.adjust("40 seconds")
        assert.deepStrictEqual(log, ["open a", "open b"])
        yield* TestClock.adjust("30 seconds")
        assert.deepStrictEqual(log, ["open a", "open b", "close a"])
        assert.deepStrictEqual(yield* say("a", "3"), ["1", "2", "3"])
        yield* Fiber.interrupt(held)
        yield* TestClock.adjust("61 seconds")
        assert.deepStrictEqual(log.slice(0, 4), ["open a", "open b", "close a", "open a"])
        assert.deepStrictEqual(log.slice(4).toSorted(), ["close a", "close b"])
      }).pipe(Effect.provide(Tenants.layer({ database: layer, idleTimeToLive: "1 minute" })))
    }))
}

const folder = Effect.map(
  temporaryFolder("tenants"),
  (path) => (tenant: string) => Sqlite.layer({ filename: join(path, `${tenant}.sqlite`) })
)

describe("Tenants", () => {
  describe("with a SQLite file each", () => {
    suite(folder)
  })

  describe.skipIf(!PostgresServer.available)("with a PostgreSQL schema each", () => {
    suite(Effect.map(
      PostgresServer.start(),
      ({ url }) => (tenant) => Postgres.layer({ url, schema: `tenant_${tenant}`, maxConnections: 3 })
    ))
  })

  describe.skipIf(!PostgresServer.available)("with a PostgreSQL database each", () => {
    suite(Effect.gen(function*() {
      const { url, urlOf } = yield* PostgresServer.start()
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        for (const tenant of ["a", "b", "t0", "t1", "t2"]) yield* sql`CREATE DATABASE ${sql(`db_${tenant}`)}`
      }).pipe(Effect.provide(Postgres.layer({ url })), Effect.orDie)
      return (tenant) => Postgres.layer({ url: urlOf({ database: `db_${tenant}` }), maxConnections: 3 })
    }))
  })

  it.effect("a tenant whose name could lead elsewhere is refused, and no file is made", () =>
    Effect.gen(function*() {
      const path = yield* temporaryFolder("tenants")
      mkdirSync(join(path, "inner"))
      const database = (tenant: string) => Sqlite.layer({ filename: join(path, "inner", `${tenant}.sqlite`) })
      for (const tenant of ["../out", "A", "", "a/b", "a\0", "x".repeat(41), "..", "é", "a b", "-a"]) {
        const error = yield* Effect.flip(Flow.run(flow, "x", { headers: { tenant } })).pipe(
          Effect.provide(Tenants.layer({ database }))
        )
        assert.strictEqual(error._tag, "TenantError", tenant)
        assert.include(error.message, "not one that is accepted")
      }
      assert.deepStrictEqual(readdirSync(join(path, "inner")), [])
      assert.deepStrictEqual(readdirSync(path), ["inner"])
      const known = Tenants.layer({ database, accepts: (tenant) => tenant === "known" })
      assert.deepStrictEqual(
        yield* Flow.run(flow, "x", { headers: { tenant: "known" } }).pipe(Effect.provide(known)),
        ["x"]
      )
      const other = yield* Effect.exit(
        Flow.run(flow, "x", { headers: { tenant: "other" } }).pipe(Effect.provide(known))
      )
      assert.isTrue(Exit.isFailure(other))
    }))

  it.effect("a database that could not be opened is tried anew by the next message", () =>
    Effect.gen(function*() {
      const path = yield* temporaryFolder("tenants")
      yield* Effect.gen(function*() {
        for (let i = 0; i < 2; i++) {
          const error = yield* Effect.flip(Flow.run(flow, "x", { headers: { tenant: "late" } }))
          assert.strictEqual(error._tag, "SqlError")
        }
        mkdirSync(join(path, "late"))
        assert.deepStrictEqual(yield* Flow.run(flow, "x", { headers: { tenant: "late" } }), ["x"])
      }).pipe(Effect.provide(Tenants.layer({
        database: (tenant) => Sqlite.layer({ filename: join(path, tenant, "db.sqlite") })
      })))
      rmSync(join(path, "late"), { recursive: true })
    }))

  it.effect("an open transaction of one tenant is not the other's", () =>
    Effect.gen(function*() {
      const database = yield* folder
      yield* Effect.gen(function*() {
        const insert = SqlClient.SqlClient.use((sql) => sql`INSERT INTO t VALUES (1)`)
        const create = SqlClient.SqlClient.use((sql) => sql`CREATE TABLE t (x INTEGER)`)
        const rows = SqlClient.SqlClient.use((sql) => sql`SELECT x FROM t`)
        for (const tenant of ["a", "b"]) yield* Tenants.provideTenant(create, tenant)
        yield* Effect.exit(Tenants.provideTenant(
          SqlClient.SqlClient.use((a) =>
            a.withTransaction(insert.pipe(
              Effect.andThen(Tenants.provideTenant(insert, "b")),
              Effect.andThen(Effect.fail("rolled back"))
            ))
          ),
          "a"
        ))
        assert.strictEqual((yield* Tenants.provideTenant(rows, "a")).length, 0)
        assert.strictEqual((yield* Tenants.provideTenant(rows, "b")).length, 1)
      }).pipe(Effect.provide(Tenants.layer({ database })))
    }))
})
