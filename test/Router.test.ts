import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Node, Router } from "penguiflow"
import { codeOf, start } from "./utils/effects.ts"
import { add, Bad, number } from "./utils/nodes.ts"

const Card = Schema.TaggedStruct("Card", { number: Schema.String })
const Cash = Schema.TaggedStruct("Cash", { amount: Schema.Number })
const Payment = Schema.Union([Card, Cash])

describe("Router.tagged", () => {
  const seen: Array<unknown> = []
  const card = Node.make("card", {
    input: Card,
    output: Schema.String,
    run: (c) => Effect.sync(() => (seen.push(c), c.number))
  })
  const cash = Node.make("cash", { input: Cash, output: Schema.String, run: (c) => Effect.succeed(`${c.amount}`) })
  const flow = Flow.make("pay", [Router.tagged("payment", Payment).to({ Card: card, Cash: cash })])

  it.effect("sends each variant, unchanged, to the target of its tag", () =>
    Effect.gen(function*() {
      const value = { _tag: "Card", number: "4242" } as const
      assert.strictEqual(yield* Flow.run(flow, value), "4242")
      assert.strictEqual(seen.at(-1), value)
      assert.strictEqual(yield* Flow.run(flow, { _tag: "Cash", amount: 5 }), "5")
    }))

  it.effect("refuses a value whose tag it does not know before any target runs", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Flow.run(flow, { _tag: "Cheque", number: "1" } as never))
      assert.strictEqual(error.code, "INVALID_INPUT")
      assert.strictEqual(error.node, "payment")
    }))

  it.effect("tags named like the methods of an object are tags like any other", () =>
    Effect.gen(function*() {
      const A = Schema.TaggedStruct("constructor", {})
      const B = Schema.TaggedStruct("toString", {})
      const a = Node.make("a", { input: A, output: Schema.String, run: () => Effect.succeed("a") })
      const b = Node.make("b", { input: B, output: Schema.String, run: () => Effect.succeed("b") })
      const flow = Flow.make("f", [Router.tagged("r", Schema.Union([A, B])).to({ constructor: a, toString: b })])
      assert.strictEqual(yield* Flow.run(flow, { _tag: "constructor" }), "a")
      assert.strictEqual(yield* Flow.run(flow, { _tag: "toString" }), "b")
    }))
})

describe("Router.make", () => {
  const routed = <E extends { readonly _tag: string } = never, R = never>(
    decide: (n: number, context: Node.NodeContext) =>
      | "a"
      | "b"
      | ReadonlyArray<"a" | "b">
      | Effect.Effect<"a" | "b" | ReadonlyArray<"a" | "b">, E, R>
  ) => {
    const router = Router.make("router", { input: Schema.Number, cases: ["a", "b"], decide })
    return Flow.make("routed", [router.to({ a: add("toA", 10), b: add("toB", 20) })])
  }

  it.effect("a case is sent to its target alone", () =>
    Effect.gen(function*() {
      const flow = routed((n) => n > 0 ? "a" : "b")
      assert.strictEqual(yield* Flow.run(flow, 1), 11)
      assert.strictEqual(yield* Flow.run(flow, 0), 20)
    }))

  it.effect("several cases are sent to each of their targets", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(routed(() => ["b", "a"]))
      assert.deepStrictEqual(yield* runtime.runAll(1), [11, 21])
    }))

  it.effect("no case ends the branch: the trace succeeds and gives no result", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(routed(() => []))
      assert.deepStrictEqual(yield* runtime.runAll(1), [])
      assert.strictEqual(yield* codeOf(runtime.run(1)), "NO_RESULT")
      yield* runtime.emit(1)
      const outcome = yield* runtime.fetch
      assert.deepStrictEqual(yield* outcome.exit, [])
    }))

  it.effect("the decision may be an effect, and a routing policy a service: one flow, two policies, two ways", () =>
    Effect.gen(function*() {
      class Routing extends Context.Service<Routing, (tenant: string) => "a" | "b">()("test/Routing") {}
      const flow = routed((_, { headers }) => Routing.useSync((route) => route(headers.tenant)))
      const run = Flow.run(flow, 1, { headers: { tenant: "acme" } })
      assert.strictEqual(yield* Effect.provideService(run, Routing, (tenant) => tenant === "acme" ? "a" : "b"), 11)
      assert.strictEqual(yield* Effect.provideService(run, Routing, () => "b"), 21)
    }))

  it.effect("a policy that changes while the runtime runs is asked anew for each message, and may have a default", () =>
    Effect.gen(function*() {
      const ways = new Map<string, "a" | "b">()
      const runtime = yield* FlowRuntime.make(
        routed((_, { headers }) => Effect.sync(() => ways.get(headers.topic ?? "") ?? "b"))
      )
      const run = runtime.run(1, { headers: { topic: "birds" } })
      assert.strictEqual(yield* run, 21)
      ways.set("birds", "a")
      assert.strictEqual(yield* run, 11)
      assert.strictEqual(yield* runtime.run(1), 21)
    }))

  it.effect("knows the trace, its own name and what it decides about", () =>
    Effect.gen(function*() {
      let seen: unknown
      const flow = routed((n, { meta, node, traceId }) => {
        seen = [n, node, traceId, meta]
        return "a"
      })
      yield* Flow.run(flow, 7, { traceId: "t", meta: { k: 1 } })
      assert.deepStrictEqual(seen, [7, "router", "t", { k: 1 }])
    }))

  it.effect("an error of the decision is the flow's, a throw is a defect of the router", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* codeOf(Flow.run(routed(() => Effect.fail(new Bad({ n: 1 }))), 1)), "Bad")
      const error = yield* Effect.flip(Flow.run(
        routed(() => {
          throw new Error("undecided")
        }),
        1
      ))
      assert.strictEqual(error.code, "NODE_EXCEPTION")
      assert.strictEqual(error.node, "router")
    }))

  it.effect("a case that was not declared is a defect that names router and cases, wherever it stands", () =>
    Effect.gen(function*() {
      for (const decision of ["c", ["a", "c"], [undefined, "a"], undefined, null, ["a", null], 7, "constructor"]) {
        const error = yield* Effect.flip(Flow.run(routed(() => decision as never), 1))
        assert.strictEqual(error.code, "NODE_EXCEPTION")
        assert.strictEqual(error.node, "router")
        assert.include(error.message, "a, b")
      }
    }))

  it.effect("a decision that takes time can be cancelled", () =>
    Effect.gen(function*() {
      let stopped = 0
      const flow = routed(() => Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++)))
      const runtime = yield* FlowRuntime.make(flow)
      const fiber = yield* start(runtime.run(1, { traceId: "t" }))
      assert.isTrue(yield* runtime.cancel("t"))
      assert.strictEqual(stopped, 1)
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
    }))

  it.effect("as ingress it decides about the message itself, and two routers in a row both decide", () =>
    Effect.gen(function*() {
      const sign = Router.make("sign", {
        input: Schema.Number,
        cases: ["plus", "minus"],
        decide: (n) => n < 0 ? "minus" : "plus"
      })
      const size = Router.make("size", {
        input: Schema.Number,
        cases: ["big", "small"],
        decide: (n) => n > 9 ? "big" : "small"
      })
      const flow = Flow.make("f", [
        sign.to({ plus: size, minus: add("negative", 0) }),
        size.to({ big: add("big", 1000), small: add("small", 1) })
      ])
      assert.strictEqual(yield* Flow.run(flow, 10), 1010)
      assert.strictEqual(yield* Flow.run(flow, 1), 2)
      assert.strictEqual(yield* Flow.run(flow, -1), -1)
    }))

  it.effect("two cases may lead to one target: it runs once for each", () =>
    Effect.gen(function*() {
      const keys: Array<string> = []
      const target = number("target", (n, { idempotencyKey }) => Effect.sync(() => (keys.push(idempotencyKey), n)))
      const router = Router.make("router", { input: Schema.Number, cases: ["a", "b"], decide: () => ["a", "b"] })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [router.to({ a: target, b: target })]))
      assert.deepStrictEqual(yield* runtime.runAll(1), [1, 1])
      assert.strictEqual(new Set(keys).size, 2)
    }))

  it.effect("the branches of several cases run side by side", () =>
    Effect.gen(function*() {
      const router = Router.make("router", { input: Schema.Number, cases: ["a", "b"], decide: () => ["a", "b"] })
      const wait = <const Name extends string>(name: Name) =>
        number(name, (n) => Effect.as(Effect.sleep("1 second"), n))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [router.to({ a: wait("x"), b: wait("y") })]))
      const fiber = yield* start(runtime.runAll(1))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [1, 1])
    }))
})
