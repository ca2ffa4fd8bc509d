import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Join, Loop, Node, Router } from "penguiflow"
import { codeOf, start } from "./utils/effects.ts"
import { add, Bad, never, number } from "./utils/nodes.ts"

/** A node that writes down its key. */
const keyed = <const Name extends string>(name: Name, keys: Array<string>) =>
  number(name, (n, { idempotencyKey }) => Effect.sync(() => (keys.push(idempotencyKey), n)))

const distinct = (keys: ReadonlyArray<string>) => assert.strictEqual(new Set(keys).size, keys.length, keys.join("\n"))

describe("idempotencyKey", () => {
  it.effect("is the same on every retry, and on a second run with the same trace id", () =>
    Effect.gen(function*() {
      const keys: Array<string> = []
      const node = number(
        "node",
        (n, { attempt, idempotencyKey }) =>
          Effect.suspend(() => {
            keys.push(idempotencyKey)
            return attempt < 3 ? Effect.fail(new Bad({ n })) : Effect.succeed(n)
          }),
        { retry: Schedule.recurs(2) }
      )
      const flow = Flow.make("f", [add("a", 1).to(node, add("b", 1))])
      const runtime = yield* FlowRuntime.make(flow)
      yield* runtime.runAll(1, { traceId: "t" })
      yield* runtime.runAll(1, { traceId: "t" })
      const other = yield* FlowRuntime.make(flow)
      yield* other.runAll(1, { traceId: "t" })
      assert.strictEqual(keys.length, 9)
      assert.strictEqual(new Set(keys).size, 1)
    }))

  it.effect("differs between traces and between nodes", () =>
    Effect.gen(function*() {
      const keys: Array<string> = []
      const flow = Flow.make("f", [keyed("a", keys).to(keyed("b", keys))])
      yield* Flow.run(flow, 1, { traceId: "t" })
      yield* Flow.run(flow, 1, { traceId: "u" })
      assert.strictEqual(keys.length, 4)
      distinct(keys)
    }))

  it.effect("differs between flows that share a trace id and a node", () =>
    Effect.gen(function*() {
      const keys: Array<string> = []
      for (const name of ["f", "g"]) yield* Flow.run(Flow.make(name, [keyed("a", keys).to()]), 1, { traceId: "t" })
      assert.strictEqual(keys.length, 2)
      distinct(keys)
    }))

  it.effect("differs between names that only look alike once they are put together", () =>
    Effect.gen(function*() {
      const keys: Array<string> = []
      const names = ["f", "f/t", "f%2Ft", "t", "t/a", "a"]
      for (const name of names) {
        const flow = Flow.make(name, [keyed("a", keys).to(Node.fromFlow(Flow.make("t", [keyed("a", keys).to()])))])
        for (const traceId of names) yield* Flow.run(flow, 1, { traceId })
      }
      assert.strictEqual(keys.length, 72)
      distinct(keys)
    }))

  it.effect("differs between the items of a forEach, nested ones too, and is the same for the same item again", () =>
    Effect.gen(function*() {
      const keys: Array<string> = []
      const inner = Node.forEach(keyed("item", keys), { concurrency: 4 })
      const flow = Flow.make("f", [Node.forEach(inner, { concurrency: 4 }).to()])
      const rows = Array.from({ length: 200 }, () => Array.from({ length: 200 }, (_, i) => i))
      yield* Flow.run(flow, rows, { traceId: "t" })
      assert.strictEqual(keys.length, 40_000)
      distinct(keys)
      const first = keys.splice(0)
      yield* Flow.run(flow, rows, { traceId: "t" })
      assert.deepStrictEqual(keys, first)
    }))

  it.effect("differs between the hops of a loop and between the rounds of a cycle", () =>
    Effect.gen(function*() {
      const hops: Array<string> = []
      const loop = Loop.make("loop", {
        state: Schema.Number,
        output: Schema.Number,
        maxHops: 100,
        step: (n, { idempotencyKey }) =>
          Effect.sync(() => (hops.push(idempotencyKey), n < 50 ? Loop.again(n + 1) : Loop.done(n)))
      })
      yield* Flow.run(Flow.make("loops", [loop.to()]), 0)
      assert.strictEqual(hops.length, 51)
      distinct(hops)
      const rounds: Array<string> = []
      const step = number("step", (n, { idempotencyKey }) => Effect.sync(() => (rounds.push(idempotencyKey), n + 1)))
      const more = Router.make("more", {
        input: Schema.Number,
        cases: ["again", "enough"],
        decide: (n) => n < 50 ? "again" : "enough"
      })
      const cycle = Flow.make("cycle", [
        add("in", 0).to(step),
        step.to(more),
        more.to({ again: step, enough: add("out", 0) })
      ], {
        maxHops: 100
      })
      yield* Flow.run(cycle, 0)
      assert.strictEqual(rounds.length, 50)
      distinct(rounds)
    }))

  it.effect("differs between the ways that lead to one node", () =>
    Effect.gen(function*() {
      const keys: Array<string> = []
      const last = keyed("last", keys)
      const a = add("a", 1)
      const b = add("b", 2)
      const c = add("c", 3)
      const d = add("d", 4)
      const flow = Flow.make("f", [add("s", 0).to(a, b), a.to(c, d), b.to(c, d), c.to(last), d.to(last)])
      const runtime = yield* FlowRuntime.make(flow)
      yield* runtime.runAll(0)
      assert.strictEqual(keys.length, 4)
      distinct(keys)
    }))

  it.effect("differs between the results that a subflow sends on", () =>
    Effect.gen(function*() {
      const keys: Array<string> = []
      const inner = Flow.make("inner", [add("s", 0).to(add("a", 1), add("b", 2), add("c", 3))])
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [Node.fromFlow(inner).to(keyed("x", keys), keyed("y", keys))])
      )
      yield* runtime.runAll(0)
      assert.strictEqual(keys.length, 6)
      distinct(keys)
    }))

  it.effect("does not depend on the order in which branches arrive", () =>
    Effect.gen(function*() {
      const seen = (delays: readonly [number, number]) =>
        Effect.gen(function*() {
          const keys = new Map<unknown, string>()
          const branch = <const Name extends string>(name: Name, at: 0 | 1) =>
            number(name, () => Effect.as(Effect.sleep(delays[at]), at))
          const write = <const Name extends string>(name: Name) =>
            number(name, (n, { idempotencyKey }) => Effect.sync(() => (keys.set(`${name} ${n}`, idempotencyKey), n)))
          const p = branch("p", 0)
          const q = branch("q", 1)
          const direct = write("direct")
          const flow = Flow.make("f", [add("s", 0).to(p, q), p.to(direct), q.to(direct)])
          const runtime = yield* FlowRuntime.make(flow)
          const fiber = yield* start(runtime.runAll(0, { traceId: "t" }))
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(fiber)
          return [...keys].sort()
        })
      assert.deepStrictEqual(yield* seen([10, 20]), yield* seen([20, 10]))
    }))

  it.effect("does not depend on the order in which a collect is filled", () =>
    Effect.gen(function*() {
      const seen = (delays: readonly [number, number]) =>
        Effect.gen(function*() {
          let key = ""
          const p = number("p", (n) => Effect.as(Effect.sleep(delays[0]), n))
          const q = number("q", (n) => Effect.as(Effect.sleep(delays[1]), n))
          const pair = Join.collect("pair", { item: Schema.Number, count: 2 })
          const last = Node.make("last", {
            input: Schema.Array(Schema.Number),
            output: Schema.Number,
            run: (_, { idempotencyKey }) => Effect.sync(() => (key = idempotencyKey, 1))
          })
          const flow = Flow.make("f", [add("s", 0).to(p, q), p.to(pair), q.to(pair), pair.to(last)])
          const runtime = yield* FlowRuntime.make(flow)
          const fiber = yield* start(runtime.runAll(0, { traceId: "t" }))
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(fiber)
          return key
        })
      assert.strictEqual(yield* seen([10, 20]), yield* seen([20, 10]))
    }))

  it.effect("does not depend on the order in which a subflow's results arrive at one egress", () =>
    Effect.gen(function*() {
      const seen = (delays: readonly [number, number]) =>
        Effect.gen(function*() {
          const keys = new Map<number, string>()
          const p = number("p", () => Effect.as(Effect.sleep(delays[0]), 1))
          const q = number("q", () => Effect.as(Effect.sleep(delays[1]), 2))
          const out = add("out", 0)
          const inner = Flow.make("inner", [add("s", 0).to(p, q), p.to(out), q.to(out)])
          const write = number("write", (n, { idempotencyKey }) => Effect.sync(() => (keys.set(n, idempotencyKey), n)))
          const runtime = yield* FlowRuntime.make(Flow.make("outer", [Node.fromFlow(inner).to(write)]))
          const fiber = yield* start(runtime.runAll(0, { traceId: "t" }))
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(fiber)
          distinct([...keys.values()])
          return [keys.get(1), keys.get(2)]
        })
      assert.deepStrictEqual(yield* seen([10, 20]), yield* seen([20, 10]))
    }))

  it.effect("is the same when a subflow is tried again as a whole", () =>
    Effect.gen(function*() {
      const keys: Array<string> = []
      let calls = 0
      const inner = Flow.make("inner", [
        keyed("a", keys).to(number("b", (n) => ++calls < 3 ? Effect.fail(new Bad({ n })) : Effect.succeed(n)))
      ])
      yield* Flow.run(Flow.make("f", [Node.withPolicy(Node.fromFlow(inner), { retry: Schedule.recurs(2) }).to()]), 1)
      assert.strictEqual(keys.length, 3)
      assert.strictEqual(new Set(keys).size, 1)
    }))
})

describe("annotate", () => {
  const annotating = <const Name extends string>(name: Name, key: string, value: Schema.Json) =>
    number(name, (n, { annotate }) => Effect.as(annotate(key, value), n))

  it.effect("what one node adds the next ones and the outcome see, beside what the caller gave", () =>
    Effect.gen(function*() {
      const metas: Array<unknown> = []
      const read = number("read", (n, context) => Effect.sync(() => (metas.push(context.meta), n)))
      const flow = Flow.make("f", [annotating("write", "cost", { eur: 3 }).to(read)])
      const runtime = yield* FlowRuntime.make(flow)
      yield* runtime.emit(1, { meta: { city: "Oslo" } })
      const { meta } = yield* runtime.fetch
      assert.deepStrictEqual(meta, { city: "Oslo", cost: { eur: 3 } })
      assert.deepStrictEqual(metas, [meta])
    }))

  it.effect("never changes the meta object that the caller gave, nor another trace's", () =>
    Effect.gen(function*() {
      const given = { city: "Oslo" }
      const runtime = yield* FlowRuntime.make(Flow.make("f", [annotating("write", "city", "Rome").to()]))
      yield* runtime.emit(1, { meta: given })
      yield* runtime.emit(1)
      assert.deepStrictEqual((yield* runtime.fetch).meta, { city: "Rome" })
      assert.deepStrictEqual((yield* runtime.fetch).meta, { city: "Rome" })
      assert.deepStrictEqual(given, { city: "Oslo" })
    }))

  it.effect("branches that run side by side keep one another's annotations", () =>
    Effect.gen(function*() {
      const later = <const Name extends string>(name: Name) =>
        number(name, (n, { annotate }) => Effect.andThen(Effect.sleep("1 second"), Effect.as(annotate(name, n), n)))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("s", 0).to(later("a"), later("b"))]))
      yield* runtime.emit(1)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual((yield* runtime.fetch).meta, { a: 1, b: 1 })
    }))

  it.effect("an outcome of a failed trace has what was annotated before it failed", () =>
    Effect.gen(function*() {
      const flow = Flow.make("f", [annotating("write", "k", 1).to(number("bad", (n) => Effect.fail(new Bad({ n }))))])
      const runtime = yield* FlowRuntime.make(flow)
      yield* runtime.emit(1)
      assert.deepStrictEqual((yield* runtime.fetch).meta, { k: 1 })
    }))

  it.effect("a value that is not JSON is a defect of the node that names the key", () =>
    Effect.gen(function*() {
      const cyclic: { self?: unknown } = {}
      cyclic.self = cyclic
      const values = [new Map(), Number.NaN, undefined, () => 1, 1n, Symbol("s"), new Date(0), cyclic, {
        deep: [new Set()]
      }]
      for (const value of values) {
        const flow = Flow.make("f", [annotating("write", "pool", value as never).to()])
        const error = yield* Effect.flip(Flow.run(flow, 1))
        assert.strictEqual(error.code, "NODE_EXCEPTION")
        assert.strictEqual(error.node, "write")
        assert.include(error.message, "pool")
      }
    }))

  it.effect("a key like __proto__ is a key like any other", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [annotating("write", "__proto__", { polluted: true }).to()])
      )
      yield* runtime.emit(1)
      const { meta } = yield* runtime.fetch
      assert.deepStrictEqual(Object.keys(meta), ["__proto__"])
      assert.isUndefined(({} as { polluted?: boolean }).polluted)
      assert.isUndefined((meta as { polluted?: boolean }).polluted)
    }))
})

describe("Node.provide", () => {
  class Pool extends Context.Service<Pool, { readonly id: number }>()("test/Pool") {}
  const using = <const Name extends string>(name: Name) =>
    number(name, (n) => Pool.useSync((pool) => n * 100 + pool.id))
  /** A layer that counts, and takes a while. */
  const counted = (acquire: (n: number) => Effect.Effect<void, Bad> = () => Effect.void) => {
    const state = { built: 0, released: 0 }
    const layer = Layer.effect(
      Pool,
      Effect.acquireRelease(
        Effect.suspend(() => {
          const id = ++state.built
          return Effect.as(acquire(id), { id })
        }),
        () => Effect.sync(() => state.released++)
      )
    )
    return { layer, state }
  }

  it.effect("builds the layer when the node first runs, once per runtime, and releases it when the runtime ends", () =>
    Effect.gen(function*() {
      const { layer, state } = counted()
      const flow = Flow.make("f", [Node.provide(using("n"), layer).to()])
      yield* Effect.scoped(Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(flow)
        assert.strictEqual(state.built, 0)
        assert.strictEqual(yield* runtime.run(1), 101)
        assert.strictEqual(yield* runtime.run(2), 201)
        assert.deepStrictEqual(state, { built: 1, released: 0 })
        yield* runtime.shutdown()
        assert.deepStrictEqual(state, { built: 1, released: 1 })
      }))
      const other = yield* FlowRuntime.make(flow)
      assert.strictEqual(yield* other.run(1), 102)
    }))

  it.effect("Flow.run builds it for its one message and releases it after it, whatever becomes of it", () =>
    Effect.gen(function*() {
      const { layer, state } = counted()
      const flow = Flow.make("f", [
        Node.provide(using("n"), layer).to(
          number("bad", (n) => n > 200 ? Effect.fail(new Bad({ n })) : Effect.succeed(n))
        )
      ])
      yield* Flow.run(flow, 1)
      assert.deepStrictEqual(state, { built: 1, released: 1 })
      yield* Effect.flip(Flow.run(flow, 9))
      assert.deepStrictEqual(state, { built: 2, released: 2 })
      const stuck = Flow.make("g", [Node.provide(using("n"), layer).to(never("wait"))])
      const fiber = yield* start(Flow.run(stuck, 1))
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(state, { built: 3, released: 3 })
    }))

  it.effect("visits that begin while it is being built wait for that one build", () =>
    Effect.gen(function*() {
      const { layer, state } = counted(() => Effect.sleep("1 second"))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [Node.provide(using("n"), layer).to()]))
      const fiber = yield* start(Effect.forEach([1, 2, 3], (n) => runtime.run(n), { concurrency: "unbounded" }))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [101, 201, 301])
      assert.strictEqual(state.built, 1)
    }))

  it.effect("a failed build is the node's error, and the next visit tries again", () =>
    Effect.gen(function*() {
      const { layer, state } = counted((n) => n === 1 ? Effect.fail(new Bad({ n })) : Effect.void)
      const runtime = yield* FlowRuntime.make(Flow.make("f", [Node.provide(using("n"), layer).to()]))
      assert.strictEqual(yield* codeOf(runtime.run(1)), "Bad")
      assert.strictEqual(yield* runtime.run(1), 102)
      assert.strictEqual(state.built, 2)
    }))

  it.effect("a failed build is retried by the node's policy", () =>
    Effect.gen(function*() {
      const { layer } = counted((n) => n < 3 ? Effect.fail(new Bad({ n })) : Effect.void)
      const node = Node.withPolicy(Node.provide(using("n"), layer), { retry: Schedule.recurs(2) })
      assert.strictEqual(yield* Flow.run(Flow.make("f", [node.to()]), 1), 103)
    }))

  it.effect("cancelling the trace that builds releases what was acquired, and others build it anew", () =>
    Effect.gen(function*() {
      let acquired = 0
      let released = 0
      const layer = Layer.effect(
        Pool,
        Effect.gen(function*() {
          yield* Effect.acquireRelease(Effect.sync(() => acquired++), () => Effect.sync(() => released++))
          if (acquired === 1) return yield* Effect.never
          return { id: acquired }
        })
      )
      const runtime = yield* FlowRuntime.make(Flow.make("f", [Node.provide(using("n"), layer).to()]))
      const first = yield* start(runtime.run(1, { traceId: "first" }))
      const second = yield* start(runtime.run(2))
      assert.isTrue(yield* runtime.cancel("first"))
      assert.strictEqual(yield* codeOf(Fiber.join(first)), "TRACE_CANCELLED")
      assert.strictEqual(released, 1)
      assert.strictEqual(yield* Fiber.join(second), 202)
    }))

  it.effect("outlives the attempt and the trace that built it", () =>
    Effect.gen(function*() {
      let open = 0
      const layer = Layer.effect(
        Pool,
        Effect.acquireRelease(Effect.sync(() => (open++, { id: open })), () => Effect.sync(() => open--))
      )
      const node = Node.provide(using("n"), layer)
      const runtime = yield* FlowRuntime.make(Flow.make("f", [node.to(number("after", () => Effect.sync(() => open)))]))
      assert.strictEqual(yield* runtime.run(1), 1)
      assert.strictEqual(yield* runtime.run(1), 1)
    }))

  it.effect("one layer given to two nodes is one instance; two layers provide one another from the outside in", () =>
    Effect.gen(function*() {
      const { layer, state } = counted()
      const two = Flow.make("two", [Node.provide(using("a"), layer).to(Node.provide(using("b"), layer))])
      assert.strictEqual(yield* Flow.run(two, 1), 10101)
      assert.strictEqual(state.built, 1)
      class Url extends Context.Service<Url, number>()("test/Url") {}
      const fromUrl = Layer.effect(Pool, Effect.map(Url, (id) => ({ id })))
      const node = Node.provide(Node.provide(using("n"), fromUrl), Layer.succeed(Url, 42))
      assert.strictEqual(yield* Flow.run(Flow.make("f", [node.to()]), 1), 142)
    }))

  it.effect("a slow layer of one node keeps no other node waiting", () =>
    Effect.gen(function*() {
      class Other extends Context.Service<Other, number>()("test/Other") {}
      const layer = Layer.effect(Pool, Effect.as(Effect.sleep("1 hour"), { id: 1 }))
      const which = Router.make("which", {
        input: Schema.Number,
        cases: ["slow", "fast"],
        decide: (n) => n === 0 ? "slow" : "fast"
      })
      const fast = Node.provide(number("fast", (n) => Other.useSync((other) => n + other)), Layer.succeed(Other, 1))
      const flow = Flow.make("f", [which.to({ slow: Node.provide(using("slow"), layer), fast })])
      const runtime = yield* FlowRuntime.make(flow)
      const slow = yield* start(runtime.run(0, { traceId: "slow" }))
      const fiber = yield* start(runtime.run(5))
      yield* TestClock.adjust("1 second")
      assert.isDefined(fiber.pollUnsafe(), "the fast node waits for the slow node's layer")
      assert.strictEqual(yield* Fiber.join(fiber), 6)
      yield* runtime.cancel("slow")
      yield* Fiber.await(slow)
    }))

  it.effect("a provided subflow leaves the next node a scope that is open", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const hold = <const Name extends string>(name: Name) =>
        number(name, (n) =>
          Effect.gen(function*() {
            yield* Effect.acquireRelease(Effect.void, () => Effect.sync(() => told.push(`release ${name}`)))
            yield* Effect.sleep("1 second")
            told.push(`end ${name}`)
            return n
          }))
      const { layer } = counted()
      const inner = Flow.make("inner", [hold("a").to(using("u"))])
      const runtime = yield* FlowRuntime.make(Flow.make("f", [Node.provide(Node.fromFlow(inner), layer).to(hold("b"))]))
      const fiber = yield* start(runtime.run(1))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), 101)
      assert.deepStrictEqual(told, ["end a", "release a", "end b", "release b"])
    }))

  it.effect("gives its services to every node of a subflow and every item of a forEach", () =>
    Effect.gen(function*() {
      const { layer, state } = counted()
      const inner = Flow.make("inner", [add("s", 0).to(using("a"), using("b"))])
      const runtime = yield* FlowRuntime.make(Flow.make("f", [Node.provide(Node.fromFlow(inner), layer).to()]))
      assert.deepStrictEqual(yield* runtime.runAll(1), [101, 101])
      const each = Flow.make("g", [Node.provide(Node.forEach(using("n"), { concurrency: 2 }), layer).to()])
      assert.deepStrictEqual(yield* Flow.run(each, [1, 2]), [102, 202])
      assert.strictEqual(state.built, 2)
    }))
})
