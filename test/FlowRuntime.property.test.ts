import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Join, Node, Router } from "penguiflow"
import { start } from "./utils/effects.ts"
import { record } from "./utils/events.ts"
import { Bad, number } from "./utils/nodes.ts"

const small = (max: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: max }))

/** A node of a random graph: what it adds, how long it takes, and which of the earlier nodes feed it. */
const Random = Schema.Struct({
  adds: small(9),
  takes: small(4),
  from: Schema.Array(small(100)).check(Schema.isMaxLength(3))
})
const Graph = Schema.Array(Random).check(Schema.isMinLength(1), Schema.isMaxLength(9))
type Graph = typeof Graph.Type

/** Which earlier nodes feed node `at`, each once. */
const feeders = (graph: Graph, at: number): ReadonlyArray<number> =>
  at === 0 ? [] : [...new Set(graph[at]!.from.map((n) => n % at))]

const flowOf = (graph: Graph, guarded: boolean) => {
  const nodes = graph.map(({ adds, takes }, at) =>
    number(
      `n${at}` as string,
      (n) => {
        const compute = () => (n * 3 + adds) % 1009
        const value = compute()
        return takes === 0
          ? Effect.succeed(value)
          : takes === 1
          ? Effect.sync(compute)
          : takes === 2
          ? Effect.as(Effect.yieldNow, value)
          : Effect.as(Effect.sleep(takes), value)
      },
      guarded ? { timeout: "1 day", retry: Schedule.recurs(1), concurrency: 2 } : undefined
    )
  )
  return Flow.make(
    "random",
    nodes.map((node, at) => node.to(...nodes.filter((_, to) => to > at && feeders(graph, to).includes(at))))
  )
}

/** The results by walking the graph in the plainest way: every value of a node goes to each of its successors. */
const reference = (graph: Graph, input: number): ReadonlyArray<number> => {
  const arrived = graph.map((_, at): Array<number> => feeders(graph, at).length === 0 ? [input] : [])
  const results: Array<number> = []
  graph.forEach(({ adds }, at) => {
    const values = arrived[at]!.map((n) => (n * 3 + adds) % 1009)
    const to = graph.flatMap((_, next) => next > at && feeders(graph, next).includes(at) ? [next] : [])
    if (to.length === 0) results.push(...values)
    else for (const next of to) arrived[next]!.push(...values)
  })
  return results
}

const sorted = (values: ReadonlyArray<number>) => [...values].sort((a, b) => a - b)

describe("any flow", () => {
  it.effect.prop("without cycles gives what walking its graph gives, guarded or not", {
    graph: Graph,
    input: small(1000)
  }, ({ graph, input }) =>
    Effect.gen(function*() {
      const wanted = sorted(reference(graph, input))
      for (const guarded of [false, true]) {
        const runtime = yield* FlowRuntime.make(flowOf(graph, guarded))
        const fiber = yield* start(runtime.runAll(input))
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(sorted(yield* Fiber.join(fiber)), wanted)
        assert.strictEqual(yield* runtime.open, 0)
      }
    }).pipe(Effect.scoped))

  it.effect.prop("as a subflow, and over every item of a list, gives the same", {
    graph: Graph,
    inputs: Schema.Array(small(1000)).check(Schema.isMaxLength(4))
  }, ({ graph, inputs }) =>
    Effect.gen(function*() {
      const list = Node.make("list", {
        input: Schema.Number,
        output: Schema.Array(Schema.Number),
        run: (n) => Effect.succeed([n])
      })
      const all = Join.collect("all", { item: Schema.Array(Schema.Number), count: reference(graph, 0).length })
      const inner = Node.fromFlow(flowOf(graph, false))
      const item = Node.fromFlow(Flow.make("item", [inner.to(list), list.to(all)]))
      const runtime = yield* FlowRuntime.make(Flow.make("outer", [Node.forEach(item, { concurrency: 2 }).to()]))
      const fiber = yield* start(runtime.run(inputs))
      yield* TestClock.adjust("1 hour")
      const results = (yield* Fiber.join(fiber)).map((lists) => sorted(lists.flat()))
      assert.deepStrictEqual(results, inputs.map((input) => sorted(reference(graph, input))))
    }).pipe(Effect.scoped))
})

describe("any join", () => {
  it.effect.prop("collects in order of arrival, once per trace, whatever the delays and however many traces", {
    traces: Schema.Array(Schema.Array(small(50)).check(Schema.isMinLength(2), Schema.isMaxLength(4))).check(
      Schema.isMinLength(1),
      Schema.isMaxLength(6)
    ),
    width: Schema.Int.check(Schema.isBetween({ minimum: 2, maximum: 4 }))
  }, ({ traces, width }) =>
    Effect.gen(function*() {
      const branches = Array.from({ length: width }, (_, at) =>
        Node.make(`b${at}` as string, {
          input: Schema.Array(Schema.Number),
          output: Schema.Number,
          run: (delays) => Effect.as(Effect.sleep((delays[at % delays.length]! * 10) + at), at)
        }))
      const join = Join.collect("join", { item: Schema.Number, count: width })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [...branches.map((branch) => branch.to(join)), join.to()]))
      const fiber = yield* start(
        Effect.forEach(traces, (delays) => runtime.runAll(delays), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("1 hour")
      const wanted = traces.map((delays) => [
        Array.from({ length: width }, (_, at) => at).sort((a, b) =>
          (delays[a % delays.length]! * 10 + a) - (delays[b % delays.length]! * 10 + b)
        )
      ])
      assert.deepStrictEqual(yield* Fiber.join(fiber), wanted as never)
    }).pipe(Effect.scoped))

  it.effect.prop("pairs first in, first out", {
    left: Schema.Array(small(50)).check(Schema.isMinLength(1), Schema.isMaxLength(5)),
    right: Schema.Array(small(50)).check(Schema.isMinLength(1), Schema.isMaxLength(5))
  }, ({ left, right }) =>
    Effect.gen(function*() {
      const pairs: Array<readonly [number, number]> = []
      const both = Join.all("both", { left: Schema.Number, right: Schema.Number })
      const at = (side: string, delays: ReadonlyArray<number>) =>
        delays.map((delay, i) => number(`${side}${i}` as string, () => Effect.as(Effect.sleep(delay * 10 + i), i)))
      const look = Node.make("look", {
        input: Schema.Struct({ left: Schema.Number, right: Schema.Number }),
        output: Schema.Number,
        run: ({ left, right }) => Effect.sync(() => pairs.push([left, right]))
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [
        ...at("l", left).map((node) => node.to(both.in.left)),
        ...at("r", right).map((node) => node.to(both.in.right)),
        both.to(look)
      ]))
      const fiber = yield* start(Effect.exit(runtime.runAll(0)))
      yield* TestClock.adjust("1 hour")
      const order = (delays: ReadonlyArray<number>) =>
        delays.map((delay, i) => [delay * 10 + i, i] as const).sort((a, b) => a[0] - b[0]).map(([, i]) => i)
      const width = Math.min(left.length, right.length)
      const lefts = order(left)
      const rights = order(right)
      assert.deepStrictEqual(pairs, Array.from({ length: width }, (_, i) => [lefts[i]!, rights[i]!] as const))
      assert.strictEqual(Exit.isSuccess(yield* Fiber.join(fiber)), left.length === right.length)
    }).pipe(Effect.scoped))
})

/** What happens to one emitted message, and to the test around it. */
const Message = Schema.Struct({
  /** What its nodes do. */
  mood: Schema.Literals(["quick", "slow", "fails", "dies", "never", "flaky", "stubborn"]),
  takes: small(40),
  cancelAfter: Schema.UndefinedOr(small(60)),
  deadline: Schema.UndefinedOr(small(60)),
  /** Its emitter gives up after so long. */
  patience: Schema.UndefinedOr(small(30))
})

describe("any trace", () => {
  it.effect.prop(
    "ends in exactly one outcome, and leaves nothing, under cancels, failures, deadlines and impatient callers",
    {
      messages: Schema.Array(Message).check(Schema.isMinLength(1), Schema.isMaxLength(12)),
      maxInFlight: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 })),
      shutdownAfter: Schema.UndefinedOr(small(120))
    },
    ({ maxInFlight, messages, shutdownAfter }) =>
      Effect.gen(function*() {
        let alive = 0
        let undone = 0
        let done = 0
        const inside = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.acquireUseRelease(Effect.sync(() => alive++), () => effect, () => Effect.sync(() => alive--))
        const reserve = Node.make("reserve", {
          input: Schema.Number,
          output: Schema.Number,
          run: (n) => Effect.sync(() => (done++, n)),
          compensate: () => Effect.sync(() => void undone++)
        })
        const work = number("work", (n, { attempt }) => {
          const { mood, takes } = messages[n]!
          const wait = Effect.sleep(takes)
          switch (mood) {
            case "quick":
              return Effect.succeed(n)
            case "slow":
              return inside(Effect.as(wait, n))
            case "fails":
              return inside(Effect.andThen(wait, Effect.fail(new Bad({ n }))))
            case "dies":
              return inside(Effect.andThen(wait, Effect.die("dead")))
            case "never":
              return inside(Effect.never)
            case "flaky":
              return inside(Effect.andThen(wait, attempt < 3 ? Effect.fail(new Bad({ n })) : Effect.succeed(n)))
            case "stubborn":
              return inside(Effect.uninterruptible(Effect.as(wait, n)))
          }
        }, { retry: Schedule.spaced("3 millis").pipe(Schedule.upTo({ times: 2 })), concurrency: 2 })
        const side = number("side", (n) => inside(Effect.as(Effect.sleep(5), n)))
        const pass = Router.make("pass", { input: Schema.Number, cases: ["on"], decide: () => "on" })
        const flow = Flow.make("f", [reserve.to(work, pass), pass.to({ on: side })])
        yield* Effect.scoped(Effect.gen(function*() {
          const runtime = yield* FlowRuntime.make(flow, { maxInFlight })
          const events = yield* record(runtime)
          const outcomes: Array<FlowRuntime.Outcome<number, Bad>> = []
          const consumer = yield* start(
            Effect.forever(
              Effect.andThen(
                Effect.sleep(1),
                Effect.map(
                  Effect.timeoutOption(runtime.fetch, "5 millis"),
                  (outcome) => outcome._tag === "Some" && outcomes.push(outcome.value)
                )
              )
            )
          )
          const accepted: Array<string> = []
          const emitting = yield* start(Effect.forEach(messages, ({ cancelAfter, deadline, patience }, n) =>
            Effect.gen(function*() {
              const traceId = `t${n}`
              if (cancelAfter !== undefined) {
                yield* Effect.forkChild(Effect.andThen(Effect.sleep(cancelAfter), runtime.cancel(traceId)))
              }
              const emit = Effect.asVoid(Effect.map(runtime.emit(n, { traceId, deadline }), (id) => accepted.push(id)))
              yield* Effect.exit(Effect.timeoutOption(emit, patience ?? "1 day"))
            }), { concurrency: "unbounded" }))
          if (shutdownAfter !== undefined) {
            yield* start(Effect.andThen(Effect.sleep(shutdownAfter), runtime.shutdown({ grace: "20 millis" })))
          }
          for (let i = 0; i < 300; i++) {
            yield* TestClock.adjust("1 millis")
          }
          const draining = yield* start(runtime.shutdown({ grace: 0 }))
          yield* TestClock.adjust("10 seconds")
          for (const [who, fiber] of Object.entries({ draining, emitting, consumer })) {
            assert.isDefined(fiber.pollUnsafe(), `${who} waits for ever`)
          }
          let left = yield* Effect.exit(runtime.fetch)
          while (Exit.isSuccess(left)) {
            outcomes.push(left.value)
            left = yield* Effect.exit(runtime.fetch)
          }
          const ids = outcomes.map(({ traceId }) =>
            traceId
          )
          assert.strictEqual(new Set(ids).size, ids.length, "one outcome per trace")
          for (const id of accepted) assert.include(ids, id, "every accepted trace has its outcome")
          assert.strictEqual(yield* runtime.open, 0)
          assert.strictEqual(alive, 0)
          const failed = outcomes.filter(({ exit }) => Exit.isFailure(exit)).length
          assert.isAtMost(undone, failed)
          assert.strictEqual(
            done - undone,
            outcomes.length - failed,
            "what was reserved stays only where the trace succeeded"
          )
          const all = yield* events.ended
          for (const id of ids) {
            const ends = all.filter((event) =>
              event.traceId === id && event._tag.startsWith("Trace") && event._tag !== "TraceStarted"
            )
            assert.strictEqual(ends.length, 1, `${id} ends once in its events`)
          }
        }))
      })
  )

  it.effect.prop("run, interrupted at any moment, leaves nothing and frees its place", {
    moments: Schema.Array(small(30)).check(Schema.isMinLength(1), Schema.isMaxLength(20))
  }, ({ moments }) =>
    Effect.gen(function*() {
      let alive = 0
      const inside = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.acquireUseRelease(Effect.sync(() => alive++), () => effect, () => Effect.sync(() => alive--))
      const wait = <const Name extends string>(name: Name, millis: number) =>
        Node.withPolicy(number(name, (n) => inside(Effect.as(Effect.sleep(millis), n))), {
          timeout: "1 second",
          retry: Schedule.recurs(1)
        })
      const inner = Flow.make("inner", [wait("a", 3).to(wait("b", 5), wait("c", 7))])
      const pair = Join.collect("pair", { item: Schema.Number, count: 2 })
      const sub = Node.fromFlow(inner)
      const real = Flow.make("real", [wait("in", 4).to(sub), sub.to(pair), pair.to()])
      const runtime = yield* FlowRuntime.make(real, { maxInFlight: 3 })
      const fibers = yield* Effect.forEach(moments, (moment) => start(Effect.timeoutOption(runtime.run(1), moment)))
      for (let i = 0; i < 200; i++) yield* TestClock.adjust("1 millis")
      for (const fiber of fibers) assert.isDefined(fiber.pollUnsafe(), "a caller waits for ever")
      assert.strictEqual(yield* runtime.open, 0)
      assert.strictEqual(alive, 0)
      const last = yield* start(runtime.run(5))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(last), [5, 5])
    }).pipe(Effect.scoped))
})
