/** A Redis whose primary dies, and whose Sentinel promotes the replica: a name, or an address, moves there. */
import { NodeRedis } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Redis } from "effect/persistence"
import * as JobQueueRedis from "penguiflow/layers/JobQueueRedis"
import { eventually } from "../utils/servers/process.ts"
import * as Proxy from "../utils/servers/proxy.ts"
import * as RedisServer from "../utils/servers/redis.ts"
import * as Sentinel from "../utils/servers/sentinel.ts"
import { startsOf, tasks, watched } from "./queue/kit.ts"

describe.skipIf(!RedisServer.available)("a Redis with a replica and a Sentinel", () => {
  it.live("whose primary dies: what the replica had is done, and its worker goes on", () =>
    Effect.scoped(Effect.gen(function*() {
      const primary = yield* RedisServer.start()
      const replica = yield* RedisServer.start({ settings: ["--replicaof", "127.0.0.1", String(primary.port)] })
      const proxy = yield* Proxy.start(primary.port)
      const redis = NodeRedis.layer({ url: `redis://127.0.0.1:${proxy.port}` })
      /** Whether the replica has all that was written so far: who waits waits for a write of its own. */
      const inStep = Effect.scoped(
        Redis.Redis.use(({ send }) => Effect.andThen(send("SET", "mark", "1"), send("WAIT", "1", "2000")))
      ).pipe(
        Effect.provide(NodeRedis.layer({ url: primary.url }), { local: true }),
        Effect.orDie,
        Effect.map((replicas) => Number(replicas) === 1)
      )
      assert.isTrue(yield* eventually(inStep))
      // It finds replicas when it begins, and then every ten seconds only.
      const sentinel = yield* Sentinel.start(primary.port)
      const { flow, runs } = tasks()
      const layer = Layer.orDie(JobQueueRedis.layer({ queryTimeout: "2 seconds" }).pipe(Layer.provide(redis)))
      const { queue, worker } = yield* watched(layer, flow, {
        concurrency: 4,
        lease: "2 seconds",
        pollInterval: "300 millis"
      })
      const jobs = Array.from({ length: 16 }, (_, i) => ({ id: `j${i}`, input: { ms: 300 }, maxAttempts: 20 }))
      yield* queue.enqueueMany(flow, jobs)
      assert.isTrue(yield* eventually(Effect.sync(() => startsOf(runs).size > 6)))
      assert.isTrue(yield* inStep)

      yield* primary.kill
      const promoted = Effect.map(sentinel.primary, (port) => port === replica.port)
      assert.isTrue(yield* eventually(promoted, 20_000))
      assert.isFalse((yield* worker.status).ready)
      yield* proxy.redirect(replica.port)
      const counts = Effect.orElseSucceed(queue.counts, () => ({ done: 0 }))
      assert.isTrue(yield* eventually(Effect.map(counts, ({ done }) => done === 16), 20_000))
      assert.strictEqual(startsOf(runs).size, 16)
      assert.isTrue(yield* eventually(Effect.map(worker.status, ({ ready }) => ready), 12_000))
      yield* queue.await(yield* queue.enqueue(flow, { ms: 0 }))
    })))
})
