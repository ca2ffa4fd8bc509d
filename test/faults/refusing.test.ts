/** PostgreSQL is there and refuses: it takes no writes, no connections, or has no room. */
import { afterAll, beforeAll, describe, it } from "@effect/vitest"
import type { Redacted } from "effect"
import { Effect, Exit, Layer, Scope } from "effect"
import { SqlClient, type Statement } from "effect/sql"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import * as Postgres from "penguiflow/layers/Postgres"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { ordinaryUser } from "../utils/servers/process.ts"
import * as SmallDisk from "../utils/servers/smallDisk.ts"
import { inPostgres, survives, tasks, watched } from "./queue/kit.ts"

const options = { lease: "2 seconds", concurrency: 4, pollInterval: "500 millis" } as const

describe.skipIf(!PostgresServer.available)("a PostgreSQL that refuses", () => {
  const scope = Scope.makeUnsafe()
  let server!: PostgresServer.PostgresServer
  let databases = 0
  beforeAll(async () => {
    server = await Effect.runPromise(
      Scope.provide(PostgresServer.start({ settings: { max_connections: "14" } }), scope)
    )
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  /** As the superuser, by a connection of its own. */
  const admin = (...statements: ReadonlyArray<string>) =>
    SqlClient.SqlClient.use((sql) =>
      Effect.forEach(["SET default_transaction_read_only = off", ...statements], (statement) => sql.unsafe(statement))
    ).pipe(
      Effect.provide(Postgres.layer({ url: server.url, maxConnections: 1 }), { local: true }),
      Effect.orDie
    )
  const fresh = Effect.gen(function*() {
    const database = `refusing_${databases++}`
    yield* admin(`CREATE DATABASE ${database}`)
    return server.urlOf({ database })
  })
  const begin = Effect.fnUntraced(function*(url: Redacted.Redacted) {
    const its = tasks()
    return { tasks: its, watched: yield* watched(inPostgres(url), its.flow, options) }
  })

  it.live("that only reads: nothing is stored, little is said, and results are recorded when it writes again", () =>
    Effect.gen(function*() {
      const readOnly = (on: boolean) =>
        Effect.asVoid(admin(
          `ALTER SYSTEM SET default_transaction_read_only = ${on ? "on" : "off"}`,
          "SELECT pg_reload_conf()"
        ))
      yield* survives({
        ...(yield* begin(yield* fresh)),
        begin: readOnly(true),
        end: readOnly(false),
        ms: 1200,
        says: /read-only transaction/
      })
    }))

  it.live("that has become a standby, and is promoted again", () =>
    Effect.gen(function*() {
      const restart = (hot: "on" | "off") =>
        Effect.gen(function*() {
          yield* server.stop
          yield* Effect.promise(() =>
            Fs.writeFile(Path.join(server.data, "postgresql.auto.conf"), `hot_standby = ${hot}\n`)
          )
          yield* Effect.promise(() => Fs.writeFile(Path.join(server.data, "standby.signal"), ""))
          yield* server.start
        })
      const promote = admin("SELECT pg_promote()")
      yield* survives({
        ...(yield* begin(yield* fresh)),
        begin: restart("on"),
        end: Effect.asVoid(promote),
        ms: 1200,
        says: /read-only|recovery/
      })
    }))

  it.live("that is starting up for long, and lets nobody in", () =>
    Effect.gen(function*() {
      const standby = Path.join(server.data, "standby.signal")
      yield* survives({
        ...(yield* begin(yield* fresh)),
        begin: Effect.gen(function*() {
          yield* server.stop
          yield* Effect.promise(() =>
            Fs.writeFile(Path.join(server.data, "postgresql.auto.conf"), "hot_standby = off\n")
          )
          yield* Effect.promise(() => Fs.writeFile(standby, ""))
          yield* server.start
        }),
        end: Effect.gen(function*() {
          yield* server.stop
          yield* Effect.promise(() => Fs.rm(standby))
          yield* server.start
        }),
        ms: 1200,
        says: /starting up|not accepting connections/
      })
    }))

  it.live("that has no connection left", () =>
    Effect.gen(function*() {
      const others = yield* Scope.make()
      yield* survives({
        ...(yield* begin(yield* fresh)),
        begin: Effect.gen(function*() {
          const own = yield* Layer.build(Postgres.layer({ url: server.url, maxConnections: 1 })).pipe(
            Scope.provide(others),
            Effect.orDie
          )
          const asked = <A extends object>(ask: (sql: SqlClient.SqlClient) => Statement.Statement<A>) =>
            SqlClient.SqlClient.use(ask).pipe(Effect.provideContext(own), Effect.orDie)
          // Waits until each is gone, or its place would be free only after nobody was let in.
          const drop = asked((sql) =>
            sql`SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE datname LIKE 'refusing%'`
          )
          const held = asked((sql) =>
            sql<{ pid: number }>`SELECT pid FROM pg_stat_activity WHERE datname LIKE 'refusing%'`
          )
          // Each takes a place, until there is none.
          const take = Layer.build(
            Layer.fresh(Postgres.layer({ url: server.url, minConnections: 1, maxConnections: 1 }))
          )
          do {
            yield* drop
            while (Exit.isSuccess(yield* Effect.exit(Scope.provide(take, others))));
          } while ((yield* held).length > 0)
        }),
        end: Scope.close(others, Exit.void),
        ms: 1200,
        says: /no room for another connection/
      })
    }))

  it.live.skipIf(!SmallDisk.available)("whose disk is full", () =>
    Effect.gen(function*() {
      const disk = yield* SmallDisk.make({ megabytes: 24, owner: ordinaryUser("postgres") })
      const folder = Path.join(disk.path, "data")
      const user = ordinaryUser("postgres")
      yield* Effect.promise(async () => {
        await Fs.mkdir(folder)
        if (user !== undefined) await Fs.chown(folder, user.uid, user.gid)
      })
      yield* admin(`CREATE TABLESPACE small LOCATION '${folder}'`, "CREATE DATABASE small TABLESPACE small")
      yield* Effect.addFinalizer(() => admin("DROP DATABASE small WITH (FORCE)", "DROP TABLESPACE small"))
      yield* survives({
        ...(yield* begin(server.urlOf({ database: "small" }))),
        bytes: 200_000,
        begin: disk.fill,
        end: disk.clear,
        ms: 2500,
        says: /No space left on device/
      })
    }))
})
