/** Running jobs: each that was claimed begins where there is a place, runs as a trace, and ends once. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Claim, Settlement } from "../../../JobStore.ts"
import type { Meta } from "../../../Trace.ts"
import { spanIn } from "../../traceparent.ts"
import { jsonOf } from "../outcome.ts"
import { afterFailure, afterStop, settlementOf, undecodable } from "./judging.ts"
import { attemptOf, leaseOf, type Runner, type Running, type Stop, type WorkerState } from "./state.ts"

/** Begins what was claimed, while there are places. A loop, so that jobs that end at once do not nest. */
export const pump = (worker: WorkerState): void => {
  if (worker.pumping) return
  worker.pumping = true
  while (worker.busy < worker.settings.concurrency && worker.ahead.length > 0) {
    const job = worker.ahead.shift()!
    if (job.stage === "Waiting") begin(worker, job)
  }
  worker.pumping = false
}

export const begin = (worker: WorkerState, job: Running): void => {
  job.stage = "Running"
  const claimedAt = job.startedAt
  job.startedAt = worker.nowExactly()
  worker.movedAt = job.startedAt
  // By the store's clock until the claim, by this process's since then.
  const waitedMs = job.claim.waitedMs + Math.max(0, Math.round(job.startedAt - claimedAt))
  worker.busy++
  const runner = worker.runners.get(job.claim.flow)!
  Effect.runForkWith(worker.context)(Effect.catchCause(
    run(worker, job, runner, waitedMs),
    (cause) => Effect.sync(() => end(worker, job, afterFailure(job.claim, cause, runner.codecs, worker.settings)))
  ))
}

/** Asks a job to stop: its trace is cancelled, and says so when its finalizers have run. */
export const stop = (worker: WorkerState, job: Running, why: Stop): void => {
  if (job.stop !== undefined || job.stage === "Ended") return
  job.stop = why
  if (job.stage !== "Running") return end(worker, job, afterStop(job.claim, why, worker.settings))
  const { runtime } = worker.runners.get(job.claim.flow)!
  Effect.runForkWith(worker.context)(runtime.cancel(traceIdOf(job.claim), wordOf(why)))
}

// ----------------------------------------------------------------------------------------------------------- internals

const traceIdOf = (claim: Claim): string => `job-${claim.id}`

const wordOf = (why: Stop): string => {
  switch (why._tag) {
    case "TimedOut":
      return "JOB_TIMEOUT"
    case "Lost":
      return "LEASE_LOST"
    case "Shutdown":
      return "WORKER_SHUTDOWN"
    case "Cancelled":
      return why.reason ?? "JOB_CANCELLED"
  }
}

const run = (worker: WorkerState, job: Running, runner: Runner, waitedMs: number): Effect.Effect<void> =>
  Effect.gen(function*() {
    const { claim } = job
    const { settings } = worker
    if (settings.admit !== undefined) {
      const waitMs = yield* settings.admit(claim)
      if (waitMs > 0) {
        worker.limited.set(claim.tenant, worker.now() + waitMs)
        return end(worker, job, { ...leaseOf(claim), _tag: "Returned", delayMs: waitMs })
      }
    }
    const input = runner.codecs.decodeInput(jsonOf(claim.payload))
    if (input._tag === "Failure") {
      const reason = input.cause.reasons[0]
      return end(worker, job, undecodable(claim, reason?._tag === "Fail" ? reason.error : "it can't be decoded"))
    }
    const meta = claim.meta === "{}" ? undefined : jsonOf(claim.meta) as Meta | undefined
    if (worker.heard()) worker.publish({ _tag: "JobStarted", ...worker.about(claim), waitedMs })
    const caller = spanIn(meta?.["traceparent"])
    const running = runner.runtime.runAll(input.value, {
      traceId: traceIdOf(claim),
      headers: {
        tenant: claim.tenant,
        priority: claim.priority,
        ...(claim.topic === undefined ? undefined : { topic: claim.topic })
      },
      meta: {
        ...meta,
        jobId: claim.id,
        workerId: settings.id,
        attempt: attemptOf(claim)
      }
    })
    const timeoutMs = claim.timeoutMs ?? settings.jobTimeout
    if (timeoutMs < Infinity) {
      job.timer = Effect.runForkWith(worker.context)(
        Effect.andThen(
          Effect.sleep(Duration.millis(timeoutMs)),
          Effect.sync(() => stop(worker, job, { _tag: "TimedOut", timeoutMs }))
        )
      )
    }
    const exit = yield* Effect.exit(caller === undefined ? running : Effect.withParentSpan(running, caller))
    end(worker, job, settlementOf(job, exit, runner.codecs, settings))
  })

/** A job has ended here; its outcome is to be recorded. Without one there is nothing more to do with it. */
const end = (worker: WorkerState, job: Running, settlement: Settlement | undefined): void => {
  if (job.stage === "Ended") return
  if (job.stage === "Running") {
    worker.busy--
    worker.movedAt = worker.nowExactly()
    const took = worker.movedAt - job.startedAt
    worker.pace = worker.pace === Infinity ? took : worker.pace * 0.9 + took * 0.1
  }
  job.stage = "Ended"
  job.timer?.interruptUnsafe()
  if (settlement === undefined) worker.forget(job)
  else {
    worker.pending.push({ job, settlement, refusals: 0 })
    worker.settling.ring()
  }
  pump(worker)
  worker.taking.ring()
}
