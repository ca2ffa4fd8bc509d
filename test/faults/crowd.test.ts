/** Many workers on one queue in PostgreSQL, one with nothing to do, and what the server counts of their questions. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import type { Redacted } from "effect"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as JobQueue from "penguiflow/JobQueue"
import * as Postgres from "penguiflow/layers/Postgres"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { eventually, pause } from "../utils/servers/process.ts"
import { inPostgres, startsOf, tasks, watched } from "./queue/kit.ts"

describe.skipIf(!PostgresServer.available)("workers over PostgreSQL", () => {
  const scope = Scope.makeUnsafe()
  let server!: PostgresServer.PostgresServer
  let databases = 0
  beforeAll(async () => {
    server = await Effect.runPromise(Scope.provide(
      PostgresServer.start({
        settings: { max_connections: "260", shared_preload_libraries: "pg_stat_statements", deadlock_timeout: "100ms" }
      }),
      scope
    ))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  /** A database of its own, with somebody who asks the server about it. */
  const fresh = Effect.gen(function*() {
    const admin = (url: Redacted.Redacted) =>
      Effect.map(
        Layer.build(Layer.fresh(Postgres.layer({ url, maxConnections: 1 }))),
        (context) => Context.get(context, SqlClient.SqlClient)
      )
    const database = `crowd_${databases++}`
    yield* Effect.scoped(Effect.flatMap(admin(server.url), (sql) => sql.unsafe(`CREATE DATABASE ${database}`)))
    const url = server.urlOf({ database })
    const sql = yield* admin(url)
    yield* sql`CREATE EXTENSION pg_stat_statements`
    const reset = sql`SELECT pg_stat_statements_reset()`
    /** How many statements of that form were asked since, by others. */
    const calls = (like: string) =>
      Effect.map(
        sql<{ n: number }>`
          SELECT coalesce(sum(calls), 0)::int AS n FROM pg_stat_statements s
          JOIN pg_database d ON d.oid = s.dbid AND d.datname = current_database()
          WHERE query NOT LIKE '%pg_stat%' AND query LIKE ${like === "" ? "%" : like}`,
        ([row]) => row?.n ?? 0
      )
    return { url, sql, database, reset, calls }
  })
  it.live("a hundred: idle they ask twice a second at most, one job does not wake them all at once, each runs once", () =>
    Effect.scoped(Effect.gen(function*() {
      const { calls, reset, sql, url } = yield* fresh
      const { flow, runs } = tasks()
      const workers = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, i) => i),
        () => watched(inPostgres(url, { maxConnections: 2 }), flow, { concurrency: 2, lease: "10 seconds" }),
        { concurrency: 10 }
      )
      const { queue } = workers[0]!
      const listeners = sql<{ n: number }>`
        SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()`
      assert.isTrue(yield* eventually(Effect.map(listeners, ([row]) => row?.n === 100)))
      yield* pause(1000)

      yield* reset
      const idle = performance.now()
      yield* pause(2500)
      const perSecond = (yield* calls("")) / 100 / ((performance.now() - idle) / 1000)
      assert.isAtMost(perSecond, 2)
      assert.isAtLeast(perSecond, 0.5)

      yield* reset
      const single = performance.now()
      for (let i = 0; i < 60; i++) {
        yield* queue.enqueue(flow, { ms: 10 }, { id: `single-${i}` })
        yield* pause(30)
      }
      assert.isTrue(yield* eventually(Effect.sync(() => startsOf(runs).size === 60)))
      const seconds = (performance.now() - single) / 1000
      // The first few are asked for by all; after that, by each four times a second at most.
      assert.isAtMost(yield* calls("%FOR UPDATE SKIP LOCKED%"), 100 * (8 + 5 * seconds))

      yield* queue.enqueueMany(flow, Array.from({ length: 400 }, (_, i) => ({ id: `many-${i}`, input: { ms: 10 } })))
      assert.isTrue(yield* eventually(Effect.map(queue.counts, ({ done }) => done === 460)))
      assert.strictEqual(runs.length, 460)
      assert.isAbove(new Set(runs.map((run) => run.worker)).size, 50)
      assert.deepStrictEqual(workers.flatMap(({ lines }) => lines), [])
    })))

  it.live("a stricter isolation than the server's usual one: what it undoes is tried again, and nobody hears of it", () =>
    Effect.scoped(Effect.gen(function*() {
      const { database, sql, url } = yield* fresh
      const { flow, runs } = tasks()
      yield* sql.unsafe(`ALTER DATABASE ${database} SET default_transaction_isolation = 'repeatable read'`)
      const workers = yield* Effect.forEach(
        Array.from({ length: 6 }, (_, i) => i),
        () => watched(inPostgres(url), flow, { concurrency: 3, lease: "10 seconds" })
      )
      const jobs = Array.from({ length: 200 }, (_, i) => ({ id: `j${i}`, input: { ms: 5 } }))
      yield* Effect.forEach([0, 1, 2], (i) => workers[i]!.queue.enqueueMany(flow, jobs), { concurrency: 3 })
      assert.isTrue(yield* eventually(Effect.map(workers[0]!.queue.counts, ({ done }) => done === 200)))
      assert.strictEqual(runs.length, 200)
      assert.include(yield* server.output, "ERROR:  could not serialize access")
      assert.deepStrictEqual(workers.flatMap(({ lines }) => lines), [])
    })))

  it.live("two who store the same jobs in another order wait for each other: the server ends it, both succeed", () =>
    Effect.scoped(Effect.gen(function*() {
      const { sql, url } = yield* fresh
      const { flow } = tasks()
      const context = yield* Layer.build(inPostgres(url))
      const queue = Context.get(context, JobQueue.JobQueue)
      const own = Context.get(context, SqlClient.SqlClient)
      yield* queue.counts
      const jobs = ["a", "m", "z"].map((id) => ({ id, input: { ms: 0 } }))
      const [stored, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      // Somebody has the one in the middle, so that both have stored their first when they come to it.
      yield* Effect.forkChild(own.withTransaction(Effect.gen(function*() {
        yield* queue.enqueue(flow, { ms: 0 }, { id: "m" })
        yield* Deferred.succeed(stored, undefined)
        yield* Deferred.await(gate)
        return yield* Effect.fail("not this one")
      })))
      yield* Deferred.await(stored)
      const both = yield* Effect.forkChild(Effect.all(
        [queue.enqueueMany(flow, jobs), queue.enqueueMany(flow, jobs.toReversed())],
        { concurrency: 2 }
      ))
      const waiting = sql<{ n: number }>`
        SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`
      assert.isTrue(yield* eventually(Effect.map(waiting, ([row]) => row?.n === 2)))
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual((yield* Fiber.join(both)).map((ids) => ids.length), [3, 3])
      assert.strictEqual((yield* queue.counts).queued, 3)
      assert.include(yield* server.output, "ERROR:  deadlock detected")
    })))
})
