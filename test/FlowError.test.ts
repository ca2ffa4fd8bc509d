import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowError, FlowRuntime, Join, Loop, Router } from "penguiflow"
import { start } from "./utils/effects.ts"
import { add, never, number } from "./utils/nodes.ts"

/** One failure of each kind, as it really happens. */
const all = Effect.gen(function*() {
  const drop = Router.make("drop", { input: Schema.Number, cases: ["on"], decide: () => [] })
  const pair = Join.collect("pair", { item: Schema.Number, count: 2 })
  const loop = Loop.make("loop", {
    state: Schema.Number,
    output: Schema.Number,
    maxHops: 1,
    budget: 5,
    step: (n, { spend }) => Effect.as(spend(n), Loop.again(n))
  })
  const timed = Flow.make("f", [number("slow", () => Effect.never, { timeout: "1 second" }).to()])
  const runtime = yield* FlowRuntime.make(Flow.make("f", [never("wait").to()]), { maxInFlight: 9 })
  const busy = yield* start(Effect.flip(runtime.run(1, { traceId: "busy" })))
  const timeout = yield* start(Effect.flip(Flow.run(timed, 1)))
  const deadline = yield* start(
    Effect.flip(Flow.run(Flow.make("f", [never("wait").to()]), 1, { deadline: "1 second" }))
  )
  const duplicate = yield* Effect.flip(runtime.run(1, { traceId: "busy" }))
  const meta = yield* Effect.flip(runtime.run(1, { meta: { pool: new Map() } as never }))
  yield* TestClock.adjust("1 second")
  yield* runtime.cancel("busy", "enough")
  const cancelled = yield* Fiber.join(busy)
  yield* runtime.shutdown()
  return [
    yield* Fiber.join(timeout),
    yield* Effect.flip(Flow.run(Flow.make("f", [number("n", () => Effect.die(new Error("no bulb"))).to()]), 1)),
    yield* Effect.flip(Flow.run(Flow.make("f", [add("n", 1).to()]), "x" as never)),
    yield* Effect.flip(Flow.run(Flow.make("f", [number("n", () => Effect.succeed("x" as never)).to()]), 1)),
    meta,
    duplicate,
    cancelled,
    yield* Fiber.join(deadline),
    yield* Effect.flip(Flow.run(Flow.make("f", [loop.to()]), 1)),
    yield* Effect.flip(Flow.run(Flow.make("f", [loop.to()]), 9)),
    yield* Effect.flip(Flow.run(Flow.make("f", [pair.to()]), 1)),
    yield* Effect.flip(Flow.run(Flow.make("f", [drop.to({ on: add("n", 1) })]), 1)),
    yield* Effect.flip(Flow.run(Flow.make("f", [add("s", 0).to(add("a", 1), add("b", 1))]), 1)),
    yield* Effect.flip(runtime.run(1))
  ] satisfies ReadonlyArray<FlowError.FlowError>
})

describe("FlowError", () => {
  it.effect("every reason happens, and has its own stable code", () =>
    Effect.gen(function*() {
      const errors = yield* all
      assert.deepStrictEqual(
        Object.fromEntries(errors.map((error) => [error.reason._tag, error.code])),
        FlowError.codes
      )
      assert.strictEqual(new Set(Object.values(FlowError.codes)).size, 14)
    }))

  it.effect("says what and where: flow, trace, a message, and node and attempt where it belongs to a node", () =>
    Effect.gen(function*() {
      for (const error of yield* all) {
        assert.isTrue(FlowError.isFlowError(error))
        assert.instanceOf(error, Error)
        assert.strictEqual(error._tag, "FlowError")
        assert.strictEqual(error.flow, "f")
        assert.isNotEmpty(error.traceId)
        assert.isNotEmpty(error.message, error.code)
        if (error.node !== undefined) assert.include(error.message, error.node, error.code)
        const ofNode = [
          "NODE_TIMEOUT",
          "NODE_EXCEPTION",
          "INVALID_INPUT",
          "INVALID_OUTPUT",
          "HOP_BUDGET_EXHAUSTED",
          "TOKEN_BUDGET_EXHAUSTED",
          "JOIN_INCOMPLETE"
        ]
        if (ofNode.includes(error.code)) {
          assert.deepStrictEqual([typeof error.node, error.attempt], ["string", 1], error.code)
        }
      }
    }))

  it.effect("is caught by its reason, which narrows", () =>
    Effect.gen(function*() {
      const [timeout] = yield* all
      const answer = yield* Effect.fail(timeout).pipe(
        Effect.catchReason("FlowError", "NodeTimedOut", (reason) => Effect.succeed(reason.timeoutMs))
      )
      assert.strictEqual(answer, 1000)
      const missing = yield* Flow.run(Flow.make("f", [Join.collect("pair", { item: Schema.Number, count: 3 }).to()]), 1)
        .pipe(
          Effect.catchReason("FlowError", "JoinIncomplete", (reason) => Effect.succeed(reason.missing))
        )
      assert.deepStrictEqual(missing, ["2 of 3 items"])
    }))

  it("is told from what only looks like it", () => {
    for (const value of [undefined, null, {}, { _tag: "FlowError" }, new Error("FlowError")]) {
      assert.isFalse(FlowError.isFlowError(value))
      assert.isFalse(FlowError.isFlowDefinitionError(value))
    }
    assert.isTrue(FlowError.isFlowDefinitionError(new FlowError.FlowDefinitionError("f", ["one"])))
  })
})
