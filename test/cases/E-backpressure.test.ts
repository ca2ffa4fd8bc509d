/** Back-pressure. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Flow, type FlowEvent, FlowObserver, FlowRuntime, Join, Node, Router } from "penguiflow"
import { endOf, flowOf, node, settle, timed } from "./kit.ts"

const start = { startImmediately: true } as const
const id = (name: string) => node(name, (n) => Effect.succeed(n))
const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)

describe("a consumer that is slow", () => {
  it.effect("60a: bounds what is accepted for a minute on end, and every trace keeps its order", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flowOf([id("a").to()]), { maxInFlight: 16 })
      let accepted = 0
      const producer = yield* Effect.forkChild(
        Effect.whileLoop({ while: () => true, body: () => runtime.emit(accepted), step: () => accepted++ }),
        start
      )
      const got: Array<number> = []
      const consumer = yield* Effect.forkChild(
        Effect.forEach(upTo(60), () =>
          Effect.andThen(
            Effect.sleep("1 second"),
            Effect.map(runtime.fetch, ({ exit }) => {
              if (Exit.isSuccess(exit)) got.push(exit.value[0]!)
            })
          )),
        start
      )
      for (let second = 1; second <= 60; second++) {
        yield* TestClock.adjust("1 second")
        yield* settle(1)
        assert.isAtMost(accepted - got.length, 16)
      }
      yield* Fiber.join(consumer)
      yield* Fiber.interrupt(producer)
      assert.deepStrictEqual(got, upTo(60))
    }))

  it.effect("60b: that never fetches lets emit wait, which can be interrupted and is released by shutdown; nothing accepted is lost", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flowOf([id("a").to()]), { maxInFlight: 8 })
      const fibers = yield* Effect.forEach(
        upTo(20),
        (n) => Effect.forkChild(runtime.emit(n, { traceId: `${n}` }), start)
      )
      yield* settle()
      assert.deepStrictEqual(upTo(20).filter((n) => fibers[n]!.pollUnsafe() !== undefined), upTo(8))
      yield* Fiber.interrupt(fibers[8]!)
      assert.isTrue(yield* runtime.cancel("9"))
      assert.strictEqual(endOf(yield* Fiber.await(fibers[9]!)), "TRACE_CANCELLED")
      const first = yield* runtime.fetch
      assert.strictEqual(first.traceId, "0")
      yield* settle()
      assert.deepStrictEqual(yield* Fiber.await(fibers[10]!), Exit.succeed("10"))
      const down = yield* runtime.shutdown()
      assert.deepStrictEqual(down.interrupted, [])
      for (let n = 11; n < 20; n++) assert.strictEqual(endOf(yield* Fiber.await(fibers[n]!)), "SHUTTING_DOWN")
      const rest: Array<string> = []
      for (let i = 0; i < 8; i++) rest.push((yield* runtime.fetch).traceId)
      assert.deepStrictEqual(rest, ["1", "2", "3", "4", "5", "6", "7", "10"])
      assert.strictEqual(endOf(yield* Effect.exit(runtime.fetch)), "SHUTTING_DOWN")
    }))

  it.effect("60b: of a stream slows its trace, holds no more than its buffer, and may leave at any time", () =>
    Effect.gen(function*() {
      let sent = 0
      let stopped = 0
      const endless = Node.stream("endless", {
        input: Schema.Number,
        part: Schema.Number,
        output: Schema.Number,
        run: () =>
          Stream.forever(Stream.fromEffect(Effect.sync(() => ++sent))).pipe(
            Stream.ensuring(Effect.sync(() => stopped++))
          ),
        collect: (parts) => parts.length
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [endless.to()]))
      const got = yield* runtime.stream(1).pipe(
        Stream.mapEffect((item) => Effect.as(settle(1), item)),
        Stream.take(10),
        Stream.runCollect
      )
      assert.deepStrictEqual(got.map((item) => item.value), upTo(10).map((n) => n + 1))
      assert.isBelow(sent, 300)
      assert.strictEqual(stopped, 1)
      assert.strictEqual(yield* runtime.open, 0)
    }))
})

describe("an explosion", () => {
  it.effect("60c: of a million items within items runs at most as many at once as it may, and cancel empties it at once", () =>
    Effect.gen(function*() {
      let live = 0
      let most = 0
      const leaf = node("leaf", (n) =>
        Effect.acquireUseRelease(
          Effect.sync(() => most = Math.max(most, ++live)),
          () => Effect.as(Effect.yieldNow, n),
          () => Effect.sync(() => live--)
        ))
      const expand = Node.make("expand", {
        input: Schema.Number,
        output: Schema.Array(Schema.Number),
        run: () => Effect.succeed(upTo(1000))
      })
      const branch = Flow.make("branch", [expand.to(Node.forEach(leaf, { concurrency: 4 }))])
      const runtime = yield* FlowRuntime.make(
        Flow.make("tree", [Node.forEach(Node.fromFlow(branch), { concurrency: 4 }).to()])
      )
      const fiber = yield* Effect.forkChild(runtime.run(upTo(1000), { traceId: "t" }), start)
      yield* settle(50)
      assert.isAtMost(most, 16)
      assert.isAbove(live, 0)
      const { ms, value } = yield* timed(runtime.cancel("t"))
      assert.isTrue(value)
      assert.isBelow(ms, 1000)
      assert.strictEqual(live, 0)
      assert.strictEqual(endOf(yield* Fiber.await(fiber)), "TRACE_CANCELLED")
    }))

  it.effect("60c: of messages that a node sends into its own runtime stays within the runtime's bound, or is refused", () =>
    Effect.gen(function*() {
      let most = 0
      const runtime: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
        flowOf([
          node("spawn", (n, { traceId }) =>
            n === 0 ? Effect.never : Effect.as(
              Effect.forEach(upTo(n), (i) =>
                Effect.andThen(
                  Effect.exit(runtime.emit(0, { traceId: `${traceId}/${i}` })),
                  Effect.tap(runtime.open, (open) => Effect.sync(() => most = Math.max(most, open)))
                ), { discard: true }),
              n
            )).to()
        ]),
        { maxInFlight: 8 }
      )
      const fiber = yield* Effect.forkChild(Effect.exit(runtime.run(1000, { traceId: "t" })), start)
      yield* settle()
      yield* runtime.cancel("t")
      yield* Fiber.join(fiber)
      assert.isAtMost(most, 10, "each message of a node was accepted beyond the bound")
    }))

  it.effect("60d: of half joins leaves nothing: each trace ends as JOIN_INCOMPLETE and takes its half along", () =>
    Effect.gen(function*() {
      const join = Join.all("join", { x: Schema.Number, y: Schema.Number, z: Schema.Number })
      const drop = Router.make("drop", { input: Schema.Number, cases: ["go"], decide: (n) => n < 0 ? "go" : [] })
      const start = id("start")
      const other = id("other")
      const rows = [start.to(join.in.x, drop, other), other.to(drop2()), drop.to({ go: join.in.y }), join.to()]
      function drop2() {
        return join.in.z
      }
      const runtime = yield* FlowRuntime.make(flowOf<never, number, unknown>(rows))
      const one = Effect.exit(runtime.run(1))
      let exit: Exit.Exit<unknown, unknown> = Exit.void
      for (let i = 0; i < 10_000; i++) exit = yield* one
      assert.strictEqual(endOf(exit), "JOIN_INCOMPLETE")
      assert.match(String(Exit.isFailure(exit) && JSON.stringify(exit.cause)), /"missing":\["y"\]/u)
      assert.strictEqual(yield* runtime.open, 0)
      assert.deepStrictEqual(yield* runtime.run(-1), { x: -1, y: -1, z: -1 })
    }))
})

describe("one that is stuck", () => {
  it.effect("60e: keeps no other trace waiting, at the same node, at the same join, or in the same loop", () =>
    Effect.gen(function*() {
      const join = Join.all("join", { x: Schema.Number, y: Schema.Number })
      const slow = node("slow", (n) => n === 0 ? Effect.never : Effect.succeed(n))
      const quick = id("quick")
      const flow = Flow.make("f", [
        id("start").to(slow, quick),
        slow.to(join.in.x),
        quick.to(join.in.y),
        join.to()
      ]) as never as Flow.Flow<"f", number, { readonly x: number; readonly y: number }>
      const runtime = yield* FlowRuntime.make(flow, { maxInFlight: 2 })
      const stuck = yield* Effect.forkChild(runtime.run(0), start)
      for (let n = 1; n < 100; n++) assert.deepStrictEqual(yield* runtime.run(n), { x: n, y: n })
      assert.isUndefined(stuck.pollUnsafe())
      yield* Fiber.interrupt(stuck)
    }))
})

describe("whoever watches", () => {
  it.effect("60f: and never reads has a bounded buffer: the flow runs as fast, and what is lost is told", () => {
    let lost = 0
    let seen = 0
    const gate = { open: false }
    return Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flowOf([id("a").to(id("b"))]))
      const reader = yield* Effect.forkChild(Stream.runForEach(runtime.events, () => Effect.never), start)
      yield* settle()
      for (let n = 0; n < 20_000; n++) yield* runtime.run(n)
      yield* Fiber.interrupt(reader)
      gate.open = true
      yield* runtime.shutdown()
      yield* settle()
      assert.strictEqual(seen + lost, 20_000 * 6)
      assert.isAtLeast(lost, 20_000 * 6 - 3 * 1000)
    }).pipe(Effect.provide(FlowObserver.layer({
      name: "slow",
      capacity: 1000,
      observe: (events) =>
        Effect.andThen(
          Effect.sync(() => seen += events.length),
          Effect.whileLoop({ while: () => !gate.open, body: () => settle(1), step: () => {} })
        ),
      onLost: (count) => Effect.sync(() => lost += count)
    })))
  })

  it.effect("60f: and hangs for ever keeps neither a run, nor Flow.run, nor a shutdown waiting for long", () => {
    const hanging = FlowObserver.layer({ name: "hanging", observe: () => Effect.never })
    return Effect.gen(function*() {
      const flow = flowOf([id("a").to()])
      const runtime = yield* FlowRuntime.make(flow)
      assert.strictEqual(yield* runtime.run(1), 1)
      const down = yield* Effect.forkChild(runtime.shutdown(), start)
      yield* TestClock.adjust("5 seconds")
      yield* settle()
      assert.isDefined(down.pollUnsafe())
      const once = yield* Effect.forkChild(Flow.run(flow, 1), start)
      yield* TestClock.adjust("1 second")
      yield* settle()
      const exit = once.pollUnsafe()
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(exit, Exit.succeed(1), "Flow.run waited for its observer")
    }).pipe(Effect.provide(hanging))
  })

  it.effect("60f: and begins in the middle of a trace is told how long it took, not since when time is counted", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1000 days")
      const flow = flowOf([node("a", (n) => n === 0 ? Effect.never : Effect.as(Effect.sleep(20), n)).to()])
      const runtime = yield* FlowRuntime.make(flow)
      const fibers = yield* Effect.forEach(
        [0, 1],
        (n) => Effect.forkChild(Effect.exit(runtime.run(n, { traceId: `${n}` })), start)
      )
      yield* TestClock.adjust(10)
      const seen: Array<FlowEvent.FlowEvent> = []
      const reader = yield* Effect.forkChild(
        Stream.runForEach(runtime.events, (event) => Effect.sync(() => seen.push(event))),
        start
      )
      yield* TestClock.adjust(10)
      yield* runtime.cancel("0")
      yield* Effect.forEach(fibers, Fiber.join)
      yield* runtime.shutdown()
      yield* Fiber.join(reader)
      const ends = seen.filter((event) => event._tag.startsWith("Trace"))
      assert.deepStrictEqual(ends.map((event) => event._tag), ["TraceSucceeded", "TraceCancelled"])
      for (const event of seen) if (event.durationMs !== undefined) assert.isAtMost(event.durationMs, 20, event._tag)
    }))

  it.effect("60f: by many at once: each gets every event in order, and leaving harms none of the others", () => {
    const orders: Array<Array<string>> = [[], [], []]
    const layers = orders.map((order, i) =>
      FlowObserver.layer({
        name: `o${i}`,
        observe: (events) => Effect.sync(() => events.forEach((event) => order.push(`${event.traceId} ${event._tag}`)))
      })
    )
    return Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flowOf([id("a").to()]))
      const readers = yield* Effect.forEach(
        upTo(5),
        () => Effect.forkChild(Stream.runCollect(Stream.take(runtime.events, 7)), start)
      )
      for (let n = 0; n < 1000; n++) yield* runtime.run(n, { traceId: `${n}` })
      const five = yield* Fiber.joinAll(readers)
      yield* runtime.shutdown()
      for (const events of five) assert.lengthOf(events, 7)
      for (const order of orders) {
        assert.lengthOf(order, 4000)
        assert.deepStrictEqual(order, orders[0])
        assert.deepStrictEqual(order.slice(4, 8), [
          "1 TraceStarted",
          "1 NodeStarted",
          "1 NodeSucceeded",
          "1 TraceSucceeded"
        ])
      }
    }).pipe(Effect.provide(Layer.mergeAll(layers[0]!, layers[1]!, layers[2]!)))
  })
})
