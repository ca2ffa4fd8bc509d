/** Looking after jobs: listing, cancelling, giving another go, forgetting, counting. */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as Statement from "effect/sql/Statement"
import type * as JobStore from "../../../JobStore.ts"
import type { Dialect } from "./dialect.ts"
import type { Finding } from "./finding.ts"
import { clean, stateOf, toRecord } from "./rows.ts"
import type { Telling } from "./telling.ts"

export interface Tending {
  readonly list: (filter: JobStore.Filter) => Effect.Effect<ReadonlyArray<JobStore.JobRecord>, SqlError.SqlError>
  readonly ended: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<string>, SqlError.SqlError>
  readonly cancel: (id: string, reason: string | undefined) => Effect.Effect<boolean, SqlError.SqlError>
  readonly requeue: (filter: JobStore.Filter) => Effect.Effect<number, SqlError.SqlError>
  readonly purge: (filter: JobStore.Filter) => Effect.Effect<number, SqlError.SqlError>
  readonly counts: Effect.Effect<{ readonly [State in JobStore.JobState]: number }, SqlError.SqlError>
}

export const makeTending = (
  { given, isPg, now, sql, t }: Dialect,
  { notReady, queued, returning, running }: Finding,
  { notify, tellLater }: Telling
): Tending => {
  const where = (filter: JobStore.Filter): Statement.Fragment => {
    const parts: Array<Statement.Fragment> = []
    if (filter.ids !== undefined) {
      parts.push(sql`id IN (SELECT g.id FROM ${given(filter.ids.map((id) => ({ id })), { id: "text" })})`)
    }
    if (filter.states !== undefined) {
      const states = filter.states.flatMap((state) => state === "queued" ? ["ready", "delayed"] : [state])
      parts.push(states.length === 0 ? sql`1 = 0` : sql.in("state", states))
      // Among millions that have ended, the few that have not.
      const ended = filter.states.some((state) => state !== "queued" && state !== "running")
      if (!ended && states.length > 0) {
        const places = filter.states.map((state) => state === "queued" ? queued : sql`SELECT r.seq ${running}`)
        parts.push(sql`seq IN (${sql.join(" UNION ALL ", false)(places)})`)
      }
    }
    if (filter.flow !== undefined) parts.push(sql`flow = ${clean(filter.flow)}`)
    if (filter.tenant !== undefined) parts.push(sql`tenant = ${clean(filter.tenant)}`)
    if (filter.finishedBefore !== undefined) {
      const before = Math.floor(filter.finishedBefore)
      // What has ended before was stored before, which has an index in PostgreSQL, where the other has none.
      parts.push(isPg ? sql`finished_at < ${before} AND enqueued_at < ${before}` : sql`finished_at < ${before}`)
    }
    if (filter.afterSeq !== undefined) parts.push(sql`seq > ${Math.floor(filter.afterSeq)}`)
    return parts.length === 0 ? sql`1 = 1` : sql.and(parts)
  }
  const chosen = (filter: JobStore.Filter) =>
    sql`SELECT seq FROM ${t} WHERE ${where(filter)} ORDER BY seq LIMIT ${filter.limit}`
  /** Whoever waits for its row is the first to have it, and the state is looked at once more. */
  const first = sql.literal(isPg ? "AND (SELECT count(*) FROM gone) >= 0" : "")
  return {
    list: (filter) =>
      Effect.map(
        sql`SELECT * FROM ${t} WHERE ${where(filter)} ORDER BY seq LIMIT ${filter.limit}`,
        (rows) => rows.map(toRecord)
      ),
    ended: (ids) =>
      Effect.map(
        sql<{ id: string }>`SELECT g.id FROM ${given(ids.map((id) => ({ id })), { id: "text" })}
          LEFT JOIN ${t} t ON t.id = g.id WHERE t.id IS NULL OR t.finished_at IS NOT NULL`,
        (rows) => rows.map((row) => row.id)
      ),
    cancel: (id, reason) =>
      Effect.gen(function*() {
        const withoutIt = isPg ? sql`WITH ${notReady(sql`SELECT seq FROM ${t} WHERE id = ${id}`)}` : sql``
        const rows = yield* sql<{ state: string }>`
          ${withoutIt} UPDATE ${t} SET
            cancel_reason = CASE WHEN cancelling = 1 THEN cancel_reason ELSE ${reason ?? null} END,
            cancelling = CASE WHEN state = 'running' THEN 1 ELSE 0 END,
            finished_at = CASE WHEN state = 'running' THEN NULL ELSE ${now} END,
            state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END
          WHERE id = ${id} AND state IN ('ready', 'delayed', 'running') ${first} RETURNING state`
        const [row] = rows
        if (row === undefined) return false
        const change = row.state === "running" ? "cancel" : "ended"
        if (change === "cancel") yield* notify(change)
        yield* tellLater(change)
        return true
      }),
    requeue: (filter) =>
      Effect.gen(function*() {
        const rows = yield* returning(sql`
          UPDATE ${t} SET state = 'ready', failures = 0, crashes = 0, alone = 0, started = 0, cancelling = 0,
            cancel_reason = NULL, finished_at = NULL, started_at = NULL, worker_id = NULL, run_at = ${now}
          WHERE seq IN (${chosen(filter)} ${sql.literal(isPg ? "FOR UPDATE" : "")})`)
        if (rows.length > 0) {
          yield* notify("ready")
          yield* tellLater("ready")
        }
        return rows.length
      }),
    purge: (filter) =>
      Effect.map(
        isPg && (filter.states?.includes("queued") ?? true)
          ? sql`WITH chosen AS (${chosen(filter)}), ${notReady(sql`SELECT seq FROM chosen`)}
            DELETE FROM ${t} WHERE seq IN (SELECT seq FROM chosen) AND ${where(filter)} ${first} RETURNING id`
          : sql`DELETE FROM ${t} WHERE seq IN (${chosen(filter)}) RETURNING id`,
        (rows) => rows.length
      ),
    counts: Effect.map(sql`SELECT state, count(*) AS n FROM ${t} GROUP BY state`, (rows) => {
      const counts = { queued: 0, running: 0, done: 0, dead: 0, cancelled: 0 }
      for (const row of rows) counts[stateOf(row["state"])] += Number(row["n"])
      return counts
    })
  }
}
