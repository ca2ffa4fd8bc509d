/** Flags that several commands have. They are read without what stands behind them. */
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import type * as Option from "effect/Option"

/** Where something is kept. */
export interface Database {
  readonly database: Option.Option<string>
}

/** Where the jobs are. */
export interface Queue extends Database {
  readonly redis: Option.Option<string>
  readonly queue: Option.Option<string>
}

/** A number of milliseconds, or what `Duration` reads. */
export const duration = (name: string): Flag.Flag<Duration.Duration> =>
  Flag.String(name).pipe(
    Flag.withMetavar("DURATION"),
    Flag.filterMap(
      (text) => Duration.fromInput(/^\d+$/.test(text) ? Number(text) : text as Duration.Input),
      () => "Expected a duration such as \"30 seconds\", or milliseconds"
    )
  )

export const atLeastOne = (name: string): Flag.Flag<number> =>
  Flag.Int(name).pipe(
    Flag.withMetavar("N"),
    Flag.filter((n) => n >= 1, () => "Expected a whole number from 1 on")
  )

const text = (name: string, metavar: string, description: string): Flag.Flag<Option.Option<string>> =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.optional)

export const flow: Flag.Flag<Option.Option<string>> = text("flow", "NAME", "Only of the flow of this name")
export const tenant: Flag.Flag<Option.Option<string>> = text("tenant", "NAME", "Only of this tenant")

export const json: Flag.Flag<boolean> = Flag.Boolean("json").pipe(
  Flag.withDefault(false),
  Flag.withDescription("One line of JSON each, and nothing else on standard output")
)

export const debug: Flag.Flag<boolean> = Flag.Boolean("debug").pipe(
  Flag.withDefault(false),
  Flag.withDescription("Shows causes and stacks of errors on standard error")
)

export const limit: Flag.Flag<number> = atLeastOne("limit").pipe(
  Flag.withDefault(100),
  Flag.withDescription("At most so many")
)

/** Which export of a module is the layer. */
export const layer: Flag.Flag<Option.Option<string>> = text(
  "layer",
  "NAME",
  "Which export is the layer; default: \"layer\", or the only one, or none"
)

export const database: {
  readonly database: Flag.Flag<Option.Option<string>>
} = {
  database: text(
    "database",
    "URL|FILE",
    "A URL of PostgreSQL or a file of SQLite; default: PENGUIFLOW_DATABASE_URL, which keeps passwords off the command line"
  )
}

export const queue: {
  readonly database: Flag.Flag<Option.Option<string>>
  readonly redis: Flag.Flag<Option.Option<string>>
  readonly queue: Flag.Flag<Option.Option<string>>
} = {
  ...database,
  redis: text("redis", "URL", "A URL of Redis, in place of a database; default: PENGUIFLOW_REDIS_URL"),
  queue: text("queue", "NAME", "The table or the prefix of the queue, where it is not the usual one")
}
