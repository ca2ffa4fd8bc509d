import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Logger, References, Schedule, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Node } from "penguiflow"
import { codeOf, now, sleeper, start } from "./utils/effects.ts"
import { record } from "./utils/events.ts"
import { add, Bad, failing, late, never, number } from "./utils/nodes.ts"

/** 0 never ends, 1 fails, else the number is given after that many milliseconds. */
const moody = number(
  "moody",
  (n) => n === 0 ? Effect.never : n === 1 ? Effect.fail(new Bad({ n })) : Effect.as(Effect.sleep(n), n)
)
const flow = Flow.make("f", [moody.to()])
const echo = Flow.make("echo", [add("echo", 0).to()])

describe("FlowRuntime.run", () => {
  it.effect("concurrent callers each get their own result, the slow ones too", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flow)
      const fiber = yield* start(Effect.forEach([900, 2, 500, 30], (n) => runtime.run(n), { concurrency: "unbounded" }))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [900, 2, 500, 30])
    }))

  it.effect("of two traces emitted and run side by side, run's result never goes to fetch", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flow)
      yield* runtime.emit(20, { traceId: "emitted" })
      const fiber = yield* start(runtime.run(10))
      const fetch = yield* start(runtime.fetch)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), 10)
      assert.strictEqual((yield* Fiber.join(fetch)).traceId, "emitted")
    }))

  it.effect("runs hundreds of messages with unread extra results, and keeps none of them", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("s", 0).to(add("a", 1), add("b", 2))]))
      for (let i = 0; i < 300; i++) assert.strictEqual(yield* codeOf(runtime.run(i)), "MANY_RESULTS")
      assert.strictEqual(yield* runtime.open, 0)
      assert.deepStrictEqual(yield* runtime.runAll(1), [2, 3])
    }))

  it.effect("a caller that gives up frees its trace id", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flow)
      const given = yield* start(Effect.timeoutOption(runtime.run(0, { traceId: "t" }), "1 second"))
      yield* TestClock.adjust("1 second")
      assert.isTrue((yield* Fiber.join(given))._tag === "None")
      const again = yield* start(runtime.run(5, { traceId: "t" }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(again), 5)
    }))

  it.effect("interrupting the caller stops the trace, waits for its finalizers, and leaves nothing", () =>
    Effect.gen(function*() {
      yield* sleeper
      let released = false
      const node = number(
        "n",
        () =>
          Effect.onInterrupt(
            Effect.never,
            () => Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => released = true))
          )
      )
      const runtime = yield* FlowRuntime.make(Flow.make("f", [node.to()]))
      const events = yield* record(runtime)
      const fiber = yield* start(runtime.run(1))
      const interrupting = yield* start(Fiber.interrupt(fiber))
      assert.isUndefined(interrupting.pollUnsafe())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(interrupting)
      assert.isTrue(released)
      assert.strictEqual(yield* runtime.open, 0)
      assert.deepStrictEqual(yield* events.sentences, [
        "TraceStarted",
        "NodeStarted n 1",
        "NodeInterrupted n 1",
        "TraceCancelled"
      ])
    }))

  it.effect("two messages get different trace ids", () =>
    Effect.gen(function*() {
      const ids = Flow.make("ids", [
        Node.make("id", {
          input: Schema.Number,
          output: Schema.String,
          run: (_, { traceId }) => Effect.succeed(traceId)
        }).to()
      ])
      const one = yield* FlowRuntime.make(ids)
      const two = yield* FlowRuntime.make(ids)
      const seen = new Set<string>()
      for (let i = 0; i < 500; i++) {
        seen.add(yield* one.run(i))
        seen.add(yield* two.run(i))
        seen.add(yield* Flow.run(ids, i))
      }
      assert.strictEqual(seen.size, 1500)
    }))

  it.effect("an id that is open is refused with DUPLICATE_TRACE, one that has ended is free again", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flow)
      const first = yield* start(runtime.run(10, { traceId: "t" }))
      const error = yield* Effect.flip(runtime.run(2, { traceId: "t" }))
      assert.deepStrictEqual([error._tag === "FlowError" && error.code, error._tag === "FlowError" && error.traceId], [
        "DUPLICATE_TRACE",
        "t"
      ])
      assert.strictEqual(yield* codeOf(runtime.emit(2, { traceId: "t" })), "DUPLICATE_TRACE")
      assert.strictEqual(yield* codeOf(Stream.runCollect(runtime.stream(2, { traceId: "t" }))), "DUPLICATE_TRACE")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(first), 10)
      assert.strictEqual(yield* runtime.emit(1, { traceId: "t" }), "t")
      assert.strictEqual(yield* codeOf(runtime.run(1, { traceId: "t" })), "Bad")
    }))

  it.effect("headers have defaults, and keep what the caller gave", () =>
    Effect.gen(function*() {
      const read = Flow.make("f", [
        Node.make("n", {
          input: Schema.Number,
          output: Schema.Unknown,
          run: (_, { headers }) => Effect.succeed(headers)
        }).to(
          Node.make("m", {
            input: Schema.Unknown,
            output: Schema.Unknown,
            run: (_, { headers }) => Effect.succeed(headers)
          })
        )
      ])
      const runtime = yield* FlowRuntime.make(read)
      assert.deepStrictEqual(yield* runtime.run(1), { tenant: "default", priority: 0 })
      assert.deepStrictEqual(yield* runtime.run(1, { headers: { topic: "birds" } }), {
        tenant: "default",
        priority: 0,
        topic: "birds"
      })
      const full = { tenant: "acme", topic: "birds", priority: 7 }
      assert.deepStrictEqual(yield* runtime.run(1, { headers: full }), full)
      assert.deepStrictEqual(yield* runtime.run(1, { headers: { tenant: undefined } as never }), {
        tenant: "default",
        priority: 0
      })
    }))

  it.effect("meta that is not JSON is refused with INVALID_META and the key, before anything runs", () =>
    Effect.gen(function*() {
      let calls = 0
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [number("n", (n) => Effect.sync(() => (calls++, n))).to()])
      )
      const refused = (meta: unknown) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(runtime.run(1, { meta: meta as never }))
          assert.strictEqual(error.code, "INVALID_META")
          return error.reason._tag === "InvalidMeta" ? error.reason.key : undefined
        })
      const cyclic: { me?: unknown } = {}
      cyclic.me = cyclic
      assert.strictEqual(yield* refused({ pool: new Map() }), "pool")
      assert.strictEqual(yield* refused({ ok: 1, deep: { list: [1, { at: new Date(0) }] } }), "deep.list[1].at")
      assert.strictEqual(yield* refused({ fn: () => 1 }), "fn")
      assert.strictEqual(yield* refused({ nan: Number.NaN }), "nan")
      assert.include(yield* refused({ cyclic }), "cyclic")
      for (const meta of [null, [], "text", new Map()]) yield* refused(meta)
      const throwing = Object.defineProperty({}, "trap", {
        enumerable: true,
        get: () => {
          throw new Error("trap")
        }
      })
      yield* refused(throwing)
      yield* refused({ throwing })
      assert.strictEqual(yield* codeOf(runtime.emit(1, { meta: { pool: new Map() } as never })), "INVALID_META")
      assert.strictEqual(calls, 0)
      assert.strictEqual(yield* runtime.open, 0)
    }))

  it.effect("the caller's span is the parent of what nodes do, and its log annotations come along", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const node = number("n", (n) =>
        Effect.gen(function*() {
          seen.push((yield* Effect.currentParentSpan as never as Effect.Effect<{ spanId: string }>).spanId)
          seen.push(yield* References.CurrentLogAnnotations)
          yield* Effect.log("inside")
          return n
        }).pipe(Effect.orDie))
      const logged: Array<unknown> = []
      const logger = Logger.make(({ fiber }) => {
        logged.push(fiber.getRef(References.CurrentLogAnnotations))
      })
      const runtime = yield* Effect.provide(FlowRuntime.make(Flow.make("f", [node.to()])), Logger.layer([logger]))
      const call = (request: string) =>
        Effect.gen(function*() {
          const { spanId } = yield* Effect.currentSpan
          yield* runtime.run(1)
          yield* runtime.emit(2)
          yield* runtime.fetch
          assert.deepStrictEqual(seen.splice(0), [spanId, { request }, spanId, { request }])
        }).pipe(Effect.withSpan("caller"), Effect.annotateLogs({ request }))
      yield* call("one")
      yield* call("two")
      assert.deepStrictEqual(logged, [{ request: "one" }, { request: "one" }, { request: "two" }, { request: "two" }])
    }))

  it.effect("a caller without span or annotations does not inherit another caller's", () =>
    Effect.gen(function*() {
      let seen: unknown
      const node = number("n", (n) =>
        Effect.map(References.CurrentLogAnnotations, (annotations) => (seen = annotations, n)))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [node.to()]))
      yield* Effect.annotateLogs(runtime.run(1), { request: "secret" })
      yield* runtime.run(1)
      assert.deepStrictEqual(seen, {})
    }))

  it.effect("nobody waits for ever: a sibling that resists when another branch has failed is left behind", () =>
    Effect.gen(function*() {
      const stuck = number("stuck", () => Effect.uninterruptible(Effect.never))
      const bad = number("bad", (n) => Effect.andThen(Effect.sleep("1 second"), Effect.fail(new Bad({ n }))))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("s", 0).to(stuck, bad)]))
      const events = yield* record(runtime)
      const fiber = yield* start(runtime.runAll(1, { traceId: "t" }))
      yield* TestClock.adjust("10 minutes")
      const ended = fiber.pollUnsafe()
      // Else the end of the test would wait as well.
      const cancel = yield* start(runtime.cancel("t"))
      yield* TestClock.adjust("10 minutes")
      yield* Fiber.join(cancel)
      assert.isDefined(ended, "the caller waits for ever")
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "Bad")
      assert.include(yield* events.sentences, "NodeStuck stuck 1")
    }))

  it.effect("a failing trace harms neither the runtime nor other traces", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flow, { maxInFlight: 2 })
      for (let i = 0; i < 20; i++) assert.strictEqual(yield* codeOf(runtime.run(1)), "Bad")
      const fiber = yield* start(runtime.run(5))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), 5)
    }))
})

describe("FlowRuntime.emit and fetch", () => {
  it.effect("an emitted message's outcome says all of it: id, headers, meta, times, results", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 second")
      const runtime = yield* FlowRuntime.make(flow)
      const id = yield* runtime.emit(30, { headers: { tenant: "acme" }, meta: { k: 1 } })
      const fetch = yield* start(runtime.fetch)
      yield* TestClock.adjust("1 minute")
      const { exit, ...rest } = yield* Fiber.join(fetch)
      assert.deepStrictEqual(rest, {
        traceId: id,
        headers: { tenant: "acme", priority: 0 },
        meta: { k: 1 },
        startedAt: 1000,
        durationMs: 30,
        failedAt: undefined
      })
      assert.deepStrictEqual(yield* exit, [30])
    }))

  it.effect("a failed message is an outcome too, with the node's error and where it failed", () =>
    Effect.gen(function*() {
      const bad = Node.withPolicy(failing("bad"), { retry: Schedule.recurs(2) })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("a", 1).to(bad)]))
      yield* runtime.emit(1)
      const outcome = yield* runtime.fetch
      assert.deepStrictEqual(outcome.failedAt, { node: "bad", attempt: 3 })
      const error = yield* Effect.flip(outcome.exit)
      assert.isTrue(error._tag === "Bad" && error.n === 2)
    }))

  it.effect("outcomes come in the order in which the traces end", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flow)
      for (const n of [30, 10, 20]) yield* runtime.emit(n, { traceId: `${n}` })
      yield* TestClock.adjust("1 second")
      const ids = yield* Effect.replicateEffect(Effect.map(runtime.fetch, (outcome) => outcome.traceId), 3)
      assert.deepStrictEqual(ids, ["10", "20", "30"])
    }))

  it.effect("waiting fetchers are served in turn", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flow)
      const fetchers = yield* Effect.forEach([1, 2, 3], () => start(runtime.fetch))
      for (const n of [10, 20, 30]) yield* runtime.emit(n, { traceId: `${n}` })
      yield* TestClock.adjust("1 second")
      const outcomes = yield* Effect.forEach(fetchers, (fiber) => Fiber.join(fiber))
      assert.deepStrictEqual(outcomes.map(({ traceId }) => traceId), ["10", "20", "30"])
    }))

  it.effect("a fetch that is interrupted or times out loses nothing", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flow, { maxInFlight: 1000 })
      const got: Array<string> = []
      const wanted: Array<string> = []
      const consumer = yield* start(Effect.forever(
        Effect.timeoutOption(runtime.fetch, "7 millis").pipe(
          Effect.map((outcome) => outcome._tag === "Some" && got.push(outcome.value.traceId))
        )
      ))
      for (let i = 0; i < 200; i++) wanted.push(yield* runtime.emit(2 + (i * 13) % 97))
      for (let i = 0; i < 110; i++) yield* TestClock.adjust("1 millis")
      yield* Fiber.interrupt(consumer)
      for (let i = 0; i < 50; i++) {
        const fetcher = yield* start(runtime.fetch)
        yield* Fiber.interrupt(fetcher)
        wanted.push(yield* runtime.emit(3))
        yield* TestClock.adjust("3 millis")
        got.push((yield* runtime.fetch).traceId)
      }
      assert.deepStrictEqual([...got].sort(), [...wanted].sort())
    }))

  it.effect("every way a trace can end is one outcome: success, error, defect, cancel, deadline", () =>
    Effect.gen(function*() {
      const node = number(
        "n",
        (n) =>
          n === 2
            ? Effect.die("dead")
            : n === 1
            ? Effect.fail(new Bad({ n }))
            : n === 3
            ? Effect.succeed(n)
            : Effect.never
      )
      const runtime = yield* FlowRuntime.make(Flow.make("f", [node.to()]))
      yield* runtime.emit(0, { traceId: "cancelled" })
      yield* runtime.emit(0, { traceId: "late", deadline: "1 second" })
      yield* runtime.emit(0, { traceId: "past", deadline: 0 })
      for (const n of [1, 2, 3]) yield* runtime.emit(n, { traceId: `${n}` })
      yield* runtime.cancel("cancelled", "enough")
      yield* TestClock.adjust("1 second")
      const ends = new Map<string, string>()
      for (let i = 0; i < 6; i++) {
        const { exit, traceId } = yield* runtime.fetch
        ends.set(traceId, Exit.isSuccess(exit) ? "ok" : yield* codeOf(exit))
      }
      assert.deepStrictEqual([...ends].sort(), [
        ["1", "Bad"],
        ["2", "NODE_EXCEPTION"],
        ["3", "ok"],
        ["cancelled", "TRACE_CANCELLED"],
        ["late", "DEADLINE_EXCEEDED"],
        ["past", "DEADLINE_EXCEEDED"]
      ])
      assert.strictEqual(yield* runtime.open, 0)
    }))

  it.effect("the outcome of a message whose deadline was past when it came says when it came", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 hour")
      const runtime = yield* FlowRuntime.make(flow)
      yield* runtime.emit(5, { deadline: 0 })
      const { durationMs, startedAt } = yield* runtime.fetch
      assert.deepStrictEqual({ durationMs, startedAt }, { durationMs: 0, startedAt: 3_600_000 })
    }))

  it.effect("a bad input is an outcome, not a failed emit", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(echo)
      yield* runtime.emit("text" as never)
      assert.strictEqual(yield* codeOf((yield* runtime.fetch).exit), "INVALID_INPUT")
    }))

  it.effect("no caller ever gets another tenant's result", () =>
    Effect.gen(function*() {
      const tenants = Flow.make("f", [
        Node.make("n", {
          input: Schema.Number,
          output: Schema.String,
          run: (n, { headers }) => Effect.as(Effect.sleep(n), headers.tenant)
        }).to()
      ])
      const runtime = yield* FlowRuntime.make(tenants)
      const callers = Array.from({ length: 40 }, (_, i) => `tenant ${i}`)
      const fiber = yield* start(
        Effect.forEach(callers, (tenant, i) => runtime.run((i * 7) % 11, { headers: { tenant } }), {
          concurrency: "unbounded"
        })
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), callers)
    }))
})

describe("FlowRuntime.cancel", () => {
  it.effect("of an unknown or an ended trace is false, again and again", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(echo)
      assert.isFalse(yield* runtime.cancel("nobody"))
      yield* runtime.run(1, { traceId: "t" })
      assert.isFalse(yield* runtime.cancel("t"))
      yield* runtime.emit(1, { traceId: "u" })
      assert.isFalse(yield* runtime.cancel("u"))
    }))

  it.effect("carries its reason to the caller, the outcome and the event; the first reason counts", () =>
    Effect.gen(function*() {
      yield* sleeper
      const node = number("n", () => Effect.onInterrupt(Effect.never, () => Effect.sleep("1 second")))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [node.to()]))
      const events = yield* record(runtime)
      yield* runtime.emit(1, { traceId: "t" })
      const first = yield* start(runtime.cancel("t", "the first"))
      const second = yield* start(runtime.cancel("t", "the second"))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([yield* Fiber.join(first), yield* Fiber.join(second)], [true, true])
      assert.isFalse(yield* runtime.cancel("t"))
      const error = yield* Effect.flip((yield* runtime.fetch).exit)
      assert.deepStrictEqual(error.reason, { _tag: "TraceCancelled", reason: "the first" })
      assert.include(error.message, "the first")
      const ends = (yield* events.ended).filter((event) => event._tag === "TraceCancelled")
      assert.deepStrictEqual(ends.map((event) => event._tag === "TraceCancelled" && event.reason), ["the first"])
    }))

  it.effect("returns once the node's finalizers have run, and the caller hears of it only then", () =>
    Effect.gen(function*() {
      yield* sleeper
      const told: Array<string> = []
      const node = number(
        "n",
        () =>
          Effect.onInterrupt(
            Effect.never,
            () => Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => told.push("finalized")))
          )
      )
      const runtime = yield* FlowRuntime.make(Flow.make("f", [node.to()]))
      const caller = yield* start(
        Effect.onExit(runtime.run(1, { traceId: "t" }), () => Effect.sync(() => told.push("caller")))
      )
      const cancel = yield* start(Effect.tap(runtime.cancel("t"), () => Effect.sync(() => told.push("cancelled"))))
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(told, [])
      yield* TestClock.adjust("1 millis")
      yield* Fiber.await(caller)
      yield* Fiber.join(cancel)
      assert.strictEqual(told[0], "finalized")
      assert.strictEqual(told.length, 3)
    }))

  it.effect("during backoff it takes effect at once", () =>
    Effect.gen(function*() {
      const retried = Node.withPolicy(failing("bad"), { retry: Schedule.spaced("1 hour") })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [retried.to()]))
      const fiber = yield* start(runtime.run(1, { traceId: "t" }))
      assert.isTrue(yield* runtime.cancel("t"))
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
      assert.strictEqual(yield* now, 0)
    }))

  it.effect("stops every branch, item and subflow of its trace, and nothing of any other", () =>
    Effect.gen(function*() {
      let stopped = 0
      const wait = <const Name extends string>(name: Name) =>
        number(name, () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++)))
      const inner = Flow.make("inner", [wait("x").to(), wait("y").to()])
      const list = Node.make("list", {
        input: Schema.Number,
        output: Schema.Array(Schema.Number),
        run: () => Effect.succeed([1, 2, 3])
      })
      const f = Flow.make("f", [
        add("s", 0).to(wait("a"), Node.fromFlow(inner), list),
        list.to(Node.forEach(wait("item"), { concurrency: 2 }))
      ])
      const runtime = yield* FlowRuntime.make(f)
      const one = yield* start(runtime.runAll(1, { traceId: "one" }))
      const two = yield* start(runtime.runAll(1, { traceId: "two" }))
      assert.isTrue(yield* runtime.cancel("one"))
      assert.strictEqual(stopped, 5)
      assert.isUndefined(two.pollUnsafe())
      assert.strictEqual(yield* codeOf(Fiber.join(one)), "TRACE_CANCELLED")
      assert.isTrue(yield* runtime.cancel("two"))
      assert.strictEqual(stopped, 10)
      yield* Fiber.await(two)
    }))

  it.effect("frees the id: the next trace of that id runs as if nothing had been", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flow)
      const first = yield* start(runtime.run(0, { traceId: "t" }))
      yield* runtime.cancel("t")
      yield* Fiber.await(first)
      const again = yield* start(runtime.run(9, { traceId: "t" }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(again), 9)
    }))

  it.effect("a node may cancel its own trace: nothing of it runs after", () =>
    Effect.gen(function*() {
      let reached = 0
      let cancel: Effect.Effect<unknown> = Effect.void
      for (const sooner of [Effect.void, Effect.yieldNow]) {
        const self = number("self", (n) => Effect.andThen(sooner, Effect.as(Effect.suspend(() => cancel), n)))
        const runtime = yield* FlowRuntime.make(
          Flow.make("f", [self.to(number("after", (n) => Effect.sync(() => (reached++, n))))])
        )
        cancel = runtime.cancel("t")
        assert.strictEqual(yield* codeOf(runtime.run(1, { traceId: "t" })), "TRACE_CANCELLED")
        assert.strictEqual(yield* runtime.open, 0)
      }
      assert.strictEqual(reached, 0)
    }))

  it.effect("a node that resists is left behind after interruptGrace, told as NodeStuck, and the trace ends", () =>
    Effect.gen(function*() {
      const stuck = number("stuck", () => Effect.uninterruptible(Effect.never))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("a", 0).to(stuck)]))
      const events = yield* record(runtime)
      const fiber = yield* start(runtime.run(1, { traceId: "t" }))
      const cancel = yield* start(runtime.cancel("t"))
      yield* TestClock.adjust("4999 millis")
      assert.isUndefined(cancel.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.isTrue(yield* Fiber.join(cancel))
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
      const stuckOnes = (yield* events.sentences).filter((line) => line.startsWith("NodeStuck"))
      assert.deepStrictEqual(stuckOnes, ["NodeStuck stuck 1"])
    }))

  it.effect("of several branches only the one that resists is told as stuck", () =>
    Effect.gen(function*() {
      const stuck = number("stuck", () => Effect.uninterruptible(Effect.never))
      const a = add("a", 0)
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("s", 0).to(a, never("b")), a.to(stuck, never("c"))]))
      const events = yield* record(runtime)
      const fiber = yield* start(runtime.runAll(1, { traceId: "t" }))
      const cancel = yield* start(runtime.cancel("t"))
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(cancel)
      yield* Fiber.await(fiber)
      const lines = yield* events.sentences
      assert.deepStrictEqual(lines.filter((line) => line.startsWith("NodeStuck")), ["NodeStuck stuck 1"])
    }))

  it.effect("a node left behind that ends later changes nothing", () =>
    Effect.gen(function*() {
      let after = 0
      const stuck = number("stuck", (n) => Effect.uninterruptible(Effect.as(Effect.sleep("1 minute"), n)))
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [stuck.to(number("after", (n) => Effect.sync(() => (after++, n))))])
      )
      const events = yield* record(runtime)
      yield* runtime.emit(1, { traceId: "t" })
      const cancel = yield* start(runtime.cancel("t"))
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(cancel)
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* codeOf((yield* runtime.fetch).exit), "TRACE_CANCELLED")
      assert.strictEqual(after, 0)
      const ends = (yield* events.sentences).filter((line) => line.startsWith("Trace"))
      assert.deepStrictEqual(ends, ["TraceStarted", "TraceCancelled"])
    }))

  it.effect("that is itself interrupted still cancels", () =>
    Effect.gen(function*() {
      yield* sleeper
      const node = number("n", () => Effect.onInterrupt(Effect.never, () => Effect.sleep("1 second")))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [node.to()]))
      const fiber = yield* start(runtime.run(1, { traceId: "t" }))
      const cancel = yield* start(runtime.cancel("t"))
      yield* Fiber.interrupt(cancel)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
    }))
})

describe("a deadline", () => {
  it.effect("interrupts the whole trace, all its branches, at its instant", () =>
    Effect.gen(function*() {
      let stopped = 0
      const wait = <const Name extends string>(name: Name) =>
        number(name, () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++)))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("s", 0).to(wait("a"), wait("b"), late("c", 10))]))
      const fiber = yield* start(runtime.runAll(1, { deadline: "50 millis" }))
      yield* TestClock.adjust("49 millis")
      assert.strictEqual(stopped, 0)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "DEADLINE_EXCEEDED")
      assert.strictEqual(stopped, 2)
    }))

  it.effect("a message past it is not given to the node, and no NodeStarted is told", () =>
    Effect.gen(function*() {
      let calls = 0
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [number("a", (n) => Effect.sync(() => (calls++, n))).to(add("b", 1))])
      )
      const events = yield* record(runtime)
      assert.strictEqual(yield* codeOf(runtime.run(1, { deadline: 0 })), "DEADLINE_EXCEEDED")
      assert.strictEqual(calls, 0)
      const lines = yield* events.sentences
      assert.isFalse(lines.some((line) => line.startsWith("Node")))
      assert.strictEqual(lines.filter((line) => line === "TraceFailed").length, 1)
    }))

  it.effect("is asked between nodes, so that busy ones can't run past it", () =>
    Effect.gen(function*() {
      let reached = 0
      const busy = number("busy", (n) => Effect.as(TestClock.adjust("1 second"), n))
      const f = Flow.make("f", [busy.to(number("after", (n) => Effect.sync(() => (reached++, n))))])
      assert.strictEqual(yield* codeOf(Flow.run(f, 1, { deadline: "500 millis" })), "DEADLINE_EXCEEDED")
      assert.strictEqual(reached, 0)
    }))

  it.effect("a trace that ends in time is not touched by it later", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flow)
      const fiber = yield* start(runtime.run(10, { traceId: "t", deadline: "1 second" }))
      yield* TestClock.adjust("10 millis")
      assert.strictEqual(yield* Fiber.join(fiber), 10)
      const again = yield* start(runtime.run(5000, { traceId: "t" }))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(again), 5000)
    }))

  it.effect("waits for finalizers, but no longer than interruptGrace", () =>
    Effect.gen(function*() {
      const stuck = Flow.make("f", [number("n", () => Effect.uninterruptible(Effect.never)).to()])
      const runtime = yield* FlowRuntime.make(stuck, { interruptGrace: "1 second" })
      const fiber = yield* start(runtime.run(1, { deadline: "1 second" }))
      yield* TestClock.adjust("1999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "DEADLINE_EXCEEDED")
    }))
})

describe("FlowRuntime.Service", () => {
  it.effect("is a layer: services come from under it, and leaving it shuts the runtime down", () =>
    Effect.gen(function*() {
      class Factor extends Context.Service<Factor, number>()("test/Factor") {}
      let stopped = 0
      const times = number(
        "times",
        (n) =>
          n === 0
            ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++))
            : Factor.useSync((factor) => n * factor)
      )
      class Times
        extends FlowRuntime.Service<Times>()("test/Times", Flow.make("f", [times.to()]), { maxInFlight: 2 })
      {}
      const program = Effect.gen(function*() {
        const runtime = yield* Times
        yield* runtime.emit(0)
        return yield* runtime.run(2)
      })
      assert.strictEqual(yield* Effect.provide(program, Layer.provide(Times.layer, Layer.succeed(Factor, 21))), 42)
      assert.strictEqual(stopped, 1)
    }))

  it.effect("two runtimes of one flow share nothing", () =>
    Effect.gen(function*() {
      const one = yield* FlowRuntime.make(flow)
      const two = yield* FlowRuntime.make(flow)
      const a = yield* start(one.run(10, { traceId: "t" }))
      const b = yield* start(two.run(20, { traceId: "t" }))
      assert.isTrue(yield* two.cancel("t"))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(a), 10)
      assert.strictEqual(yield* codeOf(Fiber.join(b)), "TRACE_CANCELLED")
    }))
})
