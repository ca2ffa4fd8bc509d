/** A process that uses a database behind a link that goes dark, and then wants to end: it must be let go. */
import { Effect, Layer, Redacted, Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as Postgres from "penguiflow/layers/Postgres"

const scope = Scope.makeUnsafe()
const sql = await Layer.build(Postgres.layer({
  url: Redacted.make(process.argv[2] ?? ""),
  queryTimeout: "20 seconds",
  cancelTimeout: "500 millis"
})).pipe(
  Scope.provide(scope),
  Effect.flatMap((services) => Effect.provideContext(SqlClient.SqlClient, services)),
  Effect.runPromise
)
await Effect.runPromise(Effect.all([sql`SELECT 1`, sql`SELECT pg_sleep(0.1)`], { concurrency: 2 }))
process.stdout.write("ready\n")
process.stdin.once("data", async () => {
  // One statement is under way into the dark, one connection is idle, one is held by somebody who forgot it.
  Effect.runFork(sql.withTransaction(Effect.andThen(sql`SELECT 1`, Effect.never)))
  Effect.runFork(Effect.ignore(sql`SELECT 2`))
  await new Promise((resolve) => setTimeout(resolve, 100))
  const before = performance.now()
  await Effect.runPromise(Scope.close(scope, await Effect.runPromiseExit(Effect.void)))
  process.stdout.write(`closed ${Math.round(performance.now() - before)}\n`)
  process.stdin.unref()
})
