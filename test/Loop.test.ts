import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Loop, Node } from "penguiflow"
import { codeOf, start } from "./utils/effects.ts"
import { ofNodes, record } from "./utils/events.ts"
import { add, Bad, number } from "./utils/nodes.ts"

type Options = Partial<Parameters<typeof Loop.make<"loop", number, number, Bad, never>>[1]>

const loop = (
  step: (n: number, context: Loop.LoopContext) => Effect.Effect<Loop.Step<number, number>, Bad>,
  options: Options = {}
) => Loop.make("loop", { state: Schema.Number, output: Schema.Number, maxHops: 8, ...options, step })

const only = (...args: Parameters<typeof loop>) => Flow.make("f", [loop(...args).to()])

/** A clock that moves only when it is told to, and whose timers never ring: time passes unnoticed, as in busy code. */
const deafClock = () => {
  const state = { now: 1000 }
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => state.now,
    currentTimeMillis: Effect.sync(() => state.now),
    currentTimeNanosUnsafe: () => BigInt(state.now) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => BigInt(state.now) * 1_000_000n),
    monotonicTimeNanosUnsafe: () => BigInt(state.now) * 1_000_000n,
    monotonicTimeNanos: Effect.sync(() => BigInt(state.now) * 1_000_000n),
    sleep: () => Effect.never
  } as never
  return { clock, state }
}

describe("Loop.make", () => {
  it.effect("runs its step with the state it gave until it is done, and the answer alone goes on", () =>
    Effect.gen(function*() {
      const states: Array<number> = []
      const flow = Flow.make("f", [
        loop((n) => Effect.sync(() => (states.push(n), n < 5 ? Loop.again(n + 1) : Loop.done(n * 100)))).to(
          add("after", 1)
        )
      ])
      const runtime = yield* FlowRuntime.make(flow)
      assert.deepStrictEqual(yield* runtime.runAll(1), [501])
      assert.deepStrictEqual(states, [1, 2, 3, 4, 5])
    }))

  it.effect("one runtime serves message after message, each loop from its beginning", () =>
    Effect.gen(function*() {
      const hops: Array<number> = []
      const runtime = yield* FlowRuntime.make(
        only((n, { hop }) => Effect.sync(() => (hops.push(hop), hop < 2 ? Loop.again(n) : Loop.done(n))))
      )
      for (let i = 0; i < 100; i++) assert.strictEqual(yield* runtime.run(i), i)
      assert.strictEqual(hops.length, 300)
      assert.deepStrictEqual(hops.slice(-3), [0, 1, 2])
    }))

  it.effect("maxHops of n allows n steps, hops 0 to n-1, and then fails with HOP_BUDGET_EXHAUSTED", () =>
    Effect.gen(function*() {
      for (const maxHops of [1, 2, 5]) {
        const hops: Array<number> = []
        const error = yield* Effect.flip(
          Flow.run(only((n, { hop }) => Effect.sync(() => (hops.push(hop), Loop.again(n))), { maxHops }), 1)
        )
        assert.strictEqual(error._tag === "FlowError" && error.code, "HOP_BUDGET_EXHAUSTED")
        assert.deepStrictEqual(error._tag === "FlowError" && error.reason, { _tag: "HopsExhausted", maxHops })
        assert.deepStrictEqual(hops, Array.from({ length: maxHops }, (_, i) => i))
      }
    }))

  it.effect("an answer on the last allowed hop is accepted", () =>
    Effect.gen(function*() {
      const flow = only((n, { hop }) => Effect.succeed(hop === 2 ? Loop.done(n) : Loop.again(n)), { maxHops: 3 })
      assert.strictEqual(yield* Flow.run(flow, 7), 7)
    }))

  it.effect("a budget that is spent ends the loop with TOKEN_BUDGET_EXHAUSTED, and says how much", () =>
    Effect.gen(function*() {
      let calls = 0
      const flow = only((n, { spend }) => Effect.as(spend(40), (calls++, Loop.again(n))), { budget: 100 })
      const error = yield* Effect.flip(Flow.run(flow, 1))
      assert.strictEqual(error._tag === "FlowError" && error.code, "TOKEN_BUDGET_EXHAUSTED")
      assert.deepStrictEqual(error._tag === "FlowError" && error.reason, {
        _tag: "BudgetExhausted",
        budget: 100,
        spent: 120
      })
      assert.strictEqual(calls, 3)
    }))

  it.effect("an answer that costs more than the budget is accepted: Done is asked before the budget", () =>
    Effect.gen(function*() {
      const flow = only((n, { spend }) => Effect.as(spend(1000), Loop.done(n)), { budget: 1, maxHops: 1 })
      assert.strictEqual(yield* Flow.run(flow, 7), 7)
    }))

  it.effect("the budget is asked before the hops", () =>
    Effect.gen(function*() {
      const flow = only((n, { spend }) => Effect.as(spend(1), Loop.again(n)), { budget: 1, maxHops: 1 })
      assert.strictEqual(yield* codeOf(Flow.run(flow, 7)), "TOKEN_BUDGET_EXHAUSTED")
    }))

  it.effect("the deadline is asked before Done, budget and hops, even where no timer could ring", () =>
    Effect.gen(function*() {
      for (const answer of [Loop.done(1), Loop.again(1)]) {
        const { clock, state } = deafClock()
        const flow = only(
          (_, { spend }) => Effect.as(Effect.andThen(spend(9), Effect.sync(() => state.now += 60)), answer),
          {
            budget: 1,
            maxHops: 1,
            onExhausted: (n) => n
          }
        )
        const code = yield* codeOf(Flow.run(flow, 7, { deadline: "50 millis" })).pipe(
          Effect.provideService(Clock.Clock, clock)
        )
        assert.strictEqual(code, "DEADLINE_EXCEEDED")
      }
    }))

  it.effect("onExhausted answers of the last state when hops or budget run out, and the answer is checked", () =>
    Effect.gen(function*() {
      const hops = only((n) => Effect.succeed(Loop.again(n + 1)), { maxHops: 3, onExhausted: (n) => n * 10 })
      assert.strictEqual(yield* Flow.run(hops, 1), 40)
      const budget = only((n, { spend }) => Effect.as(spend(1), Loop.again(n + 1)), {
        budget: 2,
        onExhausted: (n) => n * 10
      })
      assert.strictEqual(yield* Flow.run(budget, 1), 30)
      const bad = only((n) => Effect.succeed(Loop.again(n)), { onExhausted: () => "x" as never })
      assert.strictEqual(yield* codeOf(Flow.run(bad, 1)), "INVALID_OUTPUT")
      const throwing = only((n) => Effect.succeed(Loop.again(n)), {
        onExhausted: () => {
          throw new Error("x")
        }
      })
      assert.strictEqual(yield* codeOf(Flow.run(throwing, 1)), "NODE_EXCEPTION")
    }))

  it.effect("a message past its deadline never reaches the step, nor what follows it", () =>
    Effect.gen(function*() {
      let calls = 0
      const flow = Flow.make("f", [
        loop((n) => Effect.sync(() => (calls++, Loop.done(n)))).to(
          number("after", (n) => Effect.sync(() => (calls++, n)))
        )
      ])
      const runtime = yield* FlowRuntime.make(flow)
      assert.strictEqual(yield* codeOf(runtime.run(1, { deadline: 0 })), "DEADLINE_EXCEEDED")
      assert.strictEqual(calls, 0)
    }))

  it.effect("a step that runs is interrupted at the deadline, and its late answer is nobody's", () =>
    Effect.gen(function*() {
      let late = 0
      const flow = only((n) =>
        Effect.as(Effect.tap(Effect.sleep("500 millis"), () => Effect.sync(() => late++)), Loop.done(n))
      )
      const fiber = yield* start(Effect.flip(Flow.run(flow, 1, { deadline: "50 millis" })))
      yield* TestClock.adjust("50 millis")
      const error = yield* Fiber.join(fiber)
      assert.deepStrictEqual(error._tag === "FlowError" && error.reason, { _tag: "DeadlineExceeded", deadline: 50 })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(late, 0)
    }))

  it.effect("retries stop at the deadline", () =>
    Effect.gen(function*() {
      let calls = 0
      const flow = only((n) => Effect.suspend(() => (calls++, Effect.fail(new Bad({ n })))), {
        policy: { retry: Schedule.spaced("40 millis") }
      })
      const fiber = yield* start(Flow.run(flow, 1, { deadline: "100 millis" }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "DEADLINE_EXCEEDED")
      assert.strictEqual(calls, 3)
    }))

  it.effect("a deadline on eight branches is one outcome", () =>
    Effect.gen(function*() {
      const branches = Array.from({ length: 8 }, (_, i) =>
        Node.named(loop((n) => Effect.as(Effect.sleep("1 second"), Loop.again(n))), `l${i}`))
      const runtime = yield* FlowRuntime.make(Flow.make(
        "f",
        branches.map((branch) =>
          branch.to()
        )
      ))
      yield* runtime.emit(1, { deadline: "50 millis" })
      yield* TestClock.adjust("1 minute")
      const outcome = yield* runtime.fetch
      assert.strictEqual(yield* codeOf(outcome.exit), "DEADLINE_EXCEEDED")
      yield* runtime.shutdown()
      assert.strictEqual(yield* codeOf(runtime.fetch), "SHUTTING_DOWN")
    }))

  it.effect("the policy guards one step: retries and attempts begin anew in each", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const flow = only(
        (n, { attempt, hop }) =>
          Effect.suspend(() => {
            seen.push(`${hop}.${attempt}`)
            return attempt === 1
              ? Effect.fail(new Bad({ n }))
              : Effect.succeed(hop === 2 ? Loop.done(n) : Loop.again(n))
          }),
        { policy: { retry: Schedule.recurs(1) } }
      )
      assert.strictEqual(yield* Flow.run(flow, 1), 1)
      assert.deepStrictEqual(seen, ["0.1", "0.2", "1.1", "1.2", "2.1", "2.2"])
    }))

  it.effect("the timeout is of one step", () =>
    Effect.gen(function*() {
      const flow = only(
        (n, { hop }) => Effect.as(Effect.sleep("40 millis"), hop === 5 ? Loop.done(n) : Loop.again(n)),
        {
          policy: { timeout: "50 millis" }
        }
      )
      const fiber = yield* start(Flow.run(flow, 1))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), 1)
    }))

  it.effect("what a failed attempt spent stays spent", () =>
    Effect.gen(function*() {
      const flow = only(
        (n, { attempt, spend }) =>
          Effect.andThen(spend(30), attempt === 1 ? Effect.fail(new Bad({ n })) : Effect.succeed(Loop.again(n))),
        { budget: 100, policy: { retry: Schedule.recurs(1) } }
      )
      const error = yield* Effect.flip(Flow.run(flow, 1))
      assert.deepStrictEqual(error._tag === "FlowError" && error.reason, {
        _tag: "BudgetExhausted",
        budget: 100,
        spent: 120
      })
    }))

  it.effect("an amount that is not a number can't switch the budget off", () =>
    Effect.gen(function*() {
      let calls = 0
      const flow = only((n, { hop, spend }) => Effect.as(spend(hop === 0 ? Number.NaN : 5), (calls++, Loop.again(n))), {
        budget: 10,
        maxHops: 50
      })
      yield* Effect.flip(Flow.run(flow, 1))
      assert.isBelow(calls, 10)
    }))

  it.effect("100 000 hops grow no stack, whether the step answers at once or not", () =>
    Effect.gen(function*() {
      const make = (more: Effect.Effect<void>) =>
        only((n) =>
          more === Effect.void
            ? Effect.succeed(n < 100_000 ? Loop.again(n + 1) : Loop.done(n))
            : Effect.as(more, n < 100_000 ? Loop.again(n + 1) : Loop.done(n)), {
          maxHops: 100_001
        })
      assert.strictEqual(yield* Flow.run(make(Effect.void), 0), 100_000)
      assert.strictEqual(yield* Flow.run(make(Effect.sync(() => {})), 0), 100_000)
    }))

  it.effect("a loop that never waits can be cancelled, and lets others run", () =>
    Effect.gen(function*() {
      const flow = only((n) => Effect.succeed(n < 0 ? Loop.again(n) : Loop.done(n)), {
        maxHops: Number.MAX_SAFE_INTEGER
      })
      const runtime = yield* FlowRuntime.make(flow)
      const fiber = yield* start(runtime.run(-1, { traceId: "busy" }))
      assert.strictEqual(yield* runtime.run(5), 5)
      assert.isTrue(yield* runtime.cancel("busy"))
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
    }))

  it.effect("checks the state of each hop against its schema", () =>
    Effect.gen(function*() {
      let calls = 0
      const flow = only(() => Effect.sync(() => (calls++, Loop.again("text" as never))))
      assert.strictEqual(yield* codeOf(Flow.run(flow, 1)), "INVALID_INPUT")
      assert.strictEqual(calls, 1)
    }))

  it.effect("an answer that is no step is a defect", () =>
    Effect.gen(function*() {
      for (const answer of [undefined, null, 7, {}, { _tag: "Maybe" }]) {
        assert.strictEqual(yield* codeOf(Flow.run(only(() => Effect.succeed(answer as never)), 1)), "NODE_EXCEPTION")
      }
    }))

  it.effect("each step is told as a visit: started and succeeded", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(
        only((n, { hop }) => Effect.succeed(hop === 1 ? Loop.done(n) : Loop.again(n)))
      )
      const events = yield* record(runtime)
      yield* runtime.run(1)
      assert.deepStrictEqual(ofNodes(yield* events.sentences), [
        "NodeStarted loop 1",
        "NodeSucceeded loop 1",
        "NodeStarted loop 1",
        "NodeSucceeded loop 1"
      ])
    }))

  it.effect("two visits of one loop in one trace count hops and budget by themselves", () =>
    Effect.gen(function*() {
      const twice = Flow.make("f", [
        Node.forEach(
          loop((n, { hop, spend }) => Effect.as(spend(1), hop === 2 ? Loop.done(n) : Loop.again(n)), {
            maxHops: 3,
            budget: 3
          }),
          {
            concurrency: 1
          }
        ).to()
      ])
      assert.deepStrictEqual(yield* Flow.run(twice, [1, 2, 3]), [1, 2, 3])
    }))
})
