/** Flows with something else in the place of a node's run, or around it. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Schedule, Schema, Stream } from "effect"
import { Flow, FlowError, Join, Node, Router } from "penguiflow"
import * as FlowRewrite from "penguiflow/FlowRewrite"

type Exact<X, Y> = (<T>() => T extends X ? 1 : 2) extends (<T>() => T extends Y ? 1 : 2) ? true : false
type Parts<F> = F extends Flow.Flow<string, infer In, infer Out, infer E, infer R, infer Part> ? [In, Out, E, R, Part]
  : never
const exactly = <A, B>(same: Exact<A, B>) => same

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}
class Log extends Context.Service<Log, { readonly lines: Array<string> }>()("test/Log") {}

const n = { input: Schema.Number, output: Schema.Number }
const inc = Node.make("inc", { ...n, rerun: "pure", run: (x) => Effect.succeed(x + 1) })
const double = Node.make("double", { ...n, run: (x) => Effect.succeed(x * 2) })

const faultsOf = (f: () => unknown): ReadonlyArray<string> => {
  try {
    f()
    return []
  } catch (error) {
    return FlowError.isFlowDefinitionError(error) ? error.faults : [String(error)]
  }
}

describe("FlowRewrite", () => {
  it("lists the nodes as they are declared, with what they say of themselves", () => {
    const inner = Flow.make("inner", [double.to(Node.forEach(Node.named(inc, "each"), { concurrency: 1 }) as never)])
    const both = Join.collect("both", { item: Schema.Number, count: 1 })
    const flow = Flow.make("outer", [inc.to(both), both.to(Node.fromFlow(inner) as never)])
    assert.deepStrictEqual(FlowRewrite.nodes(flow).map((it) => `${it.node} ${it.kind} ${it.rerun}`), [
      "inc task pure",
      "both collect undefined",
      "inner flow undefined",
      "inner/double task undefined",
      "inner/each each undefined",
      "inner/each task pure"
    ])
  })

  it.effect("what stands around a node may add errors and services, which the type then has", () =>
    Effect.gen(function*() {
      const flow = FlowRewrite.around(
        Flow.make("line", [inc.to(double)]),
        "double",
        (run, { context, input, node }) =>
          Effect.gen(function*() {
            const { lines } = yield* Log
            lines.push(`${node} ${context.attempt} ${String(input)}`)
            return lines.length > 1 ? yield* new Refused() : yield* run
          })
      )
      exactly<Parts<typeof flow>, [number, number, Refused, Log, never]>(true)
      assert.strictEqual(yield* Flow.run(flow, 1), 4)
      assert.strictEqual((yield* Effect.flip(Flow.run(flow, 1)))._tag, "Refused")
      assert.deepStrictEqual((yield* Log).lines, ["double 1 2", "double 1 2"])
    }).pipe(Effect.provide(Layer.sync(Log, () => ({ lines: [] })))))

  it.effect("a node that throws where it should give an Effect throws inside of what stands around it", () =>
    Effect.gen(function*() {
      const broken = Node.make("broken", {
        ...n,
        run: (): Effect.Effect<number> => {
          throw new Error("a bug")
        }
      })
      const flow = FlowRewrite.around(
        Flow.make("line", [broken.to()]),
        broken,
        (run) => Effect.catchDefect(run, () => Effect.fail(new Refused()))
      )
      assert.strictEqual((yield* Effect.flip(Flow.run(flow, 1)))._tag, "Refused")
    }))

  it.effect("a router by tags can be wrapped, and decides as before", () =>
    Effect.gen(function*() {
      const A = Schema.TaggedStruct("A", { n: Schema.Number })
      const B = Schema.TaggedStruct("B", { n: Schema.Number })
      const route = Router.tagged("route", Schema.Union([A, B]))
      const onA = Node.make("onA", { input: A, output: Schema.String, run: (a) => Effect.succeed(`a${a.n}`) })
      const onB = Node.make("onB", { input: B, output: Schema.String, run: (b) => Effect.succeed(`b${b.n}`) })
      let asked = 0
      const flow = FlowRewrite.around(Flow.make("routed", [route.to({ A: onA, B: onB })]), "route", (run) => {
        asked++
        return run
      })
      assert.deepStrictEqual(
        [yield* Flow.run(flow, { _tag: "B", n: 1 }), yield* Flow.run(flow, { _tag: "A", n: 2 })],
        ["b1", "a2"]
      )
      assert.strictEqual(asked, 2)
    }))

  it.effect("another policy replaces the node's, and is told of it", () =>
    Effect.gen(function*() {
      let runs = 0
      const flaky = Node.make("flaky", {
        ...n,
        policy: { retry: Schedule.recurs(7), timeout: "1 minute" },
        run: () => Effect.suspend(() => (runs++, Effect.fail(new Refused())))
      })
      const flow = FlowRewrite.withPolicy(Flow.make("line", [flaky.to()]), "flaky", (policy) => {
        assert.strictEqual(policy.timeout, "1 minute")
        return { ...policy, retry: Schedule.recurs(1) }
      })
      yield* Effect.flip(Flow.run(flow, 1))
      assert.strictEqual(runs, 2)
      const bad = FlowRewrite.withPolicy(Flow.make("line", [inc.to()]), "inc", () => ({ timeout: "1 minute" }))
      assert.strictEqual(yield* Flow.run(bad, 1), 2)
    }))

  it.effect("tells of parts though nobody streams them, and hands them on to whoever does", () =>
    Effect.gen(function*() {
      const words = Node.stream("words", {
        input: Schema.String,
        part: Schema.String,
        output: Schema.Number,
        run: (text) => Stream.fromIterable(text.split(" ")),
        collect: (parts) => parts.length
      })
      const told: Array<string> = []
      const flow = FlowRewrite.onPart(
        Flow.make("outer", [Node.fromFlow(Flow.make("inner", [words.to()])).to()]),
        ({ attempt, node, value }) => told.push(`${node} ${attempt} ${value}`)
      )
      assert.strictEqual(yield* Flow.run(flow, "a b"), 2)
      assert.deepStrictEqual(told, ["inner/words 1 a", "inner/words 1 b"])
    }))

  it.effect("a replaced node loses its compensation and its layers with the run that they were for", () =>
    Effect.gen(function*() {
      let [undone, built] = [0, 0]
      const write = Node.provide(
        Node.make("write", {
          ...n,
          run: (x) => Log.useSync(() => x),
          compensate: () => Effect.sync(() => void undone++)
        }),
        Layer.sync(Log, () => (built++, { lines: [] }))
      )
      const refuse = Node.make("refuse", { ...n, run: () => Effect.fail(new Refused()) })
      const flow = Flow.make("line", [write.to(refuse)])
      yield* Effect.exit(Flow.run(flow, 1))
      assert.deepStrictEqual([undone, built], [1, 1])
      const exit = yield* Effect.exit(Flow.run(FlowRewrite.replace(flow, write, (x) => Effect.succeed(x)), 1))
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual([undone, built], [1, 1])
    }))

  it("refuses what is no node of the flow, and what runs nothing of its own", () => {
    const gather = Join.all("gather", { a: Schema.Number })
    const flow = Flow.make("outer", [inc.to(gather.in.a), gather.to()])
    assert.deepStrictEqual(faultsOf(() => FlowRewrite.around(flow, "gather", (run) => run)), [
      "\"gather\" is a join and runs nothing of its own"
    ])
    assert.deepStrictEqual(faultsOf(() => FlowRewrite.withPolicy(flow, double, (it) => it)), [
      "it has no node \"double\": it has inc, gather"
    ])
    assert.match(faultsOf(() => FlowRewrite.nodes({ name: "x" } as never))[0] ?? "", /"x" is no flow/)
  })
})
