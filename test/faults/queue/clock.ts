/** What becomes of jobs while the clock that their queue goes by is set ten minutes forward, and back again. */
import type { Layer } from "effect"
import { Effect } from "effect"
import type * as JobQueue from "penguiflow/JobQueue"
import { ask, newJob } from "../../utils/jobs.ts"
import { eventually, pause } from "../../utils/servers/process.ts"
import { overlaps, startsOf, tasks, watched } from "./kit.ts"

const minutes = 10

export interface Seen {
  /** Milliseconds until something began, or was there again for others. */
  readonly lateness: Readonly<Record<string, number>>
  readonly starts: ReadonlyArray<number>
  readonly overlaps: ReadonlyArray<string>
  readonly lost: number
  readonly lines: ReadonlyArray<string>
}

/** `set` sets the clock so many seconds ahead of the true one. Two workers, each with a queue and a place of its own. */
export const setForwardAndBack = (
  queue: () => Layer.Layer<JobQueue.JobQueue>,
  set: (seconds: number) => Effect.Effect<void>
): Effect.Effect<Seen, unknown> =>
  Effect.scoped(Effect.gen(function*() {
    const { flow, runs } = tasks()
    const options = { concurrency: 4, lease: "2 seconds", pollInterval: "300 millis" } as const
    const workers = [yield* watched(queue(), flow, options), yield* watched(queue(), flow, options)]
    const jobs = workers[0]!.queue
    /** A worker that takes one job of ours, and is never heard of again. */
    const ghost = (id: string) =>
      Effect.gen(function*() {
        const { store } = jobs
        const payload = JSON.stringify({ only: { ms: 0 } })
        yield* store.enqueue([newJob(id, { flow: "other", payload })], { maxLength: 100 })
        yield* store.claim(ask({ workerId: id, flows: ["other"], leaseMs: 2000 }))
      })
    const startedAt = (id: string) => runs.find((run) => run.job === id)?.at
    const lateness: Record<string, number> = {}
    const around = Effect.fnUntraced(function*(name: string, seconds: number) {
      const long = Array.from({ length: 4 }, (_, i) => ({ id: `${name}-long-${i}`, input: { ms: 7000 } }))
      yield* jobs.enqueueMany(flow, long)
      yield* eventually(Effect.sync(() => long.every(({ id }) => startedAt(id) !== undefined)))
      yield* ghost(`${name}-ghost`)
      yield* jobs.enqueue(flow, { ms: 0 }, { id: `${name}-delayed`, delay: "3 seconds" })
      const delayedFrom = performance.now()
      yield* pause(500)
      yield* set(seconds)
      const from = performance.now()
      yield* jobs.enqueue(flow, { ms: 0 }, { id: `${name}-new` })
      yield* eventually(Effect.sync(() => startedAt(`${name}-new`) !== undefined))
      const back = Effect.map(
        jobs.store.list({ ids: [`${name}-ghost`], limit: 1 }),
        ([row]) => row?.state !== "running"
      )
      lateness[`${name}: a silent worker's job`] = (yield* eventually(back, 20_000))
        ? performance.now() - from
        : Infinity
      const all = Effect.sync(() => runs.filter(({ ended }) => ended !== undefined).length >= startsOf(runs).size)
      yield* eventually(all)
      yield* eventually(Effect.sync(() => startedAt(`${name}-delayed`) !== undefined))
      lateness[`${name}: a new job`] = (startedAt(`${name}-new`) ?? Infinity) - from
      lateness[`${name}: a delayed job`] = (startedAt(`${name}-delayed`) ?? Infinity) - delayedFrom
    })
    yield* around("forward", minutes * 60)
    yield* around("back", 0)
    const events = workers.flatMap((worker) => worker.events)
    return {
      lateness,
      starts: [...startsOf(runs).values()],
      overlaps: overlaps(runs),
      lost: events.filter(({ _tag }) => _tag === "LeaseLost").length,
      lines: workers.flatMap((worker) => worker.lines.map(({ text }) => text))
    }
  }))
