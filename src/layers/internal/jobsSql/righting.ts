/** Putting right what the setting of the database's clock has made senseless: leases, and delays that were made before. */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as Statement from "effect/sql/Statement"
import type { Dialect } from "./dialect.ts"
import type { Finding } from "./finding.ts"

/**
 * The clock was set by `step` milliseconds, and a lease gets `graceMs`. Any number of workers may do so, one after the
 * other or at once: what one has put right the next one leaves alone.
 */
export const makeRight = (
  { claims, isPg, now, seqIn, sql, t }: Dialect,
  { delayed, running }: Finding
): (step: number, graceMs: number) => Effect.Effect<void, SqlError.SqlError> => {
  const locked = sql.literal(isPg ? "FOR UPDATE OF r SKIP LOCKED" : "")
  const notLater = (column: string) =>
    sql`${sql(column)} = CASE WHEN ${sql(column)} > ${now} THEN ${now} ELSE ${sql(column)} END`
  return (step, graceMs) => {
    const back = -step
    const lease = sql`${now} + ${graceMs}`
    const tooLong = sql`lease_until > ${now} + ${Math.round(back / 2)}`
    // Whoever is alive renews these before they end. One whose row is locked is just being written to.
    const leases = (which: Statement.Fragment) =>
      sql`UPDATE ${t} SET lease_until = ${lease}, ${notLater("started_at")}
        WHERE ${seqIn(sql`SELECT r.seq ${running} AND r.${which} ${locked}`)}`
    if (back <= 0) return Effect.asVoid(leases(sql`lease_until <= ${now}`))
    return Effect.gen(function*() {
      if (back > graceMs) {
        yield* leases(tooLong)
        if (isPg) {
          yield* sql`UPDATE ${claims} SET lease_until = ${lease}
            WHERE n IN (SELECT n FROM ${claims} WHERE ${tooLong} FOR UPDATE SKIP LOCKED)`
        }
      }
      // A delay was made before, where it, or the try before it, began in what is the future now.
      const before = sql`(enqueued_at > ${now} OR started_at > ${now})`
      yield* sql`UPDATE ${t} SET run_at = run_at - ${back}, ${notLater("enqueued_at")}, ${notLater("started_at")}
        WHERE ${seqIn(sql`SELECT seq ${delayed} AND ${before}`)} AND state = 'delayed' AND ${before}`
    })
  }
}
