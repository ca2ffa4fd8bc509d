/**
 * A worker, at work: it takes jobs, runs each as a trace, keeps their leases, and records how they ended.
 *
 * Three loops: one takes, one renews, one records. Each survives whatever the store does; none waits for another. A job
 * is in `jobs` from its claim until its outcome is recorded or its lease is known to be lost.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import { FlowError } from "../../FlowError.ts"
import type { FlowRuntime } from "../../FlowRuntime.ts"
import { isJobError, JobError } from "../../JobError.ts"
import {
  bounded,
  type Claim,
  type Failure,
  type JobStore,
  type Lease,
  type Settlement,
  tenantsAtOnce
} from "../../JobStore.ts"
import type { Meta } from "../../Trace.ts"
import type { WorkerEvent } from "../../WorkerEvent.ts"
import type { FlowCodecs } from "../schemas.ts"
import { messageOf } from "../text.ts"
import { cancelWords, errorOf, failureIn, jobFailure, jsonOf, storeResults } from "./outcome.ts"
import { Signal } from "./signal.ts"

/** A flow that this worker runs. */
export interface Runner {
  readonly runtime: FlowRuntime<unknown, unknown, unknown, unknown>
  readonly codecs: FlowCodecs
}

/** All settings, in milliseconds where they are times. */
export interface Settings {
  readonly id: string
  readonly concurrency: number
  readonly lease: number
  readonly jobTimeout: number
  readonly grace: number
  readonly poll: number
  readonly queryTimeout: number
  readonly interruptGrace: number
  readonly maxResult: number
  readonly tenantConcurrency: number | undefined
  readonly retry: Schedule.Schedule<unknown, unknown>
  readonly retryWhile: ((error: unknown) => boolean) | undefined
  /** Milliseconds until the job may be tried again, 0 where it may run now; undefined where nothing is limited. */
  readonly admit: ((claim: Claim) => Effect.Effect<number>) | undefined
}

type Stop =
  | { readonly _tag: "TimedOut"; readonly timeoutMs: number }
  | { readonly _tag: "Cancelled"; readonly reason: string | undefined }
  | { readonly _tag: "Lost" }
  | { readonly _tag: "Shutdown" }

/**
 * `Waiting`: claimed ahead, for the next free place. `Held`: claimed to run alone, waits for all others to end.
 * `Ended`: its outcome waits to be recorded.
 */
type Stage = "Waiting" | "Held" | "Running" | "Ended"

interface Running {
  readonly claim: Claim
  stage: Stage
  stop: Stop | undefined
  /** Monotonic milliseconds: when the last successful renewal was asked for. */
  renewedAt: number
  startedAt: number
  timer: Fiber.Fiber<unknown, unknown> | undefined
}

interface Pending {
  readonly job: Running
  readonly settlement: Settlement
  /** How often the store would not take it alone. */
  refusals: number
}

/** What a worker did in its shutdown. */
export interface Drained {
  readonly drained: number
  readonly returned: ReadonlyArray<string>
  readonly abandoned: ReadonlyArray<string>
}

const settleAtOnce = 500
/** Jobs that take a millisecond at most are claimed ahead: as many as are done in so many, up to so many. */
const aheadMs = 10
const mostAhead = 500
/** Characters of results in one write. */
const settleSize = 4 * 1024 * 1024
/** Log lines about a queue that fails: one, then one each … milliseconds. */
const logEvery = 5000
/** A shutdown ends within its grace and two seconds: what the steps after the grace may take of them. */
const interruptWithin = 1000
const recordWithin = 600

export class WorkerCore {
  readonly #store: JobStore
  readonly #runners: ReadonlyMap<string, Runner>
  readonly #flows: ReadonlyArray<string>
  readonly #settings: Settings
  readonly #clock: Clock.Clock
  readonly #context: Context.Context<never>
  readonly #publish: (event: WorkerEvent) => void
  #phase: "Running" | "Draining" | "Stopped" = "Running"
  readonly #jobs = new Map<string, Running>()
  readonly #pending: Array<Pending> = []
  readonly #ahead: Array<Running> = []
  /** How many are in stage `Running`. */
  #busy = 0
  #pumping = false
  /** Milliseconds that jobs take, of late. */
  #pace = Infinity
  readonly #taking = new Signal()
  readonly #renewing = new Signal()
  readonly #settling = new Signal()
  readonly #emptied = new Signal()
  readonly #limited = new Map<string, number>()
  /** Monotonic, since when the store has failed; undefined while it answers. */
  #failingSince: number | undefined
  #failures = 0
  #loggedAt = -Infinity
  #told = false
  #answered = false
  #lostClaim = false
  #cancelAsked = false
  #shutdown: Fiber.Fiber<Drained> | undefined

  constructor(
    store: JobStore,
    runners: ReadonlyMap<string, Runner>,
    settings: Settings,
    context: Context.Context<never>,
    publish: (event: WorkerEvent) => void
  ) {
    this.#store = store
    this.#runners = runners
    this.#flows = [...runners.keys()]
    this.#settings = settings
    this.#context = context
    this.#clock = Context.get(context, Clock.Clock)
    this.#publish = publish
  }

  get phase(): "Running" | "Draining" | "Stopped" {
    return this.#phase
  }
  get running(): number {
    return this.#jobs.size
  }
  /** Whether the store answered last time. */
  get available(): boolean {
    return this.#answered && this.#failingSince === undefined
  }

  /** Wakes the loops: somebody else changed something. */
  readonly changed = (change: "ready" | "cancel" | "ended"): void => {
    if (change === "ready") this.#taking.ring()
    else if (change === "cancel" && this.#jobs.size > 0) {
      this.#cancelAsked = true
      this.#renewing.ring()
    }
  }

  /** Monotonic milliseconds: a wall clock may be set. */
  #now(): number {
    return Number(this.#clock.currentTimeNanosUnsafe() / 1_000_000n)
  }

  /** The same, and parts of them. */
  #clockMs(): number {
    return Number(this.#clock.currentTimeNanosUnsafe()) / 1_000_000
  }

  #event(event: WorkerEvent): void {
    this.#publish(event)
  }

  // ---------------------------------------------------------------- a store that fails

  #ask<A>(operation: string, effect: Effect.Effect<A, JobError>, ms?: number): Effect.Effect<A, JobError> {
    return Effect.onExit(bounded(operation, ms ?? this.#settings.queryTimeout, effect), (exit) => {
      if (exit._tag === "Success") return this.#works()
      return Cause.hasInterruptsOnly(exit.cause) ? Effect.void : this.#fails(operation, errorOf(exit.cause))
    })
  }

  #works(): Effect.Effect<void> {
    this.#answered = true
    if (this.#failingSince === undefined) return Effect.void
    const downMs = this.#now() - this.#failingSince
    this.#failingSince = undefined
    this.#event({ _tag: "QueueRecovered", at: this.#clock.currentTimeMillisUnsafe(), downMs, failures: this.#failures })
    this.#failures = 0
    if (!this.#told) return Effect.void
    this.#told = false
    return Effect.logInfo(`worker ${this.#settings.id}: the job queue answers again, after ${downMs} ms`)
  }

  #fails(operation: string, error: unknown): Effect.Effect<void> {
    const now = this.#now()
    this.#failingSince ??= now
    this.#failures++
    const message = messageOf(error)
    this.#event({ _tag: "QueueFailed", at: this.#clock.currentTimeMillisUnsafe(), operation, message })
    if (now - this.#loggedAt < logEvery) return Effect.void
    this.#loggedAt = now
    this.#told = true
    return Effect.logWarning(
      `worker ${this.#settings.id}: the job queue fails (${operation}, ${this.#failures} so far), trying again: ${message}`
    )
  }

  /** A loop that nothing ends but the worker's end. */
  #forever(step: Effect.Effect<void, JobError>, wake: Signal): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      let pause = 0
      while (this.#phase !== "Stopped") {
        const exit = yield* Effect.exit(step)
        if (exit._tag === "Success") {
          pause = 0
          continue
        }
        if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
        const error = errorOf(exit.cause)
        if (!isJobError(error)) yield* Effect.logError(`worker ${this.#settings.id}: ${messageOf(error)}`)
        pause = Math.min(5000, Math.max(100, pause * 2))
        yield* Effect.sleep(Duration.millis(pause * (0.75 + Math.random() / 2)))
        if (this.#phase === "Draining") wake.ring()
      }
    })
  }

  // ---------------------------------------------------------------- taking

  get takes(): Effect.Effect<void> {
    let after = ""
    let sweepAt = -Infinity
    let claimNow = true
    const { concurrency, poll } = this.#settings
    const step = Effect.gen({ self: this }, function*() {
      if (this.#phase !== "Running") return yield* this.#taking.wait
      if (yield* this.#startHeld()) return
      const free = this.#free()
      if (free <= 0) {
        claimNow = true
        return yield* this.#taking.wait
      }
      if (this.#lostClaim) {
        yield* this.#ask("disown", this.#store.disown(this.#settings.id, [...this.#jobs.keys()]))
        this.#lostClaim = false
      }
      if (this.#now() >= sweepAt) {
        const swept = yield* this.#ask("sweep", this.#store.sweep(this.#flows))
        // Jitter: many workers are not to ask at once.
        sweepAt = this.#now() + Math.min(poll * (0.8 + Math.random() * 0.4), Math.max(10, swept.nextMs ?? Infinity))
        if (swept.recovered.length > 0 || swept.dead.length > 0) yield* this.#took(swept.recovered, swept.dead)
        claimNow ||= swept.ready
      }
      if (claimNow) {
        const limit = free
        const asked = this.#now()
        const claims = yield* Effect.onExit(
          this.#ask(
            "claim",
            this.#store.claim({
              workerId: this.#settings.id,
              flows: this.#flows,
              limit,
              leaseMs: this.#settings.lease,
              after,
              without: this.#without(),
              tenantLimit: this.#settings.tenantConcurrency
            })
          ),
          (exit) =>
            Effect.sync(() => {
              if (exit._tag === "Failure") this.#lostClaim = true
            })
        )
        for (const claim of claims) this.#take(claim, asked)
        const wrapped = after !== "" && claims.length < limit
        // A tenant that got two has seen all others in between: the turn is over.
        const tenants = new Set(claims.map((claim) => claim.tenant)).size
        const allSeen = tenants < claims.length && tenants < tenantsAtOnce
        after = wrapped || allSeen ? "" : lastTenant(claims, after)
        claimNow = wrapped || claims.length === limit || claims.length > concurrency
        if (claimNow) return
      }
      const rang = yield* this.#taking.waitFor(Math.max(1, Math.min(sweepAt - this.#now(), poll)))
      claimNow = rang
    })
    return this.#forever(step, this.#taking)
  }

  #free(): number {
    const { concurrency } = this.#settings
    for (const job of this.#jobs.values()) if (job.stage === "Held" || job.claim.alone) return 0
    const places = concurrency + this.#aheadNow()
    // Outcomes that wait for the store take room too, or a store that only reads would let them pile up.
    const free = Math.min(places - this.#busy - this.#ahead.length, 2 * places - this.#jobs.size)
    // Ahead, jobs are claimed by the hundred or not at all.
    return places > concurrency && free < places / 4 && this.#jobs.size > 0 ? 0 : free
  }

  #aheadNow(): number {
    return this.#pace > 1
      ? 0
      : Math.min(mostAhead, Math.floor(this.#settings.concurrency * aheadMs / Math.max(0.1, this.#pace)))
  }

  /** Tenants that are over their rate. */
  #without(): ReadonlyArray<string> {
    if (this.#limited.size === 0) return []
    const now = this.#now()
    for (const [tenant, until] of this.#limited) if (until <= now) this.#limited.delete(tenant)
    return [...this.#limited.keys()]
  }

  #took(recovered: ReadonlyArray<string>, dead: ReadonlyArray<string>): Effect.Effect<void> {
    this.#event({ _tag: "LeasesExpired", at: this.#clock.currentTimeMillisUnsafe(), recovered, dead })
    return Effect.logWarning(
      `worker ${this.#settings.id}: ${
        recovered.length + dead.length
      } jobs of silent workers taken back, ${dead.length} of them dead`
    )
  }

  #take(claim: Claim, asked: number): void {
    const known = this.#jobs.get(claim.id)
    const job: Running = {
      claim,
      stage: claim.alone ? "Held" : "Waiting",
      stop: undefined,
      renewedAt: asked,
      startedAt: this.#clockMs(),
      timer: undefined
    }
    if (known !== undefined) this.#lose(known)
    this.#jobs.set(claim.id, job)
    // A bell may wake who waits for it at once, in this step: what it tells of must be there.
    if (this.#jobs.size === 1) this.#renewing.ring()
    if (job.stage === "Held") return
    this.#ahead.push(job)
    this.#pump()
  }

  /** Begins what was claimed, while there are places. A loop, so that jobs that end at once do not nest. */
  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    while (this.#busy < this.#settings.concurrency && this.#ahead.length > 0) {
      const job = this.#ahead.shift()!
      if (job.stage === "Waiting") this.#begin(job)
    }
    this.#pumping = false
  }

  #begin(job: Running): void {
    job.stage = "Running"
    job.startedAt = this.#clockMs()
    this.#busy++
    this.#fork(job)
  }

  /** A suspect runs with nobody beside it: once all others have ended. True where this was something to do. */
  #startHeld(): Effect.Effect<boolean, JobError> {
    return Effect.gen({ self: this }, function*() {
      let held: Running | undefined
      for (const job of this.#jobs.values()) {
        if (job.stage === "Running" || job.stage === "Waiting") return false
        if (job.stage === "Held") held ??= job
      }
      if (held === undefined) return false
      const began = yield* this.#ask("start", this.#store.start(held.claim))
      if (held.stage !== "Held") return true
      if (began) {
        this.#begin(held)
      } else this.#lose(held)
      return true
    })
  }

  // ---------------------------------------------------------------- running

  #fork(job: Running): void {
    const run = Effect.catchCause(
      this.#run(job),
      (cause) => Effect.sync(() => this.#end(job, this.#afterFailure(job, errorOf(cause), undefined)))
    )
    Effect.runForkWith(this.#context)(run)
  }

  #run(job: Running): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      const { claim } = job
      const attempt = claim.failures + claim.crashes + 1
      if (this.#settings.admit !== undefined) {
        const waitMs = yield* this.#settings.admit(claim)
        if (waitMs > 0) {
          this.#limited.set(claim.tenant, this.#now() + waitMs)
          return this.#end(job, { ...lease(claim), _tag: "Returned", delayMs: waitMs })
        }
      }
      const runner = this.#runners.get(claim.flow)!
      const input = runner.codecs.decodeInput(jsonOf(claim.payload))
      if (input._tag === "Failure") {
        const reason = input.cause.reasons[0]
        const issue = reason?._tag === "Fail" ? reason.error : "it can't be decoded"
        const words = `What is stored as the job's payload does not fit what the flow "${claim.flow}" takes: ${issue}`
        const failure = jobFailure("UNDECODABLE_PAYLOAD", words, { _tag: "UndecodablePayload", issue }, attempt)
        return this.#end(job, { ...lease(claim), _tag: "Dead", failure })
      }
      const meta = jsonOf(claim.meta)
      const headers = {
        tenant: claim.tenant,
        priority: claim.priority,
        ...(claim.topic === undefined ? undefined : { topic: claim.topic })
      }
      this.#event({
        _tag: "JobStarted",
        at: this.#clock.currentTimeMillisUnsafe(),
        jobId: claim.id,
        flow: claim.flow,
        tenant: claim.tenant,
        attempt
      })
      const running = runner.runtime.runAll(input.value, {
        traceId: traceIdOf(claim),
        headers,
        meta: {
          ...(meta as Meta | undefined),
          jobId: claim.id,
          workerId: this.#settings.id,
          attempt
        }
      })
      const timeoutMs = claim.timeoutMs ?? this.#settings.jobTimeout
      if (timeoutMs < Infinity) {
        job.timer = Effect.runForkWith(this.#context)(
          Effect.andThen(
            Effect.sleep(Duration.millis(timeoutMs)),
            Effect.sync(() => this.#stop(job, { _tag: "TimedOut", timeoutMs }))
          )
        )
      }
      const exit = yield* Effect.exit(running)
      this.#end(job, this.#settlementOf(job, exit, runner, attempt))
    })
  }

  /** Asks a job to stop: its trace is cancelled, and says so when its finalizers have run. */
  #stop(job: Running, stop: Stop): void {
    if (job.stop !== undefined || job.stage === "Ended") return
    job.stop = stop
    if (job.stage !== "Running") return this.#end(job, this.#stopped(job, stop, undefined))
    const reason = stop._tag === "TimedOut"
      ? "JOB_TIMEOUT"
      : stop._tag === "Lost"
      ? "LEASE_LOST"
      : stop._tag === "Shutdown"
      ? "WORKER_SHUTDOWN"
      : stop.reason ?? "JOB_CANCELLED"
    const runner = this.#runners.get(job.claim.flow)!
    Effect.runForkWith(this.#context)(runner.runtime.cancel(traceIdOf(job.claim), reason))
  }

  // ---------------------------------------------------------------- outcomes

  #settlementOf(
    job: Running,
    exit: Exit.Exit<ReadonlyArray<unknown>, unknown>,
    runner: Runner,
    attempt: number
  ): Settlement | undefined {
    const { claim } = job
    if (exit._tag === "Success") {
      const results = storeResults(exit.value, runner.codecs, this.#settings.maxResult)
      if (results._tag === "Success") return { ...lease(claim), _tag: "Done", results: results.value }
      const reason = results.cause.reasons[0]
      const issue = reason?._tag === "Fail" ? reason.error : "it can't be stored"
      const words = `The job succeeded, and its result can't be stored: ${issue}`
      const failure = jobFailure("UNSTORABLE_RESULT", words, { _tag: "UnstorableResult", issue }, attempt)
      return { ...lease(claim), _tag: "Dead", failure }
    }
    const error = errorOf(exit.cause)
    const stopped = error instanceof FlowError && (error.code === "TRACE_CANCELLED" || error.code === "SHUTTING_DOWN")
    if (stopped) return this.#stopped(job, job.stop ?? { _tag: "Shutdown" }, attempt)
    // Its predecessor, whose lease was lost, still resists in this process.
    if (error instanceof FlowError && error.code === "DUPLICATE_TRACE") {
      return { ...lease(claim), _tag: "Returned", delayMs: 1000 }
    }
    return this.#afterFailure(job, error, runner.codecs)
  }

  #stopped(job: Running, stop: Stop, attempt: number | undefined): Settlement | undefined {
    const { claim } = job
    const at = attempt ?? claim.failures + claim.crashes + 1
    switch (stop._tag) {
      case "Lost":
        return undefined
      case "Shutdown":
        return { ...lease(claim), _tag: "Returned", delayMs: 0 }
      case "Cancelled": {
        const reason = { _tag: "JobCancelled", reason: stop.reason } as const
        const failure = jobFailure("JOB_CANCELLED", cancelWords(stop.reason), reason, at)
        return { ...lease(claim), _tag: "Cancelled", failure }
      }
      case "TimedOut": {
        const reason = { _tag: "JobTimedOut", timeoutMs: stop.timeoutMs } as const
        const message = `The job ran longer than its timeout of ${stop.timeoutMs} ms, and its trace was cancelled`
        const error = new JobError({ jobId: claim.id, reason, message })
        return this.#retryOrDie(job, error, jobFailure("JOB_TIMEOUT", message, reason, at))
      }
    }
  }

  #afterFailure(job: Running, error: unknown, codecs: FlowCodecs | undefined): Settlement {
    const { claim } = job
    const attempt = claim.failures + claim.crashes + 1
    const known = codecs ?? this.#runners.get(claim.flow)!.codecs
    return this.#retryOrDie(job, error, failureIn(error, known, attempt))
  }

  #retryOrDie(job: Running, error: unknown, failure: Failure): Settlement {
    const { claim } = job
    const failures = claim.failures + 1
    if (failures >= claim.maxAttempts || !this.#mayRetry(error)) return { ...lease(claim), _tag: "Dead", failure }
    const delayMs = delayOf(this.#settings.retry, failures, error)
    return delayMs === undefined
      ? { ...lease(claim), _tag: "Dead", failure }
      : { ...lease(claim), _tag: "Retry", delayMs, failure }
  }

  #mayRetry(error: unknown): boolean {
    try {
      return (this.#settings.retryWhile ?? retryable)(error)
    } catch {
      return true
    }
  }

  /** A job has ended here; its outcome is to be recorded. Without one there is nothing more to do with it. */
  #end(job: Running, settlement: Settlement | undefined): void {
    if (job.stage === "Ended") return
    if (job.stage === "Running") {
      this.#busy--
      const took = this.#clockMs() - job.startedAt
      this.#pace = this.#pace === Infinity ? took : this.#pace * 0.9 + took * 0.1
    }
    job.stage = "Ended"
    job.timer?.interruptUnsafe()
    if (settlement === undefined) {
      this.#forget(job)
      this.#pump()
      return this.#taking.ring()
    }
    this.#pending.push({ job, settlement, refusals: 0 })
    this.#settling.ring()
    this.#pump()
    this.#taking.ring()
  }

  #forget(job: Running): void {
    if (this.#jobs.get(job.claim.id) === job) this.#jobs.delete(job.claim.id)
    if (this.#jobs.size === 0) this.#emptied.ring()
  }

  // ---------------------------------------------------------------- recording

  /** One write at a time, of all outcomes that have come up meanwhile: under load they share it, else none waits. */
  get settles(): Effect.Effect<void> {
    let most = settleAtOnce
    const step = Effect.gen({ self: this }, function*() {
      if (this.#pending.length === 0) return yield* this.#settling.wait
      const batch = this.#batch(most)
      let settlements = batch.map((it) => it.settlement)
      let exit = yield* Effect.exit(this.#ask("settle", this.#store.settle(settlements)))
      if (exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause)) {
        // It may be one of them that the store can't take: by themselves, and each behind the others.
        most = 1
        const instead = batch.length === 1 ? this.#postpone(batch[0]!) : undefined
        if (instead !== undefined) {
          // Taken, it was the result that was refused; else the store refuses whatever it is, and the result waits.
          settlements = [instead]
          exit = yield* Effect.exit(this.#ask("settle", this.#store.settle(settlements)))
        }
      }
      if (exit._tag === "Failure") return yield* Effect.failCause(exit.cause)
      most = settleAtOnce
      const gone = new Set(batch)
      this.#pending.splice(0, this.#pending.length, ...this.#pending.filter((it) => !gone.has(it)))
      const refused: Array<Running> = []
      for (let i = 0; i < batch.length; i++) {
        const { job } = batch[i]!
        if (exit.value[i] === true) this.#settled(job, settlements[i]!)
        else refused.push(job)
      }
      if (refused.length > 0) yield* this.#refused(refused)
      this.#taking.ring()
    })
    return this.#forever(step, this.#settling)
  }

  /** The outcomes that have waited longest, as many as go into one write. */
  #batch(most: number): ReadonlyArray<Pending> {
    let size = 0
    let count = 0
    for (const { settlement } of this.#pending) {
      size += settlement._tag === "Done" ? settlement.results.length : 0
      if (count > 0 && size > settleSize || count >= most) break
      count++
    }
    return this.#pending.slice(0, count)
  }

  /** Puts it behind the others. Refused for long while the store answers otherwise: what to record in its place. */
  #postpone(it: Pending): Settlement | undefined {
    const at = this.#pending.indexOf(it)
    if (at < 0) return undefined
    this.#pending.splice(at, 1)
    this.#pending.push(it)
    if (this.#failures > 1 || it.settlement._tag !== "Done" || ++it.refusals < 5) return undefined
    const { claim } = it.job
    const issue = "the store refuses it"
    const message = `The job succeeded, and its result can't be stored: ${issue}`
    const attempt = claim.failures + claim.crashes + 1
    const failure = jobFailure("UNSTORABLE_RESULT", message, { _tag: "UnstorableResult", issue }, attempt)
    return { ...lease(claim), _tag: "Dead", failure }
  }

  /** Whose outcomes came too late. Whoever has such a job now is told how long it took: it may need as long. */
  #refused(jobs: ReadonlyArray<Running>): Effect.Effect<void> {
    const { lease: leaseMs } = this.#settings
    const silent = Math.max(...jobs.map((job) => this.#now() - job.renewedAt))
    for (const job of jobs) this.#lose(job)
    return silent <= leaseMs
      ? Effect.void
      : Effect.ignore(this.#ask(
        "renew",
        this.#store.renew(jobs.map((job) => lease(job.claim)), { leaseMs, stalledMs: Math.min(silent, 3 * leaseMs) })
      ))
  }

  #settled(job: Running, settlement: Settlement): void {
    const { claim } = job
    this.#forget(job)
    const base = {
      at: this.#clock.currentTimeMillisUnsafe(),
      jobId: claim.id,
      flow: claim.flow,
      tenant: claim.tenant,
      attempt: claim.failures + claim.crashes + 1,
      durationMs: Math.max(0, Math.round(this.#clockMs() - job.startedAt))
    }
    switch (settlement._tag) {
      case "Done":
        return this.#event({ ...base, _tag: "JobSucceeded" })
      case "Retry": {
        const { code, message } = settlement.failure
        return this.#event({ ...base, _tag: "JobRetried", delayMs: settlement.delayMs, code, message })
      }
      case "Dead": {
        const { code, message } = settlement.failure
        return this.#event({ ...base, _tag: "JobDied", code, message })
      }
      case "Cancelled":
        return this.#event({ ...base, _tag: "JobCancelled" })
      case "Returned":
        return this.#event({ ...base, _tag: "JobReturned", delayMs: settlement.delayMs })
    }
  }

  /** Somebody else has the job, or will: what it does here is in vain, and must end. */
  #lose(job: Running): void {
    const { claim } = job
    this.#event({
      _tag: "LeaseLost",
      at: this.#clock.currentTimeMillisUnsafe(),
      jobId: claim.id,
      flow: claim.flow,
      tenant: claim.tenant,
      attempt: claim.failures + claim.crashes + 1
    })
    if (job.stage !== "Ended") {
      job.stop = undefined
      this.#stop(job, { _tag: "Lost" })
    } else {
      job.stage = "Ended"
      const at = this.#pending.findIndex((it) => it.job === job)
      if (at >= 0) this.#pending.splice(at, 1)
      this.#forget(job)
      this.#taking.ring()
    }
  }

  // ---------------------------------------------------------------- leases

  get renews(): Effect.Effect<void> {
    const { lease: leaseMs } = this.#settings
    const every = Math.max(10, Math.min(leaseMs / 3, 2000))
    let last = -Infinity
    const step = Effect.gen({ self: this }, function*() {
      if (this.#jobs.size === 0) {
        last = -Infinity
        return yield* this.#renewing.wait
      }
      // Rung by the first job after none, whose lease is fresh, or by a cancel, which is asked about at once.
      if (!this.#cancelAsked && (yield* this.#renewing.waitFor(every)) && !this.#cancelAsked) return
      this.#cancelAsked = false
      const now = this.#now()
      const gap = last === -Infinity ? 0 : now - last
      last = now
      const jobs = [...this.#jobs.values()]
      if (jobs.length === 0) return
      const stalledMs = gap > leaseMs ? Math.min(gap, 3 * leaseMs) : 0
      // An answer that comes when a lease has ended is of no use; one that is over already is asked about all the same.
      const left = Math.min(...jobs.map((job) => job.stage === "Ended" ? Infinity : job.renewedAt + leaseMs - now))
      const bound = Math.min(this.#settings.queryTimeout, leaseMs / 3, left > 0 ? Math.max(20, left) : Infinity)
      const exit = yield* Effect.exit(
        this.#ask("renew", this.#store.renew(jobs.map((job) => lease(job.claim)), { leaseMs, stalledMs }), bound)
      )
      if (exit._tag === "Failure") {
        if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
        const late = this.#now()
        // Nobody says that the leases still hold: by now somebody else may have the jobs.
        for (const job of this.#jobs.values()) {
          if (job.stage !== "Ended" && job.stop === undefined && late - job.renewedAt >= leaseMs * 0.98) this.#lose(job)
        }
        this.#cancelAsked = true
        return yield* Effect.sleep(Duration.millis(Math.max(10, Math.min(every, 250, left - (late - now)))))
      }
      const lost = new Set(exit.value.lost.map(keyOf))
      const cancelled = new Map(exit.value.cancelled.map((it) => [keyOf(it), it.reason]))
      for (const job of jobs) {
        const key = keyOf(job.claim)
        if (lost.has(key)) {
          if (this.#jobs.get(job.claim.id) === job && job.stop?._tag !== "Lost" && job.stage !== "Ended") {
            this.#lose(job)
          }
          continue
        }
        job.renewedAt = now
        if (cancelled.has(key)) this.#stop(job, { _tag: "Cancelled", reason: cancelled.get(key) })
      }
    })
    return this.#forever(step, this.#renewing)
  }

  // ---------------------------------------------------------------- the end

  shutdown(grace: number): Effect.Effect<Drained> {
    return Effect.suspend(() => {
      this.#shutdown ??= Effect.runForkWith(this.#context)(this.#drain(grace))
      return Fiber.join(this.#shutdown)
    })
  }

  #drain(grace: number): Effect.Effect<Drained> {
    return Effect.gen({ self: this }, function*() {
      this.#phase = "Draining"
      this.#taking.ring()
      const open = [...this.#jobs.keys()]
      for (const job of this.#jobs.values()) {
        if (job.stage === "Held" || job.stage === "Waiting") this.#stop(job, { _tag: "Shutdown" })
      }
      yield* this.#emptyWithin(grace)
      const returned: Array<string> = []
      for (const job of this.#jobs.values()) {
        if (job.stage !== "Running") continue
        returned.push(job.claim.id)
        this.#stop(job, { _tag: "Shutdown" })
      }
      if (this.#jobs.size > 0) yield* this.#emptyWithin(interruptWithin)
      if (this.#pending.length > 0) yield* this.#emptyWithin(recordWithin)
      this.#phase = "Stopped"
      const abandoned = [...this.#jobs.keys()]
      return {
        drained: open.filter((id) => !returned.includes(id) && !abandoned.includes(id)).length,
        returned: returned.filter((id) => !abandoned.includes(id)),
        abandoned
      }
    })
  }

  #emptyWithin(ms: number): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      const until = this.#now() + ms
      while (this.#jobs.size > 0) {
        const left = until - this.#now()
        if (left <= 0) return
        yield* this.#emptied.waitFor(left)
      }
    })
  }
}

const lease = ({ id, token }: Claim): Lease => ({ id, token })

const keyOf = ({ id, token }: Lease): string => `${token} ${id}`

const traceIdOf = (claim: Claim): string => `job-${claim.id}`

/** Of the first job of each tenant, the tenant that comes last in order: the next claim begins after it. */
const lastTenant = (claims: ReadonlyArray<Claim>, after: string): string => {
  let last = after
  for (const { tenant } of claims) if (tenant > last) last = tenant
  return last
}

/** Whether another try may end differently: not where the error says that it will not, nor where the input is wrong. */
const retryable = (error: unknown): boolean => {
  if (error instanceof FlowError) {
    return !["INVALID_INPUT", "INVALID_OUTPUT", "INVALID_META"].includes(error.code)
  }
  if (typeof error !== "object" || error === null) return true
  return Reflect.get(error, "retryable") !== false && Reflect.get(error, "isRetryable") !== false
}

/**
 * What a schedule says to the `failures`th failure, in milliseconds; undefined where it has ended. A schedule's state
 * can't be stored, so it is asked again for each failure so far, as if they had followed each other at its own pace.
 */
const delayOf = (
  schedule: Schedule.Schedule<unknown, unknown>,
  failures: number,
  error: unknown
): number | undefined => {
  const ask = Effect.gen(function*() {
    const step = yield* Schedule.toStep(schedule)
    let now = 0
    let delay = 0
    for (let i = 0; i < failures; i++) {
      const [, duration] = yield* step(now, error)
      delay = Duration.toMillis(duration)
      now += delay
    }
    return delay
  })
  const exit = Effect.runSyncExit(ask)
  if (exit._tag === "Success") return Number.isFinite(exit.value) ? Math.max(0, Math.round(exit.value)) : undefined
  return Pull.isDoneCause(exit.cause) ? undefined : 1000
}
