/** Options as they are given, checked and with their defaults: what is wrong with them is said before anything connects. */
import type * as PgConnection from "@effect/sql-pg/PgConnection"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as SqlError from "effect/sql/SqlError"
import type { Options } from "../Postgres.ts"
import * as PgErrors from "./pgErrors.ts"
import type * as PgLink from "./pgLink.ts"

export interface Settings {
  readonly link: PgLink.Settings
  readonly maxConnections: number
  readonly minConnections: number
  readonly idleMs: number
  readonly ttlMs: number | undefined
  readonly schema: string | undefined
}

/** What is meant, or the first thing that can't be meant. */
export const resolve = (options: Options): Effect.Effect<Settings, SqlError.SqlError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(settingsOf(options))
    } catch (cause) {
      return cause instanceof Fault
        ? Effect.fail(PgErrors.make("UnknownError", "config", cause.message))
        : Effect.die(cause)
    }
  })

/** `"a ""b"""`. */
export const quote = (identifier: string): string => `"${identifier.replaceAll("\"", "\"\"")}"`

// ----------------------------------------------------------------------------------------------------------- internals

class Fault extends Error {}

const settingsOf = (options: Options): Settings => {
  const queryMs = milliseconds("queryTimeout", options.queryTimeout ?? "30 seconds")
  const idleInTransactionMs = milliseconds("idleInTransactionTimeout", options.idleInTransactionTimeout ?? "5 minutes")
  const keepAliveMs = milliseconds("keepAlive", options.keepAlive ?? "30 seconds", 1000)
  const maxConnections = count("maxConnections", options.maxConnections ?? 10, 1)
  const minConnections = count("minConnections", options.minConnections ?? 0, 0)
  if (minConnections > maxConnections) {
    throw new Fault(`minConnections (${minConnections}) is greater than maxConnections (${maxConnections})`)
  }
  if (options.port !== undefined && !(Number.isInteger(options.port) && options.port > 0 && options.port < 65536)) {
    throw new Fault(`port must be a whole number from 1 to 65535, not ${options.port}`)
  }
  const schema = options.schema
  if (schema !== undefined) {
    const bytes = new TextEncoder().encode(schema).length
    if (bytes === 0 || bytes > 63 || schema.includes("\0")) {
      throw new Fault(
        "schema must be a name of 1 to 63 bytes: the server would cut a longer one, and mix up two of them"
      )
    }
    if (options.pooler === true) {
      throw new Fault("schema can't be used with a pooler: it is a setting of the connection")
    }
  }
  const pooler = options.pooler === true
  const url = options.url === undefined ? undefined : parse(Redacted.value(options.url))
  if (url === undefined && options.host === undefined) {
    throw new Fault("there is no address. Give url (postgres://user:password@host:5432/database), or host")
  }
  const host = options.host ?? url?.host ?? "localhost"
  const port = options.port ?? url?.port ?? 5432
  const username = options.username ?? url?.username ?? process.env.USER ?? process.env.USERNAME ?? "postgres"
  const database = options.database ?? url?.database ?? username
  const config: PgConnection.Config = {
    url: options.url,
    host,
    port,
    username,
    database,
    password: options.password,
    ssl: options.ssl,
    applicationName: options.applicationName ?? "penguiflow",
    prepare: !pooler,
    ...(pooler ? {} : {
      startupParameters: {
        statement_timeout: String(queryMs),
        idle_in_transaction_session_timeout: String(idleInTransactionMs),
        // By these the server finds out within a minute that a client is gone, and frees its locks.
        tcp_keepalives_idle: "30",
        tcp_keepalives_interval: "10",
        tcp_keepalives_count: "3",
        ...(schema === undefined ? {} : { search_path: quote(schema) })
      }
    })
  }
  return {
    link: {
      config,
      address: { host, port, database, username },
      path: host.startsWith("/") ? `${host}/.s.PGSQL.${port}` : undefined,
      connectMs: milliseconds("connectTimeout", options.connectTimeout ?? "5 seconds"),
      queryMs,
      cancelMs: milliseconds("cancelTimeout", options.cancelTimeout ?? "2 seconds"),
      keepAliveMs,
      serverCancels: !pooler
    },
    maxConnections,
    minConnections,
    idleMs: milliseconds("idleTimeout", options.idleTimeout ?? "1 minute"),
    ttlMs: options.connectionTTL === undefined ? undefined : milliseconds("connectionTTL", options.connectionTTL),
    schema
  }
}

/** The longest that a timer of Node's and a setting of PostgreSQL's can be. */
const longest = 2 ** 31 - 1

const milliseconds = (name: string, input: Duration.Input, least = 1): number => {
  const ms = Option.getOrUndefined(Option.map(Duration.fromInput(input), Duration.toMillis))
  if (ms === undefined || !(ms >= least)) {
    throw new Fault(`${name} must be a time of at least ${least} ms, such as "30 seconds"`)
  }
  return Math.min(Math.ceil(ms), longest)
}

const count = (name: string, value: number, least: number): number => {
  if (!Number.isInteger(value) || value < least) {
    throw new Fault(`${name} must be a whole number from ${least} on, not ${value}`)
  }
  return value
}

const form = "Its form is postgres://user:password@host:5432/database"

/** The driver parses it again and checks the rest; here it is made sure that nothing of it gets into an error. */
const parse = (raw: string): Partial<PgErrors.Address> => {
  let url: URL
  try {
    url = new URL(raw)
  } catch {
    throw new Fault(
      raw.trim() === ""
        ? `the url is empty. ${form}`
        : `the url can't be read. ${form}, and what is special in a password is written as in encodeURIComponent`
    )
  }
  if (url.protocol !== "postgres:" && url.protocol !== "postgresql:") {
    throw new Fault(`the url is not one of PostgreSQL. ${form}`)
  }
  const decode = (text: string, what: string): string | undefined => {
    try {
      return text === "" ? undefined : decodeURIComponent(text)
    } catch {
      throw new Fault(`the ${what} in the url can't be read: write a % as %25. ${form}`)
    }
  }
  decode(url.password, "password")
  const query = url.searchParams
  const port = query.get("port") ?? url.port
  if (port !== "" && !(Number.isInteger(Number(port)) && Number(port) > 0 && Number(port) < 65536)) {
    throw new Fault(`the port in the url must be a number from 1 to 65535. ${form}`)
  }
  const host = query.get("host") ?? decode(url.hostname.replace(/^\[(.*)\]$/, "$1"), "host")
  const username = query.get("user") ?? decode(url.username, "user")
  const database = query.get("dbname") ?? decode(url.pathname.slice(1), "database")
  return {
    ...(host === undefined ? {} : { host }),
    ...(port === "" ? {} : { port: Number(port) }),
    ...(username === undefined ? {} : { username }),
    ...(database === undefined ? {} : { database })
  }
}
