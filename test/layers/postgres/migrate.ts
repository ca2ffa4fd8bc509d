/** A process that starts up: it migrates the database it is given, and says how many migrations it ran. */
import { Effect, Redacted } from "effect"
import { Migrator, SqlClient } from "effect/sql"
import * as Postgres from "penguiflow/layers/Postgres"

const migrations = Migrator.fromRecord({
  "1_table": SqlClient.SqlClient.use((sql) => Effect.asVoid(sql`CREATE TABLE seeded (x INTEGER)`)),
  "2_row": SqlClient.SqlClient.use((sql) => Effect.asVoid(sql`INSERT INTO seeded VALUES (1)`))
})

const ran = await Migrator.make({})({ loader: migrations, table: "migrations" }).pipe(
  Effect.provide(Postgres.layer({ url: Redacted.make(process.argv[2] ?? ""), schema: "made_at_once" })),
  Effect.runPromise
)
process.stdout.write(`ran ${ran.length}\n`)
