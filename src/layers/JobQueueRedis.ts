/**
 * A job queue in Redis.
 *
 * It needs effect's `Redis` service: `NodeRedis.layer({ url })` of `@effect/platform-node`, for one. Each operation is
 * one script, atomic and by the server's clock; workers are woken by publish and subscribe, and polling covers the rest.
 *
 * What is acknowledged is as durable as Redis is: with `appendonly yes` and `appendfsync always` it is on disk, with
 * anything less the last moments may be missing after a crash. A Redis that evicts keys loses jobs: set
 * `maxmemory-policy noeviction`. Jobs are not part of a database's transaction: for that there is `JobQueueSql`.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import * as JobQueue from "../JobQueue.ts"
import { makeStore } from "./internal/jobsRedis.ts"

/** Where jobs are kept, and how long an answer is waited for. */
export interface Options extends JobQueue.Limits {
  /** What the keys begin with; default `"penguiflow:jobs"`. Each is a queue of its own. */
  readonly prefix?: string | undefined
  /** How long one operation may take until it fails with `QUEUE_UNAVAILABLE`; default 4 seconds. */
  readonly queryTimeout?: Duration.Input | undefined
}

/**
 * A queue in Redis.
 *
 * ```ts
 * import { NodeRedis } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import * as JobQueueRedis from "penguiflow/layers/JobQueueRedis"
 *
 * const Queue = JobQueueRedis.layer().pipe(Layer.provide(NodeRedis.layer({ url: "redis://localhost:6379" })))
 * ```
 */
export const layer = (options?: Options): Layer.Layer<JobQueue.JobQueue, never, Redis.Redis> =>
  Layer.effect(
    JobQueue.JobQueue,
    Effect.gen(function*() {
      const redis = yield* Redis.Redis
      const timeout = options?.queryTimeout
      const store = yield* makeStore(redis, {
        prefix: `{${(options?.prefix ?? "penguiflow:jobs").replaceAll(/[{}]/g, "")}}`,
        queryMs: timeout === undefined ? 4000 : Duration.toMillis(Duration.fromInputUnsafe(timeout))
      })
      return yield* JobQueue.make(store, options)
    })
  )
