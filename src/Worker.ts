/**
 * A worker: takes jobs from a queue and runs their flows.
 *
 * Each job is a trace of its own: its id is `job-{id}`, its headers are the job's, and its meta has `jobId`, `workerId`
 * and `attempt`. How it ended is recorded at once and as what it is: what the flow gave, a node's own error, a timeout
 * (`JOB_TIMEOUT`), a defect, a cancellation, a payload that can't be decoded.
 *
 * **What a worker promises**
 *
 * - A job that is running here has a lease, which is renewed while it runs. Where it can't be renewed in time the job is
 *   interrupted, and its outcome is not recorded: somebody else has the job.
 * - A queue that fails is logged, waited for, and survived.
 * - A shutdown takes no more jobs, lets those that run end for `grace`, interrupts the rest and returns them to the queue
 *   as if they had not been tried, and ends within `grace` and two seconds, whatever the queue does.
 *
 * Where a `TraceStore` is in the context, it is told what went into each job and what came out, so that a job's trace can
 * be replayed.
 *
 * The library installs no signal handlers: the program that holds the worker does.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Predicate from "effect/Predicate"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Any as AnyFlow, Flow } from "./Flow.ts"
import type { FlowError } from "./FlowError.ts"
import { offerTo } from "./internal/jobs/handing.ts"
import { makeCore, type Runner, type Settings } from "./internal/jobs/worker.ts"
import { recordedWhereKept } from "./internal/observers/running.ts"
import { codecsOf } from "./internal/schemas.ts"
import type { JobError } from "./JobError.ts"
import { JobQueue, type Service as JobQueueService } from "./JobQueue.ts"
import type { Claim } from "./JobStore.ts"
import { CurrentTrace } from "./Trace.ts"
import type { WorkerEvent } from "./WorkerEvent.ts"

export type { WorkerEvent } from "./WorkerEvent.ts"

/** How a worker works. */
export interface Options<in E = unknown> {
  /** Whose jobs it takes; default: the `JobQueue` in the context, which is not needed where one is given here. */
  readonly queue?: JobQueueService | undefined
  /** What its jobs are marked with; default `"worker"`. A random part is added: two workers never share a lease. */
  readonly name?: string | undefined
  /** Jobs at once; default 10. */
  readonly concurrency?: number | undefined
  /** How long a silent worker keeps its jobs; default 30 seconds. At least 200 milliseconds. */
  readonly lease?: Duration.Input | undefined
  /** For one try of a job that names none of its own; default: none. */
  readonly jobTimeout?: Duration.Input | undefined
  /** How long a shutdown waits for running jobs; default 30 seconds. */
  readonly grace?: Duration.Input | undefined
  /** How long to wait before a job that failed is tried again; default: from 1 second, doubled up to 1 minute, jittered. */
  readonly retry?: Schedule.Schedule<unknown, E | FlowError | JobError> | undefined
  /**
   * Which failures are tried again. Default: all but wrong inputs and outputs, and errors that say so themselves, by
   * `retryable: false` or `isRetryable: false`.
   */
  readonly retryWhile?: ((error: E | FlowError | JobError) => boolean) | undefined
  /** How many jobs of one tenant may run at once, on all workers of the queue together; default: no bound. */
  readonly tenantConcurrency?: number | undefined
  /**
   * How many jobs may start per `window`. Uses the `RateLimiter` in the context, shared with whoever shares its store,
   * or else one in memory, for this worker alone. Default key: the tenant.
   */
  readonly rateLimit?: {
    readonly limit: number
    readonly window: Duration.Input
    readonly key?: ((job: { readonly tenant: string; readonly flow: string }) => string) | undefined
  } | undefined
  /** How often the queue is asked where nothing wakes the worker; default 1 second. */
  readonly pollInterval?: Duration.Input | undefined
  /** How long one question to the queue may take; default 4 seconds, at most a lease. */
  readonly queryTimeout?: Duration.Input | undefined
  /** How long a job that is stopped may resist; default 800 milliseconds. More than a second is too long for a shutdown. */
  readonly interruptGrace?: Duration.Input | undefined
}

/** What became of the jobs that ran when a shutdown began. */
export interface Drained {
  /** How many ended and were recorded. */
  readonly drained: number
  /** Interrupted and given back to the queue. */
  readonly returned: ReadonlyArray<string>
  /** Neither could be told to the queue in time: they start elsewhere when their leases end. */
  readonly abandoned: ReadonlyArray<string>
}

/** A worker, working. */
export interface Service {
  readonly id: string
  /** Whether it takes jobs, how many it holds, and whether the queue answers: for probes. */
  readonly status: Effect.Effect<
    { readonly phase: "Running" | "Draining" | "Stopped"; readonly running: number; readonly ready: boolean }
  >
  /** What happens from now on, until the worker has shut down. A reader that is slow loses the oldest events. */
  readonly events: Stream.Stream<WorkerEvent>
  /**
   * Takes no more jobs, lets those that run end for `grace`, then interrupts them and returns them to the queue. Ends
   * within `grace` and two seconds. Again: the same answer.
   */
  shutdown(options?: { readonly grace?: Duration.Input | undefined }): Effect.Effect<Drained>
}

const WorkerBase: Context.ServiceClass<Worker, "penguiflow/Worker", Service> = Context.Service<Worker, Service>()(
  "penguiflow/Worker"
)

/** The worker of a process. */
export class Worker extends WorkerBase {}

type FlowsOf<F> = F extends ReadonlyArray<infer One> ? One : F
type ErrorOf<F> = FlowsOf<F> extends { readonly "~error": infer E } ? E : never
type ServicesOf<F> = FlowsOf<F> extends { readonly "~services": infer R } ? R : never

/** With a queue of its own a worker needs none in the context. */
interface WithQueue<in E = unknown> extends Options<E> {
  readonly queue: JobQueueService
}

/**
 * Starts a worker; closing the scope shuts it down, which takes up to `grace` and two seconds.
 *
 * Run one worker per process: of the jobs that run when a process dies, a worker knows only its own.
 */
export const make: {
  <const F extends AnyFlow | ReadonlyArray<AnyFlow>>(
    flows: F,
    options: WithQueue<ErrorOf<F>>
  ): Effect.Effect<Service, never, Exclude<ServicesOf<F>, CurrentTrace> | Scope.Scope>
  <const F extends AnyFlow | ReadonlyArray<AnyFlow>>(
    flows: F,
    options?: Options<ErrorOf<F>>
  ): Effect.Effect<Service, never, JobQueue | Exclude<ServicesOf<F>, CurrentTrace> | Scope.Scope>
} = Effect.fnUntraced(
  function*(flows: AnyFlow | ReadonlyArray<AnyFlow>, options?: Options<never>) {
    const queue = options?.queue ?? (yield* JobQueue)
    const all = isList(flows) ? flows : [flows]
    const settings = yield* settingsOf(options ?? {}, queue.limits.maxResult ?? Infinity)
    const runners = new Map<string, Runner>()
    for (const flow of all) {
      const runtime = yield* recordedWhereKept(flow as Flow<string, unknown, unknown, unknown, never, unknown>, {
        maxInFlight: Number.MAX_SAFE_INTEGER,
        interruptGrace: settings.interruptGrace
      })
      runners.set(flow.name, { runtime, codecs: codecsOf(flow) })
    }
    // Undefined: there are no more.
    const events = yield* PubSub.sliding<WorkerEvent | undefined>(16_384)
    const context = Context.omit(CurrentTrace)(yield* Effect.context<never>())
    let readers = 0
    const core = makeCore(
      queue.store,
      runners,
      settings,
      context,
      (event) => void PubSub.publishUnsafe(events, event),
      () => readers > 0
    )
    const reading = Effect.acquireRelease(Effect.sync(() => readers++), () => Effect.sync(() => readers--))
    for (const loop of core.loops) yield* Effect.forkScoped(loop)
    yield* queue.store.watch(["ready", "cancel"], core.changed)
    const grace = (input: Duration.Input | undefined) =>
      input === undefined ? settings.grace : Duration.toMillis(Duration.fromInputUnsafe(input))
    const shutdown = (ms: number) =>
      Effect.tap(core.shutdown(ms), () => Effect.sync(() => PubSub.publishUnsafe(events, undefined)))
    yield* Effect.addFinalizer(() => shutdown(settings.grace))
    yield* offerTo(queue.store, core.receiver)
    return {
      id: settings.id,
      status: Effect.sync(() => ({ phase: core.phase(), running: core.size(), ready: core.available() })),
      events: Stream.unwrap(
        Effect.map(
          reading,
          () =>
            core.phase() === "Stopped"
              ? Stream.empty
              : Stream.takeWhile(Stream.fromPubSub(events), Predicate.isNotUndefined)
        )
      ),
      shutdown: (opts?: { readonly grace?: Duration.Input | undefined }) => shutdown(grace(opts?.grace))
    }
  }
) as never

/**
 * The worker of a process, as a layer.
 *
 * @example
 * ```ts runnable
 * import { Effect, Layer, Schedule, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as JobQueue from "penguiflow/JobQueue"
 * import * as JobQueueMemory from "penguiflow/layers/JobQueueMemory"
 * import * as Worker from "penguiflow/Worker"
 *
 * class Busy extends Schema.TaggedError<Busy>()("Busy", {}) {}
 * let calls = 0
 * const flaky = Node.make("flaky", {
 *   input: Schema.Number,
 *   output: Schema.Number,
 *   error: Busy,
 *   run: (n) => Effect.suspend(() => ++calls < 3 ? Effect.fail(new Busy()) : Effect.succeed(n * 2))
 * })
 * const flow = Flow.make("doubling", [flaky.to()])
 * const live = Worker.layer(flow, { retry: Schedule.spaced("10 millis"), concurrency: 2 }).pipe(
 *   Layer.provideMerge(JobQueueMemory.layer())
 * )
 * const program = Effect.gen(function*() {
 *   const queue = yield* JobQueue.JobQueue
 *   const id = yield* queue.enqueue(flow, 21)
 *   const result = yield* queue.await(id)
 *   return [result, (yield* queue.get(id))?.attempts]
 * })
 * await Effect.runPromise(Effect.provide(program, live)) // => [42, 3]
 * ```
 */
export const layer: {
  <const F extends AnyFlow | ReadonlyArray<AnyFlow>>(
    flows: F,
    options: WithQueue<ErrorOf<F>>
  ): Layer.Layer<Worker, never, Exclude<ServicesOf<F>, CurrentTrace | Scope.Scope>>
  <const F extends AnyFlow | ReadonlyArray<AnyFlow>>(
    flows: F,
    options?: Options<ErrorOf<F>>
  ): Layer.Layer<Worker, never, JobQueue | Exclude<ServicesOf<F>, CurrentTrace | Scope.Scope>>
} = (flows: AnyFlow | ReadonlyArray<AnyFlow>, options?: Options<never>) =>
  Layer.effect(Worker, make(flows, options as Options)) as never

// ----------------------------------------------------------------------------------------------------------- internals

const isList = (flows: AnyFlow | ReadonlyArray<AnyFlow>): flows is ReadonlyArray<AnyFlow> => Array.isArray(flows)

const defaultRetry: Schedule.Schedule<unknown, unknown> = Schedule.min([
  Schedule.exponential("1 second"),
  Schedule.spaced("1 minute")
]).pipe(Schedule.jittered)

const settingsOf: (
  options: Options<never>,
  maxResult: number
) => Effect.Effect<Settings, never, Scope.Scope> = Effect.fnUntraced(
  function*(options: Options<never>, maxResult: number) {
    const millis = (input: Duration.Input | undefined, otherwise: number) =>
      input === undefined ? otherwise : Duration.toMillis(Duration.fromInputUnsafe(input))
    const whole = (name: string, n: number): number => {
      if (!Number.isSafeInteger(n) || n < 1) {
        throw new TypeError(`the worker's ${name} is ${n}: it takes a whole number from 1`)
      }
      return n
    }
    const lease = Math.max(200, millis(options.lease, 30_000))
    return {
      id: `${(options.name ?? "worker").slice(0, 64)}-${globalThis.crypto.randomUUID()}`,
      concurrency: whole("concurrency", options.concurrency ?? 10),
      lease,
      jobTimeout: millis(options.jobTimeout, Infinity),
      grace: millis(options.grace, 30_000),
      poll: Math.max(10, millis(options.pollInterval, 1000)),
      queryTimeout: Math.min(lease, millis(options.queryTimeout, 4000)),
      interruptGrace: millis(options.interruptGrace, 800),
      maxResult,
      tenantConcurrency: options.tenantConcurrency === undefined
        ? undefined
        : whole("tenantConcurrency", options.tenantConcurrency),
      retry: (options.retry ?? defaultRetry) as Schedule.Schedule<unknown, unknown>,
      retryWhile: options.retryWhile as ((error: unknown) => boolean) | undefined,
      admit: options.rateLimit === undefined ? undefined : yield* admitting(options.rateLimit)
    }
  }
)

/** Asks the limiter for a token for each job; a limiter that fails lets the job pass. */
const admitting: (
  limit: NonNullable<Options["rateLimit"]>
) => Effect.Effect<(claim: Claim) => Effect.Effect<number>, never, Scope.Scope> = Effect.fnUntraced(
  function*(rate: NonNullable<Options["rateLimit"]>) {
    const given = yield* Effect.serviceOption(RateLimiter.RateLimiter)
    const limiter = given._tag === "Some"
      ? given.value
      : Context.get(
        yield* Layer.build(RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))),
        RateLimiter.RateLimiter
      )
    return (claim) =>
      limiter.consume({
        key: `penguiflow/jobs/${rate.key === undefined ? claim.tenant : rate.key(claim)}`,
        limit: rate.limit,
        window: rate.window,
        onExceeded: "fail"
      }).pipe(
        Effect.as(0),
        Effect.catch((error) =>
          error.reason._tag === "RateLimitExceeded"
            ? Effect.succeed(Math.max(1, Math.ceil(Duration.toMillis(error.reason.retryAfter))))
            : Effect.as(Effect.logWarning(`the rate limiter fails, jobs pass: ${error.message}`), 0)
        )
      )
  }
)
