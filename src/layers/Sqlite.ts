/**
 * A `SqlClient` over an embedded SQLite, by Node's own `node:sqlite`: one file, no server, no dependency.
 *
 * **What is promised**
 *
 * - *One connection, one user at a time.* Statements of a process run one after the other; while a transaction is open,
 *   statements of other fibers wait until it has ended, so nobody gets into somebody else's transaction.
 * - *Transactions* (`sql.withTransaction`) commit on success and roll back on failure, interruption and death; nested
 *   ones are savepoints. They begin with `BEGIN IMMEDIATE`: several processes on one file queue up instead of failing
 *   half-way. Waiting for another process's lock neither blocks the event loop nor outlives an interruption, and ends
 *   after `busyTimeout` with a `LockTimeoutError`, which `isRetryable`.
 * - *After a process dies* (kill -9, out of memory): nothing that was acknowledged is lost, and what was not committed is
 *   gone. The next one to open the file repairs it on its own.
 * - *After a power failure*: the file stays consistent. With `synchronous: "NORMAL"` (the default) the last commits may
 *   be missing; with `"FULL"` every commit is on the disk before it is acknowledged, at a quarter of the speed.
 *
 * **What is not**
 *
 * - `node:sqlite` is synchronous: while a statement computes, the process does nothing else. Keep statements small.
 * - `.stream` reads all rows before it gives the first, so that a slow reader does not hold the database.
 * - The file must be on a local disk: SQLite's write-ahead log does not work over network file systems.
 * - Within a transaction use one fiber. Children that are forked inside it share its connection.
 */
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection, Row } from "effect/sql/SqlConnection"
import * as SqlError from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite"
import { settings } from "./internal/settings.ts"

/** How a database is opened. */
export interface Options {
  /** A path, or `":memory:"` for a database that lives as long as the layer. The directory must exist. */
  readonly filename: string
  /** What a commit waits for: see the top of this module. Default `"NORMAL"`. */
  readonly synchronous?: "NORMAL" | "FULL" | undefined
  /** How long a statement waits for another process's lock; default 5 seconds. */
  readonly busyTimeout?: Duration.Input | undefined
  /** How many prepared statements are kept; default 256. */
  readonly statementCache?: number | undefined
}

/** A client, closed with its scope. Fails where the file can't be opened, and says why. */
export const make: (
  options: Options
) => Effect.Effect<SqlClient.SqlClient, SqlError.SqlError, Scope.Scope | Reactivity.Reactivity> = Effect.fnUntraced(
  function*(options: Options) {
    const fault = faultOf(options)
    if (fault !== undefined) {
      const message = `sqlite: ${fault}`
      const cause = new TypeError(message)
      return yield* new SqlError.SqlError({
        reason: new SqlError.ConnectionError({ cause, message, operation: "open" })
      })
    }
    const busyMs = Duration.toMillis(Duration.fromInputUnsafe(options.busyTimeout ?? "5 seconds"))
    const database = yield* Effect.acquireRelease(open(options, busyMs), (db) => Effect.sync(() => close(db)))
    const session = makeSession(database, options.statementCache ?? 256)
    const connection = makeConnection(database, session, busyMs)
    const lease = SqlClient.makeSqliteAcquirers({
      connection: Effect.succeed(connection),
      semaphore: yield* Semaphore.make(1),
      isTransaction: () => hasTransaction(database)
    })
    const transactionService = Context.Service<
      SqlClient.TransactionConnection,
      SqlClient.TransactionConnection.Service
    >(`penguiflow/layers/Sqlite/Transaction/${clients++}`)
    const attributes = [["db.system.name", "sqlite"], ["db.namespace", options.filename]] as const
    const client = yield* SqlClient.make({
      driver: "sqlite-node",
      compiler: Statement.makeCompilerSqlite(),
      spanAttributes: attributes,
      transactionService,
      borrower: lease.borrower,
      transactionAcquirer: lease.transactionAcquirer,
      // Asked only by `.stream` outside a transaction: it holds the connection while it reads, not while its reader does.
      acquirer: Effect.succeed({
        ...connection,
        executeStream: (sql, params, transform) =>
          Stream.unwrap(Effect.map(lease.borrower((c) => c.execute(sql, params, transform)), Stream.fromIterable))
      })
    })
    const control = (statement: string) => Effect.asVoid(connection.execute(statement, [], undefined))
    // SQLite ends a whole transaction by itself on some errors, a full disk for one.
    const ifOpen = (statement: string) =>
      Effect.suspend(() => hasTransaction(database) ? control(statement) : Effect.void)
    return Object.assign(client, {
      withTransaction: SqlClient.makeWithTransaction<SqlClient.TransactionConnection, Connection>({
        transactionService,
        spanAttributes: attributes,
        // BEGIN belongs to the acquiring: only there may a caller be interrupted while it waits for another process.
        acquireConnection: (restore) =>
          Effect.tap(
            restore(lease.transactionAcquirer),
            () =>
              Effect.flatMap(SqlClient.BeginTransaction, (statement) =>
                patiently(
                  session.rows(statement ?? "BEGIN IMMEDIATE", []),
                  busyMs,
                  (ms) => restore(pause(ms))
                ))
          ),
        begin: () => Effect.void,
        savepoint: (_, id) => control(`SAVEPOINT penguiflow_${id}`),
        releaseSavepoint: (_, id) => ifOpen(`RELEASE SAVEPOINT penguiflow_${id}`),
        commit: () => control("COMMIT"),
        onCommitFailure: lease.onCommitFailure,
        rollback: () => ifOpen("ROLLBACK"),
        rollbackSavepoint: (_, id) => ifOpen(`ROLLBACK TO SAVEPOINT penguiflow_${id}`)
      })
    })
  }
)

/**
 * The database of an application.
 *
 * @example
 * ```ts runnable
 * import { Effect } from "effect"
 * import { SqlClient } from "effect/sql"
 * import * as Sqlite from "penguiflow/layers/Sqlite"
 *
 * const program = SqlClient.SqlClient.use((sql) => sql`SELECT 1 + 1 AS two`)
 * await Effect.runPromise(Effect.provide(program, Sqlite.layer({ filename: ":memory:" }))) // => [{ two: 2 }]
 * ```
 */
export const layer = (options: Options): Layer.Layer<SqlClient.SqlClient, SqlError.SqlError> =>
  Layer.effect(SqlClient.SqlClient, make(options)).pipe(Layer.provide(Reactivity.layer))

/** The same with options from `Config`: `layerConfig({ filename: Config.String("DATABASE_FILE") })`. */
export const layerConfig = (
  config: Config.Wrap<Options>
): Layer.Layer<SqlClient.SqlClient, Config.ConfigError | SqlError.SqlError> =>
  Layer.effect(SqlClient.SqlClient, Effect.flatMap(settings("SQLite", config), make)).pipe(
    Layer.provide(Reactivity.layer)
  )

// ----------------------------------------------------------------------------------------------------------- internals

let clients = 0

/** What is wrong with the options, where they come from somewhere that the compiler did not see. */
const faultOf = ({ busyTimeout, filename, statementCache, synchronous }: Options): string | undefined => {
  if (typeof filename !== "string" || filename === "") {
    return "`filename` is empty: name a file, or \":memory:\" for a database that lives as long as the layer"
  }
  if (synchronous !== undefined && synchronous !== "NORMAL" && synchronous !== "FULL") {
    return "`synchronous` takes \"NORMAL\" or \"FULL\""
  }
  if (statementCache !== undefined && !(Number.isSafeInteger(statementCache) && statementCache >= 0)) {
    return `\`statementCache\` is ${statementCache}: it takes a whole number from 0`
  }
  if (busyTimeout === undefined) return undefined
  const wait = Duration.fromInput(busyTimeout)
  return wait._tag === "Some" && Duration.toMillis(wait.value) >= 0 &&
      !(typeof busyTimeout === "number" && busyTimeout < 0)
    ? undefined
    : `\`busyTimeout\` is ${String(busyTimeout)}: it takes a duration from 0`
}

/** One try at a statement: another process's lock is a failure here. */
interface Session {
  readonly rows: (sql: string, params: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError>
  readonly values: (
    sql: string,
    params: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError.SqlError>
  readonly raw: (sql: string, params: ReadonlyArray<unknown>) => Effect.Effect<unknown, SqlError.SqlError>
}

interface Prepared {
  readonly statement: StatementSync
  readonly givesRows: boolean
}

const makeSession = (database: DatabaseSync, capacity: number): Session => {
  const cache = new Map<string, Prepared>()
  const prepare = (sql: string): Prepared => {
    const known = cache.get(sql)
    if (known !== undefined) {
      // Back to the end: the front of the map is what was not used for the longest time.
      cache.delete(sql)
      cache.set(sql, known)
      return known
    }
    const statement = database.prepare(sql)
    if (!blank.test(sql.slice(statement.sourceSQL.length))) throw new SeveralStatements()
    const prepared = { statement, givesRows: statement.columns().length > 0 }
    if (capacity > 0) {
      if (cache.size >= capacity) {
        for (const oldest of cache.keys()) {
          cache.delete(oldest)
          break
        }
      }
      cache.set(sql, prepared)
    }
    return prepared
  }
  const attempt = <A>(
    sql: string,
    params: ReadonlyArray<unknown>,
    f: (prepared: Prepared, params: ReadonlyArray<SQLInputValue>) => A
  ): Effect.Effect<A, SqlError.SqlError> =>
    Effect.withFiber((fiber) => {
      try {
        const prepared = prepare(sql)
        prepared.statement.setReadBigInts(fiber.getRef(SqlClient.SafeIntegers))
        return Effect.succeed(f(prepared, params.map(toInput)))
      } catch (cause) {
        return Effect.fail(toSqlError(cause, "execute"))
      }
    })
  // Rows come without a prototype; a copy with one behaves like the rows of every other client.
  const all = (prepared: Prepared, params: ReadonlyArray<SQLInputValue>): Array<Row> => {
    const rows: Array<Row> = prepared.statement.all(...params)
    for (let i = 0; i < rows.length; i++) rows[i] = { ...rows[i] }
    return rows
  }
  return {
    rows: (sql, params) =>
      attempt(sql, params, (prepared, values) => {
        if (prepared.givesRows) return all(prepared, values)
        prepared.statement.run(...values)
        return []
      }),
    values: (sql, params) =>
      attempt(sql, params, (prepared, values) => {
        if (!prepared.givesRows) {
          prepared.statement.run(...values)
          return []
        }
        prepared.statement.setReturnArrays(true)
        try {
          // With `setReturnArrays` each row is an array, which the driver's types don't say.
          return prepared.statement.all(...values).map((row) => Array.isArray(row) ? row : Object.values(row))
        } finally {
          prepared.statement.setReturnArrays(false)
        }
      }),
    raw: (sql, params) =>
      attempt(
        sql,
        params,
        (prepared, values): unknown => prepared.givesRows ? all(prepared, values) : prepared.statement.run(...values)
      )
  }
}

const makeConnection = (database: DatabaseSync, session: Session, busyMs: number): Connection => {
  const patient = <A>(sql: string, attempt: Effect.Effect<A, SqlError.SqlError>) =>
    // A transaction that meets a lock half-way would wait for somebody who may be waiting for it.
    Effect.suspend(() => hasTransaction(database) && sql !== "COMMIT" ? attempt : patiently(attempt, busyMs, pause))
  const execute: Connection["execute"] = (sql, params, transform) => {
    const rows = patient(sql, session.rows(sql, params))
    return transform === undefined ? rows : Effect.map(rows, transform)
  }
  const executeValues: Connection["executeValues"] = (sql, params) => patient(sql, session.values(sql, params))
  return {
    execute,
    executeUnprepared: execute,
    executeRaw: (sql, params) => patient(sql, session.raw(sql, params)),
    executeValues,
    executeValuesUnprepared: executeValues,
    executeStream: (sql, params, transform) =>
      Stream.unwrap(Effect.map(execute(sql, params, transform), Stream.fromIterable))
  }
}

/** Tries until there is no foreign lock in the way, or `limitMs` have passed. Real time: who holds it is elsewhere. */
const patiently = <A>(
  attempt: Effect.Effect<A, SqlError.SqlError>,
  limitMs: number,
  wait: (ms: number) => Effect.Effect<void>
): Effect.Effect<A, SqlError.SqlError> =>
  Effect.suspend(() => {
    const until = performance.now() + limitMs
    let ms = 1
    const again: Effect.Effect<A, SqlError.SqlError> = Effect.catch(attempt, (error) => {
      const left = until - performance.now()
      if (error.reason._tag !== "LockTimeoutError" || left <= 0) return Effect.fail(error)
      ms = Math.min(ms * 2, 32)
      return Effect.andThen(wait(Math.min(left, ms * (0.5 + Math.random()))), again)
    })
    return again
  })

const pause = (ms: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const timer = setTimeout(() => resume(Effect.void), ms)
    return Effect.sync(() => clearTimeout(timer))
  })

const open = (options: Options, busyMs: number): Effect.Effect<DatabaseSync, SqlError.SqlError> =>
  patiently(
    Effect.suspend(() => {
      let database: DatabaseSync | undefined
      try {
        database = new DatabaseSync(options.filename, { timeout: 0, enableForeignKeyConstraints: true })
        // Needs the file for itself for a moment when it is new: several processes may be at it.
        database.exec("PRAGMA journal_mode = WAL")
        database.exec(`PRAGMA synchronous = ${options.synchronous === "FULL" ? "FULL" : "NORMAL"}`)
        return Effect.succeed(database)
      } catch (cause) {
        if (database !== undefined) close(database)
        const error = toSqlError(cause, "open")
        return Effect.fail(error.reason._tag === "LockTimeoutError" ? error : explain(options.filename, cause, error))
      }
    }),
    busyMs,
    pause
  )

/** Why a file can't be opened, and what to do about it. */
const explain = (filename: string, cause: unknown, error: SqlError.SqlError): SqlError.SqlError => {
  const path = Path.resolve(filename)
  const directory = Path.dirname(path)
  const may = (file: string, mode: number) => {
    try {
      Fs.accessSync(file, mode)
      return true
    } catch {
      return false
    }
  }
  const fail = (Reason: typeof SqlError.ConnectionError | typeof SqlError.AuthorizationError, what: string) =>
    new SqlError.SqlError({
      reason: new Reason({ cause, operation: "open", message: `sqlite: can't open ${path}: ${what}` })
    })
  if (!Fs.existsSync(directory)) {
    return fail(SqlError.ConnectionError, `the directory ${directory} does not exist. Create it, or name another file.`)
  }
  if (Fs.existsSync(path)) {
    if (Fs.statSync(path).isDirectory()) {
      return fail(SqlError.ConnectionError, "it is a directory. Name a file in it.")
    }
    if (!may(path, Fs.constants.R_OK | Fs.constants.W_OK)) {
      return fail(SqlError.AuthorizationError, "this user may not read and write it. Change its permissions.")
    }
  }
  if (!may(directory, Fs.constants.W_OK)) {
    return fail(
      SqlError.AuthorizationError,
      `this user may not write into the directory ${directory}, where SQLite keeps the log of the file. Change its ` +
        "permissions, or name another file."
    )
  }
  const message = codeOf(cause) === 26
    ? "the file is not a SQLite database, or is damaged. Nothing was changed in it: name another file, or move it away."
    : error.message
  return new SqlError.SqlError({
    reason: new SqlError.UnknownError({ cause, operation: "open", message: `sqlite: can't open ${path}: ${message}` })
  })
}

/** Whether a transaction is open; a closed database throws when it is asked. */
const hasTransaction = (database: DatabaseSync): boolean => database.isOpen && database.isTransaction

const close = (database: DatabaseSync): void => {
  if (database.isOpen) database.close()
}

const toInput = (value: unknown): SQLInputValue => {
  switch (typeof value) {
    case "string":
    case "number":
    case "bigint":
      return value
    case "undefined":
      return null
    case "boolean":
      return value ? 1 : 0
  }
  if (value === null) return null
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Uint8Array) return value
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  if (value instanceof ArrayBuffer) return new Uint8Array(value)
  throw new UnsupportedValue(value)
}

class UnsupportedValue extends Error {
  constructor(value: unknown) {
    const name = typeof value === "object" && value !== null ? value.constructor?.name ?? "object" : typeof value
    super(
      `a value of type ${name} can't be stored: pass text, a number, a bigint, a boolean, a Date, bytes or null, for ` +
        "example JSON.stringify(value)"
    )
  }
}

class SeveralStatements extends Error {
  constructor() {
    super("several statements in one: only the first would run. Run them one by one, in sql.withTransaction.")
  }
}

const blank = /^(?:\s|;|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*$/

const codeOf = (cause: unknown): number | undefined =>
  typeof cause === "object" && cause !== null && "errcode" in cause && typeof cause.errcode === "number"
    ? cause.errcode
    : undefined

const toSqlError = (cause: unknown, operation: string): SqlError.SqlError => {
  const said = cause instanceof Error ? cause.message : String(cause)
  const props = { cause, operation, message: `sqlite: ${said}` }
  return new SqlError.SqlError({ reason: toReason(codeOf(cause), said, cause, props) })
}

/** By SQLite's result codes; an extended code's low byte is the primary one. */
const toReason = (
  code: number | undefined,
  said: string,
  cause: unknown,
  props: { readonly cause: unknown; readonly operation: string; readonly message: string }
): SqlError.SqlErrorReason => {
  if (code === undefined) {
    if (said === "database is not open") {
      return new SqlError.ConnectionError({ ...props, message: "sqlite: the database is closed: its scope has ended" })
    }
    return cause instanceof SeveralStatements ? new SqlError.SqlSyntaxError(props) : new SqlError.UnknownError(props)
  }
  switch (code) {
    case 1555: // SQLITE_CONSTRAINT_PRIMARYKEY
    case 2067: // SQLITE_CONSTRAINT_UNIQUE
    case 2579: // SQLITE_CONSTRAINT_ROWID
      return new SqlError.UniqueViolation({
        ...props,
        constraint: said.split("UNIQUE constraint failed: ")[1] ?? "unknown"
      })
  }
  switch (code & 0xff) {
    case 1:
      return notUnderstood.test(said) ? new SqlError.SqlSyntaxError(props) : new SqlError.UnknownError(props)
    case 3: // PERM
    case 8: // READONLY
    case 23: // AUTH
      return new SqlError.AuthorizationError(props)
    case 5: // BUSY
    case 6: // LOCKED
      return new SqlError.LockTimeoutError({
        ...props,
        message: "sqlite: another connection holds the lock of the database, and went on holding it"
      })
    case 9: // INTERRUPT
      return new SqlError.StatementTimeoutError(props)
    case 14: // CANTOPEN
      return new SqlError.ConnectionError(props)
    case 19:
      return new SqlError.ConstraintError(props)
    default:
      return new SqlError.UnknownError(props)
  }
}

/** SQLite has one code for all that it does not understand; this is how it says so. */
const notUnderstood =
  /syntax error|^no such |has no column|ambiguous column|incomplete input|unrecognized token|already exists|misuse of|wrong number of arguments|values? for \d+ columns|different number of/i
