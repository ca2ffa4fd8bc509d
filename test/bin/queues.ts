/** Queues that commands of the tests are pointed at: the same tests run on each. */
import { NodeRedis } from "@effect/platform-node"
import { Effect, Layer, Redacted, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import { join } from "node:path"
import type * as JobQueue from "penguiflow/JobQueue"
import * as JobQueueRedis from "penguiflow/layers/JobQueueRedis"
import * as JobQueueSql from "penguiflow/layers/JobQueueSql"
import * as Postgres from "penguiflow/layers/Postgres"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as PostgresServer from "../utils/servers/postgres.ts"
import type { Daemon } from "../utils/servers/process.ts"
import { temporaryFolder } from "../utils/servers/process.ts"
import * as RedisServer from "../utils/servers/redis.ts"

export interface Place {
  /** How a command line names it. */
  readonly flags: ReadonlyArray<string>
  /** The same queue, for the test. */
  readonly layer: Layer.Layer<JobQueue.JobQueue>
  /** Makes the payload of a job something that its flow does not take. */
  readonly spoil: ((id: string) => Effect.Effect<void>) | undefined
  /** Where a server stands behind it. */
  readonly server: Daemon | undefined
}

const spoiling = (layer: Layer.Layer<SqlClient.SqlClient, unknown>) => (id: string) =>
  SqlClient.SqlClient.use((sql) => sql`UPDATE penguiflow_jobs SET payload = ${"[\"spoilt\"]"} WHERE id = ${id}`).pipe(
    Effect.provide(layer),
    Effect.orDie,
    Effect.asVoid
  )

const inSql = (
  layer: Layer.Layer<SqlClient.SqlClient, unknown>,
  flags: ReadonlyArray<string>,
  server: Daemon | undefined
): Place => ({
  flags,
  layer: JobQueueSql.layer().pipe(Layer.provide(Layer.orDie(layer))),
  spoil: spoiling(layer),
  server
})

/** A file of SQLite, gone after the test. */
export const sqlite: Effect.Effect<Place, never, Scope.Scope> = Effect.map(temporaryFolder("queue"), (folder) => {
  const filename = join(folder, "jobs.sqlite")
  return inSql(Sqlite.layer({ filename }), ["--database", filename], undefined)
})

/** A server of PostgreSQL. */
export const postgres: Effect.Effect<Place, never, Scope.Scope> = Effect.map(
  PostgresServer.start(),
  (server) => inSql(Postgres.layer({ url: server.url }), ["--database", Redacted.value(server.url)], server)
)

/** A server of Redis. */
export const redis: Effect.Effect<Place, never, Scope.Scope> = Effect.map(RedisServer.start(), (server) => ({
  flags: ["--redis", server.url],
  layer: JobQueueRedis.layer().pipe(Layer.provide(Layer.orDie(NodeRedis.layer({ url: server.url })))),
  spoil: undefined,
  server
}))

/** The places that are to be had here. */
export const places: ReadonlyArray<readonly [name: string, place: Effect.Effect<Place, never, Scope.Scope>]> = [
  ["SQLite", sqlite],
  ...(PostgresServer.available ? [["PostgreSQL", postgres] as const] : []),
  ...(RedisServer.available ? [["Redis", redis] as const] : [])
]
