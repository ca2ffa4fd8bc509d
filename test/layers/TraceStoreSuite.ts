/** What every trace store of ours does, wherever it keeps what it is told. */
import { assert, layer } from "@effect/vitest"
import { type Duration, Effect, type Layer } from "effect"
import { TestClock } from "effect/testing"
import { Flow, type FlowEvent, FlowRuntime } from "penguiflow"
import * as TraceStore from "penguiflow/TraceStore"
import { start } from "../utils/effects.ts"
import { sentence } from "../utils/events.ts"
import { add, failing, never } from "../utils/nodes.ts"

let names = 0
/** A flow and a trace id of its own for each test: the store may be shared with others. */
const unique = (what: string) => `${what}-${process.pid}-${names++}`

const base = { node: undefined, attempt: undefined }
const started = (flow: string, traceId: string, at: number, tenant = "default"): FlowEvent.FlowEvent => ({
  _tag: "TraceStarted",
  flow,
  traceId,
  ...base,
  at,
  durationMs: undefined,
  tenant
})
const succeeded = (flow: string, traceId: string, at: number): FlowEvent.FlowEvent => ({
  _tag: "TraceSucceeded",
  flow,
  traceId,
  ...base,
  at,
  durationMs: 5,
  results: 1
})
const failed = (flow: string, traceId: string, at: number): FlowEvent.FlowEvent => ({
  _tag: "TraceFailed",
  flow,
  traceId,
  node: "n",
  attempt: 2,
  at,
  durationMs: 7,
  error: { tag: "Bad", code: undefined, message: "no" }
})

/** Everything under here is watched by the store. */
export const traceStoreSuite = <E>(backend: string, stores: Layer.Layer<TraceStore.TraceStore, E>) =>
  layer(stores)(backend, (it) => {
    it.effect("keeps the events of each trace in order, and how it ended", () =>
      Effect.gen(function*() {
        const store = yield* TraceStore.TraceStore
        const [good, bad, stuck] = [unique("good"), unique("bad"), unique("stuck")]
        const [one, two, three] = [unique("t"), unique("t"), unique("t")]
        yield* TestClock.setTime(1_700_000_000_000)
        yield* Effect.scoped(Effect.gen(function*() {
          const ok = yield* FlowRuntime.make(Flow.make(good, [add("a", 1).to(add("b", 1))]))
          const ko = yield* FlowRuntime.make(Flow.make(bad, [failing("n").to()]))
          const no = yield* FlowRuntime.make(Flow.make(stuck, [never("n").to()]))
          yield* ok.run(1, { traceId: one, headers: { tenant: "acme" } })
          yield* Effect.exit(ko.run(1, { traceId: two }))
          yield* start(Effect.exit(no.run(1, { traceId: three })))
          yield* Effect.yieldNow
          yield* store.flush
          assert.deepInclude(yield* store.get(three), { status: "running", endedAt: undefined, runs: 1 })
          yield* TestClock.adjust("1 second")
          yield* no.cancel(three, "enough")
        }))
        yield* store.flush
        assert.deepStrictEqual((yield* store.history(one)).map(sentence), [
          "TraceStarted",
          "NodeStarted a 1",
          "NodeSucceeded a 1",
          "NodeStarted b 1",
          "NodeSucceeded b 1",
          "TraceSucceeded"
        ])
        const [first] = yield* store.history(one)
        assert.deepStrictEqual(first, started(good, one, 1_700_000_000_000, "acme"))
        assert.deepStrictEqual(yield* store.get(one), {
          flow: good,
          traceId: one,
          tenant: "acme",
          status: "succeeded",
          at: 1_700_000_000_000,
          endedAt: 1_700_000_000_000,
          durationMs: 0,
          results: 1,
          error: undefined,
          reason: undefined,
          node: undefined,
          attempt: undefined,
          runs: 1,
          events: 6,
          input: undefined,
          outcome: undefined
        })
        const ofTwo = yield* store.get(two)
        assert.deepInclude(ofTwo, { status: "failed", tenant: "default", node: "n", attempt: 1, results: undefined })
        assert.strictEqual(ofTwo?.error?.tag, "Bad")
        assert.deepInclude(yield* store.get(three), {
          status: "cancelled",
          reason: "enough",
          durationMs: 1000,
          endedAt: 1_700_000_001_000
        })
        assert.strictEqual(yield* store.lost, 0)
        assert.isUndefined(yield* store.get(unique("nobody")))
        assert.deepStrictEqual(yield* store.history(unique("nobody")), [])
      }))

    it.effect("lists the newest first, by flow, tenant, status and time, page by page", () =>
      Effect.gen(function*() {
        const store = yield* TraceStore.TraceStore
        const flow = unique("listed")
        yield* store.note([
          started(flow, "a", 10, "acme"),
          started(flow, "b", 20),
          succeeded(flow, "a", 25),
          started(flow, "c", 20, "acme"),
          failed(flow, "c", 27),
          started(flow, "d", 30)
        ])
        yield* store.flush
        const ids = (filter: TraceStore.Filter) =>
          Effect.map(store.list({ flow, ...filter }), (found) => found.map((trace) => trace.traceId).join(" "))
        assert.strictEqual(yield* ids({}), "d b c a")
        assert.strictEqual(yield* ids({ tenant: "acme" }), "c a")
        assert.strictEqual(yield* ids({ status: "running" }), "d b")
        assert.strictEqual(yield* ids({ status: "succeeded" }), "a")
        assert.strictEqual(yield* ids({ status: "failed", tenant: "acme" }), "c")
        assert.strictEqual(yield* ids({ status: "cancelled" }), "")
        assert.strictEqual(yield* ids({ from: 20 }), "d b c")
        assert.strictEqual(yield* ids({ until: 20 }), "a")
        assert.strictEqual(yield* ids({ flow: unique("no such") }), "")
        // Pages of one, through what began in the same instant.
        const pages: Array<string> = []
        let after: TraceStore.Summary | undefined
        for (;;) {
          const [trace]: ReadonlyArray<TraceStore.Summary> = yield* store.list({ flow, limit: 1, after })
          if (trace === undefined) break
          pages.push(trace.traceId)
          after = trace
        }
        assert.strictEqual(pages.join(" "), "d b c a")
      }))

    it.effect("an id that is used again is one trace that ran twice, and its outcome is the last one's", () =>
      Effect.gen(function*() {
        const store = yield* TraceStore.TraceStore
        const flow = unique("again")
        const id = unique("t")
        yield* store.note([started(flow, id, 10), failed(flow, id, 17)])
        yield* store.flush
        assert.deepInclude(yield* store.get(id), { status: "failed", node: "n", attempt: 2, durationMs: 7 })
        // The second run in a batch of its own, begun and not ended, then ended.
        yield* store.note([started(flow, id, 20)])
        yield* store.flush
        assert.deepInclude(yield* store.get(id), {
          status: "running",
          at: 20,
          runs: 2,
          error: undefined,
          node: undefined,
          durationMs: undefined
        })
        yield* store.note([succeeded(flow, id, 25)])
        yield* store.flush
        assert.deepInclude(yield* store.get(id), { status: "succeeded", at: 20, runs: 2, events: 4, results: 1 })
        assert.strictEqual((yield* store.history(id)).length, 4)
        assert.strictEqual((yield* store.list({ flow })).length, 1)
      }))

    it.effect("traces of two flows under one id are told apart", () =>
      Effect.gen(function*() {
        const store = yield* TraceStore.TraceStore
        const [a, b, id] = [unique("a"), unique("b"), unique("t")]
        yield* store.note([started(a, id, 10), started(b, id, 11), succeeded(b, id, 12), failed(a, id, 13)])
        yield* store.flush
        assert.strictEqual((yield* store.get(id))?.flow, b)
        assert.strictEqual((yield* store.get(id, { flow: a }))?.status, "failed")
        assert.strictEqual((yield* store.history(id)).length, 4)
        assert.deepStrictEqual((yield* store.history(id, { flow: b })).map(sentence), [
          "TraceStarted",
          "TraceSucceeded"
        ])
        assert.strictEqual((yield* store.history(id, { flow: a, limit: 1 })).length, 1)
      }))

    it.effect("whatever a trace id, a tenant or a reason is, it comes back as it was", () =>
      Effect.gen(function*() {
        const store = yield* TraceStore.TraceStore
        const flow = `${unique("odd")} "\\ \0 \ud800`
        for (
          const odd of [
            "__proto__",
            "constructor",
            "",
            "a\0b",
            "\ud800",
            "🐧",
            "../../x",
            "'; DROP TABLE x",
            "\\n\n\"",
            "<b>"
          ]
        ) {
          const reason = `because ${odd}`
          yield* store.note([
            started(flow, odd, 10, odd),
            { _tag: "TraceCancelled", flow, traceId: odd, ...base, at: 12, durationMs: 2, reason }
          ])
          yield* store.flush
          const stored = yield* store.get(odd, { flow })
          assert.deepInclude(stored, { flow, traceId: odd, tenant: odd, reason, status: "cancelled" })
          const events = yield* store.history(odd, { flow })
          assert.deepStrictEqual(events.map(({ flow, traceId }) => [flow, traceId]), [[flow, odd], [flow, odd]])
          assert.strictEqual((yield* store.list({ flow, tenant: odd })).length, 1)
        }
        assert.strictEqual(yield* store.lost, 0)
      }))

    it.effect("a trace id of a megabyte is shortened, and found by the whole", () =>
      Effect.gen(function*() {
        const store = yield* TraceStore.TraceStore
        const flow = unique("long")
        const id = "x".repeat(1_000_000)
        yield* store.note([started(flow, `${id}1`, 10), started(flow, `${id}2`, 11)])
        yield* store.flush
        assert.strictEqual((yield* store.list({ flow })).length, 2)
        const stored = yield* store.get(`${id}2`, { flow })
        assert.strictEqual(stored?.at, 11)
        assert.strictEqual(stored?.traceId.length, 500)
        assert.strictEqual((yield* store.history(`${id}1`, { flow })).length, 1)
      }))

    it.effect("a trace whose beginning was lost is there all the same", () =>
      Effect.gen(function*() {
        const store = yield* TraceStore.TraceStore
        const flow = unique("headless")
        const id = unique("t")
        const node: FlowEvent.FlowEvent = {
          _tag: "NodeStarted",
          flow,
          traceId: id,
          node: "n",
          attempt: 1,
          at: 5,
          durationMs: undefined
        }
        yield* store.note([node])
        yield* store.flush
        assert.deepInclude(yield* store.get(id), { status: "running", at: 5, runs: 0, events: 1, tenant: undefined })
        assert.strictEqual((yield* store.list({ flow, status: "running" })).length, 1)
        yield* store.note([succeeded(flow, id, 9)])
        yield* store.flush
        assert.deepInclude(yield* store.get(id), { status: "succeeded", at: 5, runs: 0, events: 2 })
      }))

    it.effect("what was recorded is kept with its trace, and alone it is no trace", () =>
      Effect.gen(function*() {
        const store = yield* TraceStore.TraceStore
        const flow = unique("recorded")
        const id = unique("t")
        const payload: TraceStore.Payload = {
          input: { _tag: "Kept", json: { "a\0b": [1, "\ud800", null, { __proto__: 1 }] } },
          outcome: { _tag: "Omitted", reason: "too large" }
        }
        yield* store.note([{ flow, traceId: id, payload: () => payload }])
        yield* store.flush
        assert.isUndefined(yield* store.get(id))
        assert.deepStrictEqual(yield* store.list({ flow }), [])
        yield* store.note([started(flow, id, 10), succeeded(flow, id, 15)])
        yield* store.flush
        const { input, outcome } = (yield* store.get(id))!
        assert.deepStrictEqual({ input, outcome }, payload)
        assert.notProperty((yield* store.list({ flow }))[0], "input")
      }))

    it.effect("many events at once: all of them, in order", () =>
      Effect.gen(function*() {
        const store = yield* TraceStore.TraceStore
        const flow = unique("many")
        const id = unique("t")
        const parts = Array.from({ length: 5000 }, (_, seq): FlowEvent.FlowEvent => ({
          _tag: "PartEmitted",
          flow,
          traceId: id,
          node: "n",
          attempt: 1,
          at: seq,
          durationMs: undefined,
          seq
        }))
        yield* store.note([started(flow, id, 0), ...parts, succeeded(flow, id, 6000)])
        yield* store.flush
        const events = yield* store.history(id)
        assert.strictEqual(events.length, 5002)
        assert.isTrue(events.slice(1, -1).every((event, at) => event._tag === "PartEmitted" && event.seq === at))
        assert.strictEqual((yield* store.get(id))?.events, 5002)
      }))
  })

/** What a store removes. Needs a store of its own, empty at first, for `maxTraces` is of all traces. */
export const retentionSuite = <E>(
  backend: string,
  stores: (options: TraceStore.Options) => Layer.Layer<TraceStore.TraceStore, E>
) => {
  const ids = TraceStore.TraceStore.use((store) =>
    Effect.map(store.list({ limit: 10_000 }), (found) => found.map((trace) => trace.traceId))
  )

  layer(stores({}))(`${backend}, retention`, (it) => {
    it.effect("removes what is too old, and what is too much, with its events; the newest stay", () =>
      Effect.gen(function*() {
        const store = yield* TraceStore.TraceStore
        yield* store.note(
          Array.from({ length: 700 }, (_, i) => [started("f", `t${i}`, i), succeeded("f", `t${i}`, i)]).flat()
        )
        yield* store.flush
        yield* TestClock.setTime(1000)
        assert.strictEqual(yield* store.prune({ maxAge: 900 }), 100)
        assert.strictEqual((yield* ids).length, 600)
        assert.deepStrictEqual(yield* store.history("t99"), [])
        assert.strictEqual((yield* store.history("t100")).length, 2)
        // More than are removed in one transaction.
        assert.strictEqual(yield* store.prune({ maxTraces: 10 }), 590)
        assert.deepStrictEqual(yield* ids, Array.from({ length: 10 }, (_, i) => `t${699 - i}`))
        assert.deepStrictEqual(yield* store.history("t689"), [])
        assert.strictEqual((yield* store.history("t690")).length, 2)
        assert.strictEqual(yield* store.prune({ maxTraces: 10, maxAge: "1 hour" }), 0)
        assert.strictEqual(yield* store.prune({}), 0)
      }))
  })

  layer(stores({ maxAge: "1 hour", maxTraces: 2, pruneEvery: "10 seconds" }))(`${backend}, by itself`, (it) => {
    it.effect("removes by itself what it was told to, as time goes by", () =>
      Effect.gen(function*() {
        const store = yield* TraceStore.TraceStore
        const now = 1_000
        yield* store.note([1, 2, 3].flatMap((n) => [started("f", `t${n}`, now + n), succeeded("f", `t${n}`, now + n)]))
        yield* store.flush
        yield* goOnUntil("5 seconds", Effect.map(ids, (left) => left.join() === "t3,t2"))
        yield* goOnUntil("1 hour", Effect.map(ids, (left) => left.length === 0))
      }))
  })
}

/** Lets time go by on the test's clock, in steps, and in between as much real time as a socket takes. */
const goOnUntil = <E, R>(step: Duration.Input, condition: Effect.Effect<boolean, E, R>) =>
  Effect.gen(function*() {
    for (let i = 0; i < 200; i++) {
      if (yield* condition) return
      yield* TestClock.adjust(step)
      yield* TestClock.withLive(Effect.sleep("10 millis"))
    }
    assert.fail("it did not come to that in 200 steps")
  })
