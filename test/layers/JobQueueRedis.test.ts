import { NodeRedis } from "@effect/platform-node"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Layer, Schedule, Schema, Scope } from "effect"
import { Redis } from "effect/persistence"
import { Flow, Node } from "penguiflow"
import * as JobQueue from "penguiflow/JobQueue"
import * as JobQueueRedis from "penguiflow/layers/JobQueueRedis"
import * as Worker from "penguiflow/Worker"
import { eventually } from "../utils/servers/process.ts"
import * as RedisServer from "../utils/servers/redis.ts"
import { jobQueueSuite } from "./JobQueueSuite.ts"

const lengths = Flow.make("lengths", [
  Node.make("measure", { input: Schema.String, output: Schema.Number, run: (s) => Effect.succeed(s.length) }).to()
])

describe.skipIf(!RedisServer.available)("with a Redis server", () => {
  const scope = Scope.makeUnsafe()
  let server: RedisServer.RedisServer | undefined
  beforeAll(async () => {
    server = await Effect.runPromise(Scope.provide(RedisServer.start({ durable: true }), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const redis = Layer.unwrap(Effect.sync(() => NodeRedis.layer({ url: server!.url })))
  let queues = 0

  jobQueueSuite(
    "in Redis",
    (limits) => JobQueueRedis.layer({ ...limits, prefix: `suite${queues++}` }).pipe(Layer.provide(Layer.fresh(redis)))
  )

  describe("JobQueueRedis", () => {
    it.live("a server that is killed and started keeps what it acknowledged; workers and queues go on", () =>
      Effect.scoped(Effect.gen(function*() {
        const options = { prefix: "restart", queryTimeout: "1 second" } as const
        const context = yield* Layer.build(
          Worker.layer(lengths, { pollInterval: "200 millis" }).pipe(
            Layer.provideMerge(JobQueueRedis.layer(options)),
            Layer.provide(Layer.fresh(redis))
          )
        )
        const queue = Context.get(context, JobQueue.JobQueue)
        assert.strictEqual(yield* queue.await(yield* queue.enqueue(lengths, "before", { id: "a" })), 6)
        yield* queue.enqueue(lengths, "later", { id: "b", delay: "1 second" })
        yield* server!.kill
        const from = performance.now()
        const error = yield* Effect.flip(queue.enqueue(lengths, "lost?", { id: "c" }))
        assert.strictEqual(error.code, "QUEUE_UNAVAILABLE")
        assert.isBelow(performance.now() - from, 2000)
        yield* server!.start
        const id = yield* Effect.retry(queue.enqueue(lengths, "lost?", { id: "c" }), Schedule.spaced(200))
        assert.strictEqual(yield* queue.await(id), 5)
        assert.strictEqual(yield* queue.await(lengths, "b"), 5)
        assert.deepStrictEqual(yield* queue.counts, { queued: 0, running: 0, done: 3, dead: 0, cancelled: 0 })
      })))

    it.live("a worker of another process hears of a job at once, also where the server has lost its scripts", () =>
      Effect.scoped(Effect.gen(function*() {
        const elsewhere = JobQueueRedis.layer({ prefix: "told" }).pipe(Layer.provideMerge(Layer.fresh(redis)))
        yield* Layer.build(Worker.layer(lengths, { pollInterval: "20 seconds" }).pipe(Layer.provide(elsewhere)))
        const here = yield* Layer.build(Layer.fresh(elsewhere))
        const queue = Context.get(here, JobQueue.JobQueue)
        const took = (input: string) =>
          Effect.map(
            Effect.timed(Effect.flatMap(queue.enqueue(lengths, input), queue.await)),
            ([duration]) => Duration.toMillis(duration)
          )
        yield* Effect.sleep(200)
        assert.isBelow(yield* took("a"), 5000)
        yield* Context.get(here, Redis.Redis).send("SCRIPT", "FLUSH")
        assert.isBelow(yield* took("bb"), 5000)
      })))

    it.live("a server without memory or without its scripts: a typed error that says that nothing was stored, and on", () =>
      Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const { send } = yield* Redis.Redis
        yield* queue.enqueue(lengths, "a", { id: "a" })
        yield* send("CONFIG", "SET", "maxmemory", "1")
        const { reason } = yield* Effect.flip(queue.enqueue(lengths, "b", { id: "b" }))
        assert.isTrue(reason._tag === "QueueUnavailable" && reason.stored === "no")
        yield* send("CONFIG", "SET", "maxmemory", "0")
        yield* send("SCRIPT", "FLUSH")
        yield* queue.enqueue(lengths, "b", { id: "b" })
        assert.strictEqual((yield* queue.counts).queued, 2)
        yield* send("FLUSHALL")
        assert.strictEqual((yield* queue.counts).queued, 0)
        yield* queue.enqueue(lengths, "c", { id: "c" })
      }).pipe(Effect.provide(JobQueueRedis.layer({ prefix: "memory" }).pipe(Layer.provideMerge(Layer.fresh(redis))))))
  })
})

describe.skipIf(!RedisServer.available)(
  "with a node of a Redis cluster that has these queues' slots, and no others",
  () => {
    const scope = Scope.makeUnsafe()
    const prefixes = Array.from({ length: 100 }, (_, i) => `clustered${i}`)
    let queues = 0
    let server!: RedisServer.RedisServer
    const redis = Layer.unwrap(Effect.sync(() => Layer.fresh(NodeRedis.layer({ url: server.url }))))
    beforeAll(async () => {
      const start = Effect.gen(function*() {
        server = yield* RedisServer.start({
          settings: ["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"]
        })
        const { send } = Context.get(yield* Layer.build(redis), Redis.Redis)
        const slots = yield* Effect.forEach(prefixes, (prefix) => send<number>("CLUSTER", "KEYSLOT", prefix))
        yield* send("CLUSTER", "ADDSLOTS", ...new Set(slots.map(String)))
        // It takes no writes for two seconds after its start.
        const ready = Effect.map(send<string>("CLUSTER", "INFO"), (info) => info.includes("cluster_state:ok"))
        assert.isTrue(yield* eventually(ready))
      })
      await Effect.runPromise(Scope.provide(start, scope))
    })
    afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

    jobQueueSuite(
      "in a Redis cluster",
      (limits) => JobQueueRedis.layer({ ...limits, prefix: prefixes[queues++]! }).pipe(Layer.provide(redis))
    )

    it.live("a queue whose slot is elsewhere fails in words that say so, and nothing was stored", () =>
      Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const { message, reason } = yield* Effect.flip(queue.enqueue(lengths, "a"))
        assert.isTrue(reason._tag === "QueueUnavailable" && reason.stored === "no", message)
        assert.match(message, /CLUSTERDOWN|MOVED/)
      }).pipe(Effect.provide(JobQueueRedis.layer({ prefix: "elsewhere" }).pipe(Layer.provide(redis)))))
  }
)
