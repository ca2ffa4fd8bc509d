/** A worker process for the fault tests: `node child.ts '{"url":…}'`. Says READY, and events as lines of JSON. */
import { Effect, Layer, Redacted, Schedule, Stream } from "effect"
import * as JobQueue from "penguiflow/JobQueue"
import * as JobQueueSql from "penguiflow/layers/JobQueueSql"
import * as Postgres from "penguiflow/layers/Postgres"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as Worker from "penguiflow/Worker"
import { runWorker } from "../../../examples/worker/process.ts"
import { flowOf } from "./flow.ts"

export interface Config {
  /** A PostgreSQL URL, or a file of SQLite. */
  readonly url: string
  readonly ledger: string
  readonly concurrency: number
  readonly lease: number
  readonly grace: number
  readonly poll: number
  /** Milliseconds between jobs that it enqueues itself. */
  readonly feedMs?: number | undefined
}

const { concurrency, feedMs, grace, lease, ledger, poll, url }: Config = JSON.parse(process.argv[2] ?? "{}")

const database = url.startsWith("postgres://")
  ? Postgres.layer({ url: Redacted.make(url), queryTimeout: "4 seconds", maxConnections: 8 })
  : Sqlite.layer({ filename: url })

/** Says of each job that it is stored, once it is. */
const feed = Layer.effectDiscard(Effect.gen(function*() {
  const queue = yield* JobQueue.JobQueue
  const one = Effect.flatMap(
    queue.enqueue(flowOf(ledger), { kind: "work", ms: 40 }, { maxAttempts: 5 }),
    (jobId) => Effect.sync(() => process.stdout.write(`${JSON.stringify({ _tag: "Stored", jobId, at: Date.now() })}\n`))
  )
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.ignore(one), Effect.sleep(feedMs ?? 0))))
}))

const live = Worker.layer(flowOf(ledger), {
  concurrency,
  lease,
  grace,
  retry: Schedule.spaced("200 millis"),
  pollInterval: poll
}).pipe(
  Layer.merge(feedMs === undefined ? Layer.empty : feed),
  Layer.provide(JobQueueSql.layer()),
  Layer.provideMerge(database)
)

runWorker(live, {
  grace,
  onReady: (worker) => {
    process.stdout.write("READY\n")
    Effect.runFork(
      Stream.runForEach(
        worker.events,
        (event) => Effect.sync(() => process.stdout.write(`${JSON.stringify({ ...event, pid: process.pid })}\n`))
      )
    )
  }
})
