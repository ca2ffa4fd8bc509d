/**
 * What a form can ask for, read from a JSON Schema: one field at a time, so that a schema that refers to itself is read
 * only as far as it is filled in. What the form has no control for is a field for JSON.
 */

export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

/** A JSON Schema, as far as it is an object. */
export interface Schema {
  readonly [keyword: string]: unknown
}

interface Base {
  readonly title: string | undefined
  readonly description: string | undefined
}

export interface Text extends Base {
  readonly kind: "text"
  readonly minLength: number
  readonly maxLength: number | undefined
  readonly format: string | undefined
}
export interface Numeric extends Base {
  readonly kind: "number"
  readonly integer: boolean
  readonly min: number | undefined
  readonly max: number | undefined
  /** What it must be greater and less than. */
  readonly above: number | undefined
  readonly below: number | undefined
}
export interface Flag extends Base {
  readonly kind: "flag"
}
export interface Choice extends Base {
  readonly kind: "choice"
  readonly options: ReadonlyArray<Json>
}
export interface Property {
  readonly name: string
  readonly required: boolean
  readonly schema: Schema
}
export interface Struct extends Base {
  readonly kind: "object"
  readonly properties: ReadonlyArray<Property>
  /** What further keys hold; undefined where they are not asked for. */
  readonly rest: Schema | undefined
}
export interface List extends Base {
  readonly kind: "list"
  /** Items at fixed places. */
  readonly fixed: ReadonlyArray<Schema>
  /** What follows them; undefined where nothing may. */
  readonly item: Schema | undefined
  readonly min: number
  readonly max: number
}
export interface Union extends Base {
  readonly kind: "union"
  readonly options: ReadonlyArray<{ readonly title: string; readonly schema: Schema }>
}
export interface Anything extends Base {
  readonly kind: "json"
}

export type Field = Text | Numeric | Flag | Choice | Struct | List | Union | Anything

/** Reads the fields of one schema. */
export interface Reader {
  readonly root: Schema
  readonly field: (schema: Schema) => Field
}

/** Takes a schema as it is, or a document of a schema and its definitions. */
export const readerOf = (document: unknown): Reader => {
  const { definitions, root } = rootOf(document)
  const known = new WeakMap<Schema, Field>()
  return {
    root,
    field: (schema) => {
      let field = known.get(schema)
      if (field === undefined) known.set(schema, field = read(schema, definitions))
      return field
    }
  }
}

// ----------------------------------------------------------------------------------------------------------- internals

const isSchema = (value: unknown): value is Schema =>
  typeof value === "object" && value !== null && !Array.isArray(value)
const schemaIn = (value: unknown): Schema => isSchema(value) ? value : {}
const schemasIn = (value: unknown): ReadonlyArray<Schema> => Array.isArray(value) ? value.filter(isSchema) : []
const textIn = (value: unknown): string | undefined => typeof value === "string" && value !== "" ? value : undefined
const numberIn = (value: unknown): number | undefined => typeof value === "number" ? value : undefined
/** What no whole number of this language passes is not said by who wrote the schema. */
const limitIn = (value: unknown): number | undefined =>
  typeof value === "number" && Math.abs(value) < Number.MAX_SAFE_INTEGER ? value : undefined

const rootOf = (document: unknown): { readonly root: Schema; readonly definitions: Schema } => {
  const whole = schemaIn(document)
  const isDocument = "schema" in whole && isSchema(whole["schema"]) && !("type" in whole)
  return {
    root: isDocument ? schemaIn(whole["schema"]) : whole,
    definitions: { ...schemaIn(whole["definitions"]), ...schemaIn(whole["$defs"]) }
  }
}

/** Where a reference leads that leads to itself, there is nothing to ask for. */
const followed = (schema: Schema, definitions: Schema): Schema => {
  let at = schema
  const seen = new Set<string>()
  while (typeof at["$ref"] === "string") {
    if (seen.has(at["$ref"])) return {}
    seen.add(at["$ref"])
    const name = /^#\/(?:\$defs|definitions|components\/schemas)\/(.+)$/.exec(at["$ref"])?.[1]
    const key = name === undefined ? undefined : decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~")
    const target = key !== undefined && Object.hasOwn(definitions, key) ? definitions[key] : undefined
    if (!isSchema(target)) return {}
    const { $ref: _, ...own } = at
    at = Object.keys(own).length === 0 ? target : { ...target, ...own }
  }
  return at
}

/** Constraints that stand beside one another become one schema. */
const merged = (schema: Schema, definitions: Schema): Schema => {
  const base = followed(schema, definitions)
  const { allOf, ...own } = base
  if (!Array.isArray(allOf)) return base
  let all: Schema = own
  for (const part of schemasIn(allOf)) all = both(all, merged(part, definitions))
  return all
}

const both = (one: Schema, other: Schema): Schema => ({
  ...one,
  ...other,
  ...(isSchema(one["properties"]) || isSchema(other["properties"])
    ? { properties: { ...schemaIn(one["properties"]), ...schemaIn(other["properties"]) } }
    : {}),
  ...(Array.isArray(one["required"]) && Array.isArray(other["required"])
    ? { required: [...one["required"], ...other["required"]] }
    : {}),
  ...tighter(one, other, ["minimum", "exclusiveMinimum"], Math.max),
  ...tighter(one, other, ["maximum", "exclusiveMaximum"], Math.min)
})

/** Of limits that both name, the one that holds for both. */
const tighter = (
  one: Schema,
  other: Schema,
  keywords: ReadonlyArray<string>,
  choose: (a: number, b: number) => number
): Schema =>
  Object.fromEntries(keywords.flatMap((keyword) => {
    const [a, b] = [numberIn(one[keyword]), numberIn(other[keyword])]
    return a === undefined || b === undefined ? [] : [[keyword, choose(a, b)]]
  }))

/** The words by which JSON says numbers that it has not: nobody enters them. */
const noNumbers = new Set(["Infinity", "-Infinity", "NaN"])
const isNoNumber = (schema: Schema): boolean =>
  Array.isArray(schema["enum"]) && schema["enum"].length > 0 && schema["enum"].every((it) => noNumbers.has(String(it)))

const read = (schema: Schema, definitions: Schema): Field => {
  const whole = merged(schema, definitions)
  const base: Base = { title: textIn(whole["title"]), description: textIn(whole["description"]) }
  const anything: Anything = { ...base, kind: "json" }
  if ("const" in whole) return { ...base, kind: "choice", options: [whole["const"] as Json] }
  if (Array.isArray(whole["enum"])) return { ...base, kind: "choice", options: whole["enum"] as ReadonlyArray<Json> }
  const either = schemasIn(whole["anyOf"] ?? whole["oneOf"])
  if (either.length > 0) return readUnion(either, base, definitions)
  const { type } = whole
  if (Array.isArray(type)) {
    const options = type.filter((it): it is string => typeof it === "string").map((it): Schema => ({
      ...whole,
      type: it
    }))
    return options.length === 0 ? anything : readUnion(options, base, definitions)
  }
  switch (type) {
    case "string":
      return {
        ...base,
        kind: "text",
        minLength: numberIn(whole["minLength"]) ?? 0,
        maxLength: numberIn(whole["maxLength"]),
        format: textIn(whole["format"])
      }
    case "number":
    case "integer":
      return {
        ...base,
        kind: "number",
        integer: type === "integer",
        min: limitIn(whole["minimum"]),
        max: limitIn(whole["maximum"]),
        above: limitIn(whole["exclusiveMinimum"]),
        below: limitIn(whole["exclusiveMaximum"])
      }
    case "boolean":
      return { ...base, kind: "flag" }
    case "null":
      return { ...base, kind: "choice", options: [null] }
    case "array":
      return readList(whole, base)
    case "object":
      return readObject(whole, base)
    default:
      return isSchema(whole["properties"]) ? readObject(whole, base) : anything
  }
}

const readObject = (schema: Schema, base: Base): Field => {
  const required = new Set(Array.isArray(schema["required"]) ? schema["required"] : [])
  const properties = Object.entries(schemaIn(schema["properties"])).map(([name, property]): Property => ({
    name,
    required: required.has(name),
    schema: schemaIn(property)
  }))
  const rest = schema["additionalProperties"]
  if (properties.length === 0 && !isSchema(rest)) return { ...base, kind: "json" }
  return { ...base, kind: "object", properties, rest: isSchema(rest) ? rest : undefined }
}

const readList = (schema: Schema, base: Base): Field => {
  const fixed = schemasIn(schema["prefixItems"])
  const { items } = schema
  const max = numberIn(schema["maxItems"]) ?? Infinity
  if (fixed.length === 0 && !isSchema(items)) return { ...base, kind: "json" }
  return {
    ...base,
    kind: "list",
    fixed,
    item: isSchema(items) && max > fixed.length ? items : undefined,
    min: Math.max(fixed.length, numberIn(schema["minItems"]) ?? 0),
    max
  }
}

const readUnion = (all: ReadonlyArray<Schema>, base: Base, definitions: Schema): Field => {
  const known = all.map((option) => merged(option, definitions))
  const isNumeric = known.some(({ type }) => type === "number" || type === "integer")
  const options = known.filter((option) => !isNumeric || !isNoNumber(option))
  const literals = options.map(literalsIn)
  if (literals.every((it) => it !== undefined)) return { ...base, kind: "choice", options: literals.flat() }
  const [only] = options
  if (only !== undefined && options.length === 1) {
    const field = read(only, definitions)
    return { ...field, title: base.title ?? field.title, description: base.description ?? field.description }
  }
  return {
    ...base,
    kind: "union",
    options: options.map((option, at) => ({ title: titleOf(option) ?? `option ${at + 1}`, schema: option }))
  }
}

const literalsIn = (schema: Schema): ReadonlyArray<Json> | undefined =>
  "const" in schema
    ? [schema["const"] as Json]
    : Array.isArray(schema["enum"])
    ? schema["enum"] as ReadonlyArray<Json>
    : schema["type"] === "null"
    ? [null]
    : undefined

/** The title, the tag, or the type. */
const titleOf = (schema: Schema): string | undefined => {
  const title = textIn(schema["title"])
  if (title !== undefined) return title
  for (const property of Object.values(schemaIn(schema["properties"]))) {
    const literals = literalsIn(schemaIn(property))
    if (literals?.length === 1 && typeof literals[0] === "string") return literals[0]
  }
  const literals = literalsIn(schema)
  if (literals !== undefined) return literals.map((it) => JSON.stringify(it)).join(" or ")
  const type = textIn(schema["type"])
  return type === "array" ? "list" : type === "boolean" ? "yes or no" : type === "string" ? "text" : type
}
