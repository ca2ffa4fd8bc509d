/**
 * A migration: an old implementation and the flow that replaces it, side by side, until it is known that they agree.
 *
 * | mode | who answers | what else happens |
 * |---|---|---|
 * | `legacy` | legacy | nothing |
 * | `shadow` | legacy | the flow runs after it, in the background, and both answers are compared |
 * | `canary` | the flow for a share of the keys, legacy for the others | |
 * | `flow` | the flow | on chosen errors legacy, where `fallback` says so |
 *
 * **What shadow promises.** The caller gets legacy's answer or legacy's error, as fast as from legacy alone: the flow
 * begins when legacy has answered, in a fiber of its own, at most `maxConcurrent` at once and each for `timeout` at most.
 * Whether it hangs, fails or dies, and whether the comparison or the store does, reaches nobody but the report. What
 * computes without ever giving way stops every fiber of a process, and a shadow is no exception.
 *
 * **Nothing is written twice** where the shadow's writes go somewhere else: `shadow.layer` gives the flow other services
 * while it is a shadow (tables of its own, a payment service that only notes), and `shadow.around` with
 * {@link rolledBack} runs it in a transaction that is always rolled back.
 *
 * The report says when to switch: {@link Report.verdict}. See docs/migration.md.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import type { Flow } from "./Flow.ts"
import type { FlowError } from "./FlowError.ts"
import type * as FlowRuntime from "./FlowRuntime.ts"
import type { CompareOptions } from "./internal/migration/compare.ts"
import * as Entries from "./internal/migration/entry.ts"
import { htmlOf } from "./internal/migration/html.ts"
import { memoryStore } from "./internal/migration/memory.ts"
import * as Reporting from "./internal/migration/report.ts"
import { makeRunner } from "./internal/migration/runner.ts"
import type { Live } from "./internal/migration/side.ts"
import { textOf } from "./internal/migration/text.ts"

export type { CompareOptions, Tolerance } from "./internal/migration/compare.ts"
export type { Range } from "./internal/migration/entry.ts"
export type { Thresholds } from "./internal/migration/report.ts"
export type { Live } from "./internal/migration/side.ts"

/** Which side answers. A schema, so that a mode can be read: `Config.schema(Migration.Mode, "MODE")`. */
export const Mode: Schema.Literals<readonly ["legacy", "shadow", "canary", "flow"]> = Schema.Literals([
  "legacy",
  "shadow",
  "canary",
  "flow"
])
export type Mode = typeof Mode.Type

/** What a caller says of one request. */
export interface RunOptions extends FlowRuntime.RunOptions {
  /**
   * Whose request it is: in a canary the same key always gets the same side. Default: the tenant of the headers, where
   * there is one, else the trace id.
   */
  readonly key?: string | undefined
}

/** What legacy knows of a request. `signal` is aborted when the caller is interrupted. */
export interface LegacyContext extends RunOptions {
  readonly signal: AbortSignal
}

/** What legacy is: any function that answers with an Effect or a Promise. */
export type Legacy = Effect.Effect<unknown, unknown, unknown> | PromiseLike<unknown>
/** What legacy gives. */
export type LegacySuccess<L> = L extends Effect.Effect<infer A, infer _E, infer _R> ? A
  : L extends PromiseLike<infer A> ? A
  : never
/** What legacy fails with. What a Promise is rejected with has no type. */
export type LegacyFailure<L> = L extends Effect.Effect<infer _A, infer E, infer _R> ? E
  : L extends PromiseLike<unknown> ? unknown
  : never
/** What legacy needs. */
export type LegacyServices<L> = L extends Effect.Effect<infer _A, infer _E, infer R> ? R : never

/** How the flow runs while nobody waits for it. */
export interface ShadowOptions<ROut = never, RIn = never, RA = never> {
  /** Services that the flow gets as a shadow, in place of those it has otherwise. Built at the first shadow. */
  readonly layer?: Layer.Layer<ROut, unknown, RIn> | undefined
  /** Runs around each shadow: {@link rolledBack}, for one. */
  readonly around?: ((shadow: Effect.Effect<unknown, unknown>) => Effect.Effect<unknown, unknown, RA>) | undefined
  /** For the flow and the comparison, each; default 30 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** How many shadows may be under way at once; a request beyond them is counted as skipped. Default 16. */
  readonly maxConcurrent?: number | undefined
  /** Which share of the requests is shadowed, from 0 to 1; default 1. */
  readonly sample?: number | undefined
}

/** What a migration is made of. */
export interface Options<In, Out, E, R, L extends Legacy, ROut, RIn, RA> {
  readonly legacy: (input: In, context: LegacyContext) => L
  readonly flow: Flow<string, In, Out, E, R, unknown>
  /** Read once per request; one that can't be read stays what it was, at first `legacy`. */
  readonly mode: Live<Mode>
  /** Of the canary: which share of the keys the flow answers, from 0 to 1. Default 0. */
  readonly share?: Live<number> | undefined
  readonly shadow?: ShadowOptions<ROut, RIn, RA> | undefined
  readonly compare?: CompareOptions<LegacySuccess<L>, Out> | undefined
  /** Which of the flow's errors legacy answers in its place, in the modes `flow` and `canary`. Default: none. */
  readonly fallback?: ((error: E | FlowError) => boolean) | undefined
  /** Of the flow's runtime. */
  readonly maxInFlight?: number | undefined
}

/** What happened since this process made the migration. */
export interface Counters {
  /** Requests that this side answered, or failed. */
  readonly legacy: number
  readonly flow: number
  readonly fallbacks: number
  /** Shadows that were begun, and requests that were not shadowed: too many were under way, or the sample left them out. */
  readonly shadowed: number
  readonly busy: number
  readonly sampled: number
  /** What the store did not take, and the last reason why. */
  readonly lost: number
  readonly storeFailure: string | undefined
}

/** Old and new, side by side. */
export interface Migration<in In, out A, out E> {
  readonly name: string
  /** One request. Interrupting it interrupts the side that answers. */
  run(input: In, options?: RunOptions): Effect.Effect<A, E>
  /** What the store knows of this migration, from all processes that share it. */
  report(options?: Reporting.Thresholds & Entries.Range): Effect.Effect<Report, ReportsError>
  readonly counters: Effect.Effect<Counters>
  /** Waits until no shadow is under way and everything noted is stored or given up. */
  readonly settled: Effect.Effect<void>
}

/**
 * Makes a migration. Closing the scope interrupts shadows, and writes what was noted for 5 seconds at most.
 *
 * Legacy runs with the caller's services, and where the caller has none with those from here; the flow with those from
 * here. Reports go to the {@link Reports} provided here, else to memory, which keeps the last 10 000 requests.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema, SubscriptionRef } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as Migration from "penguiflow/Migration"
 *
 * const Out = Schema.Struct({ total: Schema.Number })
 * const sum = Node.make("sum", {
 *   input: Schema.Array(Schema.Number),
 *   output: Out,
 *   run: (items) => Effect.succeed({ total: items.reduce((a, b) => a + b, 0) })
 * })
 * const program = Effect.scoped(Effect.gen(function*() {
 *   const mode = yield* SubscriptionRef.make<Migration.Mode>("shadow")
 *   const migration = yield* Migration.make("totals", {
 *     // The old one forgets the last item.
 *     legacy: async (items) => ({ total: items.slice(0, -1).reduce((a, b) => a + b, 0) }),
 *     flow: Flow.make("totals", [sum.to()]),
 *     mode
 *   })
 *   const before = yield* migration.run([1, 2, 3])
 *   yield* migration.settled
 *   const { mismatches, paths } = yield* migration.report()
 *   yield* SubscriptionRef.set(mode, "flow")
 *   const after = yield* migration.run([1, 2, 3])
 *   return [before.total, mismatches, paths[0]?.path, after.total]
 * }))
 * await Effect.runPromise(program) // => [3, 1, "/total", 6]
 * ```
 */
export const make = <In, Out, E, R, L extends Legacy, ROut = never, RIn = never, RA = never>(
  name: string,
  options: Options<In, Out, E, R, L, ROut, RIn, RA>
): Effect.Effect<
  Migration<In, LegacySuccess<L> | Out, LegacyFailure<L> | E | FlowError>,
  never,
  R | LegacyServices<L> | RIn | Exclude<RA, ROut> | Scope.Scope
> =>
  Effect.gen(function*() {
    const given = yield* Effect.serviceOption(Reports)
    const store = Option.getOrElse(given, () => memoryReports())
    const runner = yield* makeRunner(name, options, store)
    return {
      ...runner,
      name,
      report: (wanted: Reporting.Thresholds & Entries.Range = {}) => reportFrom(store, name, wanted)
    } as Migration<In, LegacySuccess<L> | Out, LegacyFailure<L> | E | FlowError>
  })

/**
 * A migration as a service.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as Migration from "penguiflow/Migration"
 *
 * const upper = Node.make("upper", {
 *   input: Schema.String,
 *   output: Schema.String,
 *   run: (text) => Effect.succeed(text.toUpperCase())
 * })
 * class Shouting extends Migration.Service<Shouting>()("app/Shouting", "shouting", {
 *   legacy: (text) => Promise.resolve(`${text}!`),
 *   flow: Flow.make("shouting", [upper.to()]),
 *   mode: "legacy"
 * }) {}
 * const program = Shouting.use((shouting) => shouting.run("penguin"))
 * await Effect.runPromise(Effect.provide(program, Shouting.layer)) // => "penguin!"
 * ```
 */
export const Service = <Self>(): <
  const Id extends string,
  In,
  Out,
  E,
  R,
  L extends Legacy,
  ROut = never,
  RIn = never,
  RA = never
>(
  id: Id,
  name: string,
  options: Options<In, Out, E, R, L, ROut, RIn, RA>
) => Context.ServiceClass<Self, Id, Migration<In, LegacySuccess<L> | Out, LegacyFailure<L> | E | FlowError>> & {
  readonly layer: Layer.Layer<Self, never, Exclude<R | LegacyServices<L> | RIn | Exclude<RA, ROut>, Scope.Scope>>
} =>
<
  const Id extends string,
  In,
  Out,
  E,
  R,
  L extends Legacy,
  ROut = never,
  RIn = never,
  RA = never
>(
  id: Id,
  name: string,
  options: Options<In, Out, E, R, L, ROut, RIn, RA>
) => {
  const Tag = Context.Service<Self, Migration<In, LegacySuccess<L> | Out, LegacyFailure<L> | E | FlowError>>()(id)
  return Object.assign(Tag, { layer: Layer.effect(Tag, make(name, options)) })
}

/**
 * For `shadow.around`: the whole shadow in one transaction, which is rolled back when it ends, however it ends. What
 * its nodes write they can read, and nobody else ever sees it.
 *
 * The flow must write with the `SqlClient` of its services, and nodes that run side by side share one connection. While
 * it lasts it may hold locks that others wait for: keep `timeout` and `maxConcurrent` low. What leaves the database
 * (mails, payments) is not taken back: give it another service by `shadow.layer`.
 */
export const rolledBack = <A, E, R>(
  shadow: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError.SqlError, R | SqlClient.SqlClient> =>
  SqlClient.SqlClient.use((sql) =>
    Effect.exit(shadow).pipe(
      Effect.flatMap((exit) => new Finished({ exit })),
      sql.withTransaction,
      Effect.catchIf(
        (error): error is Finished => error instanceof Finished,
        // What comes out is what went in: the exit of the shadow.
        (finished) => finished.exit as Exit.Exit<A, E>
      )
    )
  )

/** Carries the end of a shadow out of the transaction that it makes fail. */
class Finished extends Data.TaggedError("Finished")<{ readonly exit: Exit.Exit<unknown, unknown> }> {}

// --------------------------------------------------------------------------------------------------------- reports

/** What is noted of one request, as JSON. A store keeps these and need not understand them. */
export const Entry: Schema.Codec<Entry> = Entries.Entry
export type Entry = Entries.Entry

/** A report: JSON, times in milliseconds. */
export const Report: Schema.Codec<Report> = Reporting.Report
export type Report = Reporting.Report

const ReportsErrorBase: new(fields: {
  readonly message: string
  readonly cause?: unknown
}) => Cause.YieldableError & { readonly _tag: "ReportsError"; readonly message: string } = Data.TaggedError(
  "ReportsError"
)

/** The store can't be reached, or holds what can't be read. */
export class ReportsError extends ReportsErrorBase {}

/** What a store of reports does. */
export interface ReportsStore {
  /**
   * Keeps entries; all of them or none, and none twice: ids tell. Called in the background: it may be slow, and it may
   * fail, and is then called again with the same.
   */
  readonly add: (entries: ReadonlyArray<Entry>) => Effect.Effect<void, ReportsError>
  /** The entries of a migration, by `at`. */
  readonly read: (migration: string, range: Entries.Range) => Stream.Stream<Entry, ReportsError>
}

const ReportsService: Context.ServiceClass<Reports, "penguiflow/Migration/Reports", ReportsStore> = Context.Service<
  Reports,
  ReportsStore
>()("penguiflow/Migration/Reports")

/** Where reports are kept: see `layers/MigrationReportsMemory` and `layers/MigrationReportsSql`. */
export class Reports extends ReportsService {}

/** Reports in memory: the last `capacity` requests, 10 000 unless told otherwise, of all migrations together. */
export const memoryReports = (options?: { readonly capacity?: number | undefined }): ReportsStore =>
  memoryStore(options?.capacity ?? 10_000)

/**
 * What a store knows of a migration: for a job or a page that does not run the migration itself.
 */
export const report = (
  migration: string,
  options?: Reporting.Thresholds & Entries.Range
): Effect.Effect<Report, ReportsError, Reports> => Reports.use((store) => reportFrom(store, migration, options ?? {}))

const reportFrom = (
  store: ReportsStore,
  migration: string,
  options: Reporting.Thresholds & Entries.Range
): Effect.Effect<Report, ReportsError> =>
  Effect.suspend(() => {
    const tally = new Reporting.Tally()
    return Effect.map(
      Stream.runForEach(store.read(migration, options), (entry) => Effect.sync(() => tally.add(entry))),
      () => tally.report(migration, options)
    )
  })

/** A report as a table for the terminal, at most 100 columns wide. */
export const toText = (report: Report): string => textOf(report)

/**
 * A report as one HTML page with its plots: no script, nothing loaded, nothing that a strict content security policy
 * refuses. Text from requests is escaped.
 */
export const toHtml = (report: Report): string => htmlOf(report)
