/** Recording outcomes: each once, by whoever holds the job's token. */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as JobStore from "../../../JobStore.ts"
import type { Batches } from "./batches.ts"
import { arrayOf, type Dialect } from "./dialect.ts"
import type { Finding } from "./finding.ts"
import { keyOf, type Row } from "./rows.ts"
import type { Telling } from "./telling.ts"

/** Named as nothing in the table is. */
const columns = {
  job: "text",
  fence: "bigint",
  tag: "text",
  delay_ms: "bigint",
  outcome: "text",
  reason: "text"
} as const

export const makeSettle = (
  { given, isPg, now, sql, t }: Dialect,
  { returning }: Finding,
  { notify, tell }: Telling,
  batches: Batches
): (settlements: ReadonlyArray<JobStore.Settlement>) => Effect.Effect<ReadonlyArray<boolean>, SqlError.SqlError> => {
  const changesOf = sql`
          state = CASE
            WHEN g.tag = 'Done' THEN 'done' WHEN g.tag = 'Dead' THEN 'dead'
            WHEN g.tag = 'Cancelled' OR t.cancelling = 1 THEN 'cancelled'
            WHEN g.delay_ms > 0 THEN 'delayed' ELSE 'ready' END,
          failures = t.failures + CASE WHEN g.tag IN ('Retry', 'Dead') THEN 1 ELSE 0 END,
          results = g.outcome,
          failure = coalesce(g.reason, t.failure),
          run_at = CASE WHEN g.tag IN ('Retry', 'Returned') THEN ${now} + coalesce(g.delay_ms, 0) ELSE t.run_at END,
          worker_id = CASE WHEN g.tag IN ('Retry', 'Returned') AND t.cancelling = 0 THEN NULL ELSE t.worker_id END,
          finished_at = CASE
            WHEN g.tag IN ('Done', 'Dead', 'Cancelled') OR t.cancelling = 1 THEN ${now} ELSE NULL END`
  /** The same, of jobs that are all done. */
  const done = sql`state = 'done', results = g.outcome, finished_at = ${now}`

  const settle = (settlements: ReadonlyArray<JobStore.Settlement>) =>
    Effect.gen(function*() {
      const rows = settlements.map(toRow)
      // By its index, whatever the planner knows of a table that has only just been filled.
      const found = isPg
        ? sql`AND t.id = ANY(ARRAY(SELECT unnest(${arrayOf(settlements.map(({ id }) => id))}::text[])))`
        : sql``
      const changes = settlements.every((it) => it._tag === "Done") ? done : changesOf
      const settled = yield* returning(
        sql`
        UPDATE ${t} AS t SET ${changes}
        FROM ${given(rows, columns)}
        WHERE t.id = g.job ${found} AND t.token = g.fence AND t.state = 'running'`,
        batches.over()
      )
      const keys = new Set(settled.map(keyOf))
      const ready = settlements.some((it) => it._tag === "Returned" && it.delayMs === 0)
      if (ready) yield* notify("ready")
      if (keys.size === settlements.length) return settlements.map(() => true)
      // Nobody else has the token: where the job has left its hands, it was by an earlier call whose answer got lost.
      const before = yield* sql`SELECT t.id, t.token FROM ${t} t
        JOIN ${given(rows, columns)} ON t.id = g.job AND t.token = g.fence WHERE t.state <> 'running'`
      for (const row of before) keys.add(keyOf(row))
      return settlements.map((it) => keys.has(`${it.token} ${it.id}`))
    })

  return (settlements) =>
    Effect.tap(settle(settlements), () =>
      Effect.sync(() => {
        batches.ended(settlements)
        tell("ended")
      }))
}

// ----------------------------------------------------------------------------------------------------------- internals

/** What is not said is null. */
const toRow = (it: JobStore.Settlement): Row => ({
  job: it.id,
  fence: it.token,
  tag: it._tag,
  ...("delayMs" in it ? { delay_ms: it.delayMs } : undefined),
  ...(it._tag === "Done" ? { outcome: it.results } : undefined),
  ...("failure" in it ? { reason: JSON.stringify(it.failure) } : undefined)
})
