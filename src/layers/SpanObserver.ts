/**
 * An observer that makes spans of what happens: one for each trace, in it one for each visit of a node and attempt, and
 * one for each compensation. Where no tracer is installed it does nothing.
 *
 * Spans are made of events, after the fact and with the events' times: a trace pays nothing for them. What this means:
 *
 * - They begin and end at whole milliseconds.
 * - Each trace's span is a child of the caller's, where there is one, else the root of an OpenTelemetry trace of its own.
 *   Spans that a node's own code opens are not inside the node's: they are the caller's children, as without this
 *   observer.
 * - Of several visits to one node that run side by side in one trace, each gets its own end by its duration; where two
 *   began in the same millisecond and took equally long, they can't be told apart and need not be.
 *
 * Attributes: `penguiflow.flow`, `penguiflow.trace_id`, `penguiflow.tenant`, `penguiflow.node`, `penguiflow.attempt`,
 * `penguiflow.outcome`, `penguiflow.results`, `penguiflow.parts`, `penguiflow.error_tag`, `penguiflow.error_code`,
 * `penguiflow.reason`. A retry is an event in the trace's span. Failed spans have the status `error` and an exception
 * without a stack; what was interrupted or cancelled has neither.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import type { ErrorInfo, FlowEvent } from "../FlowEvent.ts"
import * as FlowObserver from "../FlowObserver.ts"
import { countLost } from "./internal/lost.ts"

/** What is kept while traces are open. */
export interface Options {
  /**
   * How many open traces have spans at once; default 10 000. Beyond that, and where events were lost, the oldest one's
   * spans end as `penguiflow.outcome: "unknown"`.
   */
  readonly maxOpen?: number | undefined
}

/**
 * Makes spans for every runtime under it, by the `Tracer` of the place where the runtime is made. What is still open when
 * the layer closes ends then, as `unknown`.
 *
 * @example
 * ```ts runnable
 * import { Effect, Layer, Schema, Tracer } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as SpanObserver from "penguiflow/layers/SpanObserver"
 *
 * const names: Array<string> = []
 * const tracer = Layer.succeed(
 *   Tracer.Tracer,
 *   Tracer.make({
 *     span: (options) => {
 *       names.push(options.name)
 *       return new Tracer.NativeSpan(options)
 *     }
 *   })
 * )
 * const inc = Node.make("inc", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n + 1) })
 * const program = Flow.run(Flow.make("counting", [inc.to()]), 1)
 * await Effect.runPromise(Effect.provide(program, Layer.merge(SpanObserver.layer(), tracer))) // => 2
 * names // => ["flow counting", "inc"]
 * ```
 */
export const layer = (options?: Options): Layer.Layer<never> =>
  FlowObserver.layerEffect(
    observer,
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => new Spans(options?.maxOpen ?? 10_000)),
        (spans) => Effect.sync(() => spans.endAll())
      ),
      (spans) => ({
        observe: (events: ReadonlyArray<FlowEvent>) =>
          Effect.contextWith((context: Context.Context<never>) =>
            Effect.sync(() => {
              const tracer = Context.get(context, Tracer.Tracer)
              if (tracer === Tracer.nativeTracer || !Context.get(context, References.TracerEnabled)) return
              for (const event of events) spans.take(event, tracer)
            })
          ),
        onLost: countLost(observer)
      })
    )
  )

// ----------------------------------------------------------------------------------------------------------- internals

const observer = "penguiflow/spans"

interface Visit {
  readonly attempt: number
  readonly startedAt: number
  readonly span: Tracer.Span
}

interface Open {
  readonly span: Tracer.Span
  /** By node, in the order in which they began. */
  readonly visits: Map<string, Array<Visit>>
  /** When the last event of it happened. */
  at: number
  parts: number
}

/** Attributes are for people to find and read. */
const cut = (text: string): string => text.length <= 256 ? text : `${text.slice(0, 255)}…`

const nanos = (at: number): bigint => BigInt(Math.trunc(at)) * 1_000_000n

const succeeded = Exit.void
const interrupted: Exit.Exit<never> = Exit.interrupt()

/** An error with the words of the event, and without a stack: it would be that of this module. */
const failed = ({ message, tag }: ErrorInfo): Exit.Exit<never, Error> => {
  const error = new Error(message)
  error.name = tag
  error.stack = `${tag}: ${message}`
  return Exit.failCause(Cause.fail(error))
}

class Spans {
  readonly #maxOpen: number
  readonly #open = new Map<string, Open>()

  constructor(maxOpen: number) {
    this.#maxOpen = Math.max(1, maxOpen)
  }

  take(event: FlowEvent, tracer: Tracer.Tracer): void {
    const key = `${event.flow}\0${event.traceId}`
    if (event._tag === "TraceStarted") return this.#begin(key, event, tracer)
    const open = this.#open.get(key)
    // Its beginning was lost, or was before this observer.
    if (open === undefined) return
    open.at = event.at
    switch (event._tag) {
      case "NodeStarted":
        return this.#enter(open, event, tracer)
      case "NodeSucceeded":
        return this.#leave(open, event, "succeeded", succeeded)
      case "NodeErrored":
        return this.#leave(open, event, "failed", failed(event.error), event.error)
      case "NodeTimedOut":
        return this.#leave(
          open,
          event,
          "timed_out",
          failed({ tag: "NodeTimedOut", code: undefined, message: `took longer than ${event.timeoutMs} ms` })
        )
      case "NodeInterrupted":
        return this.#leave(open, event, "interrupted", interrupted)
      case "NodeStuck":
        return this.#leave(open, event, "left_behind", interrupted)
      case "NodeRetried":
        return open.span.event("retry", nanos(event.at), {
          "penguiflow.node": cut(event.node),
          "penguiflow.attempt": event.attempt,
          "penguiflow.delay_ms": event.delayMs
        })
      case "NodeCompensated":
        return this.#compensated(open, event, tracer)
      case "PartEmitted":
        open.parts++
        return
      case "NodeFailed":
        return
      case "TraceSucceeded":
        open.span.attribute("penguiflow.results", event.results)
        return this.#end(key, open, "succeeded", succeeded)
      case "TraceCancelled":
        if (event.reason !== undefined) open.span.attribute("penguiflow.reason", cut(event.reason))
        return this.#end(key, open, "cancelled", interrupted)
      case "TraceFailed":
        describe(open.span, event.error)
        return this.#end(key, open, "failed", failed(event.error))
    }
  }

  #begin(key: string, event: FlowEvent & { readonly _tag: "TraceStarted" }, tracer: Tracer.Tracer): void {
    const before = this.#open.get(key)
    if (before !== undefined) this.#end(key, before, "unknown", interrupted)
    if (this.#open.size >= this.#maxOpen) {
      const [oldest] = this.#open
      this.#end(oldest![0], oldest![1], "unknown", interrupted)
    }
    const span = spanOf(tracer, `flow ${cut(event.flow)}`, event.at, callerOf(event.traceparent))
    span.attribute("penguiflow.flow", cut(event.flow))
    span.attribute("penguiflow.trace_id", cut(event.traceId))
    span.attribute("penguiflow.tenant", cut(event.tenant))
    this.#open.set(key, { span, visits: new Map(), at: event.at, parts: 0 })
  }

  #enter(open: Open, event: FlowEvent & { readonly node: string }, tracer: Tracer.Tracer): void {
    const { at, attempt = 1, node } = event
    const span = spanOf(tracer, cut(node), at, Option.some(parentOf(open, node)))
    name(span, event, attempt)
    const visit = { attempt, startedAt: at, span }
    const visits = open.visits.get(node)
    if (visits === undefined) open.visits.set(node, [visit])
    else visits.push(visit)
  }

  #leave(
    open: Open,
    { at, attempt, durationMs, node = "" }: FlowEvent,
    outcome: string,
    exit: Exit.Exit<unknown, unknown>,
    error?: ErrorInfo
  ): void {
    const visits = open.visits.get(node)
    if (visits === undefined) return
    const startedAt = durationMs === undefined ? undefined : at - durationMs
    let found = visits.findIndex((visit) => visit.attempt === attempt && visit.startedAt === startedAt)
    if (found < 0) found = visits.findIndex((visit) => visit.attempt === attempt)
    if (found < 0) return
    const [visit] = visits.splice(found, 1)
    if (visits.length === 0) open.visits.delete(node)
    if (error !== undefined) describe(visit!.span, error)
    visit!.span.attribute("penguiflow.outcome", outcome)
    visit!.span.end(nanos(at), exit)
  }

  #compensated(open: Open, event: FlowEvent & { readonly _tag: "NodeCompensated" }, tracer: Tracer.Tracer): void {
    const { at, attempt, durationMs, error, node } = event
    const span = spanOf(tracer, `undo ${cut(node)}`, at - durationMs, Option.some(open.span))
    name(span, event, attempt)
    if (error !== undefined) describe(span, error)
    span.attribute("penguiflow.outcome", error === undefined ? "undone" : "died")
    span.end(nanos(at), error === undefined ? succeeded : failed(error))
  }

  #end(key: string, open: Open, outcome: string, exit: Exit.Exit<unknown, unknown>): void {
    this.#open.delete(key)
    for (const visits of open.visits.values()) {
      for (const { span } of visits) {
        span.attribute("penguiflow.outcome", "unknown")
        span.end(nanos(open.at), interrupted)
      }
    }
    if (open.parts > 0) open.span.attribute("penguiflow.parts", open.parts)
    open.span.attribute("penguiflow.outcome", outcome)
    open.span.end(nanos(open.at), exit)
  }

  endAll(): void {
    for (const [key, open] of this.#open) this.#end(key, open, "unknown", interrupted)
  }
}

const spanOf = (tracer: Tracer.Tracer, name: string, at: number, parent: Option.Option<Tracer.AnySpan>): Tracer.Span =>
  tracer.span({
    name,
    parent,
    annotations: Context.empty(),
    links: [],
    startTime: nanos(at),
    kind: "internal",
    root: Option.isNone(parent),
    sampled: Option.isNone(parent) || parent.value.sampled
  })

const callerOf = (traceparent: string | undefined): Option.Option<Tracer.AnySpan> => {
  const [, traceId, spanId, flags] = traceparent?.split("-") ?? []
  return traceId === undefined || spanId === undefined
    ? Option.none()
    : Option.some(Tracer.externalSpan({ traceId, spanId, sampled: flags === "01" }))
}

const name = (span: Tracer.Span, { flow, node = "", traceId }: FlowEvent, attempt: number): void => {
  span.attribute("penguiflow.flow", cut(flow))
  span.attribute("penguiflow.trace_id", cut(traceId))
  span.attribute("penguiflow.node", cut(node))
  span.attribute("penguiflow.attempt", attempt)
}

const describe = (span: Tracer.Span, error: ErrorInfo): void => {
  span.attribute("penguiflow.error_tag", cut(error.tag))
  if (error.code !== undefined) span.attribute("penguiflow.error_code", error.code)
}

/** A node of a subflow belongs to the visit of the node that holds it. */
const parentOf = (open: Open, node: string): Tracer.Span => {
  for (let end = node.lastIndexOf("/"); end > 0; end = node.lastIndexOf("/", end - 1)) {
    const outer = open.visits.get(node.slice(0, end))?.at(-1)
    if (outer !== undefined) return outer.span
  }
  return open.span
}
