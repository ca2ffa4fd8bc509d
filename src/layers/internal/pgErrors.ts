/**
 * What PostgreSQL and its driver say, as a `SqlError` that says what is wrong and what to do, and keeps values to itself.
 *
 * A server's error carries the row it is about in its detail ("Key (email)=(a@b.c) already exists"), and a URL that
 * can't be parsed carries itself, password and all. Neither gets into an error of ours: message, code and names of
 * tables, columns and constraints do.
 */
import * as SqlError from "effect/sql/SqlError"

/** What an error of the server tells besides its message. */
interface ServerFields {
  readonly code?: string | undefined
  readonly severity?: string | undefined
  readonly schema?: string | undefined
  readonly table?: string | undefined
  readonly column?: string | undefined
  readonly constraint?: string | undefined
}

/** Where a connection goes to, without what is secret about it. */
export interface Address {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
}

type Kind = Exclude<SqlError.SqlErrorReason["_tag"], "UniqueViolation">

const reasons: {
  readonly [K in Kind]: new(props: {
    readonly cause: unknown
    readonly message?: string | undefined
    readonly operation?: string | undefined
  }) => Extract<SqlError.SqlErrorReason, { readonly _tag: K }>
} = {
  AuthenticationError: SqlError.AuthenticationError,
  AuthorizationError: SqlError.AuthorizationError,
  ConnectionError: SqlError.ConnectionError,
  ConstraintError: SqlError.ConstraintError,
  DeadlockError: SqlError.DeadlockError,
  LockTimeoutError: SqlError.LockTimeoutError,
  SerializationError: SqlError.SerializationError,
  SqlSyntaxError: SqlError.SqlSyntaxError,
  StatementTimeoutError: SqlError.StatementTimeoutError,
  UnknownError: SqlError.UnknownError
}

/** An error of a kind that is known. */
export const make = (kind: Kind, operation: string, message: string, cause?: unknown): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new reasons[kind]({
      cause: cause ?? new Error(message),
      message: `PostgreSQL: ${message}`,
      operation
    })
  })

/** What a statement, or the connection below it, failed with. */
export const ofStatement = (error: SqlError.SqlError, queryMs: number): SqlError.SqlError => {
  const { code, fields, said } = read(error)
  const operation = error.reason.operation ?? "query"
  const cause = clean(said, code, fields)
  if (error.reason._tag === "UniqueViolation") {
    return new SqlError.SqlError({
      reason: new SqlError.UniqueViolation({
        cause,
        message: `PostgreSQL: ${said}`,
        operation,
        constraint: error.reason.constraint
      })
    })
  }
  if (code === "57014") {
    return make(
      "StatementTimeoutError",
      operation,
      said.includes("statement timeout")
        ? `the statement took longer than its queryTimeout (${seconds(queryMs)}), and was cancelled. Make it faster, ` +
          "or give the layer a longer queryTimeout"
        : said,
      cause
    )
  }
  const words = code !== undefined && code in advice ? `${said}. ${advice[code]}` : said
  return make(lost(code) ? "ConnectionError" : error.reason._tag, operation, words, cause)
}

/** What to do about what the server says. */
const advice: Readonly<Record<string, string>> = {
  "25006": "The server is a standby, or is set to only read: use the address of one that writes",
  "53100": "Give the server's disk room"
}

/** Why there is no connection, and what to do about it. */
export const ofConnect = (error: SqlError.SqlError, address: Address, connectMs: number): SqlError.SqlError => {
  const { code, fields, said, system } = read(error)
  const cause = clean(said, code ?? system, fields)
  const at = `${address.host}:${address.port}`
  const fail = (kind: Kind, message: string) => make(kind, "connect", message, cause)
  switch (code?.slice(0, 2)) {
    case "28":
      return fail(
        "AuthenticationError",
        `${at} refused the user "${address.username}": ${said}. Check user name and password, and the server's pg_hba.conf`
      )
    case "3D":
      return fail(
        "UnknownError",
        `there is no database "${address.database}" at ${at}. Create it, or name another one in the URL`
      )
    case "53":
      return fail(
        "ConnectionError",
        `${at} has no room for another connection: ${said}. Lower maxConnections, or raise the server's max_connections`
      )
    case "57":
      return fail("ConnectionError", `${at} is starting up or shutting down: ${said}. Try again`)
    case "08":
      if (/startup parameter/i.test(said)) {
        return fail(
          "UnknownError",
          `${at} takes no settings: ${said}. It seems to be a pooler such as PgBouncer: set pooler: true`
        )
      }
  }
  if (code !== undefined) {
    return fail(error.reason._tag === "UniqueViolation" ? "UnknownError" : error.reason._tag, `${at}: ${said}`)
  }
  switch (system) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return fail("ConnectionError", `the host "${address.host}" is not known (${system}). Check the host in the URL`)
    case "ECONNREFUSED":
      return fail("ConnectionError", `nobody listens at ${at}. Is the server running, and are host and port right?`)
    case "ENOENT":
      return fail("ConnectionError", `there is no socket of a server at ${at}. Is it running, and is the path right?`)
  }
  if (/timed out|no answer/i.test(said)) {
    return fail(
      "ConnectionError",
      `${at} did not answer within ${seconds(connectMs)}. Check the network, or give a longer connectTimeout`
    )
  }
  if (/No password configured/.test(said)) {
    return fail("AuthenticationError", `${at} asks for a password, and none is given. Put it into the URL`)
  }
  if (/refused TLS/.test(said)) {
    return fail("ConnectionError", `${at} offers no TLS. Turn on ssl at the server, or use sslmode=disable`)
  }
  if (system !== undefined && /CERT|SELF_SIGNED|ALTNAME|SIGNATURE/.test(system)) {
    return fail(
      "ConnectionError",
      `the certificate of ${at} is not trusted (${system}). Give its authority: ssl: { ca }, and a host it is made for`
    )
  }
  return make(
    error.reason._tag === "UniqueViolation" ? "UnknownError" : error.reason._tag,
    "connect",
    `${at}: ${said}`,
    cause
  )
}

// ----------------------------------------------------------------------------------------------------------- internals

const seconds = (ms: number): string => `${Math.round(ms) / 1000} s`

/** Codes that say that the connection, or the server, is going away: another try may succeed. */
const lost = (code: string | undefined): boolean =>
  code !== undefined && (code.startsWith("57P") || code.startsWith("53") || code === "25P03" || code === "25P04")

const text = (value: unknown, key: string): string | undefined => {
  if (typeof value !== "object" || value === null) return undefined
  const found: unknown = Reflect.get(value, key)
  return typeof found === "string" ? found : undefined
}

interface Said {
  readonly said: string
  /** SQLSTATE, where the server has spoken. */
  readonly code: string | undefined
  /** The code of the system's error, where it has not. */
  readonly system: string | undefined
  readonly fields: ServerFields
}

const sqlState = /^[0-9A-Z]{5}$/

const read = (error: SqlError.SqlError): Said => {
  const inner: unknown = error.reason.cause
  const found = text(inner, "code")
  const code = found !== undefined && sqlState.test(found) && text(inner, "severity") !== undefined ? found : undefined
  const driver = (error.reason.message ?? error.reason._tag).replace(/^Pg[A-Za-z]+: /, "")
  // A TypeError of `new URL` holds its input.
  const own = inner instanceof TypeError && "input" in inner ? undefined : text(inner, "message")
  const said = code !== undefined
    ? own ?? driver
    : own !== undefined && own !== driver && own !== ""
    ? `${driver} (${own})`
    : driver
  return {
    // Data exceptions quote what did not fit: `invalid input syntax for type integer: "…"`.
    said: code?.startsWith("22") === true ? said.replace(/:?\s*"[\s\S]*$/, "") : said,
    code,
    system: code === undefined ? found : undefined,
    fields: {
      severity: text(inner, "severity"),
      schema: text(inner, "schema"),
      table: text(inner, "table"),
      column: text(inner, "column"),
      constraint: text(inner, "constraint")
    }
  }
}

/** The driver's error without detail, hint and context: they quote rows and statements. */
const clean = (said: string, code: string | undefined, fields: ServerFields): Error => {
  const known = Object.fromEntries(Object.entries({ ...fields, code }).filter(([, value]) => value !== undefined))
  return Object.assign(new Error(said), known)
}
