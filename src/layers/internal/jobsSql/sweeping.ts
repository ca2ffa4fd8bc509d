/** Sweeping: delayed jobs that are due become ready, and jobs of silent workers are taken back, or are dead. */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import * as JobStore from "../../../JobStore.ts"
import type { Dialect } from "./dialect.ts"
import { numberOf } from "./rows.ts"
import type { Telling } from "./telling.ts"

/** Jobs that one sweep takes back or makes ready. */
const sweepAtOnce = 500

export const makeSweep = (
  { among, locked, now, sql, t }: Dialect,
  { tell }: Telling
): (flows: ReadonlyArray<string>) => Effect.Effect<JobStore.Swept, SqlError.SqlError> => {
  const [died, diedOf, diedEnd] = diedText()
  const condemned = sql.literal("started = 1 AND (max_attempts <= 1 OR (alone = 1 AND crashes + 1 >= max_attempts))")
  const takeBack = sql`
    UPDATE ${t} SET
      token = token + 1,
      crashes = crashes + started,
      state = CASE WHEN cancelling = 1 THEN 'cancelled' WHEN ${condemned} THEN 'dead' ELSE 'ready' END,
      failure = CASE WHEN cancelling = 0 AND ${condemned}
        THEN ${sql.literal(diedSql(died, diedOf, diedEnd))} ELSE failure END,
      worker_id = CASE WHEN cancelling = 1 OR ${condemned} THEN worker_id ELSE NULL END,
      finished_at = CASE WHEN cancelling = 1 OR ${condemned} THEN ${now} ELSE NULL END
    WHERE seq IN (
      SELECT seq FROM ${t} WHERE state = 'running' AND lease_until <= ${now}
      ORDER BY lease_until LIMIT ${sweepAtOnce} ${locked}
    )
    RETURNING id, state`
  const makeReady = sql`
    UPDATE ${t} SET state = 'ready' WHERE seq IN (
      SELECT seq FROM ${t} WHERE state = 'delayed' AND run_at <= ${now} ORDER BY run_at LIMIT ${sweepAtOnce} ${locked}
    )`
  const due = (flows: ReadonlyArray<string>) =>
    Effect.map(
      sql`SELECT
        (SELECT min(run_at) FROM ${t} WHERE state = 'delayed') AS run_at,
        (SELECT min(lease_until) FROM ${t} WHERE state = 'running') AS lease_until,
        CASE WHEN EXISTS (
          SELECT 1 FROM ${among(flows)}
          WHERE EXISTS (SELECT 1 FROM ${t} j WHERE j.state = 'ready' AND j.flow = g.flow)
        ) THEN 1 ELSE 0 END AS ready,
        ${now} AS at`,
      ([row]) => {
        const at = Number(row?.["at"])
        const runAt = numberOf(row?.["run_at"]) ?? Infinity
        const leaseUntil = numberOf(row?.["lease_until"]) ?? Infinity
        const next = Math.min(runAt, leaseUntil) - at
        return {
          delayed: runAt <= at,
          expired: leaseUntil <= at,
          ready: Number(row?.["ready"]) === 1,
          nextMs: next === Infinity ? undefined : Math.max(0, next)
        }
      }
    )
  return (flows) =>
    Effect.gen(function*() {
      const first = yield* due(flows)
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
