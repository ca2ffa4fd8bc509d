/** What a migration notes of each request: JSON, so that any store can keep it. */
import * as Schema from "effect/Schema"

/** How the two sides of one request compare. */
export type Result = "match" | "mismatch" | "legacyFailed" | "flowFailed"

/** Why a request was not compared. */
export type SkipReason = "busy" | "sampled" | "comparison" | "lost"

/** A JSON patch of RFC 6902, from legacy's answer to the flow's. */
export interface Operation {
  readonly op: "add" | "remove" | "replace"
  readonly path: string
  readonly value?: Schema.Json
}

/** What is kept of an error: its tag and its words, secrets taken out. */
export interface Failure {
  readonly tag: string
  readonly message: string
}

/** Both sides have ended. */
export interface Compared {
  readonly _tag: "Compared"
  /** Its own: what is written twice is known by it. */
  readonly id: string
  readonly migration: string
  /** Milliseconds since the epoch, when legacy had answered. */
  readonly at: number
  readonly traceId: string
  readonly result: Result
  readonly legacyMs: number
  readonly flowMs: number
  readonly legacyError?: Failure
  readonly flowError?: Failure
  /** At most 20 operations; none where the sides match. */
  readonly patch: ReadonlyArray<Operation>
  /** Where they differ, array positions as `*`: what differs often is counted by it. */
  readonly paths: ReadonlyArray<string>
}

/** So many requests were not compared. */
export interface Skipped {
  readonly _tag: "Skipped"
  /** Its own: what is written twice is known by it. */
  readonly id: string
  readonly migration: string
  readonly at: number
  readonly reason: SkipReason
  readonly count: number
}

/** Legacy answered in the flow's place. */
export interface FellBack {
  readonly _tag: "FellBack"
  /** Its own: what is written twice is known by it. */
  readonly id: string
  readonly migration: string
  readonly at: number
  readonly traceId: string
  readonly error: Failure
}

export type Entry = Compared | Skipped | FellBack

/** An entry that nobody has numbered yet. */
export type NewEntry = Omit<Compared, "id"> | Omit<Skipped, "id"> | Omit<FellBack, "id">

/** A stretch of time, in milliseconds since the epoch: `from` belongs to it, `to` does not. */
export interface Range {
  readonly from?: number | undefined
  readonly to?: number | undefined
}

export const Operation: Schema.Codec<Operation> = Schema.Struct({
  op: Schema.Literals(["add", "remove", "replace"]),
  path: Schema.String,
  value: Schema.optionalKey(Schema.Json)
})

const Failure: Schema.Codec<Failure> = Schema.Struct({ tag: Schema.String, message: Schema.String })

export const Entry: Schema.Codec<Entry> = Schema.Union([
  Schema.TaggedStruct("Compared", {
    id: Schema.String,
    migration: Schema.String,
    at: Schema.Number,
    traceId: Schema.String,
    result: Schema.Literals(["match", "mismatch", "legacyFailed", "flowFailed"]),
    legacyMs: Schema.Number,
    flowMs: Schema.Number,
    legacyError: Schema.optionalKey(Failure),
    flowError: Schema.optionalKey(Failure),
    patch: Schema.Array(Operation),
    paths: Schema.Array(Schema.String)
  }),
  Schema.TaggedStruct("Skipped", {
    id: Schema.String,
    migration: Schema.String,
    at: Schema.Number,
    reason: Schema.Literals(["busy", "sampled", "comparison", "lost"]),
    count: Schema.Int
  }),
  Schema.TaggedStruct("FellBack", {
    id: Schema.String,
    migration: Schema.String,
    at: Schema.Number,
    traceId: Schema.String,
    error: Failure
  })
])
