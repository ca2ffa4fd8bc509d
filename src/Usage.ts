/**
 * Usage: what a trace has cost whom, recorded once.
 *
 * A record has a key. The same key again changes nothing, so that a retried or redelivered node bills nobody twice:
 * {@link track} takes the node's `idempotencyKey`. Where records are kept a layer says: `layers/UsageMemory` forgets
 * them with its process, `layers/UsageSql` keeps them in a database, within the transaction that is open, if one is.
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { NodeContext } from "./Node.ts"

/** Who used how much of what, and for what. */
export interface UsageRecord {
  /** The same usage has the same key, whenever it is recorded. */
  readonly key: string
  readonly userId: string
  readonly tenant: string
  readonly flow: string
  readonly node: string
  readonly traceId: string
  /** A whole number, 0 or more. */
  readonly tokens: number
  /** Milliseconds, 0 or more. */
  readonly durationMs: number
  /** When it was recorded: milliseconds since the epoch. */
  readonly at: number
}

/** Which records are meant; all of them where nothing is said. */
export interface Filter {
  readonly userId?: string | undefined
  readonly tenant?: string | undefined
  readonly traceId?: string | undefined
  /** Recorded then or later: milliseconds since the epoch. */
  readonly from?: number | undefined
  /** Recorded before then. */
  readonly until?: number | undefined
}

/** What records come to. */
export interface Totals {
  readonly records: number
  readonly tokens: number
  readonly durationMs: number
}

const kinds: Schema.Literals<readonly ["MissingMeta", "InvalidRecord", "StoreFailed"]> = Schema.Literals([
  "MissingMeta",
  "InvalidRecord",
  "StoreFailed"
])

const ErrorBase: Schema.Class<
  UsageError,
  Schema.TaggedStruct<
    "UsageError",
    {
      readonly kind: typeof kinds
      readonly message: typeof Schema.String
      readonly cause: Schema.optional<ReturnType<typeof Schema.Defect>>
    }
  >,
  Cause.YieldableError
> = Schema.TaggedError<UsageError>()("UsageError", {
  kind: kinds,
  message: Schema.String,
  cause: Schema.optional(Schema.Defect())
})

/**
 * Why something was not recorded.
 *
 * `MissingMeta`: the trace does not say who, or since when. `InvalidRecord`: a number or a name that can't be meant.
 * `StoreFailed`: what keeps the records failed; another try may help.
 */
export class UsageError extends ErrorBase {
  get isRetryable(): boolean {
    return this.kind === "StoreFailed"
  }
}

/** What keeps records. */
export interface Service {
  /** True where it is new, false where its key was there: then nothing has changed. Interrupted, it is kept or not. */
  readonly record: (record: UsageRecord) => Effect.Effect<boolean, UsageError>
  readonly totals: (filter?: Filter) => Effect.Effect<Totals, UsageError>
  /** By time, then by key. */
  readonly list: (filter?: Filter) => Effect.Effect<ReadonlyArray<UsageRecord>, UsageError>
}

const UsageBase: Context.ServiceClass<Usage, "penguiflow/Usage", Service> = Context.Service<Usage, Service>()(
  "penguiflow/Usage"
)

/** Where usage is recorded. */
export class Usage extends UsageBase {}

/** The names in a trace's meta under which {@link track} looks. */
export interface MetaKeys {
  /** Who: text or a number. Default `"user_id"`. */
  readonly userId?: string | undefined
  /** Since when: milliseconds since the epoch, or an ISO date. Default `"start_time"`. */
  readonly startTime?: string | undefined
}

/**
 * Records what a trace has used so far, from within one of its nodes: who and since when from the trace's meta, the
 * time by the fiber's clock, the key from the visit. True where it is new.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as UsageMemory from "penguiflow/layers/UsageMemory"
 * import * as Usage from "penguiflow/Usage"
 *
 * const Answer = Schema.Struct({ text: Schema.String, tokens: Schema.Int })
 * const trackCost = Node.make("track_cost", {
 *   input: Answer,
 *   output: Answer,
 *   rerun: "idempotent",
 *   run: (answer, context) => Effect.as(Usage.track(context, { tokens: answer.tokens }), answer)
 * })
 * const flow = Flow.make("billing", [trackCost.to()])
 * const program = Effect.gen(function*() {
 *   yield* Flow.run(flow, { text: "42", tokens: 7 }, { meta: { user_id: "user-456", start_time: Date.now() } })
 *   return yield* Usage.Usage.use((usage) => usage.totals({ userId: "user-456" }))
 * })
 * const totals = await Effect.runPromise(Effect.provide(program, UsageMemory.layer))
 * totals.tokens // => 7
 * ```
 */
export const track = (
  context: Omit<NodeContext, "emit">,
  options: {
    readonly tokens: number
    readonly meta?: MetaKeys | undefined
    /** Where one visit records several things, each needs a key of its own: this is added to it. */
    readonly label?: string | undefined
  }
): Effect.Effect<boolean, UsageError, Usage> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const userKey = options.meta?.userId ?? "user_id"
    const startKey = options.meta?.startTime ?? "start_time"
    const userId = context.meta[userKey]
    const start = startOf(context.meta[startKey])
    if (typeof userId !== "string" && typeof userId !== "number") {
      return missing(context, userKey, "text or a number that says whose usage it is")
    }
    if (start === undefined) {
      return missing(
        context,
        startKey,
        "the time at which the work began: milliseconds since the epoch, or an ISO date"
      )
    }
    // Where the clock itself stands before 1973, as a test's does, small numbers are what they say.
    if (start < 1e11 && now >= 1e11) {
      return missing(context, startKey, "milliseconds since the epoch (it is so small that it must be seconds)")
    }
    return Usage.use((usage) =>
      usage.record({
        key: options.label === undefined ? context.idempotencyKey : `${context.idempotencyKey}#${options.label}`,
        userId: String(userId),
        tenant: context.headers.tenant,
        flow: context.flow,
        node: context.node,
        traceId: context.traceId,
        tokens: options.tokens,
        // Clocks of two machines differ: nobody worked for less than no time.
        durationMs: Math.max(0, now - start),
        at: now
      })
    )
  })

/**
 * A record that can be kept, or the error that says what is wrong with it: every layer asks this first, so that all of
 * them refuse the same.
 */
export const check = (record: UsageRecord): Effect.Effect<UsageRecord, UsageError> =>
  Effect.suspend(() => {
    for (const name of ["key", "userId", "tenant", "flow", "node", "traceId"] as const) {
      const text = record[name]
      if (typeof text !== "string" || text === "" || text.length > 1000 || text.includes("\0")) {
        return invalid(`${name} must be text of 1 to 1000 characters without a NUL`)
      }
    }
    if (!Number.isSafeInteger(record.tokens) || record.tokens < 0) {
      return invalid(`tokens must be a whole number from 0 on, not ${record.tokens}`)
    }
    if (!Number.isFinite(record.durationMs) || record.durationMs < 0) {
      return invalid(`durationMs must be a number of milliseconds from 0 on, not ${record.durationMs}`)
    }
    if (!Number.isSafeInteger(record.at)) return invalid(`at must be milliseconds since the epoch, not ${record.at}`)
    return Effect.succeed(record)
  })

// ----------------------------------------------------------------------------------------------------------- internals

const invalid = (message: string) => Effect.fail(new UsageError({ kind: "InvalidRecord", message }))

const missing = (context: { readonly flow: string; readonly node: string }, key: string, what: string) =>
  Effect.fail(
    new UsageError({
      kind: "MissingMeta",
      message: `${context.flow}/${context.node}: meta.${key} must be ${what}. Give it when the message is sent: ` +
        `run(input, { meta: { ${key}: … } }).`
    })
  )

const startOf = (value: Schema.Json | undefined): number | undefined => {
  const at = typeof value === "string" ? Date.parse(value) : value
  return typeof at === "number" && Number.isFinite(at) ? at : undefined
}
