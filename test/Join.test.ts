import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Join, Node, Router } from "penguiflow"
import { codeOf, start } from "./utils/effects.ts"
import { add, failing, late, never, number } from "./utils/nodes.ts"

const text = <const Name extends string>(name: Name) =>
  Node.make(name, { input: Schema.Number, output: Schema.String, run: (n) => Effect.succeed(`${name} ${n}`) })

/** Runs a flow and lets time pass. */
const after = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* start(effect)
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.join(fiber)
  })

describe("Join.all", () => {
  const both = Join.all("both", { left: Schema.Number, right: Schema.String })
  const joined = (left: ReturnType<typeof number<"left">>, right = text("right")) =>
    Flow.make("f", [add("start", 0).to(left, right), left.to(both.in.left), right.to(both.in.right), both.to()])

  it.effect("waits for every named input and gives one record, whichever comes first", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Flow.run(joined(add("left", 1)), 1), { left: 2, right: "right 1" })
      assert.deepStrictEqual(yield* after(Flow.run(joined(late("left", "1 second")), 1)), { left: 1, right: "right 1" })
    }))

  it.effect("what follows the join runs once", () =>
    Effect.gen(function*() {
      let calls = 0
      const left = add("left", 1)
      const right = text("right")
      const sink = Node.make("sink", {
        input: Schema.Struct({ left: Schema.Number, right: Schema.String }),
        output: Schema.Number,
        run: () => Effect.sync(() => ++calls)
      })
      const flow = Flow.make("f", [
        add("start", 0).to(left, right),
        left.to(both.in.left),
        right.to(both.in.right),
        both.to(sink)
      ])
      assert.strictEqual(yield* Flow.run(flow, 1), 1)
    }))

  it.effect("two traces at one join never touch each other", () =>
    Effect.gen(function*() {
      const left = number("left", (n) => Effect.as(Effect.sleep(n * 10), n))
      const right = Node.make("right", {
        input: Schema.Number,
        output: Schema.String,
        run: (n) => Effect.as(Effect.sleep(100 - n * 10), `right ${n}`)
      })
      const runtime = yield* FlowRuntime.make(joined(left, right as never))
      const results = yield* after(
        Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], (n) => runtime.run(n), { concurrency: "unbounded" })
      )
      assert.deepStrictEqual(results, [1, 2, 3, 4, 5, 6, 7, 8].map((n) => ({ left: n, right: `right ${n}` })))
    }))

  it.effect("an input that gets several values pairs them first in, first out", () =>
    Effect.gen(function*() {
      const inner = Flow.make("several", [add("s", 0).to(late("c", 30), late("a", 10), late("b", 20))])
      const tagged = Flow.make("tags", [add("t", 0).to(text("x"), text("y"), text("z"))])
      const three = Node.fromFlow(inner)
      const names = Node.fromFlow(tagged)
      const flow = Flow.make("f", [
        add("start", 0).to(three, names),
        three.to(both.in.left),
        names.to(both.in.right),
        both.to()
      ])
      const runtime = yield* FlowRuntime.make(flow)
      assert.deepStrictEqual(yield* after(runtime.runAll(1)), [
        { left: 1, right: "x 1" },
        { left: 1, right: "y 1" },
        { left: 1, right: "z 1" }
      ])
      const order = Flow.make("order", [
        number("slow", () => Effect.as(Effect.sleep(20), 1)).to(both.in.left),
        number("fast", () => Effect.as(Effect.sleep(10), 2)).to(both.in.left),
        names.to(both.in.right),
        both.to()
      ])
      const error = yield* Effect.flip(after(Flow.run(order, 1)))
      assert.strictEqual(error.code, "JOIN_INCOMPLETE")
      const paired: Array<unknown> = []
      const look = Node.make("look", {
        input: Schema.Struct({ left: Schema.Number, right: Schema.String }),
        output: Schema.Number,
        run: (pair) => Effect.sync(() => paired.push(pair))
      })
      const two = Node.fromFlow(Flow.make("two", [add("t", 0).to(text("x"), text("y"))]))
      const looked = Flow.make("looked", [
        number("slow", () => Effect.as(Effect.sleep(20), 1)).to(both.in.left),
        number("fast", () => Effect.as(Effect.sleep(10), 2)).to(both.in.left),
        two.to(both.in.right),
        both.to(look)
      ])
      const lookedAt = yield* FlowRuntime.make(looked)
      yield* after(lookedAt.runAll(1))
      assert.deepStrictEqual(paired, [{ left: 2, right: "x 1" }, { left: 1, right: "y 1" }])
    }))

  it.effect("what is left over when the trace ends is JOIN_INCOMPLETE with the names of what is missing", () =>
    Effect.gen(function*() {
      const gate = Router.make("gate", { input: Schema.Number, cases: ["on"], decide: () => [] })
      const three = Join.all("three", { a: Schema.Number, b: Schema.Number, c: Schema.Number })
      const a = add("a", 0)
      const on = add("on", 0)
      const real = Flow.make("real", [
        add("start", 0).to(a, gate),
        a.to(three.in.a),
        gate.to({ on }),
        on.to(three.in.b, three.in.c),
        three.to()
      ])
      const runtime = yield* FlowRuntime.make(real)
      yield* runtime.emit(1)
      const outcome = yield* runtime.fetch
      const error = yield* Effect.flip(outcome.exit)
      assert.strictEqual(error.code, "JOIN_INCOMPLETE")
      assert.deepStrictEqual(error.reason, { _tag: "JoinIncomplete", join: "three", missing: ["b", "c"] })
      assert.include(error.message, "three")
      assert.deepStrictEqual(outcome.failedAt, { node: "three", attempt: 1 })
    }))

  it.effect("a join that nothing reached is no failure", () =>
    Effect.gen(function*() {
      const gate = Router.make("gate", { input: Schema.Number, cases: ["on"], decide: (n) => n > 0 ? "on" : [] })
      const on = add("on", 0)
      const right = text("right")
      const flow = Flow.make("f", [gate.to({ on }), on.to(both.in.left, right), right.to(both.in.right), both.to()])
      const runtime = yield* FlowRuntime.make(flow)
      assert.deepStrictEqual(yield* runtime.runAll(0), [])
      assert.deepStrictEqual(yield* runtime.runAll(3), [{ left: 3, right: "right 3" }])
    }))

  it.effect("one failed branch fails the trace, stops the siblings, and leaves nothing in the join", () =>
    Effect.gen(function*() {
      let stopped = 0
      const bad = number(
        "left",
        (n) =>
          n === 0 ? Effect.flatMap(Effect.sleep(10), () => Effect.fail({ _tag: "Oops" as const })) : Effect.succeed(n)
      )
      const slow = Node.make("right", {
        input: Schema.Number,
        output: Schema.String,
        run: (n) =>
          n === 0 ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++)) : Effect.succeed(`${n}`)
      })
      const flow = Flow.make("f", [
        add("start", 0).to(bad, slow),
        bad.to(both.in.left),
        slow.to(both.in.right),
        both.to()
      ])
      const runtime = yield* FlowRuntime.make(flow)
      const fiber = yield* start(runtime.run(0))
      yield* TestClock.adjust(10)
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "Oops")
      assert.strictEqual(stopped, 1)
      assert.strictEqual(yield* runtime.open, 0)
      assert.deepStrictEqual(yield* runtime.run(7), { left: 7, right: "7" })
    }))

  it.effect("a trace that waits at a join can be cancelled, and its id used again", () =>
    Effect.gen(function*() {
      const stuck = number("left", (n) => n === 0 ? Effect.never : Effect.succeed(n))
      const runtime = yield* FlowRuntime.make(joined(stuck))
      const fiber = yield* start(runtime.run(0, { traceId: "t" }))
      assert.isTrue(yield* runtime.cancel("t"))
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
      assert.deepStrictEqual(yield* runtime.run(1, { traceId: "t" }), { left: 1, right: "right 1" })
    }))

  it.effect("keeps the trace's headers and meta, annotations of every branch among them", () =>
    Effect.gen(function*() {
      const branch = <const Name extends string>(name: Name) =>
        number(name, (n, { annotate }) => Effect.as(annotate(name, n), n))
      const pair = Join.all("pair", { a: Schema.Number, b: Schema.Number })
      const a = branch("a")
      const b = branch("b")
      const end = Node.make("end", {
        input: Schema.Struct({ a: Schema.Number, b: Schema.Number }),
        output: Schema.Unknown,
        run: (_, { headers, meta }) => Effect.succeed({ headers, meta })
      })
      const flow = Flow.make("f", [add("s", 0).to(a, b), a.to(pair.in.a), b.to(pair.in.b), pair.to(end)])
      assert.deepStrictEqual(yield* Flow.run(flow, 1, { headers: { tenant: "acme", priority: 3 }, meta: { k: 1 } }), {
        headers: { tenant: "acme", priority: 3 },
        meta: { k: 1, a: 1, b: 1 }
      })
    }))

  it.effect("in a subflow that is visited several times each visit has a join of its own", () =>
    Effect.gen(function*() {
      const inner = joined(late("left", 10))
      const flow = Flow.make("outer", [Node.forEach(Node.fromFlow(inner), { concurrency: 4 }).to()])
      assert.deepStrictEqual(
        yield* after(Flow.run(flow, [1, 2, 3])),
        [1, 2, 3].map((n) => ({ left: n, right: `right ${n}` }))
      )
    }))

  it.effect("what does not fit an input fails the trace, naming the join", () =>
    Effect.gen(function*() {
      const loose = Node.make("left", {
        input: Schema.Number,
        output: Schema.Number,
        policy: { validate: "none" },
        run: () => Effect.succeed("text" as never)
      })
      const error = yield* Effect.flip(Flow.run(joined(loose), 1))
      assert.strictEqual(error.code, "INVALID_INPUT")
      assert.strictEqual(error.node, "both")
    }))
})

describe("Join.collect", () => {
  const collect = <const Name extends string>(name: Name, count: number) =>
    Join.collect(name, { item: Schema.Number, count })

  it.effect("gives nothing after one of two, and one list after two, in order of arrival", () =>
    Effect.gen(function*() {
      let calls = 0
      const pair = collect("pair", 2)
      const sink = Node.make("sink", {
        input: Schema.Array(Schema.Number),
        output: Schema.Array(Schema.Number),
        run: (list) => Effect.sync(() => (calls++, list))
      })
      const slow = number("slow", (n) => Effect.as(Effect.sleep("1 second"), n + 1))
      const fast = number("fast", (n) => Effect.as(Effect.sleep("10 millis"), n + 2))
      const flow = Flow.make("f", [add("s", 0).to(slow, fast), slow.to(pair), fast.to(pair), pair.to(sink)])
      const fiber = yield* start(Flow.run(flow, 0))
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(calls, 0)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [2, 1])
      assert.strictEqual(calls, 1)
    }))

  it.effect("gives again after each further count", () =>
    Effect.gen(function*() {
      const pair = collect("pair", 2)
      const rows = [1, 2, 3, 4].map((n) => number(`n${n}`, () => Effect.as(Effect.sleep(n), n)))
      const flow = Flow.make("f", [...rows.map((node) => node.to(pair)), pair.to()])
      const runtime = yield* FlowRuntime.make(flow)
      assert.deepStrictEqual(yield* after(runtime.runAll(0)), [[1, 2], [3, 4]])
    }))

  it.effect("what is left over is JOIN_INCOMPLETE, and says how many are missing", () =>
    Effect.gen(function*() {
      const pair = collect("trio", 3)
      const flow = Flow.make("f", [add("a", 0).to(pair), add("b", 0).to(pair), pair.to()])
      const error = yield* Effect.flip(Flow.run(flow, 0))
      assert.strictEqual(error.code, "JOIN_INCOMPLETE")
      assert.deepStrictEqual(error.reason, { _tag: "JoinIncomplete", join: "trio", missing: ["1 of 3 items"] })
    }))

  it.effect("a count of one gives a list for each item", () =>
    Effect.gen(function*() {
      const one = collect("one", 1)
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("a", 1).to(one), add("b", 2).to(one), one.to()]))
      assert.deepStrictEqual(yield* runtime.runAll(0), [[1], [2]])
    }))

  it.effect("as ingress and alone it waits for what can't come, and says so", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Flow.run(Flow.make("f", [collect("one", 1).to()]), 5), [5])
      assert.strictEqual(yield* codeOf(Flow.run(Flow.make("f", [collect("two", 2).to()]), 5)), "JOIN_INCOMPLETE")
    }))

  it.effect("its state belongs to the trace: what one trace left there another never sees", () =>
    Effect.gen(function*() {
      const pair = collect("pair", 2)
      const gate = Router.make("gate", { input: Schema.Number, cases: ["both"], decide: (n) => n > 0 ? "both" : [] })
      const second = add("second", 100)
      const flow = Flow.make("f", [add("s", 0).to(pair, gate), gate.to({ both: second }), second.to(pair), pair.to()])
      const runtime = yield* FlowRuntime.make(flow)
      assert.strictEqual(yield* codeOf(runtime.run(0)), "JOIN_INCOMPLETE")
      assert.deepStrictEqual(yield* runtime.run(1), [1, 101])
      const other = yield* FlowRuntime.make(flow)
      assert.deepStrictEqual(yield* other.run(2), [2, 102])
    }))

  it.effect("ten thousand items arrive in time", () =>
    Effect.gen(function*() {
      const many = collect("many", 10_000)
      const items = Node.fromFlow(
        Flow.make(
          "items",
          [Array.from({ length: 100 }, (_, i) => add(`i${i}`, i))].flatMap((row) => row.map((n) => n.to()))
        )
      )
      const hundred = Array.from({ length: 100 }, (_, i) => Node.named(items, `g${i}`))
      const flow = Flow.make("f", [...hundred.map((group) => group.to(many)), many.to()])
      const list = yield* Flow.run(flow, 0)
      assert.strictEqual((list as ReadonlyArray<number>).length, 10_000)
    }))

  it.effect("cancelling while it waits stops the branches that feed it", () =>
    Effect.gen(function*() {
      const pair = collect("pair", 2)
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("a", 0).to(pair), never("b").to(pair), pair.to()]))
      const fiber = yield* start(runtime.run(1, { traceId: "t" }))
      assert.isTrue(yield* runtime.cancel("t"))
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
    }))

  it.effect("a failed branch fails the trace instead of waiting", () =>
    Effect.gen(function*() {
      const pair = collect("pair", 2)
      assert.strictEqual(
        yield* codeOf(Flow.run(Flow.make("f", [add("a", 0).to(pair), failing("b").to(pair), pair.to()]), 1)),
        "Bad"
      )
    }))
})
