import { assert, describe, it } from "@effect/vitest"
import { Console, Effect, Fiber, Layer, Logger, References } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime } from "penguiflow"
import * as LogObserver from "penguiflow/layers/LogObserver"
import { start } from "../utils/effects.ts"
import { failing } from "../utils/nodes.ts"
import { type Order, under } from "./watchedFlow.ts"

interface Line {
  readonly level: string
  readonly message: unknown
  readonly fields: Readonly<Record<string, unknown>>
}

const collecting = () => {
  const lines: Array<Line> = []
  const layer = Logger.layer([
    Logger.make(({ fiber, logLevel, message }) => {
      const words = Array.isArray(message) && message.length === 1 ? message[0] as unknown : message
      lines.push({ level: logLevel, message: words, fields: { ...fiber.getRef(References.CurrentLogAnnotations) } })
    })
  ])
  return { lines, layer }
}

/** Runs one order on the test's clock. */
const order = (given: Order, traceId: string, observers: Layer.Layer<never>) =>
  under(observers, "orders", (runtime) =>
    Effect.gen(function*() {
      const fiber = yield* start(Effect.exit(runtime.run(given, { traceId, headers: { tenant: "acme" } })))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
    }))

const everything = Layer.succeed(References.MinimumLogLevel, "All" as const)

/** A console that keeps what it is given. */
const keeping = () => {
  const out: Array<string> = []
  const keep = (...args: ReadonlyArray<unknown>) => void out.push(args.map(String).join(" "))
  const console: Console.Console = { ...globalThis.console, log: keep, error: keep, group: keep, groupEnd: () => {} }
  return { out, layer: Layer.succeed(Console.Console, console) }
}

describe("LogObserver", () => {
  it.effect("logs each event by its name, with its fields as annotations, at its level", () =>
    Effect.gen(function*() {
      const { layer, lines } = collecting()
      yield* TestClock.setTime(1_700_000_000_000)
      yield* order(
        { failures: 1, wrap: "badly" },
        "t1",
        Layer.mergeAll(LogObserver.layer(), layer, everything)
      )
      assert.deepStrictEqual(lines.map((line) => `${line.level} ${line.message} ${line.fields["node"] ?? ""}`.trim()), [
        "Info TraceStarted",
        "Debug NodeStarted reserve",
        "Debug NodeSucceeded reserve",
        "Debug NodeStarted charge",
        "Warn NodeErrored charge",
        "Warn NodeRetried charge",
        "Debug NodeStarted charge",
        "Debug NodeSucceeded charge",
        "Debug NodeStarted pack",
        "Debug NodeStarted pack/wrap",
        "Debug PartEmitted pack/wrap",
        "Warn NodeErrored pack/wrap",
        "Error NodeFailed pack/wrap",
        "Warn NodeErrored pack",
        "Error NodeFailed pack",
        "Warn NodeCompensated reserve",
        "Error TraceFailed pack/wrap"
      ])
      const fields = (message: string) => lines.find((line) => line.message === message)?.fields
      assert.deepStrictEqual(fields("TraceStarted"), {
        flow: "orders",
        trace_id: "t1",
        at: "2023-11-14T22:13:20.000Z",
        tenant: "acme"
      })
      assert.deepInclude(fields("NodeErrored"), { node: "charge", attempt: 1, duration_ms: 20, error_tag: "Bad" })
      assert.deepInclude(fields("NodeRetried"), { attempt: 1, delay_ms: 100 })
      assert.deepInclude(fields("NodeCompensated"), { duration_ms: 5 })
      assert.deepInclude(fields("TraceFailed"), { duration_ms: 145, error_tag: "Bad" })
      assert.isString(fields("TraceFailed")?.["error"])
    }))

  it.effect("without a level set, what is of use to operators is logged and nothing else; levels can be changed", () =>
    Effect.gen(function*() {
      const { layer, lines } = collecting()
      yield* order({ failures: 0, wrap: "slowly" }, "t1", Layer.mergeAll(LogObserver.layer(), layer))
      assert.deepStrictEqual(lines.map((line) => line.message), [
        "TraceStarted",
        "NodeTimedOut",
        "NodeFailed",
        "NodeErrored",
        "NodeFailed",
        "NodeCompensated",
        "TraceFailed"
      ])
      assert.deepInclude(lines[1]?.fields, { timeout_ms: 50, duration_ms: 50 })
      assert.deepInclude(lines[6]?.fields, { error_code: "NODE_TIMEOUT" })
      lines.length = 0
      const levels = { TraceStarted: "None", NodeSucceeded: "Info", TraceSucceeded: undefined } as const
      yield* order({ failures: 0, wrap: "well" }, "t2", Layer.mergeAll(LogObserver.layer({ levels }), layer))
      assert.deepStrictEqual(lines.map((line) => line.message), [
        "NodeSucceeded",
        "NodeSucceeded",
        "NodeSucceeded",
        "NodeSucceeded",
        "TraceSucceeded"
      ])
      assert.deepInclude(lines[4]?.fields, { results: 1 })
    }))

  it.effect("what comes from outside begins no line and moves no cursor: pretty and JSON alike", () =>
    Effect.gen(function*() {
      const evil =
        "a\r\n2026-01-01 level=ERROR forged \u001b[2J\u001b]0;x\u0007 \u009b31m \u2028 \u202etxt \ud800 \u0000"
      for (const format of ["json", "pretty"] as const) {
        const { layer, out } = keeping()
        yield* under(
          Layer.mergeAll(LogObserver.layer({ format }), layer),
          "orders",
          (runtime) =>
            Effect.gen(function*() {
              const options = { traceId: evil, headers: { tenant: evil } }
              const fiber = yield* start(Effect.exit(runtime.run({ failures: 0, wrap: "never" }, options)))
              yield* start(runtime.cancel(evil, `because ${evil}`))
              yield* TestClock.adjust("1 second")
              yield* Fiber.join(fiber)
            })
        )
        const text = out.join("\n")
        assert.include(text, "forged")
        assert.include(text, "TraceCancelled")
        // Colours of the terminal are the logger's own.
        // oxlint-disable-next-line no-control-regex
        const bare = text.replaceAll(/\u001b\[[\d;]*m/g, "")
        // oxlint-disable-next-line no-control-regex
        assert.notMatch(bare, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u202e\ud800]/)
        for (const line of bare.split("\n")) assert.notMatch(line, /^\s*2026-01-01/)
        assert.include(text, String.raw`a\\r\\n2026`.replaceAll("\\\\", format === "json" ? "\\\\" : "\\"))
      }
    }))

  it.effect("JSON: each event is one line that parses, and goes to no other logger", () =>
    Effect.gen(function*() {
      const { layer, lines } = collecting()
      const { layer: console, out } = keeping()
      const observers = Layer.mergeAll(LogObserver.layer({ format: "json" }), layer, console)
      yield* order({ failures: 0, wrap: "badly" }, "t1", observers)
      assert.deepStrictEqual(lines, [])
      const parsed = out.map((line) => JSON.parse(line) as Record<string, unknown>)
      assert.deepStrictEqual(parsed.map((line) => `${String(line["level"])} ${String(line["message"])}`), [
        "INFO TraceStarted",
        "WARN NodeErrored",
        "ERROR NodeFailed",
        "WARN NodeErrored",
        "ERROR NodeFailed",
        "WARN NodeCompensated",
        "ERROR TraceFailed"
      ])
      assert.deepInclude(parsed[6]?.["annotations"], { flow: "orders", trace_id: "t1", node: "pack/wrap" })
    }))

  it.effect("long ids and long words are cut", () =>
    Effect.gen(function*() {
      const { layer, lines } = collecting()
      yield* Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(Flow.make("f", [failing("n").to()]))
        yield* Effect.exit(runtime.run(1, { traceId: "x".repeat(1_000_000) }))
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(LogObserver.layer(), layer)))
      for (const { fields } of lines) assert.strictEqual(String(fields["trace_id"]).length, 256)
      assert.isAtLeast(lines.length, 3)
    }))
})
