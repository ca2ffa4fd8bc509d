/** What the engine promises in numbers: clocks, sizes, depths. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Join, Loop, Node, Router } from "penguiflow"
import { child, clocked, endOf, flowOf, kinds, node, Oops, settle, timed } from "./kit.ts"

const start = { startImmediately: true } as const
const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)
const sleeps = (name: string, ms: number) => node(name, (n) => Effect.as(Effect.sleep(ms), n))
const Pair = Schema.Struct({ x: Schema.Number, y: Schema.Number })

/** Builds three times and gives the last with the shortest time: other work on the machine only adds to it. */
const built = <A>(make: () => A): { readonly value: A; readonly ms: number } => {
  const rounds = [clocked(make), clocked(make), clocked(make)]
  return { value: rounds[2]!.value, ms: Math.min(...rounds.map(({ ms }) => ms)) }
}

describe("on the clock", () => {
  it.effect("a thousand traces through a node that sleeps 20 ms take 20 ms", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flowOf([sleeps("a", 20).to()]), { maxInFlight: 1000 })
      const fibers = yield* Effect.forEach(upTo(1000), (n) => Effect.forkChild(runtime.run(n), start))
      yield* TestClock.adjust(19)
      assert.isTrue(fibers.every((fiber) => fiber.pollUnsafe() === undefined))
      yield* TestClock.adjust(1)
      yield* settle()
      assert.isTrue(fibers.every((fiber) => fiber.pollUnsafe() !== undefined))
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), upTo(1000))
    }))

  it.effect("two hundred traces through three nodes that sleep 10 ms take 30 ms", () =>
    Effect.gen(function*() {
      const [a, b, c] = [sleeps("a", 10), sleeps("b", 10), sleeps("c", 10)]
      const runtime = yield* FlowRuntime.make(flowOf([a.to(b), b.to(c)]), { maxInFlight: 200 })
      const fibers = yield* Effect.forEach(upTo(200), (n) => Effect.forkChild(runtime.run(n), start))
      yield* TestClock.adjust(29)
      yield* settle()
      assert.isTrue(fibers.every((fiber) => fiber.pollUnsafe() === undefined))
      yield* TestClock.adjust(1)
      yield* settle()
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), upTo(200))
    }))

  it.effect("admission lets in exactly as many as it may: a hundred traces of 10 ms, ten at once, take 100 ms", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flowOf([sleeps("a", 10).to()]), { maxInFlight: 10 })
      const fibers = yield* Effect.forEach(upTo(100), (n) => Effect.forkChild(runtime.run(n), start))
      for (let i = 1; i <= 10; i++) {
        yield* TestClock.adjust(10)
        yield* settle()
        assert.strictEqual(fibers.filter((fiber) => fiber.pollUnsafe() !== undefined).length, 10 * i)
      }
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), upTo(100))
    }))

  it.effect("another trace at the same join is untouched by one that fails or is cancelled there", () =>
    Effect.gen(function*() {
      const join = Join.all("join", { x: Schema.Number, y: Schema.Number })
      const x = sleeps("x", 10)
      const y = node(
        "y",
        (n) => Effect.andThen(Effect.sleep(20), n === 2 ? Effect.fail(new Oops({ n })) : Effect.succeed(n * 10))
      )
      const runtime = yield* FlowRuntime.make(
        flowOf<Oops, number, unknown>([
          node("start", (n) => Effect.succeed(n)).to(x, y),
          x.to(join.in.x),
          y.to(join.in.y),
          join.to()
        ])
      )
      const fibers = yield* Effect.forEach(
        [1, 2, 3, 4],
        (n) => Effect.forkChild(Effect.exit(runtime.run(n, { traceId: `${n}` })), start)
      )
      yield* TestClock.adjust(15)
      yield* runtime.cancel("3")
      yield* TestClock.adjust(5)
      const exits = yield* Fiber.joinAll(fibers)
      assert.deepStrictEqual(exits.map(endOf), ["ok", "Oops", "TRACE_CANCELLED", "ok"])
      assert.deepStrictEqual([exits[0], exits[3]], [Exit.succeed({ x: 1, y: 10 }), Exit.succeed({ x: 4, y: 40 })])
    }))

  it.effect("a join that can't be completed any more names every input that is missing", () =>
    Effect.gen(function*() {
      const join = Join.all("join", { a: Schema.Number, b: Schema.Number, c: Schema.Number })
      const pick = Router.make("pick", {
        input: Schema.Number,
        cases: ["a", "b", "c"],
        decide: (n) => (["a", "b", "c"] as const).filter((_, i) => (n >> i) % 2 === 1)
      })
      const flow = flowOf<never, number, unknown>([pick.to(join.in), join.to()])
      for (let n = 1; n < 7; n++) {
        const error = yield* Effect.flip(Flow.run(flow, n))
        assert.strictEqual(error.code, "JOIN_INCOMPLETE")
        assert.deepStrictEqual(
          error.reason._tag === "JoinIncomplete" && error.reason.missing,
          ["a", "b", "c"].filter((_, i) => (n >> i) % 2 === 0)
        )
        assert.strictEqual(error.node, "join")
      }
      assert.deepStrictEqual(yield* Flow.run(flow, 7), { a: 7, b: 7, c: 7 })
    }))
})

for (const [kind, answer] of Object.entries(kinds)) {
  const step = (name: string) => node(name, (n) => Effect.map(answer(n), (m) => m + 1))

  describe(`with nodes that answer ${kind}`, () => {
    it.effect("12: a chain of 10 000 nodes builds in under a second and runs", () =>
      Effect.gen(function*() {
        const { ms, value: flow } = built(() => {
          const steps = upTo(10_000).map((i) => step(`n${i}`))
          return flowOf(steps.slice(1).map((to, i) => steps[i]!.to(to)))
        })
        assert.isBelow(ms, 1000)
        assert.strictEqual(yield* Flow.run(flow, 0), 10_000)
      }))

    it.effect("12: a fan-out of 10 000 and the join of all of it build in under a second and run", () =>
      Effect.gen(function*() {
        const { ms, value: flow } = built(() => {
          const steps = upTo(10_000).map((i) => step(`n${i}`))
          const join = Join.all("join", Object.fromEntries(upTo(10_000).map((i) => [`k${i}`, Schema.Number])))
          return flowOf<never, number, { readonly [key: string]: number }>([
            step("start").to(...steps),
            ...steps.map((from, i) => from.to(join.in[`k${i}`]!)),
            join.to()
          ])
        })
        assert.isBelow(ms, 1000)
        const results = Object.entries(yield* Flow.run(flow, 0))
        assert.lengthOf(results, 10_000)
        assert.isTrue(results.every(([, n]) => n === 2))
        const wide = yield* FlowRuntime.make(flowOf([step("start").to(...upTo(10_000).map((i) => step(`n${i}`)))]))
        assert.lengthOf(yield* wide.runAll(0), 10_000)
      }))

    /** Fan out and join, one after the other. */
    const ladder = (rungs: number, end: ReturnType<typeof node<Oops>>): Flow.Flow<"f", number, number, Oops> => {
      const rows: Array<unknown> = []
      let from: { to(...targets: ReadonlyArray<unknown>): unknown } = step("start") as never
      for (let i = 0; i < rungs; i++) {
        const x = step(`x${i}`)
        const y = step(`y${i}`)
        const join = Join.all(`join${i}`, { x: Schema.Number, y: Schema.Number })
        const merge = Node.make(`merge${i}` as string, {
          input: Pair,
          output: Schema.Number,
          run: (pair) => Effect.succeed(Math.max(pair.x, pair.y))
        })
        rows.push(from.to(x, y), x.to(join.in.x), y.to(join.in.y), join.to(merge))
        from = merge as never
      }
      rows.push(from.to(end))
      return flowOf<Oops>(rows)
    }

    it.effect("12: a ladder of 3 000 fan-outs and joins builds in under a second, runs and fails", () =>
      Effect.gen(function*() {
        const { ms, value: flow } = built(() => ladder(3000, node<Oops>("end", (n) => Effect.succeed(n))))
        assert.isBelow(ms, 1000)
        assert.strictEqual(yield* Flow.run(flow, 0), 3001)
        const failing = ladder(3000, node("end", (n) => Effect.andThen(Effect.yieldNow, Effect.fail(new Oops({ n })))))
        assert.strictEqual(endOf(yield* Effect.exit(Flow.run(failing, 0))), "Oops")
      }))

    it.effect("12: a nesting of 1 000 subflows builds in under a second, runs and fails", () =>
      Effect.gen(function*() {
        const nest = (depth: number, end: ReturnType<typeof node<Oops>>): Flow.Flow<"f", number, number, Oops> => {
          let flow = flowOf<Oops>([end.to()])
          for (let i = 1; i < depth; i++) {
            flow = flowOf<Oops>([step("before").to(Node.named(Node.fromFlow(flow), "inner"))])
          }
          return flow
        }
        const { ms, value: flow } = built(() => nest(1000, node<Oops>("end", (n) => Effect.succeed(n))))
        assert.isBelow(ms, 1000)
        assert.strictEqual(yield* Flow.run(flow, 0), 999)
        const failing = nest(1000, node("end", (n) => Effect.andThen(Effect.yieldNow, Effect.fail(new Oops({ n })))))
        assert.strictEqual(endOf(yield* Effect.exit(Flow.run(failing, 0))), "Oops")
      }))

    it.effect("a loop of 100 000 hops and a cycle of 100 000 rounds grow no stack", () =>
      Effect.gen(function*() {
        const loop = Loop.make("loop", {
          state: Schema.Number,
          output: Schema.Number,
          maxHops: 100_001,
          step: (n) => Effect.map(answer(n), (m) => m === 100_000 ? Loop.done(m) : Loop.again(m + 1))
        })
        assert.strictEqual(yield* Flow.run(flowOf([loop.to()]), 0), 100_000)
        const again = step("again")
        const route = Router.make("route", {
          input: Schema.Number,
          cases: ["again", "out"],
          decide: (n) => n >= 100_000 ? "out" : "again"
        })
        const cycle = flowOf([step("in").to(again), again.to(route), route.to({ again, out: step("out") })], {
          maxHops: 100_000
        })
        assert.strictEqual(yield* Flow.run(cycle, 0), 100_001)
      }))

    it.effect("a forEach over very many items, eight at once, gives them in order", () =>
      Effect.gen(function*() {
        const flow = flowOf<never, ReadonlyArray<number>, ReadonlyArray<number>>([
          Node.forEach(step("item"), { concurrency: 8 }).to()
        ])
        // What waits for a turn of the event loop at each item takes its time: fewer do.
        const count = kind === "after a yield" ? 200_000 : 1_000_000
        const results = yield* Flow.run(flow, upTo(count))
        assert.lengthOf(results, count)
        assert.isTrue(results.every((n, i) => n === i + 1))
      }))
  })
}

describe("what is deep ends as what is shallow does, and takes no process along", () => {
  const cases = [
    ["ladder", 3000, "a ladder of 3 000 fan-outs and joins"],
    ["nested", 1000, "a nesting of 1 000 subflows"],
    ["timeout", 1000, "a nesting of 1 000 subflows with a timeout each"],
    ["retry", 1000, "a nesting of 1 000 subflows with a retry each"],
    ["permit", 1000, "a nesting of 1 000 subflows with a permit each"],
    ["all", 1000, "a nesting of 1 000 subflows with a whole policy each"],
    ["fans", 1000, "a nesting of 1 000 subflows with a branch beside each"]
  ] as const
  for (const [shape, depth, what] of cases) {
    it(`12: ${what} works, fails, and is cancelled at its bottom`, async () => {
      const { code, out } = await child(["test/cases/deep.ts", shape, String(depth)], 25_000)
      assert.strictEqual(code, 0, `the process was taken along: ${out.slice(0, 300)}`)
      const { ms, ...ends } = JSON.parse(out.trim().split("\n").at(-1)!) as { readonly ms: number }
      assert.deepStrictEqual(ends as unknown, {
        works: "ok",
        fails: "Oops",
        reached: true,
        stopped: 1,
        cancelled: "TRACE_CANCELLED",
        open: 0
      })
      assert.isBelow(ms, 1000)
    })
  }
})

describe("building and pairing grow with what there is", () => {
  it("a chain of 10 000 routers builds in under a second", () => {
    const { ms } = built(() => {
      const routers = upTo(10_000).map((i) =>
        Router.make(`r${i}` as string, { input: Schema.Number, cases: ["on"], decide: () => "on" as const })
      )
      const end = node("end", (n) => Effect.succeed(n))
      return flowOf([
        ...routers.slice(1).map((to, i) => routers[i]!.to({ on: to })),
        routers[9999]!.to({ on: end })
      ])
    })
    assert.isBelow(ms, 1000)
  })

  it.effect("a join pairs what waits there in time that grows with how much there is", () =>
    Effect.gen(function*() {
      const cost = (count: number) =>
        Effect.gen(function*() {
          const join = Join.all("join", { x: Schema.Number, y: Schema.Number })
          const again = node("again", (n) => Effect.succeed(n + 1))
          const route = Router.make("route", {
            input: Schema.Number,
            cases: ["again", "x", "y"],
            decide: (n) => n < count ? ["x", "again"] : n < 2 * count ? ["y", "again"] : []
          })
          const differ = Node.make("differ", {
            input: Pair,
            output: Schema.Number,
            run: ({ x, y }) => Effect.succeed(y - x)
          })
          const flow = flowOf([
            node("in", (n) => Effect.succeed(n)).to(route),
            route.to({ again, x: join.in.x, y: join.in.y }),
            again.to(route),
            join.to(differ)
          ], { maxHops: 10_000_000 })
          const runtime = yield* FlowRuntime.make(flow)
          const { ms, value } = yield* timed(runtime.runAll(0))
          assert.lengthOf(value, count)
          assert.isTrue(value.every((n) => n === count))
          return ms
        })
      yield* cost(2000)
      const few = yield* cost(10_000)
      const many = yield* cost(80_000)
      assert.isBelow(many / few, 8 * 2.5, `${few} ms for 10 000, ${many} ms for 80 000`)
    }))
})
