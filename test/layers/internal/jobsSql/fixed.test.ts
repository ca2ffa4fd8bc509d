import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import * as Sqlite from "penguiflow/layers/Sqlite"
import { fixed } from "../../../../src/layers/internal/jobsSql/fixed.ts"

describe("a fixed statement", () => {
  it.effect("is written once, and sent with the values of each time, by name", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      let written = 0
      const statement = fixed<{ readonly all: string }, "a" | "b">(sql, (value) => {
        written++
        return sql`SELECT ${value("b")} || ${" then "} || ${value("a")} ||
          ${" then "}
          || ${value("b")} AS "all"`
      })
      assert.deepStrictEqual(yield* statement({ a: "one", b: "two" }), [{ all: "two then one then two" }])
      assert.deepStrictEqual(yield* statement({ b: "b", a: "a" }), [{ all: "b then a then b" }])
      assert.strictEqual(written, 1)
      const [text, values] = statement({ a: "a", b: "b" }).compile()
      assert.strictEqual(text, `SELECT ? || ? || ? || ? || ? AS "all"`)
      assert.deepStrictEqual(values, ["b", " then ", "a", " then ", "b"])
    }).pipe(Effect.provide(Sqlite.layer({ filename: ":memory:" }))))
})
