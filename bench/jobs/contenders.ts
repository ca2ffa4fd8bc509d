/** Job queues behind one face: this library's, and those it is measured against. Each with ten jobs at once. */
import { NodeRedis } from "@effect/platform-node"
import { Queue as BullQueue, Worker as BullWorker } from "bullmq"
import { Effect, Layer, ManagedRuntime, Redacted, Schema } from "effect"
import { SqlClient, type Statement } from "effect/sql"
import { Logger, makeWorkerUtils, run as runGraphile } from "graphile-worker"
import { Flow, Node } from "penguiflow"
import * as JobQueue from "penguiflow/JobQueue"
import * as JobQueueRedis from "penguiflow/layers/JobQueueRedis"
import * as JobQueueSql from "penguiflow/layers/JobQueueSql"
import * as Postgres from "penguiflow/layers/Postgres"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as Worker from "penguiflow/Worker"
import { PgBoss } from "pg-boss"
import { createClient } from "redis"

export const concurrency = 10

export interface Contender {
  readonly prepare: () => Promise<void>
  /** Stores jobs in as few writes as it can. */
  readonly fill: (count: number) => Promise<void>
  readonly one: (n: number) => Promise<void>
  /** Begins to work; returns how to stop. */
  readonly work: (onJob: (n: number) => void) => Promise<() => Promise<void>>
  /** Jobs that are not recorded as done. */
  readonly left: () => Promise<number>
  readonly close: () => Promise<void>
}

const range = (count: number) => Array.from({ length: count }, (_, n) => n)

/** `left`: asked of the database itself, as the others are, where a count of all states would look at every done job. */
const ours = <R>(
  queueLayer: Layer.Layer<JobQueue.JobQueue | R, unknown>,
  left: Effect.Effect<number, unknown, JobQueue.JobQueue | R>
): Contender => {
  let onJob: (n: number) => void = () => {}
  const flow = Flow.make("bench", [
    Node.make("job", {
      input: Schema.Struct({ n: Schema.Number }),
      output: Schema.Null,
      run: ({ n }) =>
        Effect.sync(() => {
          onJob(n)
          return null
        })
    }).to()
  ])
  const runtime = ManagedRuntime.make(queueLayer)
  const queue = <A, E>(f: (queue: JobQueue.Service) => Effect.Effect<A, E>) =>
    runtime.runPromise(Effect.flatMap(JobQueue.JobQueue, f))
  return {
    prepare: () => queue((it) => Effect.asVoid(it.counts)),
    fill: (count) => queue((it) => Effect.asVoid(it.enqueueMany(flow, range(count).map((n) => ({ input: { n } }))))),
    one: (n) => queue((it) => Effect.asVoid(it.enqueue(flow, { n }))),
    work: async (listener) => {
      onJob = listener
      const service = await runtime.runPromise(JobQueue.JobQueue)
      const worker = ManagedRuntime.make(
        Worker.layer(flow, { concurrency, grace: "1 second" }).pipe(
          Layer.provide(Layer.succeed(JobQueue.JobQueue, service))
        )
      )
      await worker.context()
      return () => worker.dispose()
    },
    left: () => runtime.runPromise(left),
    close: () => runtime.dispose()
  }
}

const leftOf = JobQueue.JobQueue.use((it) => Effect.map(it.counts, ({ queued, running }) => queued + running))
const leftIn = (count: (sql: SqlClient.SqlClient) => Statement.Statement<{ readonly n: number }>) =>
  SqlClient.SqlClient.use((sql) => Effect.map(count(sql), ([row]) => Number(row?.n)))
const leftInPostgres = leftIn((sql) =>
  sql`SELECT (SELECT count(*) FROM penguiflow_jobs_ready) + (
    SELECT count(*) FROM penguiflow_jobs_claims c CROSS JOIN unnest(c.jobs) AS u(seq) JOIN penguiflow_jobs j USING (seq)
    WHERE j.state = 'running'
  ) AS n`
)
const leftInSqlite = leftIn((sql) =>
  sql`SELECT (SELECT count(*) FROM penguiflow_jobs WHERE state = 'ready') +
    (SELECT count(*) FROM penguiflow_jobs WHERE state = 'running') AS n`
)

const pgBoss = (url: string): Contender => {
  const boss = new PgBoss({ connectionString: url, useListenNotify: true })
  boss.on("error", () => {})
  return {
    prepare: async () => {
      await boss.start()
      await boss.createQueue("bench", { notify: true })
    },
    fill: async (count) => {
      await boss.insert("bench", range(count).map((n) => ({ data: { n } })))
    },
    one: async (n) => {
      await boss.send("bench", { n })
    },
    work: async (onJob) => {
      const options = {
        localConcurrency: concurrency,
        pollingIntervalSeconds: 0.5,
        batchSize: 100,
        burstWhenBatchFull: true
      }
      await boss.work<{ n: number }>("bench", options, async (jobs) => {
        for (const { data } of jobs) onJob(data.n)
      })
      return async () => {
        await boss.offWork("bench")
      }
    },
    left: async () => {
      const { rows } = await boss.getDb().executeSql(
        "SELECT count(*)::int AS n FROM pgboss.job WHERE name = 'bench' AND state < 'completed'",
        []
      )
      return Number(rows[0].n)
    },
    close: () => boss.stop({ graceful: false })
  }
}

/** A line for each job is not what is measured. */
const silent = new Logger(() => () => {})

/** `batched`: with a local queue and outcomes that are written together, as its documentation recommends for speed. */
const graphile = (url: string, batched: boolean): Contender => {
  const preset = batched
    ? {
      worker: {
        connectionString: url,
        concurrentJobs: concurrency,
        maxPoolSize: concurrency + 2,
        localQueue: { size: 500 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0
      }
    }
    : { worker: { connectionString: url, concurrentJobs: concurrency, maxPoolSize: concurrency + 2 } }
  let utils: Awaited<ReturnType<typeof makeWorkerUtils>>
  return {
    prepare: async () => {
      utils = await makeWorkerUtils({ connectionString: url })
      await utils.migrate()
    },
    fill: async (count) => {
      await utils.addJobs(range(count).map((n) => ({ identifier: "bench", payload: { n } })))
    },
    one: async (n) => {
      await utils.addJob("bench", { n })
    },
    work: async (onJob) => {
      const runner = await runGraphile({
        preset,
        logger: silent,
        noHandleSignals: true,
        taskList: {
          bench: (payload) => {
            onJob((payload as { readonly n: number }).n)
          }
        }
      })
      return () => runner.stop()
    },
    left: () =>
      utils.withPgClient(async (client) => {
        const { rows } = await client.query("SELECT count(*)::int AS n FROM graphile_worker._private_jobs")
        return Number(rows[0].n)
      }),
    close: async () => {
      await utils.release()
    }
  }
}

const bullmq = (url: string): Contender => {
  const connect = async () => {
    const client = createClient({ url })
    client.on("error", () => {})
    await client.connect()
    return client as never
  }
  let queue: BullQueue
  return {
    prepare: async () => {
      queue = new BullQueue("bench", { connection: await connect() })
      queue.on("error", () => {})
      await queue.waitUntilReady()
    },
    fill: async (count) => {
      await queue.addBulk(range(count).map((n) => ({ name: "job", data: { n } })))
    },
    one: async (n) => {
      await queue.add("job", { n })
    },
    work: async (onJob) => {
      const worker = new BullWorker("bench", async (job) => {
        onJob((job.data as { readonly n: number }).n)
      }, { connection: await connect(), concurrency })
      worker.on("error", () => {})
      await worker.waitUntilReady()
      return () => worker.close()
    },
    left: async () => {
      const counts = await queue.getJobCounts("waiting", "active", "delayed", "prioritized")
      return Object.values(counts).reduce((sum, n) => sum + n, 0)
    },
    close: () => queue.close()
  }
}

/** What each acknowledges when it says that a job is stored, and what it says of running it. */
export const contenders: Readonly<
  Record<
    string,
    {
      readonly server: "postgres" | "redis" | "file"
      readonly promises: string
      readonly make: (url: string) => Contender
    }
  >
> = {
  "penguiflow, PostgreSQL": {
    server: "postgres",
    promises: "committed; at least once; one fenced outcome with result; tenants in turn",
    make: (url) =>
      ours(JobQueueSql.layer().pipe(Layer.provideMerge(Postgres.layer({ url: Redacted.make(url) }))), leftInPostgres)
  },
  "pg-boss": {
    server: "postgres",
    promises: "committed; at least once; outcome with result",
    make: pgBoss
  },
  "graphile-worker": {
    server: "postgres",
    promises: "committed; at least once; a done job is deleted, no result",
    make: (url) => graphile(url, false)
  },
  "graphile-worker, batched": {
    server: "postgres",
    promises: "the same; jobs are taken 500 at once and are a dead worker's for 4 hours",
    make: (url) => graphile(url, true)
  },
  "penguiflow, Redis": {
    server: "redis",
    promises: "in the append-only file; at least once; one fenced outcome with result; tenants in turn",
    make: (url) => ours(JobQueueRedis.layer().pipe(Layer.provide(NodeRedis.layer({ url }))), leftOf)
  },
  "bullmq": {
    server: "redis",
    promises: "in the append-only file; at least once; outcome with result",
    make: bullmq
  },
  "penguiflow, SQLite": {
    server: "file",
    promises: "committed (NORMAL); at least once; one fenced outcome with result; tenants in turn",
    make: (filename) => ours(JobQueueSql.layer().pipe(Layer.provideMerge(Sqlite.layer({ filename }))), leftInSqlite)
  }
}
