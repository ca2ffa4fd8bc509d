/** Keeping leases: they are renewed while a job is here, and a job whose lease is lost is stopped. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Lease } from "../../../JobStore.ts"
import { forever } from "./asking.ts"
import { stop } from "./running.ts"
import { leaseOf, type Running, type WorkerState } from "./state.ts"

/** The loop that renews, and hears of jobs that are lost or to be cancelled. */
export const renewing = (worker: WorkerState): Effect.Effect<void> => {
  const { lease: leaseMs, queryTimeout } = worker.settings
  const every = Math.max(10, Math.min(leaseMs / 3, 2000))
  let last = -Infinity
  const step = Effect.gen(function*() {
    if (worker.jobs.size === 0) {
      last = -Infinity
      return yield* worker.renewing.wait
    }
    // Rung by the first job after none, whose lease is fresh, or by a cancel, which is asked about at once.
    if (!worker.cancelAsked && (yield* worker.renewing.waitFor(every)) && !worker.cancelAsked) return
    worker.cancelAsked = false
    const now = worker.now()
    const gap = last === -Infinity ? 0 : now - last
    last = now
    const jobs = [...worker.jobs.values()]
    if (jobs.length === 0) return
    const stalledMs = gap > leaseMs ? Math.min(gap, 3 * leaseMs) : 0
    // An answer that comes when a lease has ended is of no use; one that is over already is asked about all the same.
    const left = Math.min(...jobs.map((job) => job.stage === "Ended" ? Infinity : job.renewedAt + leaseMs - now))
    const bound = Math.min(queryTimeout, leaseMs / 3, left > 0 ? Math.max(20, left) : Infinity)
    const renew = worker.store.renew(jobs.map((job) => leaseOf(job.claim)), { leaseMs, stalledMs })
    const exit = yield* Effect.exit(worker.asking.ask("renew", renew, bound))
    if (exit._tag === "Failure") {
      if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
      const late = worker.now()
      // Nobody says that the leases still hold: by now somebody else may have the jobs.
      for (const job of worker.jobs.values()) {
        if (job.stage !== "Ended" && job.stop === undefined && late - job.renewedAt >= leaseMs * 0.98) lose(worker, job)
      }
      worker.cancelAsked = true
      return yield* Effect.sleep(Duration.millis(Math.max(10, Math.min(every, 250, left - (late - now)))))
    }
    const lost = new Set(exit.value.lost.map(keyOf))
    const cancelled = new Map(exit.value.cancelled.map((it) => [keyOf(it), it.reason]))
    for (const job of jobs) {
      const key = keyOf(job.claim)
      if (lost.has(key)) {
        if (worker.jobs.get(job.claim.id) === job && job.stop?._tag !== "Lost" && job.stage !== "Ended") {
          lose(worker, job)
        }
        continue
      }
      job.renewedAt = now
      if (cancelled.has(key)) stop(worker, job, { _tag: "Cancelled", reason: cancelled.get(key) })
    }
  })
  return forever(worker, step, worker.renewing)
}

/** Somebody else has the job, or will: what it does here is in vain, and must end. */
export const lose = (worker: WorkerState, job: Running): void => {
  worker.publish({ _tag: "LeaseLost", ...worker.about(job.claim) })
  if (job.stage !== "Ended") {
    job.stop = undefined
    return stop(worker, job, { _tag: "Lost" })
  }
  const at = worker.pending.findIndex((it) => it.job === job)
  if (at >= 0) worker.pending.splice(at, 1)
  worker.forget(job)
  worker.taking.ring()
}

/** Whose outcomes came too late. Whoever has such a job now is told how long it took: it may need as long. */
export const loseAll = (worker: WorkerState, jobs: ReadonlyArray<Running>): Effect.Effect<void> => {
  const { lease: leaseMs } = worker.settings
  const silent = Math.max(...jobs.map((job) => worker.now() - job.renewedAt))
  for (const job of jobs) lose(worker, job)
  if (silent <= leaseMs) return Effect.void
  const stalledMs = Math.min(silent, 3 * leaseMs)
  const renew = worker.store.renew(jobs.map((job) => leaseOf(job.claim)), { leaseMs, stalledMs })
  return Effect.ignore(worker.asking.ask("renew", renew))
}

// ----------------------------------------------------------------------------------------------------------- internals

const keyOf = ({ id, token }: Lease): string => `${token} ${id}`
