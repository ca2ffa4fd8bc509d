import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Node } from "penguiflow"
import { codeOf, now, sleeper, start } from "./utils/effects.ts"
import { record } from "./utils/events.ts"
import { add, late, number } from "./utils/nodes.ts"

/** 0 never ends, else the number is given after that many milliseconds. */
const patient = Flow.make("f", [number("n", (n) => n === 0 ? Effect.never : Effect.as(Effect.sleep(n), n)).to()])

describe("FlowRuntime.shutdown", () => {
  it.effect("lets open traces end within grace, interrupts the rest, and says what became of them", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(patient)
      yield* runtime.emit(100, { traceId: "quick" })
      yield* runtime.emit(200, { traceId: "quicker" })
      yield* runtime.emit(0, { traceId: "endless" })
      const run = yield* start(runtime.run(60_000, { traceId: "slow" }))
      const shutdown = yield* start(runtime.shutdown({ grace: "1 second" }))
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(shutdown.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.join(shutdown), { drained: 2, interrupted: ["endless", "slow"] })
      assert.strictEqual(yield* codeOf(Fiber.join(run)), "SHUTTING_DOWN")
      assert.strictEqual(yield* runtime.open, 0)
    }))

  it.effect("returns as soon as the last trace has ended, and at once where none is open", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(patient)
      const run = yield* start(runtime.run(100))
      const shutdown = yield* start(runtime.shutdown({ grace: "1 hour" }))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(yield* Fiber.join(shutdown), { drained: 1, interrupted: [] })
      assert.strictEqual(yield* Fiber.join(run), 100)
      const idle = yield* FlowRuntime.make(patient)
      assert.deepStrictEqual(yield* idle.shutdown(), { drained: 0, interrupted: [] })
    }))

  it.effect("without grace waits thirty seconds", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(patient)
      yield* runtime.emit(0, { traceId: "t" })
      const shutdown = yield* start(runtime.shutdown())
      yield* TestClock.adjust("29999 millis")
      assert.isUndefined(shutdown.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.join(shutdown), { drained: 0, interrupted: ["t"] })
    }))

  it.effect("with no grace at all interrupts at once", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(patient)
      yield* runtime.emit(0, { traceId: "t" })
      assert.deepStrictEqual(yield* runtime.shutdown({ grace: 0 }), { drained: 0, interrupted: ["t"] })
      assert.strictEqual(yield* now, 0)
    }))

  it.effect("a second shutdown, at the same time or later, has the same answer", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(patient)
      yield* runtime.emit(100)
      yield* runtime.emit(0, { traceId: "t" })
      const first = yield* start(runtime.shutdown({ grace: "1 second" }))
      const second = yield* start(runtime.shutdown({ grace: "1 hour" }))
      yield* TestClock.adjust("1 second")
      const answer = { drained: 1, interrupted: ["t"] }
      assert.deepStrictEqual(yield* Fiber.join(first), answer)
      assert.deepStrictEqual(yield* Fiber.join(second), answer)
      assert.deepStrictEqual(yield* runtime.shutdown(), answer)
    }))

  it.effect("one whose caller is interrupted goes on", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(patient)
      yield* runtime.emit(0, { traceId: "t" })
      const first = yield* start(runtime.shutdown({ grace: "1 second" }))
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* runtime.open, 0)
      assert.deepStrictEqual(yield* runtime.shutdown(), { drained: 0, interrupted: ["t"] })
    }))

  it.effect("refuses every new message with SHUTTING_DOWN from its first moment", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(patient)
      yield* runtime.emit(100)
      const shutdown = yield* start(runtime.shutdown())
      for (let i = 0; i < 2; i++) {
        assert.strictEqual(yield* codeOf(runtime.run(1)), "SHUTTING_DOWN")
        assert.strictEqual(yield* codeOf(runtime.runAll(1)), "SHUTTING_DOWN")
        assert.strictEqual(yield* codeOf(runtime.emit(1)), "SHUTTING_DOWN")
        assert.strictEqual(yield* codeOf(Stream.runCollect(runtime.stream(1))), "SHUTTING_DOWN")
        yield* TestClock.adjust("1 second")
        yield* Fiber.await(shutdown)
      }
    }))

  it.effect("releases whoever waits for admission with SHUTTING_DOWN, and their messages never run", () =>
    Effect.gen(function*() {
      let calls = 0
      const flow = Flow.make("f", [
        number("n", (n) => Effect.andThen(Effect.sync(() => calls++), Effect.as(Effect.sleep(n), n))).to()
      ])
      const runtime = yield* FlowRuntime.make(flow, { maxInFlight: 1 })
      yield* runtime.emit(100)
      const run = yield* start(runtime.run(1))
      const emit = yield* start(runtime.emit(1))
      const stream = yield* start(Stream.runCollect(runtime.stream(1)))
      const shutdown = yield* start(runtime.shutdown())
      assert.strictEqual(yield* codeOf(Fiber.join(run)), "SHUTTING_DOWN")
      assert.strictEqual(yield* codeOf(Fiber.join(emit)), "SHUTTING_DOWN")
      assert.strictEqual(yield* codeOf(Fiber.join(stream)), "SHUTTING_DOWN")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(shutdown), { drained: 1, interrupted: [] })
      assert.strictEqual(calls, 1)
    }))

  it.effect("every outcome is still fetched after it, the interrupted ones too, and then fetch fails", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(patient)
      yield* runtime.emit(100, { traceId: "done" })
      yield* runtime.emit(0, { traceId: "cut" })
      const shutdown = yield* start(runtime.shutdown({ grace: "1 second" }))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(shutdown)
      const first = yield* runtime.fetch
      const second = yield* runtime.fetch
      assert.deepStrictEqual([first.traceId, second.traceId], ["done", "cut"])
      assert.isTrue(Exit.isSuccess(first.exit))
      assert.strictEqual(yield* codeOf(second.exit), "SHUTTING_DOWN")
      assert.strictEqual(yield* codeOf(runtime.fetch), "SHUTTING_DOWN")
      assert.strictEqual(yield* codeOf(runtime.fetch), "SHUTTING_DOWN")
    }))

  it.effect("a fetch that waits gets what is left, and is released when nothing is", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(patient)
      yield* runtime.emit(100, { traceId: "t" })
      const one = yield* start(runtime.fetch)
      const two = yield* start(runtime.fetch)
      const three = yield* start(runtime.fetch)
      const shutdown = yield* start(runtime.shutdown())
      assert.isUndefined(two.pollUnsafe())
      yield* TestClock.adjust("100 millis")
      yield* Fiber.join(shutdown)
      assert.strictEqual((yield* Fiber.join(one)).traceId, "t")
      assert.strictEqual(yield* codeOf(Fiber.join(two)), "SHUTTING_DOWN")
      assert.strictEqual(yield* codeOf(Fiber.join(three)), "SHUTTING_DOWN")
    }))

  it.effect("waits for the finalizers of what it interrupts, and no longer than interruptGrace for a node that resists", () =>
    Effect.gen(function*() {
      yield* sleeper
      const told: Array<string> = []
      const flow = Flow.make("f", [
        number("n", (n) =>
          n === 0
            ? Effect.uninterruptible(Effect.never)
            : Effect.onInterrupt(Effect.never, () =>
              Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => told.push("finalized"))))).to()
      ])
      const runtime = yield* FlowRuntime.make(flow, { interruptGrace: "3 seconds" })
      const events = yield* record(runtime)
      yield* runtime.emit(0, { traceId: "stuck" })
      yield* runtime.emit(1, { traceId: "kind" })
      const shutdown = yield* start(runtime.shutdown({ grace: 0 }))
      yield* TestClock.adjust("2999 millis")
      assert.deepStrictEqual(told, ["finalized"])
      assert.isUndefined(shutdown.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual((yield* Fiber.join(shutdown)).interrupted, ["stuck", "kind"])
      assert.strictEqual((yield* events.sentences).filter((line) => line.startsWith("NodeStuck")).length, 1)
    }))

  it.effect("ends the events of those who watch, with everything that happened", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(patient)
      const events = yield* record(runtime)
      yield* runtime.emit(0)
      yield* runtime.shutdown({ grace: 0 })
      assert.deepStrictEqual(yield* events.sentences, [
        "TraceStarted",
        "NodeStarted n 1",
        "NodeInterrupted n 1",
        "TraceFailed"
      ])
      assert.deepStrictEqual(yield* Stream.runCollect(runtime.events), [])
    }))

  it.effect("a node may shut its own runtime down: it is interrupted when grace is over, and all are released", () =>
    Effect.gen(function*() {
      const runtime: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
        Flow.make("f", [number("n", (n) => Effect.as(runtime.shutdown({ grace: "1 second" }), n)).to()])
      )
      const fiber = yield* start(runtime.run(1))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "SHUTTING_DOWN")
    }))

  it.effect("a trace that cancels another while the runtime drains still gets its answer", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(patient)
      yield* runtime.emit(0, { traceId: "t" })
      const shutdown = yield* start(runtime.shutdown())
      assert.isTrue(yield* runtime.cancel("t"))
      assert.deepStrictEqual(yield* Fiber.join(shutdown), { drained: 1, interrupted: [] })
      assert.strictEqual(yield* codeOf((yield* runtime.fetch).exit), "TRACE_CANCELLED")
    }))
})

describe("closing the scope", () => {
  it.effect("interrupts at once and waits for finalizers: a node that waits for ever has been told before it returns", () =>
    Effect.gen(function*() {
      let stopped = 0
      const flow = Flow.make("f", [
        number("n", () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++))).to()
      ])
      const scope = yield* Scope.make()
      const runtime = yield* Scope.provide(FlowRuntime.make(flow), scope)
      const run = yield* start(runtime.run(1))
      yield* runtime.emit(1)
      const fetch = yield* start(Effect.andThen(runtime.fetch, runtime.fetch))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(stopped, 2)
      assert.strictEqual(yield* now, 0)
      assert.strictEqual(yield* codeOf(Fiber.join(run)), "SHUTTING_DOWN")
      assert.strictEqual(yield* codeOf(Fiber.join(fetch)), "SHUTTING_DOWN")
      assert.strictEqual(yield* codeOf(runtime.run(1)), "SHUTTING_DOWN")
      assert.deepStrictEqual((yield* runtime.shutdown()).interrupted.length, 2)
    }))

  it.effect("hurries a shutdown that waits", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const runtime = yield* Scope.provide(FlowRuntime.make(patient), scope)
      yield* runtime.emit(0, { traceId: "t" })
      const shutdown = yield* start(runtime.shutdown({ grace: "1 hour" }))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* Fiber.join(shutdown), { drained: 0, interrupted: ["t"] })
      assert.strictEqual(yield* now, 0)
    }))

  it.effect("a new runtime of the same flow starts clean", () =>
    Effect.gen(function*() {
      const seen: Array<number> = []
      const flow = Flow.make("f", [
        late("wait", "1 second").to(number("n", (n) => Effect.sync(() => (seen.push(n), n))))
      ])
      yield* Effect.scoped(Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(flow, { maxInFlight: 50 })
        for (let i = 0; i < 50; i++) yield* runtime.emit(i)
      }))
      const runtime = yield* FlowRuntime.make(flow)
      const fiber = yield* start(runtime.run(777))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(fiber), 777)
      assert.deepStrictEqual(seen, [777])
    }))

  it.effect("the services that the runtime was made with outlive its nodes' finalizers", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Effect.acquireRelease(Effect.void, () => Effect.sync(() => told.push("service")))
        const runtime = yield* FlowRuntime.make(
          Flow.make("f", [
            number("n", () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => told.push("node")))).to()
          ])
        )
        yield* runtime.emit(1)
      }))
      assert.deepStrictEqual(told, ["node", "service"])
    }))

  it.effect("leaves no fiber of a forEach, a subflow or a retry behind", () =>
    Effect.gen(function*() {
      let alive = 0
      const hold = <const Name extends string>(name: Name) =>
        number(name, () =>
          Effect.acquireUseRelease(Effect.sync(() => alive++), () => Effect.never, () => Effect.sync(() => alive--)))
      const inner = Flow.make("inner", [add("s", 0).to(hold("a"), Node.withPolicy(hold("b"), { timeout: "1 hour" }))])
      const flow = Flow.make("f", [Node.forEach(Node.fromFlow(inner), { concurrency: 3 }).to()])
      yield* Effect.scoped(Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(flow)
        yield* runtime.emit([1, 2, 3])
        assert.strictEqual(alive, 6)
      }))
      assert.strictEqual(alive, 0)
    }))
})
