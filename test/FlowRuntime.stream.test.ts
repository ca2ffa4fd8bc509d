import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Queue, Schedule, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Node } from "penguiflow"
import { codeOf, sleeper, start } from "./utils/effects.ts"
import { record } from "./utils/events.ts"
import { add, Bad, number } from "./utils/nodes.ts"

const words = Node.stream("words", {
  input: Schema.String,
  part: Schema.String,
  output: Schema.Number,
  run: (text) => Stream.fromIterable(text.split(" ")),
  collect: (parts) => parts.length
})
const spoken = Flow.make("spoken", [words.to()])

/** Sends the numbers below its input, one at a time, and counts them. */
const counting = (sent: { count: number }) =>
  Node.make("counting", {
    input: Schema.Number,
    part: Schema.Number,
    output: Schema.Number,
    run: (n, { emit }) =>
      Effect.as(
        Effect.forEach(
          Array.from({ length: n }, (_, i) => i),
          (i) => Effect.andThen(emit(i), Effect.sync(() => sent.count++)),
          {
            discard: true
          }
        ),
        n
      )
  })

describe("FlowRuntime.stream", () => {
  it.effect("parts of branches that stream at once arrive in the order of their numbers, more than the buffer holds", () =>
    Effect.gen(function*() {
      const many = (name: string) =>
        Node.make(name, {
          input: Schema.Number,
          output: Schema.Number,
          part: Schema.Number,
          run: (n, { emit }) =>
            Effect.as(Effect.forEach(Array.from({ length: 500 }, (_, i) => i), emit, { discard: true }), n)
        })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("s", 0).to(many("a"), many("b"))]))
      const items = yield* Stream.runCollect(runtime.stream(1))
      const seqs = items.flatMap((item) => item._tag === "Part" ? [item.seq] : [])
      assert.deepStrictEqual(seqs, Array.from({ length: 1000 }, (_, i) => i))
    }))

  it.effect("gives each part in order with seq from 0, then the result, then the end; the next stream counts anew", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(spoken)
      for (let i = 0; i < 2; i++) {
        const items = yield* Stream.runCollect(runtime.stream("the small penguin"))
        assert.deepStrictEqual(items, [
          { _tag: "Part", node: "words", attempt: 1, seq: 0, value: "the" },
          { _tag: "Part", node: "words", attempt: 1, seq: 1, value: "small" },
          { _tag: "Part", node: "words", attempt: 1, seq: 2, value: "penguin" },
          { _tag: "Result", node: "words", value: 3 }
        ])
      }
    }))

  it.effect("parts come while the node runs, not after it", () =>
    Effect.gen(function*() {
      const slow = Node.make("slow", {
        input: Schema.Number,
        part: Schema.Number,
        output: Schema.Number,
        run: (n, { emit }) =>
          Effect.gen(function*() {
            for (let i = 0; i < n; i++) {
              yield* emit(i)
              yield* Effect.sleep("1 second")
            }
            return n
          })
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [slow.to()]))
      const seen: Array<unknown> = []
      const fiber = yield* start(
        Stream.runForEach(runtime.stream(3), (item) => Effect.sync(() => seen.push(item.value)))
      )
      assert.deepStrictEqual(seen, [0])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seen, [0, 1])
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(seen, [0, 1, 2, 3])
    }))

  it.effect("one counter counts the parts of all nodes of a trace, whichever interleave", () =>
    Effect.gen(function*() {
      const talk = <const Name extends string>(name: Name, gap: number) =>
        Node.make(name, {
          input: Schema.Number,
          part: Schema.String,
          output: Schema.Number,
          run: (n, { emit }) =>
            Effect.as(
              Effect.forEach([1, 2, 3], (i) => Effect.andThen(Effect.sleep(gap), emit(`${name}${i}`)), {
                discard: true
              }),
              n
            )
        })
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [add("s", 0).to(talk("a", 20), talk("b", 30), talk("c", 7))])
      )
      const fiber = yield* start(Stream.runCollect(runtime.stream(1)))
      yield* TestClock.adjust("1 second")
      const parts = (yield* Fiber.join(fiber)).flatMap((item) => item._tag === "Part" ? [item] : [])
      assert.deepStrictEqual(parts.map(({ seq }) => seq), [0, 1, 2, 3, 4, 5, 6, 7, 8])
      for (const name of ["a", "b", "c"]) {
        assert.deepStrictEqual(parts.filter(({ node }) => node === name).map(({ value }) => value), [
          `${name}1`,
          `${name}2`,
          `${name}3`
        ])
      }
    }))

  it.effect("concurrent consumers of one runtime each get the parts of their own trace", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(spoken)
      const texts = ["a b c", "d", "e f", "g h i j"]
      const all = yield* Effect.forEach(texts, (text) => Stream.runCollect(runtime.stream(text)), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        all.map((items) => items.flatMap((item) => item._tag === "Part" ? [item.value] : []).join(" ")),
        texts
      )
    }))

  it.effect("results of several egress nodes come as they arrive, each with its node", () =>
    Effect.gen(function*() {
      const slow = number("slow", (n) => Effect.as(Effect.sleep("1 second"), n))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [add("s", 0).to(slow, add("fast", 1))]))
      const fiber = yield* start(Stream.runCollect(runtime.stream(1)))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [
        { _tag: "Result", node: "fast", value: 2 },
        { _tag: "Result", node: "slow", value: 1 }
      ])
    }))

  it.effect("results of a subflow that is an egress are results, its parts are named inner/node", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(Flow.make("outer", [Node.fromFlow(spoken).to()]))
      const items = yield* Stream.runCollect(runtime.stream("a b"))
      assert.deepStrictEqual(items.map(({ _tag, node }) => `${_tag} ${node}`), [
        "Part spoken/words",
        "Part spoken/words",
        "Result spoken"
      ])
    }))

  it.effect("a slow consumer slows the node: what waits is bounded", () =>
    Effect.gen(function*() {
      const sent = { count: 0 }
      const runtime = yield* FlowRuntime.make(Flow.make("f", [counting(sent).to()]))
      const gate = yield* Queue.unbounded<void>()
      const fiber = yield* start(Stream.runForEach(runtime.stream(1000), () => Queue.take(gate)))
      yield* TestClock.adjust("1 minute")
      assert.isAtMost(sent.count, 130)
      assert.isAtLeast(sent.count, 1)
      const before = sent.count
      for (let i = 0; i < 200; i++) yield* Queue.offer(gate, undefined)
      yield* TestClock.adjust("1 minute")
      assert.isAbove(sent.count, before)
      assert.isAtMost(sent.count, 330)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* runtime.open, 0)
    }))

  it.effect("Node.stream is slowed as well, and takes no more of its source than there is room for", () =>
    Effect.gen(function*() {
      let taken = 0
      const endless = Node.stream("endless", {
        input: Schema.Number,
        part: Schema.Number,
        output: Schema.Number,
        run: () => Stream.fromEffect(Effect.sync(() => taken++)).pipe(Stream.forever),
        collect: (parts) => parts.length
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [endless.to()]))
      const items = yield* runtime.stream(1).pipe(Stream.take(5), Stream.runCollect)
      assert.deepStrictEqual(items.map((item) => item.value), [0, 1, 2, 3, 4])
      assert.isAtMost(taken, 200)
      assert.strictEqual(yield* runtime.open, 0)
    }))

  it.effect("a consumer that leaves cancels the trace, and waits for its finalizers", () =>
    Effect.gen(function*() {
      yield* sleeper
      const told: Array<string> = []
      const node = Node.make("n", {
        input: Schema.Number,
        part: Schema.Number,
        output: Schema.Number,
        run: (n, { emit }) =>
          Effect.andThen(
            emit(n),
            Effect.onInterrupt(
              Effect.never,
              () => Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => told.push("finalized")))
            )
          )
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [node.to()]))
      const events = yield* record(runtime)
      const fiber = yield* start(
        Effect.tap(Stream.runHead(runtime.stream(7)), () => Effect.sync(() => told.push("left")))
      )
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(told, ["finalized", "left"])
      assert.strictEqual(yield* runtime.open, 0)
      assert.include(yield* events.sentences, "TraceCancelled")
    }))

  it.effect("a node that waits for a slow consumer can be cancelled, and passes its deadline", () =>
    Effect.gen(function*() {
      const sent = { count: 0 }
      const runtime = yield* FlowRuntime.make(Flow.make("f", [counting(sent).to()]))
      const gate = yield* Queue.unbounded<void>()
      const one = yield* start(Stream.runForEach(runtime.stream(1000, { traceId: "t" }), () => Queue.take(gate)))
      const two = yield* start(
        Stream.runForEach(runtime.stream(1000, { deadline: "1 second" }), () => Queue.take(gate))
      )
      assert.isTrue(yield* runtime.cancel("t"))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* runtime.open, 0)
      for (let i = 0; i < 1000; i++) yield* Queue.offer(gate, undefined)
      assert.strictEqual(yield* codeOf(Fiber.join(one)), "TRACE_CANCELLED")
      assert.strictEqual(yield* codeOf(Fiber.join(two)), "DEADLINE_EXCEEDED")
    }))

  it.effect("a retried attempt sends its parts anew, told by attempt, and seq goes on", () =>
    Effect.gen(function*() {
      const flaky = Node.stream("flaky", {
        input: Schema.Number,
        part: Schema.String,
        output: Schema.Number,
        policy: { retry: Schedule.recurs(1) },
        run: (n, { attempt }) =>
          attempt === 1
            ? Stream.concat(Stream.make("a", "b"), Stream.fail(new Bad({ n })))
            : Stream.make("a", "b", "c"),
        collect: (parts) => parts.length
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [flaky.to()]))
      const items = yield* Stream.runCollect(runtime.stream(1))
      assert.deepStrictEqual(
        items.map((item) => item._tag === "Part" ? [item.attempt, item.seq, item.value] : item.value),
        [
          [1, 0, "a"],
          [1, 1, "b"],
          [2, 2, "a"],
          [2, 3, "b"],
          [2, 4, "c"],
          3
        ]
      )
    }))

  it.effect("a failure ends the stream after the parts that came before it", () =>
    Effect.gen(function*() {
      const bad = Node.stream("bad", {
        input: Schema.Number,
        part: Schema.Number,
        output: Schema.Number,
        run: (n) => Stream.concat(Stream.make(1, 2), Stream.fail(new Bad({ n }))),
        collect: () => 0
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [bad.to()]))
      const seen: Array<unknown> = []
      const error = yield* Effect.flip(
        Stream.runForEach(runtime.stream(9), (item) => Effect.sync(() => seen.push(item.value)))
      )
      assert.strictEqual(error._tag, "Bad")
      assert.deepStrictEqual(seen, [1, 2])
    }))

  it.effect("where nobody streams, parts cost nothing and hold nobody up", () =>
    Effect.gen(function*() {
      const sent = { count: 0 }
      const runtime = yield* FlowRuntime.make(Flow.make("f", [counting(sent).to()]))
      assert.strictEqual(yield* runtime.run(10_000), 10_000)
      yield* runtime.emit(500)
      assert.deepStrictEqual(yield* (yield* runtime.fetch).exit, [500])
      assert.strictEqual(sent.count, 10_500)
    }))

  it.effect("a part that does not fit its schema is a defect of the node, and is not shown", () =>
    Effect.gen(function*() {
      const bad = Node.make("bad", {
        input: Schema.Number,
        part: Schema.Struct({ word: Schema.String }),
        output: Schema.Number,
        run: (n, { emit }) => Effect.as(emit({ word: 4242 } as never), n)
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [bad.to()]))
      const error = yield* Effect.flip(Stream.runDrain(runtime.stream(1)))
      assert.strictEqual(error.code, "NODE_EXCEPTION")
      assert.strictEqual(error.node, "bad")
      assert.include(error.message, "bad")
      assert.notInclude(error.message, "4242")
    }))

  it.effect("a part that is sent after its trace has ended goes nowhere and holds nobody", () =>
    Effect.gen(function*() {
      let send: (n: number) => Effect.Effect<void> = () => Effect.void
      const node = Node.make("n", {
        input: Schema.Number,
        part: Schema.Number,
        output: Schema.Number,
        run: (n, { emit }) => Effect.sync(() => (send = emit, n))
      })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [node.to()]))
      yield* Stream.runDrain(runtime.stream(1))
      for (let i = 0; i < 200; i++) yield* send(i)
    }))

  it.effect("parts carry the trace's headers and meta by their trace, and are told as events with seq", () =>
    Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(spoken)
      const events = yield* record(runtime)
      yield* Stream.runDrain(runtime.stream("a b", { traceId: "t", headers: { tenant: "acme" } }))
      const parts = (yield* events.ended).flatMap((event) =>
        event._tag === "PartEmitted" ? [[event.traceId, event.seq]] : []
      )
      assert.deepStrictEqual(parts, [["t", 0], ["t", 1]])
    }))

  it.effect("a stream that is never run begins no trace; run twice it is two traces", () =>
    Effect.gen(function*() {
      let calls = 0
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [number("n", (n) => Effect.sync(() => (calls++, n))).to()])
      )
      const stream = runtime.stream(1)
      assert.strictEqual(calls, 0)
      yield* Stream.runDrain(stream)
      yield* Stream.runDrain(stream)
      assert.strictEqual(calls, 2)
    }))
})
