/** What all tables of a database hold, and in what two such snapshots differ. */
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"

/** A row as JSON: dates, big numbers and bytes as text. */
export type Row = Readonly<Record<string, unknown>>

interface Table {
  /** The columns of its primary key; empty where it has none. */
  readonly key: ReadonlyArray<string>
  readonly rows: ReadonlyArray<Row>
}

/** Tables by name. Where there is more than one schema, as `schema.table`. */
export type Snapshot = ReadonlyMap<string, Table>

/** In what a table differs. */
export interface Difference {
  readonly table: string
  readonly added: ReadonlyArray<Row>
  readonly removed: ReadonlyArray<Row>
  /** Rows with the same primary key that hold something else. */
  readonly changed: ReadonlyArray<{ readonly before: Row; readonly after: Row }>
}

/** A snapshot of nothing. */
export const none: Snapshot = new Map()

/** Reads every table whole. Knows SQLite and PostgreSQL; of another database it fails where the catalog is asked. */
export const read: (
  sql: SqlClient.SqlClient,
  ignore: ReadonlyArray<string>
) => Effect.Effect<Snapshot, SqlError.SqlError> = Effect.fnUntraced(function*(
  sql: SqlClient.SqlClient,
  ignore: ReadonlyArray<string>
) {
  const columns = yield* catalog(sql)
  const tables = new Map<string, Table>()
  for (const [name, key] of columns) {
    if (ignore.includes(name)) continue
    const rows = yield* sql<Row>`SELECT * FROM ${sql(name)}`.withoutTransform
    tables.set(name, { key, rows: rows.map((row) => toRow(name, row, ignore)) })
  }
  return tables
})

/** What the second snapshot has and the first has not, and the other way round. */
export const compare = (before: Snapshot, after: Snapshot): ReadonlyArray<Difference> =>
  [...new Set([...before.keys(), ...after.keys()])].flatMap((table) => {
    const key = (after.get(table) ?? before.get(table))!.key
    const added = without(after.get(table)?.rows ?? [], before.get(table)?.rows ?? [])
    const removed = without(before.get(table)?.rows ?? [], after.get(table)?.rows ?? [])
    if (added.length === 0 && removed.length === 0) return []
    const keyOf = (row: Row) => JSON.stringify(key.map((column) => row[column]))
    const changed = key.length === 0 ? [] : removed.flatMap((before) => {
      const after = added.find((row) => keyOf(row) === keyOf(before))
      return after === undefined ? [] : [{ before, after }]
    })
    const kept = (rows: ReadonlyArray<Row>) =>
      rows.filter((row) => !changed.some(({ after, before }) => row === after || row === before))
    return [{ table, added: kept(added), removed: kept(removed), changed }]
  })

/** A difference in words, cut where it gets long. */
export const show = ({ added, changed, removed, table }: Difference): string => {
  const rows = (rows: ReadonlyArray<Row>) => rows.map((row) => JSON.stringify(row)).join(", ")
  const count = (rows: ReadonlyArray<unknown>) => `${rows.length} row${rows.length === 1 ? "" : "s"}`
  const parts = [
    ...(added.length === 0 ? [] : [`has ${count(added)} more: ${rows(added)}`]),
    ...(removed.length === 0 ? [] : [`lacks ${count(removed)}: ${rows(removed)}`]),
    ...(changed.length === 0
      ? []
      : [
        `holds ${count(changed)} changed: ${
          changed.map(({ after, before }) => `${JSON.stringify(before)} became ${JSON.stringify(after)}`).join(", ")
        }`
      ])
  ]
  return cut(`table "${table}" ${parts.join("; ")}`)
}

/** No sentence of a report is longer than this. */
export const cut = (text: string): string => text.length > 600 ? `${text.slice(0, 600)}…` : text

// ----------------------------------------------------------------------------------------------------------- internals

/** Each table with the columns of its primary key. */
const catalog = (
  sql: SqlClient.SqlClient
): Effect.Effect<ReadonlyMap<string, ReadonlyArray<string>>, SqlError.SqlError> =>
  Effect.map(
    sql.onDialectOrElse({
      sqlite: () =>
        sql<Column>`SELECT t.name AS name, c.name AS part FROM sqlite_master t
          LEFT JOIN pragma_table_info(t.name) c ON c.pk > 0
          WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite|_%' ESCAPE '|' ORDER BY t.name, c.pk`.withoutTransform,
      // Not by information_schema, which takes half a second for each question.
      orElse: () =>
        sql<Column>`SELECT CASE WHEN n.nspname = current_schema() THEN c.relname::text
            ELSE n.nspname::text || '.' || c.relname::text END AS name, a.attname::text AS part
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
          LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
          WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg|_%' ESCAPE '|'
          ORDER BY 1, array_position(i.indkey::int2[], a.attnum)`.withoutTransform
    }),
    (rows) => {
      const tables = new Map<string, Array<string>>()
      for (const { name, part } of rows) {
        const key = tables.get(name) ?? []
        tables.set(name, part === null ? key : [...key, part])
      }
      return tables
    }
  )

interface Column {
  readonly name: string
  readonly part: string | null
}

const toRow = (table: string, row: Row, ignore: ReadonlyArray<string>): Row =>
  Object.fromEntries(
    Object.entries(row)
      .filter(([column]) => !ignore.includes(`${table}.${column}`))
      .map(([column, value]) => [column, toJson(value)])
  )

const toJson = (value: unknown): unknown =>
  typeof value === "bigint"
    ? String(value)
    : value instanceof Uint8Array
    ? Array.from(value, byteToHex).join("")
    : value

const byteToHex = (byte: number): string => byte.toString(16).padStart(2, "0")

/** The rows of `all` that are not in `known`, each as often as it is there more often. */
const without = (all: ReadonlyArray<Row>, known: ReadonlyArray<Row>): ReadonlyArray<Row> => {
  const counts = new Map<string, number>()
  for (const row of known) counts.set(JSON.stringify(row), (counts.get(JSON.stringify(row)) ?? 0) + 1)
  return all.filter((row) => {
    const text = JSON.stringify(row)
    const count = counts.get(text) ?? 0
    counts.set(text, count - 1)
    return count <= 0
  })
}
