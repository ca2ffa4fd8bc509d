/** Receiving jobs: a worker with a free place gets what is enqueued in its process with the write that stores it. */
import * as Effect from "effect/Effect"
import type { Claim, NewJob } from "../../../JobStore.ts"
import type { Receiver, Whose } from "../handing.ts"
import { pump, stop } from "./running.ts"
import { leaseOf, type WorkerState } from "./state.ts"
import { placesFree, take } from "./taking.ts"

export const receiving = (worker: WorkerState): Receiver => {
  const { id, lease, queryTimeout } = worker.settings
  const told = (job: NewJob, asked: number, whose: Whose) => {
    worker.promised--
    // An answer that took as long as a lease may is of no use: the job goes back.
    if (whose === "its own") receive(worker, claimOf(job), asked, worker.now() - asked > queryTimeout)
    else if (whose === "unknown" && !worker.jobs.has(job.id)) worker.lostClaim = true
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
  return {
    taker: { workerId: id, leaseMs: lease },
    keepPlace: (job) => {
      if (!hasPlace(worker) || !worker.runners.has(job.flow) || worker.limited.has(job.tenant)) return undefined
      worker.promised++
      const asked = worker.now()
      return (whose) => told(job, asked, whose)
    }
  }
}

// ----------------------------------------------------------------------------------------------------------- internals

/** Nobody is overtaken that it knows of; of others it hears with the next sweep. */
const hasPlace = (worker: WorkerState): boolean =>
  worker.phase === "Running" && worker.asking.available && !worker.mayWait && !worker.claiming && !worker.lostClaim &&
  worker.settings.tenantConcurrency === undefined &&
  worker.busy + worker.promised + worker.ahead.length < worker.settings.concurrency && placesFree(worker) > 0

/** A new job's first claim. */
const claimOf = (job: NewJob): Claim => ({
  ...job,
  token: 1,
  failures: 0,
  crashes: 0,
  waitedMs: 0,
  alone: false
})

const receive = (worker: WorkerState, claim: Claim, asked: number, late: boolean): void => {
  if (worker.phase === "Stopped") {
    const back = worker.store.settle([{ ...leaseOf(claim), _tag: "Returned", delayMs: 0 }])
    return void Effect.runForkWith(worker.context)(Effect.ignore(worker.asking.ask("settle", back)))
  }
  const job = take(worker, claim, asked, worker.nowExactly())
  if (late) stop(worker, job, { _tag: "Shutdown" })
}
