/** Bad messages. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, type FlowError, FlowRuntime, Join, Node, Router, type Trace } from "penguiflow"
import { endOf, flowOf, node, program, timed, watching } from "./kit.ts"

const Order = Schema.Struct({ id: Schema.Number, lines: Schema.Array(Schema.Struct({ count: Schema.Int })) })
const forced = (u: unknown): never => u as never

/** A node that takes anything that fits a schema and counts its runs. */
const taking = <A>(schema: Schema.Schema<A>) => {
  const runs: Array<A> = []
  return {
    runs,
    node: Node.make("taking", {
      input: schema,
      output: Schema.Unknown,
      run: (value) => Effect.sync(() => (runs.push(value), value))
    })
  }
}
const failure = <A, E>(effect: Effect.Effect<A, E>) => Effect.map(Effect.flip(effect), (e) => e as FlowError.FlowError)

describe("input that does not fit", () => {
  it.effect("16: is refused with the path before any node runs, and other traces go on", () =>
    Effect.gen(function*() {
      const { node: takes, runs } = taking(Order)
      const runtime = yield* FlowRuntime.make(Flow.make("orders", [takes.to()]))
      const bad: ReadonlyArray<readonly [unknown, string]> = [
        [{ id: "7", lines: [] }, "at [\"id\"]"],
        [{ lines: [] }, "at [\"id\"]"],
        [{ id: 7, lines: [{ count: 1 }, { count: 1.5 }] }, "at [\"lines\"][1][\"count\"]"],
        [null, "Expected"],
        ["id", "Expected"],
        [[], "Expected"],
        [undefined, "Expected"],
        [7, "Expected"],
        [() => 7, "Expected"]
      ]
      for (const [input, where] of bad) {
        const error = yield* failure(runtime.run(forced(input)))
        assert.strictEqual(error.code, "INVALID_INPUT")
        assert.strictEqual(error.node, "taking")
        assert.include(error.message, where)
        assert.include((error.reason as FlowError.InvalidInput).issue, where)
      }
      assert.lengthOf(runs, 0)
      const order = { id: 7, lines: [{ count: 1 }] }
      assert.strictEqual(yield* runtime.run(order), order)
    }))

  it.effect("17: numbers that JSON has not are refused by Finite, and -0 stays what it is", () =>
    Effect.gen(function*() {
      const { node: takes } = taking(Schema.Struct({ n: Schema.Finite }))
      const flow = Flow.make("f", [takes.to()])
      for (const n of [Number.NaN, Infinity, -Infinity]) {
        assert.include((yield* failure(Flow.run(flow, { n }))).message, "[\"n\"]")
      }
      const zero = yield* Flow.run(flow, { n: -0 })
      assert.isTrue(Object.is((zero as { n: number }).n, -0))
    }))

  it.effect("26: is refused, or runs, at any depth; what is too deep fails that trace alone and says so", () =>
    Effect.gen(function*() {
      interface List {
        readonly next: List | null
      }
      const List: Schema.Codec<List> = Schema.Struct({ next: Schema.NullOr(Schema.suspend(() => List)) })
      const { node: takes } = taking(List)
      const runtime = yield* FlowRuntime.make(Flow.make("f", [takes.to()]))
      const nest = (depth: number, end: unknown): never => {
        let value: unknown = end
        for (let i = 0; i < depth; i++) value = { next: value }
        return forced(value)
      }
      for (const depth of [8000, 200_000]) {
        for (const end of [null, 5]) {
          const { ms, value: exit } = yield* timed(Effect.exit(runtime.run(nest(depth, end))))
          assert.isBelow(ms, 500)
          if (Exit.isSuccess(exit)) continue
          const error = yield* failure(exit)
          assert.include(["INVALID_INPUT", "NODE_EXCEPTION"], error.code)
          assert.match(error.message, /call stack|nested|deep|Expected/u, `depth ${depth}`)
        }
        yield* runtime.run({ next: { next: null } })
      }
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(runtime.run(nest(50, null)))))
    }))

  it.effect("28: and can't even be read fails the trace with the message of what it threw", () =>
    Effect.gen(function*() {
      const { node: takes, runs } = taking(Schema.Struct({ a: Schema.Number }))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [takes.to()]))
      const boom = (): never => {
        throw new Error("gotcha")
      }
      const hostile = [
        {
          get a(): number {
            return boom()
          }
        },
        new Proxy({ a: 1 }, {
          get: boom,
          has: boom,
          getOwnPropertyDescriptor: boom,
          ownKeys: boom,
          getPrototypeOf: boom
        })
      ]
      for (const input of hostile) {
        const error = yield* failure(runtime.run(input))
        assert.include(["INVALID_INPUT", "NODE_EXCEPTION"], error.code)
        assert.include(error.message, "gotcha")
      }
      const { proxy, revoke } = Proxy.revocable({ a: 1 }, {})
      revoke()
      assert.include(["INVALID_INPUT", "NODE_EXCEPTION"], (yield* failure(runtime.run(proxy))).code)
      assert.lengthOf(runs, 0)
      assert.deepStrictEqual(yield* runtime.run({ a: 1 }), { a: 1 })
    }))

  it.effect("28: a check of the schema that throws fails the trace, not the runtime", () =>
    Effect.gen(function*() {
      const Checked = Schema.Number.check(Schema.makeFilter((n: number) => {
        if (n === 1) throw new Error("the check is broken")
        return true
      }))
      const { node: takes } = taking(Checked)
      const runtime = yield* FlowRuntime.make(Flow.make("f", [takes.to()]))
      const error = yield* failure(runtime.run(1))
      assert.include(["INVALID_INPUT", "NODE_EXCEPTION"], error.code)
      assert.include(error.message, "the check is broken")
      assert.strictEqual(yield* runtime.run(2), 2)
    }))

  it.effect("30: is never told: not by the error, not by its issue, not by an event", () => {
    const { layer, seen } = watching()
    const secret = "hunter2-SECRET"
    const schemas: ReadonlyArray<readonly [Schema.Schema<never>, unknown]> = ([
      [Schema.Struct({ password: Schema.Number }), { password: secret }],
      [Schema.Struct({ password: Schema.Literal("x") }), { password: secret }],
      [Schema.Struct({ password: Schema.Literals(["x", "y"]) }), { password: secret }],
      [Schema.Struct({ password: Schema.String.check(Schema.isPattern(/^[a-z]+$/u)) }), { password: secret }],
      [Schema.Struct({ password: Schema.String.check(Schema.isMaxLength(3)) }), { password: secret }],
      [Schema.Struct({ password: Schema.Int }), { password: secret }],
      [Schema.Struct({ password: Schema.Date }), { password: secret }],
      [Schema.Struct({ password: Schema.Redacted(Schema.Number) }), { password: secret }],
      [Schema.Tuple([Schema.Number]), [secret]],
      [Schema.Record(Schema.String, Schema.Number), { key: secret }],
      [Schema.Array(Schema.Number), [1, secret]],
      [Schema.TemplateLiteral(["a", Schema.Number]), secret],
      [Schema.Union([Schema.TaggedStruct("A", {}), Schema.TaggedStruct("B", {})]), { _tag: secret }],
      [Schema.NullOr(Schema.Number), secret]
    ] satisfies ReadonlyArray<readonly [Schema.Schema<never> | Schema.Top, unknown]>) as never
    return Effect.gen(function*() {
      let refused = 0
      for (const [schema, input] of schemas) {
        const gives = Node.make("gives", {
          input: Schema.Unknown,
          output: schema,
          run: () => Effect.succeed(forced(input))
        })
        const takes = Node.make("takes", { input: schema, output: Schema.Unknown, run: () => Effect.void })
        for (const flow of [flowOf<never, unknown>([gives.to()]), flowOf<never, unknown>([takes.to()])]) {
          const runtime = yield* FlowRuntime.make(flow)
          const error = yield* failure(runtime.run(input))
          assert.include(["INVALID_INPUT", "INVALID_OUTPUT"], error.code)
          assert.notInclude(`${error.message}${JSON.stringify(error)}${String(error)}${error.stack}`, secret)
          yield* runtime.shutdown()
          refused++
        }
      }
      assert.strictEqual(refused, 2 * schemas.length)
      assert.lengthOf(seen.filter((event) => event._tag === "TraceFailed"), refused)
      assert.notInclude(JSON.stringify(seen), secret)
    }).pipe(Effect.provide(layer))
  })

  it.effect("30: is told in a text of bounded length, however long its keys are", () =>
    Effect.gen(function*() {
      const { node: takes } = taking(Schema.Record(Schema.String, Schema.Number))
      const error = yield* failure(Flow.run(Flow.make("f", [takes.to()]), forced({ ["k".repeat(10_000_000)]: "x" })))
      assert.strictEqual(error.code, "INVALID_INPUT")
      assert.isBelow(error.message.length, 9000)
      assert.isBelow((error.reason as FlowError.InvalidInput).issue.length, 9000)
    }))
})

describe("meta", () => {
  const { node: takes, runs } = taking(Schema.Unknown)
  const flow = Flow.make("f", [takes.to()])
  const cyclic: { self?: unknown } = {}
  cyclic.self = cyclic
  const deep = (depth: number): unknown => {
    let value: unknown = 1
    for (let i = 0; i < depth; i++) value = [value]
    return value
  }
  const boom = (): never => {
    throw new Error("gotcha")
  }

  it.effect("18: that is not JSON is refused with the path, before anything runs", () =>
    Effect.gen(function*() {
      const before = runs.length
      const bad: ReadonlyArray<unknown> = [
        1n,
        Symbol("s"),
        () => 1,
        new Map([[1, 2]]),
        new Set([1]),
        new Date(0),
        new Date(Number.NaN),
        Number.NaN,
        Infinity,
        undefined,
        new Uint8Array(2),
        /x/u,
        Promise.resolve(1),
        new URL("http://localhost"),
        cyclic,
        deep(100_000),
        [1, , 3], // eslint-disable-line no-sparse-arrays
        { toJSON: () => 1 },
        {
          get a(): number {
            return boom()
          }
        },
        new Proxy({}, { ownKeys: boom }),
        new Proxy({}, { getPrototypeOf: boom })
      ]
      for (const value of bad) {
        const error = yield* failure(Flow.run(flow, 1, { meta: forced({ fine: 1, deep: { list: [0, value] } }) }))
        assert.strictEqual(error.code, "INVALID_META")
        assert.match((error.reason as FlowError.InvalidMeta).key, /^deep\.list/u)
      }
      assert.strictEqual(runs.length, before)
    }))

  it.effect("18: that is no record, or can't be read, is refused as a whole", () =>
    Effect.gen(function*() {
      const { proxy, revoke } = Proxy.revocable({}, {})
      revoke()
      const bad = [
        "text",
        1,
        null,
        [],
        new Map(),
        new Proxy({}, { getPrototypeOf: boom }),
        proxy,
        new Proxy({}, { ownKeys: boom })
      ]
      for (const meta of bad) {
        const exit = yield* Effect.exit(Flow.run(flow, 1, { meta: forced(meta) }))
        assert.strictEqual(endOf(exit), "INVALID_META")
      }
    }))

  it.effect("18: that a node annotates and is not JSON fails that node by the key", () =>
    Effect.gen(function*() {
      const annotates = node("annotates", (n, { annotate }) => Effect.as(annotate("pool", forced(new Map())), n))
      const error = yield* failure(Flow.run(Flow.make("f", [annotates.to()]), 1))
      assert.strictEqual(error.code, "NODE_EXCEPTION")
      assert.include(error.message, "\"pool\"")
    }))

  it.effect("19: with keys that are no ordinary ones pollutes nothing and is kept as data", () =>
    Effect.gen(function*() {
      const meta = JSON.parse(
        `{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"a":1}`
      ) as Trace.Meta
      const annotates = node(
        "annotates",
        (n, { annotate }) =>
          Effect.as(Effect.andThen(annotate("__proto__", { polluted: 2 }), annotate("toString", 1)), n)
      )
      const runtime = yield* FlowRuntime.make(Flow.make("f", [annotates.to()]))
      yield* runtime.emit(1, { meta, headers: JSON.parse(`{"__proto__":{"polluted":1},"tenant":"a"}`) as never })
      const outcome = yield* runtime.fetch
      assert.strictEqual(endOf(outcome.exit), "ok")
      assert.isUndefined(({} as { polluted?: number }).polluted)
      assert.isUndefined((outcome.meta as { polluted?: number }).polluted)
      assert.strictEqual(Object.getPrototypeOf(outcome.meta), Object.prototype)
      assert.deepStrictEqual(Object.getOwnPropertyDescriptor(outcome.meta, "__proto__")?.value, { polluted: 2 })
      assert.strictEqual(outcome.headers.tenant, "a")
    }))

  it("23: that shares its parts many times over is judged in no time, or refused", async () => {
    const { code, out } = await program(
      `let meta = 1
       for (let i = 0; i < 60; i++) meta = [meta, meta]
       const flow = Flow.make("f", [node("a", (n) => Effect.succeed(n)).to()])
       const exit = await Effect.runPromise(Effect.exit(Flow.run(flow, 1, { meta: { meta } })))
       console.log(exit._tag === "Success" ? "ok" : exit.cause.reasons[0].error.code)`,
      10_000
    )
    assert.strictEqual(code, 0, "it had to be killed")
    assert.include(["ok", "INVALID_META"], out.trim())
  })
})

describe("names and ids", () => {
  it.effect("19: nodes, joins and cases may be named like what every object has", () =>
    Effect.gen(function*() {
      const join = Join.all("hasOwnProperty", { constructor: Schema.Number, toString: Schema.Number })
      const proto = node("__proto__", (n) => Effect.succeed(n + 1))
      const constructor = node("constructor", (n) => Effect.succeed(n + 2))
      const route = Router.make("valueOf", {
        input: Schema.Number,
        cases: ["constructor", "__proto__"],
        decide: (n) => n === 1 ? ["constructor", "__proto__"] : "constructor"
      })
      const flow = flowOf<never, number, unknown>([
        route.to({ constructor, ["__proto__"]: proto }),
        proto.to(join.in.constructor),
        constructor.to(join.in.toString),
        join.to()
      ])
      assert.deepStrictEqual(yield* Flow.run(flow, 1), { constructor: 2, toString: 3 })
      assert.strictEqual(endOf(yield* Effect.exit(Flow.run(flow, 2))), "JOIN_INCOMPLETE")
      assert.include(
        (() => {
          try {
            flowOf([Join.all("j", { ["__proto__"]: Schema.Number }).to()])
            return ""
          } catch (error) {
            return String(error)
          }
        })(),
        "__proto__"
      )
    }))

  it.effect("20: a trace id is any text, known exactly, and refused or kept whatever it is", () => {
    const { layer, seen } = watching()
    return Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flowOf([node("a", () => Effect.never).to()]))
      const ids = [
        "__proto__",
        "constructor",
        "toString",
        "",
        "\0",
        "a\0b",
        "\ud800",
        "🐧",
        "../../x",
        "<script>alert(1)</script>",
        "line\nfeed",
        "x".repeat(1_000_000),
        " ",
        "0"
      ]
      for (const traceId of ids) assert.isFalse(yield* runtime.cancel(traceId), traceId.slice(0, 20))
      const accepted: Array<string> = []
      for (const traceId of ids) {
        const exit = yield* Effect.exit(runtime.emit(1, { traceId }))
        if (Exit.isSuccess(exit)) accepted.push(traceId)
        else assert.match(endOf(exit), /^[A-Z_]+$/u)
      }
      assert.strictEqual(yield* runtime.open, accepted.length)
      assert.isAtLeast(accepted.length, 5)
      for (const traceId of accepted) {
        assert.strictEqual(endOf(yield* Effect.exit(runtime.run(1, { traceId }))), "DUPLICATE_TRACE")
      }
      for (const traceId of accepted.toReversed()) {
        assert.isTrue(yield* runtime.cancel(traceId))
        assert.isTrue((yield* runtime.fetch).traceId === traceId)
        assert.isFalse(yield* runtime.cancel(traceId))
      }
      yield* runtime.shutdown()
      assert.deepStrictEqual(
        seen.filter((event) => event._tag === "TraceStarted").map((event) => event.traceId),
        accepted
      )
    }).pipe(Effect.provide(layer))
  })

  it.effect("21: an id that is open is refused by every way in, the first trace is untouched, and the id is free after it", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flowOf([node("a", (n) => Effect.as(Effect.sleep(10), n)).to()]), {
        maxInFlight: 1
      })
      const first = yield* Effect.forkChild(runtime.run(1, { traceId: "t" }), { startImmediately: true })
      const waiting = yield* Effect.forkChild(runtime.run(2, { traceId: "w" }), { startImmediately: true })
      for (const traceId of ["t", "w"]) {
        assert.strictEqual(endOf(yield* Effect.exit(runtime.run(9, { traceId }))), "DUPLICATE_TRACE")
        assert.strictEqual(endOf(yield* Effect.exit(runtime.runAll(9, { traceId }))), "DUPLICATE_TRACE")
        assert.strictEqual(endOf(yield* Effect.exit(runtime.emit(9, { traceId }))), "DUPLICATE_TRACE")
      }
      yield* TestClock.adjust(10)
      assert.strictEqual(yield* Fiber.join(first), 1)
      yield* TestClock.adjust(10)
      assert.strictEqual(yield* Fiber.join(waiting), 2)
      const again = yield* Effect.forkChild(runtime.run(3, { traceId: "t" }), { startImmediately: true })
      yield* TestClock.adjust(10)
      assert.strictEqual(yield* Fiber.join(again), 3)
    }))

  it.effect("22: every message without an id gets one of its own", () =>
    Effect.gen(function*() {
      const ids = new Set<string>()
      let runs = 0
      const runtime = yield* FlowRuntime.make(
        flowOf([node("a", (n, { traceId }) => (runs++, ids.add(traceId), Effect.succeed(n))).to()])
      )
      const body = runtime.run(1)
      yield* Effect.whileLoop({ while: () => ids.size < 200_000, body: () => body, step: () => {} })
      assert.strictEqual(runs, 200_000)
    }))

  it.effect("22: a message without an id is never refused because a caller has taken the id that would be next", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flowOf([node("a", () => Effect.never).to()]))
      const ids = [yield* runtime.emit(1), yield* runtime.emit(1)]
      const following = /^(.*-)([0-9a-z]+)$/u.exec(ids[1]!)
      for (let i = 0; i < 8; i++) yield* runtime.emit(1, { traceId: `${following?.[1]}${(i + 2).toString(36)}` })
      const exit = yield* Effect.exit(runtime.emit(1))
      assert.strictEqual(endOf(exit), "ok")
    }))
})

describe("big and shared input", () => {
  it.effect("23: a value that holds itself goes through as it is, watched or not", () => {
    const { layer, seen } = watching()
    return Effect.gen(function*() {
      const cyclic: { self?: unknown } = {}
      cyclic.self = cyclic
      const { node: takes } = taking(Schema.Unknown)
      const refuses = Node.make("refuses", {
        input: Schema.Struct({ self: Schema.Struct({ self: Schema.Number }) }),
        output: Schema.Number,
        run: () => Effect.succeed(1)
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [takes.to()]))
      assert.strictEqual(yield* runtime.run(cyclic), cyclic)
      const refusing = yield* FlowRuntime.make(Flow.make("g", [refuses.to()]))
      assert.include((yield* failure(refusing.run(forced(cyclic)))).message, "at [\"self\"][\"self\"]")
      yield* runtime.shutdown()
      yield* refusing.shutdown()
      assert.isAbove(seen.length, 0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("24: a text of 50 MB is passed on by reference, in no time", () =>
    Effect.gen(function*() {
      const text = "x".repeat(50_000_000)
      const steps = Array.from({ length: 100 }, (_, i) =>
        Node.make(`n${i}` as string, {
          input: Schema.String,
          output: Schema.String,
          run: (value) => Effect.succeed(value)
        }))
      const flow = flowOf<never, string, string>(steps.slice(1).map((to, i) => steps[i]!.to(to)))
      yield* Flow.run(flow, "warm")
      const { ms, value } = yield* timed(Flow.run(flow, text))
      assert.isTrue(value === text)
      assert.isBelow(ms, 100)
    }))

  it.effect("25: an array of a million is checked in well under a second, and its one bad item is named", () =>
    Effect.gen(function*() {
      const { node: takes } = taking(Schema.Array(Schema.Number))
      const flow = Flow.make("f", [takes.to()])
      const items: Array<unknown> = Array.from({ length: 1_000_000 }, (_, i) => i)
      const good = yield* timed(Flow.run(flow, forced(items)))
      assert.isTrue(good.value === items)
      assert.isBelow(good.ms, 2000)
      items[999_999] = "x"
      const bad = yield* timed(failure(Flow.run(flow, forced(items))))
      assert.include(bad.value.message, "at [999999]")
      assert.isBelow(bad.ms, 2000)
    }))

  it.effect("27: texts that are no Unicode come out as they went in", () =>
    Effect.gen(function*() {
      const { node: takes } = taking(Schema.String)
      for (const text of ["\0", "\ud800", "\udfff\ud800", "\ufeff", "e\u0301", "\u202e", ""]) {
        assert.isTrue((yield* Flow.run(Flow.make("f", [takes.to()]), text)) === text)
      }
    }))

  it.effect("29: a value is shared by the branches and never copied or changed, frozen or not", () =>
    Effect.gen(function*() {
      const Box = Schema.Struct({ list: Schema.mutable(Schema.Array(Schema.Number)) })
      const seen: Array<unknown> = []
      const keep = <const Name extends string>(name: Name) =>
        Node.make(name, {
          input: Box,
          output: Box,
          run: (box) => Effect.as(Effect.yieldNow, (seen.push(box), box))
        })
      const flow = Flow.make("f", [keep("start").to(keep("left"), keep("right"))])
      const runtime = yield* FlowRuntime.make(flow)
      const frozen = Object.freeze({ list: Object.freeze([1, 2]) as Array<number> })
      const results = yield* runtime.runAll(frozen)
      assert.isTrue(seen.length === 3 && seen.every((box) => box === frozen))
      assert.isTrue(results.every((box) => box === frozen))
      const own = { list: [1] }
      yield* runtime.emit(own)
      own.list.push(2)
      const outcome = yield* runtime.fetch
      assert.isTrue(Exit.isSuccess(outcome.exit) && outcome.exit.value[0] === own)
    }))

  it.effect("29: meta that its caller changes afterwards has been judged and stays JSON for the nodes", () =>
    Effect.gen(function*() {
      const meta: Record<string, Schema.Json> = { a: 1 }
      const annotates = node("a", (n, { annotate }) => Effect.as(Effect.andThen(Effect.sleep(10), annotate("b", 2)), n))
      const runtime = yield* FlowRuntime.make(flowOf([annotates.to()]))
      yield* runtime.emit(1, { meta })
      meta["pool"] = forced(new Map())
      yield* TestClock.adjust(10)
      const outcome = yield* runtime.fetch
      assert.deepStrictEqual(outcome.meta, { a: 1, b: 2 })
      assert.deepStrictEqual(Object.keys(meta), ["a", "pool"])
    }))
})

describe("deadlines that make no sense", () => {
  it.effect("31: in the past or no number: the trace has expired before any node runs", () =>
    Effect.gen(function*() {
      let runs = 0
      const runtime = yield* FlowRuntime.make(flowOf([node("a", (n) => Effect.sync(() => (runs++, n))).to()]))
      for (const deadline of [0, -1, -Infinity, Number.NaN, "abc" as never, null as never, {} as never]) {
        assert.strictEqual(
          endOf(yield* Effect.exit(runtime.run(1, { deadline }))),
          "DEADLINE_EXCEEDED",
          String(deadline)
        )
        yield* runtime.emit(1, { deadline })
        assert.strictEqual(endOf((yield* runtime.fetch).exit), "DEADLINE_EXCEEDED")
      }
      assert.strictEqual(runs, 0)
      assert.strictEqual(yield* runtime.run(1, { deadline: 1 }), 1)
      assert.strictEqual(yield* runtime.open, 0)
    }))

  it.live("31: so far away that no timer reaches it: the trace runs, and its timer does not fire at once", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(
        flowOf([
          node("a", (n) => Effect.as(Effect.sleep(20), n), { policy: { timeout: 2 ** 31 } }).to()
        ])
      )
      for (
        const deadline of [2 ** 31, 8.64e15, Number.MAX_SAFE_INTEGER, Number.MAX_VALUE, Infinity, "10000 days" as const]
      ) {
        assert.strictEqual(yield* runtime.run(1, { deadline }), 1, String(deadline))
      }
    }))
})
