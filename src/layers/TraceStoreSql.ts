/**
 * A trace store in a database: SQLite and PostgreSQL, by the `SqlClient` that is there.
 *
 * The tables `penguiflow_traces` and `penguiflow_trace_events` are made, and later changed, when the layer is built;
 * processes that start at once do it one after the other, and may share them. A batch is one transaction. Text and JSON
 * are stored as text, so that what is no valid text for a database (NUL, half characters) comes back as it was.
 *
 * Its writer keeps one connection of the pool busy at most, and only while it writes.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import { FlowEvent } from "../FlowEvent.ts"
import * as TraceStore from "../TraceStore.ts"

/** How much is kept. */
export interface Options extends TraceStore.Options {
  /** How long; default 7 days, of the store alone no end. */
  readonly maxAge?: TraceStore.Options["maxAge"]
  /** How many traces; default 100 000, of the store alone no bound. */
  readonly maxTraces?: number | undefined
}

/** A store, and the observer that fills it with the events of every runtime under it. */
export const layer = (
  options?: Options
): Layer.Layer<TraceStore.TraceStore, TraceStore.TraceStoreError, SqlClient.SqlClient> =>
  Layer.provideMerge(
    TraceStore.layerObserver,
    layerStore({ ...options, maxAge: options?.maxAge ?? "7 days", maxTraces: options?.maxTraces ?? 100_000 })
  )

/**
 * The store alone: for a process that only looks, and so removes nothing unless it is told what. Fails at the start where
 * its tables can't be made.
 */
export const layerStore = (
  options?: Options
): Layer.Layer<TraceStore.TraceStore, TraceStore.TraceStoreError, SqlClient.SqlClient> =>
  Layer.effect(
    TraceStore.TraceStore,
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* Effect.mapError(migrate, failed("make its tables"))
      return yield* TraceStore.make(backendOf(sql), options)
    })
  )

// ----------------------------------------------------------------------------------------------------------- internals

/** Text as every database takes it: what is no valid text is escaped as JSON does it. */
const stored = (text: string): string => JSON.stringify(text).slice(1, -1)
const restored = (text: string): string => JSON.parse(`"${text}"`) as string

const codec = Schema.toCodecJson(FlowEvent)
const encode = Schema.encodeUnknownSync(codec)
const decode = Schema.decodeUnknownOption(codec)

/** An event without what stands in columns of its own. */
const textOf = (event: FlowEvent): string => {
  const { flow: _flow, traceId: _traceId, ...rest } = encode(event) as Record<string, unknown>
  return JSON.stringify(rest)
}

interface TraceRow {
  readonly flow: string
  readonly trace_id: string
  readonly tenant: string | null
  readonly status: string | null
  readonly started_at: number
  readonly ended_at: number | null
  readonly duration_ms: number | null
  readonly results: number | null
  readonly error: string | null
  readonly reason: string | null
  readonly node: string | null
  readonly attempt: number | null
  readonly runs: number
  readonly events: number
  readonly input: string | null
  readonly outcome: string | null
}

const orNull = <A, B>(value: A | undefined, f: (value: A) => B): B | null => value === undefined ? null : f(value)
const orUndefined = <A, B>(value: A | null, f: (value: A) => B): B | undefined => value === null ? undefined : f(value)

const rowOf = (change: TraceStore.Change) =>
  ({
    flow: stored(change.flow),
    trace_id: stored(change.traceId),
    tenant: orNull(change.tenant, stored),
    status: change.status ?? null,
    started_at: Math.trunc(change.at),
    ended_at: orNull(change.endedAt, Math.trunc),
    duration_ms: change.durationMs ?? null,
    results: change.results ?? null,
    error: orNull(change.error, (error) => JSON.stringify(error)),
    reason: orNull(change.reason, stored),
    node: orNull(change.node, stored),
    attempt: change.attempt ?? null,
    runs: change.runs,
    events: change.events,
    input: orNull(change.payload?.input, (input) => JSON.stringify(input)),
    outcome: orNull(change.payload?.outcome, (outcome) => JSON.stringify(outcome))
  }) satisfies TraceRow

// PostgreSQL's drivers give whole numbers of 64 bits as text or bigint.
const number = (value: unknown): number => Number(value)

const changeOf = (row: TraceRow): TraceStore.Change => ({
  flow: restored(row.flow),
  traceId: restored(row.trace_id),
  tenant: orUndefined(row.tenant, restored),
  status: orUndefined(row.status, (status) => status as TraceStore.Status),
  at: number(row.started_at),
  endedAt: orUndefined(row.ended_at, number),
  durationMs: orUndefined(row.duration_ms, number),
  results: orUndefined(row.results, number),
  error: orUndefined(row.error, (text) => {
    const { code, message, tag } = JSON.parse(text) as { tag: string; code?: string; message: string }
    return { tag, code, message }
  }),
  reason: orUndefined(row.reason, restored),
  node: orUndefined(row.node, restored),
  attempt: orUndefined(row.attempt, number),
  runs: number(row.runs),
  events: number(row.events),
  payload: {
    input: orUndefined(row.input, (text) => JSON.parse(text) as TraceStore.Kept),
    outcome: orUndefined(row.outcome, (text) => JSON.parse(text) as TraceStore.Kept)
  }
})

const failed = (what: string) => (cause: SqlError.SqlError | Migrator.MigrationError): TraceStore.TraceStoreError =>
  new TraceStore.TraceStoreError({
    kind: "StoreFailed",
    message: `TraceStoreSql can't ${what}: ${cause.message}`,
    cause
  })

/** So many traces are removed in one transaction: SQLite does nothing else meanwhile. */
const pruned = 200

const backendOf = (sql: SqlClient.SqlClient): TraceStore.Backend => {
  const columns = sql.literal(
    "flow, trace_id, tenant, status, started_at, ended_at, duration_ms, results, error, reason, node, attempt, runs, events, input, outcome"
  )
  const ofTrace = (traceId: string, flow: string | undefined) =>
    flow === undefined
      ? sql`trace_id = ${stored(traceId)}`
      : sql`trace_id = ${stored(traceId)} AND flow = ${stored(flow)}`
  /** What a status changes is all that is known of the end. */
  const ended = (column: string) =>
    sql.literal(
      `${column} = CASE WHEN excluded.status IS NULL THEN penguiflow_traces.${column} ELSE excluded.${column} END`
    )
  const filled = (column: string) =>
    sql.literal(`${column} = COALESCE(excluded.${column}, penguiflow_traces.${column})`)
  const known = sql.csv([
    sql.literal(
      "started_at = CASE WHEN excluded.runs > 0 THEN excluded.started_at ELSE penguiflow_traces.started_at END"
    ),
    ...["ended_at", "duration_ms", "results", "error", "reason", "node", "attempt"].map(ended),
    ...["tenant", "status", "input", "outcome"].map(filled),
    sql.literal("runs = penguiflow_traces.runs + excluded.runs"),
    sql.literal("events = penguiflow_traces.events + excluded.events")
  ])

  const removeOldest = (before: number) =>
    sql.withTransaction(Effect.gen(function*() {
      const traces = yield* sql<
        { flow: string; trace_id: string }
      >`SELECT flow, trace_id FROM penguiflow_traces WHERE started_at < ${before} ORDER BY started_at LIMIT ${pruned}`
      if (traces.length === 0) return 0
      const these = sql.or(traces.map(({ flow, trace_id }) => sql`(trace_id = ${trace_id} AND flow = ${flow})`))
      yield* sql`DELETE FROM penguiflow_trace_events WHERE ${these}`
      yield* sql`DELETE FROM penguiflow_traces WHERE ${these}`
      return traces.length
    }))

  return {
    write: ({ changes, events }) =>
      sql.withTransaction(Effect.gen(function*() {
        // Always in the same order, so that two processes never wait for each other.
        const [trace, ...traces] = changes.map(rowOf).toSorted((a, b) => a.trace_id < b.trace_id ? -1 : 1)
        if (trace !== undefined) {
          yield* sql`INSERT INTO penguiflow_traces ${sql.insert([trace, ...traces])}
            ON CONFLICT (trace_id, flow) DO UPDATE SET ${known}`
        }
        const [line, ...lines] = events.map((event) => ({
          flow: stored(event.flow),
          trace_id: stored(event.traceId),
          event: textOf(event)
        }))
        if (line !== undefined) yield* sql`INSERT INTO penguiflow_trace_events ${sql.insert([line, ...lines])}`
      })).pipe(Effect.mapError(failed("write"))),

    history: (traceId, flow, limit) =>
      sql<{ flow: string; trace_id: string; event: string }>`SELECT flow, trace_id, event FROM penguiflow_trace_events
        WHERE ${ofTrace(traceId, flow)} ORDER BY seq LIMIT ${limit}`.pipe(
        Effect.mapBoth({
          onFailure: failed("read a trace"),
          onSuccess: (rows) =>
            // Events that a later version has added are nothing that this one can show.
            rows.flatMap((row) => {
              const event = JSON.parse(row.event) as object
              const read = decode({ ...event, flow: restored(row.flow), traceId: restored(row.trace_id) })
              return read._tag === "Some" ? [read.value] : []
            })
        })
      ),

    get: (traceId, flow) =>
      sql<TraceRow>`SELECT ${columns} FROM penguiflow_traces WHERE ${ofTrace(traceId, flow)} AND events > 0
        ORDER BY started_at DESC LIMIT 1`.pipe(
        Effect.mapBoth({ onFailure: failed("read a trace"), onSuccess: ([row]) => row && changeOf(row) })
      ),

    list: ({ after, flow, from, limit, status, tenant, until }) => {
      const conditions = [
        sql`events > 0`,
        ...(flow === undefined ? [] : [sql`flow = ${stored(flow)}`]),
        ...(tenant === undefined ? [] : [sql`tenant = ${stored(tenant)}`]),
        ...(status === undefined
          ? []
          : [status === "running" ? sql`(status IS NULL OR status = 'running')` : sql`status = ${status}`]),
        ...(from === undefined ? [] : [sql`started_at >= ${from}`]),
        ...(until === undefined ? [] : [sql`started_at < ${until}`]),
        ...(after === undefined
          ? []
          : [
            sql`(started_at < ${after.at} OR (started_at = ${after.at} AND (flow > ${stored(after.flow)} OR (flow = ${
              stored(after.flow)
            } AND trace_id > ${stored(after.traceId)}))))`
          ])
      ]
      return sql<TraceRow>`SELECT ${columns} FROM penguiflow_traces WHERE ${sql.and(conditions)}
        ORDER BY started_at DESC, flow, trace_id LIMIT ${limit}`.pipe(
        Effect.mapBoth({ onFailure: failed("list traces"), onSuccess: (rows) => rows.map(changeOf) })
      )
    },

    prune: (before, maxTraces) =>
      Effect.gen(function*() {
        const [oldest] = maxTraces === undefined
          ? []
          : yield* sql<{ started_at: unknown }>`SELECT started_at FROM penguiflow_traces
            ORDER BY started_at DESC LIMIT 1 OFFSET ${Math.max(0, Math.trunc(maxTraces))}`
        const limit = Math.max(before ?? -Infinity, oldest === undefined ? -Infinity : number(oldest.started_at) + 1)
        if (limit === -Infinity) return 0
        let count = 0
        for (;;) {
          const removed = yield* removeOldest(Math.trunc(limit))
          count += removed
          if (removed < pruned) return count
          yield* Effect.yieldNow
        }
      }).pipe(Effect.mapError(failed("remove what is old")))
  }
}

const migrate = Migrator.make({})({
  table: "penguiflow_traces_migrations",
  loader: Migrator.fromRecord({
    "1_traces": SqlClient.SqlClient.use((sql) =>
      Effect.gen(function*() {
        const seq = sql.onDialectOrElse({
          pg: () => sql.literal("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
          orElse: () => sql.literal("INTEGER PRIMARY KEY AUTOINCREMENT")
        })
        yield* sql`CREATE TABLE penguiflow_traces (
          flow TEXT NOT NULL,
          trace_id TEXT NOT NULL,
          tenant TEXT,
          status TEXT,
          started_at BIGINT NOT NULL,
          ended_at BIGINT,
          duration_ms DOUBLE PRECISION,
          results BIGINT,
          error TEXT,
          reason TEXT,
          node TEXT,
          attempt BIGINT,
          runs BIGINT NOT NULL,
          events BIGINT NOT NULL,
          input TEXT,
          outcome TEXT,
          PRIMARY KEY (trace_id, flow)
        )`
        yield* sql`CREATE INDEX penguiflow_traces_by_start ON penguiflow_traces (started_at)`
        yield* sql`CREATE TABLE penguiflow_trace_events (
          seq ${seq},
          flow TEXT NOT NULL,
          trace_id TEXT NOT NULL,
          event TEXT NOT NULL
        )`
        yield* sql`CREATE INDEX penguiflow_trace_events_by_trace ON penguiflow_trace_events (trace_id, seq)`
      })
    )
  })
})
