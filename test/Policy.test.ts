import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowError, FlowRuntime, Node, type Policy } from "penguiflow"
import { codeOf, gauge, now, start } from "./utils/effects.ts"
import { ofNodes, record } from "./utils/events.ts"
import { add, Bad, number } from "./utils/nodes.ts"

const only = <E extends Policy.Tagged, R>(
  run: (n: number, context: Node.NodeContext) => Effect.Effect<number, E, R>,
  policy?: Policy.Policy<Policy.Tagged>
) => Flow.make("only", [number("only", run, policy).to()])

/** Fails `times` times, then gives its input; tells when it was called. */
const flaky = (times: number) => {
  const calls: Array<number> = []
  const run = (n: number) =>
    Effect.flatMap(now, (at) => {
      calls.push(at)
      return calls.length > times ? Effect.succeed(n) : Effect.fail(new Bad({ n }))
    })
  return { calls, run }
}

describe("Policy", () => {
  it.effect("without a policy a node runs once, and its failure is the answer", () =>
    Effect.gen(function*() {
      const { calls, run } = flaky(1)
      assert.strictEqual(yield* codeOf(Flow.run(only(run), 1)), "Bad")
      assert.strictEqual(calls.length, 1)
    }))

  it.effect("the policies given to Node.withPolicy replace those of the node", () =>
    Effect.gen(function*() {
      const { calls, run } = flaky(9)
      const node = number("node", run, { retry: Schedule.recurs(5) })
      assert.strictEqual(yield* codeOf(Flow.run(Flow.make("f", [Node.withPolicy(node, {}).to()]), 1)), "Bad")
      assert.strictEqual(calls.length, 1)
    }))

  describe("retry", () => {
    it.effect("a node that fails once is run twice and then succeeds", () =>
      Effect.gen(function*() {
        const { calls, run } = flaky(1)
        assert.strictEqual(yield* Flow.run(only(run, { retry: Schedule.recurs(2) }), 7), 7)
        assert.strictEqual(calls.length, 2)
      }))

    it.effect("a node that always fails is run as often as the schedule says, and fails with its own last error", () =>
      Effect.gen(function*() {
        let calls = 0
        const flow = only(() => Effect.fail(new Bad({ n: ++calls })), { retry: Schedule.recurs(2) })
        const error = yield* Effect.flip(Flow.run(flow, 1))
        assert.strictEqual(error._tag === "Bad" && error.n, 3)
        assert.strictEqual(calls, 3)
      }))

    it.effect("the schedule's delays stand between the attempts, capped where it caps them", () =>
      Effect.gen(function*() {
        const { calls, run } = flaky(5)
        const retry = Schedule.min([Schedule.exponential("1 millis", 3), Schedule.spaced("20 millis")])
        const fiber = yield* start(Flow.run(only(run, { retry }), 1))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(calls.slice(1).map((at, i) => at - calls[i]!), [1, 3, 9, 20, 20])
      }))

    it.effect("each visit begins the schedule anew", () =>
      Effect.gen(function*() {
        let calls = 0
        const flow = only(
          (n) => Effect.suspend(() => ++calls % 2 === 1 ? Effect.fail(new Bad({ n })) : Effect.succeed(n)),
          {
            retry: Schedule.recurs(1)
          }
        )
        for (let i = 0; i < 3; i++) assert.strictEqual(yield* Flow.run(flow, i), i)
        assert.strictEqual(calls, 6)
      }))

    it.effect("a delay longer than any timer can count waits, and can be cancelled", () =>
      Effect.gen(function*() {
        const flow = only(() => Effect.fail(new Bad({ n: 0 })), { retry: Schedule.exponential("1 second", 1e300) })
        const runtime = yield* FlowRuntime.make(flow)
        const fiber = yield* start(runtime.run(1, { traceId: "t" }))
        yield* TestClock.adjust("2 seconds")
        assert.isTrue(yield* runtime.cancel("t"))
        assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
      }))

    it.effect("a trace that waits for its next attempt delays no other trace", () =>
      Effect.gen(function*() {
        const flow = only((n) => n === 0 ? Effect.fail(new Bad({ n })) : Effect.succeed(n), {
          retry: Schedule.spaced("1 hour").pipe(Schedule.upTo({ times: 1 }))
        })
        const runtime = yield* FlowRuntime.make(flow)
        const slow = yield* start(runtime.run(0))
        assert.strictEqual(yield* runtime.run(5), 5)
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(yield* codeOf(Fiber.join(slow)), "Bad")
      }))

    it.effect("is asked with the node's error, or with the runtime's timeout", () =>
      Effect.gen(function*() {
        const asked: Array<string> = []
        let calls = 0
        const flow = only(() => ++calls === 1 ? Effect.fail(new Bad({ n: 1 })) : Effect.never, {
          timeout: "1 second",
          retry: Schedule.recurs(2),
          retryWhile: (error) => {
            asked.push(FlowError.isFlowError(error) ? error.code : error._tag)
            return true
          }
        })
        const fiber = yield* start(Flow.run(flow, 1))
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "NODE_TIMEOUT")
        assert.deepStrictEqual(asked, ["Bad", "NODE_TIMEOUT", "NODE_TIMEOUT"])
      }))

    it.effect("stops where retryWhile says no", () =>
      Effect.gen(function*() {
        let calls = 0
        const node = Node.withPolicy(number("n", () => Effect.fail(new Bad({ n: ++calls }))), {
          retry: Schedule.recurs(9),
          retryWhile: (error) => error._tag === "Bad" && error.n < 3
        })
        yield* Effect.flip(Flow.run(Flow.make("f", [node.to()]), 1))
        assert.strictEqual(calls, 3)
      }))

    it.effect("a predicate that throws fails the trace as a defect of the node", () =>
      Effect.gen(function*() {
        const flow = only(() => Effect.fail(new Bad({ n: 1 })), {
          retry: Schedule.recurs(9),
          retryWhile: () => {
            throw new Error("predicate")
          }
        })
        assert.strictEqual(yield* codeOf(Flow.run(flow, 1)), "NODE_EXCEPTION")
      }))

    it.effect("neither a validation failure nor a defect is tried again", () =>
      Effect.gen(function*() {
        const policy = { retry: Schedule.spaced("1 second") }
        const calls = { output: 0, thrown: 0, died: 0, input: 0 }
        const make = (name: keyof typeof calls, run: () => Effect.Effect<number>) =>
          Flow.make(name, [
            number(name, () => {
              calls[name]++
              return run()
            }, policy).to()
          ])
        assert.strictEqual(
          yield* codeOf(Flow.run(make("output", () => Effect.succeed("1" as never)), 1)),
          "INVALID_OUTPUT"
        )
        assert.strictEqual(yield* codeOf(Flow.run(make("died", () => Effect.die("gone")), 1)), "NODE_EXCEPTION")
        const thrown = make("thrown", () => {
          throw new Error("thrown")
        })
        assert.strictEqual(yield* codeOf(Flow.run(thrown, 1)), "NODE_EXCEPTION")
        const input = make("input", () => Effect.succeed(1))
        assert.strictEqual(yield* codeOf(Flow.run(input, "1" as never)), "INVALID_INPUT")
        assert.deepStrictEqual(calls, { output: 1, thrown: 1, died: 1, input: 0 })
      }))

    it.effect("a defect or a bad output is tried again where retryWhile asks for it", () =>
      Effect.gen(function*() {
        let calls = 0
        const flow = only(
          (n) => ++calls === 1 ? Effect.die("once") : calls === 2 ? Effect.succeed("x" as never) : Effect.succeed(n),
          { retry: Schedule.recurs(5), retryWhile: () => true }
        )
        assert.strictEqual(yield* Flow.run(flow, 4), 4)
        assert.strictEqual(calls, 3)
      }))

    it.effect("retries see the same immutable input, and what one attempt gave does not reach the next node", () =>
      Effect.gen(function*() {
        const inputs: Array<unknown> = []
        const input = { list: [1] }
        let reached = 0
        const node = Node.make("node", {
          input: Schema.Struct({ list: Schema.Array(Schema.Number) }),
          output: Schema.Number,
          policy: { retry: Schedule.recurs(2) },
          run: (value) => {
            inputs.push(value)
            return inputs.length < 3 ? Effect.fail(new Bad({ n: 0 })) : Effect.succeed(value.list.length)
          }
        })
        const next = number("next", (n) => Effect.sync(() => (reached++, n)))
        assert.strictEqual(yield* Flow.run(Flow.make("f", [node.to(next)]), input), 1)
        assert.isTrue(inputs.every((value) => value === input))
        assert.strictEqual(reached, 1)
      }))
  })

  describe("timeout", () => {
    it.effect("fails the attempt with NODE_TIMEOUT at its time, and says which node, attempt and how long", () =>
      Effect.gen(function*() {
        const fiber = yield* start(Effect.flip(Flow.run(only(() => Effect.never, { timeout: "50 millis" }), 1)))
        yield* TestClock.adjust("49 millis")
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        const error = yield* Fiber.join(fiber)
        assert.strictEqual(error.code, "NODE_TIMEOUT")
        assert.deepStrictEqual(error.reason, { _tag: "NodeTimedOut", timeoutMs: 50 })
        assert.strictEqual(error.node, "only")
        assert.strictEqual(error.attempt, 1)
        assert.include(error.message, "only")
      }))

    it.effect("is of one attempt: each retry has all of it", () =>
      Effect.gen(function*() {
        const calls: Array<number> = []
        const flow = only(() => Effect.flatMap(now, (at) => (calls.push(at), Effect.never)), {
          timeout: "50 millis",
          retry: Schedule.recurs(1)
        })
        const runtime = yield* FlowRuntime.make(flow)
        const events = yield* record(runtime)
        const fiber = yield* start(runtime.run(1))
        yield* TestClock.adjust("1 second")
        const error = yield* Effect.flip(Fiber.join(fiber))
        assert.strictEqual(error.attempt, 2)
        assert.deepStrictEqual(calls, [0, 50])
        assert.deepStrictEqual(ofNodes(yield* events.sentences), [
          "NodeStarted only 1",
          "NodeTimedOut only 1",
          "NodeRetried only 1",
          "NodeStarted only 2",
          "NodeTimedOut only 2",
          "NodeFailed only 2"
        ])
      }))

    it.effect("is told as NodeTimedOut and NodeFailed where there is no retry", () =>
      Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(only(() => Effect.never, { timeout: "50 millis" }))
        const events = yield* record(runtime)
        const fiber = yield* start(runtime.run(1))
        yield* TestClock.adjust("1 second")
        yield* Effect.flip(Fiber.join(fiber))
        assert.deepStrictEqual(ofNodes(yield* events.sentences), [
          "NodeStarted only 1",
          "NodeTimedOut only 1",
          "NodeFailed only 1"
        ])
      }))

    it.effect("does not touch a node that answers in time", () =>
      Effect.gen(function*() {
        const flow = only((n) => Effect.as(Effect.sleep("49 millis"), n), { timeout: "50 millis" })
        const fiber = yield* start(Flow.run(flow, 3))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* Fiber.join(fiber), 3)
      }))

    it.effect("a timeout that the node itself raises stays the node's own error", () =>
      Effect.gen(function*() {
        const flow = only(() => Effect.timeout(Effect.never, "10 millis"), { timeout: "1 second" })
        const fiber = yield* start(Flow.run(flow, 3))
        yield* TestClock.adjust("10 millis")
        const error = yield* Effect.flip(Fiber.join(fiber))
        assert.isTrue(Cause.isTimeoutError(error))
      }))

    it.effect("waits for the attempt's finalizers before the next attempt begins", () =>
      Effect.gen(function*() {
        const told: Array<string> = []
        const run = (_: number, { attempt }: Node.NodeContext) =>
          Effect.gen(function*() {
            told.push(`begin ${attempt} at ${yield* now}`)
            yield* Effect.acquireRelease(
              Effect.void,
              () => Effect.andThen(Effect.sleep("20 millis"), Effect.sync(() => told.push(`released ${attempt}`)))
            )
            return yield* Effect.never
          })
        const fiber = yield* start(Flow.run(only(run, { timeout: "50 millis", retry: Schedule.recurs(1) }), 1))
        yield* TestClock.adjust("1 second")
        yield* Effect.flip(Fiber.join(fiber))
        assert.deepStrictEqual(told, ["begin 1 at 0", "released 1", "begin 2 at 70", "released 2"])
      }))

    it.effect("a node that resists is left behind after interruptGrace, and NodeStuck says which", () =>
      Effect.gen(function*() {
        const flow = only(() => Effect.uninterruptible(Effect.never), { timeout: "50 millis" })
        const runtime = yield* FlowRuntime.make(flow, { interruptGrace: "2 seconds" })
        const events = yield* record(runtime)
        const fiber = yield* start(Effect.flip(runtime.run(1)))
        yield* TestClock.adjust("2049 millis")
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        assert.strictEqual((yield* Fiber.join(fiber)).code, "NODE_TIMEOUT")
        const sentences = yield* events.sentences
        assert.strictEqual(sentences.filter((line) => line === "NodeStuck only 1").length, 1)
      }))

    it.effect("where a node inside a subflow resists, NodeStuck names that node and not the subflow around it", () =>
      Effect.gen(function*() {
        const inner = Flow.make("inner", [number("deep", () => Effect.uninterruptible(Effect.never)).to()])
        const node = Node.withPolicy(Node.fromFlow(inner), { timeout: "1 second" })
        const runtime = yield* FlowRuntime.make(Flow.make("outer", [node.to()]))
        const events = yield* record(runtime)
        const fiber = yield* start(runtime.run(1))
        yield* TestClock.adjust("6 seconds")
        assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "NODE_TIMEOUT")
        const lines = yield* events.sentences
        assert.deepStrictEqual(lines.filter((line) => line.startsWith("NodeStuck")), ["NodeStuck inner/deep 1"])
      }))

    it.effect("of a subflow stops the subflow, whose finalizers run", () =>
      Effect.gen(function*() {
        let stopped = 0
        const inner = Flow.make("inner", [
          number("deep", () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++))).to()
        ])
        const node = Node.withPolicy(Node.fromFlow(inner), { timeout: "1 second" })
        const fiber = yield* start(Effect.flip(Flow.run(Flow.make("outer", [node.to()]), 1)))
        yield* TestClock.adjust("1 second")
        const error = yield* Fiber.join(fiber)
        assert.strictEqual(error.code, "NODE_TIMEOUT")
        assert.strictEqual(error.node, "inner")
        assert.strictEqual(stopped, 1)
      }))
  })

  describe("concurrency", () => {
    it.effect("without it traces never wait for one another in a node", () =>
      Effect.gen(function*() {
        const { inside, state } = gauge()
        const flow = only((n) => inside(Effect.as(Effect.sleep("20 millis"), n)))
        const runtime = yield* FlowRuntime.make(flow, { maxInFlight: 100 })
        const fiber = yield* start(Effect.forEach(Array.from({ length: 100 }, (_, i) => i), (i) => runtime.run(i), {
          concurrency: "unbounded"
        }))
        yield* TestClock.adjust("20 millis")
        assert.strictEqual((yield* Fiber.join(fiber)).length, 100)
        assert.strictEqual(state.most, 100)
      }))

    it.effect("bounds how many traces of a runtime are inside a node at once", () =>
      Effect.gen(function*() {
        const { inside, state } = gauge()
        const flow = only((n) => inside(Effect.as(Effect.sleep("20 millis"), n)), { concurrency: 3 })
        const runtime = yield* FlowRuntime.make(flow)
        const fiber = yield* start(Effect.forEach([1, 2, 3, 4, 5, 6, 7], (i) => runtime.run(i), {
          concurrency: "unbounded"
        }))
        yield* TestClock.adjust("60 millis")
        assert.deepStrictEqual(yield* Fiber.join(fiber), [1, 2, 3, 4, 5, 6, 7])
        assert.strictEqual(state.most, 3)
      }))

    it.effect("traces enter a bounded node in the order in which they came", () =>
      Effect.gen(function*() {
        const order: Array<number> = []
        const flow = only((n) => Effect.as(Effect.sleep("1 millis"), (order.push(n), n)), { concurrency: 1 })
        const runtime = yield* FlowRuntime.make(flow)
        for (let i = 0; i < 20; i++) yield* runtime.emit(i)
        yield* TestClock.adjust("20 millis")
        assert.deepStrictEqual(order, Array.from({ length: 20 }, (_, i) => i))
      }))

    it.effect("a permit is held per attempt, not while the trace waits to try again", () =>
      Effect.gen(function*() {
        let failed = false
        const flow = only(
          (n) => n === 0 && !failed ? (failed = true, Effect.fail(new Bad({ n }))) : Effect.succeed(n),
          {
            concurrency: 1,
            retry: Schedule.spaced("1 hour")
          }
        )
        const runtime = yield* FlowRuntime.make(flow)
        const first = yield* start(runtime.run(0))
        assert.strictEqual(yield* runtime.run(1), 1)
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(yield* Fiber.join(first), 0)
      }))

    it.effect("the timeout begins when the permit is there: waiting for it costs no attempt", () =>
      Effect.gen(function*() {
        const flow = only((n) => Effect.as(Effect.sleep("40 millis"), n), { concurrency: 1, timeout: "50 millis" })
        const runtime = yield* FlowRuntime.make(flow)
        const fiber = yield* start(Effect.forEach([1, 2, 3], (n) => runtime.run(n), { concurrency: "unbounded" }))
        yield* TestClock.adjust("120 millis")
        assert.deepStrictEqual(yield* Fiber.join(fiber), [1, 2, 3])
      }))

    it.effect("a trace that is cancelled while it waits for a permit leaves at once, and no permit is lost", () =>
      Effect.gen(function*() {
        const flow = only((n) => Effect.as(Effect.sleep("1 second"), n), { concurrency: 1 })
        const runtime = yield* FlowRuntime.make(flow)
        const first = yield* start(runtime.run(1))
        const second = yield* start(runtime.run(2, { traceId: "second" }))
        const third = yield* start(runtime.run(3))
        assert.isTrue(yield* runtime.cancel("second"))
        assert.strictEqual(yield* codeOf(Fiber.join(second)), "TRACE_CANCELLED")
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(yield* Fiber.join(first), 1)
        assert.strictEqual(yield* Fiber.join(third), 3)
      }))

    it.effect("a permit comes back whatever becomes of the attempt", () =>
      Effect.gen(function*() {
        const flow = only((n) => n === 0 ? Effect.die("dead") : n === 1 ? Effect.never : Effect.succeed(n), {
          concurrency: 1,
          timeout: "1 second"
        })
        const runtime = yield* FlowRuntime.make(flow)
        yield* Effect.flip(runtime.run(0))
        const fiber = yield* start(Effect.flip(runtime.run(1)))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(fiber)
        assert.strictEqual(yield* runtime.run(2), 2)
      }))

    it.effect("bounds the items of a forEach as well as the traces", () =>
      Effect.gen(function*() {
        const { inside, state } = gauge()
        const item = number("item", (n) => inside(Effect.as(Effect.sleep("10 millis"), n)), { concurrency: 2 })
        const flow = Flow.make("f", [Node.forEach(item, { concurrency: 10 }).to()])
        const fiber = yield* start(Flow.run(flow, [1, 2, 3, 4, 5, 6]))
        yield* TestClock.adjust("30 millis")
        assert.deepStrictEqual(yield* Fiber.join(fiber), [1, 2, 3, 4, 5, 6])
        assert.strictEqual(state.most, 2)
      }))
  })

  describe("validate", () => {
    const strict = Schema.String.check(Schema.isMinLength(3))
    const node = (validate: Policy.Policy["validate"]) =>
      Flow.make("v", [
        Node.make("v", {
          input: strict,
          output: strict,
          policy: { validate },
          run: (text) => Effect.succeed(text.slice(0, 2))
        }).to()
      ])
    const answer = (validate: Policy.Policy["validate"], text: string) =>
      Effect.map(
        Effect.exit(Flow.run(node(validate), text)),
        (exit) => Exit.isSuccess(exit) ? exit.value : Cause.squash(exit.cause)
      ).pipe(
        Effect.map((value) => FlowError.isFlowError(value) ? value.code : value)
      )

    it.effect("checks both sides unless the policy says one, or none", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* answer(undefined, "ab"), "INVALID_INPUT")
        assert.strictEqual(yield* answer(undefined, "abc"), "INVALID_OUTPUT")
        assert.strictEqual(yield* answer("both", "abc"), "INVALID_OUTPUT")
        assert.strictEqual(yield* answer("input", "ab"), "INVALID_INPUT")
        assert.strictEqual(yield* answer("input", "abc"), "ab")
        assert.strictEqual(yield* answer("output", "abc"), "INVALID_OUTPUT")
        assert.strictEqual(yield* answer("none", "abc"), "ab")
      }))

    it.effect("what a node that checks nothing gives is checked by the next", () =>
      Effect.gen(function*() {
        const loose = Node.make("loose", {
          input: Schema.Number,
          output: Schema.Number,
          policy: { validate: "none" },
          run: () => Effect.succeed("text" as never)
        })
        const error = yield* Effect.flip(Flow.run(Flow.make("f", [loose.to(add("next", 1))]), 1))
        assert.strictEqual(error.code, "INVALID_INPUT")
        assert.strictEqual(error.node, "next")
      }))

    it.effect("one check serves where the same schema stands on both ends of an edge", () =>
      Effect.gen(function*() {
        let checks = 0
        const counted = Schema.Number.check(Schema.makeFilter(() => {
          checks++
          return true
        }))
        const a = Node.make("a", { input: Schema.Number, output: counted, run: Effect.succeed })
        const b = Node.make("b", { input: counted, output: Schema.Number, run: Effect.succeed })
        yield* Flow.run(Flow.make("f", [a.to(b)]), 1)
        assert.strictEqual(checks, 1)
      }))
  })
})
