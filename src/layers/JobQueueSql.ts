/**
 * A job queue in a database: PostgreSQL, or the embedded SQLite.
 *
 * It needs a `SqlClient`, and makes its tables itself: `penguiflow_jobs` and `penguiflow_jobs_version`, or as `table`
 * says; in PostgreSQL also `_ready` and `_claims`, which it vacuums under load. Several processes may begin with an empty database at once. A program that is older than the tables refuses them.
 *
 * | | PostgreSQL | SQLite |
 * |---|---|---|
 * | workers | on many machines | in processes on one machine |
 * | a claim | `FOR UPDATE SKIP LOCKED` | one `UPDATE … RETURNING` |
 * | woken by | `LISTEN`/`NOTIFY` where the client has it, and polling | this process, and polling |
 * | after a power failure | what was acknowledged is there | with `synchronous: "FULL"`; else the last moments may be missing |
 *
 * Leases and delays go by the database's clock. Inside `sql.withTransaction` a job is stored and rolled back with the
 * caller's rows, and workers hear of it when it is committed.
 *
 * A listening worker holds one connection of the pool: give the pool at least three.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import * as JobQueue from "../JobQueue.ts"
import { makeStore } from "./internal/jobsSql.ts"

/** Where jobs are kept, and how long an answer is waited for. */
export interface Options extends JobQueue.Limits {
  /** The name of the table, without its schema; default `"penguiflow_jobs"`. Each table is a queue of its own. */
  readonly table?: string | undefined
  /** How long one operation may take until it fails with `QUEUE_UNAVAILABLE`; default 4 seconds. */
  readonly queryTimeout?: Duration.Input | undefined
}

/**
 * A queue in a database. Builds without one that answers: then operations fail with `QUEUE_UNAVAILABLE`, and a worker
 * waits for it.
 *
 * @example
 * ```ts runnable
 * import { Effect, Layer, Schema } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { Flow, Node } from "penguiflow"
 * import * as JobQueue from "penguiflow/JobQueue"
 * import * as JobQueueSql from "penguiflow/layers/JobQueueSql"
 * import * as Sqlite from "penguiflow/layers/Sqlite"
 * import * as Worker from "penguiflow/Worker"
 *
 * const flow = Flow.make("lengths", [
 *   Node.make("measure", { input: Schema.String, output: Schema.Number, run: (s) => Effect.succeed(s.length) }).to()
 * ])
 * const program = Effect.gen(function*() {
 *   const queue = yield* JobQueue.JobQueue
 *   const sql = yield* SqlClient.SqlClient
 *   const rolledBack = Effect.andThen(queue.enqueue(flow, "not this one", { id: "a" }), Effect.fail("no" as const))
 *   yield* Effect.flip(sql.withTransaction(rolledBack))
 *   const id = yield* sql.withTransaction(queue.enqueue(flow, "penguin", { id: "b" }))
 *   return [yield* queue.await(id), yield* queue.get("a")]
 * })
 * const live = Worker.layer(flow).pipe(
 *   Layer.provideMerge(JobQueueSql.layer()),
 *   Layer.provideMerge(Sqlite.layer({ filename: ":memory:" }))
 * )
 * await Effect.runPromise(Effect.provide(program, live)) // => [7, undefined]
 * ```
 */
export const layer = (options?: Options): Layer.Layer<JobQueue.JobQueue, never, SqlClient.SqlClient> =>
  Layer.effect(
    JobQueue.JobQueue,
    Effect.gen(function*() {
      const client = yield* SqlClient.SqlClient
      const timeout = options?.queryTimeout
      const store = yield* makeStore(client, {
        table: options?.table ?? "penguiflow_jobs",
        queryMs: timeout === undefined ? 4000 : Duration.toMillis(Duration.fromInputUnsafe(timeout))
      })
      return yield* JobQueue.make(store, options)
    })
  )
