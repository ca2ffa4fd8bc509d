/**
 * An observer that logs what happens, by Effect's logger: the event's name is the message, its fields are annotations.
 *
 * | level | events |
 * |---|---|
 * | `Error` | `TraceFailed`, `NodeFailed`, `NodeStuck` |
 * | `Warn` | `NodeErrored`, `NodeTimedOut`, `NodeRetried`, `NodeCompensated`, `TraceCancelled` |
 * | `Info` | `TraceStarted`, `TraceSucceeded` |
 * | `Debug` | `NodeStarted`, `NodeSucceeded`, `NodeInterrupted`, `PartEmitted` |
 *
 * Annotations: `flow`, `trace_id`, `at` (when it happened, ISO), and where the event has them `node`, `attempt`,
 * `duration_ms`, `tenant`, `results`, `reason`, `delay_ms`, `timeout_ms`, `seq`, `error_tag`, `error_code`, `error`.
 * What may come from outside (trace ids, tenants, reasons, words of errors) is escaped, so that no CR, LF or ANSI sequence
 * in it makes a line of its own or moves a cursor, and cut: names and ids at 256 UTF-16 units, words at 2048.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as LogLevel from "effect/LogLevel"
import type { FlowEvent } from "../FlowEvent.ts"
import * as FlowObserver from "../FlowObserver.ts"
import { countLost } from "./internal/lost.ts"
import { plain } from "./internal/plain.ts"

/** A level that something can be logged at. */
export type Level = LogLevel.Severity

/** What is logged, and how. */
export interface Options {
  /**
   * `"json"`: a line of JSON for each event, `"pretty"`: for a terminal, both by the console. Default: whatever loggers
   * there are. `Logger.LogToStderr` sends what is pretty to stderr.
   */
  readonly format?: "json" | "pretty" | undefined
  /** Other levels than those of the table; `"None"` for what is not to be logged. */
  readonly levels?: { readonly [Tag in FlowEvent["_tag"]]?: Level | "None" | undefined } | undefined
}

/**
 * Logs the events of every runtime under it, at levels that `References.MinimumLogLevel` lets through (default `Info`).
 *
 * @example
 * ```ts runnable
 * import { Effect, Layer, Logger, References, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as LogObserver from "penguiflow/layers/LogObserver"
 *
 * const lines: Array<unknown> = []
 * const loggers = Logger.layer([
 *   Logger.make(({ fiber, message }) => {
 *     lines.push(message, fiber.getRef(References.CurrentLogAnnotations)["trace_id"])
 *   })
 * ])
 * const inc = Node.make("inc", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n + 1) })
 * const program = Flow.run(Flow.make("counting", [inc.to()]), 1, { traceId: "a\nb" })
 * await Effect.runPromise(Effect.provide(program, Layer.merge(LogObserver.layer(), loggers))) // => 2
 * lines // => [["TraceStarted"], "a\\nb", ["TraceSucceeded"], "a\\nb"]
 * ```
 */
export const layer = (options?: Options): Layer.Layer<never> => {
  const levels = { ...defaults, ...options?.levels }
  const loggers = options?.format === undefined
    ? undefined
    : new Set([options.format === "json" ? Logger.consoleJson : Logger.consolePretty()])
  const log = (event: FlowEvent): Effect.Effect<void> => {
    const level = levels[event._tag] ?? defaults[event._tag]
    return level === "None"
      ? Effect.void
      : Effect.annotateLogs(Effect.logWithLevel(level)(event._tag), fieldsOf(event))
  }
  return FlowObserver.layer({
    name: "penguiflow/log",
    observe: (events) => {
      const logging = Effect.forEach(events, log, { discard: true })
      return loggers === undefined ? logging : Effect.provideService(logging, Logger.CurrentLoggers, loggers)
    },
    onLost: countLost("penguiflow/log")
  })
}

// ----------------------------------------------------------------------------------------------------------- internals

const defaults: { readonly [Tag in FlowEvent["_tag"]]: Level | "None" } = {
  TraceStarted: "Info",
  NodeStarted: "Debug",
  NodeSucceeded: "Debug",
  NodeErrored: "Warn",
  NodeTimedOut: "Warn",
  NodeRetried: "Warn",
  NodeFailed: "Error",
  NodeInterrupted: "Debug",
  NodeCompensated: "Warn",
  PartEmitted: "Debug",
  NodeStuck: "Error",
  TraceCancelled: "Warn",
  TraceSucceeded: "Info",
  TraceFailed: "Error"
}

const name = (text: string) => plain(text, 256)
const words = (text: string) => plain(text, 2048)

const fieldsOf = (event: FlowEvent): Record<string, string | number> => {
  const fields: Record<string, string | number> = {
    flow: name(event.flow),
    trace_id: name(event.traceId),
    at: new Date(event.at).toISOString()
  }
  if (event.node !== undefined) fields["node"] = name(event.node)
  if (event.attempt !== undefined) fields["attempt"] = event.attempt
  if (event.durationMs !== undefined) fields["duration_ms"] = event.durationMs
  switch (event._tag) {
    case "TraceStarted":
      fields["tenant"] = name(event.tenant)
      break
    case "TraceSucceeded":
      fields["results"] = event.results
      break
    case "TraceCancelled":
      if (event.reason !== undefined) fields["reason"] = words(event.reason)
      break
    case "NodeRetried":
      fields["delay_ms"] = event.delayMs
      break
    case "NodeTimedOut":
      fields["timeout_ms"] = event.timeoutMs
      break
    case "PartEmitted":
      fields["seq"] = event.seq
      break
    case "NodeErrored":
    case "NodeFailed":
    case "NodeCompensated":
    case "TraceFailed":
      if (event.error !== undefined) {
        fields["error_tag"] = name(event.error.tag)
        if (event.error.code !== undefined) fields["error_code"] = event.error.code
        fields["error"] = words(event.error.message)
      }
  }
  return fields
}
