/** A worker with nothing to do, for as many looks at its queue as an hour has: the short form of `worker/numbers.ts idle`. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import * as JobQueue from "penguiflow/JobQueue"
import * as Worker from "penguiflow/Worker"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { pause } from "../utils/servers/process.ts"
import { inPostgres, tasks } from "./queue/kit.ts"

const heap = Effect.promise(async () => {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed
})

describe.skipIf(!PostgresServer.available)("a worker with nothing to do", () => {
  const scope = Scope.makeUnsafe()
  let server!: PostgresServer.PostgresServer
  beforeAll(async () => {
    server = await Effect.runPromise(Scope.provide(PostgresServer.start(), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  it.live("leaves nothing in memory, however often it looks", () =>
    Effect.scoped(Effect.gen(function*() {
      const { store } = Context.get(yield* Layer.build(inPostgres(server.url)), JobQueue.JobQueue)
      let looks = 0
      const counted = JobQueue.make({
        ...store,
        sweep: (flows) => {
          looks++
          return store.sweep(flows)
        }
      })
      const queue = yield* counted
      for (let i = 0; i < 10; i++) {
        yield* Layer.build(Layer.fresh(Worker.layer(tasks().flow, { queue, pollInterval: "10 millis" })))
      }
      const until = Effect.fnUntraced(function*(n: number) {
        const most = performance.now() + 60_000
        while (looks < n && performance.now() < most) yield* pause(10)
        assert.isAtLeast(looks, n)
      })
      yield* until(1500)
      const before = yield* heap
      yield* until(looks + 3600)
      const perLook = ((yield* heap) - before) / 3600
      // A fiber that waits has 400 bytes, and what is compiled in between some tens.
      assert.isBelow(perLook, 70)
    })))
})
