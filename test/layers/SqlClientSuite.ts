/** What every `SqlClient` of ours does, whatever database stands behind it. A backend's test file calls it with a layer. */
import { assert, layer } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, type Layer, Stream } from "effect"
import { SqlClient, type SqlError } from "effect/sql"

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
  })
