/**
 * Reports of migrations in memory: gone with the process, and each process has its own. For tests, and for a service that
 * is one process and wants to know of the last hour.
 */
import * as Layer from "effect/Layer"
import * as Migration from "../Migration.ts"

/**
 * Keeps the last 10 000 requests of all migrations together, or `capacity` of them.
 *
 * @example
 * ```ts runnable
 * import { Effect } from "effect"
 * import * as MigrationReportsMemory from "penguiflow/layers/MigrationReportsMemory"
 * import * as Migration from "penguiflow/Migration"
 *
 * const program = Effect.map(Migration.report("orders"), (report) => report.verdict.decision)
 * await Effect.runPromise(Effect.provide(program, MigrationReportsMemory.layer())) // => "hold"
 * ```
 */
export const layer = (options?: { readonly capacity?: number | undefined }): Layer.Layer<Migration.Reports> =>
  Layer.sync(Migration.Reports, () => Migration.memoryReports(options))
