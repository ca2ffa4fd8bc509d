/** What was entered so far, and the JSON that it is: texts stay texts until they are sent. */
import type { Field, Json, Numeric, Reader, Schema } from "./field.ts"

export type Draft =
  | { readonly kind: "absent" }
  /** Of text, numbers and JSON. */
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "flag"; readonly on: boolean }
  /** -1 while nothing is chosen. */
  | { readonly kind: "choice"; readonly at: number }
  | {
    readonly kind: "object"
    readonly of: ReadonlyMap<string, Draft>
    readonly rest: ReadonlyArray<{ readonly key: string; readonly value: Draft }>
  }
  | { readonly kind: "list"; readonly items: ReadonlyArray<Draft> }
  | { readonly kind: "union"; readonly at: number; readonly of: Draft }

export const absent: Draft = { kind: "absent" }

/** Where in the input: as the server says it. */
export type Path = ReadonlyArray<string | number>

/** `items[0].id`, as the server says it. */
export const pathText = (path: Path): string =>
  path.map((part, at) => typeof part === "number" ? `[${part}]` : at === 0 ? part : `.${part}`).join("")

export interface Problem {
  readonly path: string
  readonly message: string
}

/** What the server says of an input, without what a field that it stands under says already: flow and place. */
export const expectedIn = (message: string): string =>
  message
    .replace(/^The body does not fit the input of the flow "[^]*?": (?=Expected |Missing |Unexpected |Invalid )/, "")
    .replace(/ at (?:\["(?:[^"\\]|\\.)*"\]|\[\d+\])+$/, "")

/** The limits of a number in words: `1 to 9`, `greater than 0`; empty where it has none. */
export const limitsOf = ({ above, below, max, min }: Numeric): string =>
  min !== undefined && max !== undefined && above === undefined && below === undefined ? `${min} to ${max}` : [
    min === undefined ? "" : `at least ${min}`,
    above === undefined ? "" : `greater than ${above}`,
    max === undefined ? "" : `at most ${max}`,
    below === undefined ? "" : `less than ${below}`
  ].filter((it) => it !== "").join(", ")

/** Fields that are left out where nothing is entered. */
const isSimple = (field: Field): boolean =>
  field.kind === "text" || field.kind === "number" || field.kind === "json" || field.kind === "choice"

/** What stands in a form at first. */
export const initial = (reader: Reader, schema: Schema): Draft => {
  const field = reader.field(schema)
  switch (field.kind) {
    case "text":
    case "number":
    case "json":
      return { kind: "text", text: "" }
    case "flag":
      return { kind: "flag", on: false }
    case "choice":
      return { kind: "choice", at: field.options.length === 1 ? 0 : -1 }
    case "object":
      return {
        kind: "object",
        of: new Map(field.properties.map(({ name, required, schema }) => [
          name,
          required ? initial(reader, schema) : initialOptional(reader, schema)
        ])),
        rest: []
      }
    case "list":
      return {
        kind: "list",
        items: [
          ...field.fixed.map((schema) => initial(reader, schema)),
          ...Array.from(
            { length: field.item === undefined ? 0 : Math.max(0, field.min - field.fixed.length) },
            () => initial(reader, field.item!)
          )
        ]
      }
    case "union":
      return { kind: "union", at: 0, of: initial(reader, field.options[0]!.schema) }
  }
}

/** Of a property that may be missing: what may be null as well is left out by leaving it empty. */
export const initialOptional = (reader: Reader, schema: Schema): Draft => {
  const field = reader.field(optionalOf(reader, schema))
  return isSimple(field) ? (field.kind === "choice" ? { kind: "choice", at: -1 } : { kind: "text", text: "" }) : absent
}

/** An optional property that may be null: the null is not asked for. */
export const optionalOf = (reader: Reader, schema: Schema): Schema => {
  const field = reader.field(schema)
  if (field.kind !== "union" || field.options.length !== 2) return schema
  const rest = field.options.filter((option) => {
    const inner = reader.field(option.schema)
    return !(inner.kind === "choice" && inner.options.length === 1 && inner.options[0] === null)
  })
  return rest.length === 1 ? rest[0]!.schema : schema
}

/** The draft that stands for a value; undefined where the form has no control for something in it. */
export const draftFrom = (reader: Reader, schema: Schema, value: Json): Draft | undefined => {
  const field = reader.field(schema)
  switch (field.kind) {
    case "text":
      return typeof value === "string" ? { kind: "text", text: value } : undefined
    case "number":
      return typeof value === "number" ? { kind: "text", text: String(value) } : undefined
    case "flag":
      return typeof value === "boolean" ? { kind: "flag", on: value } : undefined
    case "json":
      return { kind: "text", text: JSON.stringify(value, null, 2) }
    case "choice": {
      const at = field.options.findIndex((option) => JSON.stringify(option) === JSON.stringify(value))
      return at < 0 ? undefined : { kind: "choice", at }
    }
    case "list": {
      if (!Array.isArray(value)) return undefined
      const items = value.map((item: Json, at) => {
        const inner = field.fixed[at] ?? field.item
        return inner === undefined ? undefined : draftFrom(reader, inner, item)
      })
      return items.every((item) => item !== undefined) ? { kind: "list", items } : undefined
    }
    case "union": {
      for (const [at, option] of field.options.entries()) {
        const of = draftFrom(reader, option.schema, value)
        if (of !== undefined) return { kind: "union", at, of }
      }
      return undefined
    }
    case "object": {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined
      const of = new Map<string, Draft>()
      const given = new Map(Object.entries(value as { readonly [key: string]: Json }))
      for (const { name, required, schema } of field.properties) {
        const inner = given.get(name)
        given.delete(name)
        const draft = inner === undefined
          ? required ? undefined : initialOptional(reader, schema)
          : draftFrom(reader, required ? schema : optionalOf(reader, schema), inner)
        if (draft === undefined) return undefined
        // Empty means left out there: an empty text that is given has no place in the form.
        if (inner === "" && !required) return undefined
        of.set(name, draft)
      }
      const rest: Array<{ key: string; value: Draft }> = []
      for (const [key, inner] of given) {
        const draft = field.rest === undefined ? undefined : draftFrom(reader, field.rest, inner)
        if (draft === undefined) return undefined
        rest.push({ key, value: draft })
      }
      return { kind: "object", of, rest }
    }
  }
}

export interface Entered {
  /** What can be said already: where there are problems, without what they are about. */
  readonly partial: Json
  /** Undefined where there are problems. */
  readonly value: Json | undefined
  readonly problems: ReadonlyArray<Problem>
}

/** The JSON that was entered. What the schema says beyond what the form needs to know, the server checks. */
export const entered = (reader: Reader, draft: Draft): Entered => {
  const problems: Array<Problem> = []
  const value = valueOf(reader, reader.root, draft, [], true, problems)
  const partial = value ?? null
  return { value: problems.length > 0 ? undefined : partial, partial, problems }
}

// ----------------------------------------------------------------------------------------------------------- internals

const valueOf = (
  reader: Reader,
  schema: Schema,
  draft: Draft,
  path: Path,
  required: boolean,
  problems: Array<Problem>
): Json | undefined => {
  const field = reader.field(schema)
  const problem = (message: string): undefined => {
    problems.push({ path: pathText(path), message })
    return undefined
  }
  switch (draft.kind) {
    case "absent":
      return required ? problem("Fill this in") : undefined
    case "flag":
      return draft.on
    case "choice":
      return draft.at >= 0 && field.kind === "choice"
        ? field.options[draft.at]
        : required
        ? problem("Choose one")
        : undefined
    case "text":
      return textOf(field, draft.text, required, problem)
    case "union":
      return field.kind === "union"
        ? valueOf(reader, field.options[draft.at]!.schema, draft.of, path, true, problems)
        : undefined
    case "list": {
      if (field.kind !== "list") return undefined
      if (draft.items.length < field.min) return problem(`At least ${field.min}`)
      return draft.items.map((item, at) =>
        valueOf(reader, field.fixed[at] ?? field.item!, item, [...path, at], true, problems) ?? null
      )
    }
    case "object": {
      if (field.kind !== "object") return undefined
      const value: Record<string, Json> = {}
      // `__proto__` is a key like any other.
      const put = (key: string, inner: Json) =>
        Object.defineProperty(value, key, { value: inner, enumerable: true, configurable: true, writable: true })
      for (const { name, required, schema } of field.properties) {
        const inner = valueOf(
          reader,
          required ? schema : optionalOf(reader, schema),
          draft.of.get(name) ?? absent,
          [...path, name],
          required,
          problems
        )
        if (inner !== undefined) put(name, inner)
      }
      for (const { key, value: item } of draft.rest) {
        const inner = valueOf(reader, field.rest!, item, [...path, key], true, problems)
        if (Object.hasOwn(value, key)) {
          problems.push({ path: pathText([...path, key]), message: "This key is there twice" })
        }
        if (inner !== undefined) put(key, inner)
      }
      return value
    }
  }
}

const textOf = (
  field: Field,
  text: string,
  required: boolean,
  problem: (message: string) => undefined
): Json | undefined => {
  if (field.kind === "text") {
    if (text === "" && !required) return undefined
    if (text.length < field.minLength) {
      return problem(text === "" ? "Fill this in" : `At least ${field.minLength} characters`)
    }
    return field.maxLength !== undefined && text.length > field.maxLength
      ? problem(`At most ${field.maxLength} characters`)
      : text
  }
  const trimmed = text.trim()
  if (trimmed === "") return required ? problem(field.kind === "json" ? "Fill in JSON" : "Fill in a number") : undefined
  if (field.kind === "json") {
    const parsed = parseJson(trimmed)
    return "value" in parsed ? parsed.value : problem(parsed.problem)
  }
  const value = Number(trimmed)
  if (field.kind !== "number" || !Number.isFinite(value)) return problem("This is not a number")
  if (field.integer && !Number.isInteger(value)) return problem("A whole number, please")
  if (field.min !== undefined && value < field.min) return problem(`At least ${field.min}`)
  if (field.above !== undefined && value <= field.above) return problem(`Greater than ${field.above}`)
  if (field.max !== undefined && value > field.max) return problem(`At most ${field.max}`)
  if (field.below !== undefined && value >= field.below) return problem(`Less than ${field.below}`)
  return value
}

/** JSON out of a text, or what is wrong with it. */
export const parseJson = (text: string): { readonly value: Json } | { readonly problem: string } => {
  try {
    return { value: JSON.parse(text) as Json }
  } catch (error) {
    return { problem: `This is not JSON: ${error instanceof Error ? error.message : "it can't be read"}` }
  }
}
