/** Failing nodes. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Logger, Schedule, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Flow, type FlowError, FlowObserver, FlowRuntime, Join, Loop, Node, Router } from "penguiflow"
import { endOf, flowOf, kinds, node, Oops, program, settle, watching } from "./kit.ts"

const forced = (u: unknown): never => u as never
const boom = (): never => {
  throw new Error("gotcha")
}
/** Fails in one of the ways that a run can fail in. */
const ways: { readonly [way: string]: (error: unknown) => Effect.Effect<never, never> } = {
  "thrown at once": (error) => {
    throw error
  },
  "thrown in an effect": (error) =>
    Effect.sync(() => {
      throw error
    }),
  "thrown later": (error) =>
    Effect.andThen(
      Effect.yieldNow,
      Effect.sync(() => {
        throw error
      })
    ),
  "a defect": (error) => Effect.die(error),
  "a rejected promise": (error) => Effect.promise(() => Promise.reject(error)),
  "a failure": (error) => Effect.fail(forced(error)),
  "a failure later": (error) => Effect.andThen(Effect.yieldNow, Effect.suspend(() => Effect.fail(forced(error))))
}
const policies = {
  "": {},
  " with a policy": { policy: { retry: Schedule.recurs(1), retryWhile: () => true, timeout: 1000, concurrency: 1 } }
}
/** A runtime whose one node fails at 1 and works at everything else. */
const failingAt1 = (fail: () => Effect.Effect<number, never>, options: (typeof policies)[keyof typeof policies] = {}) =>
  flowOf([node("bad", (n) => n === 1 ? fail() : Effect.succeed(n), options).to()])

describe("a node that fails", () => {
  const values: ReadonlyArray<readonly [unknown, RegExp]> = [
    [new Error("plain"), /plain/u],
    [undefined, /undefined/u],
    [null, /null/u],
    ["text", /text/u],
    [42, /42/u],
    [10n, /10/u],
    [Symbol("odd"), /odd/u],
    [{ message: "almost an error" }, /almost an error/u],
    [{}, /./u]
  ]
  for (const [way, fail] of Object.entries(ways)) {
    for (const [guard, options] of Object.entries(policies)) {
      it.effect(`32, 33, 34: as ${way}${guard}, whatever the value, has one readable outcome and harms no other`, () => {
        const { layer, seen } = watching()
        return Effect.gen(function*() {
          for (const [value, text] of values) {
            const runtime = yield* FlowRuntime.make(failingAt1(() => fail(value), options))
            yield* runtime.emit(1, { traceId: "bad" })
            yield* TestClock.adjust(1)
            const outcome = yield* runtime.fetch
            assert.isTrue(Exit.isFailure(outcome.exit))
            assert.deepStrictEqual(outcome.failedAt?.node, "bad")
            if (!way.startsWith("a failure")) {
              assert.strictEqual(endOf(outcome.exit), "NODE_EXCEPTION")
              const error = (yield* Effect.flip(outcome.exit)) as FlowError.FlowError
              assert.match(error.message, text)
              assert.strictEqual((error.reason as FlowError.NodeDied).defect, value)
            }
            assert.strictEqual(yield* runtime.run(2), 2)
            yield* runtime.shutdown()
            const failed = seen.filter((event) => event._tag === "TraceFailed")
            assert.lengthOf(failed, 1)
            assert.match(failed[0]!.error.message, text)
            seen.length = 0
          }
        }).pipe(Effect.provide(layer))
      })
    }
  }

  const withMessage = (descriptor: PropertyDescriptor) => Object.defineProperty(new Error("x"), "message", descriptor)
  const cyclic = new Error("cyclic") as Error & { self?: unknown }
  cyclic.cause = cyclic
  cyclic.self = { cyclic }
  const traps = {
    get: boom,
    has: boom,
    getPrototypeOf: boom,
    ownKeys: boom,
    getOwnPropertyDescriptor: boom,
    set: boom,
    defineProperty: boom
  }
  const revoked = (target: object) => {
    const { proxy, revoke } = Proxy.revocable(target, {})
    revoke()
    return proxy
  }
  const hostile: { readonly [what: string]: unknown } = {
    "whose message can't be read": withMessage({ get: boom }),
    "whose tag can't be read": {
      get _tag() {
        return boom()
      }
    },
    "that is a proxy with throwing traps": new Proxy({}, traps),
    "that is a proxy of an error with throwing traps": new Proxy(new Error("inner"), traps),
    "that is a revoked proxy": revoked({}),
    "that is a revoked proxy of a function": revoked(() => {}),
    "that is its own cause": cyclic,
    "of 10 MB": new Error("x".repeat(10_000_000)),
    "of 10 MB as a tag": { _tag: "x".repeat(10_000_000) },
    "that is frozen": Object.freeze(new Error("frozen")),
    "without a prototype": Object.create(null),
    "that can't become text": { toString: boom, toJSON: boom, [Symbol.toPrimitive]: boom },
    "whose message and name are no text": { message: 5, name: { a: 1 }, constructor: { name: 7 } },
    "that is an effect": Effect.never,
    "that is an exit": Exit.succeed(1)
  }
  for (const [what, error] of Object.entries(hostile)) {
    it.effect(`45: with an error ${what} has one outcome of bounded text, watched or not, and the next trace runs`, () => {
      const { layer, seen } = watching()
      const body = Effect.gen(function*() {
        for (const [way, fail] of Object.entries(ways)) {
          for (const [guard, options] of Object.entries(policies)) {
            const runtime = yield* FlowRuntime.make(failingAt1(() => fail(error), options))
            yield* runtime.emit(1)
            yield* TestClock.adjust(1)
            const fetched = yield* Effect.forkChild(runtime.fetch, { startImmediately: true })
            yield* settle(1)
            const outcome = fetched.pollUnsafe()
            assert.isTrue(outcome !== undefined && Exit.isSuccess(outcome), `no outcome of ${way}${guard}`)
            const exit = (yield* outcome!).exit
            assert.isTrue(Exit.isFailure(exit))
            if (!way.startsWith("a failure")) {
              const { message, reason } = (yield* Effect.flip(exit)) as FlowError.FlowError
              assert.isBelow(message.length, 9000)
              assert.isTrue((reason as FlowError.NodeDied).defect === error)
            }
            assert.strictEqual(yield* runtime.run(2), 2)
            assert.strictEqual(yield* runtime.open, 0)
            yield* runtime.shutdown()
          }
        }
      })
      return Effect.gen(function*() {
        yield* body
        yield* Effect.provide(body, layer)
        const runs = Object.keys(ways).length * Object.keys(policies).length
        assert.lengthOf(seen.filter((event) => event._tag === "TraceFailed"), runs)
        for (const event of seen) {
          if ("error" in event && event.error !== undefined) {
            assert.isAtMost(event.error.message.length, 8192)
            assert.isAtMost(event.error.tag.length, 8192)
          }
        }
      })
    })
  }

  it.effect("38: by overflowing the stack fails alone", () =>
    Effect.gen(function*() {
      const down = (n: number): number => down(n + 1) + 1
      for (const run of [() => Effect.sync(() => down(0)), () => Effect.succeed(down(0))]) {
        const runtime = yield* FlowRuntime.make(failingAt1(run))
        const exit = yield* Effect.exit(runtime.run(1))
        assert.strictEqual(endOf(exit), "NODE_EXCEPTION")
        assert.strictEqual(yield* runtime.run(2), 2)
      }
    }))

  for (const depth of [1000, 20_000]) {
    it.effect(`38: never, by running its own flow again ${depth} deep`, () =>
      Effect.gen(function*() {
        const runtime: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
          flowOf([
            node("again", (n) => n === 0 ? Effect.succeed(0) : Effect.map(deeper(n - 1), (m) => m + 1)).to()
          ])
        )
        const deeper = (n: number) => Effect.orDie(runtime.run(n))
        const fiber = yield* Effect.forkChild(Effect.exit(runtime.run(depth)), { startImmediately: true })
        for (let i = 0; i < 10_000 && fiber.pollUnsafe() === undefined; i++) yield* settle(1)
        const exit = fiber.pollUnsafe()
        assert.isDefined(exit, "it hangs")
        assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.succeed(depth))
        assert.strictEqual(yield* runtime.open, 0)
      }))
  }

  it.effect("39: by asking for memory that there is not fails alone", () =>
    Effect.gen(function*() {
      for (
        const grab of [() => Array.from({ length: 2 ** 33 }).length, () =>
          "x".repeat(2 ** 30).length, () =>
          new ArrayBuffer(2 ** 53).byteLength]
      ) {
        const runtime = yield* FlowRuntime.make(failingAt1(() =>
          Effect.sync(grab)
        ))
        assert.strictEqual(endOf(yield* Effect.exit(runtime.run(1))), "NODE_EXCEPTION")
        assert.strictEqual(yield* runtime.run(2), 2)
      }
    }))

  it.effect("41: by giving what its output schema does not accept fails by its name, and nothing after it runs", () =>
    Effect.gen(function*() {
      let ran = 0
      const after = node("after", (n) => Effect.sync(() => (ran++, n)))
      for (const value of ["1", undefined, null, {}, Number.NaN.toString()]) {
        const wrong = node("wrong", () => Effect.succeed(forced(value)))
        const error = yield* Effect.flip(Flow.run(Flow.make("f", [wrong.to(after)]), 1))
        assert.strictEqual(error.code, "INVALID_OUTPUT")
        assert.strictEqual(error.node, "wrong")
      }
      assert.strictEqual(ran, 0)
    }))

  it.effect("42: by answering with no effect dies by its name, and never passes on an older value", () =>
    Effect.gen(function*() {
      for (const answer of [undefined, null, 5, "x", Promise.resolve(1), {}, () => 1, [], new Error("x")]) {
        for (const [guard, options] of Object.entries(policies)) {
          const first = node("first", (n) => Effect.succeed(n + 1))
          const wrong = Node.make("wrong", {
            input: Schema.Number,
            output: Schema.Unknown,
            run: () => forced(answer),
            ...options
          })
          const exit = yield* Effect.exit(Flow.run(Flow.make("f", [first.to(wrong)]), 1))
          assert.strictEqual(endOf(exit), "NODE_EXCEPTION", `${String(answer)}${guard}`)
          const error = yield* Effect.flip(exit)
          assert.strictEqual(error.node, "wrong")
        }
      }
    }))

  it.effect("42: by answering with no effect from within leaves no permit taken", () =>
    Effect.gen(function*() {
      const policy = { concurrency: 1 }
      const nothing: Effect.Effect<number> = Effect.flatMap(Effect.yieldNow, () => forced(undefined))
      const bad = node("bad", (n) => n === 1 ? nothing : Effect.succeed(n), { policy })
      const runtime = yield* FlowRuntime.make(flowOf([bad.to()]))
      assert.strictEqual(endOf(yield* Effect.exit(runtime.run(1))), "NODE_EXCEPTION")
      const next = yield* Effect.forkChild(runtime.run(2), { startImmediately: true })
      yield* settle()
      const exit = next.pollUnsafe()
      yield* Fiber.interrupt(next)
      assert.deepStrictEqual(exit, Exit.succeed(2))
    }))

  it.effect("44: out of band is reported by the process, and the trace still has its outcome", () =>
    Effect.promise(async () => {
      const { code, out } = await program(
        `const told = []
         process.on("uncaughtException", (e) => told.push(e.message))
         process.on("unhandledRejection", (e) => told.push(e.message))
         const flow = Flow.make("f", [node("a", (n) => Effect.as(Effect.andThen(Effect.sync(() => {
           setTimeout(() => { throw new Error("timer") }, 1)
           Promise.reject(new Error("floating"))
         }), Effect.sleep(50)), n)).to()])
         console.log(await Effect.runPromise(Flow.run(flow, 7)), told.sort().join())`
      )
      assert.deepStrictEqual([code, out.trim()], [0, "7 floating,timer"])
    }))
})

describe("functions of the user that throw", () => {
  const cases: { readonly [what: string]: () => Flow.Flow<"f", number, unknown, unknown> } = {
    "a retryWhile": () =>
      flowOf([
        node("bad", (n) => Effect.fail(new Oops({ n })), { policy: { retry: Schedule.recurs(2), retryWhile: boom } })
          .to()
      ]),
    "a retry Schedule": () =>
      flowOf([
        node("bad", (n) => Effect.fail(new Oops({ n })), {
          policy: { retry: Schedule.forever.pipe(Schedule.while(boom)) }
        }).to()
      ]),
    "a retry Schedule's delay": () =>
      flowOf([
        node("bad", (n) => Effect.fail(new Oops({ n })), {
          policy: { retry: Schedule.forever.pipe(Schedule.modifyDelay(boom)) }
        }).to()
      ]),
    "a collect": () =>
      flowOf([
        Node.stream("bad", {
          input: Schema.Number,
          part: Schema.Number,
          output: Schema.Number,
          run: (n) => Stream.succeed(n),
          collect: boom
        }).to()
      ]),
    "a stream": () =>
      flowOf([
        Node.stream("bad", {
          input: Schema.Number,
          part: Schema.Number,
          output: Schema.Number,
          run: () => Stream.fromIterable({ [Symbol.iterator]: boom }),
          collect: (parts) => parts.length
        }).to()
      ]),
    "a stream's run": () =>
      flowOf([
        Node.stream("bad", {
          input: Schema.Number,
          part: Schema.Number,
          output: Schema.Number,
          run: boom,
          collect: (parts) => parts.length
        }).to()
      ]),
    "an onExhausted": () =>
      flowOf([
        Loop.make("bad", {
          state: Schema.Number,
          output: Schema.Number,
          maxHops: 2,
          step: (n) => Effect.succeed(Loop.again(n)),
          onExhausted: boom
        }).to()
      ]),
    "a loop's step": () =>
      flowOf([Loop.make("bad", { state: Schema.Number, output: Schema.Number, maxHops: 2, step: boom }).to()]),
    "a loop's step after some hops": () =>
      flowOf([
        Loop.make("bad", {
          state: Schema.Number,
          output: Schema.Number,
          maxHops: 9,
          step: (n, { hop }) => hop === 3 ? boom() : Effect.as(Effect.yieldNow, Loop.again(n))
        }).to()
      ]),
    "a decide": () =>
      flowOf([
        Router.make("bad", { input: Schema.Number, cases: ["x"], decide: boom }).to({
          x: node("x", (n) => Effect.succeed(n))
        })
      ])
  }
  for (const [what, make] of Object.entries(cases)) {
    it.effect(`32: ${what} that throws fails its trace by its node, once, and harms no other`, () => {
      const { layer, seen } = watching()
      return Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(make(), { maxInFlight: 1 })
        for (let i = 0; i < 3; i++) {
          yield* runtime.emit(1)
          const outcome = yield* runtime.fetch
          assert.strictEqual(endOf(outcome.exit), "NODE_EXCEPTION")
          assert.strictEqual(outcome.failedAt?.node, "bad")
          const error = (yield* Effect.flip(outcome.exit)) as FlowError.FlowError
          assert.include(error.message, "gotcha")
        }
        assert.strictEqual(yield* runtime.open, 0)
        yield* runtime.shutdown()
        assert.lengthOf(seen.filter((event) => event._tag === "TraceFailed"), 3)
      }).pipe(Effect.provide(layer))
    })
  }

  it.effect("32: a decision that is no case of the router fails its trace by the router's name", () =>
    Effect.gen(function*() {
      for (
        const decision of [
          "y",
          undefined,
          null,
          5,
          ["x", "y"],
          ["x", undefined],
          [null],
          {},
          "__proto__",
          "constructor",
          Promise.resolve("x")
        ]
      ) {
        const route = Router.make("route", { input: Schema.Number, cases: ["x"], decide: () => forced(decision) })
        const exit = yield* Effect.exit(
          Flow.run(flowOf([route.to({ x: node("x", (n) => Effect.succeed(n)) })]), 1)
        )
        assert.strictEqual(endOf(exit), "NODE_EXCEPTION", String(decision))
        assert.strictEqual((yield* Effect.flip(exit)).node, "route", String(decision))
      }
    }))

  it.effect("32: a compensation that throws, dies with anything or answers with nothing is told as failed and stops no other", () => {
    const undone: Array<string> = []
    const worse: ReadonlyArray<() => Effect.Effect<void>> = [
      boom,
      () => Effect.die(undefined),
      () => Effect.die(null),
      () => Effect.die(new Proxy({}, { getPrototypeOf: boom, get: boom, has: boom })),
      () => forced(undefined),
      () => forced(Promise.resolve(1)),
      () => Effect.interrupt
    ]
    const { layer, seen } = watching()
    return Effect.gen(function*() {
      const good = (name: string) =>
        node(name, (n) => Effect.succeed(n), { compensate: () => Effect.sync(() => undone.push(name)) })
      const bad = worse.map((compensate, i) => node(`bad${i}`, (n) => Effect.succeed(n), { compensate }))
      const steps = [good("first"), ...bad, good("last"), node("end", (n) => Effect.fail(new Oops({ n })))]
      const runtime = yield* FlowRuntime.make(flowOf<Oops>(steps.slice(1).map((to, i) => steps[i]!.to(to))))
      const fiber = yield* Effect.forkChild(Effect.exit(runtime.run(1)), { startImmediately: true })
      yield* settle()
      assert.strictEqual(endOf(yield* Fiber.join(fiber)), "Oops")
      assert.deepStrictEqual(undone, ["last", "first"])
      yield* runtime.shutdown()
      const told = seen.filter((event) => event._tag === "NodeCompensated")
      assert.lengthOf(told, worse.length + 2)
      assert.lengthOf(told.filter((event) => event.error === undefined), 2)
    }).pipe(Effect.provide(layer))
  })
})

describe("time and finalizers", () => {
  it.effect("35: a node that never ends is timed out to the millisecond, and the trace fails with it", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(
        Effect.exit(Flow.run(flowOf([node("a", () => Effect.never, { policy: { timeout: 50 } }).to()]), 1))
      )
      yield* TestClock.adjust(49)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.strictEqual(endOf(yield* Fiber.join(fiber)), "NODE_TIMEOUT")
    }))

  it.effect("35: a node that never ends, without a timeout, is still ended by cancel, by its deadline and by shutdown", () =>
    Effect.gen(function*() {
      const promise = () => Effect.promise(() => new Promise<number>(() => {}))
      for (const run of [() => Effect.never, promise]) {
        const runtime = yield* FlowRuntime.make(flowOf([node("a", run).to()]))
        yield* runtime.emit(1, { traceId: "a" })
        yield* runtime.emit(1, { traceId: "b", deadline: 10 })
        yield* runtime.emit(1, { traceId: "c" })
        assert.isTrue(yield* runtime.cancel("a"))
        yield* TestClock.adjust(10)
        const down = yield* Effect.forkChild(runtime.shutdown({ grace: 20 }), { startImmediately: true })
        yield* TestClock.adjust(20)
        assert.deepStrictEqual(yield* Fiber.join(down), { drained: 0, interrupted: ["c"] })
        const ends = yield* Effect.forEach([1, 2, 3], () => Effect.map(runtime.fetch, ({ exit }) => endOf(exit)))
        assert.deepStrictEqual(ends, ["TRACE_CANCELLED", "DEADLINE_EXCEEDED", "SHUTTING_DOWN"])
      }
    }))

  it.effect("36: a node that resists interruption is left behind after the grace and named, and the next messages are served", () => {
    const { layer, seen } = watching()
    return Effect.gen(function*() {
      const stubborn = node(
        "stubborn",
        (n) => n === 1 ? Effect.as(Effect.uninterruptible(Effect.sleep(10_000)), n) : Effect.succeed(n)
      )
      for (const how of ["cancel", "deadline", "timeout", "shutdown"] as const) {
        seen.length = 0
        const steps = how === "timeout" ? Node.withPolicy(stubborn, { timeout: 10 }) : stubborn
        const runtime = yield* FlowRuntime.make(flowOf([steps.to()]), { interruptGrace: 100, maxInFlight: 1 })
        const fiber = yield* Effect.forkChild(
          Effect.exit(runtime.run(1, { traceId: "t", ...(how === "deadline" ? { deadline: 10 } : {}) })),
          { startImmediately: true }
        )
        const next = yield* Effect.forkChild(runtime.run(2), { startImmediately: true })
        yield* TestClock.adjust(10)
        const ender = yield* Effect.forkChild(
          how === "cancel" ? runtime.cancel("t") : how === "shutdown" ? runtime.shutdown({ grace: 0 }) : Effect.void,
          { startImmediately: true }
        )
        yield* TestClock.adjust(99)
        assert.isUndefined(fiber.pollUnsafe(), how)
        yield* TestClock.adjust(1)
        yield* settle()
        assert.isDefined(fiber.pollUnsafe(), how)
        const codes = {
          cancel: "TRACE_CANCELLED",
          deadline: "DEADLINE_EXCEEDED",
          timeout: "NODE_TIMEOUT",
          shutdown: "SHUTTING_DOWN"
        }
        assert.strictEqual(endOf(yield* Fiber.join(fiber)), codes[how])
        yield* Fiber.join(ender)
        if (how === "shutdown") assert.strictEqual(endOf(yield* Fiber.await(next)), "SHUTTING_DOWN")
        else assert.strictEqual(yield* Fiber.join(next), 2)
        yield* settle()
        const stuck = seen.filter((event) => event._tag === "NodeStuck")
        assert.deepStrictEqual(stuck.map((event) => [event.traceId, event.node]), [["t", "stubborn"]], how)
        yield* TestClock.adjust(20_000)
        assert.strictEqual(yield* runtime.open, 0)
      }
    }).pipe(Effect.provide(layer))
  })

  it.effect("37: a finalizer that throws changes neither the error of the node nor what the other finalizers do", () => {
    const released: Array<string> = []
    const acquire = (name: string, release: () => Effect.Effect<unknown>) =>
      Effect.acquireRelease(Effect.void, () => Effect.suspend(() => (released.push(name), release())))
    return Effect.gen(function*() {
      for (const release of [boom, () => Effect.die("no"), () => Effect.interrupt]) {
        released.length = 0
        const bad = node("bad", (n) =>
          acquire("a", () => Effect.void).pipe(
            Effect.andThen(acquire("b", release)),
            Effect.andThen(acquire("c", () => Effect.void)),
            Effect.andThen(Effect.fail(new Oops({ n })))
          ))
        const exit = yield* Effect.exit(Flow.run(flowOf<Oops>([bad.to()]), 1))
        assert.strictEqual(endOf(exit), "Oops")
        assert.deepStrictEqual(released, ["c", "b", "a"])
      }
    })
  })

  it.effect("37: a finalizer that throws after a success fails that node by its name, and runs the others", () =>
    Effect.gen(function*() {
      const released: Array<string> = []
      const bad = node(
        "bad",
        (n) =>
          Effect.acquireRelease(Effect.void, () => Effect.sync(() => released.push("a"))).pipe(
            Effect.andThen(Effect.acquireRelease(Effect.void, () => Effect.die("no"))),
            Effect.as(n)
          )
      )
      const exit = yield* Effect.exit(Flow.run(Flow.make("f", [bad.to(node("after", (n) => Effect.succeed(n)))]), 1))
      assert.deepStrictEqual(released, ["a"])
      assert.include(["ok", "NODE_EXCEPTION"], endOf(exit))
      if (endOf(exit) !== "ok") assert.strictEqual((yield* Effect.flip(exit)).node, "bad")
    }))

  for (const which of ["success", "failure"] as const) {
    it.effect(`37: a finalizer that hangs after a ${which} is left behind by cancel and by shutdown after the grace`, () =>
      Effect.gen(function*() {
        for (const how of ["cancel", "shutdown"] as const) {
          const hangs = node("hangs", (n) =>
            Effect.acquireRelease(Effect.void, () => Effect.never).pipe(
              Effect.andThen(which === "success" ? Effect.succeed(n) : Effect.fail(new Oops({ n })))
            ))
          const runtime = yield* FlowRuntime.make(flowOf<Oops>([hangs.to()]), { interruptGrace: 100 })
          yield* runtime.emit(1, { traceId: "t" })
          yield* settle()
          const ender = yield* Effect.forkChild(
            how === "cancel" ? runtime.cancel("t") : runtime.shutdown({ grace: 0 }),
            {
              startImmediately: true
            }
          )
          yield* TestClock.adjust(100)
          yield* settle()
          assert.isDefined(ender.pollUnsafe(), how)
          const outcome = yield* runtime.fetch
          assert.isTrue(Exit.isFailure(outcome.exit))
          if (which === "failure") assert.strictEqual(endOf(outcome.exit), "Oops")
          assert.strictEqual(yield* runtime.open, 0)
        }
      }))
  }

  it.effect("43: what a node sends after its trace has ended is ignored and brings nothing back", () =>
    Effect.gen(function*() {
      let late: Effect.Effect<void> = Effect.void
      const leaks = Node.make("leaks", {
        input: Schema.Number,
        output: Schema.Number,
        part: Schema.Number,
        run: (n, { annotate, emit }) =>
          Effect.sync(() => {
            late = Effect.andThen(emit(n), annotate("late", n))
            return n
          })
      })
      const { layer, seen } = watching()
      const runtime = yield* Effect.provide(FlowRuntime.make(flowOf([leaks.to(node("b", () => Effect.never))])), layer)
      yield* runtime.emit(1, { traceId: "t" })
      yield* runtime.cancel("t")
      const outcome = yield* runtime.fetch
      yield* settle()
      const before = seen.length
      yield* late
      yield* late
      yield* settle()
      assert.deepStrictEqual(outcome.meta, {})
      assert.strictEqual(yield* runtime.open, 0)
      assert.lengthOf(seen.slice(before).filter((event) => event._tag !== "PartEmitted"), 0)
      const items = yield* Stream.runCollect(
        Stream.take((yield* FlowRuntime.make(flowOf([leaks.to()]))).stream(5), 1)
      )
      assert.deepStrictEqual(items.map((item) => item._tag), ["Result"])
      yield* late
    }))
})

describe("watchers", () => {
  const flow = flowOf<Oops>([
    node("a", (n) => n === 1 ? Effect.fail(new Oops({ n })) : Effect.succeed(n)).to(node("b", (n) => Effect.succeed(n)))
  ])
  const observers: { readonly [what: string]: () => Effect.Effect<void, unknown> } = {
    "throws": boom,
    "dies": () => Effect.die(new Proxy({}, { get: boom, has: boom, getPrototypeOf: boom })),
    "fails": () => Effect.fail("no"),
    "interrupts itself": () => Effect.interrupt,
    "answers with nothing": () => forced(undefined),
    "hangs": () => Effect.never
  }
  for (const [what, observe] of Object.entries(observers)) {
    it.effect(`46: an observer that ${what} changes no outcome, and keeps the other observers none of their events`, () => {
      const { layer, seen } = watching()
      const lines: Array<string> = []
      const logger = Logger.make(({ message }) => lines.push(String(message)))
      return Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(flow)
        for (let n = 0; n < 5; n++) {
          const exit = yield* Effect.exit(runtime.run(n))
          assert.strictEqual(endOf(exit), n === 1 ? "Oops" : "ok")
          yield* settle(1)
        }
        const down = yield* Effect.forkChild(runtime.shutdown(), { startImmediately: true })
        yield* TestClock.adjust("5 seconds")
        yield* settle()
        assert.isDefined(down.pollUnsafe())
        assert.lengthOf(seen.filter((event) => event._tag === "TraceSucceeded"), 4)
        assert.lengthOf(seen.filter((event) => event._tag === "TraceFailed"), 1)
        const told = lines.filter((line) => line.includes("\"bad watcher\""))
        assert.isAtMost(told.length, 1)
        if (!["hangs", "interrupts itself"].includes(what)) assert.lengthOf(told, 1)
      }).pipe(
        Effect.provide(Layer.mergeAll(
          FlowObserver.layer({ name: "bad watcher", observe }),
          layer,
          Logger.layer([logger])
        ))
      )
    })
  }

  it.effect("46: a logger that throws changes no outcome either", () => {
    const { layer, seen } = watching()
    return Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flow)
      for (let n = 0; n < 5; n++) {
        assert.strictEqual(endOf(yield* Effect.exit(runtime.run(n))), n === 1 ? "Oops" : "ok")
        yield* settle(1)
      }
      yield* runtime.shutdown()
      assert.lengthOf(seen.filter((event) => event._tag === "TraceSucceeded"), 4)
    }).pipe(
      Effect.provide(Layer.mergeAll(
        FlowObserver.layer({ name: "bad watcher", observe: boom }),
        layer,
        Logger.layer([Logger.make(boom)])
      ))
    )
  })
})

describe("retries", () => {
  it.effect("48: there are exactly as many attempts as the Schedule says, and each acquires anew what it uses", () => {
    let attempts = 0
    let acquired = 0
    let open = 0
    return Effect.gen(function*() {
      const flaky = node("flaky", (n) =>
        Effect.andThen(
          Effect.acquireRelease(
            Effect.sync(() => {
              acquired++
              assert.strictEqual(++open, 1)
            }),
            () => Effect.sync(() => open--)
          ),
          Effect.suspend(() => {
            attempts++
            return Effect.fail(new Oops({ n }))
          })
        ), { policy: { retry: Schedule.recurs(4) } })
      assert.strictEqual(endOf(yield* Effect.exit(Flow.run(flowOf<Oops>([flaky.to()]), 1))), "Oops")
      assert.deepStrictEqual([attempts, acquired, open], [5, 5, 0])
    })
  })

  it.effect("48: backoff lies within the bounds of its jitter", () =>
    Effect.gen(function*() {
      const at: Array<number> = []
      const { layer, seen } = watching()
      const flaky = node("flaky", (n) => Effect.fail(new Oops({ n })), {
        policy: { retry: Schedule.exponential(100).pipe(Schedule.jittered, Schedule.upTo({ times: 5 })) }
      })
      const runtime = yield* Effect.provide(FlowRuntime.make(flowOf<Oops>([flaky.to()])), layer)
      const fiber = yield* Effect.forkChild(Effect.exit(runtime.run(1)), { startImmediately: true })
      yield* TestClock.adjust("1 hour")
      yield* Fiber.join(fiber)
      yield* settle()
      for (const event of seen) if (event._tag === "NodeRetried") at.push(event.delayMs)
      assert.lengthOf(at, 5)
      at.forEach((delay, i) => {
        assert.isAtLeast(delay, 80 * 2 ** i)
        assert.isAtMost(delay, 120 * 2 ** i)
      })
    }))

  it.effect("48: what retryWhile does not want, a bad input, a bad output and a defect stop at once", () =>
    Effect.gen(function*() {
      const { layer, seen } = watching()
      const policy = { retry: Schedule.recurs(9) }
      const bad = [
        node("a", (n) => Effect.fail(new Oops({ n })), { policy: { ...policy, retryWhile: () => false } }),
        node("b", () => Effect.die("no"), { policy }),
        node("c", () => Effect.succeed(forced("x")), { policy })
      ]
      for (const step of bad) {
        const runtime = yield* Effect.provide(FlowRuntime.make(flowOf([step.to()])), layer)
        yield* Effect.exit(runtime.run(1))
        yield* Effect.exit(runtime.run(forced("x")))
        yield* runtime.shutdown()
      }
      assert.lengthOf(seen.filter((event) => event._tag === "NodeRetried"), 0)
      assert.lengthOf(seen.filter((event) => event._tag === "TraceFailed"), 6)
    }))

  it.effect("48: one branch that tries again undoes nothing that another branch has finished", () =>
    Effect.gen(function*() {
      let attempts = 0
      const undone: Array<number> = []
      const pay = node("pay", (n) => Effect.as(Effect.sleep(10), n), {
        compensate: (n) => Effect.sync(() => undone.push(n))
      })
      const flaky = node("flaky", (n) =>
        Effect.andThen(
          Effect.sleep(20),
          Effect.suspend(() => ++attempts < 3 ? Effect.fail(new Oops({ n })) : Effect.succeed(n))
        ), { policy: { retry: Schedule.recurs(3) } })
      const both = Join.all("both", { pay: Schema.Number, flaky: Schema.Number })
      const start = node("start", (n) => Effect.succeed(n))
      const fiber = yield* Effect.forkChild(Flow.run(
        Flow.make("f", [
          start.to(pay, flaky),
          pay.to(both.in.pay),
          flaky.to(both.in.flaky),
          both.to()
        ]) as never as Flow.Flow<
          "f",
          number,
          unknown,
          Oops
        >,
        1
      ))
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(yield* Fiber.join(fiber), { pay: 1, flaky: 1 })
      assert.deepStrictEqual(undone, [])
    }))

  it.effect("48: a subflow that is tried again first undoes what it had finished, and only that", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      let attempts = 0
      const step = (name: string) =>
        node(name, (n) => Effect.sync(() => (told.push(`did ${name}`), n)), {
          compensate: () => Effect.sync(() => told.push(`undid ${name}`))
        })
      const inner = flowOf<Oops>([
        step("inner").to(
          node("flaky", (n) => Effect.suspend(() => ++attempts < 3 ? Effect.fail(new Oops({ n })) : Effect.succeed(n)))
        )
      ])
      const guarded = Node.withPolicy(Node.fromFlow(inner), { retry: Schedule.recurs(5) })
      const exit = yield* Effect.exit(
        Flow.run(flowOf<Oops>([step("before").to(guarded), guarded.to(step("after"))]), 1)
      )
      assert.strictEqual(endOf(exit), "ok")
      const inners = ["did inner", "undid inner", "did inner", "undid inner", "did inner"]
      assert.deepStrictEqual(told, ["did before", ...inners, "did after"])
    }))
})

describe("branches", () => {
  for (const [kind, answer] of Object.entries(kinds)) {
    it.effect(`a branch that fails stops its siblings and gives the trace one outcome; others answer ${kind}`, () => {
      let stopped = 0
      const { layer, seen } = watching()
      return Effect.gen(function*() {
        const wait = (i: number) =>
          node(`wait${i}`, () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++)))
        const bad = node("bad", (n) => Effect.andThen(Effect.sleep(10), Effect.fail(new Oops({ n }))))
        const start = node("start", answer)
        const runtime = yield* FlowRuntime.make(flowOf<Oops>([start.to(wait(1), bad, wait(2), wait(3))]))
        yield* runtime.emit(1)
        yield* TestClock.adjust(10)
        assert.strictEqual(stopped, 3)
        assert.strictEqual(endOf((yield* runtime.fetch).exit), "Oops")
        yield* runtime.shutdown()
        assert.lengthOf(seen.filter((event) => event._tag === "NodeFailed"), 1)
        assert.lengthOf(seen.filter((event) => event._tag === "NodeInterrupted"), 3)
        assert.lengthOf(seen.filter((event) => event._tag.startsWith("Trace") && event._tag !== "TraceStarted"), 1)
      }).pipe(Effect.provide(layer))
    })
  }

  it.effect("two branches that fail in the same instant give one outcome with one error", () =>
    Effect.gen(function*() {
      const bad = (name: string, i: number) =>
        node(name, () => Effect.andThen(Effect.sleep(10), Effect.fail(new Oops({ n: i }))))
      const start = node("start", (n) => Effect.succeed(n))
      const runtime = yield* FlowRuntime.make(flowOf<Oops>([start.to(bad("b1", 1), bad("b2", 2))]))
      yield* runtime.emit(1)
      yield* TestClock.adjust(10)
      const { exit, failedAt } = yield* runtime.fetch
      assert.isTrue(Exit.isFailure(exit))
      if (Exit.isFailure(exit)) assert.lengthOf(exit.cause.reasons.filter(Cause.isFailReason), 1)
      assert.include(["b1", "b2"], failedAt?.node)
      const idle = yield* Effect.forkChild(runtime.fetch, { startImmediately: true })
      yield* settle()
      assert.isUndefined(idle.pollUnsafe())
    }))
})
