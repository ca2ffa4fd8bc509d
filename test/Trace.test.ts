import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Schedule, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Loop, Node, Router, Trace } from "penguiflow"
import { add, failing, number } from "./utils/nodes.ts"

const seen = (list: Array<unknown>) =>
  Effect.map(
    Trace.CurrentTrace,
    ({ deadline, flow, headers, meta, traceId }) => list.push({ traceId, flow, headers, meta, deadline })
  )

describe("Trace.CurrentTrace", () => {
  it.effect("says, deep inside a node, what is known of the trace", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("10 seconds")
      const list: Array<unknown> = []
      const flow = Flow.make("f", [number("n", (n) => Effect.as(seen(list), n)).to()])
      yield* Flow.run(flow, 1, { traceId: "t", headers: { tenant: "acme" }, meta: { k: [1] }, deadline: "1 second" })
      yield* Flow.run(flow, 1, { traceId: "u" })
      assert.deepStrictEqual(list, [
        { traceId: "t", flow: "f", headers: { tenant: "acme", priority: 0 }, meta: { k: [1] }, deadline: 11_000 },
        { traceId: "u", flow: "f", headers: { tenant: "default", priority: 0 }, meta: {}, deadline: undefined }
      ])
    }))

  it.effect("is there in every kind of step: a router, a loop, an item, a stream, a compensation", () =>
    Effect.gen(function*() {
      const ids: Array<string> = []
      const note = Effect.map(Trace.CurrentTrace, ({ traceId }) => ids.push(traceId))
      const router = Router.make("router", {
        input: Schema.Number,
        cases: ["on"],
        decide: () => Effect.as(note, "on" as const)
      })
      const loop = Loop.make("loop", {
        state: Schema.Number,
        output: Schema.Array(Schema.Number),
        maxHops: 1,
        step: (n) => Effect.as(note, Loop.done([n]))
      })
      const item = Node.make("item", {
        input: Schema.Number,
        output: Schema.Number,
        run: (n) => Effect.as(note, n),
        compensate: () => Effect.asVoid(note)
      })
      const end = Node.make("end", {
        input: Schema.Array(Schema.Number),
        output: Schema.Number,
        run: ([n]) => Effect.succeed(n!)
      })
      const bad = failing("bad")
      const each = Node.forEach(item, { concurrency: 1 })
      const real = Flow.make("real", [router.to({ on: loop }), loop.to(each), each.to(end), end.to(bad)])
      yield* Effect.flip(Flow.run(real, 1, { traceId: "t" }))
      assert.deepStrictEqual(ids, ["t", "t", "t", "t"])
    }))

  it.effect("shows what was annotated since it was read", () =>
    Effect.gen(function*() {
      let meta: unknown
      const node = number("n", (n, { annotate }) =>
        Effect.gen(function*() {
          const trace = yield* Trace.CurrentTrace
          yield* annotate("k", n)
          meta = trace.meta
          return n
        }))
      yield* Flow.run(Flow.make("f", [node.to()]), 5)
      assert.deepStrictEqual(meta, { k: 5 })
    }))

  it.effect("of a trace inside a trace is its own", () =>
    Effect.gen(function*() {
      const list: Array<unknown> = []
      const inner = Flow.make("inner", [number("n", (n) => Effect.as(seen(list), n)).to()])
      const outer = Flow.make("outer", [
        number("n", (n) => Effect.orDie(Flow.run(inner, n, { traceId: "inner" }))).to(
          number("m", (n) => Effect.as(seen(list), n))
        )
      ])
      yield* Flow.run(outer, 1, { traceId: "outer", meta: { k: 1 } })
      assert.deepStrictEqual((list as Array<Trace.TraceInfo>).map(({ flow, meta, traceId }) => [traceId, flow, meta]), [
        ["inner", "inner", {}],
        ["outer", "outer", { k: 1 }]
      ])
    }))

  it.effect("no node can change headers or id: not through the service, not through the context", () =>
    Effect.gen(function*() {
      const assign = (target: object, values: object) => {
        try {
          Object.assign(target, values)
        } catch {
          // Refused.
        }
      }
      const steal = (target: Trace.TraceInfo) => {
        for (const key of ["traceId", "headers", "flow", "meta"] as const) assign(target, { [key]: "stolen" })
        assign(target.headers, { tenant: "stolen" })
        assign(target.meta, { tenant: "stolen" })
      }
      const thief = number("thief", (n, context) =>
        Effect.map(Trace.CurrentTrace, (trace) => {
          steal(context)
          steal(trace)
          return n
        }))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [thief.to(add("after", 1))]))
      yield* runtime.emit(1, { traceId: "mine", headers: { tenant: "acme" } })
      const { headers, traceId } = yield* runtime.fetch
      assert.deepStrictEqual([traceId, headers], ["mine", { tenant: "acme", priority: 0 }])
      yield* runtime.run(1)
      yield* runtime.emit(2)
      assert.deepStrictEqual((yield* runtime.fetch).headers, { tenant: "default", priority: 0 })
    }))
})

describe("Trace.failedAt", () => {
  it.effect("names the node and the try of a failure that knows nothing of nodes, and of a defect", () =>
    Effect.gen(function*() {
      const where = <E>(flow: Flow.Flow<string, number, number, E, never, never>) =>
        Effect.gen(function*() {
          const runtime = yield* FlowRuntime.make(flow)
          const ways: ReadonlyArray<Exit.Exit<unknown, unknown>> = [
            yield* Effect.exit(runtime.run(1)),
            yield* Effect.exit(runtime.runAll(1)),
            yield* Effect.exit(Stream.runDrain(runtime.stream(1))),
            yield* Effect.flatMap(runtime.emit(1), () => Effect.map(runtime.fetch, ({ exit }) => exit))
          ]
          return ways.map((exit) => Exit.isFailure(exit) ? Trace.failedAt(exit.cause) : undefined)
        })
      const inner = Flow.make("inner", [failing("bad").to()])
      const all = (node: string, attempt: number) => Array.from({ length: 4 }, () => ({ node, attempt }))
      assert.deepStrictEqual(
        yield* where(Flow.make("f", [add("a", 1).to(Node.withPolicy(failing("bad"), { retry: Schedule.recurs(2) }))])),
        all("bad", 3)
      )
      assert.deepStrictEqual(
        yield* where(Flow.make("f", [number("dies", () => Effect.die("no")).to()])),
        all("dies", 1)
      )
      assert.deepStrictEqual(yield* where(Flow.make("f", [Node.fromFlow(inner).to()])), all("inner/bad", 1))
    }))

  it.effect("is nothing where no node has failed", () =>
    Effect.gen(function*() {
      assert.isUndefined(Trace.failedAt(Cause.fail("no")))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [number("waits", () => Effect.never).to()]))
      const fiber = yield* Effect.forkChild(runtime.run(1, { traceId: "t" }), { startImmediately: true })
      yield* runtime.cancel("t")
      const exit = yield* Fiber.await(fiber)
      assert.isTrue(Exit.isFailure(exit))
      assert.isUndefined(Exit.isFailure(exit) ? Trace.failedAt(exit.cause) : undefined)
    }))
})
