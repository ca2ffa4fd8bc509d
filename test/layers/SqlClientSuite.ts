/** What every `SqlClient` of ours does, whatever database stands behind it. A backend's test file calls it with a layer. */
import { assert, layer } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, type Layer, Schedule, Schema, Stream } from "effect"
import { Migrator, SqlClient, SqlError } from "effect/sql"
import { Flow, FlowRuntime, Node } from "penguiflow"

let tables = 0

/** A table of its own for each test, gone after it: the database may be shared with others. */
const table = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const name = `suite_${process.pid}_${Date.now()}_${tables++}`
  yield* Effect.acquireRelease(
    sql`CREATE TABLE ${sql(name)} (id TEXT PRIMARY KEY, n INTEGER NOT NULL CHECK (n >= 0))`,
    () => Effect.ignore(sql`DROP TABLE ${sql(name)}`)
  )
  const insert = (id: string, n = 1) => sql`INSERT INTO ${sql(name)} ${sql.insert({ id, n })}`
  const ids = Effect.map(
    sql<{ id: string }>`SELECT id FROM ${sql(name)} ORDER BY id`,
    (rows) => rows.map((row) => row.id).join(",")
  )
  return { sql, name, insert, ids }
})

const reasonOf = <A>(effect: Effect.Effect<A, SqlError.SqlError>) =>
  Effect.map(Effect.flip(effect), (e) => e.reason._tag)

export const sqlClientSuite = <E>(backend: string, database: Layer.Layer<SqlClient.SqlClient, E>) =>
  layer(database)(backend, (it) => {
    it.effect("gives rows as plain objects, and none for a statement without any", () =>
      Effect.gen(function*() {
        const { insert, name, sql } = yield* table
        assert.deepStrictEqual([...(yield* insert("a"))], [])
        assert.deepStrictEqual([...(yield* sql`SELECT id, n FROM ${sql(name)}`)], [{ id: "a", n: 1 }])
        assert.deepStrictEqual([...(yield* sql`SELECT id, n FROM ${sql(name)}`.values)], [["a", 1]])
        assert.deepStrictEqual([...(yield* sql`SELECT id FROM ${sql(name)} WHERE n > 99`)], [])
      }))

    it.effect("takes null, undefined and text of any kind as a parameter, never as SQL", () =>
      Effect.gen(function*() {
        const { insert, ids } = yield* table
        yield* insert("'); DROP TABLE x; --")
        yield* insert("🐧 \"quoted\"")
        assert.strictEqual(yield* ids, "'); DROP TABLE x; --,🐧 \"quoted\"")
      }))

    it.effect("RETURNING and ON CONFLICT mean the same everywhere", () =>
      Effect.gen(function*() {
        const { name, sql } = yield* table
        const put = (n: number) =>
          sql<{ n: number }>`INSERT INTO ${sql(name)} ${
            sql.insert({ id: "a", n })
          } ON CONFLICT (id) DO UPDATE SET n = excluded.n RETURNING n`
        assert.deepStrictEqual([...(yield* put(1))], [{ n: 1 }])
        assert.deepStrictEqual([...(yield* put(2))], [{ n: 2 }])
        assert.deepStrictEqual(
          [
            ...(yield* sql`INSERT INTO ${sql(name)} ${
              sql.insert({ id: "a", n: 3 })
            } ON CONFLICT DO NOTHING RETURNING n`)
          ],
          []
        )
      }))

    it.effect("a key that is there already is a UniqueViolation that names the constraint, and no retry helps", () =>
      Effect.gen(function*() {
        const { insert } = yield* table
        yield* insert("a")
        const error = yield* Effect.flip(insert("a"))
        assert.strictEqual(error.reason._tag, "UniqueViolation")
        assert.isFalse(error.isRetryable)
        if (error.reason._tag === "UniqueViolation") assert.include(error.reason.constraint, "suite_")
      }))

    it.effect("a broken check is a ConstraintError, nonsense and unknown tables are SqlSyntaxErrors", () =>
      Effect.gen(function*() {
        const { insert, name, sql } = yield* table
        assert.strictEqual(yield* reasonOf(insert("a", -1)), "ConstraintError")
        assert.strictEqual(yield* reasonOf(sql`SELEC 1`), "SqlSyntaxError")
        assert.strictEqual(yield* reasonOf(sql`SELECT * FROM no_such_table`), "SqlSyntaxError")
        assert.strictEqual(yield* reasonOf(sql`SELECT no_such_column FROM ${sql(name)}`), "SqlSyntaxError")
      }))

    it.effect("a transaction commits on success", () =>
      Effect.gen(function*() {
        const { ids, insert, sql } = yield* table
        yield* sql.withTransaction(Effect.andThen(insert("a"), insert("b")))
        assert.strictEqual(yield* ids, "a,b")
      }))

    it.effect("a transaction rolls back on failure, on death and on interruption, and the client goes on", () =>
      Effect.gen(function*() {
        const { ids, insert, sql } = yield* table
        const failed = yield* Effect.exit(sql.withTransaction(Effect.andThen(insert("a"), Effect.fail("no"))))
        assert.deepStrictEqual(failed, Exit.fail("no"))
        const died = yield* Effect.exit(sql.withTransaction(Effect.andThen(insert("b"), Effect.die("boom"))))
        assert.isTrue(Exit.hasDies(died))
        const inside = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(
          sql.withTransaction(
            insert("c").pipe(Effect.andThen(Deferred.succeed(inside, undefined)), Effect.andThen(Effect.never))
          )
        )
        yield* Deferred.await(inside)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* ids, "")
        yield* sql.withTransaction(insert("d"))
        assert.strictEqual(yield* ids, "d")
      }))

    it.effect("a statement that fails within a transaction leaves nothing of it", () =>
      Effect.gen(function*() {
        const { ids, insert, sql } = yield* table
        const tag = yield* reasonOf(sql.withTransaction(Effect.andThen(insert("a"), insert("a"))))
        assert.strictEqual(tag, "UniqueViolation")
        assert.strictEqual(yield* ids, "")
      }))

    it.effect("a transaction in a transaction is a savepoint: its failure undoes its own writes alone", () =>
      Effect.gen(function*() {
        const { ids, insert, sql } = yield* table
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* insert("a")
          yield* Effect.ignore(sql.withTransaction(Effect.andThen(insert("b"), Effect.fail("inner"))))
          yield* sql.withTransaction(insert("c"))
          yield* Effect.ignore(sql.withTransaction(
            Effect.andThen(sql.withTransaction(insert("d")), Effect.fail("middle"))
          ))
        }))
        assert.strictEqual(yield* ids, "a,c")
      }))

    it.effect("nobody gets into somebody else's transaction", () =>
      Effect.gen(function*() {
        const { ids, insert, sql } = yield* table
        const inside = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const transaction = yield* Effect.forkChild(sql.withTransaction(
          insert("rolled back").pipe(
            Effect.andThen(Deferred.succeed(inside, undefined)),
            Effect.andThen(Deferred.await(go)),
            Effect.andThen(Effect.fail("no"))
          )
        ))
        yield* Deferred.await(inside)
        const other = yield* Effect.forkChild(insert("kept"), { startImmediately: true })
        yield* Effect.yieldNow
        yield* Deferred.succeed(go, undefined)
        yield* Effect.exit(Fiber.join(transaction))
        yield* Fiber.join(other)
        assert.strictEqual(yield* ids, "kept")
      }))

    it.effect("read, add and write in 50 transactions at once lose no update", () =>
      Effect.gen(function*() {
        const { insert, name, sql } = yield* table
        yield* insert("counter", 0)
        const lock = sql.onDialectOrElse({ pg: () => sql`FOR UPDATE`, orElse: () => sql.literal("") })
        yield* Effect.forEach(
          Array.from({ length: 50 }),
          () =>
            sql.withTransaction(Effect.gen(function*() {
              const [row] = yield* sql<{ n: number }>`SELECT n FROM ${sql(name)} WHERE id = 'counter' ${lock}`
              yield* Effect.yieldNow
              yield* sql`UPDATE ${sql(name)} SET n = ${(row?.n ?? 0) + 1} WHERE id = 'counter'`
            })),
          { concurrency: "unbounded", discard: true }
        )
        assert.deepStrictEqual([...(yield* sql`SELECT n FROM ${sql(name)}`)], [{ n: 50 }])
      }))

    it.effect("a waiting transaction can be interrupted, and the one that is open is not touched", () =>
      Effect.gen(function*() {
        const { ids, insert, sql } = yield* table
        const inside = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const open = yield* Effect.forkChild(sql.withTransaction(
          insert("a").pipe(Effect.andThen(Deferred.succeed(inside, undefined)), Effect.andThen(Deferred.await(go)))
        ))
        yield* Deferred.await(inside)
        const waiting = yield* Effect.forkChild(sql.withTransaction(insert("a")), { startImmediately: true })
        yield* Effect.yieldNow
        yield* Fiber.interrupt(waiting)
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(open)
        assert.strictEqual(yield* ids, "a")
      }))

    it.effect("afterCommit runs once after the outermost commit, and not at all after a rollback", () =>
      Effect.gen(function*() {
        const { insert, sql } = yield* table
        const seen: Array<string> = []
        const note = (what: string) => sql.afterCommit(Effect.sync(() => void seen.push(what)))
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* insert("a")
          yield* sql.withTransaction(note("inner"))
          assert.deepStrictEqual(seen, [])
        }))
        yield* Effect.ignore(sql.withTransaction(Effect.andThen(note("rolled back"), Effect.fail("no"))))
        assert.deepStrictEqual(seen, ["inner"])
      }))

    it.effect("a stream's reader may use the database while it reads", () =>
      Effect.gen(function*() {
        const { ids, insert, name, sql } = yield* table
        yield* insert("a")
        yield* insert("b")
        yield* sql<{ id: string }>`SELECT id FROM ${sql(name)} ORDER BY id`.stream.pipe(
          Stream.runForEach(({ id }) => insert(`${id}2`))
        )
        assert.strictEqual(yield* ids, "a,a2,b,b2")
      }))

    it.effect("100 statements at once all get their own answer", () =>
      Effect.gen(function*() {
        const { sql } = yield* table
        const answers = yield* Effect.forEach(
          Array.from({ length: 100 }, (_, i) => i),
          (i) => sql<{ i: string }>`SELECT CAST(${String(i)} AS TEXT) AS i`,
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(answers.map((rows) => rows[0]?.i), answers.map((_, i) => String(i)))
      }))

    it.effect("the errors of a statement say what is wrong without repeating its values", () =>
      Effect.gen(function*() {
        const { insert } = yield* table
        yield* insert("secret-value")
        const exit = yield* Effect.exit(insert("secret-value"))
        if (Exit.isSuccess(exit)) return assert.fail("should have failed")
        assert.notInclude(String(Cause.squash(exit.cause)), "secret-value")
      }))

    it.effect("count(*) and integers are numbers; beyond 2^53 they are bigints where SafeIntegers is set", () =>
      Effect.gen(function*() {
        const { insert, name, sql } = yield* table
        yield* insert("a", 7)
        assert.deepStrictEqual([...(yield* sql`SELECT count(*) AS c, n FROM ${sql(name)} GROUP BY n`)], [{
          c: 1,
          n: 7
        }])
        assert.deepStrictEqual([...(yield* sql`SELECT count(*) AS c FROM ${sql(name)}`.values)], [[1]])
        const big = sql`SELECT CAST(9007199254740993 AS BIGINT) AS b`
        assert.deepStrictEqual([...(yield* Effect.provideService(big, SqlClient.SafeIntegers, true))], [
          { b: 9007199254740993n }
        ])
      }))

    it.effect("a connection can be had for one operation, and is given back at the end of its scope", () =>
      Effect.gen(function*() {
        const { ids, insert, name, sql } = yield* table
        // More often than any pool has connections: one that were not given back would be missed.
        for (let i = 0; i < 25; i++) {
          yield* Effect.scoped(Effect.flatMap(
            sql.reserve,
            (connection) => connection.executeRaw(`INSERT INTO ${name} (id, n) VALUES ('${i}', 1)`, [])
          ))
        }
        yield* insert("last")
        assert.strictEqual((yield* ids).split(",").length, 26)
      }))

    it.effect("a statement that failed in a transaction which went on as if it had not fails the transaction, or is undone", () =>
      Effect.gen(function*() {
        const { ids, insert, sql } = yield* table
        yield* insert("a")
        const exit = yield* Effect.exit(sql.withTransaction(Effect.andThen(Effect.ignore(insert("a")), Effect.void)))
        // PostgreSQL commits nothing then, and says so; SQLite undoes the one statement.
        if (Exit.isFailure(exit)) assert.instanceOf(Cause.squash(exit.cause), SqlError.SqlError)
        assert.strictEqual(yield* ids, "a")
      }))

    it.effect("a migration that fails halfway leaves nothing, and the next start begins it anew", () =>
      Effect.gen(function*() {
        const { name, sql } = yield* table
        const [one, two, done] = [`${name}_one`, `${name}_two`, `${name}_migrations`]
        yield* Effect.addFinalizer(() =>
          Effect.ignore(Effect.forEach([one, two, done], (it) => sql`DROP TABLE IF EXISTS ${sql(it)}`))
        )
        const migrate = (second: Effect.Effect<unknown, SqlError.SqlError>) =>
          Migrator.make({})({
            table: done,
            loader: Migrator.fromRecord({
              "1_first": Effect.asVoid(sql`CREATE TABLE ${sql(one)} (x INTEGER)`),
              "2_second": second
            })
          })
        const create = sql`CREATE TABLE ${sql(two)} (x INTEGER)`
        const error = yield* Effect.flip(migrate(Effect.andThen(create, sql`CREATE TABL nonsense (x INTEGER)`)))
        assert.strictEqual(error._tag, "MigrationError")
        assert.include(error.message, "2_second")
        for (const it of [one, two]) {
          assert.strictEqual(yield* reasonOf(sql`SELECT * FROM ${sql(it)}`), "SqlSyntaxError")
        }
        assert.deepStrictEqual(yield* migrate(create), [[1, "first"], [2, "second"]])
        assert.deepStrictEqual(yield* migrate(create), [])
      }))

    it.effect("a node that is retried after its statement failed begins anew, in a transaction of its own", () =>
      Effect.gen(function*() {
        const { ids, insert, sql } = yield* table
        let attempts = 0
        const write = Node.make("write", {
          input: Schema.String,
          output: Schema.String,
          policy: { retry: Schedule.recurs(2) },
          run: (id, { attempt }) =>
            sql.withTransaction(Effect.gen(function*() {
              attempts++
              yield* insert(`${id}${attempt}`)
              // Fails the transaction of the first two attempts at the database itself.
              if (attempt < 3) yield* insert(`${id}${attempt}`)
              return id
            }))
        })
        assert.strictEqual(yield* Flow.run(Flow.make("writing", [write.to()]), "x"), "x")
        assert.strictEqual(attempts, 3)
        assert.strictEqual(yield* ids, "x3")
      }))

    it.effect("cancelling a trace in mid-transaction leaves no row, and a client that works", () =>
      Effect.gen(function*() {
        const { ids, insert, sql } = yield* table
        const inside = yield* Deferred.make<void>()
        const write = Node.make("write", {
          input: Schema.String,
          output: Schema.String,
          run: (id) =>
            sql.withTransaction(
              insert(id).pipe(
                Effect.andThen(Deferred.succeed(inside, undefined)),
                Effect.andThen(Effect.never),
                Effect.as(id)
              )
            )
        })
        const runtime = yield* FlowRuntime.make(Flow.make("writing", [write.to()]))
        const running = yield* Effect.forkChild(runtime.run("x", { traceId: "t" }), { startImmediately: true })
        yield* Deferred.await(inside)
        assert.isTrue(yield* runtime.cancel("t"))
        const error = yield* Effect.flip(Fiber.join(running))
        assert.strictEqual(error._tag === "FlowError" ? error.code : error._tag, "TRACE_CANCELLED")
        assert.strictEqual(yield* ids, "")
        yield* sql.withTransaction(insert("y"))
        assert.strictEqual(yield* ids, "y")
      }))

    it.effect("a client in meta is refused with its key, before anything runs", () =>
      Effect.gen(function*() {
        const { ids, insert, sql } = yield* table
        const write = Node.make("write", {
          input: Schema.String,
          output: Schema.String,
          run: (id) => Effect.as(insert(id), id)
        })
        const flow = Flow.make("writing", [write.to()])
        // @ts-expect-error a client is not JSON
        void (() => Flow.run(flow, "x", { meta: { db_session: sql } }))
        const connection = yield* Effect.scoped(sql.reserve)
        for (const infrastructure of [sql, connection, insert("z")]) {
          // The types refuse it; this is how a caller without types comes in.
          const meta: Record<string, never> = JSON.parse("{}")
          Reflect.set(meta, "db_session", infrastructure)
          const error = yield* Effect.flip(Flow.run(flow, "x", { meta }))
          assert.strictEqual(error._tag === "FlowError" ? error.code : error._tag, "INVALID_META")
          assert.include(error.message, "db_session")
        }
        assert.strictEqual(yield* ids, "")
      }))
  })
