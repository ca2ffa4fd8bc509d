/** Claiming jobs: of each tenant in turn, by one step in an index per tenant, so that it costs by what it takes. */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import * as JobStore from "../../../JobStore.ts"
import type { Dialect } from "./dialect.ts"
import { toClaim } from "./rows.ts"

export const makeClaim = (
  { among, client, greatest, isPg, locked, now, seqIn, sql, t, table }: Dialect
): (request: JobStore.ClaimRequest) => Effect.Effect<ReadonlyArray<JobStore.Claim>, SqlError.SqlError> => {
  let seen = 1
  return (request) => {
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
        alone, started_at - run_at AS waited_ms, seq`
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
}
