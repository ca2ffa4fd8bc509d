/**
 * A `SqlClient` over a PostgreSQL server: a pool of connections none of which anybody waits for without end.
 *
 * **What is promised**
 *
 * - *Every statement ends.* The server cancels one that takes longer than `queryTimeout`; where the server doesn't
 *   answer either, the connection is given up shortly after, and the statement fails with a `ConnectionError`. So do
 *   waiting for a free connection, connecting, and cancelling (`cancelTimeout`). Idle connections that went dark are
 *   found by TCP keep-alive, and all of them are dropped when one of them was found dark.
 * - *Transactions* (`sql.withTransaction`) commit on success and roll back on failure, interruption and death; nested
 *   ones are savepoints. Where a rollback can't be sent, the connection is closed, which rolls back as well.
 * - *An interrupted statement* is cancelled at the server, and its connection is not used again.
 * - *The pool stays whole*: what dies or is given up is replaced when it is needed.
 * - *Closing the layer* waits up to `cancelTimeout` for those who still hold a connection, and never for the server.
 * - *Errors* say what is wrong and what to do. They hold neither the URL nor values of statements or rows.
 *
 * **What is not**
 *
 * - A `ConnectionError` from a statement, or from a commit, doesn't say whether it was carried out. Write so that a
 *   second time does no harm: `ON CONFLICT` with the node's `idempotencyKey`.
 * - The server learns of a client that went dark by keep-alive, after about a minute: until then its locks are held.
 * - Within a transaction use one fiber. Children that are forked inside it share its connection.
 * - Times are real time, not the fiber's `Clock`: a test clock can't hurry a server.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as PgConnection from "@effect/sql-pg/PgConnection"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import type * as SqlError from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import type { ConnectionOptions } from "node:tls"
import * as PgErrors from "./internal/pgErrors.ts"
import * as PgLink from "./internal/pgLink.ts"
import * as PgPool from "./internal/pgPool.ts"
import * as PgSettings from "./internal/pgSettings.ts"
import { settings } from "./internal/settings.ts"

/** Where the server is, and how it is used. */
export interface Options {
  /** `postgres://user:password@host:5432/database`, with `?sslmode=require` for TLS. Other options override its parts. */
  readonly url?: Redacted.Redacted | undefined
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly database?: string | undefined
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
  /** TLS: true, or the options of `node:tls` (`{ ca }` for an authority of your own). Default: what the URL says. */
  readonly ssl?: boolean | ConnectionOptions | undefined
  /** The schema to work in, made if it is not there. Default: the server's. */
  readonly schema?: string | undefined
  /** How the server's `pg_stat_activity` names these connections; default `"penguiflow"`. */
  readonly applicationName?: string | undefined
  /** The most connections at once; default 10. */
  readonly maxConnections?: number | undefined
  /** How many stay open while nothing is to do; default 0. */
  readonly minConnections?: number | undefined
  /** How long a connection above `minConnections` stays open unused; default 1 minute. */
  readonly idleTimeout?: Duration.Input | undefined
  /** How old a connection may get; default: no limit. Useful behind something that balances load. */
  readonly connectionTTL?: Duration.Input | undefined
  /** How long connecting may take, name, TLS and password included; default 5 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long one statement may take, and waiting for a connection to be free; default 30 seconds. */
  readonly queryTimeout?: Duration.Input | undefined
  /** How long cancelling a statement, a rollback, or a connection still in use at closing are waited for; default 2 seconds. */
  readonly cancelTimeout?: Duration.Input | undefined
  /** How long a transaction may do nothing before the server ends it and frees its locks; default 5 minutes. */
  readonly idleInTransactionTimeout?: Duration.Input | undefined
  /** How long a connection is silent before TCP asks whether the other side is still there; default 30 seconds. */
  readonly keepAlive?: Duration.Input | undefined
  /**
   * For a pooler such as PgBouncer between here and the server: no settings are sent to it and no statement is
   * prepared. `queryTimeout` is kept by giving the connection up, and `listen` fails. Default false.
   */
  readonly pooler?: boolean | undefined
}

/**
 * The names under which {@link layerConfig} looks for its options where it is given none: `DATABASE_URL` (needed),
 * `DATABASE_SCHEMA`, `DATABASE_MAX_CONNECTIONS`, `DATABASE_QUERY_TIMEOUT`, `DATABASE_CONNECT_TIMEOUT` and
 * `DATABASE_IDLE_TIMEOUT` (`"30 seconds"`).
 */
export const config: Config.Config<Options> = Config.all({
  url: Config.Redacted("DATABASE_URL"),
  schema: optional(Config.NonEmptyString("DATABASE_SCHEMA")),
  maxConnections: optional(Config.Int("DATABASE_MAX_CONNECTIONS")),
  queryTimeout: optional(Config.Duration("DATABASE_QUERY_TIMEOUT")),
  connectTimeout: optional(Config.Duration("DATABASE_CONNECT_TIMEOUT")),
  idleTimeout: optional(Config.Duration("DATABASE_IDLE_TIMEOUT"))
})

/**
 * A client with a pool of its own, closed with its scope. Connects once before it is there, so that an address without
 * a server and wrong credentials are known at the start: fails with a `SqlError` that says which it is and what to do.
 *
 * It is a `PgClient` too: `json`, `listen` and `notify` are there.
 */
export const make: (
  options: Options
) => Effect.Effect<PgClient.PgClient, SqlError.SqlError, Scope.Scope | Reactivity.Reactivity> = Effect.fnUntraced(
  function*(options: Options) {
    const settings = yield* PgSettings.resolve(options)
    const pool = yield* PgPool.make(settings)
    yield* pool.check
    const { link } = settings
    const transactionService = Context.Service<
      SqlClient.TransactionConnection,
      SqlClient.TransactionConnection.Service
    >(`penguiflow/layers/Postgres/Transaction/${clients++}`)
    const attributes = [
      ["db.system.name", "postgresql"],
      ["db.namespace", link.address.database],
      ["server.address", link.address.host],
      ["server.port", link.address.port]
    ] as const
    const known = new WeakMap<PgLink.Link, Held>()
    const connection = (link: PgLink.Link): Held => {
      const made = known.get(link) ?? connectionOf(link, link.connection)
      known.set(link, made)
      return made
    }
    const acquirer = Effect.map(pool.lease, connection)
    const pinned = Effect.flatMap(pool.lease, (it) => Effect.map(it.connection.pin, (pin) => connectionOf(it, pin)))
    const client = yield* SqlClient.make({
      driver: "pg",
      compiler: PgClient.makeCompiler(),
      spanAttributes: attributes,
      transactionService,
      acquirer,
      borrower: (f) => pool.use((link) => f(connection(link))),
      transactionAcquirer: pinned
    })
    const withTransaction = SqlClient.makeWithTransaction<SqlClient.TransactionConnection, Connection>({
      transactionService,
      spanAttributes: attributes,
      // BEGIN belongs to the acquiring: only there may a caller be interrupted while the server is silent.
      acquireConnection: (restore) =>
        restore(Effect.tap(pinned, (it) =>
          Effect.flatMap(
            SqlClient.BeginTransaction,
            (statement) => it.executeUnprepared(statement ?? "BEGIN", [], undefined)
          ))),
      begin: () => Effect.void,
      savepoint: (it, id) => held(it).control(`SAVEPOINT penguiflow_${id}`),
      releaseSavepoint: (it, id) => held(it).undo(`RELEASE SAVEPOINT penguiflow_${id}`),
      commit,
      rollback: (it) => held(it).undo("ROLLBACK"),
      rollbackSavepoint: (it, id) => held(it).undo(`ROLLBACK TO SAVEPOINT penguiflow_${id}`)
    })
    return Object.assign(client, {
      [PgClient.TypeId]: PgClient.TypeId,
      config: { ...link.config, maxConnections: settings.maxConnections },
      withTransaction,
      json: (value: unknown) => Statement.fragment([pgJson(value, undefined, undefined)]),
      listen: (channel: string) =>
        options.pooler === true ? Effect.fail(notHeard()) : Effect.flatMap(
          pool.lease,
          (it) => armed(it, PgLink.guarded(it, it.connection.listen(channel), PgLink.patience(link)))
        ),
      notify: (channel: string, payload: string) => Effect.asVoid(client`SELECT pg_notify(${channel}, ${payload})`)
    })
  }
)

/**
 * The database of an application.
 *
 * ```ts
 * import { Effect, Redacted } from "effect"
 * import { SqlClient } from "effect/sql"
 * import * as Postgres from "penguiflow/layers/Postgres"
 *
 * const Database = Postgres.layer({
 *   url: Redacted.make("postgres://app:secret@db.example/app?sslmode=require"),
 *   maxConnections: 20,
 *   queryTimeout: "5 seconds"
 * })
 * const program = SqlClient.SqlClient.use((sql) => sql`SELECT 1 + 1 AS two`)
 * await Effect.runPromise(Effect.provide(program, Database))
 * ```
 */
export const layer = (
  options: Options
): Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, SqlError.SqlError> => layerOf(make(options))

/**
 * The same with options from `Config`, by default from those that {@link config} names:
 * `layerConfig({ url: Config.Redacted("MY_DATABASE"), maxConnections: Config.succeed(4) })`.
 *
 * Fails with a `ConfigError` that names what is missing or not of its type.
 */
export const layerConfig = (
  options: Config.Wrap<Options> = config
): Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, Config.ConfigError | SqlError.SqlError> =>
  layerOf(Effect.flatMap(settings("PostgreSQL", options), make))

// ----------------------------------------------------------------------------------------------------------- internals

let clients = 0

function optional<A>(self: Config.Config<A>): Config.Config<A | undefined> {
  return Config.withDefault(self, undefined)
}

const layerOf = <E>(
  client: Effect.Effect<PgClient.PgClient, E, Scope.Scope | Reactivity.Reactivity>
): Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, E> =>
  Layer.effectContext(
    Effect.map(client, (it) => Context.add(Context.make(PgClient.PgClient, it), SqlClient.SqlClient, it))
  ).pipe(Layer.provide(Reactivity.layer))

/** What is listened for would come to whoever has the server's connection at that moment. */
const notHeard = () =>
  PgErrors.make(
    "UnknownError",
    "listen",
    "a pooler has no connection to listen on. Ask again and again, or connect to the server itself, without pooler: true"
  )

const pgJson = Statement.custom<Statement.Custom<"PgJson", unknown, undefined, undefined>>("PgJson")

/** A connection of the driver, and what it runs on. */
interface Held extends Connection {
  /** SAVEPOINT and the like: for the server a matter of no time. */
  readonly control: (sql: string) => Effect.Effect<void, SqlError.SqlError>
  /** Ends a transaction, or part of one. What can't be said is done by closing the connection, which rolls back. */
  readonly undo: (sql: string) => Effect.Effect<void>
}

const isHeld = (connection: Connection): connection is Held => "undo" in connection

/** A transaction of this client runs on a connection of this client. */
const held = (connection: Connection): Held => {
  if (isHeld(connection)) return connection
  throw new Error("a connection that is not one of this client's")
}

const connectionOf = (link: PgLink.Link, connection: PgConnection.PgConnection): Held => {
  const limit = PgLink.patience(link.settings)
  const query = (sql: string, params: ReadonlyArray<unknown>, prepare: boolean) =>
    PgLink.guarded(link, connection.query(sql, params, prepare), limit)
  const rows = (prepare: boolean): Connection["execute"] => (sql, params, transform) =>
    Effect.flatMap(
      query(sql, params, prepare),
      (result) => Effect.map(plainRows(result), (found) => transform === undefined ? found : transform(found))
    )
  const values = (prepare: boolean): Connection["executeValues"] => (sql, params) =>
    Effect.flatMap(PgLink.guarded(link, connection.queryValues(sql, params, prepare), limit), plainValues)
  const control: Held["control"] = (sql) =>
    Effect.asVoid(PgLink.guarded(link, connection.query(sql, [], true), link.settings.cancelMs))
  return {
    execute: rows(true),
    executeUnprepared: rows(false),
    executeRaw: (sql, params) => query(sql, params, true),
    executeValues: values(true),
    executeValuesUnprepared: values(false),
    executeStream: (sql, params, transform) => {
      const found = PgLink.stream(link, connection, sql, params)
      return transform === undefined ? found : Stream.flattenIterable(Stream.map(found, (row) => transform([row])))
    },
    control,
    undo: (sql) =>
      Effect.suspend(() =>
        link.alive
          ? Effect.catch(control(sql), () => Effect.sync(() => link.kill(`${sql} failed`)))
          : Effect.void
      )
  }
}

/** PostgreSQL answers `ROLLBACK` to a `COMMIT` of a transaction in which a statement has failed. */
const commit = (connection: Connection): Effect.Effect<void, SqlError.SqlError> =>
  Effect.flatMap(
    connection.executeRaw("COMMIT", []),
    (result) =>
      typeof result === "object" && result !== null && "command" in result && result.command === "ROLLBACK"
        ? Effect.fail(PgErrors.make(
          "UnknownError",
          "commit",
          "nothing was committed, since a statement of the transaction had failed. Let that failure through, or put " +
            "the statement into a transaction of its own within this one"
        ))
        : Effect.void
  )

const int8 = 20

/** `count(*)` is a number, as it is with SQLite: a bigint only beyond 2^53, and where `SafeIntegers` asks for it. */
const toPlain = (value: unknown): unknown =>
  typeof value === "bigint" && value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
    ? Number(value)
    : value

const plainRows = (result: PgConnection.Result): Effect.Effect<ReadonlyArray<PgConnection.Row>> => {
  const names = result.fields.flatMap((field) => field.dataTypeId === int8 ? [field.name] : [])
  if (names.length === 0 || result.rows.length === 0) return Effect.succeed(result.rows)
  return Effect.map(SqlClient.SafeIntegers, (safe) => {
    // The rows are nobody else's: the driver has made them for this statement.
    const rows: ReadonlyArray<Record<string, unknown>> = safe ? [] : result.rows
    for (const row of rows) for (const name of names) row[name] = toPlain(row[name])
    return result.rows
  })
}

const plainValues = (
  rows: ReadonlyArray<ReadonlyArray<unknown>>
): Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>> =>
  Effect.map(SqlClient.SafeIntegers, (safe) => safe ? rows : rows.map((row) => row.map(toPlain)))

/** Closing the scope of what is listened to waits for the server for as long as a cancelled statement does. */
const armed = <A, E, R>(link: PgLink.Link, listening: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Scope.Scope> =>
  Effect.gen(function*() {
    let late: NodeJS.Timeout | undefined
    yield* Effect.addFinalizer(() => Effect.sync(() => clearTimeout(late)))
    const found = yield* listening
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        late = setTimeout(() => link.kill("the server was silent for too long"), link.settings.cancelMs)
      })
    )
    return found
  })
