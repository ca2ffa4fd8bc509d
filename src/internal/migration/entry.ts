/** What a migration notes of each request: JSON, so that any store can keep it. */
import * as Schema from "effect/Schema"

/** How the two sides of one request compare. */
export const Result = Schema.Literals(["match", "mismatch", "legacyFailed", "flowFailed"])
export type Result = typeof Result.Type

/** Why a request was not compared. */
export const SkipReason = Schema.Literals(["busy", "sampled", "comparison", "lost"])
export type SkipReason = typeof SkipReason.Type

/** A JSON patch of RFC 6902, from legacy's answer to the flow's. */
export const Operation = Schema.Struct({
  op: Schema.Literals(["add", "remove", "replace"]),
  path: Schema.String,
  value: Schema.optionalKey(Schema.Json)
})
export type Operation = typeof Operation.Type

/** What is kept of an error: its tag and its words, secrets taken out. */
export const Failure = Schema.Struct({ tag: Schema.String, message: Schema.String })
export type Failure = typeof Failure.Type

export const Compared = Schema.TaggedStruct("Compared", {
  migration: Schema.String,
  /** Milliseconds since the epoch, when legacy had answered. */
  at: Schema.Number,
  traceId: Schema.String,
  result: Result,
  legacyMs: Schema.Number,
  flowMs: Schema.Number,
  legacyError: Schema.optionalKey(Failure),
  flowError: Schema.optionalKey(Failure),
  /** At most 20 operations; none where the sides match. */
  patch: Schema.Array(Operation),
  /** Where they differ, array positions as `*`: what differs often is counted by it. */
  paths: Schema.Array(Schema.String)
})
export type Compared = typeof Compared.Type

export const Skipped = Schema.TaggedStruct("Skipped", {
  migration: Schema.String,
  at: Schema.Number,
  reason: SkipReason,
  count: Schema.Int
})
export type Skipped = typeof Skipped.Type

export const FellBack = Schema.TaggedStruct("FellBack", {
  migration: Schema.String,
  at: Schema.Number,
  traceId: Schema.String,
  error: Failure
})
export type FellBack = typeof FellBack.Type

export const Entry = Schema.Union([Compared, Skipped, FellBack])
export type Entry = typeof Entry.Type

/** A stretch of time, in milliseconds since the epoch: `from` belongs to it, `to` does not. */
export interface Range {
  readonly from?: number | undefined
  readonly to?: number | undefined
}
