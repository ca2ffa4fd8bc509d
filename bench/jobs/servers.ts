/** The servers of the contenders, durable, and in them a place for each that it shares with nobody. */
import { Effect, Redacted, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import { join } from "node:path"
import * as PostgresLayer from "penguiflow/layers/Postgres"
import * as Postgres from "../../test/utils/servers/postgres.ts"
import { temporaryFolder } from "../../test/utils/servers/process.ts"
import * as Redis from "../../test/utils/servers/redis.ts"

export const available: boolean = Postgres.available && Redis.available

export type Server = "postgres" | "redis" | "file"

/**
 * Makes an empty database, and says its URL. Two contenders in one would wake each other: graphile-worker notifies all
 * that listen there, whatever their tasks and schema are.
 */
export type Place = (server: Server) => Effect.Effect<string>

/** Starts a PostgreSQL with `fsync` and a Redis with `appendfsync always`. */
export const start: Effect.Effect<Place, never, Scope.Scope> = Effect.gen(
  function*() {
    const postgres = yield* Postgres.start({ settings: { fsync: "on" } })
    const redis = yield* Redis.start({ durable: true })
    const folder = yield* temporaryFolder("bench")
    const make = {
      postgres: (n: number) =>
        SqlClient.SqlClient.use((sql) => sql`CREATE DATABASE ${sql(`bench_${n}`)}`).pipe(
          Effect.provide(PostgresLayer.layer({ url: postgres.url })),
          Effect.orDie,
          Effect.as(Redacted.value(postgres.urlOf({ database: `bench_${n}` })))
        ),
      redis: (n: number) => Effect.succeed(`${redis.url}/${n}`),
      file: (n: number) => Effect.succeed(join(folder, `${n}.sqlite`))
    }
    const used = { postgres: 0, redis: 0, file: 0 }
    return (server) => Effect.suspend(() => make[server](++used[server]))
  }
)
