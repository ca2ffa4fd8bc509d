/** Connections that are shared: opened when they are needed, replaced when they die, closed without waiting for anybody. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pool from "effect/Pool"
import * as Scope from "effect/Scope"
import type * as SqlError from "effect/sql/SqlError"
import * as PgErrors from "./pgErrors.ts"
import * as PgLink from "./pgLink.ts"
import * as PgSettings from "./pgSettings.ts"

export interface PgPool {
  /** A connection for oneself until the scope closes; waits for at most `queryTimeout`. */
  readonly lease: Effect.Effect<PgLink.Link, SqlError.SqlError, Scope.Scope>
  /** The same while `f` runs. One that lies idle costs no scope, and nothing to wait for. */
  readonly use: <A, E, R>(
    f: (link: PgLink.Link) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | SqlError.SqlError, R>
  /** Connects, and makes the schema where there is one to make. */
  readonly check: Effect.Effect<void, SqlError.SqlError>
}

export const make = (settings: PgSettings.Settings): Effect.Effect<PgPool, never, Scope.Scope> =>
  Effect.gen(function*() {
    const links = new Set<PgLink.Link>()
    const { cancelMs, queryMs } = settings.link
    let closed = false
    const runFork = Effect.runForkWith(yield* Effect.context())
    const scope = yield* Effect.acquireRelease(Scope.make(), (scope) =>
      Effect.suspend(() => {
        closed = true
        // The pool would wait for every lease to come back, however long that takes.
        const fiber = runFork(Scope.close(scope, Exit.void))
        return within(
          cancelMs,
          Effect.callback<void>((resume) => {
            const stop = fiber.addObserver(() => resume(Effect.void))
            return Effect.sync(stop)
          }),
          Effect.sync(() => {
            for (const link of links) link.kill("the client has been closed")
          })
        )
      }))
    const acquire = Effect.tap(PgLink.open(settings.link), (link) =>
      Effect.gen(function*() {
        links.add(link)
        yield* Effect.addFinalizer(() => Effect.sync(() => void links.delete(link)))
        link.onSpent = () => void runFork(Pool.invalidate(pool, link))
        // What lies idle has gone the same way; who is busy has a timer of its own.
        link.onDark = () => {
          for (const other of links) if (other.busy === 0) other.kill("another connection to the same server went dark")
        }
      }))
    const pool: Pool.Pool<PgLink.Link, SqlError.SqlError> = yield* Scope.provide(
      // The server's clock is not a test's: who sets that years ahead would have the pool look for idle ones all the way.
      Effect.provideService(
        Pool.makeWithTTL({
          acquire,
          min: settings.minConnections,
          max: settings.maxConnections,
          timeToLive: settings.idleMs,
          timeToLiveStrategy: "usage"
        }),
        Clock.Clock,
        Clock.Clock.defaultValue()
      ),
      scope
    )
    const tooOld = (link: PgLink.Link) => settings.ttlMs !== undefined && Date.now() - link.openedAt > settings.ttlMs
    const noneFree = Effect.suspend(() =>
      Effect.fail(PgErrors.make(
        "ConnectionError",
        "acquire",
        `no connection was free within ${queryMs / 1000} s: all ${settings.maxConnections} are in use. Hold them ` +
          "shorter (nothing slow within a transaction), or raise maxConnections"
      ))
    )
    // A pool that shuts down interrupts those who wait for it.
    const get = Effect.catchCauseIf(
      Pool.get(pool),
      (cause) => closed && Cause.hasInterruptsOnly(cause),
      () => Effect.fail(isClosed())
    )
    const fit = (link: PgLink.Link) => link.alive && !link.spent && !tooOld(link)
    const lease: PgPool["lease"] = Effect.suspend(() =>
      closed ? Effect.fail(isClosed()) : Effect.filterOrElse(
        within(queryMs, get, noneFree),
        fit,
        (link) => Effect.andThen(Pool.invalidate(pool, link), lease)
      )
    )
    const use: PgPool["use"] = (f) =>
      Effect.suspend(() => {
        const { availableHead, waiters } = pool.state
        const idle = !closed && waiters.size === 0 && availableHead?.exit._tag === "Success" &&
          fit(availableHead.exit.value)
        return idle ? Pool.use(pool, f) : Effect.scoped(Effect.flatMap(lease, f))
      })
    return {
      lease,
      use,
      check: Effect.scoped(
        Effect.flatMap(lease, (link) => settings.schema === undefined ? Effect.void : makeSchema(link, settings.schema))
      )
    }
  })

// ----------------------------------------------------------------------------------------------------------- internals

const isClosed = () =>
  PgErrors.make("ConnectionError", "acquire", "the client has been closed: the scope of its layer has ended")

/** In real time, whatever clock the fiber has. */
const within = <A, E, R, B, E2>(
  ms: number,
  effect: Effect.Effect<A, E, R>,
  otherwise: Effect.Effect<B, E2>
): Effect.Effect<A | B, E | E2, R> =>
  Effect.raceFirst(
    effect,
    Effect.callback<B, E2>((resume) => {
      const timer = setTimeout(() => resume(otherwise), ms)
      return Effect.sync(() => clearTimeout(timer))
    })
  )

const makeSchema = (link: PgLink.Link, schema: string): Effect.Effect<void, SqlError.SqlError> => {
  const run = (sql: string, params: ReadonlyArray<unknown>) =>
    PgLink.guarded(link, link.connection.query(sql, params, false), PgLink.patience(link.settings))
  const there = Effect.map(
    run("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", [schema]),
    (result) => result.rows.length > 0
  )
  return Effect.flatMap(
    there,
    (isThere) =>
      isThere ? Effect.void : Effect.asVoid(run(`CREATE SCHEMA IF NOT EXISTS ${PgSettings.quote(schema)}`, [])).pipe(
        // Somebody else may make it at the same moment: then one of the two fails.
        Effect.catch((error) => Effect.flatMap(there, (now) => now ? Effect.void : Effect.fail(error)))
      )
  )
}
