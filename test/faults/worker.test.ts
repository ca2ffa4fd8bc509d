/** Workers that are killed, frozen, blocked and cut off, with private servers: the short form of `worker/numbers.ts`. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Redacted, Scope } from "effect"
import * as Postgres from "../utils/servers/postgres.ts"
import * as Scenarios from "./worker/scenarios.ts"

describe("workers over SQLite", () => {
  it.live("killed at random: nothing is lost, every effect is there once, no two owners are alive", () =>
    Effect.gen(function*() {
      const it = yield* Scenarios.killed(undefined, { jobs: 120, kills: 3, ms: 80, lease: 1000 })
      assert.deepStrictEqual(
        { done: it.done, lost: it.lost, effects: it.effects, twice: it.twice, overlaps: it.overlaps },
        { done: 120, lost: 0, effects: 120, twice: 0, overlaps: 0 }
      )
      assert.isAtMost(it.lastTakeoverMsAfterLastKill, 1000 + 5000)
    }))
})

describe.skipIf(!Postgres.available)("workers over PostgreSQL", () => {
  const scope = Scope.makeUnsafe()
  let server: Postgres.PostgresServer | undefined
  beforeAll(async () => {
    server = await Effect.runPromise(Scope.provide(Postgres.start(), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  let databases = 0
  /** A database of its own in the server that all of them share. */
  const fresh = Effect.promise(async () => {
    const { PgClient } = await import("@effect/sql-pg")
    const name = `faults_${databases++}`
    await Effect.runPromise(
      PgClient.PgClient.use((sql) => sql`CREATE DATABASE ${sql(name)}`).pipe(
        Effect.provide(PgClient.layer({ url: server!.url }))
      )
    )
    return Redacted.value(server!.urlOf({ database: name }))
  })

  it.live("killed at random: nothing is lost, every effect is there once, no two owners are alive", () =>
    Effect.gen(function*() {
      const it = yield* Scenarios.killed(yield* fresh, { jobs: 120, kills: 3, ms: 80, lease: 1000 })
      assert.deepStrictEqual(
        { done: it.done, lost: it.lost, effects: it.effects, twice: it.twice, overlaps: it.overlaps },
        { done: 120, lost: 0, effects: 120, twice: 0, overlaps: 0 }
      )
      assert.isAtMost(it.lastTakeoverMsAfterLastKill, 1000 + 5000)
    }))

  it.live("killed at what they enqueued themselves: nothing is lost, and their deaths are nobody's fault", () =>
    Effect.gen(function*() {
      const it = yield* Scenarios.feedersKilled(yield* fresh, { kills: 3, feedMs: 20, lease: 1000 })
      assert.isAbove(it.handed, 20)
      assert.isAbove(it.stored, 20)
      assert.deepStrictEqual(
        { notDone: it.notDone, lost: it.lost, dead: it.dead, twice: it.twice, overlaps: it.overlaps },
        { notDone: 0, lost: 0, dead: 0, twice: 0, overlaps: 0 }
      )
      assert.isAbove(it.rerun, 0)
    }))

  it.live("frozen for longer than its lease: taken over, and the awakened one learns it and records nothing", () =>
    Effect.gen(function*() {
      const it = yield* Scenarios.frozen(yield* fresh, 1000)
      assert.isAtMost(it.takenOverMs ?? Infinity, 1000 + 2000)
      assert.deepStrictEqual(
        [it.learned, it.recordedByTheAwakened, it.recordedByTheOther, it.effects, it.mostStarts],
        [2, 0, 2, 2, 2]
      )
    }))

  it.live("an event loop blocked for two leases: two starts at most, of three workers", () =>
    Effect.gen(function*() {
      const it = yield* Scenarios.blocked(yield* fresh, 1000, 3)
      assert.isAtMost(it.starts ?? Infinity, 2)
      assert.deepStrictEqual([it.done, it.effects], [1, 1])
    }))

  it.live("a job that kills its process is dead after maxAttempts, and its twenty neighbours are done", () =>
    Effect.gen(function*() {
      const it = yield* Scenarios.poison(yield* fresh, "kill", { neighbours: 20, lease: 600, workers: 2 })
      assert.deepStrictEqual(
        [it.poison, it.reason, it.starts, it.done, it.effects],
        ["dead", "worker died (3×)", 3, 20, 20]
      )
    }))

  it.live("clocks that are ten minutes wrong, and jump: nothing is taken over, delayed jobs are in time, all get work", () =>
    Effect.gen(function*() {
      const it = yield* Scenarios.clocks(yield* fresh, 10, 1000)
      assert.deepStrictEqual([it.done, it.effects, it.mostStarts, it.leasesLost], [39, 39, 1, 0])
      assert.isAtLeast(Math.min(...it.perWorker), 2)
      assert.isAtLeast(it.early, 0)
      assert.isAtMost(it.late, 4000)
      // The clocks were wrong indeed.
      assert.strictEqual(it.minutesApart, 10)
    }))

  it.live("the only worker's clock is set back by twenty minutes: what falls due begins in time", () =>
    Effect.gen(function*() {
      const it = yield* Scenarios.clockAlone(yield* fresh, 10)
      assert.strictEqual(it.done, 1)
      assert.isAtLeast(it.late, 0)
      assert.isAtMost(it.late, 3000)
    }))

  it.live("SIGTERM: at once when idle, after a short job, after its grace with a long one; again: at once", () =>
    Effect.gen(function*() {
      const { idle, interrupted, long, short, twice } = yield* Scenarios.terminated(yield* fresh, 1000)
      assert.deepStrictEqual([idle.code, idle.ms < 1000], [0, true])
      assert.deepStrictEqual([short.code, short.state, short.ms < 2000], [0, "done", true])
      assert.deepStrictEqual([long.code, long.state, long.attempts, long.ms < 3000], [0, "queued", 0, true])
      assert.strictEqual(interrupted.code, 130)
      assert.deepStrictEqual([twice.code, twice.ms < 1000], [143, true])
    }))

  it.live("SIGTERM while the link is dark: ends within its grace and two seconds", () =>
    Effect.gen(function*() {
      const it = yield* Scenarios.terminatedInTheDark(1000)
      assert.deepStrictEqual([it.code, it.ms <= 3000], [0, true], `after ${it.ms} ms`)
    }))

  it.live("the server is killed and started: no worker exits, work goes on, nothing that is done runs again", () =>
    Effect.gen(function*() {
      const it = yield* Scenarios.restarted("kill", 300, { jobs: 100, ms: 300, lease: 2000 })
      assert.deepStrictEqual(
        { exits: it.exits, done: it.done, lost: it.lost, effects: it.effects, again: it.finishedRunAgain },
        { exits: 0, done: 100, lost: 0, effects: 100, again: 0 }
      )
      assert.isAtMost(it.resumedMs ?? Infinity, 5000)
    }))

  it.live("the link goes dark for four seconds: no worker exits, and work goes on", () =>
    Effect.gen(function*() {
      const it = yield* Scenarios.linked("dark", 4000, { jobs: 100, ms: 300, lease: 2000 })
      assert.deepStrictEqual(
        { exits: it.exits, done: it.done, lost: it.lost, effects: it.effects, twice: it.twice },
        { exits: 0, done: 100, lost: 0, effects: 100, twice: 0 }
      )
      assert.isAtMost(it.resumedMs ?? Infinity, 20_000)
    }))
})
