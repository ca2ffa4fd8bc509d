import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Logger, Redacted, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Flow, type FlowEvent, FlowRuntime, Join, Node } from "penguiflow"
import * as TraceStoreMemory from "penguiflow/layers/TraceStoreMemory"
import * as TraceStore from "penguiflow/TraceStore"
import { codeOf, now, start } from "./utils/effects.ts"
import { sentence } from "./utils/events.ts"
import { add, Bad, never, number } from "./utils/nodes.ts"

const flow = Flow.make("counting", [add("inc", 1).to()])

const event = (seq: number, traceId = "t"): FlowEvent.FlowEvent => ({
  _tag: "PartEmitted",
  flow: "f",
  traceId,
  node: "n",
  attempt: 1,
  at: seq,
  durationMs: undefined,
  seq
})

/** A backend that keeps batches, and does before that what a test wants. */
const backend = (before: (call: number) => Effect.Effect<void, TraceStore.TraceStoreError>) => {
  const batches: Array<TraceStore.Batch> = []
  let calls = 0
  const nothing = Effect.die("not asked here")
  const made: TraceStore.Backend = {
    write: (batch) =>
      Effect.andThen(Effect.suspend(() => before(calls++)), Effect.sync(() => void batches.push(batch))),
    history: () => nothing,
    get: () => nothing,
    list: () => nothing,
    prune: () => Effect.succeed(0)
  }
  return { batches, made, calls: () => calls }
}

const down = new TraceStore.TraceStoreError({ kind: "StoreFailed", message: "the database is down" })

const logging = () => {
  const lines: Array<string> = []
  return { lines, layer: Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))]) }
}

/** What a runtime that is still open has told of so far is noted and written. */
const settled = Effect.gen(function*() {
  for (let i = 0; i < 4; i++) yield* Effect.yieldNow
  yield* TraceStore.TraceStore.use((store) => store.flush)
})

const stored = (traceId: string) => Effect.andThen(settled, TraceStore.TraceStore.use((store) => store.get(traceId)))

const keptAs = (json: unknown): TraceStore.Kept => ({ _tag: "Kept", json })

describe("TraceStore: noting", () => {
  it.effect("writes in batches, from its own fiber: whoever notes waits for nothing", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const { batches, made } = backend(() => Deferred.await(gate))
      const store = yield* TraceStore.make(made, { batchSize: 10 })
      yield* store.note([event(0)])
      yield* Effect.yieldNow
      // The first is being written; what comes meanwhile gathers.
      yield* store.note(Array.from({ length: 24 }, (_, i) => event(i + 1)))
      assert.deepStrictEqual(batches, [])
      const flushing = yield* start(store.flush)
      assert.isUndefined(flushing.pollUnsafe())
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(flushing)
      assert.deepStrictEqual(batches.map(({ events }) => events.length), [1, 10, 10, 4])
      assert.deepStrictEqual(
        batches.flatMap(({ events }) => events.map(({ at }) => at)),
        Array.from({ length: 25 }, (_, i) => i)
      )
    }))

  it.effect("a flush waits for what was noted before it, and not for what comes after", () =>
    Effect.gen(function*() {
      const gates = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const { made } = backend((call) => Deferred.await(gates[call]!))
      const store = yield* TraceStore.make(made, { batchSize: 1 })
      yield* store.note([event(0)])
      const first = yield* start(store.flush)
      yield* store.note([event(1)])
      const both = yield* start(store.flush)
      yield* Deferred.succeed(gates[0]!, undefined)
      yield* Fiber.join(first)
      assert.isUndefined(both.pollUnsafe())
      yield* Deferred.succeed(gates[1]!, undefined)
      yield* Fiber.join(both)
    }))

  it.effect("a backend that fails for a while loses nothing", () =>
    Effect.gen(function*() {
      const { batches, made } = backend((call) => call < 4 ? Effect.fail(down) : Effect.void)
      const store = yield* TraceStore.make(made)
      yield* store.note([event(0)])
      yield* TestClock.adjust("5 seconds")
      yield* store.flush
      assert.strictEqual(batches.length, 1)
      assert.strictEqual(yield* store.lost, 0)
    }))

  it.effect("one that fails for longer loses what it was given, says so once, and takes what comes after", () =>
    Effect.gen(function*() {
      const { layer, lines } = logging()
      yield* Effect.gen(function*() {
        let broken = true
        const { batches, made } = backend(() => broken ? Effect.fail(down) : Effect.void)
        const store = yield* TraceStore.make(made, { batchSize: 1 })
        yield* store.note([event(0), event(1), event(2)])
        yield* TestClock.adjust("1 minute")
        yield* store.flush
        assert.strictEqual(yield* store.lost, 3)
        assert.strictEqual(lines.filter((line) => line.includes("the database is down")).length, 1)
        broken = false
        yield* store.note([event(3)])
        yield* store.flush
        assert.deepStrictEqual(batches.flatMap(({ events }) => events.map(({ at }) => at)), [3])
      }).pipe(Effect.provide(layer))
    }))

  it.effect("a backend that dies is as one that fails", () =>
    Effect.gen(function*() {
      const { layer, lines } = logging()
      yield* Effect.gen(function*() {
        const { batches, made } = backend((call) => call === 0 ? Effect.die(new Error("a bug")) : Effect.void)
        const store = yield* TraceStore.make(made, { batchSize: 1 })
        yield* store.note([event(0), event(1)])
        yield* store.flush
        assert.deepStrictEqual([batches.length, yield* store.lost], [1, 1])
        assert.isTrue(lines.some((line) => line.includes("a bug")))
      }).pipe(Effect.provide(layer))
    }))

  it.effect("the buffer is bounded: what does not fit is lost and counted, and what is there stays", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const { batches, made } = backend(() => Deferred.await(gate))
      const store = yield* TraceStore.make(made, { capacity: 5 })
      yield* store.note([event(0)])
      yield* Effect.yieldNow
      yield* store.note(Array.from({ length: 8 }, (_, i) => event(i + 1)))
      yield* store.note([event(9)])
      assert.strictEqual(yield* store.lost, 4)
      yield* Deferred.succeed(gate, undefined)
      yield* store.flush
      assert.deepStrictEqual(batches.flatMap(({ events }) => events.map(({ at }) => at)), [0, 1, 2, 3, 4, 5])
    }))

  it.effect("at its end it writes what is noted, within five seconds; the rest is lost and said", () =>
    Effect.gen(function*() {
      const { batches, made } = backend(() => Effect.sleep("1 second"))
      yield* Effect.gen(function*() {
        const closing = yield* start(Effect.scoped(Effect.gen(function*() {
          const store = yield* TraceStore.make(made, { batchSize: 10 })
          yield* store.note(Array.from({ length: 30 }, (_, i) => event(i)))
        })))
        yield* TestClock.adjust("5 seconds")
        yield* Fiber.join(closing)
      })
      assert.strictEqual(batches.length, 3)

      const { layer, lines } = logging()
      const stuck = backend(() => Effect.never)
      const closing = yield* start(
        Effect.scoped(Effect.gen(function*() {
          const store = yield* TraceStore.make(stuck.made, { batchSize: 10 })
          yield* store.note(Array.from({ length: 30 }, (_, i) => event(i)))
          yield* Effect.yieldNow
        })).pipe(Effect.provide(layer))
      )
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(closing)
      assert.isTrue(lines.some((line) => line.includes("20 events")), lines.join())
    }))

  it.effect("`redact` changes or drops an event before it is kept", () =>
    Effect.gen(function*() {
      const redact = (one: FlowEvent.FlowEvent): FlowEvent.FlowEvent | undefined =>
        one._tag === "NodeStarted"
          ? undefined
          : "error" in one && one.error !== undefined
          ? { ...one, error: { ...one.error, message: "…" } }
          : one
      const failing = Flow.make("f", [number("n", () => Effect.fail({ _tag: "Bad", message: "secret" } as const)).to()])
      yield* Effect.gen(function*() {
        yield* Effect.exit(Flow.run(failing, 1, { traceId: "t" }))
        const store = yield* TraceStore.TraceStore
        yield* store.flush
        const events = yield* store.history("t")
        assert.deepStrictEqual(events.map(sentence), [
          "TraceStarted",
          "NodeErrored n 1",
          "NodeFailed n 1",
          "TraceFailed"
        ])
        assert.notInclude(JSON.stringify([events, yield* store.get("t")]), "secret")
        assert.strictEqual((yield* store.get("t"))?.error?.message, "…")
      }).pipe(Effect.provide(TraceStoreMemory.layer({ redact })))
    }))

  it.effect("a store that hangs slows no trace and holds up no runtime", () =>
    Effect.gen(function*() {
      const done = yield* Deferred.make<void>()
      const { made } = backend(() => Effect.never)
      const hanging = Layer.provideMerge(
        TraceStore.layerObserver,
        Layer.effect(TraceStore.TraceStore, TraceStore.make(made))
      )
      const running = yield* start(
        Effect.gen(function*() {
          yield* Effect.scoped(Effect.gen(function*() {
            const runtime = yield* FlowRuntime.make(flow)
            for (let i = 0; i < 1000; i++) assert.strictEqual(yield* runtime.run(i), i + 1)
          }))
          assert.strictEqual(yield* Flow.run(flow, 1), 2)
          yield* Deferred.succeed(done, undefined)
        }).pipe(Effect.provide(hanging))
      )
      // No time passes for the runs: only the layer's end waits, and not for ever.
      yield* Deferred.await(done)
      while (running.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
      yield* Fiber.join(running)
      assert.isBelow(yield* now, 30_000)
    }))
})

describe("TraceStore: recording", () => {
  const Person = Schema.Struct({
    name: Schema.String,
    born: Schema.Date,
    password: Schema.Redacted(Schema.String),
    token: Schema.RedactedFromValue(Schema.String),
    pin: Schema.Int.annotate(TraceStore.secret),
    hint: Schema.optionalKey(Schema.String.annotate(TraceStore.secret))
  })
  class Refused extends Schema.TaggedError<Refused>()("Refused", {
    who: Schema.String,
    key: Schema.String.annotate(TraceStore.secret)
  }) {}
  const greet = Node.make("greet", {
    input: Person,
    output: Schema.Struct({ text: Schema.String, key: Schema.Redacted(Schema.String) }),
    error: Refused,
    run: ({ name, password }) =>
      name === "nobody"
        ? Effect.fail(new Refused({ who: name, key: Redacted.value(password) }))
        : Effect.succeed({ text: `hi ${name}`, key: password })
  })
  const greeting = Flow.make("greeting", [greet.to()])
  const person = (name: string) => ({
    name,
    born: new Date(0),
    password: Redacted.make("secret-1"),
    token: Redacted.make("secret-2"),
    pin: 31337,
    hint: "secret-3"
  })

  it.effect("keeps input, results and declared errors as JSON, without what is Redacted or marked as secret", () =>
    Effect.gen(function*() {
      const runtime = yield* TraceStore.runtime(greeting)
      yield* runtime.run(person("pingu"), { traceId: "good" })
      yield* Effect.exit(runtime.run(person("nobody"), { traceId: "bad" }))
      const [good, bad] = [yield* stored("good"), yield* stored("bad")]
      assert.deepStrictEqual(good?.input, {
        _tag: "Kept",
        json: {
          name: "pingu",
          born: "1970-01-01T00:00:00.000Z",
          password: "<redacted>",
          token: "<redacted>",
          pin: "<redacted>",
          hint: "<redacted>"
        }
      })
      assert.deepStrictEqual(good?.outcome, { _tag: "Kept", json: [{ text: "hi pingu", key: "<redacted>" }] })
      assert.deepStrictEqual(bad?.outcome, {
        _tag: "Kept",
        json: { error: { _tag: "Refused", who: "nobody", key: "<redacted>" } }
      })
      const all = JSON.stringify([good, bad, yield* TraceStore.TraceStore.use((store) => store.history("bad"))])
      assert.notMatch(all, /secret-|31337/)
    }).pipe(Effect.scoped, Effect.provide(TraceStoreMemory.layer())))

  it.effect("records every way into a runtime: run, runAll, stream, emit; also what was cancelled", () =>
    Effect.gen(function*() {
      const twice = Flow.make("twice", [add("a", 1).to(), add("b", 2).to()])
      const runtime = yield* TraceStore.runtime(twice)
      yield* runtime.runAll(10, { traceId: "all" })
      yield* Stream.runDrain(runtime.stream(20, { traceId: "stream" }))
      yield* runtime.emit(30, { traceId: "emit" })
      yield* runtime.fetch
      assert.strictEqual(yield* codeOf(runtime.run(40, { traceId: "many" })), "MANY_RESULTS")
      const what = (id: string) => Effect.map(stored(id), (trace) => [trace?.input, trace?.outcome])
      assert.deepStrictEqual(yield* what("all"), [keptAs(10), keptAs([11, 12])])
      assert.deepStrictEqual(yield* what("stream"), [keptAs(20), keptAs([21, 22])])
      assert.deepStrictEqual(yield* what("emit"), [keptAs(30), keptAs([31, 32])])
      assert.deepStrictEqual(yield* what("many"), [
        keptAs(40),
        { _tag: "Omitted", reason: "it failed with MANY_RESULTS" }
      ])
      const waiting = yield* TraceStore.runtime(Flow.make("waiting", [never("n").to()]))
      const fiber = yield* start(waiting.run(1, { traceId: "cancelled" }))
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* what("cancelled"), [keptAs(1), { _tag: "Omitted", reason: "it was interrupted" }])
      assert.strictEqual((yield* stored("cancelled"))?.status, "cancelled")
    }).pipe(Effect.scoped, Effect.provide(TraceStoreMemory.layer())))

  it.effect("without an id of the caller's each message has one of its own", () =>
    Effect.gen(function*() {
      const runtime = yield* TraceStore.runtime(flow)
      const other = yield* TraceStore.runtime(flow)
      yield* Effect.all([runtime.run(1), runtime.run(2), other.run(3), runtime.emit(4)])
      yield* runtime.fetch
      yield* settled
      const traces = yield* TraceStore.TraceStore.use((store) => store.list())
      assert.strictEqual(new Set(traces.map((trace) => trace.traceId)).size, 4)
      for (const { traceId } of traces) assert.strictEqual((yield* stored(traceId))?.input?._tag, "Kept")
    }).pipe(Effect.scoped, Effect.provide(TraceStoreMemory.layer())))

  it.effect("a message that is refused changes nothing of the trace whose id it has", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const waiting = Flow.make("waiting", [number("n", (n) => Effect.as(Deferred.await(gate), n)).to()])
      const runtime = yield* TraceStore.runtime(waiting)
      yield* runtime.emit(1, { traceId: "t" })
      assert.strictEqual(yield* codeOf(runtime.run(2, { traceId: "t" })), "DUPLICATE_TRACE")
      assert.strictEqual(yield* codeOf(runtime.emit(3, { traceId: "t" })), "DUPLICATE_TRACE")
      assert.strictEqual(yield* codeOf(Stream.runDrain(runtime.stream(4, { traceId: "t" }))), "DUPLICATE_TRACE")
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.yieldNow
      // The first has ended and is not fetched: its id is free again.
      yield* runtime.emit(5, { traceId: "t" })
      yield* runtime.fetch
      assert.deepStrictEqual((yield* stored("t"))?.input, { _tag: "Kept", json: 1 })
      yield* runtime.fetch
      assert.deepStrictEqual((yield* stored("t"))?.input, { _tag: "Kept", json: 5 })
      assert.strictEqual((yield* stored("t"))?.runs, 2)
    }).pipe(Effect.scoped, Effect.provide(TraceStoreMemory.layer())))

  it.effect("what is too large or can't be encoded is left out, with a reason that does not echo it", () =>
    Effect.gen(function*() {
      const Odd = Schema.Struct({ value: Schema.Unknown })
      const echo = Node.make("echo", { input: Odd, output: Odd, run: (odd) => Effect.succeed(odd) })
      const runtime = yield* TraceStore.runtime(Flow.make("echo", [echo.to()]), { maxSize: 100 })
      const cyclic: { value: unknown } = { value: undefined }
      cyclic.value = cyclic
      const thrower = {
        value: Object.defineProperty({}, "x", {
          enumerable: true,
          get: () => {
            throw new Error("secret")
          }
        })
      }
      const cases = { large: { value: "secret".repeat(100) }, cyclic, thrower, fn: { value: () => "secret" } }
      for (const [id, input] of Object.entries(cases)) {
        yield* runtime.run(input, { traceId: id })
        const trace = yield* stored(id)
        assert.strictEqual(trace?.status, "succeeded", id)
        assert.strictEqual(trace?.input?._tag, "Omitted", id)
        assert.strictEqual(trace?.outcome?._tag, "Omitted", id)
        assert.notInclude(JSON.stringify(trace), "secret")
      }
      assert.strictEqual(yield* TraceStore.TraceStore.use((store) => store.lost), 0)
    }).pipe(Effect.scoped, Effect.provide(TraceStoreMemory.layer())))

  it.effect("records only what is wanted", () =>
    Effect.gen(function*() {
      const kept = (id: string) => Effect.map(stored(id), (trace) => [trace?.input?._tag, trace?.outcome?._tag])
      yield* TraceStore.run(flow, 1, { traceId: "a", inputs: false })
      yield* TraceStore.run(flow, 1, { traceId: "b", outcomes: false })
      yield* TraceStore.run(flow, 1, { traceId: "c", inputs: false, outcomes: false })
      assert.deepStrictEqual(yield* kept("a"), [undefined, "Kept"])
      assert.deepStrictEqual(yield* kept("b"), ["Kept", undefined])
      assert.deepStrictEqual(yield* kept("c"), [undefined, undefined])
    }).pipe(Effect.provide(TraceStoreMemory.layer())))

  it.effect("secrets are concealed wherever they stand: in subflows, lists, joins, several ingress nodes, classes", () =>
    Effect.gen(function*() {
      class Card extends Schema.Class<Card>("Card")({
        owner: Schema.String,
        number: Schema.String.annotate(TraceStore.secret)
      }) {}
      const In = Schema.Struct({ card: Card, cards: Schema.Array(Card) })
      const pass = Node.make("pass", { input: In, output: In, run: (it) => Effect.succeed(it) })
      const owner = Node.make("owner", {
        input: Schema.Struct({ card: Schema.Struct({ owner: Schema.String }) }),
        output: Schema.String,
        run: ({ card }) => Effect.succeed(card.owner)
      })
      const join = Join.all("join", { all: In, owner: Schema.String })
      const inner = Flow.make("inner", [pass.to(join.in.all), owner.to(join.in.owner), join.to()])
      const nested = Flow.make("nested", [Node.fromFlow(inner).to()])
      const card = new Card({ owner: "pingu", number: "secret" })
      yield* TraceStore.run(nested, { card, cards: [card, card] }, { traceId: "t" })
      const trace = yield* stored("t")
      const shown = { owner: "pingu", number: "<redacted>" }
      assert.deepStrictEqual(trace?.input, { _tag: "Kept", json: { card: { owner: "pingu" }, cards: [shown, shown] } })
      assert.deepStrictEqual(trace?.outcome, {
        _tag: "Kept",
        json: [{ all: { card: shown, cards: [shown, shown] }, owner: "pingu" }]
      })
      const each = Flow.make("each", [
        Node.forEach(Node.make("card", { input: Card, output: Card, run: Effect.succeed }), { concurrency: 2 }).to()
      ])
      yield* TraceStore.run(each, [card], { traceId: "e" })
      const list = yield* stored("e")
      assert.deepStrictEqual(list?.input, { _tag: "Kept", json: [shown] })
      assert.deepStrictEqual(list?.outcome, { _tag: "Kept", json: [[shown]] })
    }).pipe(Effect.provide(TraceStoreMemory.layer())))
})

describe("TraceStore: replaying", () => {
  /** The flow as it was and as it is: what its second node does can be changed. */
  const today = (then: (n: number) => Effect.Effect<number, Bad>, options?: { readonly extra: boolean }) => {
    const second = Node.make("then", { input: Schema.Number, output: Schema.Number, error: Bad, run: then })
    const inc = add("inc", 1)
    return options?.extra === true
      ? Flow.make("changing", [inc.to(second), second.to(add("extra", 0))])
      : Flow.make("changing", [inc.to(second)])
  }
  const double = today((n) => Effect.succeed(n * 2))
  const broken = today((n) => Effect.fail(new Bad({ n })))
  const replayed = (now: typeof double, before: typeof double = double) =>
    Effect.gen(function*() {
      yield* Effect.exit(TraceStore.run(before, 20, { traceId: "t", headers: { tenant: "acme" } }))
      yield* TraceStore.TraceStore.use((store) => store.flush)
      return yield* TraceStore.replay(now, "t")
    }).pipe(Effect.provide(TraceStoreMemory.layer()))

  it.effect("the same flow: the same outcome by the same way, in a trace of its own, for the same tenant", () =>
    Effect.gen(function*() {
      yield* TraceStore.run(double, 20, { traceId: "t", headers: { tenant: "acme" } })
      const store = yield* TraceStore.TraceStore
      yield* store.flush
      const replay = yield* TraceStore.replay(double, "t")
      assert.deepInclude(replay, { same: true })
      assert.deepStrictEqual(replay.outcome.now.outcome, { _tag: "Kept", json: [42] })
      assert.deepStrictEqual(replay.path.now, [
        { node: "inc", attempt: 1, end: "succeeded" },
        { node: "then", attempt: 1, end: "succeeded" }
      ])
      assert.deepStrictEqual(replay.path.stored, replay.path.now)
      yield* store.flush
      assert.notStrictEqual(replay.traceId, "t")
      assert.deepInclude(yield* store.get(replay.traceId), { status: "succeeded", tenant: "acme" })
      assert.strictEqual((yield* store.get("t"))?.runs, 1)
    }).pipe(Effect.provide(TraceStoreMemory.layer())))

  it.effect("another result by the same way, the same result by another way", () =>
    Effect.gen(function*() {
      const tripled = yield* replayed(today((n) => Effect.succeed(n * 3)))
      assert.deepInclude(tripled, { same: false })
      assert.deepStrictEqual([tripled.outcome.same, tripled.path.same], [false, true])
      assert.deepStrictEqual(tripled.outcome.stored.outcome, { _tag: "Kept", json: [42] })
      assert.deepStrictEqual(tripled.outcome.now.outcome, { _tag: "Kept", json: [63] })
      const longer = yield* replayed(today((n) => Effect.succeed(n * 2), { extra: true }))
      assert.deepStrictEqual([longer.outcome.same, longer.path.same], [true, false])
      assert.deepStrictEqual(longer.path.added, ["extra (attempt 1) succeeded"])
      assert.deepStrictEqual(longer.path.missing, [])
    }))

  it.effect("what failed and is mended, what fails as before, what fails otherwise", () =>
    Effect.gen(function*() {
      const mended = yield* replayed(double, broken)
      assert.deepStrictEqual([mended.outcome.stored.status, mended.outcome.now.status], ["failed", "succeeded"])
      assert.deepStrictEqual(mended.path.missing, ["then (attempt 1) failed"])
      assert.isFalse(mended.same)
      const same = yield* replayed(today(() => Effect.fail(new Bad({ n: 999 }))), broken)
      assert.isTrue(same.same)
      const died = yield* replayed(today(() => Effect.die("x")), broken)
      assert.strictEqual(died.outcome.now.error?.code, "NODE_EXCEPTION")
      assert.isFalse(died.outcome.same)
    }))

  it.effect("branches side by side may come in another order", () =>
    Effect.gen(function*() {
      const make = (a: number, b: number) =>
        Flow.make("branches", [
          add("in", 0).to(
            number("a", (n) => Effect.as(Effect.sleep(a), n)),
            number("b", (n) => Effect.as(Effect.sleep(b), n))
          )
        ])
      const running = yield* start(
        Effect.gen(function*() {
          const runtime = yield* TraceStore.runtime(make(10, 20))
          yield* runtime.runAll(1, { traceId: "t" })
          yield* TraceStore.TraceStore.use((store) => store.flush)
          return yield* TraceStore.replay(make(20, 10), "t")
        }).pipe(Effect.scoped, Effect.provide(TraceStoreMemory.layer()))
      )
      yield* TestClock.adjust("1 second")
      assert.isTrue((yield* Fiber.join(running)).same)
    }))

  it.effect("says why a trace can't be replayed", () =>
    Effect.gen(function*() {
      const Secret = Schema.Struct({ word: Schema.Redacted(Schema.String) })
      const pass = Node.make("pass", { input: Secret, output: Schema.Void, run: () => Effect.void })
      const secrets = Flow.make("secrets", [pass.to()])
      yield* TraceStore.run(secrets, { word: Redacted.make("secret") }, { traceId: "concealed" })
      yield* Flow.run(flow, 1, { traceId: "not recorded" })
      const runtime = yield* TraceStore.runtime(flow, { maxSize: 1 })
      yield* runtime.run(1000, { traceId: "too large" })
      yield* TraceStore.run(flow, 4711, { traceId: "changed" })
      yield* settled
      const strings = Flow.make("counting", [
        Node.make("inc", { input: Schema.String, output: Schema.String, run: (s) => Effect.succeed(s) }).to()
      ])
      const why = <E extends { readonly _tag: string }>(replaying: Effect.Effect<unknown, E, TraceStore.TraceStore>) =>
        Effect.map(Effect.flip(replaying), (error) =>
          error instanceof TraceStore.TraceStoreError ? error.kind : error._tag)
      assert.strictEqual(yield* why(TraceStore.replay(flow, "nobody")), "NotStored")
      // Another flow's trace.
      assert.strictEqual(yield* why(TraceStore.replay(flow, "concealed")), "NotStored")
      assert.strictEqual(yield* why(TraceStore.replay(secrets, "concealed")), "Concealed")
      assert.strictEqual(yield* why(TraceStore.replay(flow, "not recorded")), "NotRecorded")
      assert.strictEqual(yield* why(TraceStore.replay(flow, "too large")), "NotRecorded")
      const changed = yield* Effect.flip(TraceStore.replay(strings, "changed"))
      assert.deepInclude(changed, { _tag: "TraceStoreError", kind: "InputChanged" })
      assert.notInclude(String(changed), "4711")
    }).pipe(Effect.scoped, Effect.provide(TraceStoreMemory.layer())))
})
