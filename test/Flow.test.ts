import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowError, FlowRuntime, Join, Loop, Node, Router } from "penguiflow"
import { codeOf, sleeper, start } from "./utils/effects.ts"
import { add, failing, late, never, number } from "./utils/nodes.ts"

/** The faults that making a flow throws. */
const faultsOf = (make: () => unknown): ReadonlyArray<string> => {
  try {
    make()
  } catch (error) {
    if (FlowError.isFlowDefinitionError(error)) return error.faults
    throw error
  }
  return []
}

describe("Flow.make", () => {
  it("a cycle without maxHops is refused with its path, a node that follows itself too", () => {
    const a = add("a", 1)
    const b = add("b", 1)
    const [fault, ...others] = faultsOf(() => Flow.make("f", [add("in", 0).to(a), a.to(b), b.to(a)]))
    assert.include(fault, "a → b → a")
    assert.deepStrictEqual(others, [])
    const [self] = faultsOf(() => Flow.make("f", [add("in", 0).to(a), a.to(a)]))
    assert.include(self, "a → a")
  })

  it("with maxHops cycles are accepted", () => {
    const a = add("a", 1)
    const b = add("b", 1)
    assert.deepStrictEqual(faultsOf(() => Flow.make("f", [add("in", 0).to(a), a.to(b), b.to(a)], { maxHops: 3 })), [])
  })

  it("a graph in which an edge ends in every node has no ingress, and is refused", () => {
    const a = add("a", 1)
    const b = add("b", 1)
    const faults = faultsOf(() => Flow.make("f", [a.to(b), b.to(a)], { maxHops: 3 }))
    assert.isTrue(faults.some((fault) => fault.includes("no ingress")))
  })

  it("two nodes of one name are refused, the same node twice is not", () => {
    assert.isTrue(
      faultsOf(() => Flow.make("f", [add("a", 1).to(add("a", 2))])).some((fault) => fault.includes("\"a\""))
    )
    const b = add("b", 1)
    assert.deepStrictEqual(faultsOf(() => Flow.make("f", [add("a", 1).to(b), add("c", 1).to(b)])), [])
  })

  it("every fault is listed in one error, which names the flow", () => {
    const a = add("a", 1)
    const b = add("b", 1)
    const join = Join.all("join", { x: Schema.Number, y: Schema.Number })
    const lonely = add("lonely", 1)
    const rows = [
      add("in", 0).to(a, add("a", 2), join.in.x),
      a.to(b),
      b.to(a),
      lonely.to(lonely),
      number("loose", Effect.succeed, { concurrency: 0 }).to(Join.collect("none", { item: Schema.Number, count: 0 })),
      Loop.make("loop", {
        state: Schema.Number,
        output: Schema.Number,
        maxHops: 0,
        budget: -1,
        step: (n) => Effect.succeed(Loop.done(n))
      }).to()
    ]
    let thrown: unknown
    try {
      Flow.make("broken", rows as never)
    } catch (error) {
      thrown = error
    }
    assert.isTrue(FlowError.isFlowDefinitionError(thrown))
    const { faults, flow, message } = thrown as FlowError.FlowDefinitionError
    assert.strictEqual(flow, "broken")
    for (const word of ["\"a\"", "a → b → a", "join.y", "lonely", "loose", "none", "maxHops 0", "budget -1"]) {
      assert.isTrue(faults.some((fault) => fault.includes(word)), `${word} is not among\n${faults.join("\n")}`)
      assert.include(message, word)
    }
  })

  it("rows that the compiler did not see are refused in words, never a crash", () => {
    for (
      const rows of [[undefined], [null], [7], [{}], [[]], [{ from: 1 }], [add("a", 1)], [
        add("a", 1).to(undefined as never)
      ], [add("a", 1).to({ node: 1 } as never)]]
    ) {
      assert.isNotEmpty(faultsOf(() => Flow.make("f", rows as never)), JSON.stringify(rows))
    }
    assert.isNotEmpty(faultsOf(() => Flow.make("f", [])))
    const router = Router.make("r", { input: Schema.Number, cases: ["a", "b"], decide: () => "a" })
    assert.isNotEmpty(faultsOf(() => Flow.make("f", [router.to({ a: add("x", 1) } as never)])))
    assert.isNotEmpty(
      faultsOf(() => Flow.make("f", [router.to({ a: add("x", 1), b: add("y", 1), c: add("z", 1) } as never)]))
    )
    assert.isNotEmpty(faultsOf(() => Flow.make("f", [add("x", 1).to(router)])))
  })

  it("policies that make no sense are faults that name the node", () => {
    const bad = [
      { concurrency: 0 },
      { concurrency: 1.5 },
      { concurrency: Number.NaN },
      { timeout: 0 },
      { timeout: -1 },
      { timeout: Number.NaN },
      { timeout: "soon" as never },
      { validate: "some" as never }
    ]
    for (const policy of bad) {
      const faults = faultsOf(() => Flow.make("f", [number("culprit", Effect.succeed, policy).to()]))
      assert.isTrue(faults.length === 1 && faults[0]!.includes("culprit"), JSON.stringify(policy))
    }
    for (const concurrency of [0, -1, 0.5, Number.NaN]) {
      assert.isNotEmpty(faultsOf(() => Flow.make("f", [Node.forEach(add("culprit", 1), { concurrency }).to()])))
    }
    for (const count of [0, -1, 0.5]) {
      assert.isNotEmpty(faultsOf(() => Flow.make("f", [Join.collect("culprit", { item: Schema.Number, count }).to()])))
    }
  })

  it("is a value: the same flow serves any number of runs and runtimes", async () => {
    const flow = Flow.make("f", [add("a", 1).to(add("b", 1))])
    const results = await Promise.all([1, 2, 3].map((n) => Effect.runPromise(Flow.run(flow, n))))
    assert.deepStrictEqual(results, [3, 4, 5])
  })
})

describe("the graph at run time", () => {
  it.effect("a node with two successors delivers its result to both", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("a", 1).to(add("b", 10), add("c", 100))]))
      assert.deepStrictEqual(yield* runtime.runAll(1), [12, 102])
    }))

  it.effect("each of several ingress nodes gets the message", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("a", 1).to(), add("b", 2).to(), add("c", 3).to()]))
      assert.deepStrictEqual(yield* runtime.runAll(1), [2, 3, 4])
    }))

  it.effect("results stand in the order of the egress nodes' declaration, then of arrival, however long each takes", () =>
    Effect.gen(function*() {
      const slow = late("slow", "3 seconds")
      const fast = number("fast", (n) => Effect.succeed(n * 10))
      const mid = number("mid", (n) => Effect.as(Effect.sleep("1 second"), n * 100))
      const flow = Flow.make("f", [add("s", 0).to(slow, fast, mid)])
      const runtime = yield* FlowRuntime.make(flow)
      for (let i = 0; i < 3; i++) {
        const fiber = yield* start(runtime.runAll(1))
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual(yield* Fiber.join(fiber), [1, 10, 100])
      }
      const out = number("out", Effect.succeed)
      const p = number("p", () => Effect.as(Effect.sleep(20), 1))
      const q = number("q", () => Effect.as(Effect.sleep(10), 2))
      const arrival = yield* FlowRuntime.make(Flow.make("g", [add("s", 0).to(p, q), p.to(out), q.to(out)]))
      const fiber = yield* start(arrival.runAll(0))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [2, 1])
    }))

  it.effect("branches run side by side, and the first failure interrupts the others and waits for their finalizers", () =>
    Effect.gen(function*() {
      yield* sleeper
      const told: Array<string> = []
      const wait = <const Name extends string>(name: Name) =>
        number(
          name,
          () =>
            Effect.onInterrupt(Effect.never, () =>
              Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => told.push(name))))
        )
      const bad = number("bad", () => Effect.andThen(Effect.sleep("1 second"), Effect.fail({ _tag: "Oops" as const })))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("s", 0).to(wait("a"), bad, wait("b"))]))
      const fiber = yield* start(Effect.onExit(runtime.runAll(1), () => Effect.sync(() => told.push("answer"))))
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "Oops")
      assert.deepStrictEqual(told.slice(0, 2).toSorted(), ["a", "b"])
      assert.strictEqual(told[2], "answer")
    }))

  it.effect("a cycle goes round until its router leaves it, for 100 000 rounds without growing the stack", () =>
    Effect.gen(function*() {
      const step = add("step", 1)
      const more = Router.make("more", {
        input: Schema.Number,
        cases: ["again", "out"],
        decide: (n) => n < 100_000 ? "again" : "out"
      })
      const flow = Flow.make(
        "f",
        [add("in", 0).to(step), step.to(more), more.to({ again: step, out: add("out", 0) })],
        {
          maxHops: 200_000
        }
      )
      assert.strictEqual(yield* Flow.run(flow, 0), 100_000)
    }))

  it.effect("a cycle is bounded: the visit after maxHops fails with HOP_BUDGET_EXHAUSTED and names the node", () =>
    Effect.gen(function*() {
      let visits = 0
      const a = number("a", (n) => Effect.sync(() => (visits++, n)))
      const b = add("b", 0)
      const flow = Flow.make("f", [add("in", 0).to(a), a.to(b), b.to(a)], { maxHops: 5 })
      const error = yield* Effect.flip(Flow.run(flow, 1))
      assert.strictEqual(error.code, "HOP_BUDGET_EXHAUSTED")
      assert.deepStrictEqual(error.reason, { _tag: "HopsExhausted", maxHops: 5 })
      assert.strictEqual(error.node, "a")
      assert.strictEqual(visits, 5)
    }))

  it.effect("a cycle that fans out does not block itself, however much it sends", () =>
    Effect.gen(function*() {
      let visits = 0
      const grow = number("grow", (n) => Effect.sync(() => (visits++, n + 1)))
      const split = Router.make("split", {
        input: Schema.Number,
        cases: ["a", "b", "out"],
        decide: (n) => n < 10 ? ["a", "b"] : ["out"]
      })
      const a = add("a", 0)
      const b = add("b", 0)
      const flow = Flow.make("f", [
        add("in", 0).to(grow),
        grow.to(split),
        split.to({ a, b, out: add("out", 0) }),
        a.to(grow),
        b.to(grow)
      ], { maxHops: 10_000 })
      const runtime = yield* FlowRuntime.make(flow)
      assert.strictEqual((yield* runtime.runAll(0)).length, 512)
      assert.strictEqual(visits, 1023)
    }))

  it.effect("chains and fan-outs thousands of nodes long and deep take no stack", () =>
    Effect.gen(function*() {
      const chain = Array.from({ length: 5000 }, (_, i) => number(`n${i}` as string, (n) => Effect.succeed(n + 1)))
      const line = Flow.make("line", chain.slice(1).map((node, i) => chain[i]!.to(node)))
      assert.strictEqual(yield* Flow.run(line, 0), 5000)
      const ladder = Flow.make(
        "ladder",
        chain.slice(1, 2000).map((node, i) =>
          chain[i]!.to(node, number(`side${i}` as string, (n) => Effect.succeed(n)))
        )
      )
      const runtime = yield* FlowRuntime.make(ladder)
      assert.strictEqual((yield* runtime.runAll(0)).length, 2000)
      const lazy = chain.map((node, i) => number(`s${i}` as string, (n) => Effect.as(Effect.yieldNow, n + 1)))
      const slowLadder = Flow.make(
        "slowLadder",
        lazy.slice(1, 500).map((node, i) =>
          lazy[i]!.to(node, number(`t${i}` as string, (n) => Effect.as(Effect.yieldNow, n)))
        )
      )
      const slow = yield* FlowRuntime.make(slowLadder)
      assert.strictEqual((yield* slow.runAll(0)).length, 500)
      const wide = Flow.make("wide", [
        add("s", 0).to(...Array.from({ length: 5000 }, (_, i) => add(`w${i}` as string, i)))
      ])
      const wideRuntime = yield* FlowRuntime.make(wide)
      assert.strictEqual((yield* wideRuntime.runAll(0)).length, 5000)
    }))
})

describe("Flow.run", () => {
  it.effect("takes its services from the caller", () =>
    Effect.gen(function*() {
      class Factor extends Context.Service<Factor, number>()("test/Factor") {}
      const flow = Flow.make("f", [number("n", (n) => Factor.useSync((f) => n * f)).to()])
      assert.strictEqual(yield* Effect.provideService(Flow.run(flow, 2), Factor, 21), 42)
    }))

  it.effect("says NO_RESULT or MANY_RESULTS where it is not one", () =>
    Effect.gen(function*() {
      const drop = Router.make("drop", { input: Schema.Number, cases: ["x"], decide: () => [] })
      assert.strictEqual(yield* codeOf(Flow.run(Flow.make("f", [drop.to({ x: add("x", 1) })]), 1)), "NO_RESULT")
      const error = yield* Effect.flip(Flow.run(Flow.make("f", [add("s", 0).to(add("a", 1), add("b", 1))]), 1))
      assert.deepStrictEqual(error.reason, { _tag: "ManyResults", count: 2 })
    }))

  it.effect("interrupting the caller stops the node and waits for its finalizers", () =>
    Effect.gen(function*() {
      yield* sleeper
      let released = false
      const flow = Flow.make("f", [
        number("n", () =>
          Effect.onInterrupt(Effect.never, () =>
            Effect.andThen(
              Effect.sleep("1 second"),
              Effect.sync(() => released = true)
            ))).to()
      ])
      const fiber = yield* start(Flow.run(flow, 1))
      const interrupting = yield* start(Fiber.interrupt(fiber))
      assert.isUndefined(interrupting.pollUnsafe())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(interrupting)
      assert.isTrue(released)
    }))

  it.effect("ends at its deadline, and says when that was", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("10 seconds")
      const fiber = yield* start(Effect.flip(Flow.run(Flow.make("f", [never("n").to()]), 1, { deadline: "1 second" })))
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(fiber)
      assert.deepStrictEqual(error.reason, { _tag: "DeadlineExceeded", deadline: 11_000 })
    }))

  it.effect("a deadline without end, of no sense, or already past: none, or DEADLINE_EXCEEDED before anything runs", () =>
    Effect.gen(function*() {
      let calls = 0
      const flow = Flow.make("f", [number("n", (n) => Effect.sync(() => (calls++, n))).to()])
      assert.strictEqual(yield* Flow.run(flow, 1, { deadline: Infinity }), 1)
      for (const deadline of [0, -5, Number.NaN, "soon" as never]) {
        assert.strictEqual(yield* codeOf(Flow.run(flow, 1, { deadline })), "DEADLINE_EXCEEDED")
      }
      assert.strictEqual(calls, 1)
    }))

  it.effect("in an uninterruptible caller the trace itself still ends at its deadline", () =>
    Effect.gen(function*() {
      const fiber = yield* start(
        Effect.uninterruptible(Flow.run(Flow.make("f", [never("n").to()]), 1, { deadline: "1 second" }))
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "DEADLINE_EXCEEDED")
    }))

  it.effect("a flow that fails in several branches at once has one error", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(
        Flow.run(Flow.make("f", [add("s", 0).to(failing("a"), failing("b"), failing("c"))]), 1)
      )
      assert.isTrue(Exit.isFailure(exit) && exit.cause.reasons.length === 1)
    }))

  it.effect("runs inside a node of another flow, and inside one of its own", () =>
    Effect.gen(function*() {
      const inner = Flow.make("inner", [add("n", 1).to()])
      const outer = Flow.make("outer", [
        number("n", (n) => Flow.run(inner, n), { retry: Schedule.recurs(1) }).to()
      ])
      assert.strictEqual(yield* Flow.run(outer, 1), 2)
      const down: Flow.Flow<"down", number, number, FlowError.FlowError> = Flow.make("down", [
        number("n", (n): Effect.Effect<number, FlowError.FlowError> =>
          n === 0 ? Effect.succeed(0) : Flow.run(down, n - 1)).to()
      ])
      assert.strictEqual(yield* Flow.run(down, 50), 0)
    }))
})
