/** Receiving jobs: an idle worker gets what is enqueued in its process with the write that stores it. */
import * as Effect from "effect/Effect"
import type { Claim, NewJob } from "../../../JobStore.ts"
import type { Idle } from "../handing.ts"
import { pump } from "./running.ts"
import { leaseOf, type WorkerState } from "./state.ts"
import { placesFree, take } from "./taking.ts"

export const receiving = (worker: WorkerState): Idle => {
  const { id, lease, queryTimeout } = worker.settings
  const asked = new Map<NewJob, number>()
  return {
    taker: { workerId: id, leaseMs: lease },
    wants: (job) => {
      if (!isIdle(worker) || !worker.runners.has(job.flow) || worker.limited.has(job.tenant)) return false
      worker.promised++
      asked.set(job, worker.now())
      return true
    },
    answered: (job, whose) => {
      const since = asked.get(job) ?? -Infinity
      asked.delete(job)
      worker.promised--
      const late = worker.now() - since > queryTimeout
      if (whose === "its own" && !late) receive(worker, claimOf(job), since)
      else if (whose !== "not its own") worker.lostClaim = true
      worker.emptied.ring()
      // A bell wakes who waits in the same step: whoever enqueued goes on first.
      Effect.runForkWith(worker.context)(Effect.andThen(
        Effect.yieldNow,
        Effect.sync(() => {
          pump(worker)
          worker.taking.ring()
        })
      ))
    }
  }
}

// ----------------------------------------------------------------------------------------------------------- internals

/** It has a place, the store answers, and no job is known to wait for a place: nobody is overtaken. */
const isIdle = (worker: WorkerState): boolean =>
  worker.phase === "Running" && worker.asking.available && !worker.mayWait && !worker.claiming && !worker.lostClaim &&
  worker.settings.tenantConcurrency === undefined && worker.ahead.length === 0 &&
  worker.busy + worker.promised < worker.settings.concurrency && placesFree(worker) > 0

/** A new job's first claim. */
const claimOf = (job: NewJob): Claim => ({
  ...job,
  token: 1,
  failures: 0,
  crashes: 0,
  waitedMs: 0,
  alone: false
})

const receive = (worker: WorkerState, claim: Claim, asked: number): void => {
  if (worker.phase === "Stopped") {
    const back = worker.store.settle([{ ...leaseOf(claim), _tag: "Returned", delayMs: 0 }])
    return void Effect.runForkWith(worker.context)(Effect.ignore(worker.asking.ask("settle", back)))
  }
  take(worker, claim, asked, worker.nowExactly())
}
