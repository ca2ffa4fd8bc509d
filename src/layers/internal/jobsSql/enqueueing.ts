/** Storing jobs: all or none, each id once, and no more than the queue may hold. */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import * as JobStore from "../../../JobStore.ts"
import type { Batches } from "./batches.ts"
import type { Dialect } from "./dialect.ts"
import type { Finding } from "./finding.ts"
import { fixed } from "./fixed.ts"
import type { Telling } from "./telling.ts"

export const makeEnqueue = (
  { client, given, inTransaction, isPg, now, rowsIn, sql, t }: Dialect,
  { queued, thenReady, thenRunning }: Finding,
  { newWord, notifyFor, tellLater, withTold }: Telling,
  batches: Batches
): (
  ...args: Parameters<JobStore.JobStore["enqueue"]>
) => Effect.Effect<ReadonlyArray<JobStore.Stored>, SqlError.SqlError> => {
  const lengthOf = sql<{ n: number }>`SELECT count(*) AS n FROM (${queued}) AS q`
  let length = 0
  let fresh = 0
  /** Anew once a hundredth of the limit was stored since, or a second has passed. */
  const count = Effect.map(lengthOf, ([row]) => {
    length = Number(row?.n ?? 0)
    fresh = performance.now()
  })

  const compare = (jobs: ReadonlyArray<JobStore.NewJob>) =>
    Effect.map(
      sql`SELECT t.id, t.flow, t.payload FROM ${t} t
        JOIN ${given(jobs.map(({ id }) => ({ id })), { id: "text" })} ON t.id = g.id`,
      (rows) => {
        const known = new Map(rows.map((row) => [String(row["id"]), row]))
        return jobs.map((job): JobStore.Stored | undefined => {
          const row = known.get(job.id)
          return row === undefined
            ? undefined
            : row["flow"] === job.flow && row["payload"] === job.payload
            ? "same"
            : "conflict"
        })
      }
    )

  const write = (taken: boolean) =>
    fixed<Inserted, "rows" | "word" | "workerId" | "leaseMs">(sql, (value) => {
      const [columns, values] = taken
        ? [
          sql`, token, started, started_at, worker_id, lease_until`,
          sql`, 1, 1, clock.at, ${value("workerId")}, clock.at + ${value("leaseMs")}`
        ]
        : [sql``, sql``]
      const state = taken ? sql`'running'` : sql`CASE WHEN g.delay_ms > 0 THEN 'delayed' ELSE 'ready' END`
      const inserted = sql`
        INSERT INTO ${t} (id, flow, payload, tenant, topic, priority, meta, max_attempts, timeout_ms, state, enqueued_at, run_at
          ${columns})
        SELECT g.id, g.flow, g.payload, g.tenant, g.topic, g.priority, g.meta, g.max_attempts, g.timeout_ms, ${state},
          clock.at, clock.at + g.delay_ms ${values}
        FROM ${rowsIn(value("rows"), newColumns)} CROSS JOIN (SELECT ${now} AS at) AS clock WHERE true ORDER BY g.i
        ON CONFLICT (id) DO NOTHING RETURNING id`
      if (!isPg) return inserted
      return taken
        ? sql`WITH stored AS (${inserted}, seq, lease_until) ${
          thenRunning("stored", value("workerId"))
        } SELECT stored.id, noted.n FROM stored CROSS JOIN noted`
        : sql`WITH stored AS (${inserted}, seq, flow, tenant, priority, state) ${thenReady("stored")} ${
          notifyFor("stored", "ready", value("word"))
        } SELECT stored.id FROM ${withTold("stored")}`
    })
  const [insertWaiting, insertTaken] = [write(false), write(true)]

  const insert = (jobs: ReadonlyArray<JobStore.NewJob>, word: string, taker: JobStore.Taker | undefined) => {
    const rows = JSON.stringify(jobs.map((job, i) => ({
      i,
      id: job.id,
      flow: job.flow,
      payload: job.payload,
      tenant: job.tenant,
      ...(job.topic === undefined ? undefined : { topic: job.topic }),
      priority: job.priority,
      meta: job.meta,
      max_attempts: job.maxAttempts,
      ...(job.timeoutMs === undefined ? undefined : { timeout_ms: job.timeoutMs }),
      delay_ms: job.delayMs
    })))
    return taker === undefined
      ? insertWaiting({ rows, word, workerId: "", leaseMs: 0 })
      : insertTaken({ rows, word: "", ...taker })
  }

  const enqueue = (
    jobs: ReadonlyArray<JobStore.NewJob>,
    maxLength: number,
    word: string,
    taker: JobStore.Taker | undefined
  ) =>
    Effect.gen(function*() {
      if (performance.now() > fresh + 1000 || length + jobs.length > maxLength * 0.99) yield* count
      if (length + jobs.length > maxLength) {
        const answers = yield* compare(jobs)
        const missing = answers.filter((answer) => answer === undefined).length
        if (missing > 0 && length + missing > maxLength) return answers.map((answer) => answer ?? "full")
      }
      const rows = yield* insert(jobs, word, taker)
      for (const { id, n } of rows) if (n !== undefined) batches.began(Number(n), [{ id, token: 1 }])
      const ids = new Set(rows.map((row) => row.id))
      const stored = taker === undefined ? "created" : "taken"
      if (taker === undefined) length += ids.size
      if (ids.size === jobs.length) return jobs.map((): JobStore.Stored => stored)
      const answers = yield* compare(jobs)
      // One that was there and is gone again was purged in between: it is said to be full, to be tried again.
      return jobs.map((job, i): JobStore.Stored => ids.has(job.id) ? stored : answers[i] ?? "full")
    })

  const refused = (answers: ReadonlyArray<JobStore.Stored>) => answers.includes("conflict") || answers.includes("full")
  /** Several jobs are stored all or none: what was stored before a refusal is rolled back. */
  const enqueueAll = (jobs: ReadonlyArray<JobStore.NewJob>, maxLength: number, word: string) =>
    client.withTransaction(
      Effect.filterOrFail(
        enqueue(jobs, maxLength, word, undefined),
        (answers) => !refused(answers),
        (answers) => new Refusal(answers)
      )
    ).pipe(
      Effect.catchIf(
        (error): error is Refusal => error instanceof Refusal,
        (error) => Effect.succeed(error.answers)
      )
    )

  return (jobs, { maxLength, taker }) =>
    Effect.flatMap(inTransaction, (inside) => {
      const word = newWord()
      return Effect.tap(
        jobs.length > 1
          ? enqueueAll(jobs, maxLength, word)
          : enqueue(jobs, maxLength, word, inside || !JobStore.mayBeTaken(jobs) ? undefined : taker),
        (answers) => answers.includes("created") ? tellLater("ready", word) : Effect.void
      )
    })
}

// ----------------------------------------------------------------------------------------------------------- internals

/** Rolls a transaction back, and carries the answers out of it. */
class Refusal {
  readonly answers: ReadonlyArray<JobStore.Stored>
  constructor(answers: ReadonlyArray<JobStore.Stored>) {
    this.answers = answers
  }
}

const newColumns = {
  i: "bigint",
  id: "text",
  flow: "text",
  payload: "text",
  tenant: "text",
  topic: "text",
  priority: "bigint",
  meta: "text",
  max_attempts: "bigint",
  timeout_ms: "bigint",
  delay_ms: "bigint"
} as const

interface Inserted {
  readonly id: string
  /** Its claim, in PostgreSQL. */
  readonly n?: unknown
}
