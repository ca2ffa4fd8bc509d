/**
 * A database for each tenant: whose message it is (`headers.tenant`) decides where its rows are.
 *
 * A database is opened on its tenant's first message, shared by all that are under way, and closed when none of them
 * has used it for `idleTimeToLive`. Inside {@link provide} there is one `SqlClient`, that of the trace's tenant: code
 * in there has no way to another tenant's rows, since it never holds another client.
 *
 * **What is promised**
 *
 * - A tenant's name becomes a file or a schema only if `accepts` says so; by default a short word of small letters,
 *   digits, `-` and `_`, so that none leads out of a folder and no two mean one file.
 * - A database that could not be opened is tried anew by the next message: its failure is not kept.
 * - A transaction that is open for one tenant is not seen by another one's client.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LayerMap from "effect/LayerMap"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import * as Trace from "../Trace.ts"

const ErrorBase: Schema.Class<
  TenantError,
  Schema.TaggedStruct<"TenantError", { readonly tenant: typeof Schema.String; readonly message: typeof Schema.String }>,
  Cause.YieldableError
> = Schema.TaggedError<TenantError>()("TenantError", { tenant: Schema.String, message: Schema.String })

/** A tenant who has no database here. */
export class TenantError extends ErrorBase {}

/** How databases are found and for how long they are kept. */
export interface Options<E> {
  /** A tenant's database: `(tenant) => Sqlite.layer({ filename: join(folder, tenant + ".sqlite") })`. */
  readonly database: (tenant: string) => Layer.Layer<SqlClient.SqlClient, E>
  /** How long an unused one stays open; default 1 minute. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /** Who may have one. Default: {@link isPlain}. Give the known tenants where messages come from outside. */
  readonly accepts?: ((tenant: string) => boolean) | undefined
}

/** 1 to 40 small letters, digits, `-` and `_`, a letter or digit first. */
export const isPlain = (tenant: string): boolean => /^[a-z0-9][a-z0-9_-]{0,39}$/.test(tenant)

/** What stands behind {@link Tenants}. */
export interface Service {
  /** That tenant's database until the scope closes. */
  readonly contextOf: (
    tenant: string
  ) => Effect.Effect<Context.Context<SqlClient.SqlClient>, TenantError | SqlError.SqlError, Scope.Scope>
}

const TenantsBase: Context.ServiceClass<Tenants, "penguiflow/layers/Tenants", Service> = Context.Service<
  Tenants,
  Service
>()("penguiflow/layers/Tenants")

/** The tenants' databases. */
export class Tenants extends TenantsBase {}

/**
 * Opens databases as they are needed, and closes them with its scope.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { Flow, Node } from "penguiflow"
 * import * as Sqlite from "penguiflow/layers/Sqlite"
 * import * as Tenants from "penguiflow/layers/Tenants"
 *
 * const count = Node.make("count", {
 *   input: Schema.String,
 *   output: Schema.Number,
 *   run: (word) =>
 *     Tenants.provide(Effect.gen(function*() {
 *       const sql = yield* SqlClient.SqlClient
 *       yield* sql`CREATE TABLE IF NOT EXISTS words (word TEXT)`
 *       yield* sql`INSERT INTO words VALUES (${word})`
 *       return (yield* sql`SELECT * FROM words`).length
 *     }))
 * })
 * const flow = Flow.make("counting", [count.to()])
 * const say = (tenant: string) => Flow.run(flow, "hello", { headers: { tenant } })
 * const Databases = Tenants.layer({ database: () => Sqlite.layer({ filename: ":memory:" }) })
 * const program = Effect.all([say("a"), say("b"), say("a")])
 * await Effect.runPromise(Effect.provide(program, Databases)) // => [1, 1, 2]
 * ```
 */
export const layer = <E extends SqlError.SqlError = never>(options: Options<E>): Layer.Layer<Tenants> =>
  Layer.effect(
    Tenants,
    Effect.gen(function*() {
      const databases = yield* LayerMap.make(options.database, {
        idleTimeToLive: options.idleTimeToLive ?? "1 minute"
      })
      const accepts = options.accepts ?? isPlain
      return {
        contextOf: (tenant: string) =>
          Effect.suspend((): ReturnType<Service["contextOf"]> =>
            accepts(tenant)
              // A failure would be kept as long as somebody keeps asking.
              ? Effect.onExit(databases.contextEffect(tenant), (exit) =>
                exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause)
                  ? databases.invalidate(tenant)
                  : Effect.void)
              : Effect.fail(
                new TenantError({
                  tenant,
                  message:
                    `There is no database for the tenant ${JSON.stringify(tenant.slice(0, 60))}: its name is not ` +
                    "one that is accepted. Send headers.tenant, or accept it with the option `accepts`."
                })
              )
          )
      }
    })
  )

/**
 * Runs an effect on the database of the trace's tenant. Where it can't be opened, fails with its `SqlError`; where the
 * tenant's name is not accepted, with a {@link TenantError}. Interrupted, it gives the database back.
 */
export const provide = <A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<
  A,
  E | TenantError | SqlError.SqlError,
  Exclude<R, SqlClient.SqlClient> | Tenants | Trace.CurrentTrace
> => Effect.flatMap(Trace.CurrentTrace, (trace) => provideTenant(self, trace.headers.tenant))

/** The same for a tenant that is named, outside of a trace. */
export const provideTenant = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  tenant: string
): Effect.Effect<A, E | TenantError | SqlError.SqlError, Exclude<R, SqlClient.SqlClient> | Tenants> =>
  Effect.flatMap(Tenants, ({ contextOf }) =>
    Effect.scopedWith((scope) =>
      Effect.flatMap(
        Scope.provide(contextOf(tenant), scope),
        (database) => Effect.provideContext(self, database)
      )
    ))
