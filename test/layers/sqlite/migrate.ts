/** A process that starts up: it migrates the file it is given, and says how many migrations it ran. */
import { Effect } from "effect"
import { Migrator, SqlClient } from "effect/sql"
import * as Sqlite from "penguiflow/layers/Sqlite"

const migrations = Migrator.fromRecord({
  "1_table": SqlClient.SqlClient.use((sql) => Effect.asVoid(sql`CREATE TABLE seeded (x)`)),
  "2_row": SqlClient.SqlClient.use((sql) => Effect.asVoid(sql`INSERT INTO seeded VALUES (1)`))
})

const ran = await Migrator.make({})({ loader: migrations, table: "migrations" }).pipe(
  Effect.provide(Sqlite.layer({ filename: process.argv[2] ?? "" })),
  Effect.runPromise
)
process.stdout.write(`ran ${ran.length}\n`)
