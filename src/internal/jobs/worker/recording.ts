/** Recording outcomes: one write at a time, of all that have come up meanwhile. Under load they share it, else none waits. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { isJobError } from "../../../JobError.ts"
import type { Settlement } from "../../../JobStore.ts"
import { errorOf } from "../outcome.ts"
import { forever } from "./asking.ts"
import { unstorable } from "./judging.ts"
import { loseAll } from "./leasing.ts"
import type { Pending, Running, WorkerState } from "./state.ts"

/** Outcomes in one write, and characters of results. */
const atOnce = 500
const sizeAtOnce = 4 * 1024 * 1024

/** The loop that records. */
export const recording = (worker: WorkerState): Effect.Effect<void> => {
  const { asking, pending, store } = worker
  const record = (settlements: ReadonlyArray<Settlement>) =>
    Effect.exit(asking.ask("settle", store.settle(settlements)))
  let most = atOnce
  const step = Effect.gen(function*() {
    if (pending.length === 0) {
      yield* worker.settling.wait
      // Jobs that end in the same moment share a write.
      return yield* Effect.yieldNow
    }
    const batch = pending.slice(0, fitting(pending, most))
    let settlements = batch.map((it) => it.settlement)
    let exit = yield* record(settlements)
    if (exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause)) {
      // It may be one of them that the store can't take: by themselves, and each behind the others.
      most = 1
      const instead = batch.length === 1 ? postpone(worker, batch[0]!, errorOf(exit.cause)) : undefined
      if (instead !== undefined) {
        // Taken, it was the result that was refused; else the result waits.
        settlements = [instead]
        exit = yield* record(settlements)
      }
    }
    if (exit._tag === "Failure") return yield* Effect.failCause(exit.cause)
    most = atOnce
    const gone = new Set(batch)
    pending.splice(0, pending.length, ...pending.filter((it) => !gone.has(it)))
    const refused: Array<Running> = []
    const now = worker.nowExactly()
    for (let i = 0; i < batch.length; i++) {
      const { job } = batch[i]!
      if (exit.value[i] === true) recorded(worker, job, settlements[i]!, now)
      else refused.push(job)
    }
    if (refused.length > 0) yield* loseAll(worker, refused)
    // What goes back may be claimed again, and so may the next of a tenant that had as many as it may.
    worker.mayWait ||= worker.settings.tenantConcurrency !== undefined || settlements.some(goesBack)
    worker.taking.ring()
  })
  return forever(worker, step, worker.settling)
}

// ----------------------------------------------------------------------------------------------------------- internals

const goesBack = ({ _tag }: Settlement): boolean => _tag === "Returned" || _tag === "Retry"

/** How many of the outcomes that have waited longest go into one write. */
const fitting = (pending: ReadonlyArray<Pending>, most: number): number => {
  let size = 0
  let count = 0
  for (const { settlement } of pending) {
    size += settlement._tag === "Done" ? settlement.results.length : 0
    if (count > 0 && size > sizeAtOnce || count >= most) break
    count++
  }
  return count
}

/** Puts it behind the others. Refused again and again for what it is: what to record in its place. */
const postpone = ({ pending }: WorkerState, it: Pending, error: unknown): Settlement | undefined => {
  const at = pending.indexOf(it)
  if (at < 0) return undefined
  pending.splice(at, 1)
  pending.push(it)
  // A disk that is full takes small outcomes and refuses large ones: a result is worth waiting for its room.
  const refused = isJobError(error) && error.reason._tag === "QueueUnavailable" && error.reason.refused === true
  if (!refused || it.settlement._tag !== "Done" || ++it.refusals < 5) return undefined
  return unstorable(it.job.claim, "the store refuses it")
}

const recorded = (worker: WorkerState, job: Running, settlement: Settlement, now: number): void => {
  // In this order: with the last job a worker that shuts down may end at once, and its events with it.
  if (worker.heard()) tell(worker, job, settlement, now)
  worker.forget(job)
}

const tell = (worker: WorkerState, job: Running, settlement: Settlement, now: number): void => {
  const base = {
    ...worker.about(job.claim),
    durationMs: Math.max(0, Math.round(now - job.startedAt))
  }
  switch (settlement._tag) {
    case "Done":
      return worker.publish({ ...base, _tag: "JobSucceeded" })
    case "Retry": {
      const { code, message } = settlement.failure
      return worker.publish({ ...base, _tag: "JobRetried", delayMs: settlement.delayMs, code, message })
    }
    case "Dead": {
      const { code, message } = settlement.failure
      return worker.publish({ ...base, _tag: "JobDied", code, message })
    }
    case "Cancelled":
      return worker.publish({ ...base, _tag: "JobCancelled" })
    case "Returned":
      return worker.publish({ ...base, _tag: "JobReturned", delayMs: settlement.delayMs })
  }
}
