/** The idempotency check on SQLite, and where it has nothing to look at. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { Node } from "penguiflow"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as Idempotency from "penguiflow/testing/Idempotency"
import { idempotencySuite } from "./IdempotencySuite.ts"

idempotencySuite("SQLite", Sqlite.layer({ filename: ":memory:" }), { live: false })

const echo = (rerun: Node.Rerun | undefined) =>
  Node.make("echo", { input: Schema.String, output: Schema.String, rerun, run: (msg) => Effect.succeed(msg) })

describe("Idempotency.check", () => {
  it.effect("does not succeed on nothing: no database, or one without tables", () =>
    Effect.gen(function*() {
      const blind = yield* Idempotency.check(echo("idempotent"), "a")
      assert.deepStrictEqual(blind.faults, ["no database is in sight: provide an SqlClient, or pass `sql`"])
      const empty = yield* Idempotency.check(echo(undefined), "a", { layer: Sqlite.layer({ filename: ":memory:" }) })
      assert.deepStrictEqual(empty.faults, ["the database has no tables that are not ignored: nothing can be compared"])
      const pure = yield* Idempotency.check(echo("pure"), "a")
      assert.isTrue(pure.holds)
    }))

  it.effect("a layer is built once for all runs; `sql` is a client that the node keeps to itself", () =>
    Effect.gen(function*() {
      let built = 0
      const database = Layer.effectDiscard(Effect.gen(function*() {
        built++
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE t (a)`
      })).pipe(Layer.provideMerge(Sqlite.layer({ filename: ":memory:" })))
      const write = Node.make("write", {
        input: Schema.String,
        output: Schema.String,
        run: (msg) => SqlClient.SqlClient.use((sql) => Effect.as(sql`INSERT INTO t VALUES (${msg})`, msg))
      })
      const report = yield* Idempotency.check(write, "a", { layer: database })
      assert.strictEqual(built, 1)
      assert.lengthOf(report.faults, 2)
      const sql = yield* Effect.provideContext(SqlClient.SqlClient, yield* Layer.build(Layer.fresh(database)))
      const own = Node.provide(write, Layer.succeed(SqlClient.SqlClient, sql))
      const seen = yield* Idempotency.check(own, "a", { sql })
      assert.match(seen.faults[0] ?? "", /table "t" has 1 row more: \{"a":"a"\}/)
    }))
})
