/** The clock that a queue goes by is set ten minutes forward, and back again, while workers work. */
import { NodeRedis } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Redis } from "effect/persistence"
import { execFile } from "node:child_process"
import { join } from "node:path"
import * as JobQueueRedis from "penguiflow/layers/JobQueueRedis"
import * as FakeTime from "../utils/servers/faketime.ts"
import * as PostgresServer from "../utils/servers/postgres.ts"
import * as RedisServer from "../utils/servers/redis.ts"
import { type Seen, setForwardAndBack } from "./queue/clock.ts"
import { inPostgres } from "./queue/kit.ts"

/** Of a lease of two seconds, and polls of 0.3. */
const holds = ({ lateness, lines, lost, overlaps, starts }: Seen) => {
  assert.deepStrictEqual({ overlaps, lost }, { overlaps: [], lost: 0 })
  assert.deepStrictEqual(starts, starts.map(() => 1))
  for (const way of ["forward", "back"]) {
    assert.isBelow(lateness[`${way}: a new job`] ?? Infinity, 2000, way)
    assert.isBelow(lateness[`${way}: a delayed job`] ?? Infinity, 3000 + 2000, way)
    const silent = lateness[`${way}: a silent worker's job`] ?? Infinity
    assert.isAtLeast(silent, 5000, way)
    assert.isBelow(silent, 6000 + 4000, way)
    assert.isTrue(lines.some((line) => line.includes(`set ${way} by 600 s`)), lines.join("\n"))
  }
  assert.isAtLeast(lateness["back: a delayed job"] ?? 0, 2900)
}

const words =
  "healthy workers keep their jobs, a silent one's are taken back, what is new or was delayed begins in time"

/** `libfaketime` and the allocator of Redis exclude each other: its scripts are told another time. */
const withClock = (secondsAhead: () => number) =>
  Layer.effect(
    Redis.Redis,
    Effect.map(Redis.Redis, (redis) => {
      const scripts = new Map<unknown, string>()
      return Redis.Redis.of({
        ...redis,
        send: (command, ...args) => {
          if (command === "SCRIPT") {
            return Effect.tap(
              redis.send(command, ...args),
              (name) => Effect.sync(() => scripts.set(name, args[1] ?? ""))
            )
          }
          if (command !== "EVALSHA") return redis.send(command, ...args)
          const asked = "call('TIME')"
          const script = scripts.get(args[0]) ?? ""
          const lua = script.replace(asked, `${asked}; time[1] = time[1] + ${secondsAhead()}`)
          assert.notStrictEqual(lua, script)
          return redis.send("EVAL", lua, ...args.slice(1))
        }
      })
    })
  )

// They wait most of the time: all at once.
describe.concurrent("a clock that is set ten minutes forward, and back", () => {
  it.live.skipIf(!FakeTime.available || !PostgresServer.available)(
    `PostgreSQL's: ${words}`,
    () =>
      Effect.scoped(Effect.gen(function*() {
        const clock = yield* FakeTime.make
        const server = yield* PostgresServer.start({ environment: clock.environment })
        holds(yield* setForwardAndBack(() => inPostgres(server.url), clock.set))
      }))
  )

  it.live.skipIf(!FakeTime.available)(
    `that of SQLite and its process: ${words}`,
    () =>
      Effect.scoped(Effect.gen(function*() {
        const clock = yield* FakeTime.make
        const args = ["--conditions=source", join(import.meta.dirname, "queue", "sqliteClock.ts"), clock.folder]
        const output = yield* Effect.promise(() =>
          new Promise<string>((resolve, reject) =>
            execFile(
              process.execPath,
              args,
              { env: { ...process.env, ...clock.environment } },
              (error, out, err) => error === null ? resolve(out) : reject(new Error(`${error.message}\n${err}`))
            )
          )
        )
        holds(JSON.parse(output.trim().split("\n").at(-1) ?? "") as Seen)
      }))
  )

  it.live.skipIf(!RedisServer.available)(
    `Redis', as its scripts see it: ${words}`,
    () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* RedisServer.start()
        let ahead = 0
        const redis = withClock(() => ahead).pipe(Layer.provide(NodeRedis.layer({ url: server.url })))
        const queue = () => Layer.orDie(Layer.fresh(JobQueueRedis.layer().pipe(Layer.provide(redis))))
        holds(yield* setForwardAndBack(queue, (seconds) => Effect.sync(() => ahead = seconds)))
      }))
  )
})
