import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowEvent, FlowObserver, FlowRuntime } from "penguiflow"
import * as MetricsObserver from "penguiflow/layers/MetricsObserver"
import { start } from "../utils/effects.ts"
import * as Metrics from "../utils/metrics.ts"
import { add, never, number } from "../utils/nodes.ts"
import { type Order, under } from "./watchedFlow.ts"

const numbers = Metrics.numbers(({ sum }) => sum)

const order = (runtime: FlowRuntime.FlowRuntime<Order, string, unknown, string>, given: Order, tenant = "default") =>
  Effect.gen(function*() {
    const fiber = yield* start(Effect.exit(runtime.run(given, { headers: { tenant } })))
    yield* TestClock.adjust("10 seconds")
    yield* Fiber.join(fiber)
  })

describe("MetricsObserver", () => {
  it.effect("counts traces by outcome, attempts, retries, timeouts, compensations and parts, and sums durations", () =>
    Effect.gen(function*() {
      yield* under(MetricsObserver.layer(), "orders", (runtime) =>
        Effect.gen(function*() {
          yield* order(runtime, { failures: 1, wrap: "well" })
          yield* order(runtime, { failures: 0, wrap: "badly" })
          yield* order(runtime, { failures: 0, wrap: "slowly" })
          const fiber = yield* start(Effect.exit(runtime.run({ failures: 0, wrap: "well" }, { traceId: "c" })))
          yield* start(runtime.cancel("c"))
          yield* TestClock.adjust("10 seconds")
          yield* Fiber.join(fiber)
        }))
      assert.deepStrictEqual(yield* numbers, {
        "trace_wait_seconds flow=orders": 0,
        "traces_started_total flow=orders": 4,
        "traces_in_flight flow=orders": 0,
        "traces_ended_total flow=orders outcome=succeeded": 1,
        "traces_ended_total flow=orders outcome=failed": 2,
        "traces_ended_total flow=orders outcome=cancelled": 1,
        "trace_duration_seconds flow=orders outcome=succeeded": 0.14,
        "trace_duration_seconds flow=orders outcome=failed": 0.025 + 0.075,
        "trace_duration_seconds flow=orders outcome=cancelled": 0.005,
        "node_attempts_total flow=orders node=reserve outcome=succeeded": 4,
        "node_attempts_total flow=orders node=charge outcome=succeeded": 3,
        "node_attempts_total flow=orders node=charge outcome=failed": 1,
        "node_attempts_total flow=orders node=charge outcome=interrupted": 1,
        "node_attempts_total flow=orders node=pack outcome=succeeded": 1,
        "node_attempts_total flow=orders node=pack outcome=failed": 2,
        "node_attempts_total flow=orders node=pack/wrap outcome=succeeded": 1,
        "node_attempts_total flow=orders node=pack/wrap outcome=failed": 1,
        "node_attempts_total flow=orders node=pack/wrap outcome=timed_out": 1,
        "node_duration_seconds flow=orders node=reserve": 0,
        "node_duration_seconds flow=orders node=charge": 0.08,
        "node_duration_seconds flow=orders node=pack": 0.05,
        "node_duration_seconds flow=orders node=pack/wrap": 0.05,
        "node_retries_total flow=orders node=charge": 1,
        "node_timeouts_total flow=orders node=pack/wrap": 1,
        "compensations_total flow=orders node=reserve outcome=undone": 3,
        "parts_total flow=orders node=pack/wrap": 3
      })
    }).pipe(Effect.provide(Metrics.registry)))

  it.effect("sums how long messages waited for a place in their runtime", () =>
    Effect.gen(function*() {
      const slow = number("slow", (n) => Effect.as(Effect.sleep("3 seconds"), n))
      const seen: Array<FlowEvent.FlowEvent> = []
      const watching = FlowObserver.layer({
        name: "waits",
        observe: (events) => Effect.sync(() => void seen.push(...events.filter(({ _tag }) => _tag === "TraceStarted")))
      })
      yield* Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(Flow.make("slow", [slow.to()]), { maxInFlight: 1 })
        const fibers = yield* Effect.forEach([1, 2, 3], (n) => start(runtime.run(n)))
        yield* TestClock.adjust("9 seconds")
        yield* Fiber.joinAll(fibers)
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(MetricsObserver.layer(), watching)))
      assert.strictEqual((yield* numbers)["trace_wait_seconds flow=slow"], 9)
      const waits = seen.map((event) => event._tag === "TraceStarted" ? event.waitedMs : NaN)
      assert.deepStrictEqual(waits, [undefined, 3000, 6000])
      const codec = Schema.fromJsonString(FlowEvent.FlowEvent)
      const texts = seen.map((event) => Schema.encodeSync(codec)(event))
      assert.deepStrictEqual(texts.map((text) => Schema.decodeSync(codec)(text)), seen)
    }).pipe(Effect.provide(Metrics.registry)))

  it.effect("the gauge is how many traces are open, of all runtimes of the flow", () =>
    Effect.gen(function*() {
      const flow = Flow.make("f", [never("n").to()])
      const inFlight = Effect.map(numbers, (all) => all["traces_in_flight flow=f"])
      yield* Effect.gen(function*() {
        const one = yield* FlowRuntime.make(flow)
        const two = yield* FlowRuntime.make(flow)
        // The same id in both.
        for (const traceId of ["a", "b"]) yield* start(Effect.exit(one.run(1, { traceId })))
        yield* start(Effect.exit(two.run(1, { traceId: "a" })))
        yield* Effect.yieldNow
        assert.strictEqual(yield* inFlight, 3)
        yield* one.cancel("a")
        yield* Effect.yieldNow
        assert.strictEqual(yield* inFlight, 2)
        yield* one.shutdown({ grace: 0 })
        yield* Effect.yieldNow
        assert.strictEqual(yield* inFlight, 1)
      }).pipe(Effect.scoped, Effect.provide(MetricsObserver.layer()))
      assert.strictEqual(yield* inFlight, 0)
    }).pipe(Effect.provide(Metrics.registry)))

  it.effect("no label is a trace id; tenants are labels up to a bound, flows and nodes as well", () =>
    Effect.gen(function*() {
      const layer = MetricsObserver.layer({ tenants: 2, maxSeries: 3 })
      yield* Effect.gen(function*() {
        for (let i = 0; i < 5; i++) {
          const runtime = yield* FlowRuntime.make(Flow.make(`f${i}`, [add(`n${i}`, 1).to()]))
          yield* runtime.run(1, { traceId: "secret-id", headers: { tenant: `t${i}` } })
        }
      }).pipe(Effect.scoped, Effect.provide(layer))
      const all = yield* numbers
      const names = Object.keys(all)
      assert.isFalse(names.some((name) => name.includes("secret-id")))
      assert.deepStrictEqual(names.filter((name) => name.startsWith("traces_ended")).toSorted(), [
        "traces_ended_total flow=f0 tenant=t0 outcome=succeeded",
        "traces_ended_total flow=f1 tenant=t1 outcome=succeeded",
        "traces_ended_total flow=f2 tenant=other outcome=succeeded",
        "traces_ended_total flow=other tenant=other outcome=succeeded"
      ])
      assert.strictEqual(all["traces_ended_total flow=other tenant=other outcome=succeeded"], 2)
      assert.deepStrictEqual(names.filter((name) => name.startsWith("node_duration")).toSorted(), [
        "node_duration_seconds flow=f0 node=n0",
        "node_duration_seconds flow=f1 node=n1",
        "node_duration_seconds flow=f2 node=n2",
        "node_duration_seconds flow=other node=other"
      ])
    }).pipe(Effect.provide(Metrics.registry)))

  it.effect("what it is too slow for is counted; the gauge begins anew and comes back to zero", () =>
    Effect.gen(function*() {
      const flow = Flow.make("f", [never("n").to()])
      const [observer] = FlowObserver.fromContext(yield* Effect.context<never>())
      assert.isDefined(observer)
      const started = (traceId: string): FlowEvent.FlowEvent => ({
        _tag: "TraceStarted",
        flow: flow.name,
        traceId,
        node: undefined,
        attempt: undefined,
        at: 0,
        durationMs: undefined,
        tenant: "default"
      })
      const ended = (traceId: string): FlowEvent.FlowEvent => ({
        _tag: "TraceSucceeded",
        flow: flow.name,
        traceId,
        node: undefined,
        attempt: undefined,
        at: 0,
        durationMs: 0,
        results: 0
      })
      yield* observer!.observe([started("a"), started("b")])
      yield* observer!.onLost!(7)
      yield* observer!.observe([started("c")])
      assert.strictEqual((yield* numbers)["traces_in_flight flow=f"], 1)
      yield* observer!.observe([ended("b"), ended("c")])
      const all = yield* numbers
      assert.strictEqual(all["traces_in_flight flow=f"], 0)
      assert.strictEqual(all["traces_ended_total flow=f outcome=succeeded"], 2)
      assert.strictEqual(all["events_lost_total observer=penguiflow/metrics"], 7)
    }).pipe(Effect.provide(Layer.provideMerge(MetricsObserver.layer(), Metrics.registry))))

  it.effect("another observer that is slow or fails takes nothing from it", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const bad = Layer.merge(
        FlowObserver.layer({ name: "slow", capacity: 1, observe: () => Deferred.await(gate) }),
        FlowObserver.layer({ name: "failing", observe: () => Effect.die("no") })
      )
      yield* Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(Flow.make("f", [add("n", 1).to()]))
        for (let i = 0; i < 100; i++) yield* runtime.run(i)
        yield* Effect.yieldNow
        yield* Deferred.succeed(gate, undefined)
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(bad, MetricsObserver.layer())))
      assert.strictEqual((yield* numbers)["traces_ended_total flow=f outcome=succeeded"], 100)
    }).pipe(Effect.provide(Metrics.registry)))
})
