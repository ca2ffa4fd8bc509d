import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schedule, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowEvent, FlowRuntime, Join, Node, Router } from "penguiflow"
import { start } from "./utils/effects.ts"
import { ofNodes, record } from "./utils/events.ts"
import { add, Bad, failing, late, never, number } from "./utils/nodes.ts"

describe("events", () => {
  it.effect("tell of a trace from its beginning to its one end", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("a", 1).to(add("b", 1))]))
      const events = yield* record(runtime)
      yield* runtime.run(1, { traceId: "t", headers: { tenant: "acme" } })
      const all = yield* events.ended
      assert.deepStrictEqual(all.map((event) => event._tag), [
        "TraceStarted",
        "NodeStarted",
        "NodeSucceeded",
        "NodeStarted",
        "NodeSucceeded",
        "TraceSucceeded"
      ])
      assert.isTrue(all.every((event) => event.traceId === "t" && event.flow === "f"))
      assert.strictEqual(all[0]!._tag === "TraceStarted" && all[0]!.tenant, "acme")
      assert.strictEqual(all[5]!._tag === "TraceSucceeded" && all[5]!.results, 1)
    }))

  it.effect("a retry that succeeds: started, errored, retried, started, succeeded", () =>
    Effect.gen(function*() {
      const node = number("n", (n, { attempt }) => attempt === 1 ? Effect.fail(new Bad({ n })) : Effect.succeed(n), {
        retry: Schedule.spaced("250 millis")
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [node.to()]))
      const events = yield* record(runtime)
      const fiber = yield* start(runtime.run(1))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      const all = yield* events.ended
      assert.deepStrictEqual(
        all.filter((event) => event._tag.startsWith("Node")).map((event) => `${event._tag} ${event.attempt}`),
        [
          "NodeStarted 1",
          "NodeErrored 1",
          "NodeRetried 1",
          "NodeStarted 2",
          "NodeSucceeded 2"
        ]
      )
      const retried = all.find((event) => event._tag === "NodeRetried")
      assert.strictEqual(retried?._tag === "NodeRetried" && retried.delayMs, 250)
    }))

  it.effect("retries that are exhausted: the last error is followed by NodeFailed and TraceFailed, which say where", () =>
    Effect.gen(function*() {
      const node = Node.withPolicy(failing("n"), { retry: Schedule.recurs(1) })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("a", 0).to(node)]))
      const events = yield* record(runtime)
      yield* Effect.flip(runtime.run(1))
      const all = yield* events.ended
      assert.deepStrictEqual(ofNodes(all.map((event) => `${event._tag} ${event.node} ${event.attempt}`)).slice(2), [
        "NodeStarted n 1",
        "NodeErrored n 1",
        "NodeRetried n 1",
        "NodeStarted n 2",
        "NodeErrored n 2",
        "NodeFailed n 2"
      ])
      const end = all.at(-1)!
      assert.deepStrictEqual([end._tag, end.node, end.attempt], ["TraceFailed", "n", 2])
      assert.strictEqual(end._tag === "TraceFailed" && end.error.tag, "Bad")
    }))

  it.effect("an unguarded failure and a defect are told once, with tag, code and message of the original", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [
          number("n", (n) => n === 1 ? Effect.fail(new Bad({ n })) : Effect.die(new TypeError("broken"))).to()
        ])
      )
      const events = yield* record(runtime)
      yield* Effect.flip(runtime.run(1))
      yield* Effect.flip(runtime.run(2))
      const errors = (yield* events.ended).flatMap((event) =>
        "error" in event && event.error !== undefined ? [`${event._tag} ${event.error.tag}`] : []
      )
      assert.strictEqual(errors.length, 6)
      assert.deepStrictEqual(errors.slice(0, 3), ["NodeErrored Bad", "NodeFailed Bad", "TraceFailed Bad"])
      assert.isTrue(
        errors.slice(3).every((line) => line.endsWith("TypeError") || line.endsWith("FlowError")),
        errors.join()
      )
    }))

  it.effect("a node's duration does not hold what follows it, nor its backoff", () =>
    Effect.gen(function*() {
      const first = number("first", (n, { attempt }) =>
        Effect.andThen(Effect.sleep("10 millis"), attempt === 1 ? Effect.fail(new Bad({ n })) : Effect.succeed(n)), {
        retry: Schedule.spaced("1 second")
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [first.to(late("second", "5 seconds"))]))
      const events = yield* record(runtime)
      const fiber = yield* start(runtime.run(1))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      const durations = (yield* events.ended).flatMap((event) =>
        event.durationMs === undefined ? [] : [[event._tag, event.node, event.durationMs, event.at]]
      )
      assert.deepStrictEqual(durations, [
        ["NodeErrored", "first", 10, 10],
        ["NodeSucceeded", "first", 10, 1020],
        ["NodeSucceeded", "second", 5000, 6020],
        ["TraceSucceeded", undefined, 6020, 6020]
      ])
    }))

  it.effect("a node that waits for its permit begins when it has it", () =>
    Effect.gen(function*() {
      const narrow = Node.withPolicy(late("narrow", "100 millis"), { concurrency: 1 })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("first", 1).to(narrow)]))
      const events = yield* record(runtime)
      const one = yield* start(runtime.run(1))
      const two = yield* start(runtime.run(2))
      yield* TestClock.adjust("200 millis")
      yield* Fiber.join(one)
      yield* Fiber.join(two)
      const told = (yield* events.ended).filter(({ node }) => node === "narrow")
      assert.deepStrictEqual(told.map(({ _tag, at, durationMs }) => [_tag, at, durationMs]), [
        ["NodeStarted", 0, undefined],
        ["NodeSucceeded", 100, 100],
        ["NodeStarted", 100, undefined],
        ["NodeSucceeded", 200, 100]
      ])
    }))

  it.effect("a trace that spreads into branches lasts until the last of them has ended", () =>
    Effect.gen(function*() {
      const branches = [late("short", 10), late("long", 500)] as const
      const join = Join.all("join", { short: Schema.Number, long: Schema.Number })
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [
          late("first", 5).to(...branches),
          branches[0].to(join.in.short),
          branches[1].to(join.in.long),
          join.to()
        ])
      )
      const events = yield* record(runtime)
      const fiber = yield* start(runtime.run(1))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      const last = (yield* events.ended).at(-1)!
      assert.deepStrictEqual([last._tag, last.durationMs, last.at], ["TraceSucceeded", 505, 505])
    }))

  it.effect("a failing branch: the siblings are told as interrupted, and the trace fails of the first alone", () =>
    Effect.gen(function*() {
      const bad = number("bad", (n) => Effect.andThen(Effect.sleep(10), Effect.fail(new Bad({ n }))))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("s", 0).to(never("x"), bad, never("y"))]))
      const events = yield* record(runtime)
      const fiber = yield* start(runtime.runAll(1))
      yield* TestClock.adjust(10)
      yield* Fiber.await(fiber)
      const lines = yield* events.sentences
      assert.deepStrictEqual(lines.slice(-5).toSorted(), [
        "NodeErrored bad 1",
        "NodeFailed bad 1",
        "NodeInterrupted x 1",
        "NodeInterrupted y 1",
        "TraceFailed"
      ])
      assert.strictEqual(lines.at(-1), "TraceFailed")
    }))

  it.effect("a subflow that is tried again ends the visits within it, and begins new ones", () =>
    Effect.gen(function*() {
      let calls = 0
      const inner = Flow.make("inner", [
        number("n", (n) => ++calls === 1 ? Effect.fail(new Bad({ n })) : Effect.succeed(n)).to()
      ])
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [Node.withPolicy(Node.fromFlow(inner), { retry: Schedule.recurs(1) }).to()])
      )
      const events = yield* record(runtime)
      yield* runtime.run(1)
      const lines = yield* events.sentences
      assert.strictEqual(lines.at(-1), "TraceSucceeded")
      assert.deepStrictEqual(lines, [
        "TraceStarted",
        "NodeStarted inner 1",
        "NodeStarted inner/n 1",
        "NodeErrored inner/n 1",
        "NodeFailed inner/n 1",
        "NodeErrored inner 1",
        "NodeRetried inner 1",
        "NodeStarted inner 2",
        "NodeStarted inner/n 1",
        "NodeSucceeded inner/n 1",
        "NodeSucceeded inner 2",
        "TraceSucceeded"
      ])
    }))

  it("go through JSON and come back as they were, what is undefined included", () => {
    const event: FlowEvent.FlowEvent = {
      _tag: "TraceFailed",
      flow: "f",
      traceId: "t",
      node: undefined,
      attempt: undefined,
      at: 1,
      durationMs: 2,
      error: { tag: "FlowError", code: undefined, message: "no" }
    }
    const text = Schema.fromJsonString(FlowEvent.FlowEvent)
    const encoded = Schema.encodeSync(FlowEvent.FlowEvent)(event)
    assert.deepStrictEqual(Schema.decodeSync(text)(Schema.encodeSync(text)(event)), event)
    assert.deepStrictEqual(Schema.decodeUnknownSync(FlowEvent.FlowEvent)(JSON.parse(JSON.stringify(encoded))), event)
    const json = Schema.toCodecJson(FlowEvent.FlowEvent)
    assert.deepStrictEqual(Schema.decodeSync(json)(Schema.encodeSync(json)(event)), event)
  })

  it.effect("each visit has a beginning and exactly one end, in every kind of node", () =>
    Effect.gen(function*() {
      const gate = Router.make("gate", { input: Schema.Number, cases: ["on", "off"], decide: () => ["on", "off"] })
      const pair = Join.all("pair", { a: Schema.Number, b: Schema.Number })
      const a = late("a", 5)
      const b = add("b", 1)
      const sum = Node.make("sum", {
        input: Schema.Struct({ a: Schema.Number, b: Schema.Number }),
        output: Schema.Array(Schema.Number),
        run: ({ a, b }) => Effect.succeed([a, b])
      })
      const each = Node.forEach(Node.fromFlow(Flow.make("inner", [add("x", 1).to(late("y", 1))])), { concurrency: 2 })
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [gate.to({ on: a, off: b }), a.to(pair.in.a), b.to(pair.in.b), pair.to(sum), sum.to(each)])
      )
      const events = yield* record(runtime)
      const fiber = yield* start(runtime.run(1))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [2, 3])
      const count = new Map<string, number>()
      for (const line of ofNodes(yield* events.sentences)) {
        const [tag, node] = line.split(" ")
        count.set(node!, (count.get(node!) ?? 0) + (tag === "NodeStarted" ? 1 : -1))
      }
      assert.deepStrictEqual([...count].filter(([, open]) => open !== 0), [])
      assert.strictEqual(count.size, 8)
    }))

  it.effect("each visit that began has exactly one end, where a subflow fails, times out or is cancelled too", () =>
    Effect.gen(function*() {
      const inner = (deep: ReturnType<typeof number<"deep", Bad>>) => Flow.make("inner", [add("s", 0).to(deep)])
      const outer = (deep: ReturnType<typeof number<"deep", Bad>>, timeout?: number) =>
        Flow.make("outer", [Node.withPolicy(Node.fromFlow(inner(deep)), { timeout }).to()])
      const open = (flow: ReturnType<typeof outer>) =>
        Effect.gen(function*() {
          const runtime = yield* FlowRuntime.make(flow)
          const events = yield* record(runtime)
          const fiber = yield* start(Effect.exit(runtime.run(1, { traceId: "t" })))
          yield* TestClock.adjust("1 second")
          yield* runtime.cancel("t")
          yield* Fiber.join(fiber)
          const visits = new Map<string, number>()
          for (const line of ofNodes(yield* events.sentences)) {
            const [tag, node] = line.split(" ")
            const step = tag === "NodeStarted"
              ? 1
              : tag === "NodeErrored" || tag === "NodeTimedOut" || tag === "NodeStuck"
              ? 0
              : -1
            visits.set(node!, (visits.get(node!) ?? 0) + step)
          }
          return [...visits].filter(([, count]) => count !== 0)
        })
      assert.deepStrictEqual(yield* open(outer(never("deep"))), [], "cancelled")
      assert.deepStrictEqual(yield* open(outer(never("deep"), 10)), [], "timed out")
      assert.deepStrictEqual(yield* open(outer(failing("deep"))), [], "failed")
    }))

  it.effect("who begins to watch in the middle of a trace sees no nonsense about when it began", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1000 days")
      const runtime = yield* FlowRuntime.make(Flow.make("f", [late("n", "1 second").to()]))
      const fiber = yield* start(runtime.run(1))
      const events = yield* record(runtime)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      const all = yield* events.ended
      assert.deepStrictEqual(all.map((event) => event._tag), ["NodeSucceeded", "TraceSucceeded"])
      for (const event of all) assert.isAtMost(event.durationMs!, 1000, event._tag)
    }))

  it.effect("two readers see the same, each from when it began", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("n", 1).to()]))
      const one = yield* record(runtime)
      yield* runtime.run(1)
      const two = yield* record(runtime)
      yield* runtime.run(2)
      const first = yield* one.sentences
      const second = yield* two.sentences
      assert.strictEqual(first.length, 8)
      assert.deepStrictEqual(second, first.slice(4))
    }))

  it.effect("a reader that leaves, or reads nothing, slows no trace", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("n", 1).to()]))
      const stuck = yield* start(Stream.runForEach(runtime.events, () => Effect.never))
      const taken = yield* start(Stream.runCollect(Stream.take(runtime.events, 2)))
      for (let i = 0; i < 10_000; i++) yield* runtime.run(i)
      assert.strictEqual((yield* Fiber.join(taken)).length, 2)
      yield* Fiber.interrupt(stuck)
    }))

  it.effect("hold no payload, and of an error its message cut at eight kilobytes", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [
          Node.make("n", {
            input: Schema.String,
            output: Schema.String,
            run: (text) => text === "die" ? Effect.die(new Error("m".repeat(1_000_000))) : Effect.succeed(`${text}-out`)
          }).to()
        ])
      )
      const events = yield* record(runtime)
      yield* runtime.run("s3cr3t")
      yield* Effect.flip(runtime.run("die"))
      const all = yield* events.ended
      const text = JSON.stringify(all)
      assert.notInclude(text, "s3cr3t")
      assert.isBelow(text.length, 40_000)
      for (const event of all) {
        if ("error" in event && event.error !== undefined) assert.isAtMost(event.error.message.length, 8300)
      }
    }))

  it.effect("of hostile errors are told in words and harm nobody", () =>
    Effect.gen(function*() {
      const cyclic: { _tag: string; self?: unknown } = { _tag: "Cyclic" }
      cyclic.self = cyclic
      const hostile = Object.defineProperty({ _tag: "Hostile" }, "message", {
        get: () => {
          throw new Error("no")
        }
      })
      const revoked = Proxy.revocable({}, {})
      revoked.revoke()
      const values = [undefined, null, 0, "", Symbol("s"), 1n, cyclic, hostile, revoked.proxy, Object.create(null)]
      const runtime = yield* FlowRuntime.make(Flow.make("f", [number("n", (n) => Effect.die(values[n])).to()]))
      const events = yield* record(runtime)
      for (let i = 0; i < values.length; i++) yield* Effect.flip(runtime.run(i))
      const all = yield* events.ended
      assert.strictEqual(all.filter((event) => event._tag === "TraceFailed").length, values.length)
      const encode = Schema.encodeUnknownEffect(Schema.toCodecJson(FlowEvent.FlowEvent))
      for (const event of all) yield* encode(event)
    }))

  it.effect("can be stored and sent: every kind of event survives its JSON form", () =>
    Effect.gen(function*() {
      const undo = Node.make("undo", {
        input: Schema.Number,
        output: Schema.Number,
        run: Effect.succeed,
        compensate: () => Effect.die("no")
      })
      const talk = Node.make("talk", {
        input: Schema.Number,
        part: Schema.Number,
        output: Schema.Number,
        run: (n, { emit }) => Effect.as(emit(n), n)
      })
      const slow = Node.withPolicy(never("slow"), { timeout: 10, retry: Schedule.recurs(1) })
      const stuck = number("stuck", () => Effect.uninterruptible(Effect.never))
      const ways = ["ok", "slow", "stuck", "wait"] as const
      const pick = Router.make("pick", { input: Schema.Number, cases: ways, decide: (n) => ways[n]! })
      const flow = Flow.make("f", [
        undo.to(talk),
        talk.to(pick),
        pick.to({ ok: add("ok", 0), slow, stuck, wait: never("wait") })
      ])
      const runtime = yield* FlowRuntime.make(flow)
      const events = yield* record(runtime)
      for (const n of [0, 1, 2, 3]) yield* runtime.emit(n, { traceId: `${n}` })
      yield* TestClock.adjust("1 second")
      const two = yield* start(runtime.cancel("2"))
      yield* runtime.cancel("3", "enough")
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(two)
      const all = yield* events.ended
      const codec = Schema.toCodecJson(FlowEvent.FlowEvent)
      for (const event of all) {
        const json = JSON.parse(JSON.stringify(yield* Schema.encodeEffect(codec)(event)))
        assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(codec)(json), event)
      }
      assert.deepStrictEqual(
        [...new Set(all.map((event) => event._tag))].sort(),
        [
          "NodeCompensated",
          "NodeFailed",
          "NodeInterrupted",
          "NodeRetried",
          "NodeStarted",
          "NodeStuck",
          "NodeSucceeded",
          "NodeTimedOut",
          "PartEmitted",
          "TraceCancelled",
          "TraceFailed",
          "TraceStarted",
          "TraceSucceeded"
        ]
      )
    }))
})
