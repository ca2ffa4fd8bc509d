/**
 * What a worker holds: its jobs, each with the stage it is in, and the bells of its loops.
 *
 * A job is in `jobs` from its claim until its outcome is recorded or its lease is known to be lost. All rooms of a worker
 * work on one such state, in one process and in steps that nothing interrupts.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Schedule from "effect/Schedule"
import type { FlowRuntime } from "../../../FlowRuntime.ts"
import type { Claim, JobStore, Lease, Settlement } from "../../../JobStore.ts"
import type { WorkerEvent } from "../../../WorkerEvent.ts"
import type { FlowCodecs } from "../../schemas.ts"
import { Signal } from "../signal.ts"
import { Asking } from "./asking.ts"

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

/** Why a job is to end before its flow does. */
export type Stop =
  | { readonly _tag: "TimedOut"; readonly timeoutMs: number }
  | { readonly _tag: "Cancelled"; readonly reason: string | undefined }
  | { readonly _tag: "Lost" }
  | { readonly _tag: "Shutdown" }

/**
 * `Waiting`: claimed ahead, for the next free place. `Held`: claimed to run alone, waits for all others to end.
 * `Ended`: its outcome waits to be recorded.
 */
export type Stage = "Waiting" | "Held" | "Running" | "Ended"

/** A job that is this worker's. */
export interface Running {
  readonly claim: Claim
  stage: Stage
  stop: Stop | undefined
  /** Monotonic milliseconds: when the last successful renewal was asked for. */
  renewedAt: number
  /** Monotonic milliseconds: when it was claimed, and once it runs when it began. */
  startedAt: number
  timer: Fiber.Fiber<unknown, unknown> | undefined
}

/** An outcome to be recorded. */
export interface Pending {
  readonly job: Running
  readonly settlement: Settlement
  /** How often the store would not take it alone. */
  refusals: number
}

type OfJob = Omit<Extract<WorkerEvent, { readonly _tag: "LeaseLost" }>, "_tag">

export type Phase = "Running" | "Draining" | "Stopped"

export class WorkerState {
  readonly store: JobStore
  readonly runners: ReadonlyMap<string, Runner>
  readonly flows: ReadonlyArray<string>
  readonly settings: Settings
  readonly context: Context.Context<never>
  readonly clock: Clock.Clock
  readonly publish: (event: WorkerEvent) => void
  /** Whether somebody reads events: of jobs that go well none is made for nobody. */
  readonly heard: () => boolean
  readonly asking: Asking
  phase: Phase = "Running"
  readonly jobs: Map<string, Running> = new Map()
  readonly pending: Array<Pending> = []
  /** Claimed, and not begun. */
  readonly ahead: Array<Running> = []
  /** How many are in stage `Running`. */
  busy = 0
  pumping = false
  /** Milliseconds that jobs take, of late. */
  pace: number = Infinity
  /** Monotonic milliseconds: when the last job began, or ended. */
  movedAt: number = -Infinity
  /** Tenants that are over their rate, and until when. */
  readonly limited: Map<string, number> = new Map()
  /** Whether jobs may wait in the queue that could be claimed: what ended here alone is no reason to ask. */
  mayWait = true
  /** Whether a claim has failed whose answer may have been lost. */
  lostClaim = false
  /** A claim is under way: what it gives is this worker's, whatever happens meanwhile. */
  claiming = false
  /** Places that are kept for jobs that are being stored. */
  promised = 0
  cancelAsked = false
  readonly taking: Signal = new Signal()
  readonly renewing: Signal = new Signal()
  readonly settling: Signal = new Signal()
  readonly emptied: Signal = new Signal()

  constructor(
    store: JobStore,
    runners: ReadonlyMap<string, Runner>,
    settings: Settings,
    context: Context.Context<never>,
    publish: (event: WorkerEvent) => void,
    heard: () => boolean
  ) {
    this.store = store
    this.runners = runners
    this.flows = [...runners.keys()]
    this.settings = settings
    this.context = context
    this.clock = Context.get(context, Clock.Clock)
    this.publish = publish
    this.heard = heard
    this.asking = new Asking(settings, store.endsWithin ?? Infinity, this.clock, publish)
  }

  /** Monotonic milliseconds: a wall clock may be set. */
  now(): number {
    return Number(this.clock.monotonicTimeNanosUnsafe() / 1_000_000n)
  }

  /** The same, and parts of them. */
  nowExactly(): number {
    return Number(this.clock.monotonicTimeNanosUnsafe()) / 1_000_000
  }

  /** What every event of a job tells. */
  about(claim: Claim): OfJob {
    return {
      at: this.clock.currentTimeMillisUnsafe(),
      jobId: claim.id,
      flow: claim.flow,
      tenant: claim.tenant,
      attempt: attemptOf(claim)
    }
  }

  forget(job: Running): void {
    if (this.jobs.get(job.claim.id) === job) this.jobs.delete(job.claim.id)
    if (this.jobs.size === 0) this.emptied.ring()
  }
}

export const leaseOf = ({ id, token }: Claim): Lease => ({ id, token })

/** Which try of the job this is, from 1. */
export const attemptOf = ({ crashes, failures }: Claim): number => failures + crashes + 1
