import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Node } from "penguiflow"
import { waterfallOf } from "../../dashboard/model/waterfall.ts"
import { start } from "../utils/effects.ts"
import { record } from "../utils/events.ts"
import { Bad, late, never, number } from "../utils/nodes.ts"

describe("the waterfall of a trace", () => {
  it.effect("has every attempt with its beginning, its end and the pause before it", () =>
    Effect.gen(function*() {
      const flaky = number("flaky", (n, { attempt }) =>
        Effect.andThen(Effect.sleep(40), attempt < 3 ? Effect.fail(new Bad({ n })) : Effect.succeed(n)), {
        retry: Schedule.spaced(100)
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [late("first", 10).to(flaky)]))
      const events = yield* record(runtime)
      const fiber = yield* start(runtime.run(1))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      const { bars, began, running, total } = waterfallOf(yield* events.ended, 9999)
      assert.deepStrictEqual([began, total, running], [0, 330, false])
      assert.deepStrictEqual(
        bars.map((bar) => [bar.node, bar.attempt, bar.from, bar.to, bar.end, bar.waited, bar.last, bar.error?.tag]),
        [
          ["first", 1, 0, 10, "succeeded", undefined, true, undefined],
          ["flaky", 1, 10, 50, "failed", undefined, false, "Bad"],
          ["flaky", 2, 150, 190, "failed", 100, false, "Bad"],
          ["flaky", 3, 290, 330, "succeeded", 100, true, undefined]
        ]
      )
    }))

  it.effect("has branches, subflows, timeouts, what was interrupted and what was undone", () =>
    Effect.gen(function*() {
      const booked = Node.make("booked", {
        input: Schema.Number,
        output: Schema.Number,
        run: (n) => Effect.succeed(n),
        compensate: () => Effect.sleep(20)
      })
      const slow = number("slow", () => Effect.never, { timeout: 30 })
      const inner = Node.fromFlow(Flow.make("inner", [late("x", 5).to(slow)]))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [booked.to(inner, never("other"))]))
      const events = yield* record(runtime)
      const fiber = yield* start(runtime.runAll(1))
      yield* TestClock.adjust("1 second")
      yield* Fiber.await(fiber)
      const { bars } = waterfallOf(yield* events.ended, 9999)
      const ends = Object.fromEntries(bars.map((bar) => [`${bar.node} ${bar.end}`, [bar.from, bar.to]]))
      assert.deepStrictEqual(ends["inner/x succeeded"], [0, 5])
      assert.deepStrictEqual(ends["inner/slow timed out"], [5, 35])
      assert.deepStrictEqual(ends["other interrupted"], [0, 35])
      assert.deepStrictEqual(ends["booked undone"], [35, 55])
      assert.match(bars.find((bar) => bar.end === "timed out")!.error!.message, /longer than 30 ms/)
    }))

  it.effect("grows while the trace runs", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("f", [never("n").to()]))
      const events = yield* record(runtime)
      const fiber = yield* start(runtime.run(1, { traceId: "t" }))
      yield* TestClock.adjust(70)
      const now = waterfallOf(events.seen, 70)
      assert.deepStrictEqual([now.running, now.total], [true, 70])
      assert.deepInclude(now.bars[0]!, { end: "running", to: undefined })
      yield* runtime.cancel("t")
      yield* Fiber.await(fiber)
      assert.isFalse(waterfallOf(yield* events.ended, 9999).running)
    }))

  it("of nothing is empty", () => {
    assert.deepStrictEqual(waterfallOf([], 5), { began: 5, total: 0, running: false, bars: [] })
  })
})
