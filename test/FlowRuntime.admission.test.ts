import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Node } from "penguiflow"
import { codeOf, gauge, start } from "./utils/effects.ts"
import { record } from "./utils/events.ts"
import { add, late, never, number } from "./utils/nodes.ts"

/** A flow whose node stays inside as many milliseconds as its input says, and a gauge of how many are inside. */
const gauged = () => {
  const { inside, state } = gauge()
  return { flow: Flow.make("f", [number("n", (n) => inside(Effect.as(Effect.sleep(n), n))).to()]), state }
}

describe("admission", () => {
  it.effect("runs at most maxInFlight traces at once, 64 where nothing is said", () =>
    Effect.gen(function*() {
      for (const [options, most] of [[undefined, 64], [{ maxInFlight: 3 }, 3]] as const) {
        const { flow, state } = gauged()
        const runtime = yield* FlowRuntime.make(flow, options)
        const fiber = yield* start(Effect.forEach(Array.from({ length: 150 }, () => 10), (n) => runtime.run(n), {
          concurrency: "unbounded"
        }))
        assert.strictEqual(yield* runtime.open, 150)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* Fiber.join(fiber)).length, 150)
        assert.deepStrictEqual({ ...state }, { now: 0, most, entered: 150 })
      }
    }))

  it.effect("those that wait begin in the order in which they came", () =>
    Effect.gen(function*() {
      const order: Array<number> = []
      const flow = Flow.make("f", [number("n", (n) => Effect.as(Effect.sleep("1 second"), (order.push(n), n))).to()])
      const runtime = yield* FlowRuntime.make(flow, { maxInFlight: 1 })
      const fiber = yield* start(Effect.forEach([5, 3, 9, 1], (n) => runtime.run(n), { concurrency: "unbounded" }))
      yield* TestClock.adjust("4 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(order, [5, 3, 9, 1])
    }))

  it.effect("five messages to a slow consumer of two places are all worked through", () =>
    Effect.gen(function*() {
      const { flow } = gauged()
      const runtime = yield* FlowRuntime.make(flow, { maxInFlight: 2 })
      const emits = yield* start(Effect.forEach([1, 2, 3, 4, 5], (n) => runtime.emit(n), { concurrency: "unbounded" }))
      const fetches = yield* start(Effect.replicateEffect(runtime.fetch, 5))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(emits)).length, 5)
      assert.strictEqual((yield* Fiber.join(fetches)).length, 5)
    }))

  it.effect("an emitted trace keeps its place until its outcome is fetched, so that outcomes can't pile up", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("n", 0).to()]), { maxInFlight: 2 })
      yield* runtime.emit(1)
      yield* runtime.emit(2)
      const third = yield* start(runtime.emit(3))
      const run = yield* start(runtime.run(4))
      yield* TestClock.adjust("1 minute")
      assert.isUndefined(third.pollUnsafe())
      assert.isUndefined(run.pollUnsafe())
      yield* runtime.fetch
      yield* Fiber.join(third)
      assert.isUndefined(run.pollUnsafe())
      yield* runtime.fetch
      assert.strictEqual(yield* Fiber.join(run), 4)
    }))

  it.effect("an emit that is interrupted while it waits was never accepted: no node runs, nothing is fetched, the id is free", () =>
    Effect.gen(function*() {
      let calls = 0
      const flow = Flow.make("f", [
        number("n", (n) => Effect.andThen(Effect.sync(() => calls++), Effect.as(Effect.sleep(n), n))).to()
      ])
      const runtime = yield* FlowRuntime.make(flow, { maxInFlight: 1 })
      yield* runtime.emit(1000, { traceId: "first" })
      const waiting = yield* start(runtime.emit(1, { traceId: "second" }))
      assert.strictEqual(yield* runtime.open, 2)
      yield* Fiber.interrupt(waiting)
      assert.strictEqual(yield* runtime.open, 1)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* runtime.fetch).traceId, "first")
      assert.strictEqual(yield* runtime.emit(1, { traceId: "second" }), "second")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* runtime.fetch).traceId, "second")
      assert.strictEqual(calls, 2)
      yield* runtime.shutdown()
      assert.strictEqual(yield* codeOf(runtime.fetch), "SHUTTING_DOWN")
    }))

  it.effect("cancelling what waits releases its caller, emitter or consumer at once", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("f", [never("n").to()]), { maxInFlight: 1 })
      yield* runtime.emit(0, { traceId: "first" })
      const run = yield* start(runtime.run(1, { traceId: "run" }))
      const emit = yield* start(runtime.emit(1, { traceId: "emit" }))
      const stream = yield* start(Stream.runCollect(runtime.stream(1, { traceId: "stream" })))
      for (const id of ["run", "emit", "stream"]) assert.isTrue(yield* runtime.cancel(id))
      assert.strictEqual(yield* codeOf(Fiber.join(run)), "TRACE_CANCELLED")
      assert.strictEqual(yield* codeOf(Fiber.join(emit)), "TRACE_CANCELLED")
      assert.strictEqual(yield* codeOf(Fiber.join(stream)), "TRACE_CANCELLED")
      assert.strictEqual(yield* runtime.open, 1)
    }))

  it.effect("a deadline runs while its message waits, and its caller hears of it", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("f", [never("n").to()]), { maxInFlight: 1 })
      yield* runtime.emit(0)
      const run = yield* start(runtime.run(1, { deadline: "1 second" }))
      const emit = yield* start(runtime.emit(1, { deadline: "1 second" }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* codeOf(Fiber.join(run)), "DEADLINE_EXCEEDED")
      assert.strictEqual(yield* codeOf(Fiber.join(emit)), "DEADLINE_EXCEEDED")
      assert.strictEqual(yield* runtime.open, 1)
    }))

  it.effect("a message that would have to wait and whose deadline is past is refused at once", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("f", [never("n").to()]), { maxInFlight: 1 })
      yield* runtime.emit(0)
      const fibers = yield* Effect.forEach([
        Effect.asVoid(runtime.emit(1, { deadline: 0 })),
        Effect.asVoid(runtime.run(1, { deadline: 0 })),
        Stream.runDrain(runtime.stream(1, { deadline: 0 }))
      ], (refused) => start(codeOf(refused)))
      yield* TestClock.adjust(1)
      for (const fiber of fibers) {
        assert.isDefined(fiber.pollUnsafe(), "waits for ever")
        assert.strictEqual(yield* Fiber.join(fiber), "DEADLINE_EXCEEDED")
      }
    }))

  it.effect("a message that waited gets only what is left of its deadline", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("f", [late("n", "1 second").to()]), { maxInFlight: 1 })
      const first = yield* start(runtime.run(1))
      const second = yield* start(runtime.run(2, { deadline: "1500 millis" }))
      yield* TestClock.adjust("1499 millis")
      assert.strictEqual(yield* Fiber.join(first), 1)
      assert.isUndefined(second.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* codeOf(Fiber.join(second)), "DEADLINE_EXCEEDED")
    }))

  it.effect("run inside a trace of the same runtime shares its place: it can't wait for itself", () =>
    Effect.gen(function*() {
      const down = number(
        "down",
        (n) => n === 0 ? Effect.succeed(0) : Effect.map(Effect.orDie(runtime.run(n - 1)), (m) => m + 1)
      )
      const runtime: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
        Flow.make("f", [down.to()]),
        { maxInFlight: 1 }
      )
      assert.strictEqual(yield* runtime.run(20), 20)
      const waiting = yield* start(runtime.run(3))
      assert.strictEqual(yield* Fiber.join(waiting), 3)
      assert.strictEqual(yield* runtime.open, 0)
    }))

  it.effect("a run inside a trace shares its place through another runtime, and from a fiber that the node forked", () =>
    Effect.gen(function*() {
      const ask = number(
        "ask",
        (n) => n === 0 ? Effect.succeed(0) : Effect.orDie(Effect.flatMap(Effect.forkChild(inner.run(n)), Fiber.join))
      )
      const back = number("back", (n) => Effect.orDie(outer.run(n - 1)))
      const inner: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
        Flow.make("inner", [back.to()]),
        { maxInFlight: 1 }
      )
      const outer: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
        Flow.make("outer", [ask.to()]),
        { maxInFlight: 1 }
      )
      assert.strictEqual(yield* outer.run(5), 0)
    }))

  it.effect("a trace inside a trace is cancelled with it", () =>
    Effect.gen(function*() {
      let stopped = 0
      const node = number("n", (n) =>
        n === 0
          ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++))
          : Effect.orDie(runtime.run(n - 1)))
      const runtime: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
        Flow.make("f", [node.to()]),
        { maxInFlight: 1 }
      )
      const fiber = yield* start(runtime.run(3, { traceId: "t" }))
      assert.strictEqual(yield* runtime.open, 4)
      assert.isTrue(yield* runtime.cancel("t"))
      assert.strictEqual(stopped, 1)
      assert.strictEqual(yield* runtime.open, 0)
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
    }))

  it.effect("a node that forks a trace and leaves it gives no place away for nothing", () =>
    Effect.gen(function*() {
      const { inside, state } = gauge()
      const node = number("n", (n) =>
        n === 0 ? Effect.as(Effect.forkDetach(runtime.run(1000)), 0) : inside(Effect.as(Effect.sleep(n), n)))
      const runtime: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
        Flow.make("f", [node.to()]),
        { maxInFlight: 2 }
      )
      for (let i = 0; i < 10; i++) {
        yield* runtime.run(0)
      }
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* runtime.open, 0)
      const fiber = yield* start(Effect.forEach([10, 10, 10, 10], (n) =>
        runtime.run(n), { concurrency: "unbounded" }))
      state.most = 0
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.strictEqual(state.most, 2)
    }))

  it.effect("messages that a node emits into its own runtime do not widen it once they are fetched", () =>
    Effect.gen(function*() {
      const { inside, state } = gauge()
      const node = number(
        "n",
        (n) => n < 0 ? Effect.as(Effect.orDie(runtime.emit(-n)), 0) : inside(Effect.as(Effect.sleep(n), n))
      )
      const runtime: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
        Flow.make("f", [node.to()]),
        { maxInFlight: 2 }
      )
      for (let i = 0; i < 6; i++) {
        yield* runtime.run(-1)
        yield* TestClock.adjust("1 second")
        yield* runtime.fetch
      }
      state.most = 0
      const fiber = yield* start(
        Effect.forEach([10, 10, 10, 10, 10, 10], (n) => runtime.run(n), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.strictEqual(state.most, 2)
    }))

  it.effect("a place is given back however a trace ends", () =>
    Effect.gen(function*() {
      const { inside, state } = gauge()
      const node = number("n", (n) =>
        inside(n === 0 ? Effect.never : n === 1 ? Effect.die("dead") : Effect.as(Effect.sleep(n), n)))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [node.to()]), { maxInFlight: 2 })
      for (let i = 0; i < 5; i++) {
        const cancelled = yield* start(runtime.run(0, { traceId: "c" }))
        yield* runtime.cancel("c")
        yield* Fiber.await(cancelled)
        yield* Effect.flip(runtime.run(1))
        const expired = yield* start(runtime.run(0, { deadline: 1 }))
        yield* TestClock.adjust(1)
        yield* Fiber.await(expired)
        const interrupted = yield* start(runtime.run(0))
        yield* Fiber.interrupt(interrupted)
        yield* Effect.flip(runtime.run(5, { deadline: 0 }))
        yield* Effect.flip(runtime.run("bad" as never))
        yield* Effect.flip(runtime.run(5, { meta: { bad: new Map() } as never }))
        const left = yield* start(Stream.runDrain(runtime.stream(0)))
        yield* Fiber.interrupt(left)
      }
      state.most = 0
      const fiber = yield* start(Effect.forEach([10, 10, 10, 10, 10, 10], (n) =>
        runtime.run(n), { concurrency: "unbounded" }))
      yield* TestClock.adjust("30 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).length, 6)
      assert.strictEqual(state.most, 2)
    }))

  it.effect("ten thousand messages that answer at once pass through one place without growing the stack", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [number("n", (n) => n === 0 ? Effect.as(Effect.sleep("1 second"), n) : Effect.succeed(n)).to()]),
        { maxInFlight: 1 }
      )
      const fiber = yield* start(Effect.forEach(Array.from({ length: 10_000 }, (_, i) => i), (n) => runtime.run(n), {
        concurrency: "unbounded"
      }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber)).length, 10_000)
    }))

  it.effect("cancelling ten thousand that wait costs each the same", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("f", [never("n").to()]), { maxInFlight: 1 })
      const ids = Array.from({ length: 10_000 }, (_, i) => `t${i}`)
      const fiber = yield* start(
        Effect.forEach(ids, (traceId) => Effect.exit(runtime.run(0, { traceId })), { concurrency: "unbounded" })
      )
      for (const id of ids.toReversed()) assert.isTrue(yield* runtime.cancel(id))
      yield* Fiber.join(fiber)
      assert.strictEqual(yield* runtime.open, 0)
    }))

  it.effect("a trace that ended before it began is told with no beginning and no length", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 hour")
      const runtime = yield* FlowRuntime.make(Flow.make("f", [never("n").to()]), { maxInFlight: 1 })
      const events = yield* record(runtime)
      yield* runtime.emit(0, { traceId: "first" })
      const waiting = yield* start(runtime.run(1, { traceId: "second" }))
      yield* runtime.cancel("second")
      yield* Fiber.await(waiting)
      yield* runtime.cancel("first")
      const ends = (yield* events.ended).filter((event) => event.traceId === "second")
      for (const event of ends) assert.isBelow(event.durationMs ?? 0, 60_000, event._tag)
    }))

  it.effect("bounds that make no sense are refused where the runtime is made, not by waiting for ever", () =>
    Effect.gen(function*() {
      for (const maxInFlight of [0, -1, Number.NaN]) {
        const program = Effect.scoped(
          Effect.flatMap(
            FlowRuntime.make(Flow.make("f", [add("n", 1).to()]), { maxInFlight }),
            (runtime) => runtime.run(1)
          )
        )
        const fiber = yield* start(Effect.exit(program))
        yield* TestClock.adjust("1 hour")
        assert.isDefined(fiber.pollUnsafe(), `maxInFlight ${maxInFlight} waits for ever`)
      }
    }))

  it.effect("a forEach is one trace, however many items it has", () =>
    Effect.gen(function*() {
      const flow = Flow.make("f", [Node.forEach(late("n", 10), { concurrency: 100 }).to()])
      const runtime = yield* FlowRuntime.make(flow, { maxInFlight: 1 })
      const fiber = yield* start(runtime.run(Array.from({ length: 100 }, (_, i) => i)))
      yield* TestClock.adjust(10)
      assert.strictEqual((yield* Fiber.join(fiber)).length, 100)
    }))
})
