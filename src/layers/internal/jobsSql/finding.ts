/**
 * Where waiting and running jobs are found without looking at those that have ended.
 *
 * In SQLite by an index of the jobs' table for each; in PostgreSQL in tables beside it (see `tables`). Whoever changes a
 * job's state there keeps to one order: first its row in `_ready`, then its own.
 */
import type * as Statement from "effect/sql/Statement"
import { arrayOf, type Dialect } from "./dialect.ts"
import type { Row } from "./rows.ts"

export interface Finding {
  /** `FROM` and `WHERE` of jobs that can be claimed: `j`, with `seq`, `flow`, `tenant` and `priority`. */
  readonly waiting: Statement.Fragment
  /** `seq` of all that wait, ready or delayed. */
  readonly queued: Statement.Fragment
  /** `FROM` and `WHERE` of running jobs: `r`, with all columns; one may be found twice. */
  readonly running: Statement.Fragment
  /** `SELECT` of the first lease that may have ended; one that is to be looked at may be later than it says. */
  readonly firstLease: Statement.Fragment
  /** `FROM` and `WHERE` of delayed jobs. */
  readonly delayed: Statement.Fragment
  /** When a delayed job is due: the column that has an index. */
  readonly dueAt: Statement.Fragment
  /** An update after which jobs may be ready: returns `id`, `token` and `state` of each that it changed. Claims that are over go. */
  readonly returning: (update: Statement.Fragment, over?: ReadonlyArray<number>) => Statement.Statement<Row>
  /** In PostgreSQL: claims that are over go. */
  readonly forget: (over: ReadonlyArray<number>) => Statement.Statement<Row>
  /** For the end of a PostgreSQL `WITH`: what `source` has made ready can be claimed. It has `state`, and a row's names. */
  readonly thenReady: (source: string) => Statement.Fragment
  /** For a PostgreSQL `WITH`: jobs that a worker claims, with `seq` and `lease_until`, are named by a row, `noted.n`. */
  readonly thenRunning: (source: string, workerId: string) => Statement.Fragment
  /** For a PostgreSQL `WITH`: these jobs, a `SELECT` of `seq`, can't be claimed any more. */
  readonly notReady: (seqs: Statement.Fragment) => Statement.Fragment
}

export const makeFinding = ({ claims, isPg, ready, sql, t }: Dialect): Finding => {
  const thenReady = (source: string) =>
    isPg
      ? sql`, waiting AS (
          INSERT INTO ${ready} (seq, flow, tenant, priority)
          SELECT seq, flow, tenant, priority FROM ${sql(source)} WHERE state = 'ready'
        )`
      : sql``
  const forget = (over: ReadonlyArray<number>) =>
    sql<Row>`DELETE FROM ${claims} WHERE n = ANY(${arrayOf(over)}::bigint[])`
  const forgotten = (over: ReadonlyArray<number>) => over.length === 0 ? sql`` : sql`, forgotten AS (${forget(over)})`
  const waiting = isPg ? sql`FROM ${ready} j WHERE true` : sql`FROM ${t} j WHERE j.state = 'ready'`
  const delayed = isPg ? sql`FROM ${t} WHERE due_at IS NOT NULL` : sql`FROM ${t} WHERE state = 'delayed'`
  return {
    waiting,
    queued: sql`SELECT j.seq ${waiting} UNION ALL SELECT seq ${delayed}`,
    running: isPg
      ? sql`FROM ${claims} c CROSS JOIN LATERAL unnest(c.jobs) AS u(seq) JOIN ${t} r ON r.seq = u.seq
          WHERE r.state = 'running'`
      : sql`FROM ${t} r WHERE r.state = 'running'`,
    firstLease: isPg
      ? sql`SELECT min(lease_until) FROM ${claims}`
      : sql`SELECT min(lease_until) FROM ${t} WHERE state = 'running'`,
    delayed,
    dueAt: sql.literal(isPg ? "due_at" : "run_at"),
    returning: (update, over = []) =>
      isPg
        ? sql<Row>`WITH changed AS (${update} RETURNING id, token, state, seq, flow, tenant, priority) ${
          thenReady("changed")
        } ${forgotten(over)} SELECT id, token, state FROM changed`
        : sql<Row>`${update} RETURNING id, token, state`,
    forget,
    thenReady,
    thenRunning: (source, workerId) =>
      sql`, noted AS (
          INSERT INTO ${claims} (worker_id, lease_until, jobs)
          SELECT ${workerId}, min(lease_until), array_agg(seq) FROM ${sql(source)} HAVING count(*) > 0 RETURNING n
        )`,
    notReady: (seqs) =>
      sql`gone AS (
        DELETE FROM ${ready} w USING ${t} j
        WHERE j.seq = ANY(ARRAY(${seqs})) AND w.flow = j.flow AND w.tenant = j.tenant AND w.priority = j.priority
          AND w.seq = j.seq
        RETURNING w.seq
      )`
  }
}
