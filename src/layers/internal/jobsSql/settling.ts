/** Recording outcomes: each once, by whoever holds the job's token. */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as JobStore from "../../../JobStore.ts"
import type { Dialect } from "./dialect.ts"
import { keyOf } from "./rows.ts"
import type { Telling } from "./telling.ts"

export const makeSettle = (
  { given, isPg, now, sql, t }: Dialect,
  { notify, tell }: Telling
): (settlements: ReadonlyArray<JobStore.Settlement>) => Effect.Effect<ReadonlyArray<boolean>, SqlError.SqlError> => {
  const settleColumns = {
    i: "bigint",
    id: "text",
    token: "bigint",
    tag: "text",
    delay_ms: "bigint",
    results: "text",
    failure: "text"
  } as const

  const settle = (settlements: ReadonlyArray<JobStore.Settlement>) =>
    Effect.gen(function*() {
      const rows = settlements.map((it, i) => ({
        i,
        id: it.id,
        token: it.token,
        tag: it._tag,
        delay_ms: "delayMs" in it ? it.delayMs : 0,
        results: it._tag === "Done" ? it.results : null,
        failure: "failure" in it ? JSON.stringify(it.failure) : null
      }))
      // Locked in one order, or two writers of the same rows wait for each other.
      const locking = sql.literal(isPg ? "ORDER BY r.seq FOR UPDATE OF r" : "")
      const settled = yield* sql`
        UPDATE ${t} AS t SET
          state = CASE
            WHEN h.tag = 'Done' THEN 'done' WHEN h.tag = 'Dead' THEN 'dead'
            WHEN h.tag = 'Cancelled' OR t.cancelling = 1 THEN 'cancelled'
            WHEN h.delay_ms > 0 THEN 'delayed' ELSE 'ready' END,
          failures = t.failures + CASE WHEN h.tag IN ('Retry', 'Dead') THEN 1 ELSE 0 END,
          results = h.results,
          failure = coalesce(h.failure, t.failure),
          run_at = CASE WHEN h.tag IN ('Retry', 'Returned') THEN ${now} + h.delay_ms ELSE t.run_at END,
          worker_id = CASE WHEN h.tag IN ('Retry', 'Returned') AND t.cancelling = 0 THEN NULL ELSE t.worker_id END,
          finished_at = CASE
            WHEN h.tag IN ('Done', 'Dead', 'Cancelled') OR t.cancelling = 1 THEN ${now} ELSE NULL END
        FROM (
          SELECT r.seq, g.tag, g.delay_ms, g.results, g.failure
          FROM ${given(rows, settleColumns)} JOIN ${t} r ON r.id = g.id AND r.token = g.token AND r.state = 'running'
          ${locking}
        ) AS h
        WHERE t.seq = h.seq
        RETURNING id, token`
      const keys = new Set(settled.map(keyOf))
      const ready = settlements.some((it) => it._tag === "Returned" && it.delayMs === 0)
      if (ready) yield* notify("ready")
      if (keys.size === settlements.length) return settlements.map(() => true)
      // Nobody else has the token: where the job has left its hands, it was by an earlier call whose answer got lost.
      const before = yield* sql`SELECT t.id, t.token FROM ${t} t
        JOIN ${given(rows, settleColumns)} ON t.id = g.id AND t.token = g.token WHERE t.state <> 'running'`
      for (const row of before) keys.add(keyOf(row))
      return settlements.map((it) => keys.has(`${it.token} ${it.id}`))
    })

  return (settlements) => Effect.tap(settle(settlements), () => Effect.sync(() => tell("ended")))
}
