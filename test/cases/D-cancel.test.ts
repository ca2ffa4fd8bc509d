/** Cancelling. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Metric, Schedule, Schema, type Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Join, Loop, Node, Router } from "penguiflow"
import { endOf, flowOf, node, Oops, randomOf, settle, timed, watching } from "./kit.ts"

const never = (name: string) => node(name, () => Effect.never)
const id = (name: string) => node(name, (n) => Effect.succeed(n))
const start = { startImmediately: true } as const

/** A node that says when its finalizers have run. */
const guarded = (name: string, told: Array<string>, run: (n: number) => Effect.Effect<number> = () => Effect.never) =>
  node(name, (n) =>
    Effect.andThen(
      Effect.acquireRelease(Effect.void, () =>
        Effect.andThen(Effect.yieldNow, Effect.sync(() => told.push(`released ${name}`)))),
      Effect.onInterrupt(run(n), () =>
        Effect.andThen(Effect.yieldNow, Effect.sync(() => told.push(`stopped ${name}`))))
    ))

describe("cancel", () => {
  it.effect("49: of an id that is unknown, odd, done, or was cancelled before is false and throws nothing", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flowOf([id("a").to()]))
      for (
        const traceId of ["unknown", "__proto__", "constructor", "", undefined as never, null as never, {} as never]
      ) {
        assert.isFalse(yield* runtime.cancel(traceId))
      }
      yield* runtime.run(1, { traceId: "done" })
      assert.isFalse(yield* runtime.cancel("done"))
      yield* runtime.emit(1, { traceId: "unfetched" })
      assert.isFalse(yield* runtime.cancel("unfetched"))
      assert.strictEqual(endOf((yield* runtime.fetch).exit), "ok")
      const waiting = yield* FlowRuntime.make(flowOf([never("a").to()]))
      yield* waiting.emit(1, { traceId: "t" })
      const twice = yield* Effect.all([waiting.cancel("t"), waiting.cancel("t")], { concurrency: "unbounded" })
      assert.isTrue(twice[0])
      assert.isFalse(yield* waiting.cancel("t"))
      assert.strictEqual(endOf((yield* waiting.fetch).exit), "TRACE_CANCELLED")
      yield* runtime.shutdown()
      assert.isFalse(yield* runtime.cancel("t"))
    }))

  it.effect("50: of a message that waits for admission: it never starts, and whoever is next gets the place", () =>
    Effect.gen(function*() {
      const ran: Array<number> = []
      const runtime = yield* FlowRuntime.make(
        flowOf([
          node("a", (n) => Effect.sync(() => (ran.push(n), n))).to(node("b", (n) => Effect.as(Effect.sleep(10), n)))
        ]),
        { maxInFlight: 1 }
      )
      const fibers = yield* Effect.forEach(
        [0, 1, 2, 3],
        (n) =>
          Effect.forkChild(
            Effect.exit<unknown, unknown, never>(
              n === 2 ? runtime.emit(n, { traceId: "2" }) : runtime.run(n, { traceId: `${n}` })
            ),
            start
          )
      )
      assert.isTrue(yield* runtime.cancel("1"))
      assert.isTrue(yield* runtime.cancel("2"))
      assert.strictEqual(yield* runtime.open, 2)
      yield* TestClock.adjust(20)
      const ends = yield* Effect.forEach(fibers, (fiber) => Effect.map(Fiber.join(fiber), endOf))
      assert.deepStrictEqual(ends, ["ok", "TRACE_CANCELLED", "TRACE_CANCELLED", "ok"])
      assert.deepStrictEqual(ran, [0, 3])
      const idle = yield* Effect.forkChild(runtime.fetch, start)
      yield* settle()
      assert.isUndefined(idle.pollUnsafe(), "a message that was never accepted has an outcome to fetch")
    }))

  const told: Array<string> = []
  const inner = flowOf([id("first").to(guarded("deep", told))])
  const pair = Join.all("pair", { x: Schema.Number, y: Schema.Number })
  const again = id("again")
  const route = Router.make("route", { input: Schema.Number, cases: ["again"], decide: () => "again" })
  const places: {
    readonly [where: string]: readonly [Flow.Flow<"f", number, unknown, unknown>, ReadonlyArray<string>]
  } = {
    "in a node": [flowOf([guarded("a", told).to()]), ["stopped a", "released a"]],
    "in a node with a timeout": [
      flowOf([Node.withPolicy(guarded("a", told), { timeout: 1e6 }).to()]),
      ["stopped a", "released a"]
    ],
    "in a node with everything": [
      flowOf([
        Node.withPolicy(guarded("a", told), { timeout: 1e6, retry: Schedule.forever, concurrency: 1 }).to()
      ]),
      ["stopped a", "released a"]
    ],
    "in several branches": [
      flowOf([id("s").to(guarded("a", told), guarded("b", told), guarded("c", told))]),
      ["stopped a", "stopped b", "stopped c", "released a", "released b", "released c"]
    ],
    "in a subflow": [
      flowOf([id("s").to(Node.named(Node.fromFlow(inner), "sub"))]),
      ["stopped deep", "released deep"]
    ],
    "in a guarded subflow": [
      flowOf([
        id("s").to(Node.withPolicy(Node.named(Node.fromFlow(inner), "sub"), { timeout: 1e6, retry: Schedule.forever }))
      ]),
      ["stopped deep", "released deep"]
    ],
    "in the items of a forEach": [
      flowOf([Node.forEach(guarded("item", told), { concurrency: 2 }).to()]),
      ["stopped item", "stopped item", "released item", "released item"]
    ],
    "in a loop's step": [
      flowOf([
        Loop.make("loop", {
          state: Schema.Number,
          output: Schema.Number,
          maxHops: 9,
          step: (n, { hop }) =>
            hop < 3
              ? Effect.succeed(Loop.again(n))
              : Effect.onInterrupt(Effect.never, () => Effect.sync(() => told.push("stopped loop")))
        }).to()
      ]),
      ["stopped loop"]
    ],
    "in a cycle that never rests": [
      flowOf([id("s").to(again), again.to(route), route.to({ again })], { maxHops: Number.MAX_SAFE_INTEGER }),
      []
    ],
    "at a join that got one of two": [
      flowOf([id("s").to(pair.in.x, guarded("a", told)), never("z").to(pair.in.y), pair.to()]),
      [
        "stopped a",
        "released a"
      ]
    ],
    "in a stream": [
      flowOf([
        Node.stream("stream", {
          input: Schema.Number,
          part: Schema.Number,
          output: Schema.Number,
          run: () =>
            Stream.concat(
              Stream.make(1, 2),
              Stream.fromEffect(Effect.onInterrupt(Effect.never, () => Effect.sync(() => told.push("stopped stream"))))
            ),
          collect: (parts) => parts.length
        }).to()
      ]),
      ["stopped stream"]
    ]
  }
  for (const [where, [flow, expected]] of Object.entries(places)) {
    for (const how of ["cancel", "interrupted caller", "deadline", "shutdown"] as const) {
      it.effect(`51, 53, 55, 58: ${where}, by ${how}: finalizers have run when it returns, and nothing is left`, () => {
        const { layer, seen } = watching()
        return Effect.gen(function*() {
          told.length = 0
          const runtime = yield* FlowRuntime.make(flow)
          const input = (where.includes("forEach") ? [1, 2, 3] : 1) as number
          const fiber = yield* Effect.forkChild(
            runtime.run(input, { traceId: "t", ...(how === "deadline" ? { deadline: 10 } : {}) }),
            start
          )
          yield* settle()
          assert.isUndefined(fiber.pollUnsafe(), "it ended before anybody ended it")
          if (how === "cancel") assert.isTrue(yield* runtime.cancel("t", "because"))
          else if (how === "interrupted caller") yield* Fiber.interrupt(fiber)
          else if (how === "deadline") {
            yield* TestClock.adjust(10)
            yield* settle()
          } else yield* runtime.shutdown({ grace: 0 })
          assert.sameMembers(told, [...expected])
          assert.strictEqual(yield* runtime.open, 0)
          const exit = yield* Fiber.await(fiber)
          const codes = {
            "cancel": "TRACE_CANCELLED",
            "interrupted caller": "interrupt",
            "deadline": "DEADLINE_EXCEEDED",
            "shutdown": "SHUTTING_DOWN"
          }
          assert.strictEqual(endOf(exit), codes[how])
          yield* runtime.shutdown()
          yield* settle()
          const ends = seen.filter(({ _tag }) => _tag.startsWith("Trace") && _tag !== "TraceStarted")
          assert.lengthOf(ends, 1)
        }).pipe(Effect.provide(layer))
      })
    }
  }

  it.effect("52: in a retry's backoff: there is no further attempt, and no other trace had to wait", () =>
    Effect.gen(function*() {
      let attempts = 0
      const flaky = node(
        "flaky",
        (n) => Effect.suspend(() => n === 0 ? Effect.succeed(n) : (attempts++, Effect.fail(new Oops({ n })))),
        {
          policy: { retry: Schedule.spaced("1 hour"), concurrency: 1 }
        }
      )
      const runtime = yield* FlowRuntime.make(flowOf<Oops>([flaky.to()]))
      yield* runtime.emit(1, { traceId: "t" })
      yield* TestClock.adjust("30 minutes")
      assert.strictEqual(attempts, 1)
      assert.strictEqual(yield* runtime.run(0), 0)
      assert.isTrue(yield* runtime.cancel("t"))
      assert.strictEqual(endOf((yield* runtime.fetch).exit), "TRACE_CANCELLED")
      yield* TestClock.adjust("10 hours")
      assert.strictEqual(attempts, 1)
    }))

  it.effect("a deadline that passes in a node ends it in that instant, and no retry follows", () =>
    Effect.gen(function*() {
      let attempts = 0
      const slow = node("slow", (n) => (attempts++, Effect.as(Effect.sleep(500), n)), {
        policy: { retry: Schedule.forever, retryWhile: () => true, timeout: 400 }
      })
      const fiber = yield* Effect.forkChild(Effect.exit(Flow.run(flowOf([slow.to()]), 1, { deadline: 50 })), start)
      yield* TestClock.adjust(49)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.strictEqual(endOf(yield* Fiber.join(fiber)), "DEADLINE_EXCEEDED")
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(attempts, 1)
    }))

  it.effect("in the trace's own first step, by its own node, ends it, whatever its beginnings", () =>
    Effect.gen(function*() {
      for (const rows of [[], [never("other").to()], [never("o1").to(never("o2"))]]) {
        let stopped = 0
        const runtime: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
          flowOf([
            node("self", () =>
              Effect.andThen(
                Effect.forkDetach(Effect.suspend(() => runtime.cancel("t")), start),
                Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++))
              )).to(),
            ...rows
          ])
        )
        yield* runtime.emit(1, { traceId: "t" })
        yield* settle()
        assert.strictEqual(endOf((yield* runtime.fetch).exit), "TRACE_CANCELLED")
        assert.strictEqual(stopped, 1)
        assert.strictEqual(yield* runtime.open, 0)
      }
    }))

  it.effect("leaves no waiting message behind where a node cancels its own trace and waits for that", () =>
    Effect.gen(function*() {
      const runtime: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
        flowOf([node("self", (n, { traceId }) => Effect.as(Effect.suspend(() => runtime.cancel(traceId)), n)).to()]),
        { maxInFlight: 1 }
      )
      const fibers = yield* Effect.forEach([1, 2, 3], (n) => Effect.forkChild(Effect.exit(runtime.run(n)), start))
      yield* settle()
      const ends = yield* Effect.forEach(fibers, (fiber) => Effect.map(Fiber.join(fiber), endOf))
      assert.deepStrictEqual(ends, ["TRACE_CANCELLED", "TRACE_CANCELLED", "TRACE_CANCELLED"])
    }))

  it.effect("56: while the runtime shuts down, and a shutdown while a cancel waits: both return", () =>
    Effect.gen(function*() {
      for (const first of ["cancel", "shutdown"] as const) {
        const slow = node("slow", () => Effect.onInterrupt(Effect.never, () => Effect.sleep(50)))
        const runtime = yield* FlowRuntime.make(flowOf([slow.to()]))
        yield* runtime.emit(1, { traceId: "t" })
        yield* runtime.emit(1, { traceId: "u" })
        const effects: Array<Effect.Effect<unknown>> = [runtime.cancel("t"), runtime.shutdown({ grace: 0 })]
        if (first === "shutdown") effects.reverse()
        const fibers = yield* Effect.forEach(
          effects,
          (effect) => Effect.forkChild(effect, start)
        )
        const more = yield* Effect.forkChild(runtime.shutdown(), start)
        yield* TestClock.adjust(50)
        yield* settle()
        for (const fiber of [...fibers, more]) assert.isDefined(fiber.pollUnsafe(), first)
        const ends = [endOf((yield* runtime.fetch).exit), endOf((yield* runtime.fetch).exit)].toSorted()
        const t = first === "cancel" ? "TRACE_CANCELLED" : "SHUTTING_DOWN"
        assert.deepStrictEqual(ends, ["SHUTTING_DOWN", t].toSorted())
        assert.strictEqual(endOf(yield* Effect.exit(runtime.fetch)), "SHUTTING_DOWN")
      }
    }))
})

describe("what was done is undone", () => {
  /** A node whose effect is counted, and uncounted by its compensation; or by itself, where its value gets lost. */
  const counted = (run: (n: number, count: Effect.Effect<void>) => Effect.Effect<number, never, Scope.Scope>) => {
    const ledger = { done: 0, undone: 0 }
    const charge = Node.make("charge", {
      input: Schema.Number,
      output: Schema.Number,
      run: (n) => {
        let done = false
        return run(
          n,
          Effect.sync(() => {
            done = true
            ledger.done++
          })
        ).pipe(Effect.onInterrupt(() => Effect.sync(() => void (ledger.undone += done ? 1 : 0))))
      },
      compensate: () => Effect.sync(() => void ledger.undone++)
    })
    return { ledger, charge }
  }

  it.effect("when cancel comes while a node that can't be interrupted does its work, and the work is done", () =>
    Effect.gen(function*() {
      const { charge, ledger } = counted((n, count) =>
        Effect.uninterruptible(Effect.sleep(100).pipe(Effect.andThen(count), Effect.as(n)))
      )
      for (const policy of [{}, { timeout: 1000 }, { retry: Schedule.forever }]) {
        ledger.done = ledger.undone = 0
        const runtime = yield* FlowRuntime.make(flowOf([Node.withPolicy(charge, policy).to(never("after"))]))
        yield* runtime.emit(1, { traceId: "t" })
        yield* TestClock.adjust(50)
        const cancelling = yield* Effect.forkChild(runtime.cancel("t"), start)
        yield* TestClock.adjust(50)
        assert.isTrue(yield* Fiber.join(cancelling))
        yield* settle()
        assert.deepStrictEqual(ledger, { done: 1, undone: 1 }, JSON.stringify(policy))
        assert.strictEqual(endOf((yield* runtime.fetch).exit), "TRACE_CANCELLED")
      }
    }))

  it.effect("when cancel comes while what the node had acquired is released", () =>
    Effect.gen(function*() {
      const { charge, ledger } = counted((n, count) =>
        Effect.acquireRelease(Effect.void, () => Effect.sleep(100)).pipe(Effect.andThen(count), Effect.as(n))
      )
      for (const policy of [{}, { timeout: 1000 }, { retry: Schedule.forever }]) {
        ledger.done = ledger.undone = 0
        const runtime = yield* FlowRuntime.make(flowOf([Node.withPolicy(charge, policy).to(never("after"))]))
        yield* runtime.emit(1, { traceId: "t" })
        yield* TestClock.adjust(50)
        const cancelling = yield* Effect.forkChild(runtime.cancel("t"), start)
        yield* TestClock.adjust(50)
        assert.isTrue(yield* Fiber.join(cancelling))
        assert.deepStrictEqual(ledger, { done: 1, undone: 1 }, JSON.stringify(policy))
      }
    }))

  it.effect("when the node itself has its trace cancelled in its last step", () =>
    Effect.gen(function*() {
      const services = yield* Effect.context<never>()
      const { charge, ledger } = counted((n, count) =>
        Effect.yieldNow.pipe(
          Effect.andThen(count),
          Effect.andThen(Effect.sync(() => {
            Effect.runForkWith(services)(runtime.cancel("t"))
            return n
          }))
        )
      )
      const runtime: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
        flowOf([charge.to(never("after"))])
      )
      yield* runtime.emit(1, { traceId: "t" })
      yield* settle()
      assert.strictEqual(endOf((yield* runtime.fetch).exit), "TRACE_CANCELLED")
      assert.deepStrictEqual(ledger, { done: 1, undone: 1 })
    }))

  it.effect("when a node that was left behind finishes after all", () =>
    Effect.gen(function*() {
      const { charge, ledger } = counted((n, count) =>
        Effect.uninterruptible(Effect.sleep(1000).pipe(Effect.andThen(count), Effect.as(n)))
      )
      const runtime = yield* FlowRuntime.make(flowOf([charge.to(never("after"))]), { interruptGrace: 10 })
      yield* runtime.emit(1, { traceId: "t" })
      const cancelling = yield* Effect.forkChild(runtime.cancel("t"), start)
      yield* TestClock.adjust(10)
      assert.isTrue(yield* Fiber.join(cancelling))
      assert.deepStrictEqual(ledger, { done: 0, undone: 0 })
      yield* TestClock.adjust(1000)
      yield* settle()
      assert.deepStrictEqual(ledger, { done: 1, undone: 1 })
    }))

  it.effect("all of what an attempt acquired is released when cancel comes while it is being released", () =>
    Effect.gen(function*() {
      const released: Array<string> = []
      for (const policy of [{}, { timeout: 1000 }, { retry: Schedule.forever }]) {
        released.length = 0
        const a = node(
          "a",
          (n) =>
            Effect.acquireRelease(Effect.void, () => Effect.sync(() => released.push("first"))).pipe(
              Effect.andThen(
                Effect.acquireRelease(
                  Effect.void,
                  () => Effect.andThen(Effect.sleep(100), Effect.sync(() => released.push("second")))
                )
              ),
              Effect.as(n)
            )
        )
        const runtime = yield* FlowRuntime.make(flowOf([Node.withPolicy(a, policy).to()]))
        yield* runtime.emit(1, { traceId: "t" })
        yield* TestClock.adjust(50)
        const cancelling = yield* Effect.forkChild(runtime.cancel("t"), start)
        yield* settle()
        assert.isUndefined(cancelling.pollUnsafe())
        yield* TestClock.adjust(50)
        yield* Fiber.join(cancelling)
        assert.deepStrictEqual(released, ["second", "first"], JSON.stringify(policy))
      }
    }))
})

describe("cancel and completion in a race", () => {
  const turns = (count: number): Effect.Effect<void> =>
    Effect.forEach(Array.from({ length: count }, () => 0), () => Effect.yieldNow, { discard: true })

  /** Flows of all shapes whose nodes take a random number of turns, fail now and then, and keep a ledger. */
  const shapes = (random: (below: number) => number, ledger: { done: number; undone: number; open: number }) => {
    const work = (name: string, policy = {}) =>
      Node.make(name, {
        input: Schema.Number,
        output: Schema.Number,
        policy,
        run: (n) => {
          const fails = random(12) === 0
          let did = false
          const does = () => {
            did = true
            ledger.done++
            return n
          }
          // What is done, and whose value gets lost in an interruption, undoes itself.
          const undoes = Effect.onInterrupt(() => Effect.sync(() => void (ledger.undone += did ? 1 : 0)))
          const body = Effect.acquireRelease(
            Effect.sync(() => void ledger.open++),
            () => Effect.andThen(turns(random(2)), Effect.sync(() => void ledger.open--))
          ).pipe(
            Effect.andThen(turns(random(4))),
            Effect.andThen(Effect.suspend(() => {
              if (fails) return Effect.fail(new Oops({ n }))
              return Effect.succeed(does())
            }))
          )
          switch (random(4)) {
            case 0:
              return undoes(Effect.uninterruptible(body))
            case 1:
              return fails ? Effect.fail(new Oops({ n })) : undoes(Effect.sync(does))
            default:
              return undoes(body)
          }
        },
        compensate: () => Effect.andThen(turns(random(2)), Effect.sync(() => void ledger.undone++))
      })
    const retry = { retry: Schedule.recurs(1) }
    const pair = Join.all("pair", { x: Schema.Number, y: Schema.Number })
    const sum = Node.make("sum", {
      input: Schema.Struct({ x: Schema.Number, y: Schema.Number }),
      output: Schema.Number,
      run: ({ x, y }) => Effect.as(turns(random(2)), x + y)
    })
    const x = work("x")
    const y = work("y", retry)
    const sub = Node.named(Node.fromFlow(flowOf<Oops>([work("in1").to(work("in2"))])), "sub")
    return [
      flowOf<Oops>([work("a").to(work("b", retry))]),
      flowOf<Oops>([work("s", { timeout: 1e6 }).to(x, y), x.to(pair.in.x), y.to(pair.in.y), pair.to(sum)]),
      flowOf<Oops>([work("p", { concurrency: 2 }).to(sub)]),
      flowOf<Oops>([work("q").to(Node.withPolicy(sub, { timeout: 1e6, retry: Schedule.recurs(1) }))])
    ]
  }

  it.effect("59: ten thousand random interleavings: exactly one outcome each, everything released, done or undone", () => {
    const { layer, seen } = watching()
    return Effect.gen(function*() {
      const ways = { cancel: 0, interrupt: 0, deadline: 0, none: 0 }
      const ends = new Map<string, number>()
      for (let seed = 1; seed <= 40; seed++) {
        const random = randomOf(seed)
        const ledger = { done: 0, undone: 0, open: 0 }
        for (const flow of shapes(random, ledger)) {
          const runtime = yield* FlowRuntime.make(flow, { maxInFlight: 1 + random(20) })
          let successes = 0
          let kept = 0
          const one = (i: number) =>
            Effect.gen(function*() {
              const before = ledger.done - ledger.undone
              const way = (["cancel", "interrupt", "deadline", "none"] as const)[random(4)]!
              ways[way]++
              const traceId = `${i}`
              const fiber = yield* Effect.forkChild(
                runtime.run(i, { traceId, ...(way === "deadline" ? { deadline: 1 } : {}) }),
                { startImmediately: random(2) === 0 }
              )
              yield* turns(random(14))
              let cancelled = false
              if (way === "cancel") cancelled = yield* runtime.cancel(traceId)
              if (way === "interrupt") yield* Fiber.interrupt(fiber)
              const exit = yield* Fiber.await(fiber)
              const end = endOf(exit)
              ends.set(end, (ends.get(end) ?? 0) + 1)
              if (cancelled) assert.include(["TRACE_CANCELLED", "ok", "Oops"], end)
              if (way === "cancel" && !cancelled) assert.include(["ok", "Oops", "TRACE_CANCELLED"], end)
              if (way === "none") assert.include(["ok", "Oops"], end)
              if (Exit.isSuccess(exit)) successes++
              return before
            })
          const batch = yield* Effect.forkChild(
            Effect.forEach(Array.from({ length: 63 }, (_, i) => i), one, { concurrency: 16, discard: true }),
            start
          )
          for (let turn = 0; turn < 5000 && batch.pollUnsafe() === undefined; turn++) {
            yield* TestClock.adjust(random(2))
            yield* Effect.yieldNow
          }
          assert.isDefined(batch.pollUnsafe(), `seed ${seed} hangs`)
          yield* Fiber.join(batch)
          assert.strictEqual(yield* runtime.open, 0)
          yield* runtime.shutdown()
          yield* settle(1)
          assert.strictEqual(ledger.open, 0, `seed ${seed}: something is not released`)
          const started = seen.filter((event) => event._tag === "TraceStarted")
          const ended = seen.filter(({ _tag }) => _tag.startsWith("Trace") && _tag !== "TraceStarted")
          const ofStarted = ended.filter((event) => started.some(({ traceId }) => traceId === event.traceId))
          assert.lengthOf(ofStarted, started.length, `seed ${seed}`)
          assert.strictEqual(new Set(ended.map(({ traceId }) => traceId)).size, ended.length, `seed ${seed}`)
          assert.isAtLeast(ended.filter((event) => event._tag === "TraceSucceeded").length, successes)
          for (const event of ended) {
            const own = seen.filter(({ traceId }) => traceId === event.traceId)
            const done = own.filter(({ _tag, node: at }) =>
              _tag === "NodeSucceeded" && /(^|\/)(?!sum|pair|sub)[^/]+$/u.test(at ?? "")
            )
            const undone = own.filter(({ _tag }) => _tag === "NodeCompensated")
            if (event._tag === "TraceSucceeded") kept += done.length - undone.length
          }
          assert.strictEqual(
            ledger.done - ledger.undone,
            kept,
            `seed ${seed}: what is done and not undone is not what succeeded`
          )
          ledger.done = ledger.undone = 0
          seen.length = 0
        }
      }
      assert.strictEqual(Object.values(ways).reduce((a, b) => a + b), 40 * 4 * 63)
      for (const end of ["ok", "Oops", "TRACE_CANCELLED", "DEADLINE_EXCEEDED", "interrupt"]) {
        assert.isAbove(ends.get(end) ?? 0, 100, `${end} of ${JSON.stringify([...ends])}`)
      }
    }).pipe(Effect.provide(layer))
  })

  it.effect("59: every emitted message is fetched once, however emitters, fetchers and cancels interrupt each other", () =>
    Effect.gen(function*() {
      let accepted = 0
      let interrupted = 0
      for (let seed = 1; seed <= 50; seed++) {
        const random = randomOf(seed)
        const runtime = yield* FlowRuntime.make(
          flowOf<Oops>([
            node(
              "a",
              (n) =>
                Effect.andThen(turns(random(5)), random(8) === 0 ? Effect.fail(new Oops({ n })) : Effect.succeed(n))
            ).to()
          ]),
          { maxInFlight: 1 + random(6) }
        )
        const started = new Set<string>()
        const fetched: Array<string> = []
        const emitter = (i: number) =>
          Effect.gen(function*() {
            yield* turns(random(10))
            const fiber = yield* Effect.forkChild(runtime.emit(i, { traceId: `${i}` }), start)
            yield* turns(random(12))
            const way = random(4)
            if (way === 0) yield* Fiber.interrupt(fiber)
            if (way === 1) yield* runtime.cancel(`${i}`)
            const exit = yield* Fiber.await(fiber)
            if (Exit.isSuccess(exit)) started.add(exit.value)
            else if (way === 0) interrupted++
          })
        const fetcher: Effect.Effect<void> = Effect.gen(function*() {
          for (;;) {
            const fiber = yield* Effect.forkChild(runtime.fetch, { startImmediately: random(2) === 0 })
            yield* turns(random(6))
            if (random(2) === 0) yield* Fiber.interrupt(fiber)
            const exit = yield* Fiber.await(fiber)
            if (Exit.isSuccess(exit)) fetched.push(exit.value.traceId)
            else if (endOf(exit) === "SHUTTING_DOWN") return
          }
        })
        const fetchers = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(fetcher, start))
        yield* Effect.forEach(Array.from({ length: 200 }, (_, i) => i), emitter, { concurrency: 24, discard: true })
        yield* runtime.shutdown()
        yield* Fiber.joinAll(fetchers)
        assert.strictEqual(new Set(fetched).size, fetched.length, `seed ${seed}: fetched twice`)
        const lost = [...started].filter((traceId) => !fetched.includes(traceId))
        assert.deepStrictEqual(lost, [], `seed ${seed}: lost`)
        accepted += started.size
      }
      assert.isAbove(accepted, 5000)
      assert.isAbove(interrupted, 50)
    }))

  it.effect("58: however traces end, no fiber is left of them", () => {
    let live = 0
    let begun = 0
    const counting = {
      recordFiberStart: () => {
        live++
        begun++
      },
      recordFiberEnd: () => void live--
    }
    const random = randomOf(7)
    const ledger = { done: 0, undone: 0, open: 0 }
    return Effect.gen(function*() {
      yield* settle()
      const before = live
      for (const flow of shapes(random, ledger)) {
        yield* Effect.scoped(Effect.gen(function*() {
          const runtime = yield* FlowRuntime.make(flow, { maxInFlight: 8 })
          const running = live
          for (let round = 0; round < 40; round++) {
            const fibers = yield* Effect.forEach(
              Array.from({ length: 12 }, (_, i) => `${i}`),
              (traceId) => Effect.forkChild(runtime.run(1, { traceId, deadline: 1 + random(3) }), start)
            )
            yield* turns(random(9))
            for (const fiber of fibers) {
              const way = random(3)
              if (way === 0) yield* Fiber.interrupt(fiber)
              if (way === 1) yield* runtime.cancel("1")
              yield* TestClock.adjust(way)
            }
            yield* TestClock.adjust(10)
            for (const fiber of fibers) yield* Fiber.await(fiber)
          }
          yield* settle()
          assert.strictEqual(live, running)
        }))
        yield* settle()
        assert.strictEqual(live, before)
      }
      assert.isAbove(begun, 4 * 40 * 12)
    }).pipe(Effect.provideService(Metric.FiberRuntimeMetrics, counting))
  })

  it.effect("fetch that times out loses nothing", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flowOf([node("a", (n) => Effect.as(Effect.sleep(10 * n), n)).to()]))
      for (let n = 0; n < 50; n++) yield* runtime.emit(n)
      const got: Array<number> = []
      const fiber = yield* Effect.forkChild(
        Effect.whileLoop({
          while: () => got.length < 50,
          body: () => Effect.timeoutOption(runtime.fetch, 5),
          step: (outcome) => {
            if (outcome._tag === "Some" && Exit.isSuccess(outcome.value.exit)) got.push(outcome.value.exit.value[0]!)
          }
        })
      )
      for (let i = 0; i < 200; i++) yield* TestClock.adjust(5)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(got, Array.from({ length: 50 }, (_, i) => i))
    }))
})

describe("many", () => {
  const busy = (runtime: FlowRuntime.FlowRuntime<number, number, never, never>, count: number) =>
    Effect.forEach(Array.from({ length: count }, (_, i) => i), (i) => runtime.emit(i, { traceId: `${i}` }), {
      discard: true
    })

  it.effect("57: ten thousand cancelled one after the other, while they run: linear, in well under a second, all released", () =>
    Effect.gen(function*() {
      const cost = (count: number) =>
        Effect.gen(function*() {
          let released = 0
          const runtime = yield* FlowRuntime.make(
            flowOf([node("a", () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => released++))).to()]),
            { maxInFlight: Infinity }
          )
          yield* busy(runtime, count)
          const { ms } = yield* timed(
            Effect.forEach(Array.from({ length: count }, (_, i) => i), (i) => runtime.cancel(`${i}`), {
              discard: true
            })
          )
          assert.strictEqual(released, count)
          assert.strictEqual(yield* runtime.open, 0)
          return ms
        })
      yield* cost(2000)
      const ten: Array<number> = []
      const twenty: Array<number> = []
      const ratio = () => Math.min(...twenty) / Math.min(...ten)
      // The best of several: another program may use the machine during any one of them.
      for (let round = 0; round < 2 || (round < 8 && ratio() >= 4); round++) {
        ten.push(yield* cost(10_000))
        twenty.push(yield* cost(20_000))
      }
      assert.isBelow(Math.min(...ten), 1000)
      assert.isBelow(ratio(), 4)
    }))

  it.effect("57: ten thousand cancelled that wait for admission: linear, in well under a second", () =>
    Effect.gen(function*() {
      const cost = (count: number) =>
        Effect.gen(function*() {
          const runtime = yield* FlowRuntime.make(flowOf([never("a").to()]), { maxInFlight: 1 })
          yield* runtime.emit(1, { traceId: "head" })
          const fibers = yield* Effect.forEach(
            Array.from({ length: count }, (_, i) => i),
            (i) => Effect.forkChild(runtime.emit(i, { traceId: `${i}` }), start)
          )
          const { ms } = yield* timed(
            Effect.forEach(Array.from({ length: count }, (_, i) => i), (i) => runtime.cancel(`${i}`), { discard: true })
          )
          assert.strictEqual(yield* runtime.open, 1)
          for (const fiber of fibers) assert.strictEqual(endOf(yield* Fiber.await(fiber)), "TRACE_CANCELLED")
          yield* runtime.cancel("head")
          return ms
        })
      yield* cost(2000)
      const ten: Array<number> = []
      const twenty: Array<number> = []
      const ratio = () => Math.min(...twenty) / Math.min(...ten)
      // The best of several: another program may use the machine during any one of them.
      for (let round = 0; round < 2 || (round < 8 && ratio() >= 4); round++) {
        ten.push(yield* cost(10_000))
        twenty.push(yield* cost(20_000))
      }
      assert.isBelow(Math.min(...ten), 1000)
      assert.isBelow(ratio(), 4)
    }))

  it.effect("57: ten thousand cancelled at once all end, each once", () =>
    Effect.gen(function*() {
      let stopped = 0
      const runtime = yield* FlowRuntime.make(
        flowOf([node("a", () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++))).to()]),
        { maxInFlight: Infinity }
      )
      yield* busy(runtime, 10_000)
      const cancelled = yield* Effect.forEach(Array.from({ length: 10_000 }, (_, i) => `${i}`), (traceId) =>
        runtime.cancel(traceId), { concurrency: "unbounded" })
      assert.isTrue(cancelled.every((was) =>
        was
      ))
      assert.strictEqual(stopped, 10_000)
      const ids = new Set<string>()
      for (let i = 0; i < 10_000; i++) ids.add((yield* runtime.fetch).traceId)
      assert.strictEqual(ids.size, 10_000)
    }))

  it.effect("cancelling one of ten thousand open traces costs what cancelling one of ten does", () =>
    Effect.gen(function*() {
      const cost = (count: number) =>
        Effect.gen(function*() {
          const runtime = yield* FlowRuntime.make(flowOf([never("a").to()]), { maxInFlight: Infinity })
          yield* busy(runtime, count)
          const times: Array<number> = []
          for (let i = 0; i < 2000; i++) {
            yield* runtime.emit(i, { traceId: "one" })
            times.push((yield* timed(runtime.cancel("one"))).ms)
            yield* runtime.fetch
          }
          yield* runtime.shutdown({ grace: 0 })
          return times.sort((a, b) => a - b)[1000]!
        })
      yield* cost(10)
      const few = Math.min(yield* cost(10), yield* cost(10))
      const many = Math.min(yield* cost(10_000), yield* cost(10_000))
      assert.isBelow(many / few, 4, `${few} ms of ten, ${many} ms of ten thousand`)
    }))

  it.effect("a shutdown interrupts ten thousand open traces in well under two seconds and names them all", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(flowOf([never("a").to()]), { maxInFlight: Infinity })
      yield* busy(runtime, 10_000)
      const { ms, value } = yield* timed(runtime.shutdown({ grace: 0 }))
      assert.lengthOf(value.interrupted, 10_000)
      assert.isBelow(ms, 2000)
      for (let i = 0; i < 10_000; i++) assert.strictEqual(endOf((yield* runtime.fetch).exit), "SHUTTING_DOWN")
      assert.strictEqual(endOf(yield* Effect.exit(runtime.fetch)), "SHUTTING_DOWN")
    }))
})
