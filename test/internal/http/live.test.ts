/** The model of what happens: told everything, too little, or what it does not know. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule, Schema } from "effect"
import { Flow, type FlowEvent, FlowObserver, FlowRuntime, Node } from "penguiflow"
import { Live } from "../../../src/internal/http/live.ts"

class Oops extends Schema.TaggedError<Oops>()("Oops", {}) {
  override readonly message = "oops"
}

const event = (
  _tag: "TraceStarted" | "NodeStarted" | "NodeSucceeded" | "TraceSucceeded",
  traceId: string,
  flow = "f"
): FlowEvent.FlowEvent => {
  const base = { flow, traceId, at: 1, node: undefined, attempt: undefined, durationMs: undefined }
  const ofNode = { ...base, node: "n", attempt: 1 }
  switch (_tag) {
    case "TraceStarted":
      return { ...base, _tag, tenant: "default" }
    case "NodeStarted":
      return { ...ofNode, _tag }
    case "NodeSucceeded":
      return { ...ofNode, _tag, durationMs: 1 }
    case "TraceSucceeded":
      return { ...base, _tag, durationMs: 1, results: 1 }
  }
}

describe("Live", () => {
  it.live("counts retries, timeouts and failures of a flow that runs", () =>
    Effect.gen(function*() {
      const live = new Live(100)
      const retry = Schedule.recurs(2)
      const failing = Node.make("failing", {
        input: Schema.Number,
        output: Schema.Number,
        error: Oops,
        policy: { retry },
        run: (n, { attempt }) => n === 0 && attempt < 3 ? Effect.fail(new Oops()) : Effect.succeed(n)
      })
      const slow = Node.make("slow", {
        input: Schema.Number,
        output: Schema.Number,
        policy: { timeout: "5 millis" },
        run: (n) => n === 1 ? Effect.never : Effect.succeed(n)
      })
      yield* Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(Flow.make("f", [failing.to(slow)]))
        yield* runtime.run(0)
        yield* Effect.flip(runtime.run(1, { traceId: "timed-out" }))
      }).pipe(
        Effect.scoped,
        Effect.provide(FlowObserver.layer({
          name: "live",
          observe: (events) => Effect.sync(() => live.take(events))
        }))
      )
      const { flows, recent } = live.snapshot(0)
      const { nodes, ...counts } = flows["f"]!
      assert.deepStrictEqual(counts, { open: 0, started: 2, succeeded: 1, failed: 1, cancelled: 0 })
      const { lastError, ...failed } = nodes["failing"]!
      assert.deepStrictEqual(failed, { running: 0, succeeded: 2, errored: 2, failed: 0, retrying: 0, timedOut: 0 })
      assert.deepInclude(lastError, { tag: "Oops", message: "oops" })
      assert.deepInclude(nodes["slow"], { running: 0, succeeded: 1, failed: 1, timedOut: 1 })
      assert.deepInclude(recent[0], { traceId: "timed-out", status: "failed", node: "slow" })
      assert.strictEqual(recent[0]?.error?.code, "NODE_TIMEOUT")
    }))

  it("knows no more what is open once something was lost, and counts on", () => {
    const live = new Live(100)
    live.take([event("TraceStarted", "a"), event("NodeStarted", "a"), event("TraceStarted", "b")])
    assert.strictEqual(live.snapshot(0).flows["f"]?.open, 2)
    assert.deepStrictEqual(live.snapshot(0).running, [
      { flow: "f", traceId: "a", at: 1 },
      { flow: "f", traceId: "b", at: 1 }
    ])
    live.lose(7)
    assert.deepStrictEqual(live.snapshot(0).running, [])
    live.take([event("NodeSucceeded", "a"), event("TraceSucceeded", "a"), event("TraceStarted", "c")])
    const { flows, lost } = live.snapshot(0)
    assert.strictEqual(lost, 7)
    assert.deepInclude(flows["f"], { open: 1, started: 3, succeeded: 1 })
    assert.deepInclude(flows["f"]?.nodes["n"], { running: 0, succeeded: 1 })
    assert.deepStrictEqual(live.ring.after(0, 100).slots.map(({ value }) => value._tag), [
      "Event",
      "Event",
      "Event",
      "Lost",
      "Event",
      "Event",
      "Event"
    ])
  })

  it("stays small, whatever it is told", () => {
    const live = new Live(10)
    for (let i = 0; i < 30_000; i++) {
      live.take([event("TraceStarted", `t${i}`, `f${i % 2000}`), event("NodeStarted", `t${i}`)])
    }
    for (let i = 0; i < 200; i++) live.take([event("TraceSucceeded", `t${i}`, "f")])
    const { flows, recent } = live.snapshot(0)
    assert.strictEqual(Object.keys(flows).length, 1000)
    assert.isAtMost(Object.values(flows).reduce((sum, { open }) => sum + open, 0), 20_000)
    assert.lengthOf(recent, 100)
    live.take(Array.from({ length: 300 }, (_, n) => event("TraceStarted", `many-${n}`, "f1")))
    const running = live.snapshot(0).running.filter((it) => it.flow === "f1")
    assert.lengthOf(running, 100)
    assert.lengthOf(live.ring.after(0, Infinity).slots, 10)
  })

  it("takes names that mean something to objects for names", () => {
    const live = new Live(10)
    live.know("__proto__", ["constructor", "__proto__"])
    live.take([event("TraceStarted", "__proto__", "__proto__")])
    const { flows } = live.snapshot(0)
    assert.deepStrictEqual(Object.keys(flows), ["__proto__"])
    assert.strictEqual(JSON.parse(JSON.stringify(flows))["__proto__"].open, 1)
    assert.isUndefined(({} as { open?: number }).open)
  })
})
