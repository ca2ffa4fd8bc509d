/**
 * One connection to PostgreSQL that can be given up at once.
 *
 * The driver waits for the server wherever it can: a statement for its answer, an interrupted one for the end of what
 * was sent, a closed connection for its last bytes. Behind a link gone dark that is for ever, or for seven seconds. So
 * the sockets are ours: who destroys them ends every wait at once.
 */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import * as Net from "node:net"
import * as PgErrors from "./pgErrors.ts"

/** How a connection is made and how long its parts may take, in milliseconds. */
export interface Settings {
  readonly config: PgConnection.Config
  readonly address: PgErrors.Address
  /** A path for a Unix socket, else host and port of the address. */
  readonly path: string | undefined
  readonly connectMs: number
  readonly queryMs: number
  readonly cancelMs: number
  readonly keepAliveMs: number
  /** Whether the server itself ends a statement after `queryMs`. */
  readonly serverCancels: boolean
}

export interface Link {
  readonly connection: PgConnection.PgConnection
  readonly settings: Settings
  readonly openedAt: number
  /** How many statements are under way. */
  busy: number
  /** False once a socket has closed. */
  alive: boolean
  /** True once it must not be used by anybody else: a cancelled statement may still have an echo. */
  spent: boolean
  /** Called when it dies or is spent. */
  onSpent: () => void
  /** Called when the other side has been silent for too long. */
  onDark: () => void
  /** Destroys its sockets: whoever waits for it fails at once. */
  readonly kill: (why: string) => void
}

/**
 * Connects. Closing the scope says good-bye to the server and doesn't wait for an answer: a second later the socket is
 * destroyed, and meanwhile it keeps no process alive.
 */
export const open = (settings: Settings): Effect.Effect<Link, SqlError.SqlError, Scope.Scope> =>
  Effect.gen(function*() {
    const sockets = new Set<Net.Socket>()
    const watch = { alive: true, onEnd: () => {} }
    const end = () => {
      watch.alive = false
      watch.onEnd()
    }
    const kill = (why: string) => {
      // At once, not when the socket has closed: nobody may be given it in between.
      end()
      for (const socket of sockets) socket.destroy(new Error(why))
    }
    // Also for the side connections by which statements are cancelled.
    const stream = () => {
      const first = sockets.size === 0
      const socket = Net.connect({
        ...(settings.path === undefined
          ? { host: settings.address.host, port: settings.address.port }
          : { path: settings.path }),
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: settings.keepAliveMs
      })
      sockets.add(socket)
      if (first) socket.once("error", end)
      socket.once("close", () => {
        sockets.delete(socket)
        if (first) end()
      })
      return socket
    }
    // Registered before the connection is made, so that it runs after the driver has said good-bye.
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const socket of sockets) socket.unref()
        setTimeout(() => kill("closed"), lingerMs).unref()
      })
    )
    const timer = setTimeout(() => kill("no answer in time"), settings.connectMs)
    const connection = yield* PgConnection.make({
      ...settings.config,
      // The driver's own timeout goes by the fiber's clock, which in a test stands still.
      connectTimeout: settings.connectMs + 1000,
      stream
    }).pipe(
      Effect.mapError((error) => PgErrors.ofConnect(error, settings.address, settings.connectMs)),
      Effect.onExit(() => Effect.sync(() => clearTimeout(timer)))
    )
    const link: Link = {
      connection,
      settings,
      openedAt: Date.now(),
      busy: 0,
      alive: watch.alive,
      spent: false,
      onSpent: () => {},
      onDark: () => {},
      kill
    }
    watch.onEnd = () => {
      link.alive = false
      link.onSpent()
    }
    return link
  })

/** It may not be used again after whoever has it is done. */
export const spend = (link: Link): void => {
  if (link.spent) return
  link.spent = true
  link.onSpent()
}

/**
 * Runs a statement, and gives up the connection where that takes longer than `limitMs`, or where its cancellation takes
 * longer than the settings allow.
 *
 * A fiber of its own costs half a microsecond, and is how an interruption is seen before the driver waits it out.
 */
export const guarded = <A, R>(
  link: Link,
  statement: Effect.Effect<A, SqlError.SqlError, R>,
  limitMs: number
): Effect.Effect<A, SqlError.SqlError, R> =>
  Effect.contextWith((context: Context.Context<R>) =>
    Effect.callback<A, SqlError.SqlError>((resume) => {
      let dark = false
      const timer = setTimeout(() => {
        dark = true
        giveUp(link)
      }, limitMs)
      link.busy++
      const fiber = Effect.runForkWith(context)(statement)
      fiber.addObserver((exit) => {
        clearTimeout(timer)
        link.busy--
        resume(
          exit._tag === "Success" ? exit : Effect.mapError(exit, (error) => {
            if (error.reason._tag === "ConnectionError" && link.alive) link.kill("lost")
            return dark ? silent(limitMs) : PgErrors.ofStatement(error, link.settings.queryMs)
          })
        )
      })
      return Effect.suspend(() => {
        spend(link)
        const late = setTimeout(() => giveUp(link), link.settings.cancelMs)
        return Effect.ensuring(Fiber.interrupt(fiber), Effect.sync(() => clearTimeout(late)))
      })
    })
  )

/** How long a statement may take until the connection is given up: the server has the first word where it is there. */
export const patience = (settings: Settings): number =>
  settings.serverCancels ? settings.queryMs + Math.min(2000, Math.max(250, settings.queryMs / 10)) : settings.queryMs

/**
 * Rows as they come. The stream may last as long as its reader likes; what is bounded is the wait for the next rows.
 *
 * The server's own timeout counts the whole statement, so it is off while a stream is open.
 */
export const stream = (
  link: Link,
  connection: PgConnection.PgConnection,
  sql: string,
  params: ReadonlyArray<unknown>
): Stream.Stream<PgConnection.Row, SqlError.SqlError> => {
  const { queryMs, serverCancels } = link.settings
  const set = (ms: number) =>
    guarded(link, connection.query(`SET statement_timeout = ${ms}`, [], false), patience(link.settings))
  const timeout = Effect.acquireRelease(
    Effect.tap(set(0), () => Effect.sync(() => link.busy++)),
    () =>
      Effect.suspend(() => {
        link.busy--
        // In a transaction that has failed it can't be set, and needn't: ending that sets it back.
        return link.alive ? Effect.catch(set(queryMs), () => Effect.sync(() => spend(link))) : Effect.void
      })
  )
  return Stream.unwrap(Effect.gen(function*() {
    if (serverCancels) yield* timeout
    let late: NodeJS.Timeout | undefined
    yield* Effect.addFinalizer(() => Effect.sync(() => clearTimeout(late)))
    let dark = false
    const rows = Stream.transformPull(connection.stream(sql, params), (pull, scope) =>
      Effect.as(
        // Runs before the driver's own, which waits until what was sent has been answered.
        Scope.addFinalizer(
          scope,
          Effect.sync(() => {
            late = setTimeout(() => giveUp(link), link.settings.cancelMs)
          })
        ),
        Effect.suspend(() => {
          const timer = setTimeout(() => {
            dark = true
            giveUp(link)
          }, queryMs)
          return Effect.onExit(pull, () => Effect.sync(() => clearTimeout(timer)))
        })
      ))
    return Stream.mapError(rows, (error) => dark ? silent(queryMs) : PgErrors.ofStatement(error, queryMs))
  }))
}

// ----------------------------------------------------------------------------------------------------------- internals

const lingerMs = 1000

const giveUp = (link: Link): void => {
  link.onDark()
  link.kill("the server was silent for too long")
}

const silent = (ms: number): SqlError.SqlError =>
  PgErrors.make(
    "ConnectionError",
    "query",
    `the server did not answer within ${Math.round(ms) / 1000} s: the connection has been given up, and whether the ` +
      "statement was carried out is not known. Check the network, or give the layer a longer queryTimeout"
  )
