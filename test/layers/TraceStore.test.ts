import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { join } from "node:path"
import { Flow, FlowRuntime } from "penguiflow"
import * as Postgres from "penguiflow/layers/Postgres"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as TraceStoreMemory from "penguiflow/layers/TraceStoreMemory"
import * as TraceStoreSql from "penguiflow/layers/TraceStoreSql"
import * as TraceStore from "penguiflow/TraceStore"
import { start } from "../utils/effects.ts"
import { add } from "../utils/nodes.ts"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { temporaryFolder } from "../utils/servers/process.ts"
import { retentionSuite, traceStoreSuite } from "./TraceStoreSuite.ts"

const flow = Flow.make("counting", [add("inc", 1).to()])
const memory = () => Sqlite.layer({ filename: ":memory:" })

describe("TraceStore", () => {
  traceStoreSuite("in memory", TraceStoreMemory.layer())
  retentionSuite("in memory", TraceStoreMemory.layer)
  traceStoreSuite("in SQLite", TraceStoreSql.layer().pipe(Layer.provide(memory())))
  retentionSuite("in SQLite", (options) => TraceStoreSql.layer(options).pipe(Layer.provide(memory())))

  describe.skipIf(!PostgresServer.available)("with a server", () => {
    const postgres = () => Layer.unwrap(Effect.map(PostgresServer.start(), ({ url }) => Postgres.layer({ url })))
    traceStoreSuite("in PostgreSQL", TraceStoreSql.layer().pipe(Layer.provide(postgres())))
    retentionSuite("in PostgreSQL", (options) => TraceStoreSql.layer(options).pipe(Layer.provide(postgres())))
  })

  it.effect("in a file it is all there after a restart: what was noted last is written when the layer ends", () =>
    Effect.gen(function*() {
      const filename = join(yield* temporaryFolder("traces"), "traces.sqlite")
      const stores = () => TraceStoreSql.layer().pipe(Layer.provide(Sqlite.layer({ filename })))
      yield* Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(flow)
        for (let i = 0; i < 100; i++) yield* runtime.run(i, { traceId: `t${i}` })
      }).pipe(Effect.scoped, Effect.provide(stores()))
      const found = yield* TraceStore.TraceStore.use((store) => store.list({ limit: 1000, status: "succeeded" })).pipe(
        Effect.provide(stores(), { local: true })
      )
      assert.strictEqual(found.length, 100)
    }))

  it.effect("ten processes' worth of stores that start at once make one set of tables and lose nothing", () =>
    Effect.gen(function*() {
      const filename = join(yield* temporaryFolder("traces"), "traces.sqlite")
      const stores = () => TraceStoreSql.layer().pipe(Layer.provide(Sqlite.layer({ filename })))
      yield* Effect.all(
        Array.from({ length: 10 }, (_, i) =>
          Effect.gen(function*() {
            yield* Flow.run(flow, i, { traceId: `t${i}` })
            const store = yield* TraceStore.TraceStore
            yield* store.flush
            assert.strictEqual(yield* store.lost, 0)
          }).pipe(Effect.provide(stores(), { local: true }))),
        { concurrency: "unbounded" }
      )
      const store = yield* Layer.build(stores())
      const found = yield* Effect.provideContext(TraceStore.TraceStore.use((traces) => traces.list()), store)
      assert.strictEqual(found.length, 10)
    }))

  it.effect("a store whose tables are gone costs the flow nothing: tried again, then lost and counted", () =>
    Effect.gen(function*() {
      const store = yield* TraceStore.TraceStore
      yield* SqlClient.SqlClient.use((sql) => sql`DROP TABLE penguiflow_trace_events`)
      assert.strictEqual(yield* Flow.run(flow, 1), 2)
      const flushing = yield* start(store.flush)
      assert.strictEqual(yield* store.lost, 0)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(flushing)
      assert.strictEqual(yield* store.lost, 4)
      const error = yield* Effect.flip(store.history("x"))
      assert.strictEqual(error.kind, "StoreFailed")
      assert.isTrue(error.isRetryable)
      assert.include(error.message, "penguiflow_trace_events")
      // Neither half of the batch was kept.
      assert.deepStrictEqual(yield* store.list(), [])
    }).pipe(Effect.provide(TraceStoreSql.layer().pipe(Layer.provideMerge(memory())))))

  it.effect("in memory so many events are kept: the oldest traces go, and of one that is too long its beginning", () =>
    Effect.gen(function*() {
      const store = yield* TraceStore.TraceStore
      const long = Flow.make("long", [add("a", 1).to(add("b", 1))])
      for (let i = 0; i < 10; i++) {
        yield* TestClock.adjust(1)
        yield* Flow.run(long, i, { traceId: `t${i}` })
      }
      yield* store.flush
      assert.deepStrictEqual((yield* store.list()).map((trace) => trace.traceId), ["t9", "t8", "t7"])
      yield* store.note(
        Array.from({ length: 50 }, (_, seq) => ({
          _tag: "PartEmitted" as const,
          flow: "long",
          traceId: "t10",
          node: "n",
          attempt: 1,
          at: 100,
          durationMs: undefined,
          seq
        }))
      )
      yield* store.flush
      assert.deepStrictEqual((yield* store.list()).map((trace) => trace.traceId), ["t10"])
      const events = yield* store.history("t10")
      assert.strictEqual(events.length, 20)
      assert.strictEqual(events[0]?._tag === "PartEmitted" && events[0].seq, 30)
    }).pipe(Effect.provide(TraceStoreMemory.layer({ maxEvents: 20 }))))
})
