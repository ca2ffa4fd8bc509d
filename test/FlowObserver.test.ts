import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { Flow, type FlowEvent, FlowObserver, FlowRuntime } from "penguiflow"
import { start } from "./utils/effects.ts"
import { add } from "./utils/nodes.ts"

const flow = Flow.make("f", [add("n", 1).to()])

/** An observer that writes down what it sees. */
const writing = (name: string, seen: Array<string>, options?: Partial<FlowObserver.FlowObserver>) =>
  FlowObserver.layer({
    name,
    observe: (events) => Effect.sync(() => void seen.push(...events.map((event) => event._tag))),
    ...options
  })

/** Runs messages under observers, and lets the runtime end. */
const under = <E>(layer: Layer.Layer<never, E>, count = 1) =>
  Effect.gen(function*() {
    const runtime = yield* FlowRuntime.make(flow)
    for (let i = 0; i < count; i++) yield* runtime.run(i)
  }).pipe(Effect.scoped, Effect.provide(layer))

/** The messages that were logged. */
const logging = () => {
  const messages: Array<string> = []
  const layer = Logger.layer([
    Logger.make(({ logLevel, message }) => void messages.push(`${logLevel} ${String(message)}`))
  ])
  return { messages, layer }
}

describe("FlowObserver", () => {
  it.effect("every observer under which a runtime is made gets every event, in order", () =>
    Effect.gen(function*() {
      const one: Array<string> = []
      const two: Array<string> = []
      yield* under(Layer.mergeAll(writing("one", one), writing("two", two)), 2)
      const once = ["TraceStarted", "NodeStarted", "NodeSucceeded", "TraceSucceeded"]
      assert.deepStrictEqual(one, [...once, ...once])
      assert.deepStrictEqual(two, one)
    }))

  it.effect("of two with one name in one place the inner one watches", () =>
    Effect.gen(function*() {
      const inner: Array<string> = []
      const outer: Array<string> = []
      const program = Effect.provide(
        Effect.scoped(Effect.flatMap(FlowRuntime.make(flow), (runtime) => runtime.run(1))),
        writing("same", inner)
      )
      yield* Effect.provide(program, writing("same", outer))
      assert.strictEqual(inner.length, 4)
      assert.strictEqual(outer.length, 0)
    }))

  it.effect("watches Flow.run as well, to its end", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      yield* Effect.provide(Flow.run(flow, 1), writing("one", seen))
      assert.strictEqual(seen.at(-1), "TraceSucceeded")
    }))

  it.effect("a slow one slows no trace: it loses events, and is told how many", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const seen: Array<FlowEvent.FlowEvent> = []
      let lost = 0
      const slow = FlowObserver.layer({
        name: "slow",
        capacity: 10,
        observe: (events) => Effect.andThen(Deferred.await(gate), Effect.sync(() => void seen.push(...events))),
        onLost: (count) => Effect.sync(() => void (lost += count))
      })
      yield* Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(flow)
        yield* runtime.run(0)
        yield* Effect.yieldNow
        for (let i = 0; i < 1000; i++) yield* runtime.run(i)
        yield* Deferred.succeed(gate, undefined)
        yield* runtime.run(0)
      }).pipe(Effect.scoped, Effect.provide(slow))
      assert.isAbove(lost, 3900)
      assert.strictEqual(seen.length + lost, 1002 * 4)
    }))

  it.effect("without onLost the loss is a warning in the log", () =>
    Effect.gen(function*() {
      const { layer, messages } = logging()
      const gate = yield* Deferred.make<void>()
      const slow = FlowObserver.layer({ name: "slow", capacity: 2, observe: () => Deferred.await(gate) })
      yield* Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(flow)
        for (let i = 0; i < 10; i++) yield* runtime.run(i)
        yield* Deferred.succeed(gate, undefined)
      }).pipe(Effect.scoped, Effect.provide([slow, layer]))
      assert.isTrue(
        messages.some((line) => line.startsWith("Warn") && line.includes("slow") && /\d+ events/.test(line)),
        messages.join("\n")
      )
    }))

  it.effect("one that fails, dies or throws is logged once per runtime, and stops neither the traces nor the others", () =>
    Effect.gen(function*() {
      for (const how of ["fail", "die", "throw"] as const) {
        const { layer, messages } = logging()
        const seen: Array<string> = []
        let calls = 0
        const bad = FlowObserver.layer({
          name: "bad",
          observe: () => {
            calls++
            if (how === "throw") throw new Error("observer")
            return how === "fail" ? Effect.fail("observer") : Effect.die("observer")
          }
        })
        yield* Effect.gen(function*() {
          const runtime = yield* FlowRuntime.make(flow)
          for (let i = 0; i < 5; i++) {
            yield* runtime.run(i)
            yield* TestClock.adjust("1 second")
          }
        }).pipe(Effect.scoped, Effect.provide([bad, writing("good", seen), layer]))
        assert.strictEqual(seen.length, 20, how)
        assert.isAbove(calls, 1, how)
        assert.strictEqual(
          messages.filter((line) => line.includes("\"bad\"")).length,
          1,
          `${how}: ${messages.join("\n")}`
        )
      }
    }))

  it.effect("one that never answers holds the runtime's end no longer than interruptGrace", () =>
    Effect.gen(function*() {
      const hanging = FlowObserver.layer({ name: "hanging", observe: () => Effect.never })
      const fiber = yield* start(under(hanging))
      yield* TestClock.adjust("4999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
    }))

  it.effect("one that has to be made is made with the layer and released with it, after the last event", () =>
    Effect.gen(function*() {
      class Sink extends Context.Service<Sink, Array<string>>()("test/Sink") {}
      const told: Array<string> = []
      const layer = FlowObserver.layerEffect(
        "made",
        Effect.gen(function*() {
          const sink = yield* Sink
          yield* Effect.acquireRelease(
            Effect.sync(() => sink.push("made")),
            () => Effect.sync(() => sink.push("released"))
          )
          return { observe: (events) => Effect.sync(() => void sink.push(...events.map((event) => event._tag))) }
        })
      )
      yield* under(Layer.provide(layer, Layer.succeed(Sink, told)))
      assert.deepStrictEqual(told, [
        "made",
        "TraceStarted",
        "NodeStarted",
        "NodeSucceeded",
        "TraceSucceeded",
        "released"
      ])
    }))

  it.effect("may ask the runtime itself, from its own fiber", () =>
    Effect.gen(function*() {
      let runtime: FlowRuntime.FlowRuntime<number, number, never, never> | undefined
      const answers: Array<number> = []
      const asking = FlowObserver.layer({
        name: "asking",
        observe: (events) =>
          Effect.forEach(events.filter((event) => event._tag === "TraceSucceeded" && event.traceId === "first"), () =>
            Effect.map(runtime!.run(41), (answer) => answers.push(answer)), { discard: true })
      })
      yield* Effect.gen(function*() {
        runtime = yield* FlowRuntime.make(flow, { maxInFlight: 1 })
        yield* runtime.run(1, { traceId: "first" })
        yield* TestClock.adjust("1 second")
      }).pipe(Effect.scoped, Effect.provide(asking))
      assert.deepStrictEqual(answers, [42])
    }))
})
