import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Redacted,
  Schedule,
  Schema,
  Scope,
  Tracer
} from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Flow, Node } from "penguiflow"
import * as JobQueue from "penguiflow/JobQueue"
import * as JobQueueSql from "penguiflow/layers/JobQueueSql"
import * as Postgres from "penguiflow/layers/Postgres"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as Worker from "penguiflow/Worker"
import { ask } from "../utils/jobs.ts"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { recordingTracer } from "../utils/spans.ts"
import { jobQueueSuite } from "./JobQueueSuite.ts"

const lengths = Flow.make("lengths", [
  Node.make("measure", { input: Schema.String, output: Schema.Number, run: (s) => Effect.succeed(s.length) }).to()
])

type Database = Layer.Layer<SqlClient.SqlClient, SqlError.SqlError>

/** What both databases promise beyond the suite. */
const sqlSuite = (backend: string, database: () => Database) => {
  let tables = 0
  const names = () => `${backend.replaceAll(/\W/g, "")}_${tables++}`

  jobQueueSuite(backend, (limits) => JobQueueSql.layer({ ...limits, table: names() }).pipe(Layer.provide(database())))

  describe(`JobQueueSql ${backend}`, () => {
    const test = <A, E>(
      name: string,
      effect: (table: string) => Effect.Effect<A, E, JobQueue.JobQueue | SqlClient.SqlClient>
    ) =>
      it.live(name, () => {
        const table = names()
        return Effect.provide(effect(table), JobQueueSql.layer({ table }).pipe(Layer.provideMerge(database())))
      })

    test("a job is stored with the caller's rows, or rolled back with them, and workers hear of it at the commit", () =>
      Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const sql = yield* SqlClient.SqlClient
        const heard: Array<string> = []
        yield* Effect.scoped(Effect.gen(function*() {
          yield* queue.store.watch(["ready"], (change) => heard.push(change))
          yield* Effect.sleep(50)
          heard.length = 0
          yield* Effect.exit(
            sql.withTransaction(Effect.andThen(queue.enqueue(lengths, "a", { id: "a" }), Effect.fail("no")))
          )
          yield* Effect.sleep(30)
          assert.deepStrictEqual(heard, [])
          yield* sql.withTransaction(Effect.gen(function*() {
            yield* queue.enqueueMany(lengths, [{ input: "b", id: "b" }, { input: "c", id: "c" }])
            const conflict = yield* Effect.flip(
              queue.enqueueMany(lengths, [{ input: "d", id: "d" }, { input: "x", id: "b" }])
            )
            assert.strictEqual(conflict.code, "ID_CONFLICT")
            assert.strictEqual((yield* Effect.flip(queue.enqueue(lengths, "x", { id: "c" }))).code, "ID_CONFLICT")
            // The caller's transaction is none the worse for a refusal.
            yield* queue.enqueue(lengths, "e", { id: "e" })
            assert.deepStrictEqual(heard, [])
          }))
          assert.isAbove(heard.length, 0)
        }))
        assert.deepStrictEqual((yield* queue.list()).map((job) => job.id), ["b", "c", "e"])
      }))

    test("within a transaction no worker gets a job before the commit, and none that is rolled back", (table) =>
      Effect.scoped(Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const sql = yield* SqlClient.SqlClient
        const worker = yield* Worker.make(lengths)
        const status = Effect.map(
          sql<{ state: string }>`SELECT state FROM ${sql(table)} WHERE id = 'a'`,
          ([row]) => row?.state
        )
        // Until the worker has nothing to ask for: then it takes what is enqueued as it is stored.
        while (!(yield* worker.status).ready) yield* Effect.sleep(5)
        yield* Effect.sleep(100)
        for (const end of [Effect.fail("no"), Effect.void]) {
          yield* Effect.exit(sql.withTransaction(Effect.gen(function*() {
            yield* queue.enqueue(lengths, "four", { id: "a" })
            assert.strictEqual(yield* status, "ready")
            yield* end
          })))
        }
        assert.strictEqual(yield* queue.await(lengths, "a"), 4)
        const [row] = yield* queue.list()
        assert.deepStrictEqual([row?.attempts, row?.crashes], [1, 0])
      })))

    test("what is enqueued is in the caller's trace, and what workers and those who wait look for is in none", (table) =>
      Effect.scoped(Effect.gen(function*() {
        const { spans, tracer } = recordingTracer()
        yield* Effect.gen(function*() {
          const context = yield* Layer.build(
            Worker.layer(lengths, { pollInterval: "10 millis" }).pipe(Layer.provideMerge(JobQueueSql.layer({ table })))
          )
          const queue = Context.get(context, JobQueue.JobQueue)
          const id = yield* Effect.withSpan(queue.enqueue(lengths, "abc"), "request")
          assert.strictEqual(yield* queue.await(lengths, id), 3)
          yield* Effect.sleep(100)
          assert.isTrue((yield* Context.get(context, Worker.Worker).status).ready)
        }).pipe(Effect.provideService(Tracer.Tracer, tracer))
        const request = spans.find(({ name }) => name === "request")
        const inRequest = spans.filter(({ parent }) => parent._tag === "Some" && parent.value === request)
        assert.isTrue(inRequest.some(({ attributes }) => /INSERT INTO/.test(String(attributes.get("db.query.text")))))
        const own = spans.filter(({ parent }) => parent._tag === "None")
        assert.deepStrictEqual(own.map(({ attributes }) => attributes.get("db.query.text")), [undefined])
      })))

    it.live("ten who begin at once with an empty database make its tables once", () => {
      const table = names()
      const begin = (i: number) =>
        JobQueue.JobQueue.use((queue) => queue.enqueue(lengths, "x", { id: `${i}` })).pipe(
          Effect.provide(JobQueueSql.layer({ table }), { local: true })
        )
      return Effect.provide(
        Effect.gen(function*() {
          yield* Effect.forEach(Array.from({ length: 10 }, (_, i) => i), begin, { concurrency: 10 })
          const sql = yield* SqlClient.SqlClient
          assert.strictEqual(Number((yield* sql<{ n: number }>`SELECT count(*) AS n FROM ${sql(table)}`)[0]?.n), 10)
        }),
        database()
      )
    })

    it.live("a first use inside of a transaction that is rolled back leaves a queue that works", () => {
      const table = names()
      return Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const sql = yield* SqlClient.SqlClient
        yield* Effect.exit(sql.withTransaction(Effect.andThen(queue.enqueue(lengths, "a"), Effect.fail("no"))))
        assert.strictEqual((yield* queue.counts).queued, 0)
        yield* queue.enqueue(lengths, "b")
        assert.strictEqual((yield* queue.counts).queued, 1)
      }).pipe(Effect.provide(JobQueueSql.layer({ table }).pipe(Layer.provideMerge(database()))))
    })

    test("tables that a newer program made are refused, with what to do about it", (table) =>
      Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const sql = yield* SqlClient.SqlClient
        yield* queue.counts
        yield* sql`INSERT INTO ${sql(`${table}_version`)} (version) VALUES (99)`
        const error = yield* JobQueue.JobQueue.use((queue) => Effect.flip(queue.enqueue(lengths, "x"))).pipe(
          Effect.provide(JobQueueSql.layer({ table }), { local: true })
        )
        assert.strictEqual(error.code, "QUEUE_UNAVAILABLE")
        assert.isTrue(error.reason._tag === "QueueUnavailable" && error.reason.refused === true)
        assert.match(error.message, /version 99.*up to \d.*update/)
      }))

    test("a worker that is older than the tables takes nothing, is not ready, and says what to do", (table) =>
      Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const sql = yield* SqlClient.SqlClient
        yield* queue.enqueue(lengths, "x", { id: "a" })
        yield* sql`INSERT INTO ${sql(`${table}_version`)} (version) VALUES (99)`
        const lines: Array<string> = []
        const logger = Logger.layer([Logger.make(({ message }) => {
          lines.push(String(message))
        })])
        yield* Effect.scoped(Effect.gen(function*() {
          const old = Worker.layer(lengths, { pollInterval: "50 millis" }).pipe(
            Layer.provide(JobQueueSql.layer({ table })),
            Layer.provideMerge(logger)
          )
          const worker = Context.get(yield* Layer.build(old), Worker.Worker)
          yield* Effect.sleep(700)
          assert.isFalse((yield* worker.status).ready)
        }))
        assert.lengthOf(lines, 1)
        assert.match(lines[0]!, /version 99.*up to \d: update it/)
        const job = yield* queue.get("a")
        assert.deepStrictEqual([job?.state, job?.attempts], ["queued", 0])
      }))

    test("two workers of one name are two: each job is begun by one of them, and none is taken from the other", () =>
      Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const begun: Array<readonly [job: string, worker: string]> = []
        const slow = Flow.make("slow", [
          Node.make("only", {
            input: Schema.Null,
            output: Schema.Null,
            run: (_, { meta }) =>
              Effect.as(
                Effect.andThen(
                  Effect.sync(() => begun.push([String(meta["jobId"]), String(meta["workerId"])])),
                  Effect.sleep(400)
                ),
                null
              )
          }).to()
        ])
        const jobs = Array.from({ length: 8 }, (_, i) => ({ input: null, id: `j${i}` }))
        yield* Effect.scoped(Effect.gen(function*() {
          const one = Worker.make(slow, { name: "same", concurrency: 2, lease: "300 millis", grace: 0 })
          const [a, b] = [yield* one, yield* one]
          assert.notStrictEqual(a.id, b.id)
          const ids = yield* queue.enqueueMany(slow, jobs)
          yield* Effect.forEach(ids, (id) => queue.await(id), { concurrency: "unbounded" })
          assert.sameMembers(begun.map(([job]) => job), jobs.map((job) => job.id))
          assert.sameMembers([...new Set(begun.map(([, worker]) => worker))], [a.id, b.id])
          for (const { id, workerId } of yield* queue.list()) {
            assert.deepStrictEqual(begun.find(([job]) => job === id)?.[1], workerId)
          }
        }))
      }))

    it.live("a table's name is a name", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Effect.scoped(
          Layer.build(JobQueueSql.layer({ table: "jobs; DROP TABLE x" }).pipe(Layer.provide(database())))
        ))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      }))

    test("claims stay quick beside many jobs that are done, delayed, or another tenant's", (table) =>
      Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const sql = yield* SqlClient.SqlClient
        const some = (prefix: string, n: number, more: JobQueue.EnqueueOptions) =>
          queue.enqueueMany(
            lengths,
            Array.from({ length: n }, (_, i) => ({ input: "x", id: `${prefix}${i}`, ...more }))
          )
        yield* some("done", 5000, { headers: { tenant: "old" } })
        yield* sql`UPDATE ${sql(table)} SET state = 'done', finished_at = 1`
        yield* some("later", 5000, { delay: "1 hour", priority: 9 })
        yield* some("big", 5000, { headers: { tenant: "big" }, priority: 9 })
        for (let i = 0; i < 100; i++) yield* some(`t${i}-`, 1, { headers: { tenant: `t${i}` } })
        const from = performance.now()
        const seen = new Set<string>()
        let after = ""
        for (let i = 0; i < 20; i++) {
          const claims = yield* queue.store.claim(ask({ flows: ["lengths"], after }))
          for (const { tenant } of claims) {
            seen.add(tenant)
            if (tenant > after) after = tenant
          }
          if (claims.length < 10) after = ""
        }
        assert.isBelow((performance.now() - from) / 20, 60)
        assert.strictEqual(seen.size, 101)
      }))
  })
}

let files = 0
const directory = mkdtempSync(join(tmpdir(), "penguiflow-jobs-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

sqlSuite("in SQLite", () => Sqlite.layer({ filename: join(directory, `${files++}.sqlite`) }))

describe.skipIf(!PostgresServer.available)("with a PostgreSQL server", () => {
  const scope = Scope.makeUnsafe()
  let url = Redacted.make("")
  beforeAll(async () => {
    url = (await Effect.runPromise(Scope.provide(PostgresServer.start(), scope))).url
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const postgres = (): Database => Layer.unwrap(Effect.sync(() => Postgres.layer({ url })))

  sqlSuite("in PostgreSQL", postgres)

  describe("JobQueueSql in PostgreSQL", () => {
    it.live("wakes a worker of another process at once, and again after its listening connection was killed", () =>
      Effect.gen(function*() {
        const table = "woken"
        const worker = Worker.layer(lengths, { pollInterval: "20 seconds" }).pipe(
          Layer.provide(JobQueueSql.layer({ table })),
          Layer.provide(Layer.fresh(postgres()))
        )
        const elsewhere = JobQueueSql.layer({ table }).pipe(Layer.provideMerge(Layer.fresh(postgres())))
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Layer.build(worker)
          const producer = yield* Layer.build(elsewhere)
          const queue = Context.get(producer, JobQueue.JobQueue)
          const sql = Context.get(producer, SqlClient.SqlClient)
          const enqueued: Effect.Effect<string> = Effect.orDie(queue.enqueue(lengths, "x"))
          const doneWithin = (ms: number, enqueue = enqueued) =>
            Effect.gen(function*() {
              const id = yield* enqueue
              const from = performance.now()
              while ((yield* queue.get(id))?.state !== "done") {
                if (performance.now() - from > ms) return false
                yield* Effect.sleep(10)
              }
              return true
            })
          const listeners = sql<{ pid: number }>`
            SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND query LIKE '%woken%'`
          yield* Effect.repeat(listeners, { until: (rows) => rows.length === 1, schedule: Schedule.spaced(20) })
          // What was waiting when it began is done by now; from here on only a notification wakes it.
          yield* Effect.sleep(300)
          assert.isTrue(yield* doneWithin(500))
          assert.isTrue(yield* doneWithin(500))
          const inside = sql.withTransaction(Effect.tap(enqueued, () => Effect.sleep(100)))
          assert.isTrue(yield* doneWithin(500, Effect.orDie(inside)))
          const [before] = yield* listeners
          yield* sql`SELECT pg_terminate_backend(${before!.pid})`
          const from = performance.now()
          yield* Effect.repeat(listeners, {
            until: (rows) => rows.length === 1 && rows[0]?.pid !== before!.pid,
            schedule: Schedule.spaced(20)
          })
          assert.isBelow(performance.now() - from, 5000)
          yield* Effect.sleep(100)
          assert.isTrue(yield* doneWithin(500))
        }))
      }))

    const store = (table: string) =>
      Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const sql = yield* SqlClient.SqlClient
        const claim = (limit: number) => queue.store.claim(ask({ flows: ["lengths"], limit }))
        const rowsOf = (beside: string) =>
          Effect.map(
            sql<{ n: number }>`SELECT count(*)::int AS n FROM ${sql(`${table}_${beside}`)}`,
            ([row]) => row?.n
          )
        return { claim, queue, rowsOf, sql }
      })
    const test = <A, E>(
      name: string,
      effect: (table: string) => Effect.Effect<A, E, JobQueue.JobQueue | SqlClient.SqlClient | Scope.Scope>
    ) =>
      it.live(name, () => {
        const table = `beside_${besides++}`
        return Effect.scoped(effect(table)).pipe(
          Effect.provide(JobQueueSql.layer({ table }).pipe(Layer.provideMerge(postgres())))
        )
      })
    let besides = 0

    test("a row that says that a job waits, and is wrong, starts nothing and is gone", (table) =>
      Effect.gen(function*() {
        const { claim, queue, rowsOf, sql } = yield* store(table)
        yield* queue.enqueueMany(lengths, ["done", "cancelled", "gone", "ready"].map((id) => ({ input: "x", id })))
        yield* sql`UPDATE ${sql(table)} SET state = id WHERE id <> 'gone'`
        yield* sql`DELETE FROM ${sql(table)} WHERE id = 'gone'`
        assert.strictEqual(yield* rowsOf("ready"), 4)
        assert.deepStrictEqual((yield* claim(10)).map(({ id }) => id), ["ready"])
        assert.strictEqual(yield* rowsOf("ready"), 0)
      }))

    test("the row of a claim is forgotten with the next outcome, once its jobs have ended", (table) =>
      Effect.gen(function*() {
        const { claim, queue, rowsOf } = yield* store(table)
        yield* queue.enqueueMany(lengths, Array.from({ length: 13 }, (_, i) => ({ input: "x", id: `${i}` })))
        const done = ({ id, token }: { readonly id: string; readonly token: number }) =>
          ({ id, token, _tag: "Done", results: "[1]" }) as const
        const first = yield* claim(4)
        yield* queue.store.settle(first.slice(1).map(done))
        const second = yield* claim(4)
        yield* queue.store.settle(second.map(done))
        assert.strictEqual(yield* rowsOf("claims"), 2)
        const third = yield* claim(4)
        assert.deepStrictEqual([third.length, yield* rowsOf("claims")], [4, 3])
        yield* queue.store.settle([...first.slice(0, 1), ...third].map(done))
        assert.strictEqual(yield* rowsOf("claims"), 2)
        const fourth = yield* claim(4)
        yield* queue.store.settle(fourth.map(done))
        assert.deepStrictEqual([fourth.length, yield* rowsOf("claims")], [1, 1])
      }))

    test("a job whose row somebody holds is not lost, and its renewal waits for nobody", (table) =>
      Effect.gen(function*() {
        const { claim, queue, sql } = yield* store(table)
        yield* queue.enqueueMany(lengths, ["a", "b"].map((id) => ({ input: "x", id })))
        const claims = yield* claim(2)
        const lease = Effect.map(
          sql<{ id: string; lease_until: number }>`SELECT id, lease_until FROM ${sql(table)} ORDER BY id`,
          (rows) => rows.map((row) => Number(row.lease_until))
        )
        const [a = 0, b = 0] = yield* lease
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`SELECT 1 FROM ${sql(table)} WHERE id = 'a' FOR UPDATE`
          // On a connection of its own.
          const renewing = Effect.updateContext(
            queue.store.renew(claims, { leaseMs: 120_000, stalledMs: 0 }),
            (context: Context.Context<never>) => Context.omit(sql.transactionService)(context)
          )
          const answer = yield* Effect.timeoutOption(Effect.flatMap(Effect.forkDetach(renewing), Fiber.join), 1000)
          assert.deepStrictEqual(Option.getOrUndefined(answer)?.lost, [])
        }))
        const [a2 = 0, b2 = 0] = yield* lease
        assert.strictEqual(a2, a)
        assert.isAbove(b2, b + 50_000)
        yield* queue.store.renew(claims, { leaseMs: 120_000, stalledMs: 0 })
        assert.isAbove((yield* lease)[0] ?? 0, a + 50_000)
      }))

    test("an inner transaction that is interrupted takes its job with it, though a worker is idle", (table) =>
      Effect.scoped(Effect.gen(function*() {
        const { queue, sql } = yield* store(table)
        const worker = yield* Worker.make(lengths, { queue })
        while (!(yield* worker.status).ready) yield* Effect.sleep(5)
        // Long enough for the next to count what waits.
        yield* Effect.sleep(1200)
        const locked = yield* Deferred.make<void>()
        yield* Effect.forkScoped(sql.withTransaction(Effect.gen(function*() {
          yield* sql`LOCK TABLE ${sql(table)} IN ACCESS EXCLUSIVE MODE`
          yield* Deferred.succeed(locked, undefined)
          yield* Effect.sleep(300)
        })))
        yield* Deferred.await(locked)
        yield* sql.withTransaction(
          Effect.andThen(
            Effect.timeoutOption(sql.withTransaction(queue.enqueue(lengths, "four", { id: "a" })), 100),
            Effect.sleep(500)
          )
        )
        yield* Effect.sleep(200)
        assert.deepStrictEqual(yield* queue.list(), [])
      })))

    test("a job that this process enqueued is asked for once, though the database tells of it too", (table) =>
      Effect.gen(function*() {
        const { queue } = yield* store(table)
        let claims = 0
        const counted = yield* JobQueue.make({
          ...queue.store,
          claim: (request) => Effect.suspend(() => (claims++, queue.store.claim(request)))
        })
        yield* Worker.make(lengths, { queue: counted, pollInterval: "1 minute" })
        yield* Effect.sleep(300)
        for (let i = 0; i < 20; i++) {
          const before = claims
          const [a = "", b = ""] = yield* counted.enqueueMany(lengths, [{ input: "x" }, { input: "y" }])
          yield* Effect.all([counted.await(a), counted.await(b)])
          yield* Effect.sleep(20)
          assert.strictEqual(claims - before, 1)
          // One alone goes to the worker as it is stored.
          yield* counted.await(yield* counted.enqueue(lengths, "x"))
          yield* Effect.sleep(20)
          assert.strictEqual(claims - before, 1)
        }
      }))

    test("what is claimed leaves nothing to step over, and statements are planned for what is there", (table) =>
      Effect.gen(function*() {
        const { claim, queue, sql } = yield* store(table)
        const jobs = Array.from({ length: 3000 }, (_, i) => ({ input: "x", id: `${i}` }))
        yield* queue.enqueueMany(lengths, jobs)
        for (let i = 0; i < 6; i++) assert.strictEqual((yield* claim(500)).length, 500)
        yield* queue.store.sweep(["lengths"])
        const seen = Effect.map(
          sql<{ vacuums: number; rows: number }>`
            SELECT s.vacuum_count::int AS vacuums, c.reltuples::int AS rows
            FROM pg_class c CROSS JOIN pg_stat_user_tables s
            WHERE c.relname = ${table} AND s.relname = ${`${table}_ready`}`,
          ([row]) => row
        )
        const done = yield* Effect.repeat(seen, {
          until: (row) => row !== undefined && row.vacuums > 0 && row.rows > 0,
          schedule: Schedule.spaced(50),
          times: 100
        })
        assert.deepStrictEqual([done?.vacuums, done?.rows], [1, 3000])
      }))

    test("tables from before the first release are refused, with what to do about it", (table) =>
      Effect.gen(function*() {
        const { queue, sql } = yield* store(table)
        yield* queue.counts
        yield* sql`UPDATE ${sql(`${table}_version`)} SET version = 1`
        const error = yield* JobQueue.JobQueue.use((queue) => Effect.flip(queue.enqueue(lengths, "x"))).pipe(
          Effect.provide(JobQueueSql.layer({ table }), { local: true })
        )
        assert.match(error.message, /is of version 1, from before the first release: give this queue another `table`/)
      }))

    it.live("a queue that is built while no server answers fails in words, and works when one does", () =>
      Effect.gen(function*() {
        const database = yield* Effect.scoped(Layer.build(postgres()))
        const queue = Context.get(
          yield* Effect.scoped(Layer.build(JobQueueSql.layer().pipe(Layer.provide(Layer.succeedContext(database))))),
          JobQueue.JobQueue
        )
        const error = yield* Effect.flip(queue.enqueue(lengths, "x"))
        assert.strictEqual(error.code, "QUEUE_UNAVAILABLE")
        assert.isTrue(error.reason._tag === "QueueUnavailable" && error.reason.operation === "enqueue")
      }))
  })
})
