/** Worker processes that are started, killed and frozen, and what is known of their jobs afterwards. */
import { Context, Effect, Layer, Redacted, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import * as JobQueue from "penguiflow/JobQueue"
import * as JobQueueSql from "penguiflow/layers/JobQueueSql"
import * as Postgres from "penguiflow/layers/Postgres"
import * as Sqlite from "penguiflow/layers/Sqlite"
import { pause, temporaryFolder } from "../../utils/servers/process.ts"
import type { Config } from "./child.ts"
import { flowOf, type Line } from "./flow.ts"

export interface Child {
  readonly process: ChildProcess
  readonly pid: number
  readonly ready: Promise<void>
  readonly lines: Array<{ readonly _tag: string; readonly jobId?: string; readonly at: number; readonly pid: number }>
  /** Of what it wrote to its standard error and of its log lines. */
  readonly log: Array<string>
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null; readonly at: number }>
}

export interface Harness {
  readonly queue: JobQueue.Service
  readonly sql: SqlClient.SqlClient
  readonly flow: ReturnType<typeof flowOf>
  /** By another way to the database, if need be. */
  readonly spawn: (options?: {
    readonly url?: string
    /** Its clock is so many minutes ahead, and after two seconds, or as many as are said, as many behind. */
    readonly clockMinutes?: number
    readonly clockAfter?: number
    /** It enqueues a job each so many milliseconds. */
    readonly feedMs?: number
  }) => Child
  readonly children: ReadonlyArray<Child>
  readonly ledger: () => ReadonlyArray<Line>
  readonly effects: Effect.Effect<ReadonlyArray<{ readonly key: string; readonly job: string }>>
  /** When each process was killed, as far as this harness did it. */
  readonly kill: (child: Child) => void
  readonly deaths: ReadonlyMap<number, number>
}

export const harness = (
  url: string | undefined,
  settings: {
    readonly concurrency?: number
    readonly lease?: number
    readonly grace?: number
    readonly poll?: number
  } = {}
): Effect.Effect<Harness, never, Scope.Scope> =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder("worker")
    const ledger = join(folder, "ledger.jsonl")
    const address = url ?? join(folder, "jobs.sqlite")
    const database = url === undefined
      ? Sqlite.layer({ filename: address })
      : Postgres.layer({ url: Redacted.make(address), queryTimeout: "4 seconds" })
    const context = yield* Effect.orDie(Layer.build(JobQueueSql.layer().pipe(Layer.provideMerge(database))))
    const queue = Context.get(context, JobQueue.JobQueue)
    const sql = Context.get(context, SqlClient.SqlClient)
    yield* Effect.orDie(sql`CREATE TABLE IF NOT EXISTS effects (key TEXT PRIMARY KEY, job TEXT NOT NULL)`)
    yield* Effect.orDie(queue.counts)
    const children: Array<Child> = []
    const deaths = new Map<number, number>()
    yield* Effect.addFinalizer(() =>
      Effect.promise(async () => {
        for (const child of children) {
          child.process.kill("SIGCONT")
          child.process.kill("SIGKILL")
        }
        await Promise.all(children.map((child) => child.exited))
      })
    )
    const start: Harness["spawn"] = (options) => {
      const config: Config = {
        url: options?.url ?? address,
        ledger,
        concurrency: settings.concurrency ?? 4,
        lease: settings.lease ?? 2000,
        grace: settings.grace ?? 3000,
        poll: settings.poll ?? 500,
        feedMs: options?.feedMs
      }
      const { clockMinutes } = options ?? {}
      const wrong = clockMinutes === undefined ? [] : ["--import", join(import.meta.dirname, "clock.ts")]
      const env = {
        ...process.env,
        CLOCK_MINUTES: String(clockMinutes ?? 0),
        CLOCK_AFTER: String(1000 * (options?.clockAfter ?? 2))
      }
      const child = spawn(
        process.execPath,
        ["--conditions=source", ...wrong, join(import.meta.dirname, "child.ts"), JSON.stringify(config)],
        { stdio: ["ignore", "pipe", "pipe"], env }
      )
      const lines: Child["lines"] = []
      const log: Array<string> = []
      let rest = ""
      let isReady = () => {}
      const ready = new Promise<void>((resolve) => isReady = resolve)
      child.stdout.on("data", (chunk: Buffer) => {
        const parts = (rest + String(chunk)).split("\n")
        rest = parts.pop() ?? ""
        for (const line of parts) {
          if (line === "READY") isReady()
          else if (line.startsWith("{\"")) lines.push(JSON.parse(line))
          else log.push(line)
        }
      })
      child.stderr.on("data", (chunk: Buffer) => log.push(String(chunk)))
      const exited = new Promise<{ code: number | null; signal: string | null; at: number }>((resolve) =>
        child.once("exit", (code, signal) => {
          const at = Date.now()
          if (!deaths.has(child.pid!)) deaths.set(child.pid!, at)
          resolve({ code, signal, at })
        })
      )
      const it = { process: child, pid: child.pid!, ready, lines, log, exited }
      children.push(it)
      return it
    }
    return {
      queue,
      sql,
      flow: flowOf(ledger),
      spawn: start,
      children,
      ledger: () =>
        existsSync(ledger)
          ? readFileSync(ledger, "utf8").split("\n").filter((line) => line !== "").map((line) =>
            JSON.parse(line) as Line
          )
          : [],
      effects: Effect.orDie(sql<{ key: string; job: string }>`SELECT key, job FROM effects`),
      kill: (child) => {
        child.process.kill("SIGKILL")
        deaths.set(child.pid, Date.now())
      },
      deaths
    }
  })

/** Runs of one job that were alive at the same time, each until its end or its process's death. */
export const overlaps = (lines: ReadonlyArray<Line>, deaths: ReadonlyMap<number, number>): ReadonlyArray<string> => {
  const runs = new Map<string, Array<{ from: number; to: number }>>()
  const open = new Map<string, { from: number; to: number }>()
  for (const { at, attempt, job, pid, what } of lines) {
    const key = `${job} ${pid} ${attempt}`
    if (what === "begin") {
      const run = { from: at, to: deaths.get(pid) ?? Infinity }
      open.set(key, run)
      runs.set(job, [...(runs.get(job) ?? []), run])
    } else {
      const run = open.get(key)
      if (run !== undefined) run.to = Math.min(run.to, at)
    }
  }
  const found: Array<string> = []
  for (const [job, all] of runs) {
    const sorted = all.sort((a, b) => a.from - b.from)
    for (let i = 1; i < sorted.length; i++) {
      if (sorted[i]!.from < sorted[i - 1]!.to) found.push(job)
    }
  }
  return found
}

/** Begins per job. */
export const begins = (lines: ReadonlyArray<Line>): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const { job, what } of lines) if (what === "begin") counts.set(job, (counts.get(job) ?? 0) + 1)
  return counts
}

/** Enqueues tasks of one kind, ids `prefix-0`, …. */
export const enqueue = (
  { flow, queue }: Harness,
  prefix: string,
  count: number,
  ms: (i: number) => number,
  kind: "work" | "kill" | "exit" | "block" | "overflow" | "throw" = "work",
  options: JobQueue.EnqueueOptions = {}
) =>
  Effect.orDie(queue.enqueueMany(
    flow,
    Array.from(
      { length: count },
      (_, i) => ({ maxAttempts: 5, ...options, id: `${prefix}-${i}`, input: { kind, ms: ms(i) } })
    )
  ))

/** Waits, in real time, until as many have ended; how long it took, or undefined. */
export const untilEnded = (harness: Harness, count: number, withinMs: number): Effect.Effect<number | undefined> =>
  Effect.gen(function*() {
    const from = performance.now()
    while (performance.now() - from < withinMs) {
      const counts = yield* Effect.result(harness.queue.counts)
      if (counts._tag === "Success" && counts.success.done + counts.success.dead + counts.success.cancelled >= count) {
        return performance.now() - from
      }
      yield* pause(50)
    }
    return undefined
  })
