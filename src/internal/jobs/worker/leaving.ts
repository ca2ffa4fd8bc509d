/** Shutting down: those that run have their grace, the rest is interrupted and given back, and none of it takes for ever. */
import * as Effect from "effect/Effect"
import { stop } from "./running.ts"
import type { WorkerState } from "./state.ts"

/** What a worker did in its shutdown. */
export interface Drained {
  readonly drained: number
  readonly returned: ReadonlyArray<string>
  readonly abandoned: ReadonlyArray<string>
}

/** A shutdown ends within its grace and two seconds: what the steps after the grace may take of them. */
const interruptWithin = 1000
const recordWithin = 600

export const drain = (worker: WorkerState, grace: number): Effect.Effect<Drained> =>
  Effect.gen(function*() {
    worker.phase = "Draining"
    worker.taking.ring()
    const open = [...worker.jobs.keys()]
    for (const job of worker.jobs.values()) {
      if (job.stage === "Held" || job.stage === "Waiting") stop(worker, job, { _tag: "Shutdown" })
    }
    yield* emptyWithin(worker, grace)
    const returned: Array<string> = []
    for (const job of worker.jobs.values()) {
      if (job.stage !== "Running") continue
      returned.push(job.claim.id)
      stop(worker, job, { _tag: "Shutdown" })
    }
    // What is under way, a claim or a job that is being stored, may still bring jobs, which go back as well.
    if (worker.jobs.size > 0 || mayCome(worker)) yield* emptyWithin(worker, interruptWithin, true)
    if (worker.pending.length > 0) yield* emptyWithin(worker, recordWithin)
    worker.phase = "Stopped"
    const abandoned = [...worker.jobs.keys()]
    return {
      drained: open.filter((id) => !returned.includes(id) && !abandoned.includes(id)).length,
      returned: returned.filter((id) => !abandoned.includes(id)),
      abandoned
    }
  })

/** Whether jobs may be this worker's by now of which it does not know yet. */
export const mayCome = (worker: WorkerState): boolean => worker.claiming || worker.promised > 0

// ----------------------------------------------------------------------------------------------------------- internals

const emptyWithin = (worker: WorkerState, ms: number, claimed = false): Effect.Effect<void> =>
  Effect.gen(function*() {
    const until = worker.now() + ms
    while (worker.jobs.size > 0 || claimed && mayCome(worker)) {
      const left = until - worker.now()
      if (left <= 0) return
      yield* worker.emptied.waitFor(left)
    }
  })
