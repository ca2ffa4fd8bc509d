/** What PostgreSQL and SQLite write differently, and what every statement of a job store is made of. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as Statement from "effect/sql/Statement"
import type { Row } from "./rows.ts"

export interface Dialect {
  readonly client: SqlClient.SqlClient
  /** The client, with names as they are. */
  readonly sql: SqlClient.SqlClient
  readonly isPg: boolean
  readonly table: string
  /** The table, as a part of a statement. */
  readonly t: Statement.Identifier
  /** Beside it, PostgreSQL only: a row for each job that can be claimed, and one for each claim whose jobs may run. */
  readonly ready: Statement.Identifier
  readonly claims: Statement.Identifier
  /** Milliseconds since the epoch, by the database's clock. */
  readonly now: Statement.Fragment
  /** Rows that nobody else has locked. */
  readonly locked: Statement.Fragment
  readonly greatest: Statement.Fragment
  /** By the primary key, whatever the planner knows of a table that has only just been filled. */
  readonly seqIn: (select: Statement.Fragment) => Statement.Fragment
  /** Rows of plain objects as a table `g`, by one parameter. What a row leaves out is null. */
  readonly given: (
    rows: ReadonlyArray<Row>,
    columns: Readonly<Record<string, "text" | "bigint">>
  ) => Statement.Fragment
  /** The same rows as JSON text. */
  readonly rowsIn: (
    json: string,
    columns: Readonly<Record<string, "text" | "bigint">>
  ) => Statement.Fragment
  /** Names of flows as a table `g`: few, and the planner sees how few. */
  readonly among: (flows: ReadonlyArray<string>) => Statement.Fragment
  /** Whether the caller is within a transaction. */
  readonly inTransaction: Effect.Effect<boolean>
}

export const makeDialect = (client: SqlClient.SqlClient, table: string): Dialect => {
  const sql = client.withoutTransforms()
  const isPg = sql.onDialectOrElse({ pg: () => true, orElse: () => false })
  const rowsIn: Dialect["rowsIn"] = (json, columns) => {
    const names = Object.entries(columns)
    if (isPg) {
      // Arrays would be read sooner, and be joined as if they were short: by looking at each row for each other one.
      const types = sql.literal(names.map(([name, type]) => `${name} ${type}`).join(", "))
      return sql`json_to_recordset(${json}::json) AS g(${types})`
    }
    const picks = sql.literal(names.map(([name]) => `value ->> '${name}' AS ${name}`).join(", "))
    return sql`(SELECT ${picks} FROM json_each(${json})) AS g`
  }
  return {
    client,
    sql,
    isPg,
    table,
    t: sql(table),
    ready: sql(`${table}_ready`),
    claims: sql(`${table}_claims`),
    now: sql.literal(
      isPg ? "(extract(epoch FROM clock_timestamp()) * 1000)::bigint" : "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    ),
    locked: sql.literal(isPg ? "FOR UPDATE SKIP LOCKED" : ""),
    greatest: sql.literal(isPg ? "greatest" : "max"),
    seqIn: (select) => isPg ? sql`seq = ANY(ARRAY(${select}))` : sql`seq IN (${select})`,
    given: (rows, columns) => rowsIn(JSON.stringify(rows), columns),
    rowsIn,
    among: (flows) => {
      const cast = sql.literal(isPg ? "::text" : "")
      return sql`(${sql.join(" UNION ALL ", false)(flows.map((flow) => sql`SELECT ${flow}${cast} AS flow`))}) AS g`
    },
    inTransaction: Effect.map(
      Effect.context<never>(),
      (context) => Option.isSome(Context.getOption(context, client.transactionService))
    )
  }
}

// ----------------------------------------------------------------------------------------------------------- internals

/** An array as PostgreSQL writes it. */
export const arrayOf = (values: ReadonlyArray<unknown>): string => `{${values.map(elementOf).join(",")}}`

const elementOf = (value: unknown): string =>
  value === null || value === undefined
    ? "NULL"
    : typeof value === "string"
    ? `"${value.replaceAll(/[\\"]/g, "\\$&")}"`
    : String(value)
