/** What a line of the input holds, and what is wrong with it when it does not. */
import { Predicate, Result, Schema, SchemaIssue } from "effect"

/** A line as it was read: nothing is known about it but where it stood. */
export class RawLine extends Schema.Class<RawLine>("RawLine")({
  line: Schema.Int,
  text: Schema.String
}) {}

/** An address as the rest of the flow knows it. */
export class Address extends Schema.Class<Address>("Address")({
  id: Schema.NonEmptyString,
  year: Schema.Int.check(Schema.isBetween({ minimum: 1700, maximum: 2100 })),
  name: Schema.NonEmptyString,
  party: Schema.NonEmptyString,
  text: Schema.String.check(
    Schema.makeFilter((text) => text.trim() !== "" || "must not be empty"),
    Schema.isMaxLength(2_000_000)
  )
}) {}

/** Why a line is no address. */
export class InvalidDocument extends Schema.TaggedError<InvalidDocument>()("InvalidDocument", {
  line: Schema.Int,
  /** As far as it could be read. */
  id: Schema.UndefinedOr(Schema.String),
  problems: Schema.Array(Schema.String)
}) {
  override get message() {
    return `line ${this.line}${this.id === undefined ? "" : ` (${this.id})`}: ${this.problems.join("; ")}`
  }
}

const decodeFields = Schema.decodeUnknownResult(Address, { errors: "all" })

/** Reads one line, and lists all that is wrong with it. */
export const decode = (raw: RawLine): Result.Result<Address, InvalidDocument> => {
  const json = parse(raw.text)
  if (Result.isFailure(json)) {
    return Result.fail(new InvalidDocument({ line: raw.line, id: undefined, problems: [json.failure] }))
  }
  return Result.mapError(
    decodeFields(json.success),
    (error) => new InvalidDocument({ line: raw.line, id: idOf(json.success), problems: problemsOf(error.issue) })
  )
}

const parse = (text: string): Result.Result<unknown, string> => {
  try {
    return Result.succeed(JSON.parse(text))
  } catch (cause) {
    return Result.fail(`is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`)
  }
}

const idOf = (json: unknown): string | undefined =>
  Predicate.hasProperty(json, "id") && Predicate.isString(json.id) && json.id !== "" ? json.id.slice(0, 80) : undefined

const format = SchemaIssue.makeFormatterStandardSchemaV1()

/** Field by field, for example "year: expected an integer". */
const problemsOf = (issue: SchemaIssue.Issue): ReadonlyArray<string> =>
  format(issue).issues.map(({ message, path }) => {
    const field = (path ?? []).map(String).join(".")
    const what = message === "Missing key" ? "is missing" : message.replace(/^E/, "e")
    return field === "" ? what : `"${field}" ${what}`
  })
