import { assert, describe, it } from "@effect/vitest"
import { Context, type Duration, Effect, Exit, Fiber, Layer, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Join, Node, type Policy, Router, Trace } from "penguiflow"
import { codeOf, start } from "./utils/effects.ts"
import { record } from "./utils/events.ts"
import { add, Bad, failing, never, number } from "./utils/nodes.ts"

/** Nodes that say when they are done and undone. */
const ledger = () => {
  const told: Array<string> = []
  const step = <const Name extends string>(
    name: Name,
    run: (n: number) => Effect.Effect<number, Bad> = Effect.succeed,
    policy?: Policy.Policy<Policy.Tagged>
  ) =>
    Node.make(name, {
      input: Schema.Number,
      output: Schema.Number,
      policy,
      run: (n) => Effect.tap(run(n), () => Effect.sync(() => told.push(`did ${name}`))),
      compensate: (output) => Effect.sync(() => told.push(`undid ${name} ${output}`))
    })
  return { told, step }
}
const after = (duration: Duration.Input) => (n: number) => Effect.as(Effect.sleep(duration), n)

describe("compensation", () => {
  it.effect("undoes the finished runs in reverse order of finishing when the trace fails", () =>
    Effect.gen(function*() {
      const { step, told } = ledger()
      const failingLate = number("bad", (n) => Effect.andThen(Effect.sleep("30 millis"), Effect.fail(new Bad({ n }))))
      const saga = Flow.make("saga", [
        step("a").to(step("b", after("20 millis")), step("c", after("10 millis")), failingLate)
      ])
      const runtime = yield* FlowRuntime.make(saga)
      const fiber = yield* start(runtime.runAll(1))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "Bad")
      assert.deepStrictEqual(told, ["did a", "did c", "did b", "undid b 1", "undid c 1", "undid a 1"])
    }))

  it.effect("undoes nothing when the trace succeeds, not even where run wanted one result and got none or several", () =>
    Effect.gen(function*() {
      const { step, told } = ledger()
      assert.strictEqual(yield* Flow.run(Flow.make("f", [step("a").to(step("b"))]), 1), 1)
      const several = Flow.make("several", [step("a").to(step("b"), step("c"))])
      assert.strictEqual(yield* codeOf(Flow.run(several, 1)), "MANY_RESULTS")
      const drop = Router.make("drop", { input: Schema.Number, cases: ["x"], decide: () => [] })
      const none = Flow.make("none", [step("a").to(drop), drop.to({ x: step("b") })])
      assert.strictEqual(yield* codeOf(Flow.run(none, 1)), "NO_RESULT")
      assert.isTrue(told.every((line) => line.startsWith("did")))
    }))

  it.effect("undoes on cancel, on a deadline and on shutdown", () =>
    Effect.gen(function*() {
      const { step, told } = ledger()
      const runtime = yield* FlowRuntime.make(Flow.make("f", [step("a").to(never("wait"))]))
      const cancelled = yield* start(runtime.run(1, { traceId: "t" }))
      assert.isTrue(yield* runtime.cancel("t"))
      assert.strictEqual(yield* codeOf(Fiber.join(cancelled)), "TRACE_CANCELLED")
      assert.deepStrictEqual(told, ["did a", "undid a 1"])
      const expired = yield* start(runtime.run(2, { deadline: "1 second" }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* codeOf(Fiber.join(expired)), "DEADLINE_EXCEEDED")
      const stopped = yield* start(runtime.run(3))
      yield* runtime.shutdown({ grace: 0 })
      assert.strictEqual(yield* codeOf(Fiber.join(stopped)), "SHUTTING_DOWN")
      assert.deepStrictEqual(told.filter((line) => line.startsWith("undid")), ["undid a 1", "undid a 2", "undid a 3"])
    }))

  it.effect("undoes when a join stays incomplete", () =>
    Effect.gen(function*() {
      const { step, told } = ledger()
      const flow = Flow.make("f", [step("a").to(Join.collect("pair", { item: Schema.Number, count: 2 }))])
      assert.strictEqual(yield* codeOf(Flow.run(flow, 1)), "JOIN_INCOMPLETE")
      assert.deepStrictEqual(told, ["did a", "undid a 1"])
    }))

  it.effect("one that dies does not stop the others, the error stays the first one, and each is an event", () =>
    Effect.gen(function*() {
      const { step, told } = ledger()
      const dying = Node.make("dying", {
        input: Schema.Number,
        output: Schema.Number,
        run: Effect.succeed,
        compensate: () => Effect.die(new Error("can't undo"))
      })
      const throwing = Node.make("throwing", {
        input: Schema.Number,
        output: Schema.Number,
        run: Effect.succeed,
        compensate: () => {
          throw new Error("can't even begin")
        }
      })
      const b = step("b")
      const saga = Flow.make("saga", [step("a").to(dying), dying.to(throwing), throwing.to(b), b.to(failing("bad"))])
      const runtime = yield* FlowRuntime.make(saga)
      const events = yield* record(runtime)
      assert.strictEqual(yield* codeOf(runtime.run(1)), "Bad")
      assert.deepStrictEqual(told, ["did a", "did b", "undid b 1", "undid a 1"])
      const undone = (yield* events.ended).flatMap((event) =>
        event._tag === "NodeCompensated" ? [[event.node, event.error?.message]] : []
      )
      assert.deepStrictEqual(undone, [
        ["b", undefined],
        ["throwing", "can't even begin"],
        ["dying", "can't undo"],
        ["a", undefined]
      ])
    }))

  it.effect("has run before the outcome stands and before cancel returns", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const slow = Node.make("slow", {
        input: Schema.Number,
        output: Schema.Number,
        run: Effect.succeed,
        compensate: () => Effect.andThen(Effect.sleep("2 seconds"), Effect.sync(() => told.push("undone")))
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [slow.to(never("wait"))]))
      const caller = yield* start(
        Effect.onExit(runtime.run(1, { traceId: "t" }), () => Effect.sync(() => told.push("answered")))
      )
      const cancel = yield* start(Effect.tap(runtime.cancel("t"), () => Effect.sync(() => told.push("cancelled"))))
      assert.strictEqual(yield* runtime.open, 1)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.await(caller)
      assert.isTrue(yield* Fiber.join(cancel))
      assert.strictEqual(told[0], "undone")
      assert.strictEqual(told.length, 3)
    }))

  it.effect("can't be interrupted: a second cancel and an interrupted caller let it finish", () =>
    Effect.gen(function*() {
      let undone = 0
      const slow = Node.make("slow", {
        input: Schema.Number,
        output: Schema.Number,
        run: Effect.succeed,
        compensate: () => Effect.andThen(Effect.sleep("2 seconds"), Effect.sync(() => undone++))
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [slow.to(failing("bad"))]))
      const caller = yield* start(runtime.run(1, { traceId: "t" }))
      const interrupting = yield* start(Fiber.interrupt(caller))
      const cancel = yield* start(runtime.cancel("t"))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(interrupting)
      yield* Fiber.join(cancel)
      assert.strictEqual(undone, 1)
      assert.strictEqual(yield* runtime.open, 0)
    }))

  it.effect("gets the output, the node's context and its services", () =>
    Effect.gen(function*() {
      class Log extends Context.Service<Log, Array<unknown>>()("test/Log") {}
      const log: Array<unknown> = []
      let key = ""
      const node = Node.make("node", {
        input: Schema.Number,
        output: Schema.String,
        run: (n, { idempotencyKey }) => Effect.sync(() => (key = idempotencyKey, `out ${n}`)),
        compensate: (output, context) =>
          Effect.gen(function*() {
            const { traceId } = yield* Trace.CurrentTrace
            const log = yield* Log
            log.push(output, context.idempotencyKey, context.node, traceId)
          })
      })
      const bad = Node.make("bad", {
        input: Schema.String,
        output: Schema.Number,
        run: () => Effect.fail(new Bad({ n: 1 }))
      })
      const flow = Flow.make("f", [Node.provide(node, Layer.succeed(Log, log)).to(bad)])
      yield* Effect.flip(Flow.run(flow, 1, { traceId: "t" }))
      assert.deepStrictEqual(log, ["out 1", key, "node", "t"])
    }))

  it.effect("undoes each finished item of a forEach and each finished node of a subflow", () =>
    Effect.gen(function*() {
      const { step, told } = ledger()
      const item = step("item", (n) => n === 3 ? Effect.fail(new Bad({ n })) : Effect.succeed(n))
      const flow = Flow.make("f", [
        Node.fromFlow(Flow.make("inner", [Node.forEach(item, { concurrency: 1 }).to()])).to()
      ])
      assert.strictEqual(yield* codeOf(Flow.run(flow, [1, 2, 3, 4])), "Bad")
      assert.deepStrictEqual(told, ["did item", "did item", "undid item 2", "undid item 1"])
    }))

  it.effect("a subflow that is tried again is undone first", () =>
    Effect.gen(function*() {
      const { step, told } = ledger()
      let calls = 0
      const b = step("b", (n) => ++calls === 1 ? Effect.fail(new Bad({ n })) : Effect.succeed(n))
      const inner = Flow.make("inner", [step("a").to(b)])
      const flow = Flow.make("f", [Node.withPolicy(Node.fromFlow(inner), { retry: Schedule.recurs(1) }).to()])
      assert.strictEqual(yield* Flow.run(flow, 1), 1)
      assert.deepStrictEqual(told, ["did a", "undid a 1", "did a", "did b"])
    }))

  it.effect("what a retry has undone is not undone again when the trace fails later, and what stood beside it is", () =>
    Effect.gen(function*() {
      const { step, told } = ledger()
      let calls = 0
      const b = step("b", (n) => ++calls === 1 ? Effect.fail(new Bad({ n })) : Effect.succeed(n))
      const inner = Node.withPolicy(Node.fromFlow(Flow.make("inner", [step("a").to(b)])), { retry: Schedule.recurs(1) })
      const flow = Flow.make("f", [step("before").to(inner), inner.to(failing("bad"))])
      assert.strictEqual(yield* codeOf(Flow.run(flow, 1)), "Bad")
      assert.deepStrictEqual(told, [
        "did before",
        "did a",
        "undid a 1",
        "did a",
        "did b",
        "undid b 1",
        "undid a 1",
        "undid before 1"
      ])
    }))

  it.effect("a retry in one branch does not undo what another branch has finished", () =>
    Effect.gen(function*() {
      const { step, told } = ledger()
      let calls = 0
      const flaky = number(
        "flaky",
        (n) =>
          Effect.andThen(Effect.sleep("10 millis"), ++calls === 1 ? Effect.fail(new Bad({ n })) : Effect.succeed(n)),
        { retry: Schedule.recurs(1) }
      )
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("start", 0).to(flaky, step("charge"))]))
      const fiber = yield* start(runtime.runAll(1))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [1, 1])
      assert.deepStrictEqual(told, ["did charge"])
    }))

  /** A charge that can't be interrupted, and undoes itself where its value gets lost: the recipe of `compensate`. */
  const atomic = (
    ledger: { charged: number; refunded: number },
    lasts: (attempt: number) => Duration.Input,
    policy: Policy.Policy = {}
  ) =>
    Node.make("charge", {
      input: Schema.Number,
      output: Schema.Number,
      policy,
      run: (n, { attempt }) => {
        let done = false
        return Effect.uninterruptible(
          Effect.andThen(
            Effect.sleep(lasts(attempt)),
            Effect.sync(() => {
              done = true
              ledger.charged++
              return n
            })
          )
        ).pipe(Effect.onInterrupt(() => Effect.sync(() => void (ledger.refunded += done ? 1 : 0))))
      },
      compensate: () => Effect.sync(() => void ledger.refunded++)
    })

  it.effect("a run that can't be interrupted is undone when it finishes all the same: cancelled, too late, left behind", () =>
    Effect.gen(function*() {
      const charging = (lasts: Duration.Input, policy: Policy.Policy = {}) => {
        const ledger = { charged: 0, refunded: 0 }
        const charge = Node.make("charge", {
          input: Schema.Number,
          output: Schema.Number,
          policy,
          run: (n) =>
            Effect.uninterruptible(Effect.andThen(Effect.sleep(lasts), Effect.sync(() => (ledger.charged++, n)))),
          compensate: () => Effect.sync(() => void ledger.refunded++)
        })
        return { charge, ledger }
      }
      yield* TestClock.adjust("1 millis")
      const cancelled = charging("2 seconds")
      const late = charging("2 seconds", { timeout: "1 second" })
      const left = charging("1 minute")
      for (const { charge } of [cancelled, left]) {
        const runtime = yield* FlowRuntime.make(Flow.make("f", [charge.to(never("after"))]))
        const fiber = yield* start(runtime.run(1, { traceId: "t" }))
        const cancel = yield* start(runtime.cancel("t"))
        yield* TestClock.adjust("5 seconds")
        assert.isTrue(yield* Fiber.join(cancel))
        assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
      }
      assert.deepStrictEqual(cancelled.ledger, { charged: 1, refunded: 1 })
      assert.deepStrictEqual(left.ledger, { charged: 0, refunded: 0 })
      const fiber = yield* start(Flow.run(Flow.make("f", [late.charge.to()]), 1))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "NODE_TIMEOUT")
      assert.deepStrictEqual(late.ledger, { charged: 1, refunded: 1 })
      assert.deepStrictEqual(left.ledger, { charged: 1, refunded: 1 })
    }))

  it.effect("one that hangs is told as stuck, and its trace ends, once the deadline has passed", () =>
    Effect.gen(function*() {
      const hanging = Node.make("hanging", {
        input: Schema.Number,
        output: Schema.Number,
        run: Effect.succeed,
        compensate: () => Effect.never
      })
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [hanging.to(number("fails", (n) => Effect.fail(new Bad({ n }))))]),
        { interruptGrace: "1 second" }
      )
      const events = yield* record(runtime)
      const fiber = yield* start(Effect.flip(runtime.run(1, { deadline: "100 millis" })))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Bad")
      assert.include(yield* events.sentences, "NodeStuck hanging 1")
    }))

  it.effect("a run at rest is interrupted at once, and has not finished", () =>
    Effect.gen(function*() {
      let undone = 0
      const waits = Node.make("waits", {
        input: Schema.Number,
        output: Schema.Number,
        run: () => Effect.never,
        compensate: () => Effect.sync(() => void undone++)
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [waits.to()]))
      const fiber = yield* start(runtime.run(1, { traceId: "t" }))
      const cancel = yield* start(runtime.cancel("t"))
      assert.strictEqual(cancel.pollUnsafe()?._tag, "Success")
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
      assert.strictEqual(undone, 0)
    }))

  it.effect("a run that can't be interrupted undoes itself if it finishes while its trace is being cancelled", () =>
    Effect.gen(function*() {
      const ledger = { charged: 0, refunded: 0 }
      const runtime = yield* FlowRuntime.make(Flow.make("f", [atomic(ledger, () => "2 seconds").to(never("after"))]))
      const fiber = yield* start(runtime.run(1, { traceId: "t" }))
      const cancel = yield* start(runtime.cancel("t"))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(cancel)
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
      assert.deepStrictEqual(ledger, { charged: 1, refunded: 1 })
    }))

  it.effect("a run whose value was seen is undone by its compensation, and not by itself", () =>
    Effect.gen(function*() {
      const ledger = { charged: 0, refunded: 0 }
      const runtime = yield* FlowRuntime.make(Flow.make("f", [atomic(ledger, () => "2 seconds").to(never("after"))]))
      const fiber = yield* start(runtime.run(1, { traceId: "t" }))
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(ledger, { charged: 1, refunded: 0 })
      yield* runtime.cancel("t")
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
      assert.deepStrictEqual(ledger, { charged: 1, refunded: 1 })
    }))

  it.effect("a run that was left behind undoes itself when it finishes after all", () =>
    Effect.gen(function*() {
      const ledger = { charged: 0, refunded: 0 }
      const runtime = yield* FlowRuntime.make(Flow.make("f", [atomic(ledger, () => "1 minute").to()]))
      const fiber = yield* start(runtime.run(1, { traceId: "t" }))
      const cancel = yield* start(runtime.cancel("t"))
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(cancel)
      assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
      assert.deepStrictEqual(ledger, { charged: 0, refunded: 0 })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(ledger, { charged: 1, refunded: 1 })
    }))

  it.effect("an attempt that finishes after its timeout undoes itself: whatever was charged stays charged once, or not at all", () =>
    Effect.gen(function*() {
      for (const fails of [false, true]) {
        const ledger = { charged: 0, refunded: 0 }
        const charge = atomic(ledger, (attempt) => fails || attempt === 1 ? "100 millis" : "10 millis", {
          timeout: "50 millis",
          retry: Schedule.recurs(1)
        })
        const fiber = yield* start(Effect.exit(Flow.run(Flow.make("f", [charge.to()]), 1)))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(Exit.isFailure(yield* Fiber.join(fiber)), fails)
        assert.strictEqual(ledger.charged - ledger.refunded, fails ? 0 : 1)
      }
    }))

  it.effect("one that hangs holds a cancelled trace no longer than interruptGrace", () =>
    Effect.gen(function*() {
      const hanging = Node.make("hanging", {
        input: Schema.Number,
        output: Schema.Number,
        run: Effect.succeed,
        compensate: () => Effect.never
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [hanging.to(never("wait"))]), {
        interruptGrace: "3 seconds"
      })
      const fiber = yield* start(runtime.run(1, { traceId: "t" }))
      const cancel = yield* start(runtime.cancel("t"))
      yield* TestClock.adjust("2999 millis")
      assert.isUndefined(cancel.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.isTrue(yield* Fiber.join(cancel))
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
    }))
})
