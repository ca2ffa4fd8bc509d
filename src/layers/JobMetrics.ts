/**
 * Counts what a worker does, and how full its queue is, as Effect metrics: for `/metrics`, OTLP or whatever reads the
 * registry. What the jobs' flows do is counted by `layers/MetricsObserver`.
 *
 * | metric | kind | labels |
 * |---|---|---|
 * | `penguiflow_job_wait_seconds` | histogram | `flow` |
 * | `penguiflow_job_duration_seconds` | histogram | `flow`, `outcome` |
 * | `penguiflow_job_attempts_total` | counter | `flow`, `outcome`: `succeeded`, `retried`, `died`, `cancelled`, `returned`, `lost` |
 * | `penguiflow_job_leases_expired_total` | counter | |
 * | `penguiflow_queue_failures_total` | counter | `operation` |
 * | `penguiflow_jobs` | gauge | `state`: `queued`, `running`, `done`, `dead`, `cancelled` |
 *
 * A job waits from when it might have started (it was stored, its delay passed, its try was to be repeated) until it
 * starts, by the store's clock. Counts are of the events that this layer read: a worker keeps the last 16 384 for it.
 */
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { JobQueue } from "../JobQueue.ts"
import { Worker, type WorkerEvent } from "../Worker.ts"
import { Bounded, counter, seconds } from "./internal/series.ts"

/** How labels are bounded, what the histograms' buckets are, and how often the queue is looked at. */
export interface Options {
  /** How many flows get labels of their own; default 1000. Others are `other`. */
  readonly maxSeries?: number | undefined
  /** The upper bounds of the buckets, in seconds. Default: from a millisecond to ten minutes. */
  readonly boundaries?: ReadonlyArray<number> | undefined
  /**
   * How often the jobs of the queue in the context are counted, by state; default every 30 seconds. It costs a query over
   * all jobs that are kept. A queue that does not answer is asked again the next time.
   */
  readonly countEvery?: Duration.Input | undefined
}

/**
 * Counts what the worker in the context does, into the `Metric.MetricRegistry` of the place where this layer is built.
 *
 * @example
 * ```ts runnable
 * import { Effect, Layer, Metric, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as JobQueue from "penguiflow/JobQueue"
 * import * as JobMetrics from "penguiflow/layers/JobMetrics"
 * import * as JobQueueMemory from "penguiflow/layers/JobQueueMemory"
 * import * as Telemetry from "penguiflow/layers/Telemetry"
 * import * as Worker from "penguiflow/Worker"
 *
 * const flow = Flow.make("lengths", [
 *   Node.make("measure", { input: Schema.String, output: Schema.Number, run: (s) => Effect.succeed(s.length) }).to()
 * ])
 * const live = JobMetrics.layer().pipe(
 *   Layer.provideMerge(Worker.layer(flow)),
 *   Layer.provideMerge(JobQueueMemory.layer())
 * )
 * const program = Effect.gen(function*() {
 *   const queue = yield* JobQueue.JobQueue
 *   yield* queue.await(yield* queue.enqueue(flow, "penguin"))
 *   return yield* Telemetry.prometheus()
 * }).pipe(Effect.provide(live), Effect.provideService(Metric.MetricRegistry, new Map()))
 * const text = await Effect.runPromise(program)
 * text.includes(`penguiflow_job_wait_seconds_count{flow="lengths"} 1`) // => true
 * ```
 */
export const layer = (options: Options = {}): Layer.Layer<never, never, Worker> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const worker = yield* Worker
    const queue = yield* Effect.serviceOption(JobQueue)
    const context = yield* Effect.context<never>()
    const counting = new Counting(options)
    yield* Effect.forkScoped(
      Stream.runForEach(worker.events, (event) => Effect.sync(() => counting.count(event, context))),
      { startImmediately: true }
    )
    if (queue._tag === "None") return
    const look = Effect.flatMap(queue.value.counts, (counts) => Effect.sync(() => counting.depth(counts, context)))
    yield* Effect.forkScoped(Effect.repeat(Effect.ignore(look), Schedule.spaced(options.countEvery ?? "30 seconds")))
  }))

// ----------------------------------------------------------------------------------------------------------- internals

type Labels = Record<string, string>
type Registry = Context.Context<never>

const outcomes = {
  JobSucceeded: "succeeded",
  JobRetried: "retried",
  JobDied: "died",
  JobCancelled: "cancelled",
  JobReturned: "returned",
  LeaseLost: "lost"
} as const

class Counting {
  readonly #flows: Bounded
  readonly #wait: Metric.Histogram<number>
  readonly #duration: Metric.Histogram<number>
  readonly #attempts = counter("penguiflow_job_attempts_total", "Tries of jobs that ended, by outcome")
  readonly #expired = counter("penguiflow_job_leases_expired_total", "Jobs of silent workers that were taken back")
  readonly #failures = counter("penguiflow_queue_failures_total", "Questions that the queue did not answer")
  readonly #jobs = Metric.gauge("penguiflow_jobs", { description: "Jobs that the queue keeps, by state" })

  constructor({ boundaries = seconds, maxSeries = 1000 }: Options) {
    this.#flows = new Bounded(maxSeries)
    this.#wait = Metric.histogram("penguiflow_job_wait_seconds", {
      description: "How long jobs waited before a try",
      boundaries
    })
    this.#duration = Metric.histogram("penguiflow_job_duration_seconds", {
      description: "How long tries of jobs took, by outcome",
      boundaries
    })
  }

  count(event: WorkerEvent, context: Registry): void {
    switch (event._tag) {
      case "JobStarted":
        return add(this.#wait, { flow: this.#flow(event.flow) }, event.waitedMs / 1000, context)
      case "LeasesExpired":
        return add(this.#expired, {}, event.recovered.length + event.dead.length, context)
      case "QueueFailed":
        return add(this.#failures, { operation: event.operation }, 1, context)
      case "QueueRecovered":
        return
    }
    const labels = { flow: this.#flow(event.flow), outcome: outcomes[event._tag] }
    add(this.#attempts, labels, 1, context)
    if ("durationMs" in event) add(this.#duration, labels, event.durationMs / 1000, context)
  }

  depth(counts: Readonly<Record<string, number>>, context: Registry): void {
    for (const [state, count] of Object.entries(counts)) add(this.#jobs, { state }, count, context)
  }

  #flow(flow: string): string {
    return this.#flows.accepts(flow) ? flow : "other"
  }
}

const add = (metric: Metric.Metric<number, unknown>, labels: Labels, amount: number, context: Registry): void =>
  Metric.withAttributes(metric, labels).updateUnsafe(amount, context)
