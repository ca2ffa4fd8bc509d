/**
 * Jobs per second, and the time from enqueueing a job to its running, beside other queues on the same servers.
 *
 * `npm run bench:jobs`, or `npm run bench:jobs -- --jobs 1000 --rounds 1 --singles 100 --only bullmq`. For the time to run,
 * all queues of a server wait in one process and get their jobs by turns; for throughput each is alone, on servers of its own.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { parseArgs } from "node:util"
import { concurrency, contenders } from "./jobs/contenders.ts"
import type { Latencies, Latency } from "./jobs/latency.ts"
import { answerOf } from "./jobs/process.ts"
import { progress } from "./jobs/progress.ts"
import * as Servers from "./jobs/servers.ts"
import type { Throughput } from "./jobs/throughput.ts"

const { values } = parseArgs({
  options: {
    jobs: { type: "string", default: "5000" },
    rounds: { type: "string", default: "7" },
    singles: { type: "string", default: "1000" },
    only: { type: "string", default: "" }
  }
})
const chosen = Object.entries(contenders).filter(([name]) => name.includes(values.only))

const latencies = (place: Servers.Place, where: "here" | "elsewhere", servers: ReadonlyArray<Servers.Server>) =>
  Effect.gen(function*() {
    const all: Record<string, Latency> = {}
    for (const server of servers) {
      const places: Array<string> = []
      for (const [name, it] of chosen) if (it.server === server) places.push(name, yield* place(server))
      if (places.length === 0) continue
      Object.assign(all, yield* answerOf<Latencies>("latency.ts", [where, values.singles, ...places]))
    }
    return all
  })

/** Of its own: what one queue leaves behind, dead rows and a log to be written out, slows the next. */
const onServers = <A, E, R>(measure: (place: Servers.Place) => Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(Servers.start, measure))

const cells = (latency: Latency | undefined): string =>
  latency === undefined ? "– | –" : `${latency.median.toFixed(2)} | ${latency.p99.toFixed(1)}`

const main = Effect.gen(function*() {
  if (!Servers.available) {
    return yield* Effect.sync(() => process.stderr.write("✗ this needs the programs of PostgreSQL and Redis\n"))
  }
  const [here, elsewhere] = yield* onServers((place) =>
    Effect.all([
      latencies(place, "here", ["postgres", "redis", "file"]),
      // A file wakes nobody in another process.
      latencies(place, "elsewhere", ["postgres", "redis"])
    ])
  )
  progress("")
  process.stdout.write(
    `${values.jobs} trivial jobs, ${concurrency} at once, median of ${values.rounds} rounds; ${values.singles} single jobs, by turns; all of it warm\n\n` +
      `| queue | jobs/s | ms to run, same process | 99 % | ms to run, another process | 99 % | what it promises |\n|---|---|---|---|---|---|---|\n`
  )
  for (const [name, { promises, server }] of chosen) {
    const { jobsPerSecond } = yield* onServers((place) =>
      Effect.flatMap(
        place(server),
        (url) => answerOf<Throughput>("throughput.ts", [name, url, values.jobs, values.rounds])
      )
    )
    progress("")
    process.stdout.write(
      `| ${name} | ${jobsPerSecond.toFixed(0)} | ${cells(here[name])} | ${cells(elsewhere[name])} | ${promises} |\n`
    )
  }
})

// Ctrl-C stops the servers as well.
NodeRuntime.runMain(main)
