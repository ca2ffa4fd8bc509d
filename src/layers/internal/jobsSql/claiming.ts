/** Claiming jobs: of each tenant in turn, by one step in an index per tenant, so that it costs by what it takes. */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import * as JobStore from "../../../JobStore.ts"
import type { Batches } from "./batches.ts"
import type { Dialect } from "./dialect.ts"
import type { Finding } from "./finding.ts"
import { fixed } from "./fixed.ts"
import { type Row, toClaim } from "./rows.ts"

export const makeClaim = (
  { among, client, greatest, isPg, locked, now, ready, rowsIn, sql, t, table }: Dialect,
  { running, thenRunning, waiting }: Finding,
  batches: Batches
): (request: JobStore.ClaimRequest) => Effect.Effect<ReadonlyArray<JobStore.Claim>, SqlError.SqlError> => {
  // Of a bigint the driver would make one, and the client of that a number.
  const asNumbers = sql.literal(numbers.map((name) => `${name}::float8 AS ${name}`).join(", "))
  const write = ({ flows, limited, skipping }: Shape) =>
    fixed<Row, Value>(sql, (value) => {
      const skipped = skipping
        ? sql`AND j.tenant NOT IN (SELECT g.tenant FROM ${rowsIn(value("without"), { tenant: "text" })})`
        : sql``
      // Of each tenant, the first few; each tenant is found by one step in the index.
      const heads = isPg
        ? sql`lanes l CROSS JOIN LATERAL (
            SELECT j.seq, j.tenant, j.priority, j.ctid AS place ${waiting} AND j.flow = l.flow AND j.tenant = l.tenant
            ORDER BY j.priority DESC, j.seq LIMIT ${value("share")} ${locked}
          ) j`
        : sql`lanes l JOIN ${t} j ON j.seq IN (
            SELECT j.seq ${waiting} AND j.flow = l.flow AND j.tenant = l.tenant
            ORDER BY j.priority DESC, j.seq LIMIT ${value("share")}
          )`
      const within = limited
        ? sql`WHERE turn <= ${value("tenantLimit")} -
            coalesce((SELECT b.n FROM busy b WHERE b.tenant = picked.tenant), 0)`
        : sql``
      const busy = limited
        ? sql`, busy AS (SELECT r.tenant, count(DISTINCT r.seq) AS n ${running} GROUP BY r.tenant)`
        : sql``
      const chosen = sql`
        WITH RECURSIVE lanes(flow, tenant, depth) AS (
          SELECT g.flow, (SELECT min(j.tenant) ${waiting} AND j.flow = g.flow AND j.tenant > ${
        value("after")
      } ${skipped}), 1
          FROM ${among(Array.from({ length: flows }, (_, i) => value(`flow${i}`)))}
          UNION ALL
          SELECT l.flow, (SELECT min(j.tenant) ${waiting} AND j.flow = l.flow AND j.tenant > l.tenant ${skipped}), l.depth + 1
          FROM lanes l WHERE l.tenant IS NOT NULL AND l.depth < ${value("tenants")}
        )${busy}, picked AS (
          SELECT j.seq, j.tenant, ${sql.literal(isPg ? "j.place," : "")}
            row_number() OVER (PARTITION BY j.tenant ORDER BY j.priority DESC, j.seq) AS turn
          FROM ${heads} WHERE l.tenant IS NOT NULL
        ), chosen AS (
          SELECT * FROM picked ${within} ORDER BY turn, tenant LIMIT ${value("limit")}
        )`
      const suspects = sql`crashes >= ${greatest}(1, CASE WHEN max_attempts - 1 < 2 THEN max_attempts - 1 ELSE 2 END)`
      const claiming = sql`
        UPDATE ${t} SET
          state = 'running',
          token = token + 1,
          worker_id = ${value("workerId")},
          alone = CASE WHEN ${suspects} THEN 1 ELSE 0 END,
          started = CASE WHEN ${suspects} THEN 0 ELSE 1 END,
          started_at = ${now},
          lease_until = ${now} + ${value("leaseMs")} + CASE WHEN crashes > 0 THEN ${value("secondMs")} ELSE 0 END`
      const columns = sql`id, flow, payload, tenant, topic, priority, meta, max_attempts, timeout_ms, token, failures,
        crashes, alone, started_at - run_at AS waited_ms, seq`
      return isPg
        ? sql`${chosen}, taken AS (
            DELETE FROM ${ready} WHERE ctid = ANY(ARRAY(SELECT place FROM chosen)) RETURNING seq
          ), claimed AS (
            ${claiming} WHERE seq = ANY(ARRAY(SELECT seq FROM taken)) AND state = 'ready' RETURNING ${columns}, lease_until
          )${thenRunning("claimed", value("workerId"))}
          SELECT id, flow, payload, tenant, topic, meta, ${asNumbers} FROM claimed CROSS JOIN noted`
        : sql`${chosen} ${claiming} WHERE seq IN (SELECT seq FROM chosen) RETURNING ${columns}`
    })

  const statements = new Map<string, ReturnType<typeof write>>()
  const statementOf = (flows: number, skipping: boolean, limited: boolean) => {
    const shape = `${flows} ${skipping} ${limited}`
    const known = statements.get(shape)
    if (known !== undefined) return known
    const made = write({ flows, skipping, limited })
    statements.set(shape, made)
    return made
  }

  let seen = 1
  // A worker asks for the same flows, each time.
  let [last, names]: [ReadonlyArray<string>, Record<`flow${number}`, string>] = [[], {}]
  const named = (flows: ReadonlyArray<string>) => {
    if (flows !== last) [last, names] = [flows, Object.fromEntries(flows.map((flow, i) => [`flow${i}`, flow]))]
    return names
  }
  return ({ after, flows, leaseMs, limit, tenantLimit, without, workerId }) => {
    const statement = statementOf(flows.length, without.length > 0, tenantLimit !== undefined)({
      ...named(flows),
      after,
      without: JSON.stringify(without.map((tenant) => ({ tenant }))),
      limit,
      // Many jobs of many tenants: of each the fewer, or a claim would look at their product. How many tenants there are
      // is known from the last time: a limit that the planner can't see makes it compile the query anew.
      tenants: Math.min(limit, JobStore.tenantsAtOnce),
      share: limit <= 10 || seen <= 4 ? limit : Math.ceil(limit * 4 / seen),
      tenantLimit: tenantLimit ?? 0,
      workerId,
      leaseMs,
      secondMs: JobStore.secondOwnerMs(leaseMs)
    })
    // Two claimers that count at once would each let in what only one may.
    const inTurn = tenantLimit !== undefined && isPg
      ? client.withTransaction(
        Effect.andThen(sql`SELECT pg_advisory_xact_lock(7072, hashtext(${table}))`, statement)
      )
      : statement
    return Effect.map(inTurn, (rows) => {
      const claims = [...rows].sort((a, b) => Number(a["seq"]) - Number(b["seq"])).map(toClaim)
      if (claims.length > 10) seen = new Set(claims.map((it) => it.tenant)).size
      const noted = rows[0]?.["n"]
      if (noted !== undefined) batches.began(Number(noted), claims)
      return claims
    })
  }
}

// ----------------------------------------------------------------------------------------------------------- internals

const numbers = [
  "priority",
  "max_attempts",
  "timeout_ms",
  "token",
  "failures",
  "crashes",
  "alone",
  "waited_ms",
  "seq",
  "n"
]

/** What a claim's text hangs on. */
interface Shape {
  readonly flows: number
  /** Whether some tenants are left alone. */
  readonly skipping: boolean
  /** Whether each tenant may have so many at once. */
  readonly limited: boolean
}

type Value =
  | "after"
  | "without"
  | "limit"
  | "tenants"
  | "share"
  | "tenantLimit"
  | "workerId"
  | "leaseMs"
  | "secondMs"
  | `flow${number}`
