/** Where jobs, traces and reports are kept: what a command line says, as layers. */
import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type * as SqlClient from "effect/sql/SqlClient"
import * as SqlError from "effect/sql/SqlError"
import * as fs from "node:fs"
import * as path from "node:path"
import type { JobQueue } from "../JobQueue.ts"
import type * as Flags from "./commands/flags.ts"

/** A database or a Redis; `shown` holds no password. */
export type Place =
  | { readonly _tag: "Postgres"; readonly url: Redacted.Redacted; readonly shown: string }
  | { readonly _tag: "Sqlite"; readonly file: string; readonly shown: string }
  | { readonly _tag: "Redis"; readonly url: Redacted.Redacted; readonly shown: string }

/** A place that a `SqlClient` speaks to. */
export type Database = Exclude<Place, { readonly _tag: "Redis" }>

const Base: new(fields: { readonly message: string; readonly cause?: unknown; readonly again?: boolean }) =>
  & Cause.YieldableError
  & {
    readonly _tag: "CantReach"
    readonly message: string
    readonly cause?: unknown
    /** Whether another try may help. */
    readonly again?: boolean
  } = Data.TaggedError("CantReach")

/** It is not said where, or nothing is there. */
export class CantReach extends Base {}

/** Whether a file that is not there is made, or means that somebody mistyped it. */
export interface Opening {
  readonly create: boolean
}

/** The database that is meant. */
export const databaseOf = (given: Flags.Database, opening: Opening): Effect.Effect<Database, CantReach> => {
  const said = Option.getOrUndefined(given.database) ?? variable("PENGUIFLOW_DATABASE_URL")
  return said === undefined
    ? refuse("it is not said where the database is: give --database URL|FILE, or set PENGUIFLOW_DATABASE_URL")
    : database(said, opening)
}

/** The queue that is meant: a flag counts for more than the environment. */
export const queueOf = (given: Flags.Queue, opening: Opening): Effect.Effect<Place, CantReach> => {
  const flags = { database: Option.getOrUndefined(given.database), redis: Option.getOrUndefined(given.redis) }
  const named = flags.database !== undefined || flags.redis !== undefined
  const said = named
    ? flags
    : { database: variable("PENGUIFLOW_DATABASE_URL"), redis: variable("PENGUIFLOW_REDIS_URL") }
  if (said.database !== undefined && said.redis !== undefined) {
    return refuse(
      named
        ? "--database and --redis both say where the queue is: give one of them"
        : "PENGUIFLOW_DATABASE_URL and PENGUIFLOW_REDIS_URL both say where the queue is: choose by --database or --redis"
    )
  }
  if (said.redis !== undefined) return redis(said.redis)
  if (said.database !== undefined) return database(said.database, opening)
  return refuse(
    "it is not said where the queue is: give --database URL|FILE or --redis URL, or set PENGUIFLOW_DATABASE_URL or PENGUIFLOW_REDIS_URL"
  )
}

/** A database as it is said. */
export const database = (said: string, { create }: Opening): Effect.Effect<Database, CantReach> => {
  if (/^postgres(?:ql)?:/i.test(said)) {
    return Effect.succeed({ _tag: "Postgres", url: Redacted.make(said), shown: shownOf(said) })
  }
  if (/^rediss?:/i.test(said)) return refuse("the database is given a URL of Redis: give it by --redis")
  if (/^[a-z][a-z\d+.-]+:\/\//i.test(said)) {
    return refuse("the database is neither PostgreSQL (postgres://host/database) nor a file of SQLite")
  }
  const file = path.resolve(said)
  const found = fs.statSync(file, { throwIfNoEntry: false })
  if (found?.isDirectory() === true) return refuse(`${said}: is a folder: name a file of SQLite`)
  if (found === undefined && !create) {
    return refuse(`${said}: there is no such database: name the file that the workers use`)
  }
  if (found === undefined && !fs.existsSync(path.dirname(file))) {
    return refuse(`${said}: its folder is not there: make it first`)
  }
  return Effect.succeed({ _tag: "Sqlite", file, shown: said })
}

/** A Redis as it is said. */
export const redis = (said: string): Effect.Effect<Place, CantReach> =>
  /^rediss?:\/\//i.test(said) && URL.canParse(said)
    ? Effect.succeed({ _tag: "Redis", url: Redacted.make(said), shown: shownOf(said) })
    : refuse("--redis and PENGUIFLOW_REDIS_URL take a URL such as redis://localhost:6379")

/** What a flag says, else a variable of the environment; undefined where neither does. */
export const given = <A>(
  flag: Option.Option<string>,
  name: string,
  read: (said: string) => Effect.Effect<A, CantReach>
): Effect.Effect<A | undefined, CantReach> => {
  const said = Option.getOrUndefined(flag) ?? variable(name)
  return said === undefined ? Effect.succeed(undefined) : read(said)
}

/** A client. With `patient`, a server that is not there is waited for, and that is told. */
export const sql = (
  place: Database,
  patient?: ((why: string) => Effect.Effect<void>) | undefined
): Layer.Layer<SqlClient.SqlClient, CantReach> =>
  place._tag === "Sqlite"
    ? layerOf(() => import("../layers/Sqlite.ts"), "node:sqlite", (it) => it.layer({ filename: place.file }), patient)
    : layerOf(
      () => import("../layers/Postgres.ts"),
      "@effect/sql-pg",
      (it) => it.layer({ url: place.url, queryTimeout: "4 seconds", maxConnections: 6 }),
      patient
    )

/** A queue there. */
export const queue = (
  place: Place,
  name: Option.Option<string>,
  patient?: ((why: string) => Effect.Effect<void>) | undefined
): Layer.Layer<JobQueue, CantReach> => {
  const own = Option.getOrUndefined(name)
  if (place._tag !== "Redis") return queueIn(own).pipe(Layer.provide(sql(place, patient)))
  const client = layerOf(
    () => import("@effect/platform-node/NodeRedis"),
    "redis",
    // It logs each failure with its stack; whoever uses it tells of them.
    (it) =>
      it.layer({ url: Redacted.value(place.url), socket: { connectTimeout: 5000 } }).pipe(
        Layer.provide(Layer.succeed(References.MinimumLogLevel, "None"))
      ),
    patient
  )
  const Queue = Layer.unwrap(Effect.map(
    Effect.promise(() => import("../layers/JobQueueRedis.ts")),
    (it) => it.layer({ prefix: own })
  ))
  return Queue.pipe(Layer.provide(client))
}

/** A queue in the database that is there. */
export const queueIn = (table: string | undefined): Layer.Layer<JobQueue, never, SqlClient.SqlClient> =>
  Layer.unwrap(Effect.map(Effect.promise(() => import("../layers/JobQueueSql.ts")), (it) => it.layer({ table })))

/** The words of whatever failed. They hold no URL. */
export const wordsOf = (error: unknown): string => {
  if (typeof error !== "object" || error === null) return String(error)
  // A client of Redis wraps what went wrong, and tries of several addresses say nothing themselves.
  if ("_tag" in error && error._tag === "RedisError" && "cause" in error) {
    const words = wordsOf(error.cause)
    const refused = /ECONNREFUSED (\S+)/.exec(words)?.[1]
    return refused === undefined
      ? `Redis: ${words}`
      : `Redis: nobody listens at ${refused}. Is the server running, and are host and port right?`
  }
  if (error instanceof AggregateError && error.errors.length > 0) return wordsOf(error.errors[0])
  const message = "message" in error && typeof error.message === "string" ? error.message : ""
  return message !== "" ? message : "code" in error ? String(error.code) : "it does not say why"
}

/** The system's code of whatever failed, as `ENOENT`. */
export const codeOf = (error: unknown): string | undefined => {
  if (typeof error !== "object" || error === null) return undefined
  if ("code" in error && typeof error.code === "string") return error.code
  if (error instanceof AggregateError) return codeOf(error.errors[0])
  return "originalError" in error ? codeOf(error.originalError) : "cause" in error ? codeOf(error.cause) : undefined
}

// ----------------------------------------------------------------------------------------------------------- internals

const refuse = (message: string): Effect.Effect<never, CantReach> => Effect.fail(new CantReach({ message }))

const variable = (name: string): string | undefined => {
  const value = process.env[name]
  return value === undefined || value.trim() === "" ? undefined : value.trim()
}

/** A URL without user, password and parameters. */
const shownOf = (url: string): string => {
  try {
    const { host, pathname, protocol } = new URL(url)
    return `${protocol}//${host}${pathname === "/" ? "" : pathname}`
  } catch {
    return url.slice(0, url.indexOf(":") + 1)
  }
}

/** Imports what makes a layer when the layer is built: a driver is needed by those alone who use it. */
const layerOf = <M, A, E>(
  load: () => Promise<M>,
  needs: string,
  make: (module: M) => Layer.Layer<A, E>,
  patient: ((why: string) => Effect.Effect<void>) | undefined
): Layer.Layer<A, CantReach> =>
  Layer.unwrap(Effect.map(
    Effect.tryPromise({
      try: load,
      catch: (cause) =>
        new CantReach({
          message: cause instanceof Error && "code" in cause && cause.code === "ERR_MODULE_NOT_FOUND"
            ? `the package ${needs} is missing: npm install ${needs}`
            : wordsOf(cause),
          cause
        })
    }),
    (module) => {
      const built = buildOf(Layer.fresh(make(module)))
      return Layer.effectContext(
        patient === undefined ? built : Effect.retry(
          Effect.tapError(built, ({ again, message }) => again === true ? patient(message) : Effect.void),
          { schedule: waiting, while: ({ again }) => again === true }
        )
      )
    }
  ))

/** What a try has made is gone before the next one. */
const buildOf = <A, E>(layer: Layer.Layer<A, E>): Effect.Effect<Context.Context<A>, CantReach, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope)
    return yield* Layer.buildWithScope(layer, scope).pipe(
      Effect.onExit((exit) => exit._tag === "Failure" ? Scope.close(scope, exit) : Effect.void),
      Effect.mapError((cause) => new CantReach({ message: wordsOf(cause), cause, again: mayHelp(cause) }))
    )
  })

/** Another try may help where nobody answered; not where somebody refused. */
const mayHelp = (error: unknown): boolean => {
  if (SqlError.isSqlError(error)) return error.reason.isRetryable
  const code = codeOf(error)
  return code !== undefined && /^(?:ECONN|ETIMEDOUT|EHOST|ENET|EAI_AGAIN|ENOTFOUND|EPIPE)/.test(code)
}

const waiting = Schedule.min([Schedule.exponential("250 millis"), Schedule.spaced("5 seconds")])
