/** A process that writes pairs of rows, one pair a transaction, and prints each id once it is committed. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { writeSync } from "node:fs"
import * as Sqlite from "penguiflow/layers/Sqlite"

const [filename = "", prefix = "", count = "Infinity"] = process.argv.slice(2)

await Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE IF NOT EXISTS pairs (id TEXT, half INTEGER)`
  for (let i = 0; i < Number(count); i++) {
    const id = `${prefix}-${i}`
    yield* sql.withTransaction(Effect.gen(function*() {
      yield* sql`INSERT INTO pairs VALUES (${id}, 1)`
      yield* Effect.yieldNow
      yield* sql`INSERT INTO pairs VALUES (${id}, 2)`
    }))
    writeSync(1, `${id}\n`)
  }
}).pipe(Effect.provide(Sqlite.layer({ filename, busyTimeout: "30 seconds" })), Effect.runPromise)
