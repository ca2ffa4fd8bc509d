import { assert, describe, it } from "@effect/vitest"
import { Cause, Config, ConfigProvider, Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { Migrator, SqlClient } from "effect/sql"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Sqlite from "penguiflow/layers/Sqlite"
import { sqlClientSuite } from "./SqlClientSuite.ts"

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "penguiflow-sqlite-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
const file = Effect.map(directory, (path) => join(path, "test.sqlite"))

/** A file that vanishes with the layer. */
const onDisk = Layer.unwrap(Effect.map(file, (filename) => Sqlite.layer({ filename })))

sqlClientSuite("SqlClient on SQLite in memory", Sqlite.layer({ filename: ":memory:" }))
sqlClientSuite("SqlClient on SQLite on disk", onDisk)
sqlClientSuite(
  "SqlClient on SQLite without a statement cache",
  Sqlite.layer({ filename: ":memory:", statementCache: 0 })
)

const child = (name: string, ...args: Array<string>) =>
  spawn(process.execPath, ["--conditions=source", join(import.meta.dirname, "sqlite", name), ...args], {
    stdio: ["ignore", "pipe", "pipe"]
  })

/** A process that runs to its end; its output. */
const runChild = (name: string, ...args: Array<string>) =>
  Effect.promise(async () => {
    const process = child(name, ...args)
    let out = ""
    process.stdout.on("data", (chunk) => out += chunk)
    process.stderr.on("data", (chunk) => out += chunk)
    const [code] = await once(process, "close")
    return { code, out }
  })

const openError = (filename: string) =>
  Effect.map(
    Effect.flip(Effect.scoped(Layer.build(Sqlite.layer({ filename })))),
    (error) => ({ tag: error.reason._tag, message: error.message })
  )

describe("Sqlite", () => {
  it.effect("options that make no sense, and a configuration that lacks the file, are refused at start with what to do", () =>
    Effect.gen(function*() {
      const opened = (options: object) =>
        Effect.flip(Effect.scoped(Layer.build(Sqlite.layer({ filename: ":memory:", ...options }))))
      for (
        const [options, word] of [
          [{ filename: "" }, "filename"],
          [{ filename: undefined }, "filename"],
          [{ synchronous: "OFF" }, "synchronous"],
          [{ statementCache: -1 }, "statementCache"],
          [{ busyTimeout: -1 }, "busyTimeout"],
          [{ busyTimeout: "soon" }, "busyTimeout"]
        ] as const
      ) {
        const error = yield* opened(options)
        assert.strictEqual(error._tag, "SqlError")
        assert.include(error.message, word)
      }
      const missing = yield* Effect.flip(Effect.scoped(
        Layer.build(Sqlite.layerConfig({ filename: Config.String("DATABASE_FILE") }))
      )).pipe(Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({})))
      assert.strictEqual(missing._tag, "ConfigError")
      for (const word of ["SQLite", "DATABASE_FILE", "Set it in the environment"]) assert.include(missing.message, word)
    }))

  it.effect("opens with a write-ahead log, NORMAL, and foreign keys on; FULL when asked", () =>
    Effect.gen(function*() {
      const filename = yield* file
      const pragmas = SqlClient.SqlClient.use((sql) =>
        Effect.all([
          sql`PRAGMA journal_mode`,
          sql`PRAGMA synchronous`,
          sql`PRAGMA foreign_keys`
        ])
      )
      const normal = yield* Effect.provide(pragmas, Sqlite.layer({ filename }))
      assert.deepStrictEqual(normal.map((rows) => rows[0]), [{ journal_mode: "wal" }, { synchronous: 1 }, {
        foreign_keys: 1
      }])
      const full = yield* Effect.provide(pragmas, Sqlite.layer({ filename, synchronous: "FULL" }))
      assert.deepStrictEqual(full[1][0], { synchronous: 2 })
    }))

  it.effect("takes its options from Config, and says which one is missing", () =>
    Effect.gen(function*() {
      const filename = yield* file
      const query = (config: Record<string, string>) =>
        SqlClient.SqlClient.use((sql) => sql`SELECT 1 AS one`).pipe(
          Effect.provide(
            Sqlite.layerConfig({ filename: Config.String("DATABASE_FILE") }).pipe(
              Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(config)))
            )
          )
        )
      assert.deepStrictEqual([...(yield* query({ DATABASE_FILE: filename }))], [{ one: 1 }])
      const error = yield* Effect.flip(query({}))
      assert.strictEqual(error._tag, "ConfigError")
      assert.include(error.message, "DATABASE_FILE")
    }))

  it.effect("a file that can't be opened is a typed error that names the path and says what to do", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const missing = yield* openError(join(path, "no", "such", "x.sqlite"))
      assert.strictEqual(missing.tag, "ConnectionError")
      assert.include(missing.message, join(path, "no", "such"))
      assert.include(missing.message, "does not exist. Create it")

      mkdirSync(join(path, "folder"))
      const folder = yield* openError(join(path, "folder"))
      assert.strictEqual(folder.tag, "ConnectionError")
      assert.include(folder.message, "it is a directory")

      writeFileSync(join(path, "text.sqlite"), "this is a letter, not a database. ".repeat(100))
      const text = yield* openError(join(path, "text.sqlite"))
      assert.strictEqual(text.tag, "UnknownError")
      assert.include(text.message, join(path, "text.sqlite"))
      assert.include(text.message, "not a SQLite database")
    }))

  it.effect("stores booleans, dates, bytes, bigints and undefined; another object is refused with its type", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE t (a, b, c, d, e)`
      const bytes = new Uint8Array([1, 2, 3])
      yield* sql`INSERT INTO t VALUES (${true}, ${new Date(0)}, ${bytes}, ${2n ** 40n}, ${undefined})`
      assert.deepStrictEqual([...(yield* sql`SELECT * FROM t`.values)], [
        [1, "1970-01-01T00:00:00.000Z", bytes, 2 ** 40, null]
      ])
      const error = yield* Effect.flip(sql`INSERT INTO t (a) VALUES (${new Map()})`)
      assert.include(error.message, "a value of type Map can't be stored")
    }).pipe(Effect.provide(Sqlite.layer({ filename: ":memory:" }))))

  it.effect("integers beyond 2^53 come as bigints where SafeIntegers is set, else the statement fails", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const big = sql`SELECT 9007199254740993 AS n`
      assert.include((yield* Effect.flip(big)).message, "9007199254740993")
      const rows = yield* Effect.provideService(big, SqlClient.SafeIntegers, true)
      assert.deepStrictEqual([...rows], [{ n: 9007199254740993n }])
      assert.deepStrictEqual([...(yield* sql`SELECT 1 AS n`)], [{ n: 1 }])
    }).pipe(Effect.provide(Sqlite.layer({ filename: ":memory:" }))))

  it.effect("several statements in one are refused instead of running the first alone", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const error = yield* Effect.flip(sql`CREATE TABLE a (x); CREATE TABLE b (x)`)
      assert.strictEqual(error.reason._tag, "SqlSyntaxError")
      assert.include(error.message, "only the first would run")
      yield* sql`CREATE TABLE c (x); -- a comment behind it is fine`
    }).pipe(Effect.provide(Sqlite.layer({ filename: ":memory:" }))))

  it.effect("a changed table is seen by statements that were prepared before", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE t (a)`
      yield* sql`INSERT INTO t VALUES (1)`
      const all = sql`SELECT * FROM t`
      assert.deepStrictEqual([...(yield* all)], [{ a: 1 }])
      yield* sql`ALTER TABLE t ADD COLUMN b DEFAULT 2`
      assert.deepStrictEqual([...(yield* all)], [{ a: 1, b: 2 }])
      yield* sql`DROP TABLE t`
      assert.strictEqual((yield* Effect.flip(all)).reason._tag, "SqlSyntaxError")
    }).pipe(Effect.provide(Sqlite.layer({ filename: ":memory:" }))))

  it.effect("after a commit that fails nothing is left open", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE a (id PRIMARY KEY)`
      yield* sql`CREATE TABLE b (a REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED)`
      const error = yield* Effect.flip(sql.withTransaction(sql`INSERT INTO b VALUES (1)`))
      assert.strictEqual(error.reason._tag, "ConstraintError")
      yield* sql.withTransaction(sql`INSERT INTO a VALUES (1)`)
      assert.deepStrictEqual([...(yield* sql`SELECT (SELECT count(*) FROM a) AS a, (SELECT count(*) FROM b) AS b`)], [{
        a: 1,
        b: 0
      }])
    }).pipe(Effect.provide(Sqlite.layer({ filename: ":memory:" }))))

  it.effect("a client whose scope has ended says so", () =>
    Effect.gen(function*() {
      const sql = yield* Effect.provide(SqlClient.SqlClient, Sqlite.layer({ filename: ":memory:" }))
      const error = yield* Effect.flip(sql`SELECT 1`)
      assert.strictEqual(error.reason._tag, "ConnectionError")
      assert.include(error.message, "closed")
    }))

  describe("beside another process that holds the lock", () => {
    /** Somebody else, who has begun to write. */
    const holdLock = (filename: string) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const other = new DatabaseSync(filename)
          other.exec("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t (a); BEGIN IMMEDIATE")
          return other
        }),
        (other) => Effect.sync(() => other.close())
      )

    it.effect("reads go on; a write gives up after busyTimeout with a LockTimeoutError, which isRetryable", () =>
      Effect.gen(function*() {
        const filename = yield* file
        const other = yield* holdLock(filename)
        const sql = yield* Effect.provide(SqlClient.SqlClient, Layer.empty).pipe(
          Effect.provideContext(yield* Layer.build(Sqlite.layer({ filename, busyTimeout: "60 millis" })))
        )
        assert.deepStrictEqual([...(yield* sql`SELECT * FROM t`)], [])
        for (const write of [sql`INSERT INTO t VALUES (1)`, sql.withTransaction(sql`INSERT INTO t VALUES (1)`)]) {
          const before = performance.now()
          const error = yield* Effect.flip(write)
          assert.strictEqual(error.reason._tag, "LockTimeoutError")
          assert.isTrue(error.isRetryable)
          assert.isAbove(performance.now() - before, 50)
        }
        other.exec("ROLLBACK")
        yield* sql`INSERT INTO t VALUES (1)`
      }))

    it.effect("waiting blocks nobody, ends when the lock is free, and can be interrupted", () =>
      Effect.gen(function*() {
        const filename = yield* file
        const other = yield* holdLock(filename)
        const services = yield* Layer.build(Sqlite.layer({ filename, busyTimeout: "1 minute" }))
        const sql = yield* Effect.provideContext(SqlClient.SqlClient, services)
        const given = yield* Effect.forkChild(sql.withTransaction(sql`INSERT INTO t VALUES (1)`), {
          startImmediately: true
        })
        // The event loop turns: a timer fires although the transaction waits.
        yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)))
        yield* Fiber.interrupt(given)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(given)))
        const taken = yield* Effect.forkChild(sql.withTransaction(sql`INSERT INTO t VALUES (2)`), {
          startImmediately: true
        })
        other.exec("COMMIT")
        yield* Fiber.join(taken)
        assert.deepStrictEqual([...(yield* sql`SELECT a FROM t`)], [{ a: 2 }])
      }))
  })

  describe("migrations", () => {
    const migrate = (migrations: Record<string, Effect.Effect<void, unknown, SqlClient.SqlClient>>) =>
      Migrator.make({})({ loader: Migrator.fromRecord(migrations), table: "migrations" })

    it.effect("one that fails halfway leaves nothing behind, and the next start begins it anew", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const first = Effect.asVoid(sql`CREATE TABLE first (x)`)
        const broken = sql`CREATE TABLE second (x)`.pipe(Effect.andThen(sql`CREATE TABL third (x)`), Effect.asVoid)
        const error = yield* Effect.flip(migrate({ "1_first": first, "2_second": broken }))
        assert.strictEqual(error._tag, "MigrationError")
        assert.include(error.message, "2_second")
        const tables = sql<{ name: string }>`SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name`
        assert.deepStrictEqual((yield* tables).map((t) => t.name), ["migrations"])
        const fixed = Effect.asVoid(sql`CREATE TABLE second (x)`)
        assert.deepStrictEqual(yield* migrate({ "1_first": first, "2_second": fixed }), [[1, "first"], [2, "second"]])
        assert.deepStrictEqual(yield* migrate({ "1_first": first, "2_second": fixed }), [])
      }).pipe(Effect.provide(Sqlite.layer({ filename: ":memory:" }))))

    it.effect("ten processes that start at once on a new file run each migration once", () =>
      Effect.gen(function*() {
        const filename = yield* file
        const ends = yield* Effect.all(Array.from({ length: 10 }, () => runChild("migrate.ts", filename)), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(ends.map((end) => end.code), ends.map(() => 0), ends.map((end) => end.out).join("\n"))
        assert.strictEqual(ends.filter((end) => end.out.includes("ran 2")).length, 1)
        assert.strictEqual(ends.filter((end) => end.out.includes("ran 0")).length, 9)
        const rows = yield* SqlClient.SqlClient.use((sql) => sql`SELECT count(*) AS n FROM seeded`).pipe(
          Effect.provide(Sqlite.layer({ filename }))
        )
        assert.deepStrictEqual([...rows], [{ n: 1 }])
      }), 60_000)
  })

  describe("processes that are killed", () => {
    it.effect(
      "kill -9 loses nothing that was acknowledged, and leaves nothing half written",
      () =>
        Effect.gen(function*() {
          const filename = yield* file
          for (let round = 0; round < 3; round++) {
            const acknowledged = yield* Effect.promise(async () => {
              const writer = child("write.ts", filename, String(round))
              let out = ""
              writer.stdout.on("data", (chunk) => out += chunk)
              writer.stderr.on("data", (chunk) => out += chunk)
              while (out.split("\n").length < 200 && writer.exitCode === null) await once(writer.stdout, "data")
              writer.kill("SIGKILL")
              await once(writer, "close")
              return out.slice(0, out.lastIndexOf("\n")).split("\n")
            })
            assert.isAtLeast(acknowledged.length, 199, acknowledged.slice(0, 5).join("\n"))
            yield* Effect.gen(function*() {
              const sql = yield* SqlClient.SqlClient
              const rows = yield* sql<{ id: string; n: number }>`SELECT id, count(*) AS n FROM pairs GROUP BY id`
              const stored = new Map(rows.map((row) => [row.id, row.n]))
              assert.deepStrictEqual(acknowledged.filter((id) => stored.get(id) !== 2), [])
              assert.deepStrictEqual([...stored].filter(([, n]) => n !== 2), [])
              assert.deepStrictEqual([...(yield* sql`PRAGMA integrity_check`)], [{ integrity_check: "ok" }])
            }).pipe(Effect.provide(Sqlite.layer({ filename })))
          }
        }),
      60_000
    )

    it.effect(
      "four processes that write to one file at once lose nothing and fail nowhere",
      () =>
        Effect.gen(function*() {
          const filename = yield* file
          const ends = yield* Effect.all(
            Array.from({ length: 4 }, (_, i) => runChild("write.ts", filename, `p${i}`, "250")),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(
            ends.map((end) => end.code),
            [0, 0, 0, 0],
            ends.map((end) => end.out.slice(0, 400)).join()
          )
          const rows = yield* SqlClient.SqlClient.use((sql) => sql`SELECT count(*) AS n FROM pairs`).pipe(
            Effect.provide(Sqlite.layer({ filename }))
          )
          assert.deepStrictEqual([...rows], [{ n: 4 * 250 * 2 }])
        }),
      60_000
    )
  })

  it.effect("a transaction that is open when the scope ends is rolled back", () =>
    Effect.gen(function*() {
      const filename = yield* file
      const inside = yield* Deferred.make<void>()
      const exit = yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE t (a)`
        yield* Effect.forkChild(sql.withTransaction(
          sql`INSERT INTO t VALUES (1)`.pipe(
            Effect.andThen(Deferred.succeed(inside, undefined)),
            Effect.andThen(Effect.never)
          )
        ))
        yield* Deferred.await(inside)
      }).pipe(Effect.provide(Sqlite.layer({ filename })), Effect.exit)
      assert.isTrue(Exit.isSuccess(exit), Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "")
      const rows = yield* SqlClient.SqlClient.use((sql) => sql`SELECT count(*) AS n FROM t`).pipe(
        Effect.provide(Sqlite.layer({ filename }))
      )
      assert.deepStrictEqual([...rows], [{ n: 0 }])
    }))
})
