/**
 * Jobs per second, and the time from enqueueing to having run, beside other queues on the same servers.
 *
 * `npm run bench:jobs`, or `npm run bench:jobs -- --jobs 1000 --rounds 1 --only bullmq`. It starts a PostgreSQL with
 * `fsync` and a Redis with `appendfsync always` of its own. Each queue runs in a process of its own, one after the other.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Redacted } from "effect"
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Postgres from "../test/utils/servers/postgres.ts"
import * as Redis from "../test/utils/servers/redis.ts"
import type { Measured } from "./jobs/child.ts"
import { concurrency, contenders } from "./jobs/contenders.ts"

const { values } = parseArgs({
  options: {
    jobs: { type: "string", default: "5000" },
    rounds: { type: "string", default: "7" },
    only: { type: "string", default: "" }
  }
})

const measure = (name: string, url: string) =>
  Effect.promise((signal) =>
    new Promise<Measured>((resolve, reject) => {
      const child = execFile(
        process.execPath,
        ["--conditions=source", join(import.meta.dirname, "jobs", "child.ts"), name, url, values.jobs, values.rounds],
        { maxBuffer: 64 * 1024 * 1024 },
        (error, stdout, stderr) => {
          const line = stdout.trim().split("\n").at(-1) ?? ""
          if (error === null) resolve(JSON.parse(line) as Measured)
          else reject(new Error(`${name}: ${error.message}\n${stderr}`))
        }
      )
      signal.addEventListener("abort", () => child.kill("SIGKILL"))
    })
  )

const main = Effect.gen(function*() {
  if (!Postgres.available || !Redis.available) {
    return yield* Effect.sync(() => process.stderr.write("✗ this needs the programs of PostgreSQL and Redis\n"))
  }
  const postgres = yield* Postgres.start({ settings: { fsync: "on" } })
  const redis = yield* Redis.start({ durable: true })
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "penguiflow-bench-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const urls = { postgres: Redacted.value(postgres.url), redis: redis.url, file: join(folder, "jobs.sqlite") }
  process.stdout.write(
    `${values.jobs} trivial jobs, ${concurrency} at once, median of ${values.rounds} rounds; 1000 single jobs, one after the other; all of it warm\n\n` +
      `| queue | jobs/s | ms from enqueue to run, median | 99 % | what it promises |\n|---|---|---|---|---|\n`
  )
  for (const [name, { promises, server }] of Object.entries(contenders)) {
    if (!name.includes(values.only)) continue
    const { jobsPerSecond, medianMs, p99Ms } = yield* measure(name, urls[server])
    process.stdout.write(
      `| ${name} | ${jobsPerSecond.toFixed(0)} | ${medianMs.toFixed(1)} | ${p99Ms.toFixed(1)} | ${promises} |\n`
    )
  }
})

// Ctrl-C stops the servers as well.
NodeRuntime.runMain(Effect.scoped(main))
