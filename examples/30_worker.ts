/**
 * @title The corpus as jobs: in one process with an embedded database, or in worker processes over a server
 *
 *     node --conditions=source examples/30_worker.ts
 *     node --conditions=source examples/30_worker.ts --database postgres://… --workers 2
 *     node --conditions=source examples/30_worker.ts --database postgres://… --worker
 *
 * The first runs everything in this process. The second enqueues, starts two processes like the third, and waits; kill
 * one of them, and the other finishes its jobs. Run any of them again: a document is one job, and none runs twice.
 */
import { Effect, Layer, Redacted, Schedule } from "effect"
import { spawn } from "node:child_process"
import { mkdirSync } from "node:fs"
import { dirname, join } from "node:path"
import { parseArgs } from "node:util"
import * as JobQueue from "penguiflow/JobQueue"
import * as JobQueueSql from "penguiflow/layers/JobQueueSql"
import * as Postgres from "penguiflow/layers/Postgres"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as Worker from "penguiflow/Worker"
import { flow } from "./corpus/flow.ts"
import { readInput } from "./corpus/input.ts"
import * as Services from "./corpus/services.ts"
import * as Store from "./corpus/store.ts"
import { runWorker } from "./worker/process.ts"

const { values } = parseArgs({
  options: {
    /** A URL of PostgreSQL, or a file of SQLite. */
    database: { type: "string", default: join(".penguiflow", "jobs.sqlite") },
    /** How many processes to start. None: this one is the worker, too. */
    workers: { type: "string", default: "0" },
    /** Be one of those processes. */
    worker: { type: "boolean", default: false },
    limit: { type: "string" },
    grace: { type: "string", default: "10000" }
  }
})
const grace = Number(values.grace)

const database = values.database.startsWith("postgres")
  ? Postgres.layer({ url: Redacted.make(values.database), queryTimeout: "4 seconds" })
  : Layer.unwrap(Effect.sync(() => {
    mkdirSync(dirname(values.database), { recursive: true })
    return Sqlite.layer({ filename: values.database })
  }))

/** What the flow's nodes need, and the queue: all on one database, so that a job and its rows could be one transaction. */
const services = Layer.unwrap(Effect.map(
  readInput(join(import.meta.dirname, "data", "sotu.ndjson.gz")),
  ({ lines }) => Store.layer.pipe(Layer.provideMerge(Services.layer(lines)))
))
const live = Layer.mergeAll(services, JobQueueSql.layer()).pipe(Layer.provideMerge(database))

const worker = Worker.layer(flow, {
  concurrency: 4,
  lease: "5 seconds",
  jobTimeout: "1 minute",
  grace,
  retry: Schedule.exponential("200 millis").pipe(Schedule.jittered)
}).pipe(Layer.provideMerge(live))

/** One job for each document: its line is the idempotency key. */
const enqueueAll = Effect.gen(function*() {
  const queue = yield* JobQueue.JobQueue
  const { lines } = yield* readInput(join(import.meta.dirname, "data", "sotu.ndjson.gz"))
  const taken = lines.slice(0, values.limit === undefined ? lines.length : Number(values.limit))
  const before = yield* queue.counts
  const ids = yield* queue.enqueueMany(
    flow,
    taken.map((line) => ({ id: `sotu-${line.line}`, input: line, headers: { tenant: "sotu" } }))
  )
  process.stdout.write(`${ids.length} jobs, ${before.done} of them done before\n`)
  const exits = yield* Effect.forEach(ids, (id) => Effect.exit(queue.await(id)), { concurrency: "unbounded" })
  const failed = exits.filter((exit) => exit._tag === "Failure").length
  const again = (yield* queue.list({ limit: 10_000 })).filter((job) => job.attempts > 1)
  const workers = new Set((yield* queue.list({ limit: 10_000 })).map((job) => job.workerId))
  process.stdout.write(
    `${exits.length - failed} done, ${failed} failed, by ${workers.size} workers; ` +
      `${again.length} of them were started more than once\n`
  )
  return failed
})

if (values.worker) {
  runWorker(worker, {
    grace,
    onReady: ({ id }) => process.stdout.write(`${id} takes jobs\n`)
  })
} else {
  const count = Number(values.workers)
  const children = Array.from({ length: count }, () =>
    spawn(
      process.execPath,
      ["--conditions=source", import.meta.filename, "--worker", "--database", values.database, "--grace", values.grace],
      { stdio: ["ignore", "inherit", "inherit"] }
    ))
  const here = count === 0 ? worker : live
  const exit = await Effect.runPromiseExit(Effect.provide(enqueueAll, here))
  await Promise.all(children.map((child) =>
    new Promise((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve(undefined)
      child.once("exit", resolve)
      child.kill("SIGTERM")
    })
  ))
  if (exit._tag === "Failure") {
    process.stderr.write(`✗ ${String(exit.cause)}\n`)
    process.exit(2)
  }
  process.exit(exit.value === 0 ? 0 : 1)
}
