import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, References, Schema, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Node } from "penguiflow"
import * as SpanObserver from "penguiflow/layers/SpanObserver"
import { start } from "../utils/effects.ts"
import { add, never, number } from "../utils/nodes.ts"
import { recordingTracer } from "../utils/spans.ts"
import { type Order, under } from "./watchedFlow.ts"

/** A tracer that keeps its spans. */
const keeping = () => {
  const { spans, tracer } = recordingTracer()
  return { spans, layer: Layer.succeed(Tracer.Tracer, tracer) }
}

const millis = (nanos: bigint) => Number(nanos / 1_000_000n)

/** `name < parent from-to outcome`. */
const told = (spans: ReadonlyArray<Tracer.Span>) =>
  spans.map((span) => {
    const parent = Option.getOrUndefined(span.parent)
    const outer = spans.find((other) => other.spanId === parent?.spanId)
    const time = span.status._tag === "Ended"
      ? `${millis(span.status.startTime)}-${millis(span.status.endTime)}`
      : "open"
    const attempt = span.attributes.get("penguiflow.attempt")
    return `${span.name}${attempt === undefined ? "" : ` ${String(attempt)}`} < ${
      outer?.name ?? parent?.spanId ?? "nothing"
    } ${time} ${String(span.attributes.get("penguiflow.outcome"))}`
  })

const order = (observers: Layer.Layer<never>, given: Order) =>
  under(observers, "orders", (runtime) =>
    Effect.gen(function*() {
      const options = { traceId: "t1", headers: { tenant: "acme" } }
      const fiber = yield* start(Effect.exit(runtime.run(given, options)))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
    }))

describe("SpanObserver", () => {
  it.effect("makes a span for each trace, in it one for each visit and attempt, with the events' times", () =>
    Effect.gen(function*() {
      const { layer, spans } = keeping()
      yield* order(Layer.merge(SpanObserver.layer(), layer), { failures: 1, wrap: "slowly" })
      assert.deepStrictEqual(told(spans), [
        "flow orders < nothing 0-195 failed",
        "reserve 1 < flow orders 0-0 succeeded",
        "charge 1 < flow orders 0-20 failed",
        "charge 2 < flow orders 120-140 succeeded",
        "pack 1 < flow orders 140-190 failed",
        "pack/wrap 1 < pack 140-190 timed_out",
        "undo reserve 1 < flow orders 190-195 undone"
      ])
      const [trace, , charge] = spans
      assert.deepStrictEqual(Object.fromEntries(trace!.attributes), {
        "penguiflow.flow": "orders",
        "penguiflow.trace_id": "t1",
        "penguiflow.tenant": "acme",
        "penguiflow.parts": 1,
        "penguiflow.outcome": "failed",
        "penguiflow.error_tag": "FlowError",
        "penguiflow.error_code": "NODE_TIMEOUT"
      })
      assert.deepStrictEqual(Object.fromEntries(charge!.attributes), {
        "penguiflow.flow": "orders",
        "penguiflow.trace_id": "t1",
        "penguiflow.node": "charge",
        "penguiflow.attempt": 1,
        "penguiflow.outcome": "failed",
        "penguiflow.error_tag": "Bad"
      })
      assert.deepStrictEqual(trace!.events.map(([name, at, attributes]) => [name, millis(at), attributes]), [
        ["retry", 20, { "penguiflow.node": "charge", "penguiflow.attempt": 1, "penguiflow.delay_ms": 100 }]
      ])
      assert.strictEqual(new Set(spans.map((span) => span.traceId)).size, 1)
    }))

  it.effect("a trace's span continues the caller's, each message's its own, and as far as it is sampled", () =>
    Effect.gen(function*() {
      const { layer, spans } = keeping()
      const flow = Flow.make("f", [add("n", 1).to()])
      const caller = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" }
      yield* Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(flow)
        const within = (sampled: boolean) =>
          Effect.withParentSpan(runtime.run(1), Tracer.externalSpan({ ...caller, sampled }))
        yield* within(true)
        yield* within(false)
        yield* runtime.run(1)
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(SpanObserver.layer(), layer)))
      const traces = spans.filter((span) => span.name === "flow f")
      assert.deepStrictEqual(
        traces.map((span) => [span.traceId, Option.getOrUndefined(span.parent)?.spanId, span.sampled]),
        [
          [caller.traceId, caller.spanId, true],
          [caller.traceId, caller.spanId, false],
          [traces[2]!.traceId, undefined, true]
        ]
      )
      assert.notStrictEqual(traces[2]!.traceId, caller.traceId)
      // Nodes are in the trace's span.
      const nodes = spans.filter((span) => span.name === "n")
      assert.deepStrictEqual(
        nodes.map((span) => Option.getOrUndefined(span.parent)?.spanId),
        traces.map((span) => span.spanId)
      )
      assert.deepStrictEqual(nodes.map((span) => span.sampled), [true, false, true])
    }))

  it.effect("visits side by side get their own ends", () =>
    Effect.gen(function*() {
      const { layer, spans } = keeping()
      const wait = number("wait", (n) => Effect.as(Effect.sleep(n), n))
      const flow = Flow.make("f", [Node.forEach(wait, { concurrency: 2 }).to()])
      const fiber = yield* start(Effect.provide(Flow.run(flow, [30, 10, 15]), Layer.merge(SpanObserver.layer(), layer)))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      const items = told(spans).filter((line) => / \d+-\d+ /.test(line) && !line.startsWith("flow"))
      for (const time of ["0-30", "0-10", "10-25"]) {
        assert.isTrue(items.some((line) => line.includes(` ${time} `)), time)
      }
    }))

  it.effect("where no tracer is installed, or tracing is off, there are no spans and all else is as it was", () =>
    Effect.gen(function*() {
      const { layer, spans } = keeping()
      const flow = Flow.make("f", [add("n", 1).to()])
      assert.strictEqual(yield* Effect.provide(Flow.run(flow, 1), SpanObserver.layer()), 2)
      const off = Layer.mergeAll(SpanObserver.layer(), layer, Layer.succeed(References.TracerEnabled, false))
      assert.strictEqual(yield* Effect.provide(Flow.run(flow, 1), off), 2)
      assert.deepStrictEqual(spans, [])
    }))

  it.effect("a cancelled trace's spans are no errors; what is open when the layer closes ends, and no more than maxOpen are kept", () =>
    Effect.gen(function*() {
      const { layer, spans } = keeping()
      const flow = Flow.make("f", [never("n").to()])
      yield* Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(flow)
        for (const traceId of ["a", "b", "c"]) yield* start(Effect.exit(runtime.run(1, { traceId })))
        yield* Effect.yieldNow
        assert.deepStrictEqual(told(spans).filter((line) => !line.includes("open")), [
          "flow f < nothing 0-0 unknown",
          "n 1 < flow f 0-0 unknown"
        ])
        yield* runtime.cancel("b", "enough")
        yield* Effect.yieldNow
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(SpanObserver.layer({ maxOpen: 2 }), layer)))
      const ofB = spans.filter((span) => span.attributes.get("penguiflow.trace_id") === "b")
      assert.deepStrictEqual(ofB.map((span) => span.attributes.get("penguiflow.outcome")), ["cancelled", "interrupted"])
      assert.strictEqual(ofB[0]?.attributes.get("penguiflow.reason"), "enough")
      assert.isTrue(spans.every((span) => span.status._tag === "Ended"))
      for (const span of ofB) {
        const { status } = span
        assert.isTrue(
          status._tag === "Ended" && status.exit._tag === "Failure" &&
            status.exit.cause.reasons.every((reason) => reason._tag === "Interrupt")
        )
      }
    }))

  it.effect("an error is told by its tag and words, without a stack of this library", () =>
    Effect.gen(function*() {
      const { layer, spans } = keeping()
      class Broken extends Schema.TaggedError<Broken>()("Broken", { message: Schema.String }) {}
      const flow = Flow.make("f", [number("n", () => new Broken({ message: "no paper" })).to()])
      yield* Effect.exit(Effect.provide(Flow.run(flow, 1), Layer.merge(SpanObserver.layer(), layer)))
      const status = spans[1]?.status
      const failure = status?._tag === "Ended" && status.exit._tag === "Failure"
        ? status.exit.cause.reasons[0]
        : undefined
      assert.isTrue(failure?._tag === "Fail")
      const error = failure?._tag === "Fail" ? failure.error as Error : new Error()
      assert.deepStrictEqual([error.name, error.message, error.stack], ["Broken", "no paper", "Broken: no paper"])
    }))
})
