/** One message through a flow under a test's eyes, and faults put into it. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Exit, Fiber, Layer, Schedule, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowError, Join, Loop, Node, Router } from "penguiflow"
import * as FlowRewrite from "penguiflow/FlowRewrite"
import * as FlowTest from "penguiflow/testing/FlowTest"

class Busy extends Schema.TaggedError<Busy>()("Busy", { soon: Schema.Boolean }) {}
class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}
class Rate extends Context.Service<Rate, { readonly of: (n: number) => Effect.Effect<number> }>()("test/Rate") {}

const n = { input: Schema.Number, output: Schema.Number }
const inc = Node.make("inc", { ...n, run: (x) => Effect.succeed(x + 1) })
const double = Node.make("double", { ...n, run: (x) => Effect.succeed(x * 2) })
const steadfast = Node.withPolicy(inc, { retry: Schedule.recurs(3) })
const patient = Node.withPolicy(double, { retry: Schedule.exponential("1 minute").pipe(Schedule.upTo({ times: 3 })) })

const visit = (node: string, attempt = 1, end: FlowTest.Visit["end"] = "succeeded") => ({ node, attempt, end })
const failureIn = <A, E>(result: FlowTest.Result<A, E, unknown>) => Effect.flip(result.outcome.exit)

describe("FlowTest.run", () => {
  it.effect("gives the outcome, the nodes in order, the events and the parts", () =>
    Effect.gen(function*() {
      const words = Node.stream("words", {
        input: Schema.String,
        part: Schema.String,
        output: Schema.Number,
        run: (text) => Stream.fromIterable(text.split(" ")),
        collect: (parts) => parts.length
      })
      const told = Node.make("told", {
        ...n,
        part: Schema.Number,
        run: Effect.fnUntraced(function*(x, { annotate, emit }) {
          yield* annotate("seen", x)
          yield* emit(x * 10)
          return x
        })
      })
      const flow = Flow.make("counting", [words.to(told)])
      const { events, outcome, parts, path } = yield* FlowTest.run(flow, "one two", {
        traceId: "t",
        headers: { tenant: "acme" },
        meta: { who: "me" }
      })
      assert.deepStrictEqual(outcome.exit, Exit.succeed([2]))
      assert.deepStrictEqual(outcome.meta, { who: "me", seen: 2 })
      assert.strictEqual(outcome.traceId, "t")
      assert.strictEqual(outcome.headers.tenant, "acme")
      assert.deepStrictEqual(path, [visit("words"), visit("told")])
      assert.deepStrictEqual([...parts], [
        { node: "words", attempt: 1, value: "one" },
        { node: "words", attempt: 1, value: "two" },
        { node: "told", attempt: 1, value: 20 }
      ])
      assert.strictEqual(events[0]?._tag, "TraceStarted")
      assert.strictEqual(events.at(-1)?._tag, "TraceSucceeded")
      assert.lengthOf(events.filter((event) => event._tag === "PartEmitted"), 3)
    }))

  it.effect("takes no time for backoff, and says how long it would have been", () =>
    Effect.gen(function*() {
      const flow = FlowTest.failing(Flow.make("line", [inc.to(patient)]), "double", { times: 3, error: new Refused() })
      const before = performance.now()
      const { outcome, path } = yield* FlowTest.run(flow, 1)
      assert.deepStrictEqual(outcome.exit, Exit.succeed([4]))
      assert.strictEqual(outcome.durationMs, (1 + 2 + 4) * 60_000)
      assert.deepStrictEqual(path, [
        visit("inc"),
        visit("double", 1, "failed"),
        visit("double", 2, "failed"),
        visit("double", 3, "failed"),
        visit("double", 4)
      ])
      assert.isBelow(performance.now() - before, 2_000)
    }))

  it.effect("keeps to whole milliseconds, as timers do, though backoff is jittered", () =>
    Effect.gen(function*() {
      const jittered = Node.withPolicy(inc, { retry: Schedule.spaced("100 millis").pipe(Schedule.jittered) })
      const times: Array<number> = []
      const noted = FlowRewrite.around(
        Flow.make("line", [jittered.to()]),
        "inc",
        (run) => Effect.andThen(Effect.map(Clock.currentTimeMillis, (now) => times.push(now)), run)
      )
      yield* FlowTest.run(FlowTest.failing(noted, "inc", { times: 5, error: new Refused(), at: "end" }), 1)
      assert.lengthOf(times, 6)
      assert.deepStrictEqual(times.filter((time) => !Number.isInteger(time)), [])
      assert.isAbove(times[5] ?? 0, 400)
    }))

  it.effect("wakes sleepers in their order: a timeout and a deadline fire at their instant", () =>
    Effect.gen(function*() {
      const slow = FlowTest.slow(Flow.make("line", [Node.withPolicy(inc, { timeout: "1 hour" }).to()]), "inc", {
        by: "2 hours"
      })
      const late = yield* FlowTest.run(slow, 1)
      assert.deepStrictEqual(late.path, [visit("inc", 1, "timed out")])
      assert.strictEqual(late.outcome.durationMs, 3_600_000)
      const past = yield* FlowTest.run(slow, 1, { deadline: "10 minutes" })
      assert.deepStrictEqual(past.path, [visit("inc", 1, "interrupted")])
      assert.strictEqual(past.outcome.durationMs, 600_000)
      const error = yield* failureIn(past)
      assert.strictEqual(FlowError.isFlowError(error) ? error.code : "", "DEADLINE_EXCEEDED")
      const quick = yield* FlowTest.run(FlowTest.slow(Flow.make("line", [inc.to()]), inc, { by: "59 minutes" }), 1)
      assert.strictEqual(quick.outcome.durationMs, 59 * 60_000)
    }))

  it.effect("leaves the clock to the test where `advance` is 0", () =>
    Effect.gen(function*() {
      const flow = FlowTest.slow(Flow.make("line", [inc.to()]), "inc", { by: "1 minute" })
      const fiber = yield* Effect.forkChild(FlowTest.run(flow, 1, { advance: 0 }))
      yield* TestClock.adjust("59 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual((yield* Fiber.join(fiber)).outcome.exit, Exit.succeed([2]))
    }))

  it.effect("dies naming the node where a trace needs more time than `advance`", () =>
    Effect.gen(function*() {
      const flow = FlowTest.slow(Flow.make("line", [inc.to(double)]), "double", { by: "2 minutes" })
      const exit = yield* Effect.exit(FlowTest.run(flow, 1, { advance: "1 minute" }))
      assert.isTrue(Exit.hasDies(exit))
      assert.match(String(exit), /flow "line", in "double", needs more time than `advance` allows/)
    }))

  it.effect("dies naming the node where a trace waits for what no time brings", () =>
    Effect.gen(function*() {
      const flow = FlowTest.hanging(Flow.make("line", [inc.to()]), "inc")
      const exit = yield* Effect.exit(FlowTest.run(flow, 1, { patience: "50 millis" }))
      assert.match(String(exit), /flow "line", in "inc", waits for nothing that time could bring/)
    }))

  it.live("runs under the real clock, too", () =>
    Effect.gen(function*() {
      const { outcome } = yield* FlowTest.run(
        FlowTest.slow(Flow.make("line", [inc.to()]), "inc", { by: "20 millis" }),
        1
      )
      assert.deepStrictEqual(outcome.exit, Exit.succeed([2]))
      assert.isAtLeast(outcome.durationMs, 19)
    }))

  it.effect("waits for promises that time has nothing to do with", () =>
    Effect.gen(function*() {
      const real = Node.make("real", {
        ...n,
        run: (x) => Effect.promise(() => new Promise<number>((resolve) => setTimeout(() => resolve(x), 20)))
      })
      const { outcome } = yield* FlowTest.run(Flow.make("line", [real.to(double)]), 4)
      assert.deepStrictEqual(outcome.exit, Exit.succeed([8]))
    }))

  it.effect("needs the flow's services, and hands them to its nodes", () =>
    Effect.gen(function*() {
      const rated = Node.make("rated", { ...n, run: (x) => Rate.use((rate) => rate.of(x)) })
      const { outcome } = yield* FlowTest.run(Flow.make("rating", [rated.to()]), 3)
      assert.deepStrictEqual(outcome.exit, Exit.succeed([9]))
    }).pipe(Effect.provide(Layer.mock(Rate, { of: (x) => Effect.succeed(x * x) }))))

  it.effect("does not accept what is not JSON, and says so in its own error", () =>
    Effect.gen(function*() {
      const meta = { pool: new Map() } as unknown as Record<string, string>
      const error = yield* Effect.flip(FlowTest.run(Flow.make("line", [inc.to()]), 1, { meta }))
      assert.strictEqual(error.code, "INVALID_META")
    }))
})

describe("faults", () => {
  it.effect("a failing node fails with the error, which stands in the flow's type, and its retries see it", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const watched = Node.withPolicy(inc, {
        retry: Schedule.recurs(5),
        retryWhile: (error) => asked.push((error as { readonly _tag: string })._tag) < 2
      })
      const flow: Flow.Flow<"line", number, number, Busy> = FlowTest.failing(
        Flow.make("line", [watched.to()]),
        "inc",
        { times: Infinity, error: new Busy({ soon: true }) }
      )
      const result = yield* FlowTest.run(flow, 1)
      assert.strictEqual(FlowTest.attempts(result, "inc"), 2)
      assert.deepStrictEqual(asked, ["Busy", "Busy"])
      const error = yield* failureIn(result)
      assert.isTrue(error._tag === "Busy" && error.soon)
      assert.deepStrictEqual(result.outcome.failedAt, { node: "inc", attempt: 2 })
    }))

  it.effect("at the end of an attempt, a fault comes after what the node has done", () =>
    Effect.gen(function*() {
      let done = 0
      const work = Node.make("work", {
        ...n,
        policy: { retry: Schedule.recurs(3) },
        run: (x) => Effect.sync(() => (done++, x))
      })
      const flow = Flow.make("line", [work.to()])
      yield* FlowTest.run(FlowTest.failing(flow, "work", { times: 2, error: new Refused(), at: "end" }), 1)
      assert.strictEqual(done, 3)
      done = 0
      yield* FlowTest.run(FlowTest.failing(flow, "work", { times: 2, error: new Refused() }), 1)
      assert.strictEqual(done, 1)
      done = 0
      yield* FlowTest.run(flow, 1)
      assert.strictEqual(done, 1, "the given flow stays what it is")
    }))

  it.effect("a dying node is a NODE_EXCEPTION and is not retried", () =>
    Effect.gen(function*() {
      const result = yield* FlowTest.run(
        FlowTest.dying(Flow.make("line", [steadfast.to()]), "inc", { defect: new Error("a bug") }),
        1
      )
      const error = yield* failureIn(result)
      assert.strictEqual(FlowError.isFlowError(error) ? error.code : "", "NODE_EXCEPTION")
      assert.deepStrictEqual(result.path, [visit("inc", 1, "failed")])
    }))

  it.effect("a hanging node is what a timeout is for", () =>
    Effect.gen(function*() {
      const guarded = Node.withPolicy(inc, { timeout: "1 minute", retry: Schedule.recurs(2) })
      const result = yield* FlowTest.run(
        FlowTest.hanging(Flow.make("line", [guarded.to()]), "inc", { times: 2 }),
        1
      )
      assert.deepStrictEqual(result.outcome.exit, Exit.succeed([2]))
      assert.deepStrictEqual(result.path, [visit("inc", 1, "timed out"), visit("inc", 2, "timed out"), visit("inc", 3)])
      assert.strictEqual(result.outcome.durationMs, 120_000)
    }))

  it.effect("a slow node is late as often as it is told to be", () =>
    Effect.gen(function*() {
      const guarded = Node.withPolicy(inc, { timeout: "1 minute", retry: Schedule.recurs(2) })
      const flow = FlowTest.slow(Flow.make("line", [guarded.to()]), "inc", { by: "5 minutes", times: 1 })
      const result = yield* FlowTest.run(flow, 1)
      assert.deepStrictEqual(result.path, [visit("inc", 1, "timed out"), visit("inc", 2)])
    }))

  it.effect("a replaced node runs something else, under its policy and between its schemas", () =>
    Effect.gen(function*() {
      const flow = Flow.make("line", [steadfast.to(double)])
      let tries = 0
      const other = FlowTest.replace(flow, inc, (x) => ++tries < 3 ? Effect.fail(new Refused()) : Effect.succeed(x - 1))
      const result = yield* FlowTest.run(other, 10)
      assert.deepStrictEqual(result.outcome.exit, Exit.succeed([18]))
      assert.strictEqual(tries, 3)
      const byName = yield* FlowTest.run(FlowTest.replace(flow, "double", (x: number) => Effect.succeed(`${x}`)), 1)
      const error = yield* failureIn(byName)
      assert.strictEqual(FlowError.isFlowError(error) ? error.code : "", "INVALID_OUTPUT")
      // @ts-expect-error a node of numbers is replaced by one of numbers
      FlowTest.replace(flow, inc, () => Effect.succeed("text"))
    }))

  it.effect("reach into subflows, loops, routers and each item of a forEach", () =>
    Effect.gen(function*() {
      const inner = Flow.make("inner", [steadfast.to()])
      const nested = Flow.make("outer", [double.to(Node.fromFlow(inner))])
      const once = { error: new Refused() }
      for (const name of ["inner/inc", "inc"]) {
        const result = yield* FlowTest.run(FlowTest.failing(nested, name, once), 1)
        assert.deepStrictEqual(result.path.map((it) => `${it.node} ${it.attempt}`), [
          "double 1",
          "inner 1",
          "inner/inc 1",
          "inner/inc 2"
        ])
      }
      const whole = yield* FlowTest.run(FlowTest.replace(nested, Node.fromFlow(inner), () => Effect.succeed(7)), 1)
      assert.deepStrictEqual(whole.outcome.exit, Exit.succeed([7]))

      const each = Flow.make("each", [Node.forEach(steadfast, { concurrency: 1 }).to()])
      const items = yield* FlowTest.run(FlowTest.failing(each, "inc", once), [1, 2])
      assert.deepStrictEqual(items.outcome.exit, Exit.succeed([[2, 3]]))
      assert.lengthOf(items.path.filter((it) => it.end === "failed"), 2)

      const count = Loop.make("count", {
        state: Schema.Number,
        output: Schema.Number,
        maxHops: 5,
        policy: { retry: Schedule.recurs(1) },
        step: (x) => Effect.succeed(x > 1 ? Loop.done(x) : Loop.again(x + 1))
      })
      const loop = yield* FlowTest.run(FlowTest.failing(Flow.make("loop", [count.to()]), "count", once), 1)
      assert.deepStrictEqual(loop.outcome.exit, Exit.succeed([2]))
      assert.lengthOf(loop.path.filter((it) => it.end === "failed"), 2)

      const sign = Router.make("sign", {
        input: Schema.Number,
        cases: ["low", "high"],
        decide: (x) => x < 0 ? "low" : "high"
      })
      const routed = Flow.make("routed", [sign.to({ low: inc, high: double })])
      const refused = yield* FlowTest.run(FlowTest.failing(routed, sign, once), 1)
      assert.strictEqual((yield* failureIn(refused))._tag, "Refused")
      const low = yield* FlowTest.run(FlowTest.replace(routed, "sign", () => Effect.succeed("low")), 4)
      assert.deepStrictEqual(low.outcome.exit, Exit.succeed([5]))
    }))

  it.effect("counts on where a subflow is retried around the failing node", () =>
    Effect.gen(function*() {
      const inner = Node.withPolicy(Node.fromFlow(Flow.make("inner", [inc.to()])), { retry: Schedule.recurs(3) })
      const flow = FlowTest.failing(Flow.make("outer", [inner.to()]), "inner/inc", { times: 2, error: new Refused() })
      const result = yield* FlowTest.run(flow, 1)
      assert.deepStrictEqual(result.outcome.exit, Exit.succeed([2]))
      assert.strictEqual(FlowTest.attempts(result, "inner/inc"), 3)
    }))

  it.effect("leave order, joins and idempotency keys as they were", () =>
    Effect.gen(function*() {
      const keys: Array<string> = []
      const left = Node.make("left", {
        ...n,
        run: (x, { idempotencyKey }) => Effect.sync(() => (keys.push(idempotencyKey), x))
      })
      const both = Join.all("both", { a: Schema.Number, b: Schema.Number })
      const flow = Flow.make("joined", [inc.to(both.in.b), left.to(both.in.a), both.to()])
      const plain = yield* FlowTest.run(flow, 1, { traceId: "t" })
      const faulty = yield* FlowTest.run(FlowTest.slow(flow, "left", { by: "1 second" }), 1, { traceId: "t" })
      assert.deepStrictEqual(plain.outcome.exit, Exit.succeed([{ a: 1, b: 2 }]))
      assert.deepStrictEqual(faulty.outcome.exit, plain.outcome.exit)
      assert.strictEqual(keys[0], keys[1])
    }))

  it.effect("leave the order of branches and results as it was", () =>
    Effect.gen(function*() {
      const ends = ["c", "a", "b"].map((name) => Node.make(name, { ...n, run: (x) => Effect.succeed(x) }))
      const flow = Flow.make("fan", [ends[2]!.to(), inc.to(...ends.slice(0, 2))])
      const plain = yield* FlowTest.run(flow, 1)
      const faulty = yield* FlowTest.run(FlowTest.slow(flow, "inc", { by: "1 second" }), 1)
      assert.deepStrictEqual(plain.path.map((it) => it.node), ["b", "inc", "c", "a"])
      assert.deepStrictEqual(faulty.path, plain.path)
      assert.deepStrictEqual(plain.outcome.exit, Exit.succeed([1, 2, 2]))
      assert.deepStrictEqual(faulty.outcome.exit, plain.outcome.exit)
    }))

  it("a name that no node has, or that several have, is refused with those there are", () => {
    const inner = Node.fromFlow(Flow.make("inner", [inc.to()]))
    const flow = Flow.make("outer", [double.to(Node.named(inner, "first"), Node.named(inner, "second"))])
    const faultsOf = (node: string) => {
      try {
        FlowTest.dying(flow, node)
        return []
      } catch (error) {
        return FlowError.isFlowDefinitionError(error) ? error.faults : [String(error)]
      }
    }
    assert.deepStrictEqual(faultsOf("nope"), [
      `it has no node "nope": it has double, first, first/inc, second, second/inc`
    ])
    assert.deepStrictEqual(faultsOf("inc"), [`"inc" may be each of first/inc, second/inc: write the whole path`])
    assert.deepStrictEqual(faultsOf("first"), [
      "\"first\" is a flow and runs nothing of its own: name a node in it, `first/…`"
    ])
  })
})
