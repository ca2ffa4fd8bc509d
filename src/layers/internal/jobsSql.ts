/**
 * A job store in SQL that runs on PostgreSQL and on SQLite.
 *
 * A row's `state` is `ready`, `delayed`, `running`, `done`, `dead` or `cancelled`; each of the first three has an index
 * of its own, so that no query looks at more rows than it returns. Lists of values go in as one JSON parameter: one
 * prepared statement serves for any number of jobs.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import type * as Statement from "effect/sql/Statement"
import { isJobError, type JobError, unavailable } from "../../JobError.ts"
import * as JobStore from "../../JobStore.ts"
import { makeTables } from "./jobsSqlTables.ts"

export interface Settings {
  readonly table: string
  readonly queryMs: number
}

type Row = Readonly<Record<string, unknown>>
type Failed = SqlError.SqlError | JobError

/** Jobs that one sweep takes back or makes ready. */
const sweepAtOnce = 500

/** A store on a client. Its listening ends with the scope. */
export const makeStore: (
  client: SqlClient.SqlClient,
  settings: Settings
) => Effect.Effect<JobStore.JobStore, never, Scope.Scope> = Effect.fnUntraced(
  function*(client: SqlClient.SqlClient, { queryMs, table }: Settings) {
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,40}$/.test(table)) {
      return yield* Effect.die(
        new TypeError(`a job queue's table can't be named ${JSON.stringify(table)}: up to 41 letters, digits and _`)
      )
    }
    const sql = client.withoutTransforms()
    const isPg = sql.onDialectOrElse({ pg: () => true, orElse: () => false })
    const tables = makeTables(client, table)
    const t = sql(table)
    const channel = `${table}_changes`
    const now = sql.literal(
      isPg ? "(extract(epoch FROM clock_timestamp()) * 1000)::bigint" : "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    )
    const locked = sql.literal(isPg ? "FOR UPDATE SKIP LOCKED" : "")
    /** By the primary key, whatever the planner knows of a table that has only just been filled. */
    const seqIn = (select: Statement.Fragment): Statement.Fragment =>
      isPg ? sql`seq = ANY(ARRAY(${select}))` : sql`seq IN (${select})`
    const greatest = sql.literal(isPg ? "greatest" : "max")

    const inTransaction = Effect.map(
      Effect.context<never>(),
      (context) => Option.isSome(Context.getOption(context, client.transactionService))
    )

    /** Rows of plain objects as a table `g`, by one parameter. */
    const given = (
      rows: ReadonlyArray<Row>,
      columns: Readonly<Record<string, "text" | "bigint">>
    ): Statement.Fragment => {
      const text = JSON.stringify(rows)
      const names = Object.entries(columns)
      if (isPg) {
        const types = sql.literal(names.map(([name, type]) => `${name} ${type}`).join(", "))
        return sql`json_to_recordset(${text}::json) AS g(${types})`
      }
      const picks = sql.literal(names.map(([name]) => `value ->> '${name}' AS ${name}`).join(", "))
      return sql`(SELECT ${picks} FROM json_each(${text})) AS g`
    }

    /** Names of flows as a table `g`: few, and the planner sees how few. */
    const among = (flows: ReadonlyArray<string>): Statement.Fragment => {
      const cast = sql.literal(isPg ? "::text" : "")
      return sql`(${sql.join(" UNION ALL ", false)(flows.map((flow) => sql`SELECT ${flow}${cast} AS flow`))}) AS g`
    }

    // ---------------------------------------------------------------- who listens

    const listeners = new Set<
      { readonly changes: ReadonlyArray<JobStore.Change>; readonly listener: (change: JobStore.Change) => void }
    >()
    const tell = (change: JobStore.Change) => {
      for (const it of listeners) if (it.changes.includes(change)) it.listener(change)
    }
    /** Tells when it is true: at once, or after the commit. */
    const tellLater = (change: JobStore.Change) =>
      Effect.flatMap(inTransaction, (inside) => {
        const telling = Effect.sync(() => tell(change))
        return inside ? client.afterCommit(telling) : telling
      })
    /** For a query's end: tells other processes as well, with the commit. */
    const notifyFor = (source: string, change: JobStore.Change): Statement.Fragment =>
      isPg
        ? sql`, told AS (SELECT pg_notify(${channel}, ${change}) FROM ${sql(source)} LIMIT 1)`
        : sql``
    const withTold = (source: string): Statement.Fragment =>
      isPg ? sql`${sql(source)} LEFT JOIN told ON true` : sql`${sql(source)}`
    const notify = (change: JobStore.Change) =>
      isPg ? Effect.asVoid(sql`SELECT pg_notify(${channel}, ${change})`) : Effect.void

    const listen = listening(client)
    let rearm: (() => void) | undefined
    const hear = (listen === undefined)
      ? undefined
      : Effect.gen(function*() {
        let pause = 250
        while (true) {
          const heard = Effect.scoped(Effect.gen(function*() {
            const queue = yield* listen(channel)
            pause = 250
            // Whatever was said while nobody listened.
            tell("ready")
            tell("cancel")
            while (true) {
              const { payload } = yield* Queue.take(queue)
              if (payload === "ready" || payload === "cancel" || payload === "ended") tell(payload)
            }
          }))
          const again = Effect.callback<void>((resume) => {
            rearm = () => resume(Effect.void)
          })
          yield* Effect.exit(Effect.raceFirst(heard, again))
          yield* Effect.sleep(Duration.millis(pause))
          pause = Math.min(5000, pause * 2)
        }
      })
    let hearing = false
    const scope = yield* Effect.scope

    // ---------------------------------------------------------------- a database that fails

    const failed = (operation: string) => (error: Failed): JobError => {
      if (isJobError(error)) return error
      const before = error.reason._tag === "ConnectionError" && /connect|acquire/i.test(error.reason.operation ?? "")
      return unavailable(
        operation,
        error,
        before || writesNothing.has(error.reason._tag) ? "no" : "unknown",
        `The job queue's database fails at "${operation}": ${error.message}`
      )
    }
    const run = <A>(operation: string, effect: Effect.Effect<A, Failed>): Effect.Effect<A, JobError> =>
      JobStore.bounded(operation, queryMs, Effect.mapError(Effect.andThen(tables, effect), failed(operation))).pipe(
        Effect.tapError(() => Effect.sync(() => rearm?.()))
      )

    // ---------------------------------------------------------------- enqueue

    const lengthOf = sql<{ n: number }>`
      SELECT (SELECT count(*) FROM ${t} WHERE state = 'ready') + (SELECT count(*) FROM ${t} WHERE state = 'delayed') AS n`
    let length = 0
    let fresh = 0
    /** Whether so many more fit. Counted anew once a hundredth of the limit was stored since, or a second has passed. */
    const hasRoom = (more: number, maxLength: number) =>
      Effect.gen(function*() {
        const at = performance.now()
        if (at > fresh + 1000 || length + more > maxLength * 0.99) {
          length = Number((yield* lengthOf)[0]?.n ?? 0)
          fresh = at
        }
        return length + more <= maxLength
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

    const insert = (jobs: ReadonlyArray<JobStore.NewJob>) => {
      const rows = jobs.map((job, i) => ({
        i,
        id: job.id,
        flow: job.flow,
        payload: job.payload,
        tenant: job.tenant,
        topic: job.topic ?? null,
        priority: job.priority,
        meta: job.meta,
        max_attempts: job.maxAttempts,
        timeout_ms: job.timeoutMs ?? null,
        delay_ms: job.delayMs
      }))
      const from = given(rows, {
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
      })
      const inserted = sql`
        INSERT INTO ${t} (id, flow, payload, tenant, topic, priority, meta, max_attempts, timeout_ms, state, enqueued_at, run_at)
        SELECT g.id, g.flow, g.payload, g.tenant, g.topic, g.priority, g.meta, g.max_attempts, g.timeout_ms,
          CASE WHEN g.delay_ms > 0 THEN 'delayed' ELSE 'ready' END, clock.at, clock.at + g.delay_ms
        FROM ${from} CROSS JOIN (SELECT ${now} AS at) AS clock WHERE true ORDER BY g.i
        ON CONFLICT (id) DO NOTHING RETURNING id`
      return isPg
        ? sql<{ id: string }>`WITH stored AS (${inserted}) ${notifyFor("stored", "ready")} SELECT stored.id FROM ${
          withTold("stored")
        }`
        : sql<{ id: string }>`${inserted}`
    }

    const enqueue = (jobs: ReadonlyArray<JobStore.NewJob>, maxLength: number) =>
      Effect.gen(function*() {
        if (!(yield* hasRoom(jobs.length, maxLength))) {
          const answers = yield* compare(jobs)
          const missing = answers.filter((answer) => answer === undefined).length
          if (missing > 0 && length + missing > maxLength) return answers.map((answer) => answer ?? "full")
        }
        const ids = new Set((yield* insert(jobs)).map((row) => row.id))
        length += ids.size
        if (ids.size === jobs.length) return jobs.map((): JobStore.Stored => "created")
        const answers = yield* compare(jobs)
        // One that was there and is gone again was purged in between: it is said to be full, to be tried again.
        return jobs.map((job, i): JobStore.Stored => ids.has(job.id) ? "created" : answers[i] ?? "full")
      })

    const refused = (answers: ReadonlyArray<JobStore.Stored>) =>
      answers.includes("conflict") || answers.includes("full")
    /** Several jobs are stored all or none: what was stored before a refusal is rolled back. */
    const enqueueAll = (jobs: ReadonlyArray<JobStore.NewJob>, maxLength: number) =>
      jobs.length === 1
        ? enqueue(jobs, maxLength)
        : client.withTransaction(
          Effect.filterOrFail(
            enqueue(jobs, maxLength),
            (answers) => !refused(answers),
            (answers) => new Refusal(answers)
          )
        ).pipe(
          Effect.catchIf(
            (error): error is Refusal => error instanceof Refusal,
            (error) => Effect.succeed(error.answers)
          )
        )

    // ---------------------------------------------------------------- claim

    let seen = 1
    const claim = (request: JobStore.ClaimRequest) => {
      const { after, flows, leaseMs, limit, tenantLimit, without, workerId } = request
      const skipped = without.length === 0 ? sql`` : sql`AND NOT ${sql.in("j.tenant", without)}`
      const from = among(flows)
      const columns = sql.literal(isPg ? "p.seq, p.tenant, p.priority" : "j.seq, j.tenant, j.priority")
      // Many jobs of many tenants: of each the fewer, or a claim would look at their product. How many tenants there are
      // is known from the last time: a limit that the planner can't see makes it compile the query anew.
      const tenants = Math.min(limit, JobStore.tenantsAtOnce)
      const share = limit <= 10 || seen <= 4 ? limit : Math.ceil(limit * 4 / seen)
      // Of each tenant, the first few; each tenant is found by one step in the index.
      const heads = isPg
        ? sql`lanes l CROSS JOIN LATERAL (
            SELECT j.seq, j.tenant, j.priority FROM ${t} j
            WHERE j.state = 'ready' AND j.flow = l.flow AND j.tenant = l.tenant
            ORDER BY j.priority DESC, j.seq LIMIT ${share} ${locked}
          ) p`
        : sql`lanes l JOIN ${t} j ON j.seq IN (
            SELECT k.seq FROM ${t} k WHERE k.state = 'ready' AND k.flow = l.flow AND k.tenant = l.tenant
            ORDER BY k.priority DESC, k.seq LIMIT ${share}
          )`
      const order = sql.literal(
        isPg
          ? "PARTITION BY p.tenant ORDER BY p.priority DESC, p.seq"
          : "PARTITION BY j.tenant ORDER BY j.priority DESC, j.seq"
      )
      const within = tenantLimit === undefined
        ? sql``
        : sql`WHERE place <= ${tenantLimit} - (SELECT count(*) FROM ${t} r WHERE r.state = 'running' AND r.tenant = picked.tenant)`
      const suspects = sql`crashes >= ${greatest}(1, CASE WHEN max_attempts - 1 < 2 THEN max_attempts - 1 ELSE 2 END)`
      const statement = sql`
        WITH RECURSIVE lanes(flow, tenant, depth) AS (
          SELECT g.flow, (
            SELECT min(j.tenant) FROM ${t} j WHERE j.state = 'ready' AND j.flow = g.flow AND j.tenant > ${after} ${skipped}
          ), 1 FROM ${from}
          UNION ALL
          SELECT l.flow, (
            SELECT min(j.tenant) FROM ${t} j WHERE j.state = 'ready' AND j.flow = l.flow AND j.tenant > l.tenant ${skipped}
          ), l.depth + 1 FROM lanes l WHERE l.tenant IS NOT NULL AND l.depth < ${tenants}
        ), picked AS (
          SELECT ${columns}, row_number() OVER (${order}) AS place FROM ${heads} WHERE l.tenant IS NOT NULL
        ), chosen AS (
          SELECT seq FROM picked ${within} ORDER BY place, tenant LIMIT ${limit}
        )
        UPDATE ${t} SET
          state = 'running',
          token = token + 1,
          worker_id = ${workerId},
          alone = CASE WHEN ${suspects} THEN 1 ELSE 0 END,
          started = CASE WHEN ${suspects} THEN 0 ELSE 1 END,
          started_at = ${now},
          lease_until = ${now} + ${leaseMs} + CASE WHEN crashes > 0 THEN ${JobStore.secondOwnerMs(leaseMs)} ELSE 0 END
        WHERE ${seqIn(sql`SELECT seq FROM chosen`)}
        RETURNING id, flow, payload, tenant, topic, priority, meta, max_attempts, timeout_ms, token, failures, crashes,
          alone, seq`
      // Two claimers that count at once would each let in what only one may.
      const counted = tenantLimit !== undefined && isPg
        ? client.withTransaction(
          Effect.andThen(sql`SELECT pg_advisory_xact_lock(7072, hashtext(${table}))`, statement)
        )
        : statement
      return Effect.map(counted, (rows) => {
        const claims = [...rows].sort((a, b) => Number(a["seq"]) - Number(b["seq"])).map(toClaim)
        if (claims.length > 10) seen = new Set(claims.map((it) => it.tenant)).size
        return claims
      })
    }

    // ---------------------------------------------------------------- settle

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

    // ---------------------------------------------------------------- leases

    const leaseColumns = { id: "text", token: "bigint" } as const

    const renew = (
      leases: ReadonlyArray<JobStore.Lease>,
      { leaseMs, stalledMs }: { readonly leaseMs: number; readonly stalledMs: number }
    ) =>
      Effect.gen(function*() {
        const rows = leases.map(({ id, token }) => ({ id, token }))
        const locking = sql.literal(isPg ? "ORDER BY r.seq FOR UPDATE OF r" : "")
        const held = yield* sql`
          UPDATE ${t} SET lease_until = ${greatest}(lease_until, ${now} + ${leaseMs})
          WHERE ${
          seqIn(sql`SELECT r.seq FROM ${given(rows, leaseColumns)}
            JOIN ${t} r ON r.id = g.id AND r.token = g.token AND r.state = 'running' ${locking}`)
        }
          RETURNING id, token, cancelling, cancel_reason`
        const tokens = new Set(held.map(keyOf))
        const lost = leases.filter((it) => !tokens.has(`${it.token} ${it.id}`))
        if (lost.length > 0 && stalledMs > 0) {
          yield* sql`
            UPDATE ${t} SET lease_until = ${greatest}(lease_until, started_at + ${stalledMs + leaseMs})
            WHERE state = 'running' AND ${sql.in("id", lost.map((it) => it.id))}`
        }
        const cancelled = held.filter((row) => Number(row["cancelling"]) === 1).map((row) => ({
          id: String(row["id"]),
          token: Number(row["token"]),
          reason: textOf(row["cancel_reason"])
        }))
        return { lost, cancelled }
      })

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
    const sweep = (flows: ReadonlyArray<string>) =>
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

    // ---------------------------------------------------------------- looking after jobs

    const where = (filter: JobStore.Filter): Statement.Fragment => {
      const parts: Array<Statement.Fragment> = []
      if (filter.ids !== undefined) {
        parts.push(sql`id IN (SELECT g.id FROM ${given(filter.ids.map((id) => ({ id })), { id: "text" })})`)
      }
      if (filter.states !== undefined) {
        const states = filter.states.flatMap((state) => state === "queued" ? ["ready", "delayed"] : [state])
        parts.push(states.length === 0 ? sql`1 = 0` : sql.in("state", states))
      }
      if (filter.flow !== undefined) parts.push(sql`flow = ${clean(filter.flow)}`)
      if (filter.tenant !== undefined) parts.push(sql`tenant = ${clean(filter.tenant)}`)
      if (filter.finishedBefore !== undefined) parts.push(sql`finished_at < ${Math.floor(filter.finishedBefore)}`)
      if (filter.afterSeq !== undefined) parts.push(sql`seq > ${Math.floor(filter.afterSeq)}`)
      return parts.length === 0 ? sql`1 = 1` : sql.and(parts)
    }
    const chosen = (filter: JobStore.Filter) =>
      sql`seq IN (SELECT seq FROM ${t} WHERE ${where(filter)} ORDER BY seq LIMIT ${filter.limit} ${
        sql.literal(isPg ? "FOR UPDATE" : "")
      })`

    return {
      enqueue: (jobs, { maxLength }) =>
        run(
          "enqueue",
          Effect.tap(enqueueAll(jobs, maxLength), (answers) =>
            answers.includes("created") ? tellLater("ready") : Effect.void)
        ),
      claim: (request) => run("claim", claim(request)),
      start: ({ id, token }) =>
        run(
          "start",
          Effect.map(
            sql`UPDATE ${t} SET started = 1, started_at = ${now}
              WHERE id = ${id} AND token = ${token} AND state = 'running' RETURNING id`,
            (rows) => rows.length > 0
          )
        ),
      renew: (leases, options) => run("renew", renew(leases, options)),
      settle: (settlements) => run("settle", Effect.tap(settle(settlements), () => Effect.sync(() => tell("ended")))),
      disown: (workerId, known) =>
        run(
          "disown",
          Effect.map(
            sql`UPDATE ${t} SET state = 'ready', token = token + 1, worker_id = NULL
              WHERE state = 'running' AND worker_id = ${workerId}
                AND id NOT IN (SELECT g.id FROM ${given(known.map((id) => ({ id })), { id: "text" })}) RETURNING id`,
            (rows) => rows.length
          )
        ),
      sweep: (flows) => run("sweep", sweep(flows)),
      list: (filter) =>
        run(
          "list",
          Effect.map(
            sql`SELECT * FROM ${t} WHERE ${where(filter)} ORDER BY seq LIMIT ${filter.limit}`,
            (rows) => rows.map(toRecord)
          )
        ),
      ended: (ids) =>
        run(
          "ended",
          Effect.map(
            sql<{ id: string }>`SELECT g.id FROM ${given(ids.map((id) => ({ id })), { id: "text" })}
              LEFT JOIN ${t} t ON t.id = g.id WHERE t.id IS NULL OR t.finished_at IS NOT NULL`,
            (rows) => rows.map((row) => row.id)
          )
        ),
      cancel: (id, reason) =>
        run(
          "cancel",
          Effect.gen(function*() {
            const rows = yield* sql<{ state: string }>`
              UPDATE ${t} SET
                cancel_reason = CASE WHEN cancelling = 1 THEN cancel_reason ELSE ${reason ?? null} END,
                cancelling = CASE WHEN state = 'running' THEN 1 ELSE 0 END,
                finished_at = CASE WHEN state = 'running' THEN NULL ELSE ${now} END,
                state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END
              WHERE id = ${id} AND state IN ('ready', 'delayed', 'running') RETURNING state`
            const [row] = rows
            if (row === undefined) return false
            const change = row.state === "running" ? "cancel" : "ended"
            if (change === "cancel") yield* notify(change)
            yield* tellLater(change)
            return true
          })
        ),
      requeue: (filter) =>
        run(
          "requeue",
          Effect.gen(function*() {
            const rows = yield* sql`
              UPDATE ${t} SET state = 'ready', failures = 0, crashes = 0, alone = 0, started = 0, cancelling = 0,
                cancel_reason = NULL, finished_at = NULL, started_at = NULL, worker_id = NULL, run_at = ${now}
              WHERE ${chosen(filter)} RETURNING id`
            if (rows.length > 0) {
              yield* notify("ready")
              yield* tellLater("ready")
            }
            return rows.length
          })
        ),
      purge: (filter) =>
        run("purge", Effect.map(sql`DELETE FROM ${t} WHERE ${chosen(filter)} RETURNING id`, (rows) => rows.length)),
      counts: run(
        "counts",
        Effect.map(sql`SELECT state, count(*) AS n FROM ${t} GROUP BY state`, (rows) => {
          const counts = { queued: 0, running: 0, done: 0, dead: 0, cancelled: 0 }
          for (const row of rows) counts[stateOf(row["state"])] += Number(row["n"])
          return counts
        })
      ),
      watch: (changes, listener) =>
        Effect.gen(function*() {
          const it = { changes, listener }
          yield* Effect.acquireRelease(
            Effect.sync(() => listeners.add(it)),
            () => Effect.sync(() => listeners.delete(it))
          )
          if (hear !== undefined && !hearing && (changes.includes("ready") || changes.includes("cancel"))) {
            hearing = true
            yield* Effect.forkIn(hear, scope)
          }
        })
    }
  }
)

// ----------------------------------------------------------------------------------------------------------- internals

/** Rolls a transaction back, and carries the answers out of it. */
class Refusal {
  readonly answers: ReadonlyArray<JobStore.Stored>
  constructor(answers: ReadonlyArray<JobStore.Stored>) {
    this.answers = answers
  }
}

/** Failures after which a statement has certainly changed nothing. */
const writesNothing = new Set<SqlError.SqlErrorReason["_tag"]>([
  "AuthenticationError",
  "AuthorizationError",
  "ConstraintError",
  "UniqueViolation",
  "DeadlockError",
  "SerializationError",
  "LockTimeoutError",
  "StatementTimeoutError",
  "SqlSyntaxError"
])

interface Listening {
  (
    channel: string
  ): Effect.Effect<Queue.Dequeue<{ readonly payload: string }, SqlError.SqlError>, SqlError.SqlError, Scope.Scope>
}

/** `LISTEN`, where the client can: that of `@effect/sql-pg` can. */
const listening = (client: object): Listening | undefined =>
  "listen" in client && typeof client.listen === "function" ? client.listen as Listening : undefined

const textOf = (value: unknown): string | undefined => value === null || value === undefined ? undefined : String(value)
const numberOf = (value: unknown): number | undefined =>
  value === null || value === undefined ? undefined : Number(value)
const clean = (text: string): string => text.replaceAll("\0", "").toWellFormed()

const stateOf = (state: unknown): JobStore.JobState =>
  state === "ready" || state === "delayed" ? "queued" : state as JobStore.JobState

const keyOf = (row: Row): string => `${Number(row["token"])} ${String(row["id"])}`

const jobOf = (row: Row) => ({
  id: String(row["id"]),
  flow: String(row["flow"]),
  payload: String(row["payload"]),
  tenant: String(row["tenant"]),
  topic: textOf(row["topic"]),
  priority: Number(row["priority"]),
  meta: String(row["meta"]),
  maxAttempts: Number(row["max_attempts"]),
  timeoutMs: numberOf(row["timeout_ms"]),
  failures: Number(row["failures"]),
  crashes: Number(row["crashes"])
})

const toClaim = (row: Row): JobStore.Claim => ({
  ...jobOf(row),
  token: Number(row["token"]),
  alone: Number(row["alone"]) === 1
})

const toRecord = (row: Row): JobStore.JobRecord => ({
  ...jobOf(row),
  seq: Number(row["seq"]),
  state: stateOf(row["state"]),
  enqueuedAt: Number(row["enqueued_at"]),
  runAt: Number(row["run_at"]),
  startedAt: numberOf(row["started_at"]),
  finishedAt: numberOf(row["finished_at"]),
  workerId: textOf(row["worker_id"]),
  results: textOf(row["results"]),
  failure: JobStore.readFailure(textOf(row["failure"])),
  cancelReason: textOf(row["cancel_reason"])
})

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
