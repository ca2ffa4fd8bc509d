/** The job queue in a PostgreSQL whose transactions are as strict as they can be, because somebody else wants them so. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { type Context, Effect, Exit, Layer, Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as JobQueueSql from "penguiflow/layers/JobQueueSql"
import * as Postgres from "penguiflow/layers/Postgres"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { jobQueueSuite } from "./JobQueueSuite.ts"

describe.skipIf(!PostgresServer.available)("with a PostgreSQL server whose transactions are serializable", () => {
  const scope = Scope.makeUnsafe()
  const start = PostgresServer.start({ settings: { default_transaction_isolation: "serializable" } })
  let pool!: Context.Context<SqlClient.SqlClient>
  beforeAll(async () => {
    const open = Effect.flatMap(start, ({ url }) => Layer.build(Postgres.layer({ url })))
    pool = await Effect.runPromise(Scope.provide(open, scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const database = Layer.effectContext(Effect.sync(() => pool))
  let tables = 0

  jobQueueSuite(
    "in PostgreSQL, serializable",
    (limits) => JobQueueSql.layer({ ...limits, table: `strict_${tables++}` }).pipe(Layer.provide(database))
  )

  it.live("whose transactions are so indeed", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      assert.deepStrictEqual(yield* sql`SHOW transaction_isolation`, [{ transaction_isolation: "serializable" }])
    }).pipe(Effect.provide(database)))
})
