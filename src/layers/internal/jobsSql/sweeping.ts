/** Sweeping: delayed jobs that are due become ready, and jobs of silent workers are taken back, or are dead. */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import * as JobStore from "../../../JobStore.ts"
import type { ServerClock } from "../serverClock.ts"
import type { Batches } from "./batches.ts"
import type { Dialect } from "./dialect.ts"
import type { Finding } from "./finding.ts"
import { makeRight } from "./righting.ts"
import { numberOf } from "./rows.ts"
import type { Telling } from "./telling.ts"

/** Jobs that one sweep takes back or makes ready. */
const sweepAtOnce = 500
/** Claims that one sweep looks at. */
const claimsAtOnce = 20

export const makeSweep = (
  dialect: Dialect,
  finding: Finding,
  { tell }: Telling,
  batches: Batches,
  clock: ServerClock
): (flows: ReadonlyArray<string>) => Effect.Effect<JobStore.Swept, SqlError.SqlError> => {
  const { among, claims, isPg, locked, now, seqIn, sql, t } = dialect
  const { delayed, dueAt, firstLease, forget, returning, thenReady, waiting } = finding
  const right = makeRight(dialect, finding)
  const [died, diedOf, diedEnd] = diedText()
  const condemned = sql.literal("started = 1 AND (max_attempts <= 1 OR (alone = 1 AND crashes + 1 >= max_attempts))")
  const givenUp = sql`
    UPDATE ${t} SET
      token = token + 1,
      crashes = crashes + started,
      state = CASE WHEN cancelling = 1 THEN 'cancelled' WHEN ${condemned} THEN 'dead' ELSE 'ready' END,
      failure = CASE WHEN cancelling = 0 AND ${condemned}
        THEN ${sql.literal(diedSql(died, diedOf, diedEnd))} ELSE failure END,
      worker_id = CASE WHEN cancelling = 1 OR ${condemned} THEN worker_id ELSE NULL END,
      finished_at = CASE WHEN cancelling = 1 OR ${condemned} THEN ${now} ELSE NULL END`
  const overdue = sql`state = 'running' AND lease_until <= ${now} ORDER BY lease_until LIMIT ${sweepAtOnce} ${locked}`
  // A claim's row stays for those of its jobs that still run, with the first lease of theirs, and goes with the last one.
  const takeBack = isPg
    ? sql`
      WITH due AS (
        SELECT n, jobs FROM ${claims} WHERE lease_until <= ${now} ORDER BY lease_until LIMIT ${claimsAtOnce} ${locked}
      ), held AS (
        SELECT due.n, r.seq, r.lease_until
        FROM due CROSS JOIN LATERAL unnest(due.jobs) AS u(seq) JOIN ${t} r ON r.seq = u.seq WHERE r.state = 'running'
      ), back AS (
        ${givenUp} WHERE ${seqIn(sql`SELECT seq FROM ${t} WHERE ${seqIn(sql`SELECT seq FROM held`)} AND ${overdue}`)}
        RETURNING id, state, seq, flow, tenant, priority
      ), kept AS (
        SELECT n, array_agg(seq) AS jobs, min(lease_until) AS lease_until FROM held
        WHERE seq NOT IN (SELECT seq FROM back) GROUP BY n
      ), moved AS (
        UPDATE ${claims} c SET jobs = kept.jobs, lease_until = kept.lease_until FROM kept WHERE c.n = kept.n
      ), forgotten AS (
        DELETE FROM ${claims} WHERE n IN (SELECT n FROM due) AND n NOT IN (SELECT n FROM kept)
      ) ${thenReady("back")} SELECT id, state FROM back`
    : sql`${givenUp} WHERE seq IN (SELECT seq FROM ${t} WHERE ${overdue}) RETURNING id, state`
  const makeReady = returning(sql`
    UPDATE ${t} SET state = 'ready' WHERE ${
    seqIn(
      sql`SELECT seq ${delayed} AND ${dueAt} <= ${now} ORDER BY ${dueAt} LIMIT ${sweepAtOnce} ${locked}`
    )
  }`)
  const due = (flows: ReadonlyArray<string>) =>
    Effect.map(
      sql`SELECT
        (SELECT min(${dueAt}) ${delayed}) AS run_at,
        (${firstLease}) AS lease_until,
        CASE WHEN EXISTS (
          SELECT 1 FROM ${among(flows)} WHERE EXISTS (SELECT 1 ${waiting} AND j.flow = g.flow)
        ) THEN 1 ELSE 0 END AS ready,
        ${now} AS at`,
      ([row]) => {
        const at = Number(row?.["at"])
        const runAt = numberOf(row?.["run_at"]) ?? Infinity
        const leaseUntil = numberOf(row?.["lease_until"]) ?? Infinity
        const next = Math.min(runAt, leaseUntil) - at
        return {
          at,
          delayed: runAt <= at,
          expired: leaseUntil <= at,
          ready: Number(row?.["ready"]) === 1,
          nextMs: next === Infinity ? undefined : Math.max(0, next)
        }
      }
    )
  return (flows) =>
    Effect.gen(function*() {
      // Of the last outcomes, which nothing has followed.
      const over = batches.over()
      if (isPg && over.length > 0) yield* forget(over)
      const asked = performance.now()
      let first = yield* due(flows)
      if (yield* clock.check(asked, first.at, right)) first = yield* due(flows)
      if (!first.delayed && !first.expired) {
        return { recovered: [], dead: [], ready: first.ready, nextMs: first.nextMs }
      }
      if (first.delayed) yield* makeReady
      const back = first.expired ? yield* takeBack : []
      const ids = (state: string) => back.filter((row) => row["state"] === state).map((row) => String(row["id"]))
      if (back.some((row) => row["state"] !== "ready")) tell("ended")
      const { nextMs, ready } = yield* due(flows)
      return { recovered: ids("ready"), dead: ids("dead"), ready, nextMs }
    })
}

// ----------------------------------------------------------------------------------------------------------- internals

/** What is recorded of a job whose workers died of it, cut where the database puts its numbers in. */
const diedText = (): readonly [string, string, string] => {
  const crashes = 987_654_321
  const attempt = 123_456_789
  return [JSON.stringify(JobStore.workerDied(crashes, attempt)), String(crashes), String(attempt)]
}

const diedSql = (text: string, crashes: string, attempt: string): string =>
  text.split(new RegExp(`(${crashes}|${attempt})`)).map((part) =>
    part === crashes
      ? "(crashes + 1)"
      : part === attempt
      ? "(failures + crashes + 1)"
      : `'${part.replaceAll("'", "''")}'`
  ).join(" || ")
