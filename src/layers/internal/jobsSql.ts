/**
 * A job store in SQL that runs on PostgreSQL and on SQLite.
 *
 * A row's `state` is `ready`, `delayed`, `running`, `done`, `dead` or `cancelled`; `finding` knows where those of the
 * first three are, so that no query looks at more rows than it returns. Lists of values go in as one parameter: one prepared
 * statement serves for any number of jobs.
 *
 * A job's way through the rooms: `enqueueing` → `claiming` → `leasing` → `settling`, or `sweeping` where its worker fell
 * silent. What the two databases write differently is in `dialect`.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import type { JobError } from "../../JobError.ts"
import * as JobStore from "../../JobStore.ts"
import { Batches } from "./jobsSql/batches.ts"
import { makeClaim } from "./jobsSql/claiming.ts"
import { makeDialect } from "./jobsSql/dialect.ts"
import { makeEnqueue } from "./jobsSql/enqueueing.ts"
import { failed, undone } from "./jobsSql/failing.ts"
import { makeFinding } from "./jobsSql/finding.ts"
import { makeLeasing } from "./jobsSql/leasing.ts"
import { makeSettle } from "./jobsSql/settling.ts"
import { makeSweep } from "./jobsSql/sweeping.ts"
import { makeTables } from "./jobsSql/tables.ts"
import { makeTelling } from "./jobsSql/telling.ts"
import { makeTending } from "./jobsSql/tending.ts"
import { makeTidying } from "./jobsSql/tidying.ts"
import { ServerClock } from "./serverClock.ts"

export interface Settings {
  readonly table: string
  readonly queryMs: number
}

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
    const dialect = makeDialect(client, table)
    const tables = makeTables(client, table)
    const scope = yield* Effect.scope
    const telling = makeTelling(dialect, scope)
    const tidying = makeTidying(dialect, scope)
    const finding = makeFinding(dialect)
    const batches = new Batches()
    const enqueue = makeEnqueue(dialect, finding, telling, batches)
    const claim = makeClaim(dialect, finding, batches)
    const leasing = makeLeasing(dialect, finding, batches)
    const settle = makeSettle(dialect, finding, telling, batches)
    const clock = new ServerClock()
    const sweep = makeSweep(dialect, finding, telling, batches, clock)
    const tending = makeTending(dialect, finding, telling)
    const run = <A>(
      operation: string,
      effect: Effect.Effect<A, SqlError.SqlError | JobError>
    ): Effect.Effect<A, JobError> =>
      JobStore.bounded(
        operation,
        queryMs,
        Effect.mapError(again(dialect.inTransaction, Effect.andThen(tables, effect)), failed(operation))
      ).pipe(
        Effect.tapError(() => Effect.sync(telling.rearm))
      )
    return {
      endsWithin: queryMs,
      enqueue: (jobs, options) =>
        Effect.tap(run("enqueue", enqueue(jobs, options)), (answers) =>
          Effect.sync(() => {
            if (answers.includes("taken")) tidying.claimed(1)
          })),
      inTransaction: dialect.inTransaction,
      claim: (request) => {
        clock.leases(request.leaseMs)
        return Effect.tap(run("claim", claim(request)), (jobs) => Effect.sync(() => tidying.claimed(jobs.length)))
      },
      start: (lease) => run("start", leasing.start(lease)),
      renew: (leases, options) => run("renew", leasing.renew(leases, options)),
      settle: (settlements) => run("settle", settle(settlements)),
      disown: (workerId, known) => run("disown", leasing.disown(workerId, known)),
      sweep: (flows) => Effect.andThen(tidying.tidy, run("sweep", sweep(flows))),
      list: (filter) => run("list", tending.list(filter)),
      ended: (ids) => run("ended", tending.ended(ids)),
      cancel: (id, reason) => run("cancel", tending.cancel(id, reason)),
      requeue: (filter) => run("requeue", tending.requeue(filter)),
      purge: (filter) => run("purge", tending.purge(filter)),
      counts: run("counts", tending.counts),
      watch: telling.watch
    }
  }
)

// ----------------------------------------------------------------------------------------------------------- internals

/** What a deadlock or a stricter isolation has undone is tried again, except as a part of the caller's transaction. */
const again = <A, E extends SqlError.SqlError | JobError>(
  inTransaction: Effect.Effect<boolean>,
  effect: Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.catchIf(
    effect,
    undone,
    (error) =>
      Effect.flatMap(inTransaction, (inside) =>
        inside ? Effect.fail(error) : Effect.andThen(
          Effect.sleep(Duration.millis(Math.random() * 20)),
          Effect.retry(effect, { while: undone, times: 20, schedule: retrying })
        ))
  )

const retrying = Schedule.jittered(Schedule.min([Schedule.exponential("10 millis"), Schedule.spaced("150 millis")]))
