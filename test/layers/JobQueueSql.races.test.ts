/** Everything at once, on few jobs, from two stores on one database: what a store promises holds, whoever comes first. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { JobError } from "penguiflow/JobError"
import * as JobQueue from "penguiflow/JobQueue"
import type { Claim, JobStore, Settlement } from "penguiflow/JobStore"
import * as JobQueueSql from "penguiflow/layers/JobQueueSql"
import * as Postgres from "penguiflow/layers/Postgres"
import * as Sqlite from "penguiflow/layers/Sqlite"
import { ask, newJob } from "../utils/jobs.ts"
import * as PostgresServer from "../utils/servers/postgres.ts"

const leaseMs = 150
const leastDone = 50
const table = "races"

/** Whole numbers below `n`, the same for the same seed. */
const dice = (seed: number) => {
  let state = seed
  return (n: number): number => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296
    return Math.floor(state / 4_294_967_296 * n)
  }
}

const failure = { code: "No", message: "no", node: undefined, attempt: 1, detail: undefined, kind: "job" } as const

/** What the world has seen, and what it must not see. */
class World {
  readonly stored: Array<string> = []
  readonly purged = new Set<string>()
  readonly done = new Set<string>()
  readonly tokens = new Set<string>()
  readonly wrong: Array<string> = []
  next = 0

  claimed(claims: ReadonlyArray<Claim>): void {
    for (const { id, token } of claims) {
      const key = `${token} ${id}`
      if (this.tokens.has(key)) this.wrong.push(`${key} was given out twice`)
      if (this.done.has(id)) this.wrong.push(`${id} was done, and was given out`)
      this.tokens.add(key)
    }
  }
}

/** One who does whatever comes into its head for `ms` milliseconds; `held` are its jobs. */
const actor = (store: JobStore, world: World, name: string, seed: number, ms: number) =>
  Effect.gen(function*() {
    const roll = dice(seed)
    const held = new Map<string, Claim>()
    const any = () => world.stored[roll(world.stored.length)] ?? "none"
    const someJob = () =>
      newJob(`job-${world.next++}`, {
        flow: "f",
        tenant: `t${roll(3)}`,
        priority: roll(2),
        delayMs: roll(3) === 0 ? 20 : 0,
        maxAttempts: 50
      })
    const claim = Effect.gen(function*() {
      const claims = yield* store.claim(ask({
        workerId: name,
        flows: ["f"],
        limit: 1 + roll(5),
        leaseMs,
        tenantLimit: roll(4) === 0 ? 3 : undefined
      }))
      world.claimed(claims)
      for (const one of claims) held.set(one.id, one)
      // A suspect runs once it was begun, or not at all.
      for (const one of claims) if (one.alone && !(yield* store.start(one))) held.delete(one.id)
    })
    const settle = Effect.gen(function*() {
      const settlements = [...held.values()].slice(0, 1 + roll(5)).map(({ id, token }): Settlement => {
        const lease = { id, token }
        switch (roll(6)) {
          case 0:
            return { ...lease, _tag: "Retry", delayMs: roll(2) * 15, failure }
          case 1:
            return { ...lease, _tag: "Dead", failure }
          case 2:
            return { ...lease, _tag: "Returned", delayMs: 0 }
          case 3:
            return { ...lease, _tag: "Cancelled", failure }
          default:
            return { ...lease, _tag: "Done", results: "[1]" }
        }
      })
      if (settlements.length === 0) return
      const answers = yield* store.settle(settlements)
      settlements.forEach(({ _tag, id }, i) => {
        held.delete(id)
        if (!answers[i] || _tag !== "Done") return
        if (world.done.has(id)) world.wrong.push(`${id} was done twice`)
        world.done.add(id)
      })
    })
    const renew = Effect.gen(function*() {
      const { lost } = yield* store.renew([...held.values()], { leaseMs, stalledMs: roll(3) === 0 ? leaseMs : 0 })
      for (const { id } of lost) held.delete(id)
    })
    const purge = Effect.gen(function*() {
      const id = any()
      const there = yield* store.purge({ ids: [id], states: ["queued", "done", "dead", "cancelled"], limit: 1 })
      if (there === 1) world.purged.add(id)
    })
    const steps: ReadonlyArray<Effect.Effect<unknown, JobError>> = [
      Effect.suspend(() => {
        const jobs = Array.from({ length: 1 + roll(4) }, someJob)
        return Effect.tap(
          store.enqueue(jobs, { maxLength: 100_000 }),
          () => Effect.sync(() => world.stored.push(...jobs.map((job) => job.id)))
        )
      }),
      Effect.suspend(() => {
        const job = { ...someJob(), delayMs: 0 }
        return Effect.map(store.enqueue([job], { maxLength: 100_000, taker: { workerId: name, leaseMs } }), () => {
          const taken = { ...job, token: 1, failures: 0, crashes: 0, waitedMs: 0, alone: false }
          world.stored.push(job.id)
          world.claimed([taken])
          held.set(job.id, taken)
        })
      }),
      claim,
      claim,
      settle,
      settle,
      renew,
      purge,
      Effect.suspend(() => store.cancel(any(), undefined)),
      Effect.suspend(() => store.requeue({ ids: [any(), any()], states: ["dead", "cancelled"], limit: 2 })),
      store.sweep(["f"]),
      Effect.suspend(() => store.disown(name, [...held.keys()])),
      Effect.sleep(20)
    ]
    const until = performance.now() + ms
    // On a busy machine a little longer, until enough has happened.
    const most = until + 15_000
    while (
      performance.now() < until || world.done.size <= leastDone && performance.now() < most
    ) yield* steps[roll(steps.length)]!
  })

/** To the end: every lease runs out, and whatever can be claimed is done. */
const finish = (store: JobStore, world: World) =>
  Effect.gen(function*() {
    for (let empty = 0; empty < 3;) {
      yield* Effect.sleep(leaseMs)
      const swept = yield* store.sweep(["f"])
      const claims = yield* store.claim(ask({ workerId: "last", flows: ["f"], limit: 500 }))
      world.claimed(claims)
      for (const one of claims) if (one.alone) yield* store.start(one)
      if (claims.length > 0) {
        yield* store.settle(claims.map(({ id, token }) => ({ id, token, _tag: "Done", results: "[1]" })))
      }
      empty = claims.length + swept.recovered.length === 0 && swept.nextMs === undefined ? empty + 1 : 0
    }
  })

const play = (a: JobStore, b: JobStore, ms: number) =>
  Effect.gen(function*() {
    const world = new World()
    const seed = Date.now() % 1_000_000
    yield* Effect.forEach(
      Array.from({ length: 10 }, (_, i) => i),
      (i) => actor(i % 2 === 0 ? a : b, world, `w${i}`, seed + i, ms),
      { concurrency: "unbounded" }
    )
    yield* finish(a, world)
    const message = `seed ${seed}`
    assert.deepStrictEqual(world.wrong, [], message)
    assert.isAbove(world.done.size, leastDone, message)
    assert.isAbove(world.purged.size, 0, message)
    const left = yield* a.list({ limit: 100_000 })
    const ends = new Set(["done", "dead", "cancelled"])
    assert.deepStrictEqual(left.filter(({ state }) => !ends.has(state)), [], message)
    assert.sameMembers(left.map(({ id }) => id), world.stored.filter((id) => !world.purged.has(id)), message)
    return message
  })

const open = (database: Layer.Layer<SqlClient.SqlClient, unknown>) =>
  Effect.map(
    Layer.build(Layer.fresh(JobQueueSql.layer({ table }).pipe(Layer.provideMerge(Layer.fresh(database))))),
    (context) => ({
      store: Context.get(context, JobQueue.JobQueue).store,
      sql: Context.get(context, SqlClient.SqlClient)
    })
  )

const directory = mkdtempSync(join(tmpdir(), "penguiflow-races-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe("a job store in SQL, when everything happens at once", () => {
  it.live("in SQLite: no job is lost, given out twice with one token, or done twice", () =>
    Effect.scoped(Effect.gen(function*() {
      const database = Sqlite.layer({ filename: join(directory, "jobs.sqlite") })
      const [a, b] = [yield* open(database), yield* open(database)]
      yield* play(a.store, b.store, 2000)
    })))

  describe.skipIf(!PostgresServer.available)("with a PostgreSQL server", () => {
    const rooms = { "read committed": 4000, "repeatable read": 2000, serializable: 2000 }
    describe.each(Object.entries(rooms))("whose transactions are %s", (isolation, ms) => {
      const scope = Scope.makeUnsafe()
      let server!: PostgresServer.PostgresServer
      const start = PostgresServer.start({ settings: { default_transaction_isolation: `'${isolation}'` } })
      beforeAll(async () => {
        server = await Effect.runPromise(Scope.provide(start, scope))
      })
      afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

      it.live("in PostgreSQL: nor do two ever wait for each other, and nothing stays in the tables beside the jobs", () =>
        Effect.scoped(Effect.gen(function*() {
          const database = Postgres.layer({ url: server.url })
          const [a, b] = [yield* open(database), yield* open(database)]
          const seed = yield* play(a.store, b.store, ms)
          const { sql } = a
          const [beside] = yield* sql<{ ready: number; claims: number }>`
            SELECT (SELECT count(*)::int FROM races_ready) AS ready,
              (SELECT count(*)::int FROM races_claims WHERE lease_until < extract(epoch FROM now()) * 1000) AS claims`
          assert.deepStrictEqual(beside, { ready: 0, claims: 0 }, seed)
          const [deadlocks] = yield* sql<{ n: number }>`
            SELECT deadlocks::int AS n FROM pg_stat_database WHERE datname = current_database()`
          assert.deepStrictEqual(deadlocks, { n: 0 }, seed)
          // What a stricter server has undone was tried again, and nobody heard of it.
          const undone = (yield* server.output).includes("could not serialize access")
          assert.strictEqual(undone, isolation !== "read committed", seed)
        })))
    })
  })
})
