/** What lies between a worker and its PostgreSQL: it is slow, or loses every packet. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Network from "../utils/servers/network.ts"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { eventually, pause } from "../utils/servers/process.ts"
import * as Proxy from "../utils/servers/proxy.ts"
import { inPostgres, overlaps, startsOf, tasks, watched } from "./queue/kit.ts"

describe.skipIf(!PostgresServer.available)("between a worker and its PostgreSQL", () => {
  it.live("every answer takes 300 ms: jobs longer than their leases are done, and no lease is lost", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* PostgresServer.start()
      const proxy = yield* Proxy.start(server.port)
      yield* proxy.delay(150)
      const { flow, runs } = tasks()
      const url = server.urlOf({ port: proxy.port })
      const { events, lines, queue } = yield* watched(inPostgres(url), flow, { concurrency: 4, lease: "2 seconds" })
      const ids = Array.from({ length: 8 }, (_, i) => `j${i}`)
      yield* queue.enqueueMany(flow, ids.map((id, i) => ({ id, input: { ms: i < 4 ? 2500 : 100 } })))
      assert.isTrue(yield* eventually(Effect.map(queue.counts, ({ done }) => done === 8), 20_000))
      assert.strictEqual(runs.length, 8)
      assert.deepStrictEqual(events.filter(({ _tag }) => _tag === "LeaseLost" || _tag === "LeasesExpired"), [])
      assert.deepStrictEqual(lines, [])
    })))

  it.live.skipIf(!Network.available)(
    "packets are dropped for five seconds: work goes on within 20 s, and nothing is lost",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const network = yield* Network.make
        const server = yield* PostgresServer.start({ network })
        const { flow, runs } = tasks()
        const { events, lines, queue, worker } = yield* watched(inPostgres(server.url), flow, {
          concurrency: 4,
          lease: "2 seconds"
        })
        const ids = Array.from({ length: 30 }, (_, i) => `j${i}`)
        yield* queue.enqueueMany(flow, ids.map((id) => ({ id, input: { ms: 200 }, maxAttempts: 20 })))
        assert.isTrue(yield* eventually(Effect.sync(() => events.some(({ _tag }) => _tag === "JobSucceeded"))))
        yield* network.drop
        const dropped = performance.now()
        yield* pause(4500)
        assert.isFalse((yield* worker.status).ready)
        yield* pause(500)
        yield* network.pass
        const over = performance.now()
        const resumed = () => events.find(({ _tag, seen }) => _tag === "JobSucceeded" && seen > over)
        assert.isTrue(yield* eventually(Effect.sync(() => resumed() !== undefined), 20_000))
        assert.isTrue(yield* eventually(Effect.map(queue.counts, ({ done }) => done === 30), 20_000))
        assert.strictEqual(startsOf(runs).size, 30)
        assert.deepStrictEqual(overlaps(runs), [])
        // Nothing came through: not even what was under way when it began.
        const meanwhile = events.filter(({ _tag, seen }) =>
          _tag === "JobSucceeded" && seen > dropped + 200 && seen < over
        )
        assert.deepStrictEqual(meanwhile, [])
        assert.isAtMost(lines.length, 2 * (performance.now() - dropped) / 1000)
      }))
  )
})
