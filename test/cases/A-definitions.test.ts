/** Bad flow definitions. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowError, FlowObserver, FlowRuntime, Join, Loop, Node, Router } from "penguiflow"
import { endOf, faultsOf, flowOf, node, Oops, program, settle } from "./kit.ts"

const id = (name: string) => node(name, (n) => Effect.succeed(n))
const size = <const Case extends string>(name: string, cases: ReadonlyArray<Case>, decide: (n: number) => Case) =>
  Router.make(name, { input: Schema.Number, cases, decide })

describe("a flow that can't be", () => {
  it("1: without nodes is refused when it is made, in one sentence, and ends a program that doesn't catch it", async () => {
    assert.deepStrictEqual(faultsOf([]), ["it has no nodes: give at least one row, `only.to()`"])
    const { code, out } = await program(`Flow.make("nothing", [])`)
    assert.strictEqual(code, 1)
    assert.include(out, `Flow "nothing" can't be made`)
    assert.include(out, "it has no nodes")
  })

  it("2: with two nodes of one name is refused, and both places are told", () => {
    assert.deepStrictEqual(faultsOf([id("a").to(id("twin")), id("b").to(id("twin"))]), [
      "two nodes are named \"twin\" (row 1 and row 2): give one another name with Node.named"
    ])
  })

  it("3: with an edge that ends nowhere is refused, and the edge is told", () => {
    const join = Join.all("both", { x: Schema.Number })
    const faults = faultsOf([
      id("a").to(undefined as never),
      id("b").to("c" as never, null as never, {} as never),
      id("d").to(join as never),
      42,
      null
    ])
    assert.sameMembers([...faults], [
      "target 1 of \"a\" (row 1) is no node",
      "target 1 of \"b\" (row 2) is no node",
      "target 2 of \"b\" (row 2) is no node",
      "target 3 of \"b\" (row 2) is no node",
      "the edge d → both names no input of the join: write `both.in.…`",
      "row 4 is no row: write `node.to(…)`",
      "row 5 is no row: write `node.to(…)`",
      "no edge ends in both.x"
    ])
  })

  it.effect("4: with a cycle is refused with the cycle as its path, unless it bounds the hops", () =>
    Effect.gen(function*() {
      const a = id("a")
      const b = id("b")
      const rows = [id("start").to(a), a.to(b), b.to(a)]
      assert.lengthOf(faultsOf(rows), 1)
      assert.include(faultsOf(rows)[0], "a → b → a")
      const bounded = yield* Effect.exit(Flow.run(flowOf(rows, { maxHops: 1000 }), 1))
      assert.strictEqual(endOf(bounded), "HOP_BUDGET_EXHAUSTED")
      for (const maxHops of [0, -1, 1.5, Number.NaN, Infinity]) {
        assert.lengthOf(faultsOf(rows, { maxHops }), 1, String(maxHops))
      }
    }))

  it.effect("4: with a cycle that nothing else ends is ended by its deadline, and the event loop goes on meanwhile", () =>
    Effect.gen(function*() {
      const a = node("a", (n) => Effect.as(Effect.sleep(1), n))
      const exit = yield* Effect.exit(
        Flow.run(flowOf([id("start").to(a), a.to(id("b")), id("c").to(a)], { maxHops: 5 }), 1)
      ).pipe(Effect.forkChild)
      yield* TestClock.adjust(100)
      assert.strictEqual(endOf(yield* Fiber.join(exit)), "MANY_RESULTS")
      const spin = id("spin")
      const again = size("again", ["on"], () => "on")
      const spinning = flowOf([id("in").to(spin), spin.to(again), again.to({ on: spin })], {
        maxHops: Number.MAX_SAFE_INTEGER
      })
      const { code, out } = yield* Effect.promise(() =>
        program(`
          import { Router } from "penguiflow"
          const spin = node("spin", (n) => Effect.succeed(n))
          const again = Router.make("again", { input: Schema.Number, cases: ["on"], decide: () => "on" })
          const flow = Flow.make("f", [node("in", (n) => Effect.succeed(n)).to(spin), spin.to(again), again.to({ on: spin })], { maxHops: Number.MAX_SAFE_INTEGER })
          let ticks = 0
          setInterval(() => ticks++, 10).unref()
          const error = await Effect.runPromise(Effect.flip(Flow.run(flow, 1, { deadline: 1000 })))
          console.log(error.code, ticks > 3)`)
      )
      assert.strictEqual(`${code} ${out.trim()}`, "0 DEADLINE_EXCEEDED true")
      const runtime = yield* FlowRuntime.make(spinning)
      const running = yield* Effect.forkChild(Effect.exit(runtime.run(1, { traceId: "t" })))
      yield* settle()
      assert.isTrue(yield* runtime.cancel("t"))
      assert.strictEqual(endOf(yield* Fiber.join(running)), "TRACE_CANCELLED")
    }))

  it("5: with an edge from a node to itself is refused as the cycle it is", () => {
    const self = id("self")
    const faults = faultsOf([id("start").to(self), self.to(self)])
    assert.lengthOf(faults, 1)
    assert.include(faults[0], "self → self")
    assert.include(faultsOf([self.to(self)]).join(), "it has no ingress: an edge ends in every node (self)")
  })

  it("6: with nodes that no message can reach is refused, and they are told", () => {
    const x = id("x")
    const y = id("y")
    assert.include(
      faultsOf([id("a").to(id("b")), x.to(y), y.to(x)], { maxHops: 9 }).join(),
      "no ingress leads to x, y"
    )
  })

  it("6: in two parts that nothing connects is pointed out by its check", () => {
    const findings = Flow.check(flowOf([id("a").to(id("b")), id("c").to(id("d"))]))
    assert.isTrue(findings.some(({ message }) => /parts|connect/u.test(message) && message.includes("c")))
  })

  it("7: with a join without inputs, or one that collects no whole number of items, is refused", () => {
    const none = Join.all("none", {})
    assert.include(faultsOf([none.to()]).join(), "the join \"none\" has no inputs")
    for (const count of [0, -1, 1.5, Number.NaN, Infinity, "2" as never]) {
      const collect = Join.collect("collect", { item: Schema.Number, count })
      assert.deepStrictEqual(faultsOf([id("a").to(collect)]), [
        `the join "collect" collects ${count} items: it takes a whole number from 1`
      ])
    }
  })

  it.effect("7: with a join of a single input is a flow, and gives it on", () =>
    Effect.gen(function*() {
      const join = Join.all("one", { x: Schema.Number })
      assert.deepStrictEqual(yield* Flow.run(Flow.make("f", [id("a").to(join.in.x), join.to()]), 7), { x: 7 })
    }))

  it("8: that runs over items with a concurrency that is no whole number from 1 is refused", () => {
    for (const concurrency of [0, -1, 1.5, Number.NaN, Infinity, "8" as never]) {
      assert.deepStrictEqual(faultsOf([Node.forEach(id("item"), { concurrency }).to()]), [
        `Node.forEach over "item" has concurrency ${concurrency}: it takes a whole number from 1`
      ])
    }
  })

  it("9: with a policy that makes no sense is refused, every fault at once", () => {
    const policies = [
      { concurrency: 0 },
      { concurrency: -1 },
      { concurrency: 1.5 },
      { concurrency: Number.NaN },
      { concurrency: Infinity },
      { timeout: "abc" as never },
      { timeout: 0 },
      { timeout: -5 },
      { timeout: Number.NaN },
      { timeout: {} as never },
      { validate: "sometimes" as never }
    ]
    const faults = faultsOf(policies.map((policy, i) => node(`n${i}`, (n) => Effect.succeed(n), { policy }).to()))
    assert.lengthOf(faults, policies.length)
    faults.forEach((fault, i) => assert.include(fault, `"n${i}"`))
  })

  it("9: with a retry that is no Schedule, or a retryWhile that is no function, is refused", () => {
    for (const policy of [{ retry: 5 as never }, { retry: {} as never }, { retryWhile: true as never }]) {
      const faults = faultsOf([node("a", (n) => Effect.succeed(n), { policy }).to()])
      assert.lengthOf(faults, 1, JSON.stringify(policy))
      assert.include(faults[0], "\"a\"")
    }
  })

  it.effect("9: waits when its backoff overflows, instead of trying without end, and is still ended by its deadline", () =>
    Effect.gen(function*() {
      let attempts = 0
      const failing = node("a", (n) =>
        Effect.suspend(() => {
          attempts++
          return Effect.fail(new Oops({ n }))
        }), { policy: { retry: Schedule.exponential("1 milli", 1e300) } })
      const fiber = yield* Effect.forkChild(Effect.exit(Flow.run(flowOf([failing.to()]), 1, { deadline: "400 days" })))
      yield* TestClock.adjust("399 days")
      assert.isAtMost(attempts, 3)
      yield* TestClock.adjust("2 days")
      assert.strictEqual(endOf(yield* Fiber.join(fiber)), "DEADLINE_EXCEEDED")
    }))

  it.effect("9: has its loops' hops and budgets checked", () =>
    Effect.gen(function*() {
      const loop = (maxHops: number, budget?: number) =>
        Loop.make("loop", {
          state: Schema.Number,
          output: Schema.Number,
          maxHops,
          budget,
          step: (n) => Effect.succeed(Loop.done(n))
        })
      for (const maxHops of [0, -1, 1.5, Number.NaN, Infinity]) {
        assert.lengthOf(faultsOf([loop(maxHops).to()]), 1, String(maxHops))
      }
      for (const budget of [0, -1, Number.NaN]) assert.lengthOf(faultsOf([loop(1, budget).to()]), 1, String(budget))
      assert.strictEqual(yield* Flow.run(flowOf([loop(1, 0.5).to()]), 3), 3)
    }))

  it.effect("10: runs in no runtime whose bounds make no sense, and in one that is unbounded", () =>
    Effect.gen(function*() {
      const flow = flowOf([id("a").to()])
      for (const maxInFlight of [0, -1, 1.5, Number.NaN, -Infinity, "4" as never]) {
        const exit = yield* Effect.exit(FlowRuntime.make(flow, { maxInFlight }))
        assert.strictEqual(endOf(exit), "defect", String(maxInFlight))
        assert.include(
          JSON.stringify(exit, (_, v) => v instanceof Error ? v.message : v),
          `maxInFlight is ${maxInFlight}`
        )
      }
      const soon = yield* Effect.exit(FlowRuntime.make(flow, { interruptGrace: "soon" as never }))
      assert.strictEqual(endOf(soon), "defect")
      const runtime = yield* FlowRuntime.make(flow, { maxInFlight: Infinity })
      assert.strictEqual(yield* runtime.run(1), 1)
    }))

  it.effect("10: is not watched through a buffer without bounds, whatever capacity its observer asks for", () =>
    Effect.gen(function*() {
      for (const capacity of [Number.NaN, -1, 0, 1.5, "9" as never]) {
        let seen = 0
        const release = yield* Deferred.make<void>()
        const observer = () =>
          FlowObserver.layer({
            name: "odd",
            capacity,
            // Reads nothing while the flow is at work.
            observe: (events) => Effect.andThen(Deferred.await(release), Effect.sync(() => seen += events.length)),
            onLost: () => Effect.void
          })
        const made = yield* Effect.exit(Effect.suspend(() =>
          FlowRuntime.make(flowOf([id("a").to()])).pipe(
            Effect.tap((runtime) => Effect.forEach(Array.from({ length: 20_000 }, (_, i) => i), (n) => runtime.run(n))),
            Effect.tap(() => Deferred.succeed(release, undefined)),
            Effect.tap(() => settle()),
            Effect.provide(observer())
          )
        ))
        if (Exit.isSuccess(made)) assert.isBelow(seen, 80_000, `capacity ${capacity}: all events were kept`)
      }
    }))

  it.effect("11: with an edge that was forced past the compiler fails at the boundary, and names node and path", () =>
    Effect.gen(function*() {
      const gives = Node.make("gives", {
        input: Schema.Number,
        output: Schema.Struct({ x: Schema.String }),
        run: () => Effect.succeed({ x: "1" })
      })
      const takes = Node.make("takes", {
        input: Schema.Struct({ x: Schema.Number }),
        output: Schema.Number,
        run: ({ x }) => Effect.succeed(x)
      })
      const error = yield* Effect.flip(Flow.run(flowOf([gives.to(takes as never)]), 1))
      assert.strictEqual(error.code, "INVALID_INPUT")
      assert.strictEqual(error.node, "takes")
      assert.include(error.message, "[\"x\"]")
      const join = Join.all("join", { x: Schema.Number })
      const joined = yield* Effect.flip(
        Flow.run(flowOf([gives.to(join.in.x as never), join.to()]), 1)
      )
      assert.strictEqual(joined.node, "join")
      const routed = Router.tagged("route", Schema.TaggedStruct("A", {}))
      const lost = yield* Effect.flip(Flow.run(flowOf<never, { _tag: string }>([routed.to({ A: takes } as never)]), {
        _tag: "A"
      }))
      assert.strictEqual(lost.node, "takes")
    }))
})

describe("services and layers", () => {
  class Rate extends Context.Service<Rate, number>()("test/Rate") {}
  class Other extends Context.Service<Other, number>()("test/Other") {}

  it.effect("13: a service that was forced to be missing fails the trace by name, and harms no other", () =>
    Effect.gen(function*() {
      const needs = node("needs", (n) => n > 0 ? Rate.useSync((rate) => rate * n) : Effect.succeed(n))
      const runtime = yield* FlowRuntime.make(flowOf([needs.to()]))
      const error = yield* Effect.flip(runtime.run(1))
      assert.strictEqual(error.code, "NODE_EXCEPTION")
      assert.include(error.message, "test/Rate")
      assert.strictEqual(yield* runtime.run(0), 0)
    }))

  it.effect("14: a layer that can't be built fails the node with its error, and what it had acquired is released", () =>
    Effect.gen(function*() {
      let acquired = 0
      let released = 0
      const layer = Layer.effect(
        Rate,
        Effect.andThen(
          Effect.acquireRelease(Effect.sync(() => acquired++), () => Effect.sync(() => released++)),
          Effect.suspend(() => acquired < 3 ? Effect.fail(new Oops({ n: acquired })) : Effect.succeed(7))
        )
      )
      const provided = Node.provide(node("needs", () => Rate.useSync((rate) => rate)), layer)
      yield* Effect.scoped(Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(Flow.make("f", [provided.to()]))
        assert.strictEqual(endOf(yield* Effect.exit(runtime.run(1))), "Oops")
        assert.deepStrictEqual([acquired, released], [1, 1])
        assert.strictEqual(endOf(yield* Effect.exit(runtime.run(1))), "Oops")
        assert.strictEqual(yield* runtime.run(1), 7)
        assert.strictEqual(yield* runtime.run(1), 7)
        assert.deepStrictEqual([acquired, released], [3, 2])
      }))
      assert.deepStrictEqual([acquired, released], [3, 3])
    }))

  it.effect("14: a layer that dies or throws while it is built fails the trace alone", () =>
    Effect.gen(function*() {
      for (
        const make of [
          Effect.die("no"),
          Effect.sync(() => {
            throw new Error("no")
          }),
          Effect.interrupt
        ]
      ) {
        const provided = Node.provide(node("needs", () => Rate.useSync((rate) => rate)), Layer.effect(Rate, make))
        const exit = yield* Effect.exit(Flow.run(Flow.make("f", [provided.to()]), 1))
        assert.strictEqual(endOf(exit), "NODE_EXCEPTION")
      }
    }))

  it.effect("14: a layer that hangs while it is built is ended by the deadline, by cancel and by shutdown, and released", () =>
    Effect.gen(function*() {
      let released = 0
      const layer = Layer.effect(
        Rate,
        Effect.andThen(
          Effect.acquireRelease(Effect.void, () => Effect.sync(() => released++)),
          Effect.never
        )
      )
      const provided = Node.provide(node("needs", () => Rate.useSync((rate) => rate)), layer)
      const runtime = yield* FlowRuntime.make(Flow.make("f", [provided.to()]))
      const late = yield* Effect.forkChild(Effect.exit(runtime.run(1, { deadline: 50 })))
      yield* TestClock.adjust(50)
      assert.strictEqual(endOf(yield* Fiber.join(late)), "DEADLINE_EXCEEDED")
      assert.strictEqual(released, 1)
      const cancelled = yield* Effect.forkChild(Effect.exit(runtime.run(1, { traceId: "t" })), {
        startImmediately: true
      })
      assert.isTrue(yield* runtime.cancel("t"))
      assert.strictEqual(endOf(yield* Fiber.join(cancelled)), "TRACE_CANCELLED")
      const open = yield* Effect.forkChild(Effect.exit(runtime.run(1)), { startImmediately: true })
      yield* runtime.shutdown({ grace: 0 })
      assert.strictEqual(endOf(yield* Fiber.join(open)), "SHUTTING_DOWN")
      assert.strictEqual(released, 3)
    }))

  it.effect("14: a layer that hangs while it is built keeps no node waiting that needs another layer", () =>
    Effect.gen(function*() {
      const hangs = Node.provide(node("hangs", () => Rate.useSync((n) => n)), Layer.effect(Rate, Effect.never))
      const works = Node.provide(node("works", () => Other.useSync((n) => n)), Layer.succeed(Other, 5))
      const which = size("which", ["hangs", "works"], (n) => n === 1 ? "hangs" : "works")
      const runtime = yield* FlowRuntime.make(Flow.make("f", [which.to({ hangs, works })]))
      yield* Effect.forkChild(runtime.run(1, { traceId: "t" }), { startImmediately: true })
      const fiber = yield* Effect.forkChild(runtime.run(2), { startImmediately: true })
      yield* settle()
      const exit = fiber.pollUnsafe()
      yield* runtime.cancel("t")
      assert.deepStrictEqual(exit, Exit.succeed(5))
    }))

  it.effect("14: a node that stands twice, and was provided twice, has each of its layers built once", () =>
    Effect.gen(function*() {
      let built = 0
      const once = Node.provide(
        Node.provide(node("once", () => Rate.useSync((n) => n)), Layer.effect(Rate, Effect.sync(() => ++built))),
        Layer.succeed(Other, 1)
      )
      const runtime = yield* FlowRuntime.make(Flow.make("f", [once.to(Node.named(once, "again"))]))
      yield* runtime.runAll(1)
      yield* runtime.runAll(1)
      assert.strictEqual(built, 1)
    }))

  it.effect("14: a runtime's layer whose dependency can't be built fails with that cause, and starts nothing", () =>
    Effect.gen(function*() {
      let ran = 0
      const flow = Flow.make("f", [node("a", (n) => Rate.useSync((rate) => (ran++, rate + n))).to()])
      class Service extends FlowRuntime.Service<Service>()("test/Service", flow) {}
      const layer = Service.layer.pipe(Layer.provide(Layer.effect(Rate, Effect.fail(new Oops({ n: 1 })))))
      const exit = yield* Effect.exit(Effect.provide(Service.use((service) => service.run(1)), layer))
      assert.strictEqual(endOf(exit), "Oops")
      assert.strictEqual(ran, 0)
    }))
})

describe("one definition, several runs", () => {
  it.effect("15: a flow that is started twice shares neither permits nor joins nor counters between its runtimes", () =>
    Effect.gen(function*() {
      const a = node("a", (n) => Effect.as(Effect.sleep(10), n), { policy: { concurrency: 1 } })
      const b = id("b")
      const pair = Join.collect("pair", { item: Schema.Number, count: 2 })
      const flow = Flow.make("f", [a.to(b, pair), b.to(pair)], { maxHops: 3 })
      const one = yield* FlowRuntime.make(flow)
      const two = yield* FlowRuntime.make(flow)
      const fibers = yield* Effect.forEach([one, two], (runtime, i) => Effect.forkChild(runtime.run(i)))
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), [[0, 0], [1, 1]])
      assert.strictEqual((yield* one.shutdown()).drained, 0)
      const later = yield* Effect.forkChild(two.run(2))
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(yield* Fiber.join(later), [2, 2])
      assert.strictEqual(endOf(yield* Effect.exit(one.run(1))), "SHUTTING_DOWN")
    }))

  it.effect("15: a node that stands in two flows keeps them apart", () =>
    Effect.gen(function*() {
      const shared = node("shared", (n) => Effect.as(Effect.sleep(10), n), { policy: { concurrency: 1 } })
      const loop = Loop.make("loop", {
        state: Schema.Number,
        output: Schema.Number,
        maxHops: 3,
        budget: 3,
        step: (n, { hop, spend }) => Effect.as(spend(1), hop === 2 ? Loop.done(n + hop) : Loop.again(n))
      })
      const flows = [Flow.make("x", [shared.to(loop)]), Flow.make("y", [shared.to(loop)])]
      const fibers = yield* Effect.forEach(flows, (flow, i) => Effect.forkChild(Flow.run(flow, i)))
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), [2, 3])
    }))

  it("a definition error is one value that lists everything", () => {
    try {
      Flow.make("bad", [id("a").to(id("a")), Node.forEach(id("b"), { concurrency: 0 }).to()] as never)
      assert.fail("it was made")
    } catch (error) {
      assert.isTrue(FlowError.isFlowDefinitionError(error))
      assert.lengthOf((error as FlowError.FlowDefinitionError).faults, 2)
    }
  })
})
