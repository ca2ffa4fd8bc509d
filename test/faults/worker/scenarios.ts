/** The faults, each with what is measured in it. Run short by the tests and long by `numbers.ts`. */
import { Effect, Redacted, type Scope } from "effect"
import { execFileSync } from "node:child_process"
import * as Postgres from "../../utils/servers/postgres.ts"
import { pause } from "../../utils/servers/process.ts"
import * as Proxy from "../../utils/servers/proxy.ts"
import { begins, type Child, enqueue, type Harness, harness, overlaps, untilEnded } from "./harness.ts"

const ready = (children: ReadonlyArray<Child>) =>
  Effect.promise(() => Promise.all(children.map((child) => child.ready)))

const summary = (it: Harness, expected: number) =>
  Effect.gen(function*() {
    const effects = yield* it.effects
    const lines = it.ledger()
    const counts = yield* Effect.orDie(it.queue.counts)
    const perJob = new Map<string, number>()
    for (const { job } of effects) perJob.set(job, (perJob.get(job) ?? 0) + 1)
    const starts = [...begins(lines).values()]
    return {
      done: counts.done,
      dead: counts.dead,
      lost: expected - counts.done - counts.dead,
      effects: effects.length,
      twice: [...perJob.values()].filter((n) => n > 1).length,
      rerun: starts.filter((n) => n > 1).length,
      mostStarts: Math.max(0, ...starts),
      overlaps: overlaps(lines, it.deaths).length
    }
  })

/** Now and then one of them is killed, and replaced at once; who is alive at the end. */
const killAtRandom = (it: Harness, count: number, kills: number, spawn: () => Child) =>
  Effect.gen(function*() {
    let alive = Array.from({ length: count }, spawn)
    yield* ready(alive)
    for (let i = 0; i < kills; i++) {
      yield* pause(300 + Math.random() * 700)
      const victim = alive[Math.floor(Math.random() * alive.length)]!
      it.kill(victim)
      alive = [...alive.filter((child) => child !== victim), spawn()]
    }
    return alive
  })

/** Workers are killed at random while they work; each is replaced at once. */
export const killed = (url: string | undefined, options: {
  readonly jobs: number
  readonly kills: number
  readonly ms: number
  readonly lease: number
}) =>
  Effect.scoped(Effect.gen(function*() {
    const it = yield* harness(url, { lease: options.lease })
    yield* enqueue(it, "j", options.jobs, (i) => options.ms * (0.5 + ((i * 7919) % 100) / 100))
    yield* killAtRandom(it, 3, options.kills, () => it.spawn())
    const last = Date.now()
    // What is not held up by a dead worker's lease takes its time as well: it is measured apart.
    const killedAt = [...it.deaths.values()]
    const took = yield* untilEnded(it, options.jobs, options.jobs * options.ms / 4 + 60_000)
    const rerunLast = it.ledger().findLast((line) => line.what === "begin" && line.attempt > 1)
    return {
      kills: killedAt.length,
      allDoneMsAfterLastKill: took === undefined ? undefined : Math.round(Date.now() - last),
      lastTakeoverMsAfterLastKill: rerunLast === undefined ? 0 : rerunLast.at - last,
      ...(yield* summary(it, options.jobs))
    }
  }))

/** Processes that work on what they enqueue themselves are killed at random, each replaced at once; one ends the rest. */
export const feedersKilled = (url: string | undefined, options: {
  readonly kills: number
  readonly feedMs: number
  readonly lease: number
}) =>
  Effect.scoped(Effect.gen(function*() {
    const it = yield* harness(url, { lease: options.lease })
    const alive = yield* killAtRandom(it, 2, options.kills, () => it.spawn({ feedMs: options.feedMs }))
    yield* ready(alive)
    yield* pause(500)
    for (const child of alive) it.kill(child)
    yield* Effect.promise(() => Promise.all(it.children.map((child) => child.exited)))
    // A server may still store what a killed process had sent.
    yield* pause(300)
    const before = yield* Effect.orDie(it.queue.counts)
    const all = before.done + before.queued + before.running
    it.spawn()
    yield* untilEnded(it, all, 60_000)
    const stored = it.children.flatMap((child) =>
      child.lines.flatMap(({ _tag, jobId }) => _tag === "Stored" ? [jobId] : [])
    )
    const done = new Set((yield* Effect.orDie(it.queue.list({ state: "done", limit: 100_000 }))).map(({ id }) => id))
    const handed = yield* Effect.orDie(
      it.sql<{ n: number }>`SELECT count(*) AS n FROM penguiflow_jobs WHERE token = 1 AND started_at = enqueued_at`
    )
    return {
      stored: stored.length,
      handed: Number(handed[0]?.n),
      notDone: stored.filter((id) => id === undefined || !done.has(id)).length,
      ...(yield* summary(it, all))
    }
  }))

/** A job that ends its process, with neighbours; whoever dies is replaced. */
export const poison = (url: string | undefined, kind: "kill" | "exit" | "overflow" | "throw", options: {
  readonly neighbours: number
  readonly lease: number
  readonly workers: number
}) =>
  Effect.scoped(Effect.gen(function*() {
    const it = yield* harness(url, { lease: options.lease })
    yield* enqueue(it, "poison", 1, () => 0, kind, { maxAttempts: 3 })
    yield* enqueue(it, "beside", options.neighbours, () => 400, "work", { maxAttempts: 3 })
    let over = false
    const keep = async () => {
      while (!over) await it.spawn().exited
    }
    for (let i = 0; i < options.workers; i++) void keep()
    const took = yield* untilEnded(it, options.neighbours + 1, 60_000)
    over = true
    const job = yield* Effect.orDie(it.queue.get("poison-0"))
    return {
      tookMs: took === undefined ? undefined : Math.round(took),
      poison: job?.state,
      reason: job?.failure?.message,
      starts: begins(it.ledger()).get("poison-0"),
      ...(yield* summary(it, options.neighbours + 1))
    }
  }))

/** A process is stopped for longer than its lease, and wakes up. */
export const frozen = (url: string | undefined, lease: number) =>
  Effect.scoped(Effect.gen(function*() {
    const it = yield* harness(url, { lease })
    const first = it.spawn()
    const second = it.spawn()
    yield* ready([first, second])
    // So that the first has both jobs. A second that starts only now might take longer to start than they last.
    second.process.kill("SIGSTOP")
    yield* enqueue(it, "j", 2, () => lease * 2)
    while (it.ledger().length < 2) yield* pause(20)
    const from = Date.now()
    first.process.kill("SIGSTOP")
    second.process.kill("SIGCONT")
    let taken: number | undefined
    while (taken === undefined && Date.now() - from < lease + 8000) {
      taken = it.ledger().find((line) => line.pid === second.pid)?.at
      yield* pause(20)
    }
    yield* pause(500)
    first.process.kill("SIGCONT")
    yield* untilEnded(it, 2, 20_000)
    yield* pause(300)
    return {
      takenOverMs: taken === undefined ? undefined : taken - from,
      learned: first.lines.filter((line) => line._tag === "LeaseLost").length,
      recordedByTheAwakened: first.lines.filter((line) => line._tag === "JobSucceeded").length,
      recordedByTheOther: second.lines.filter((line) => line._tag === "JobSucceeded").length,
      ...(yield* summary(it, 2))
    }
  }))

/** A job that keeps its process's event loop for two leases. */
export const blocked = (url: string | undefined, lease: number, workers: number) =>
  Effect.scoped(Effect.gen(function*() {
    const it = yield* harness(url, { lease })
    const children = Array.from({ length: workers }, () => it.spawn())
    yield* ready(children)
    yield* enqueue(it, "j", 1, () => lease * 2, "block")
    yield* untilEnded(it, 1, lease * 10)
    yield* pause(lease)
    return { starts: begins(it.ledger()).get("j-0"), ...(yield* summary(it, 1)) }
  }))

/** Three workers: the clock of one is right, of two so many minutes wrong, and they jump. The long jobs outlast two leases. */
export const clocks = (url: string | undefined, minutes: number, lease: number) =>
  Effect.scoped(Effect.gen(function*() {
    const it = yield* harness(url, { lease, concurrency: 2 })
    const children = [it.spawn(), it.spawn({ clockMinutes: minutes }), it.spawn({ clockMinutes: -minutes })]
    yield* ready(children)
    yield* enqueue(it, "delayed", 3, () => 0, "work", { delay: 1500 })
    yield* enqueue(it, "short", 30, () => 200)
    yield* enqueue(it, "long", 6, () => lease * 2.5)
    yield* untilEnded(it, 39, 30_000)
    const late = (yield* Effect.orDie(it.queue.list({ id: ["delayed-0", "delayed-1", "delayed-2"] })))
      .map((job) => (job.startedAt ?? 0) - job.enqueuedAt - 1500)
    const lines = it.ledger()
    return {
      perWorker: children.map(({ pid }) => lines.filter((line) => line.what === "begin" && line.pid === pid).length),
      minutesApart: Math.round((Math.max(...lines.map((line) => line.at)) - Date.now()) / 60_000),
      early: Math.min(...late),
      late: Math.max(...late),
      leasesLost: children.flatMap((child) => child.lines).filter((line) => line._tag === "LeaseLost").length,
      ...(yield* summary(it, 39))
    }
  }))

/** The only worker's clock is set back: nobody else would see what falls due. */
export const clockAlone = (url: string | undefined, minutes: number) =>
  Effect.scoped(Effect.gen(function*() {
    const it = yield* harness(url)
    // Late enough for it to have begun by the clock as it was.
    const child = it.spawn({ clockMinutes: minutes, clockAfter: 4 })
    yield* ready([child])
    yield* enqueue(it, "delayed", 1, () => 0, "work", { delay: 4000 })
    yield* untilEnded(it, 1, 15_000)
    const job = yield* Effect.orDie(it.queue.get("delayed-0"))
    return { late: (job?.startedAt ?? Infinity) - (job?.enqueuedAt ?? 0) - 4000, ...(yield* summary(it, 1)) }
  }))

/** SIGTERM with nothing to do, with a short job, with a long one, twice; and what the queue says of the job then. */
export const terminated = (url: string | undefined, grace: number) =>
  Effect.scoped(Effect.gen(function*() {
    const it = yield* harness(url, { grace, lease: 10_000 })
    const term = Effect.fnUntraced(function*(job: number | undefined, signals: ReadonlyArray<NodeJS.Signals>) {
      const child = it.spawn()
      yield* ready([child])
      const id = `t${child.pid}`
      if (job !== undefined) {
        yield* enqueue(it, id, 1, () => job)
        while (!it.ledger().some((line) => line.job === `${id}-0`)) yield* pause(10)
      }
      const from = Date.now()
      for (const signal of signals) {
        child.process.kill(signal)
        yield* pause(150)
      }
      const exit = yield* Effect.promise(() => child.exited)
      const record = job === undefined ? undefined : yield* Effect.orDie(it.queue.get(`${id}-0`))
      yield* Effect.orDie(it.queue.purge({ id: `${id}-0` }))
      return { code: exit.code, ms: exit.at - from, state: record?.state, attempts: record?.attempts }
    })
    return {
      idle: yield* term(undefined, ["SIGTERM"]),
      short: yield* term(700, ["SIGTERM"]),
      long: yield* term(60_000, ["SIGTERM"]),
      interrupted: yield* term(undefined, ["SIGINT"]),
      twice: yield* term(60_000, ["SIGTERM", "SIGTERM"])
    }
  }))

/** Workers with nothing to do: what the server counts of their questions, and what memory the system says they have. */
export const idle = (options: { readonly workers: number; readonly ms: number; readonly lookEvery: number }) =>
  Effect.scoped(Effect.gen(function*() {
    const server = yield* Postgres.start({ settings: { shared_preload_libraries: "pg_stat_statements" } })
    const it = yield* harness(Redacted.value(server.url), { poll: 1000 })
    const children = Array.from({ length: options.workers }, () => it.spawn())
    yield* ready(children)
    yield* Effect.orDie(it.sql`CREATE EXTENSION pg_stat_statements`)
    yield* pause(2000)
    yield* Effect.orDie(it.sql`SELECT pg_stat_statements_reset()`)
    const from = performance.now()
    const looks: Array<number> = []
    while (performance.now() - from < options.ms) {
      yield* pause(options.lookEvery)
      looks.push(children.reduce((sum, { pid }) => sum + megabytes(pid), 0) / children.length)
    }
    const [row] = yield* Effect.orDie(it.sql<{ calls: number }>`
      SELECT sum(calls)::int AS calls FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat%'`)
    return {
      perSecond: (row?.calls ?? 0) / options.workers / ((performance.now() - from) / 1000),
      megabytes: looks.map(Math.round),
      warnings: children.flatMap((child) => child.log.filter((line) => /\b(WARN|ERROR)/.test(line))).length
    }
  }))

const megabytes = (pid: number): number =>
  Number(execFileSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" })) / 1024

/** How the workers fare while something is done to the database's server. */
const through = (
  server: Postgres.PostgresServer,
  viaProxy: Proxy.Proxy | undefined,
  options: { readonly jobs: number; readonly ms: number; readonly lease: number },
  fault: (it: Harness, children: ReadonlyArray<Child>) => Effect.Effect<{ readonly at: number }>
) =>
  Effect.gen(function*() {
    const it = yield* harness(Redacted.value(server.url), { lease: options.lease })
    const url = viaProxy === undefined ? undefined : Redacted.value(server.urlOf({ port: viaProxy.port }))
    const children = [1, 2, 3].map(() => it.spawn(url === undefined ? {} : { url }))
    yield* ready(children)
    yield* enqueue(it, "j", options.jobs, () => options.ms, "work", { maxAttempts: 50 })
    yield* pause(1500)
    const doneBefore = it.children.flatMap((child) => child.lines.filter((line) => line._tag === "JobSucceeded"))
    const { at } = yield* fault(it, children)
    // The first outcome that a worker recorded after the fault was over.
    let resumed: number | undefined
    const limit = Date.now() + 40_000
    while (resumed === undefined && Date.now() < limit) {
      resumed = children.flatMap((child) => child.lines).find((line) => line._tag === "JobSucceeded" && line.at > at)
        ?.at
      yield* pause(20)
    }
    const took = yield* untilEnded(it, options.jobs, 120_000)
    const exits = children.filter((child) =>
      child.process.exitCode !== null || child.process.signalCode !== null
    ).length
    const lines = it.ledger()
    const again = doneBefore.filter(({ at, jobId }) =>
      lines.some((line) => line.what === "begin" && line.job === jobId && line.at > at)
    )
    const logs = Math.max(...children.map((child) => child.log.filter((line) => /\b(WARN|ERROR)/.test(line)).length))
    return {
      exits,
      resumedMs: resumed === undefined ? undefined : resumed - at,
      allDone: took !== undefined,
      finishedRunAgain: again.length,
      mostLogLines: logs,
      ...(yield* summary(it, options.jobs))
    }
  })

type Load = { readonly jobs: number; readonly ms: number; readonly lease: number }

/** The server is stopped in order, or killed, and started again. */
export const restarted = (how: "stop" | "kill", downMs: number, load: Load) =>
  Effect.scoped(Effect.gen(function*() {
    const server = yield* Postgres.start({ settings: { fsync: "on" } })
    return yield* through(server, undefined, load, () =>
      Effect.gen(function*() {
        yield* how === "stop" ? server.stop : server.kill
        yield* pause(downMs)
        yield* server.start
        return { at: Date.now() }
      }))
  }))

/** What a link does: refuses, resets, cuts in mid-message, goes dark. */
export const linked = (how: "refuse" | "reset" | "cut" | "dark" | "oldDark", ms: number, load: Load) =>
  Effect.scoped(Effect.gen(function*() {
    const server = yield* Postgres.start()
    const proxy = yield* Proxy.start(server.port)
    return yield* through(server, proxy, load, () =>
      Effect.gen(function*() {
        switch (how) {
          case "refuse":
            yield* proxy.refuse
            yield* proxy.reset
            break
          case "reset":
            yield* proxy.reset
            break
          case "cut":
            yield* proxy.cutAfter(1000)
            break
          case "dark":
            yield* proxy.goDark
            break
          case "oldDark":
            yield* proxy.darkenOpen
        }
        yield* pause(ms)
        yield* proxy.cutAfter(undefined)
        yield* proxy.light
        return { at: Date.now() }
      }))
  }))

/** SIGTERM while the link is dark, with jobs running. */
export const terminatedInTheDark = (grace: number): Effect.Effect<
  { readonly code: number | null; readonly ms: number },
  never,
  Scope.Scope
> =>
  Effect.gen(function*() {
    const server = yield* Postgres.start()
    const proxy = yield* Proxy.start(server.port)
    const it = yield* harness(Redacted.value(server.url), { grace, lease: 8000 })
    const child = it.spawn({ url: Redacted.value(server.urlOf({ port: proxy.port })) })
    yield* ready([child])
    yield* enqueue(it, "j", 4, (i) => i === 0 ? 60_000 : 500)
    while (it.ledger().length < 4) yield* pause(20)
    yield* proxy.goDark
    yield* pause(1000)
    const from = Date.now()
    child.process.kill("SIGTERM")
    const exit = yield* Effect.promise(() => child.exited)
    return { code: exit.code, ms: exit.at - from }
  })
