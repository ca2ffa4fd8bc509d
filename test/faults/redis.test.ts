/** Redis is stopped, killed, emptied, full, or has become a replica, while a worker works. */
import { NodeRedis } from "@effect/platform-node"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Scope } from "effect"
import { Redis } from "effect/persistence"
import type * as JobQueue from "penguiflow/JobQueue"
import * as JobQueueRedis from "penguiflow/layers/JobQueueRedis"
import { eventually } from "../utils/servers/process.ts"
import * as RedisServer from "../utils/servers/redis.ts"
import { startsOf, survives, tasks, watched } from "./queue/kit.ts"

describe.skipIf(!RedisServer.available)("a Redis that fails", () => {
  const scope = Scope.makeUnsafe()
  let server!: RedisServer.RedisServer
  beforeAll(async () => {
    server = await Effect.runPromise(Scope.provide(RedisServer.start({ durable: true }), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const redis = Layer.unwrap(Effect.sync(() => Layer.fresh(NodeRedis.layer({ url: server.url }))))
  const send = (...words: readonly [string, ...Array<string>]) =>
    Effect.scoped(Redis.Redis.use(({ send }) => send(...words))).pipe(
      Effect.provide(redis, { local: true }),
      Effect.orDie,
      Effect.asVoid
    )
  const begin = (prefix: string) =>
    Effect.gen(function*() {
      const its = tasks()
      const queue: Layer.Layer<JobQueue.JobQueue> = Layer.orDie(
        JobQueueRedis.layer({ prefix, queryTimeout: "2 seconds" }).pipe(Layer.provide(redis))
      )
      const options = { lease: "2 seconds", concurrency: 4, pollInterval: "300 millis" } as const
      return { tasks: its, watched: yield* watched(queue, its.flow, options) }
    })

  it.live("that has no memory left", () =>
    Effect.gen(function*() {
      yield* survives({
        ...(yield* begin("memory")),
        begin: send("CONFIG", "SET", "maxmemory", "1"),
        end: send("CONFIG", "SET", "maxmemory", "0"),
        ms: 1200,
        says: /OOM/
      })
    }))

  it.live("that has become a replica, and is its own master again", () =>
    Effect.gen(function*() {
      yield* survives({
        ...(yield* begin("replica")),
        begin: send("REPLICAOF", "127.0.0.1", "1"),
        end: send("REPLICAOF", "NO", "ONE"),
        ms: 1200,
        says: /READONLY/
      })
    }))

  it.live("that has too few replicas left, and as many as it wants", () =>
    Effect.gen(function*() {
      yield* survives({
        ...(yield* begin("alone")),
        begin: send("CONFIG", "SET", "min-replicas-to-write", "1"),
        end: send("CONFIG", "SET", "min-replicas-to-write", "0"),
        ms: 1200,
        says: /NOREPLICAS/
      })
    }))

  it.live("that is stopped or killed, and started without its scripts: what was accepted is done", () =>
    Effect.gen(function*() {
      const { tasks: { flow, runs }, watched: { lines, queue, worker } } = yield* begin("restarted")
      let n = 0
      for (const end of [server.stop, server.kill]) {
        const jobs = Array.from({ length: 12 }, () => ({ id: `j${n++}`, input: { ms: 200 }, maxAttempts: 20 }))
        yield* queue.enqueueMany(flow, jobs)
        assert.isTrue(yield* eventually(Effect.sync(() => startsOf(runs).size > n - 10)))
        yield* end
        const from = performance.now()
        const error = yield* Effect.flip(queue.enqueue(flow, { ms: 0 }))
        assert.strictEqual(error.code, "QUEUE_UNAVAILABLE")
        assert.isBelow(performance.now() - from, 3000)
        assert.isFalse((yield* worker.status).ready)
        const said = lines.filter(({ at, text }) => at >= from && text.includes("worker"))
        assert.isAtMost(said.length, 2 + 2 * (performance.now() - from) / 1000)
        yield* server.start
        const counts = Effect.orElseSucceed(queue.counts, () => ({ done: 0 }))
        assert.isTrue(yield* eventually(Effect.map(counts, ({ done }) => done >= n), 15_000))
        assert.strictEqual(startsOf(runs).size, n)
      }
    }))

  it.live("that is emptied: the jobs are gone, their worker lets go of them, and goes on with what comes", () =>
    Effect.gen(function*() {
      const { tasks: { flow, runs }, watched: { events, queue, worker } } = yield* begin("emptied")
      yield* queue.enqueueMany(flow, Array.from({ length: 8 }, (_, i) => ({ id: `j${i}`, input: { ms: 60_000 } })))
      assert.isTrue(yield* eventually(Effect.sync(() => runs.length === 4)))
      yield* send("FLUSHALL")
      assert.isTrue(
        yield* eventually(Effect.sync(() => events.filter(({ _tag }) => _tag === "LeaseLost").length === 4))
      )
      assert.isTrue(yield* eventually(Effect.map(worker.status, ({ running }) => running === 0)))
      const gone = yield* Effect.flip(queue.await(flow, "j0"))
      assert.strictEqual("code" in gone ? gone.code : gone, "JOB_NOT_FOUND")
      yield* queue.await(yield* queue.enqueue(flow, { ms: 0 }))
    }))
})
