/** A worker in this process whose log, events and runs are looked at while something is done to its queue's server. */
import { assert } from "@effect/vitest"
import type { Redacted } from "effect"
import { Context, Effect, Layer, Logger, Schema, type Scope, Stream } from "effect"
import type { SqlClient } from "effect/sql"
import { Flow, Node } from "penguiflow"
import type { JobError } from "penguiflow/JobError"
import * as JobQueue from "penguiflow/JobQueue"
import * as JobQueueSql from "penguiflow/layers/JobQueueSql"
import * as Postgres from "penguiflow/layers/Postgres"
import * as Worker from "penguiflow/Worker"
import { pause } from "../../utils/servers/process.ts"

/** Takes `ms` milliseconds and gives `bytes` letters. */
export const Task = Schema.Struct({ ms: Schema.Number, bytes: Schema.optionalKey(Schema.Number) })

export interface Run {
  readonly job: string
  readonly worker: string
  readonly at: number
  ended: number | undefined
}

/** A flow, and what of it has run in this process. */
export const tasks = () => {
  const runs: Array<Run> = []
  const only = Node.make("only", {
    input: Task,
    output: Schema.String,
    run: ({ bytes, ms }, { meta }) =>
      Effect.suspend(() => {
        const run: Run = {
          job: String(meta["jobId"]),
          worker: String(meta["workerId"]),
          at: performance.now(),
          ended: undefined
        }
        runs.push(run)
        return Effect.ensuring(
          Effect.as(Effect.sleep(ms), text(bytes ?? 1)),
          Effect.sync(() => run.ended = performance.now())
        )
      })
  })
  return { flow: Flow.make("tasks", [only.to()]), runs }
}

/** Letters that a database can't make much smaller. */
const text = (bytes: number): string => {
  let letters = ""
  while (letters.length < bytes) letters += Math.random().toString(36).slice(2)
  return letters.slice(0, bytes)
}

export interface Watched {
  readonly queue: JobQueue.Service
  readonly worker: Worker.Service
  readonly events: Array<Worker.WorkerEvent & { readonly seen: number }>
  readonly lines: Array<{ readonly at: number; readonly text: string }>
}

/** A worker on a queue, with what it says. */
export const watched = <E>(
  queue: Layer.Layer<JobQueue.JobQueue, E>,
  flow: ReturnType<typeof tasks>["flow"],
  options: Worker.Options
): Effect.Effect<Watched, never, Scope.Scope> =>
  Effect.gen(function*() {
    const lines: Watched["lines"] = []
    const logger = Logger.layer([Logger.make(({ message }) => {
      lines.push({ at: performance.now(), text: String(message) })
    })])
    const live = Worker.layer(flow, { grace: 0, ...options }).pipe(
      Layer.provideMerge(queue),
      Layer.provideMerge(logger)
    )
    const context = yield* Effect.orDie(Layer.build(live))
    const worker = Context.get(context, Worker.Worker)
    const events: Watched["events"] = []
    yield* Effect.forkScoped(
      Stream.runForEach(
        worker.events,
        (event) => Effect.sync(() => events.push({ ...event, seen: performance.now() }))
      ),
      { startImmediately: true }
    )
    return { queue: Context.get(context, JobQueue.JobQueue), worker, events, lines }
  })

/** A queue in PostgreSQL, with a pool of its own. */
export const inPostgres = (
  url: Redacted.Redacted,
  options: Omit<Postgres.Options, "url"> = {}
): Layer.Layer<JobQueue.JobQueue | SqlClient.SqlClient> =>
  Layer.orDie(Layer.fresh(
    JobQueueSql.layer().pipe(
      Layer.provideMerge(Postgres.layer({ url, queryTimeout: "4 seconds", maxConnections: 4, ...options }))
    )
  ))

/** Runs of one job that were under way at the same time. */
export const overlaps = (runs: ReadonlyArray<Run>): ReadonlyArray<string> =>
  runs.filter((run, i) =>
    runs.slice(0, i).some((other) => other.job === run.job && (other.ended === undefined || other.ended > run.at))
  ).map((run) => run.job)

/** How often each job has begun. */
export const startsOf = (runs: ReadonlyArray<Run>): ReadonlyMap<string, number> => {
  const starts = new Map<string, number>()
  for (const { job } of runs) starts.set(job, (starts.get(job) ?? 0) + 1)
  return starts
}

/**
 * Twelve jobs are under way or wait when a fault begins, and it lasts for `ms`. What must hold of any fault: who enqueues
 * is told in a typed error that nothing was stored, the worker says so and asks again, both seldom, it is not ready, and
 * nothing that was accepted is lost when it is over.
 */
export const survives = (it: {
  readonly watched: Watched
  readonly tasks: ReturnType<typeof tasks>
  readonly bytes?: number
  readonly begin: Effect.Effect<void>
  readonly end: Effect.Effect<void>
  readonly ms: number
  /** What the error says. */
  readonly says: RegExp
}) =>
  Effect.gen(function*() {
    const { flow, runs } = it.tasks
    const { events, lines, queue, worker } = it.watched
    const bytes = it.bytes ?? 1
    const jobs = Array.from({ length: 12 }, (_, i) => ({ id: `j${i}`, input: { ms: 300 + i * 25, bytes } }))
    const accepted = new Set<string>(
      yield* Effect.orDie(
        queue.enqueueMany(flow, jobs.map((job) => ({ ...job, maxAttempts: 20 })))
      )
    )
    while (runs.length < 4) yield* pause(5)
    // A server that is stopped on the way to its fault is away already: a worker may say so then, and not again soon.
    const before = performance.now()
    yield* it.begin
    const begun = performance.now()
    let refused: { readonly id: string; readonly error: JobError } | undefined
    for (let i = 0; refused === undefined; i++) {
      const id = `r${i}`
      const meta = { filler: text(Math.min(12_000, bytes)) }
      const stored = yield* Effect.result(queue.enqueue(flow, { ms: 0 }, { id, meta }))
      if (stored._tag === "Success") accepted.add(id)
      else refused = { id, error: stored.failure }
      assert.isBelow(performance.now() - begun, 5000, "nobody was refused")
    }
    const { code, message, reason } = refused.error
    assert.deepStrictEqual(
      [code, reason._tag === "QueueUnavailable" ? reason.stored : reason._tag],
      ["QUEUE_UNAVAILABLE", "no"],
      message
    )
    assert.match(message, it.says)
    let ready = 0
    while (performance.now() < begun + it.ms) {
      yield* pause(50)
      if (performance.now() > begun + 700 && (yield* worker.status).ready) ready++
    }
    const seconds = (performance.now() - before) / 1000
    const said = lines.filter(({ at }) => at > before)
    const failures = events.filter((event) => event._tag === "QueueFailed" && event.seen > before)
    yield* it.end
    const over = performance.now()
    while ((yield* Effect.orDie(Effect.orElseSucceed(queue.counts, () => ({ done: 0 })))).done < accepted.size) {
      if (performance.now() > over + 15_000) break
      yield* pause(20)
    }
    const recoveredMs = performance.now() - over
    assert.deepStrictEqual(yield* queue.counts, {
      queued: 0,
      running: 0,
      done: accepted.size,
      dead: 0,
      cancelled: 0
    })
    assert.isUndefined(yield* queue.get(refused.id as string))
    assert.isBelow(recoveredMs, 10_000)
    assert.isAtLeast(said.length, 1)
    assert.isAtMost(said.length, seconds * 2, said.map((line) => line.text).join("\n"))
    assert.isAtLeast(failures.length, 1)
    assert.isAtMost(failures.length, seconds * 10)
    assert.strictEqual(ready, 0, "the worker said that it was ready")
    assert.deepStrictEqual(overlaps(runs), [])
    // What failed last and is not asked for again, as when nothing is left to renew, is believed to fail for a while.
    while (!(yield* worker.status).ready && performance.now() < over + 12_000) yield* pause(20)
    assert.isTrue((yield* worker.status).ready)
    return { recoveredMs, said, failures: failures.length, seconds, runs: runs.length }
  })
