/**
 * An observer that counts what happens, as Effect metrics: for `/metrics`, OTLP or whatever reads the registry.
 *
 * | metric | kind | labels |
 * |---|---|---|
 * | `penguiflow_traces_started_total` | counter | `flow` |
 * | `penguiflow_traces_ended_total` | counter | `flow`, `outcome`: `succeeded`, `failed`, `cancelled` |
 * | `penguiflow_traces_in_flight` | gauge | `flow` |
 * | `penguiflow_trace_wait_seconds` | histogram: for a place among `maxInFlight` | `flow` |
 * | `penguiflow_trace_duration_seconds` | histogram | `flow`, `outcome` |
 * | `penguiflow_node_attempts_total` | counter | `flow`, `node`, `outcome`: `succeeded`, `failed`, `timed_out`, `interrupted`, `left_behind` |
 * | `penguiflow_node_duration_seconds` | histogram | `flow`, `node` |
 * | `penguiflow_node_retries_total` | counter | `flow`, `node` |
 * | `penguiflow_node_timeouts_total` | counter | `flow`, `node` |
 * | `penguiflow_compensations_total` | counter | `flow`, `node`, `outcome`: `undone`, `died` |
 * | `penguiflow_parts_total` | counter | `flow`, `node` |
 * | `penguiflow_events_lost_total` | counter | `observer` |
 *
 * No label is a trace id. A tenant is one only where `tenants` says how many there may be. Names of flows and nodes are
 * the program's own and are kept up to `maxSeries`; what comes after that is counted as `other`.
 *
 * Counts are of what was observed: where this observer was too slow, `penguiflow_events_lost_total` says by how much they
 * are too low. The gauge then begins anew, and is right again once the traces that were open have ended.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import type { FlowEvent } from "../FlowEvent.ts"
import * as FlowObserver from "../FlowObserver.ts"
import { countLost } from "./internal/lost.ts"
import { Bounded, counter, seconds } from "./internal/series.ts"

/** How labels are bounded, and what the histograms' buckets are. */
export interface Options {
  /** How many tenants get a label `tenant` of their own on what is counted of traces; default 0: no such label. */
  readonly tenants?: number | undefined
  /** How many pairs of flow and node, and how many flows, get labels of their own; default 1000. */
  readonly maxSeries?: number | undefined
  /** The upper bounds of the buckets, in seconds. Default: from a millisecond to ten minutes. */
  readonly boundaries?: ReadonlyArray<number> | undefined
}

/**
 * Counts the events of every runtime under it, into the `Metric.MetricRegistry` of the place where the runtime is made.
 *
 * @example
 * ```ts runnable
 * import { Effect, Metric, Schema } from "effect"
 * import { PrometheusMetrics } from "effect/observability"
 * import { Flow, Node } from "penguiflow"
 * import * as MetricsObserver from "penguiflow/layers/MetricsObserver"
 *
 * const inc = Node.make("inc", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n + 1) })
 * const program = Effect.gen(function*() {
 *   yield* Flow.run(Flow.make("counting", [inc.to()]), 1)
 *   return yield* PrometheusMetrics.format()
 * }).pipe(Effect.provide(MetricsObserver.layer()), Effect.provideService(Metric.MetricRegistry, new Map()))
 * const text = await Effect.runPromise(program)
 * text.includes(`penguiflow_traces_ended_total{flow="counting",outcome="succeeded"} 1`) // => true
 * ```
 */
export const layer = (options?: Options): Layer.Layer<never> =>
  FlowObserver.layerEffect(
    observer,
    Effect.map(
      // Those who look at the gauge later must not see what this layer will never hear the end of.
      Effect.acquireRelease(
        Effect.sync(() => new Counting(options ?? {})),
        (counting) => Effect.sync(() => counting.forget())
      ),
      (counting) => ({
        observe: (events: ReadonlyArray<FlowEvent>) =>
          Effect.contextWith((context: Context.Context<never>) =>
            Effect.sync(() => {
              for (const event of events) counting.count(event, context)
            })
          ),
        onLost: (count: number) => Effect.andThen(Effect.sync(() => counting.forget()), lost(count))
      })
    )
  )

// ----------------------------------------------------------------------------------------------------------- internals

const observer = "penguiflow/metrics"
const lost = countLost(observer)

const definitions = (boundaries: ReadonlyArray<number>) => ({
  started: counter("penguiflow_traces_started_total", "Traces that were admitted and began"),
  ended: counter("penguiflow_traces_ended_total", "Traces that ended, by outcome"),
  inFlight: Metric.gauge("penguiflow_traces_in_flight", { description: "Traces that have begun and not ended" }),
  waitSeconds: Metric.histogram("penguiflow_trace_wait_seconds", {
    description: "How long messages waited for a place in their runtime",
    boundaries
  }),
  traceSeconds: Metric.histogram("penguiflow_trace_duration_seconds", {
    description: "How long traces took, by outcome",
    boundaries
  }),
  attempts: counter("penguiflow_node_attempts_total", "Attempts at nodes that ended, by outcome"),
  nodeSeconds: Metric.histogram("penguiflow_node_duration_seconds", {
    description: "How long attempts at nodes took",
    boundaries
  }),
  retries: counter("penguiflow_node_retries_total", "Attempts at nodes that another one followed"),
  timeouts: counter("penguiflow_node_timeouts_total", "Attempts at nodes that took longer than their timeout"),
  compensations: counter("penguiflow_compensations_total", "Finished runs that were undone"),
  parts: counter("penguiflow_parts_total", "Parts that nodes sent")
})

type Definitions = ReturnType<typeof definitions>
type Labels = Record<string, string>

/** A trace that has begun. */
interface Open {
  count: number
  readonly labels: Labels
  readonly context: Context.Context<never>
}

const attemptEnds = {
  NodeSucceeded: "succeeded",
  NodeErrored: "failed",
  NodeTimedOut: "timed_out",
  NodeInterrupted: "interrupted",
  NodeStuck: "left_behind"
} as const

class Counting {
  readonly #metrics: Definitions
  readonly #flows: Bounded
  readonly #pairs: Bounded
  readonly #tenants: Bounded | undefined
  readonly #series = new Map<string, Metric.Metric<number, unknown>>()
  readonly #open = new Map<string, Open>()

  constructor({ boundaries, maxSeries, tenants }: Options) {
    this.#metrics = definitions(boundaries ?? seconds)
    this.#flows = new Bounded(maxSeries ?? 1000)
    this.#pairs = new Bounded(maxSeries ?? 1000)
    this.#tenants = tenants === undefined || !(tenants > 0) ? undefined : new Bounded(tenants)
  }

  /** A metric with labels; made once, so that its registry key is computed once. */
  #of(metric: keyof Definitions, labels: Labels): Metric.Metric<number, unknown> {
    const key = JSON.stringify([metric, labels])
    let series = this.#series.get(key)
    if (series === undefined) {
      series = Metric.withAttributes(this.#metrics[metric] as Metric.Metric<number, unknown>, labels)
      this.#series.set(key, series)
    }
    return series
  }

  #add(metric: keyof Definitions, labels: Labels, amount: number, context: Context.Context<never>): void {
    this.#of(metric, labels).updateUnsafe(amount, context)
  }

  #ofTrace(flow: string, tenant: string | undefined): Labels {
    const labels = { flow: this.#flows.accepts(flow) ? flow : "other" }
    if (this.#tenants === undefined) return labels
    return { ...labels, tenant: tenant !== undefined && this.#tenants.accepts(tenant) ? tenant : "other" }
  }

  #ofNode(flow: string, node: string): Labels {
    return this.#pairs.accepts(`${flow}\0${node}`) ? { flow, node } : { flow: "other", node: "other" }
  }

  count(event: FlowEvent, context: Context.Context<never>): void {
    switch (event._tag) {
      case "TraceStarted":
        return this.#started(event, context)
      case "TraceSucceeded":
        return this.#ended(event, "succeeded", event.durationMs, context)
      case "TraceFailed":
        return this.#ended(event, "failed", event.durationMs, context)
      case "TraceCancelled":
        return this.#ended(event, "cancelled", event.durationMs, context)
      case "NodeStarted":
      case "NodeFailed":
        return
    }
    const labels = this.#ofNode(event.flow, event.node)
    switch (event._tag) {
      case "NodeRetried":
        return this.#add("retries", labels, 1, context)
      case "PartEmitted":
        return this.#add("parts", labels, 1, context)
      case "NodeCompensated":
        return this.#add(
          "compensations",
          { ...labels, outcome: event.error === undefined ? "undone" : "died" },
          1,
          context
        )
    }
    this.#add("attempts", { ...labels, outcome: attemptEnds[event._tag] }, 1, context)
    if (event.durationMs !== undefined) this.#add("nodeSeconds", labels, event.durationMs / 1000, context)
    if (event._tag === "NodeTimedOut") this.#add("timeouts", labels, 1, context)
  }

  #started(event: FlowEvent & { readonly _tag: "TraceStarted" }, context: Context.Context<never>): void {
    const labels = this.#ofTrace(event.flow, event.tenant)
    this.#add("started", labels, 1, context)
    this.#add("waitSeconds", labels, (event.waitedMs ?? 0) / 1000, context)
    this.#of("inFlight", labels).modifyUnsafe(1, context)
    const key = `${event.flow}\0${event.traceId}`
    const open = this.#open.get(key)
    // Two runtimes may run a flow, and each a trace of the same id.
    if (open === undefined) this.#open.set(key, { count: 1, labels, context })
    else open.count++
  }

  #ended(event: FlowEvent, outcome: string, durationMs: number, context: Context.Context<never>): void {
    const key = `${event.flow}\0${event.traceId}`
    const open = this.#open.get(key)
    const labels = open?.labels ?? this.#ofTrace(event.flow, undefined)
    this.#add("ended", { ...labels, outcome }, 1, context)
    this.#add("traceSeconds", { ...labels, outcome }, durationMs / 1000, context)
    if (open === undefined) return
    this.#of("inFlight", labels).modifyUnsafe(-1, open.context)
    if (--open.count === 0) this.#open.delete(key)
  }

  /** The ends of these may never be heard of. */
  forget(): void {
    for (const { context, count, labels } of this.#open.values()) {
      this.#of("inFlight", labels).modifyUnsafe(-count, context)
    }
    this.#open.clear()
  }
}
