/** Leases: begun, prolonged, and given back where the answer to their claim got lost. */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as JobStore from "../../../JobStore.ts"
import type { Batches } from "./batches.ts"
import type { Dialect } from "./dialect.ts"
import type { Finding } from "./finding.ts"
import { keyOf, textOf } from "./rows.ts"

type Asked<F> = F extends (...args: infer Args) => Effect.Effect<infer A, unknown>
  ? (...args: Args) => Effect.Effect<A, SqlError.SqlError>
  : never

export interface Leasing {
  readonly start: Asked<JobStore.JobStore["start"]>
  readonly renew: Asked<JobStore.JobStore["renew"]>
  readonly disown: Asked<JobStore.JobStore["disown"]>
}

export const makeLeasing = (
  { given, greatest, isPg, now, seqIn, sql, t }: Dialect,
  { returning, running }: Finding,
  batches: Batches
): Leasing => {
  const leaseColumns = { id: "text", token: "bigint" } as const

  const renew = (
    leases: ReadonlyArray<JobStore.Lease>,
    { leaseMs, stalledMs }: { readonly leaseMs: number; readonly stalledMs: number }
  ) =>
    Effect.gen(function*() {
      const rows = leases.map(({ id, token }) => ({ id, token }))
      // Who waits here for one that is just being settled may be waited for by the same statement.
      const locking = sql.literal(isPg ? "FOR UPDATE OF r SKIP LOCKED" : "")
      const mine = sql`${
        given(rows, leaseColumns)
      } JOIN ${t} r ON r.id = g.id AND r.token = g.token AND r.state = 'running'`
      const prolonging = sql`
        UPDATE ${t} SET lease_until = ${greatest}(lease_until, ${now} + ${leaseMs})
        WHERE ${seqIn(sql`SELECT r.seq FROM ${mine} ${locking}`)} RETURNING id, token, cancelling, cancel_reason`
      // Those to which somebody writes at this moment are not lost, and prolonged the next time.
      const held = yield* (isPg
        ? sql`WITH prolonged AS (${prolonging}) SELECT * FROM prolonged UNION ALL
          SELECT r.id, r.token, r.cancelling, r.cancel_reason FROM ${mine} WHERE r.id NOT IN (SELECT id FROM prolonged)`
        : prolonging)
      const tokens = new Set(held.map(keyOf))
      const lost = leases.filter((it) => !tokens.has(`${it.token} ${it.id}`))
      if (lost.length > 0 && stalledMs > 0) {
        yield* sql`
          UPDATE ${t} SET lease_until = ${greatest}(lease_until, started_at + ${stalledMs + leaseMs})
          WHERE state = 'running' AND ${sql.in("id", lost.map((it) => it.id))}`
      }
      batches.ended(lost)
      const cancelled = held.filter((row) => Number(row["cancelling"]) === 1).map((row) => ({
        id: String(row["id"]),
        token: Number(row["token"]),
        reason: textOf(row["cancel_reason"])
      }))
      return { lost, cancelled }
    })

  return {
    renew,
    start: ({ id, token }) =>
      Effect.map(
        sql`UPDATE ${t} SET started = 1, started_at = ${now}
          WHERE id = ${id} AND token = ${token} AND state = 'running' RETURNING id`,
        (rows) => rows.length > 0
      ),
    disown: (workerId, known) =>
      Effect.map(
        returning(sql`UPDATE ${t} SET state = 'ready', token = token + 1, worker_id = NULL
          WHERE ${seqIn(sql`SELECT r.seq ${running} AND r.worker_id = ${workerId}`)} AND state = 'running'
            AND worker_id = ${workerId}
            AND id NOT IN (SELECT g.id FROM ${given(known.map((id) => ({ id })), { id: "text" })})`),
        (rows) => rows.length
      )
  }
}
