/** The job queue behind PgBouncer in transaction mode: no settings, no prepared statements, no `LISTEN`. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as JobQueue from "penguiflow/JobQueue"
import * as JobQueueSql from "penguiflow/layers/JobQueueSql"
import * as Postgres from "penguiflow/layers/Postgres"
import { tasks, watched } from "../faults/queue/kit.ts"
import * as PgBouncer from "../utils/servers/pgbouncer.ts"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { jobQueueSuite } from "./JobQueueSuite.ts"

describe.skipIf(!PostgresServer.available || !PgBouncer.available)("behind PgBouncer", () => {
  const scope = Scope.makeUnsafe()
  let server!: PostgresServer.PostgresServer
  let port = 0
  beforeAll(async () => {
    const both = Effect.gen(function*() {
      const server = yield* PostgresServer.start()
      return [server, yield* PgBouncer.start({ target: server.port, poolSize: 5 })] as const
    })
    const [postgres, pooler] = await Effect.runPromise(Scope.provide(both, scope))
    server = postgres
    port = pooler.port
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const database = Layer.unwrap(
    Effect.sync(() => Layer.fresh(Postgres.layer({ url: server.urlOf({ port }), pooler: true, maxConnections: 8 })))
  )
  let tables = 0

  jobQueueSuite(
    "through a pooler",
    (limits) => JobQueueSql.layer({ ...limits, table: `pooled_${tables++}` }).pipe(Layer.provide(database))
  )

  it.live("jobs of other processes are found by asking, and nobody listens", () =>
    Effect.scoped(Effect.gen(function*() {
      const { flow, runs } = tasks()
      const queue = () => Layer.orDie(JobQueueSql.layer().pipe(Layer.provide(Layer.fresh(database))))
      yield* watched(queue(), flow, { pollInterval: "200 millis" })
      const elsewhere = Context.get(yield* Layer.build(queue()), JobQueue.JobQueue)
      const wait: Array<number> = []
      for (let i = 0; i < 5; i++) {
        const from = performance.now()
        yield* elsewhere.await(yield* elsewhere.enqueue(flow, { ms: 0 }))
        wait.push(performance.now() - from)
      }
      assert.lengthOf(runs, 5)
      assert.isBelow(Math.min(...wait), 500)
      const direct = Postgres.layer({ url: server.url, maxConnections: 1 })
      const heard = yield* SqlClient.SqlClient.use((sql) =>
        sql`SELECT pid FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'`
      ).pipe(Effect.provide(direct, { local: true }))
      assert.lengthOf(heard, 0)
      const refused = yield* Effect.flip(
        Effect.scoped(PgClient.PgClient.use((sql) => sql.listen("anything"))).pipe(Effect.provide(database))
      )
      assert.match(refused.message, /a pooler has no connection to listen on/)
    })))

  it.live("a job is stored with the caller's rows, or rolled back with them", () =>
    Effect.gen(function*() {
      const { flow } = tasks()
      const queue = yield* JobQueue.JobQueue
      const sql = yield* SqlClient.SqlClient
      yield* Effect.exit(
        sql.withTransaction(Effect.andThen(queue.enqueue(flow, { ms: 0 }, { id: "a" }), Effect.fail("no")))
      )
      yield* sql.withTransaction(queue.enqueue(flow, { ms: 0 }, { id: "b" }))
      assert.deepStrictEqual((yield* queue.list()).map((job) => job.id), ["b"])
    }).pipe(Effect.provide(JobQueueSql.layer({ table: "transactions" }).pipe(Layer.provideMerge(database)))))
})
