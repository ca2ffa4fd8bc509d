import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { existsSync } from "node:fs"
import * as Net from "node:net"
import * as Postgres from "./postgres.ts"
import { accepts, ask, eventually } from "./process.ts"
import * as Proxy from "./proxy.ts"
import * as Redis from "./redis.ts"

describe("servers of the tests", () => {
  it.live.skipIf(!Postgres.available)(
    "a PostgreSQL can be stopped, started, killed, and leaves nothing",
    () =>
      Effect.gen(function*() {
        const [port, folder] = yield* Effect.scoped(Effect.gen(function*() {
          const server = yield* Postgres.start()
          assert.isTrue(yield* accepts(server.port))
          yield* server.stop
          assert.isFalse(yield* accepts(server.port))
          yield* server.start
          assert.isTrue(yield* accepts(server.port))
          yield* server.kill
          assert.isFalse(yield* accepts(server.port))
          yield* server.start
          assert.isTrue(existsSync(server.folder))
          return [server.port, server.folder] as const
        }))
        assert.isFalse(yield* accepts(port))
        assert.isFalse(existsSync(folder))
      })
  )

  it.live.skipIf(!Redis.available)("a Redis answers, freezes, thaws, and leaves nothing", () =>
    Effect.gen(function*() {
      const port = yield* Effect.scoped(Effect.gen(function*() {
        const server = yield* Redis.start({ durable: true })
        assert.strictEqual(yield* ask(server.port, "PING\r\n"), "+PONG\r\n")
        yield* server.pause
        assert.strictEqual(yield* ask(server.port, "PING\r\n", 200), "silence")
        yield* server.resume
        assert.strictEqual(yield* ask(server.port, "SET a 1\r\n"), "+OK\r\n")
        yield* server.kill
        yield* server.start
        assert.strictEqual(yield* ask(server.port, "GET a\r\n"), "$1\r\n1\r\n")
        return server.port
      }))
      assert.isFalse(yield* accepts(port))
    }))

  it.live("a proxy goes dark, resets, refuses, cuts and delays", () =>
    Effect.gen(function*() {
      const echo = Net.createServer((socket) => socket.on("error", () => {}).pipe(socket))
      yield* Effect.acquireRelease(
        Effect.promise(() => new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve))),
        () => Effect.promise(() => new Promise<void>((resolve) => echo.close(() => resolve())))
      )
      const address = echo.address()
      const proxy = yield* Proxy.start(typeof address === "object" && address !== null ? address.port : 0)
      assert.strictEqual(yield* ask(proxy.port, "hello"), "hello")
      yield* proxy.goDark
      assert.strictEqual(yield* ask(proxy.port, "hello", 200), "silence")
      yield* proxy.refuse
      assert.strictEqual(yield* ask(proxy.port, "hello"), "reset")
      yield* proxy.light
      yield* proxy.cutAfter(2)
      assert.strictEqual(yield* ask(proxy.port, "hello"), "he")
      yield* proxy.cutAfter(undefined)
      yield* proxy.delay(50)
      const before = performance.now()
      assert.strictEqual(yield* ask(proxy.port, "hello"), "hello")
      assert.isAbove(performance.now() - before, 95)
      assert.isTrue(yield* eventually(Effect.map(proxy.open, (n) => n === 0)))
      assert.strictEqual(yield* proxy.total, 5)
    }))
})
