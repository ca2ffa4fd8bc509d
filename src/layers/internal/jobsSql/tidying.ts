/**
 * What PostgreSQL does by itself once a minute, and a busy queue needs sooner.
 *
 * A row that was claimed is deleted from `_ready`, and its index entry stays until the table is vacuumed: after a minute of
 * twenty thousand jobs a second each claim would step over a million of them. And a statement that was planned while the
 * jobs' table was small goes on reading all of it until the table is analyzed.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Dialect } from "./dialect.ts"

export interface Tidying {
  /** So many jobs were claimed. */
  readonly claimed: (jobs: number) => void
  /** Begins what is due, and does not wait for it. */
  readonly tidy: Effect.Effect<void>
}

/** Jobs claimed until `_ready` is vacuumed. */
const vacuumAfter = 2000
/** Jobs claimed until the jobs' table is looked at for the first time; then ten times as many. */
const firstLook = 100
const lastLook = 100_000
/** It takes no more than one part in so many of the time. */
const share = 20

/** What has begun ends with the scope. */
export const makeTidying = ({ claims, isPg, ready, sql, t, table }: Dialect, scope: Scope.Scope): Tidying => {
  let dead = 0
  let seen = 0
  let look = firstLook
  let busy = false
  let notBefore = 0

  const vacuum = Effect.suspend(() => {
    dead = 0
    return sql`VACUUM (SKIP_LOCKED, TRUNCATE FALSE) ${ready}, ${claims}`
  })
  const analyze = Effect.gen(function*() {
    look = seen >= lastLook ? Infinity : look * 10
    const [known] = yield* sql<
      { n: number }
    >`SELECT reltuples AS n FROM pg_class WHERE oid = to_regclass(${`"${table}"`})`
    if (Number(known?.n) < seen / 2) yield* sql`ANALYZE ${t}`
  })
  /** None of it is needed: what fails is left to the server's own. */
  const work = Effect.gen(function*() {
    const from = performance.now()
    if (seen >= look) yield* Effect.ignore(analyze)
    if (dead >= vacuumAfter) yield* Effect.ignore(vacuum)
    notBefore = performance.now() + share * (performance.now() - from)
  }).pipe(Effect.ensuring(Effect.sync(() => {
    busy = false
  })))

  return {
    claimed: (jobs) => {
      dead += jobs
      seen += jobs
    },
    tidy: Effect.suspend(() => {
      if (!isPg || busy || dead < vacuumAfter && seen < look || performance.now() < notBefore) return Effect.void
      busy = true
      return Effect.asVoid(Effect.forkIn(work, scope))
    })
  }
}
