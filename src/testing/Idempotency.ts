/**
 * An idempotency check: whether a node or a flow may be run again, asked of the database and not of its author.
 *
 * {@link check} runs it several times against one database and compares, after each run, what all tables hold:
 *
 * | run | what it stands for | must leave |
 * |---|---|---|
 * | once | the first delivery | where every node is `"pure"`: nothing at all |
 * | again | a redelivery: the same input and trace id | what the first one left, and give the same results |
 * | lost, for each node | its result is lost after its work is done, and it is retried | what the first one left |
 * | undone, where a node is `"compensated"` | a later failure: another trace, all of it finished, then undone | what was there before it |
 *
 * What must hold is said by each node's `rerun`: `"unsafe"` and `"compensated"` nodes may leave more when they are run
 * again; all others, and those that say nothing, may not. A report's `faults` are sentences that name the run, the table
 * and the rows; none means that it holds.
 *
 * What can't be seen here: stores other than the database, what another process does meanwhile, tables in `ignore`. Give
 * it a database for itself.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import * as Flow from "../Flow.ts"
import type { FlowError } from "../FlowError.ts"
import * as FlowRewrite from "../FlowRewrite.ts"
import * as Node from "../Node.ts"
import * as FlowTest from "./FlowTest.ts"
import * as Tables from "./Tables.ts"

/** One of the runs, and what it changed. */
export interface Run {
  readonly run: "once" | "again" | "lost" | "undone"
  /** Whose result was lost. */
  readonly node: string | undefined
  readonly exit: Exit.Exit<ReadonlyArray<unknown>, unknown>
  /** Against what the first run left; of `once` and `undone`, against what was there before. */
  readonly differences: ReadonlyArray<Tables.Difference>
}

/** What was found. */
export interface Report {
  readonly flow: string
  readonly traceId: string
  /** The tables that were compared. */
  readonly tables: ReadonlyArray<string>
  readonly runs: ReadonlyArray<Run>
  /** What must not be, in words. */
  readonly faults: ReadonlyArray<string>
  readonly holds: boolean
}

/** How to check. */
export interface Options<ROut = never, LE = never, RIn = never> extends Omit<FlowTest.Options, "traceId"> {
  /** The services, the database among them: built once for all runs. Default: those around the check. */
  readonly layer?: Layer.Layer<ROut, LE, RIn> | undefined
  /** The database to compare, where it is not the `SqlClient` among the services. */
  readonly sql?: SqlClient.SqlClient | undefined
  readonly traceId?: string | undefined
  /** Tables, and columns as `table.column`, that may differ: an audit log, the time of a change. */
  readonly ignore?: ReadonlyArray<string> | undefined
}

/**
 * Checks a node or a flow.
 *
 * It fails only where the database can't be read or the message is not accepted; that something is not idempotent is in
 * the report. A first run that fails is a fault, and nothing more is run. So is a check that sees no database, unless all
 * nodes are `"pure"`.
 *
 * @example
 * ```ts runnable
 * import { Effect, Layer, Schema } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { Node } from "penguiflow"
 * import * as Sqlite from "penguiflow/layers/Sqlite"
 * import * as Idempotency from "penguiflow/testing/Idempotency"
 *
 * const log = Node.make("log", {
 *   input: Schema.String,
 *   output: Schema.String,
 *   rerun: "idempotent",
 *   run: (msg) => SqlClient.SqlClient.use((sql) => Effect.as(sql`INSERT INTO logs ${sql.insert({ msg })}`, msg))
 * })
 * const tables = Layer.effectDiscard(SqlClient.SqlClient.use((sql) => sql`CREATE TABLE logs (id INTEGER PRIMARY KEY, msg TEXT)`))
 * const layer = Layer.provideMerge(tables, Sqlite.layer({ filename: ":memory:" }))
 * const report = await Effect.runPromise(Idempotency.check(log, "hello", { layer }))
 * report.holds // => false
 * report.faults[0] // => `run again with the same trace id: table "logs" has 1 row more: {"id":2,"msg":"hello"}`
 * ```
 */
export const check = <In, E, R, ROut = never, LE = never, RIn = never>(
  target: Target<In, E, R>,
  input: NoInfer<In>,
  options: Options<ROut, LE, RIn> = {}
): Effect.Effect<Report, SqlError.SqlError | FlowError | LE, Exclude<Exclude<R, Scope.Scope>, ROut> | RIn> => {
  const flow = flowOf(target)
  const checking = checkFlow(flow, input, options)
  return options.layer === undefined
    ? checking as Effect.Effect<Report, SqlError.SqlError | FlowError, Exclude<Exclude<R, Scope.Scope>, ROut>>
    : Effect.provide(checking, options.layer)
}

/** A node, or a flow. */
export interface Target<in In, out E, out R> {
  readonly name: string
  readonly "~in": (_: In) => void
  readonly "~out": unknown
  readonly "~error": E
  readonly "~services": R
  readonly "~part": unknown
}

// ----------------------------------------------------------------------------------------------------------- internals

type AnyFlow<In, E, R> = Flow.Flow<string, In, unknown, E, R, unknown>

/** A node on its own is a flow of one node. */
const flowOf = <In, E, R>(target: Target<In, E, R>): AnyFlow<In, E, R> =>
  "to" in target
    ? Flow.make(target.name, [(target as Node.Node<string, In, unknown, E, R, unknown>).to()]) as AnyFlow<In, E, R>
    : target

/** The result of a node that had done its work was lost. */
class ResultLost extends Data.TaggedError("ResultLost") {}

/** What fails after a whole flow has succeeded. */
class FailedLater extends Data.TaggedError("FailedLater") {}

const checkFlow = Effect.fnUntraced(function*<In, E, R, ROut, LE, RIn>(
  flow: AnyFlow<In, E, R>,
  input: In,
  options: Options<ROut, LE, RIn>
) {
  const { ignore = [], layer: _, sql: given, traceId = "idempotency-check", ...runOptions } = options
  const sql = given ?? Option.getOrUndefined(yield* Effect.serviceOption(SqlClient.SqlClient))
  const nodes = FlowRewrite.nodes(flow).filter(({ kind }) => kind === "task" || kind === "loop")
  const pure = nodes.every(({ rerun }) => rerun === "pure")
  const repeatable = (node: FlowRewrite.NodeInfo) => node.rerun !== "unsafe" && node.rerun !== "compensated"
  const snapshot = sql === undefined ? Effect.succeed(Tables.none) : Tables.read(sql, ignore)
  const run = (flow: AnyFlow<In, unknown, R>, id: string) =>
    Effect.map(FlowTest.run(flow, input, { ...runOptions, traceId: id }), ({ outcome }) => outcome.exit)
  const runs: Array<Run> = []
  const faults: Array<string> = []
  const report = (tables: Tables.Snapshot): Report => ({
    flow: flow.name,
    traceId,
    tables: [...tables.keys()],
    runs,
    faults,
    holds: faults.length === 0
  })
  const complain = (when: string, differences: ReadonlyArray<Tables.Difference>) =>
    faults.push(...differences.map((difference) => `${when}: ${Tables.show(difference)}`))

  const before = yield* snapshot
  const first = yield* run(flow, traceId)
  const left = yield* snapshot
  const written = Tables.compare(before, left)
  runs.push({ run: "once", node: undefined, exit: first, differences: written })
  if (!pure && left.size === 0) {
    faults.push(
      sql === undefined
        ? "no database is in sight: provide an SqlClient, or pass `sql`"
        : "the database has no tables that are not ignored: nothing can be compared"
    )
  }
  if (Exit.isFailure(first)) {
    faults.push(`the first run failed, and nothing more was checked: ${Tables.cut(String(first.cause))}`)
    return report(left)
  }
  if (pure) complain("every node is said to be pure, and the first run wrote", written)

  const repeat = Effect.fnUntraced(function*(what: "again" | "lost", node: FlowRewrite.NodeInfo | undefined) {
    const exit = yield* run(node === undefined ? flow : losing(flow, node.node), traceId)
    const differences = Tables.compare(left, yield* snapshot)
    runs.push({ run: what, node: node?.node, exit, differences })
    if (node === undefined ? !nodes.every(repeatable) : !repeatable(node)) return
    const when = node === undefined
      ? "run again with the same trace id"
      : `"${node.node}" retried after its result was lost`
    if (Exit.isFailure(exit)) {
      faults.push(`${when}: it failed where the first run did not: ${Tables.cut(String(exit.cause))}`)
    } else if (!Equal.equals(exit.value, first.value)) faults.push(`${when}: it gave other results than the first run`)
    complain(when, differences)
  })
  yield* repeat("again", undefined)
  for (const node of nodes) yield* repeat("lost", node)

  if (nodes.some(({ rerun }) => rerun === "compensated")) {
    const start = yield* snapshot
    const exit = yield* run(failingLater(flow), `${traceId}/undone`)
    const differences = Tables.compare(start, yield* snapshot)
    runs.push({ run: "undone", node: undefined, exit, differences })
    complain("undone after a later failure", differences)
  }
  return report(left)
})

/** The first attempt of each visit does its work, then its result is lost; the next one keeps it. */
const losing = <In, E, R>(flow: AnyFlow<In, E, R>, node: string): AnyFlow<In, unknown, R> =>
  FlowRewrite.withPolicy(
    FlowTest.failing(flow, node, { error: new ResultLost(), at: "end" }),
    node,
    (policy) => ({ ...policy, retry: Schedule.recurs(1), retryWhile: (error) => error._tag === "ResultLost" })
  )

/** The flow as a node, and behind it one that always fails. */
const failingLater = <In, E, R>(flow: AnyFlow<In, E, R>): AnyFlow<In, unknown, R> => {
  const fail = Node.make("fail", {
    input: Schema.Unknown,
    output: Schema.Unknown,
    run: () => Effect.fail(new FailedLater())
  })
  const whole: Node.Node<string, In, unknown, E, R, unknown> = Node.fromFlow(flow)
  return Flow.make(`${flow.name}, then a failure`, [whole.to(fail)]) as AnyFlow<In, unknown, R>
}
