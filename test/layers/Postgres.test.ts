import { PgClient } from "@effect/sql-pg"
import { assert, describe, layer } from "@effect/vitest"
import {
  Cause,
  Config,
  ConfigProvider,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Queue,
  Redacted,
  Schedule,
  Schema,
  Scope,
  Stream
} from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { inspect } from "node:util"
import { Flow, FlowRuntime, Node } from "penguiflow"
import * as Postgres from "penguiflow/layers/Postgres"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { eventually, freePort, pause, timed } from "../utils/servers/process.ts"
import * as Proxy from "../utils/servers/proxy.ts"
import { sqlClientSuite } from "./SqlClientSuite.ts"

class Server extends Context.Service<Server, PostgresServer.PostgresServer>()("test/Server") {}
const server = (options?: Parameters<typeof PostgresServer.start>[0]) =>
  Layer.effect(Server, PostgresServer.start(options))

/** A client with its pool, and a second way to the same server to look at what it does. */
const client = (options: Postgres.Options = {}) =>
  Effect.gen(function*() {
    const { url } = yield* Server
    return yield* build({ url, ...options })
  })

const build = (options: Postgres.Options) =>
  Effect.flatMap(Layer.build(Postgres.layer(options)), (it) => Effect.provideContext(PgClient.PgClient, it))

interface Activity {
  readonly state: string | null
  readonly query: string
}
const activity = (admin: SqlClient.SqlClient, name = "penguiflow") =>
  admin<Activity>`SELECT state, query FROM pg_stat_activity WHERE application_name = ${name}`

/** A proxy before the server, and a client that goes through it. */
const behindProxy = (options: Postgres.Options = {}) =>
  Effect.gen(function*() {
    const { port, urlOf } = yield* Server
    const proxy = yield* Proxy.start(port)
    const sql = yield* build({ url: urlOf({ port: proxy.port }), applicationName: `by${proxy.port}`, ...options })
    return { proxy, sql, name: `by${proxy.port}` }
  })

const error = <A, E>(exit: Exit.Exit<A, E>): unknown => Exit.isFailure(exit) ? Cause.squash(exit.cause) : "succeeded"
const reason = (e: unknown) => e instanceof SqlError.SqlError ? e.reason._tag : e

describe.skipIf(!PostgresServer.available)("Postgres", () => {
  sqlClientSuite(
    "SqlClient on a PostgreSQL server",
    Layer.unwrap(Effect.map(PostgresServer.start(), ({ url }) => Postgres.layer({ url })))
  )
  sqlClientSuite(
    "SqlClient on a PostgreSQL server, with one connection for all, and as behind a pooler",
    Layer.unwrap(Effect.map(
      PostgresServer.start(),
      // The suite forks inside transactions and reads streams while it writes: two are the least it needs.
      ({ url }) => Postgres.layer({ url, maxConnections: 2, pooler: true })
    ))
  )

  layer(server({ settings: { max_connections: "60" } }))("with a server", (it) => {
    it.effect(
      "at the start: what is wrong is said, with what to do, and without the password",
      () =>
        Effect.gen(function*() {
          const { port, urlOf } = yield* Server
          const admin = yield* client()
          yield* admin`CREATE USER guest PASSWORD 'right-secret'`
          const closed = yield* freePort
          const silent = yield* Proxy.start(port)
          yield* silent.goDark
          const secret = "hunter2-secret"
          const cases: ReadonlyArray<readonly [Postgres.Options, string, RegExp]> = [
            [{}, "UnknownError", /there is no address. Give url/],
            [{ url: Redacted.make("") }, "UnknownError", /the url is empty/],
            [{ url: Redacted.make(`postgres//${secret}`) }, "UnknownError", /the url can't be read/],
            [{ url: Redacted.make(`postgres://a:${secret}#@h:1/d`) }, "UnknownError", /the url can't be read/],
            [{ url: Redacted.make(`mysql://a:${secret}@h:1/d`) }, "UnknownError", /not one of PostgreSQL/],
            [{ url: Redacted.make(`postgres://a:${secret}%@h:1/d`) }, "UnknownError", /write a % as %25/],
            [{ url: Redacted.make(`postgres://a:${secret}@h/d?port=x`) }, "UnknownError", /port in the url/],
            [{ url: Redacted.make(`postgres://a:${secret}@h/d?sslmode=x`) }, "ConnectionError", /sslmode/],
            [{ host: "h", maxConnections: 0 }, "UnknownError", /maxConnections must be a whole number from 1/],
            [{ host: "h", maxConnections: NaN }, "UnknownError", /maxConnections must be a whole number from 1/],
            [{ host: "h", minConnections: 11 }, "UnknownError", /minConnections \(11\) is greater/],
            [{ host: "h", port: 70_000 }, "UnknownError", /port must be a whole number/],
            [{ host: "h", queryTimeout: 0 }, "UnknownError", /queryTimeout must be a time/],
            [{ host: "h", schema: "x".repeat(64) }, "UnknownError", /schema must be a name of 1 to 63 bytes/],
            [
              { host: "no-such-host.invalid", connectTimeout: "2 seconds" },
              "ConnectionError",
              // Where no name server answers, that is all that can be said.
              /the host "no-such-host.invalid" is not known|no-such-host.invalid:5432 did not answer within 2 s/
            ],
            [
              { url: urlOf({ user: "a", password: secret, port: closed }) },
              "ConnectionError",
              /nobody listens at 127.0.0.1:\d+. Is the server running/
            ],
            [
              { url: urlOf({ user: "guest", password: secret }) },
              "AuthenticationError",
              /refused the user "guest".*Check user name and password/
            ],
            [{ url: urlOf({ user: "guest" }) }, "AuthenticationError", /asks for a password, and none is given/],
            [{ url: urlOf({ user: "nobody-here" }) }, "AuthenticationError", /refused the user "nobody-here"/],
            [{ url: urlOf({ database: "nowhere" }) }, "UnknownError", /there is no database "nowhere".*Create it/],
            [{ url: urlOf({}), ssl: true }, "ConnectionError", /offers no TLS/],
            [
              { url: urlOf({ port: silent.port, password: secret }), connectTimeout: "200 millis" },
              "ConnectionError",
              /did not answer within 0.2 s/
            ]
          ]
          for (const [options, tag, message] of cases) {
            const [exit, ms] = yield* timed(Effect.exit(Effect.scoped(build(options))))
            const found = error(exit)
            assert.strictEqual(reason(found), tag, inspect(found))
            assert.match(String(found), message)
            const all = [
              String(found),
              inspect(found, { depth: 20 }),
              JSON.stringify(found),
              inspect(exit, { depth: 20 })
            ]
            assert.notInclude(all.join("\n"), secret)
            assert.notInclude(all.join("\n"), "right-secret")
            assert.isBelow(ms, 5000, message.source)
          }
          // The right one works.
          const guest = yield* build({ url: urlOf({ user: "guest", password: "right-secret" }) })
          assert.deepStrictEqual([...(yield* guest`SELECT current_user AS me`)], [{ me: "guest" }])
          assert.notInclude(inspect(guest.config, { depth: 20 }), "right-secret")
        }),
      60_000
    )

    it.effect("takes its options from Config, and names what is missing or not of its type", () =>
      Effect.gen(function*() {
        const { url } = yield* Server
        const one = SqlClient.SqlClient.use((sql) => sql`SELECT 1 AS one`)
        const withEnv = <E>(database: Layer.Layer<SqlClient.SqlClient, E>, env: Record<string, string>) =>
          Effect.provide(one, Layer.provide(database, ConfigProvider.layer(ConfigProvider.fromUnknown(env))))
        const DATABASE_URL = Redacted.value(url)
        assert.deepStrictEqual([
          ...(yield* withEnv(Postgres.layerConfig(), {
            DATABASE_URL,
            DATABASE_MAX_CONNECTIONS: "2",
            DATABASE_QUERY_TIMEOUT: "2 seconds"
          }))
        ], [{ one: 1 }])
        const missing = yield* Effect.flip(withEnv(Postgres.layerConfig(), {}))
        assert.strictEqual(missing._tag, "ConfigError")
        assert.include(missing.message, "DATABASE_URL")
        const bad = yield* Effect.flip(
          withEnv(Postgres.layerConfig(), { DATABASE_URL, DATABASE_MAX_CONNECTIONS: "ten" })
        )
        assert.strictEqual(bad._tag, "ConfigError")
        assert.include(bad.message, "DATABASE_MAX_CONNECTIONS")
        const wrapped = Postgres.layerConfig({ url: Config.Redacted("MINE"), maxConnections: Config.succeed(1) })
        assert.deepStrictEqual([...(yield* withEnv(wrapped, { MINE: DATABASE_URL }))], [{ one: 1 }])
      }))

    it.effect(
      "ten processes that start at once run each migration once, in a schema that none had made",
      () =>
        Effect.gen(function*() {
          const { url } = yield* Server
          const ends = yield* Effect.all(
            Array.from({ length: 10 }, () => runChild("migrate.ts", Redacted.value(url))),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(ends.map((end) => end.code), ends.map(() => 0), ends.map((end) => end.out).join("\n"))
          assert.strictEqual(ends.filter((end) => end.out.includes("ran 2")).length, 1)
          assert.strictEqual(ends.filter((end) => end.out.includes("ran 0")).length, 9)
          const sql = yield* client({ schema: "made_at_once" })
          assert.deepStrictEqual([...(yield* sql`SELECT count(*) AS n FROM seeded`)], [{ n: 1 }])
        }),
      60_000
    )

    it.effect(
      "after a cancel in mid-transaction: no row, nothing idle in transaction, every connection works",
      () =>
        Effect.gen(function*() {
          const admin = yield* client({ applicationName: "admin" })
          yield* admin`CREATE TABLE cancelled (id TEXT)`
          const sql = yield* client({ maxConnections: 4, applicationName: "cancelling" })
          const inside = yield* Queue.unbounded<void>()
          // Two ways to be in a transaction: between two statements, and in one that takes its time.
          const write = Node.make("write", {
            input: Schema.String,
            output: Schema.String,
            run: (id) =>
              sql.withTransaction(
                sql`INSERT INTO cancelled VALUES (${id})`.pipe(
                  Effect.andThen(Queue.offer(inside, undefined)),
                  Effect.andThen(id.startsWith("slow") ? sql`SELECT pg_sleep(60)` : Effect.never),
                  Effect.as(id)
                )
              )
          })
          const runtime = yield* FlowRuntime.make(Flow.make("writing", [write.to()]))
          const ids = ["slow1", "idle1", "slow2", "idle2"]
          const running = yield* Effect.forEach(
            ids,
            (id) => Effect.forkChild(Effect.exit(runtime.run(id, { traceId: id })), { startImmediately: true })
          )
          for (const _ of ids) yield* Queue.take(inside)
          yield* eventually(Effect.map(activity(admin, "cancelling"), (all) =>
            all.filter((one) =>
              one.query.includes("pg_sleep")
            ).length === 2))
          const [stopped, ms] = yield* timed(
            Effect.forEach(ids, (id) =>
              runtime.cancel(id), { concurrency: "unbounded" })
          )
          assert.deepStrictEqual(stopped, [true, true, true, true])
          assert.isBelow(ms, 2000)
          for (const fiber of running) {
            assert.include(String(error(yield* Fiber.join(fiber))), "cancelled")
          }
          assert.deepStrictEqual([...(yield* admin`SELECT count(*) AS n FROM cancelled`)], [{ n: 0 }])
          const states = (yield* activity(admin, "cancelling")).map((one) => one.state)
          assert.deepStrictEqual(states.filter((state) => state !== "idle"), [])
          // All four at the same time: each has a connection of its own.
          const pids = yield* Effect.forEach(
            ids,
            () =>
              sql.withTransaction(
                sql<{ pid: number }>`SELECT pg_backend_pid() AS pid, pg_sleep(0.2)`.pipe(
                  Effect.map((rows) => rows[0]?.pid)
                )
              ),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(new Set(pids).size, 4)
        }),
      30_000
    )

    it.effect("a node that is retried gets a connection anew, not the one that was lost", () =>
      Effect.gen(function*() {
        const admin = yield* client({ applicationName: "admin" })
        const sql = yield* client({ maxConnections: 1, applicationName: "retrying" })
        const pids: Array<number> = []
        const ask = Node.make("ask", {
          input: Schema.String,
          output: Schema.String,
          policy: { retry: Schedule.recurs(3) },
          run: (id, { attempt }) =>
            sql.withTransaction(Effect.gen(function*() {
              const [row] = yield* sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`
              pids.push(row?.pid ?? 0)
              if (attempt < 3) yield* admin`SELECT pg_terminate_backend(${row?.pid})`
              yield* sql`SELECT 1`
              return id
            }))
        })
        assert.strictEqual(yield* Flow.run(Flow.make("asking", [ask.to()]), "x"), "x")
        assert.strictEqual(pids.length, 3)
        assert.strictEqual(new Set(pids).size, 3)
      }))

    it.effect("a statement that takes too long is cancelled at the server, with a retryable error that says so", () =>
      Effect.gen(function*() {
        const admin = yield* client({ applicationName: "admin" })
        const sql = yield* client({ queryTimeout: "300 millis", applicationName: "slow" })
        const [found, ms] = yield* timed(Effect.flip(sql`SELECT pg_sleep(30)`))
        assert.strictEqual(found.reason._tag, "StatementTimeoutError")
        assert.isTrue(found.isRetryable)
        assert.include(found.message, "queryTimeout (0.3 s)")
        assert.isBelow(ms, 1500)
        const states = (yield* activity(admin, "slow")).map((one) => one.state)
        assert.deepStrictEqual(states, ["idle"])
      }))

    it.effect("behind a pooler no setting is sent; a statement that takes too long costs its connection", () =>
      Effect.gen(function*() {
        const sql = yield* client({ queryTimeout: "300 millis", pooler: true, maxConnections: 1 })
        assert.deepStrictEqual([...(yield* sql`SHOW statement_timeout`)], [{ statement_timeout: "0" }])
        const [found, ms] = yield* timed(Effect.flip(sql`SELECT pg_sleep(30)`))
        assert.strictEqual(found.reason._tag, "ConnectionError")
        assert.isBelow(ms, 1500)
        assert.deepStrictEqual([...(yield* sql`SELECT 1 AS one`)], [{ one: 1 }])
      }))

    it.effect("a stream may be read slowly, for longer than a statement may take", () =>
      Effect.gen(function*() {
        const sql = yield* client({ queryTimeout: "400 millis", maxConnections: 1 })
        const rows = sql<{ i: number; s: string }>`SELECT i, repeat('x', 10000) AS s FROM generate_series(1, 3000) AS i`
        let seen = 0
        const [count, ms] = yield* timed(
          rows.stream.pipe(Stream.tap(() => seen++ % 500 === 0 ? pause(200) : Effect.void), Stream.runCount)
        )
        assert.strictEqual(count, 3000)
        assert.isAbove(ms, 1000)
        // The bound is back for whoever comes next on the same connection.
        assert.deepStrictEqual([...(yield* sql`SHOW statement_timeout`)], [{ statement_timeout: "400ms" }])
        // Left early, and left by failing: the connection is whole.
        assert.strictEqual(yield* Stream.runCount(Stream.take(rows.stream, 3)), 3)
        yield* Effect.exit(Stream.runForEach(rows.stream, () => Effect.fail("no")))
        assert.deepStrictEqual([...(yield* sql`SHOW statement_timeout`)], [{ statement_timeout: "400ms" }])
        const failing = yield* Effect.flip(
          Stream.runDrain(sql`SELECT 1 / (i - 700) FROM generate_series(1, 800) AS i`.stream)
        )
        assert.strictEqual(failing.reason._tag, "UnknownError")
        assert.include(failing.message, "division by zero")
        // A server that is silent between two rows is given up.
        const [silent, late] = yield* timed(
          Effect.flip(
            Stream.runDrain(
              sql`SELECT pg_sleep(CASE WHEN i = 2000 THEN 20 ELSE 0 END) FROM generate_series(1, 2000) AS i`.stream
            )
          )
        )
        assert.strictEqual(silent.reason._tag, "ConnectionError")
        assert.isBelow(late, 2000)
        assert.deepStrictEqual([...(yield* sql`SELECT 1 AS one`)], [{ one: 1 }])
      }))

    it.effect("whoever waits too long for a connection is told that all are in use", () =>
      Effect.gen(function*() {
        const sql = yield* client({ maxConnections: 1, queryTimeout: "300 millis" })
        const held = yield* Deferred.make<void>()
        const holder = yield* Effect.forkChild(sql.withTransaction(
          Effect.andThen(Deferred.succeed(held, undefined), Effect.never)
        ))
        yield* Deferred.await(held)
        const [found, ms] = yield* timed(Effect.flip(sql`SELECT 1`))
        assert.strictEqual(found.reason._tag, "ConnectionError")
        assert.include(found.message, "all 1 are in use")
        assert.isBelow(ms, 1500)
        yield* Fiber.interrupt(holder)
        assert.deepStrictEqual([...(yield* sql`SELECT 1 AS one`)], [{ one: 1 }])
      }))

    it.effect("connections above the least are closed when idle, and old ones replaced", () =>
      Effect.gen(function*() {
        const { url } = yield* Server
        const admin = yield* client({ applicationName: "admin" })
        const sql = yield* build({ url, idleTimeout: "300 millis", applicationName: "idling" })
        const open = Effect.map(activity(admin, "idling"), (all) => all.length)
        yield* Effect.all(Array.from({ length: 5 }, () => sql`SELECT pg_sleep(0.1)`), { concurrency: "unbounded" })
        assert.strictEqual(yield* open, 5)
        assert.isTrue(yield* eventually(Effect.map(open, (n) => n === 0)))
        const young = yield* client({ connectionTTL: "50 millis", maxConnections: 1 })
        const pid = Effect.map(young<{ pid: number }>`SELECT pg_backend_pid() AS pid`, (rows) => rows[0]?.pid)
        const first = yield* pid
        yield* pause(80)
        assert.notStrictEqual(yield* pid, first)
      }))

    it.effect("values, rows and details stay out of errors", () =>
      Effect.gen(function*() {
        const sql = yield* client()
        yield* sql`CREATE TABLE quiet (email TEXT PRIMARY KEY, n INTEGER)`
        yield* sql`INSERT INTO quiet VALUES ('a-secret@x.y', 1)`
        const found = yield* Effect.all([
          Effect.flip(sql`INSERT INTO quiet VALUES (${"a-secret@x.y"}, 1)`),
          Effect.flip(sql`SELECT CAST(${"a-secret"} AS TEXT)::integer`),
          Effect.flip(sql`INSERT INTO quiet (n) VALUES (CAST(CAST(${"77a-secret"} AS TEXT) AS INTEGER))`)
        ])
        for (const one of found) {
          assert.notInclude([String(one), inspect(one, { depth: 20 }), JSON.stringify(one)].join(), "a-secret")
        }
        assert.include(found[0].message, "quiet_pkey")
        assert.include(found[1].message, "invalid input syntax for type integer")
      }))

    it.effect("json, listen and notify are there", () =>
      Effect.gen(function*() {
        const sql = yield* client()
        yield* sql`CREATE TABLE documents (d JSONB)`
        yield* sql`INSERT INTO documents VALUES (${sql.json({ a: [1, "x"] })})`
        assert.deepStrictEqual([...(yield* sql`SELECT d FROM documents`)], [{ d: { a: [1, "x"] } }])
        yield* Effect.scoped(Effect.gen(function*() {
          const heard = yield* sql.listen("news")
          yield* sql.notify("news", "hello")
          assert.strictEqual((yield* Queue.take(heard)).payload, "hello")
        }))
      }))

    it.effect("a client whose layer has been closed says so", () =>
      Effect.gen(function*() {
        const { url } = yield* Server
        const sql = yield* Effect.provide(SqlClient.SqlClient, Postgres.layer({ url }))
        const found = yield* Effect.flip(sql`SELECT 1`)
        assert.strictEqual(found.reason._tag, "ConnectionError")
        assert.include(found.message, "has been closed")
      }))

    it.effect("schemas keep apart what has the same name", () =>
      Effect.gen(function*() {
        const [a, b] = [yield* client({ schema: "tenant \"a\"" }), yield* client({ schema: "tenant_b" })]
        for (const sql of [a, b]) yield* sql`CREATE TABLE mine (x TEXT)`
        yield* a`INSERT INTO mine VALUES ('of a')`
        assert.deepStrictEqual([...(yield* a`SELECT x FROM mine`)], [{ x: "of a" }])
        assert.deepStrictEqual([...(yield* b`SELECT x FROM mine`)], [])
      }))

    describe("behind a link", () => {
      it.effect("gone dark: a statement is given up in its time, and the next one works when there is light", () =>
        Effect.gen(function*() {
          const { proxy, sql } = yield* behindProxy({ queryTimeout: "500 millis", connectTimeout: "500 millis" })
          yield* Effect.all(Array.from({ length: 4 }, () => sql`SELECT pg_sleep(0.1)`), { concurrency: "unbounded" })
          yield* proxy.goDark
          const [found, ms] = yield* timed(Effect.flip(sql`SELECT 1`))
          assert.strictEqual(found.reason._tag, "ConnectionError")
          assert.isTrue(found.isRetryable)
          assert.include(found.message, "did not answer within")
          assert.isBelow(ms, 1500)
          yield* proxy.light
          // The other three were as dark: they were dropped together with the first.
          const [rows, then] = yield* timed(sql`SELECT 1 AS one`)
          assert.deepStrictEqual([...rows], [{ one: 1 }])
          assert.isBelow(then, 400)
        }))

      it.effect(
        "gone dark: cancelling is bounded, in a statement, between two, in BEGIN, and at COMMIT",
        () =>
          Effect.gen(function*() {
            const admin = yield* client({ applicationName: "admin" })
            yield* admin`CREATE TABLE dark (id TEXT)`
            const { proxy, sql } = yield* behindProxy({
              queryTimeout: "2 seconds",
              cancelTimeout: "300 millis",
              connectTimeout: "500 millis"
            })
            const cancelled = (transaction: (inside: Effect.Effect<void>) => Effect.Effect<unknown, unknown>) =>
              Effect.gen(function*() {
                yield* proxy.light
                // A connection that was begun in the dark may have to fail first.
                yield* eventually(Effect.map(Effect.exit(sql`SELECT 1`), Exit.isSuccess))
                const inside = yield* Deferred.make<void>()
                const goOn = Effect.andThen(proxy.goDark, Deferred.succeed(inside, undefined))
                const fiber = yield* Effect.forkChild(transaction(Effect.asVoid(goOn)), { startImmediately: true })
                yield* Deferred.await(inside)
                yield* pause(50)
                const [, ms] = yield* timed(Fiber.interrupt(fiber))
                const exit = yield* Fiber.await(fiber)
                assert.isTrue(Exit.hasInterrupts(exit), inspect(exit, { depth: 6 }))
                assert.isFalse(Exit.hasDies(exit), inspect(exit, { depth: 6 }))
                return ms
              })
            const insert = sql`INSERT INTO dark VALUES ('x')`
            assert.isBelow(yield* cancelled((go) => Effect.andThen(go, insert)), 1000)
            assert.isBelow(yield* cancelled((go) => sql.withTransaction(Effect.andThen(go, insert))), 1000)
            assert.isBelow(
              yield* cancelled((go) =>
                sql.withTransaction(insert.pipe(Effect.andThen(go), Effect.andThen(Effect.never)))
              ),
              1000
            )
            assert.isBelow(yield* cancelled((go) => Effect.andThen(go, sql.withTransaction(insert))), 1000)
            assert.isBelow(
              yield* cancelled((go) =>
                sql.withTransaction(Effect.andThen(
                  insert,
                  sql.withTransaction(insert.pipe(Effect.andThen(go), Effect.andThen(Effect.never)))
                ))
              ),
              1500
            )
            assert.isBelow(
              yield* cancelled((go) =>
                Stream.runDrain(
                  Stream.tap(sql`SELECT repeat('x', 100000) FROM generate_series(1, 5000)`.stream, () => go)
                )
              ),
              1500
            )
            // A commit into the dark fails, typed, in the time of a statement: nobody knows whether it was carried out.
            yield* proxy.light
            yield* eventually(Effect.map(Effect.exit(sql`SELECT 1`), Exit.isSuccess))
            const [exit, ms] = yield* timed(Effect.exit(sql.withTransaction(Effect.andThen(insert, proxy.goDark))))
            assert.strictEqual(reason(error(exit)), "ConnectionError")
            assert.isFalse(Exit.hasDies(exit))
            assert.isBelow(ms, 4000)
          }),
        40_000
      )

      it.effect("gone dark: closing is bounded, with statements under way and connections held", () =>
        Effect.gen(function*() {
          const { port, urlOf } = yield* Server
          const proxy = yield* Proxy.start(port)
          const scope = yield* Scope.make()
          const sql = yield* Scope.provide(
            build({ url: urlOf({ port: proxy.port }), cancelTimeout: "300 millis" }),
            scope
          )
          yield* Effect.all(Array.from({ length: 4 }, () => sql`SELECT pg_sleep(0.1)`), { concurrency: "unbounded" })
          yield* Effect.scoped(sql.listen("dark"))
          yield* proxy.goDark
          const under = yield* Effect.forkChild(Effect.exit(sql`SELECT 1`), { startImmediately: true })
          const held = yield* Effect.forkDetach(sql.withTransaction(Effect.never), { startImmediately: true })
          const [, ms] = yield* timed(Scope.close(scope, Exit.void))
          assert.isBelow(ms, 1000)
          assert.strictEqual(reason(error(yield* Fiber.join(under))), "ConnectionError")
          yield* Fiber.interrupt(held)
          // Not a socket is left, at either side.
          assert.isTrue(yield* eventually(Effect.map(proxy.open, (n) => n === 0)))
        }))

      it.effect("gone dark: a process that wants to end is let go", () =>
        Effect.gen(function*() {
          const { port, urlOf } = yield* Server
          const proxy = yield* Proxy.start(port)
          const process = child("leave.ts", Redacted.value(urlOf({ port: proxy.port })))
          let out = ""
          process.stdout.on("data", (chunk) => out += chunk)
          process.stderr.on("data", (chunk) => out += chunk)
          yield* Effect.addFinalizer(() => Effect.sync(() => process.kill("SIGKILL")))
          assert.isTrue(yield* eventually(Effect.sync(() => out.includes("ready"))), out)
          yield* proxy.goDark
          const [code, ms] = yield* timed(Effect.promise(async () => {
            process.stdin.end("go")
            const [code] = await once(process, "close")
            return code
          }))
          assert.strictEqual(code, 0, out)
          assert.match(out, /closed \d+/)
          assert.isBelow(Number(out.split("closed ")[1]), 1500)
          assert.isBelow(ms, 4000)
        }), 30_000)

      it.effect("reset, refused, cut in mid-result, slow: errors are typed and retryable, and the client recovers", () =>
        Effect.gen(function*() {
          const { proxy, sql } = yield* behindProxy({ connectTimeout: "1 second" })
          const sleeping = yield* Effect.forkChild(Effect.flip(sql`SELECT pg_sleep(20)`), { startImmediately: true })
          yield* pause(50)
          yield* proxy.reset
          const lost = yield* Fiber.join(sleeping)
          assert.strictEqual(lost.reason._tag, "ConnectionError")
          assert.isTrue(lost.isRetryable)
          yield* proxy.refuse
          assert.strictEqual((yield* Effect.flip(sql`SELECT 1`)).reason._tag, "ConnectionError")
          yield* proxy.light
          assert.deepStrictEqual([...(yield* sql`SELECT 1 AS one`)], [{ one: 1 }])
          yield* proxy.cutAfter(20_000)
          assert.strictEqual(
            (yield* Effect.flip(sql`SELECT repeat('x', 1000) FROM generate_series(1, 1000)`)).reason._tag,
            "ConnectionError"
          )
          yield* proxy.cutAfter(undefined)
          yield* proxy.delay(100)
          assert.deepStrictEqual([...(yield* sql.withTransaction(sql`SELECT 1 AS one`))], [{ one: 1 }])
        }))
    })
  })

  layer(server())("with a server that comes and goes", (it) => {
    it.effect(
      "what is lost is a typed error; it recovers by itself when the server is back",
      () =>
        Effect.gen(function*() {
          const database = yield* Server
          const sql = yield* client({ connectTimeout: "1 second" })
          yield* Effect.all(Array.from({ length: 4 }, () => sql`SELECT pg_sleep(0.1)`), { concurrency: "unbounded" })
          const transaction = yield* Effect.forkChild(
            Effect.exit(sql.withTransaction(sql`SELECT pg_sleep(20)`)),
            { startImmediately: true }
          )
          yield* pause(100)
          yield* database.kill
          const exit = yield* Fiber.join(transaction)
          assert.strictEqual(reason(error(exit)), "ConnectionError")
          assert.isFalse(Exit.hasDies(exit), "a rollback that can't be sent is not a defect")
          // Whose end has not been heard of yet may be asked once more.
          const down = Effect.map(Effect.flip(sql`SELECT 1`), (found) => {
            assert.strictEqual(found.reason._tag, "ConnectionError")
            return found.message.includes("nobody listens")
          })
          assert.isTrue(yield* eventually(down))
          yield* database.start
          assert.isTrue(
            yield* eventually(
              Effect.map(Effect.exit(sql`SELECT 1`), Exit.isSuccess)
            )
          )
          // Frozen, the server answers nothing at all, and no keep-alive notices.
          yield* database.pause
          const impatient = yield* Effect.exit(Effect.scoped(client({ connectTimeout: "300 millis" })))
          assert.strictEqual(reason(error(impatient)), "ConnectionError")
          yield* database.resume
          yield* sql`SELECT 1`
        }),
      40_000
    )
  })

  layer(server({ tls: true }))("with TLS", (it) => {
    it.effect("an authority that is known is trusted, another one refused with what to do; all bounds hold", () =>
      Effect.gen(function*() {
        const { certificate, port, urlOf } = yield* Server
        const ca = readFileSync(certificate ?? "", "utf8")
        const proxy = yield* Proxy.start(port)
        const url = urlOf({ port: proxy.port })
        const refused = yield* Effect.flip(Effect.scoped(build({ url, ssl: true })))
        assert.strictEqual(refused.reason._tag, "ConnectionError")
        assert.match(refused.message, /certificate of .* is not trusted .*ssl: { ca }/)
        const sql = yield* build({ url, ssl: { ca }, queryTimeout: "500 millis", cancelTimeout: "300 millis" })
        assert.deepStrictEqual(
          [...(yield* sql`SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`)],
          [{ ssl: true }]
        )
        const slow = yield* Effect.forkChild(sql`SELECT pg_sleep(20)`, { startImmediately: true })
        yield* pause(100)
        const [, cancelling] = yield* timed(Fiber.interrupt(slow))
        assert.isBelow(cancelling, 1000)
        yield* sql`SELECT 1`
        yield* proxy.goDark
        const [found, ms] = yield* timed(Effect.flip(sql`SELECT 1`))
        assert.strictEqual(found.reason._tag, "ConnectionError")
        assert.isBelow(ms, 1500)
      }))
  })
})

const child = (name: string, ...args: Array<string>) =>
  spawn(process.execPath, ["--conditions=source", join(import.meta.dirname, "postgres", name), ...args], {
    stdio: ["pipe", "pipe", "pipe"]
  })

const runChild = (name: string, ...args: Array<string>) =>
  Effect.promise(async () => {
    const process = child(name, ...args)
    let out = ""
    process.stdout.on("data", (chunk) => out += chunk)
    process.stderr.on("data", (chunk) => out += chunk)
    const [code] = await once(process, "close")
    return { code, out }
  })
