import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import {
  type Draft,
  draftFrom,
  entered,
  expectedIn,
  initial,
  limitsOf,
  optionalOf
} from "../../dashboard/form/draft.ts"
import { type Json, readerOf, type Schema as JsonSchema, type Struct, type Union } from "../../dashboard/form/field.ts"

const readerFor = (schema: Schema.Top) => readerOf(Schema.toJsonSchemaDocument(schema))

const Payment = Schema.Union([
  Schema.TaggedStruct("Card", { number: Schema.String }),
  Schema.TaggedStruct("Cash", { amount: Schema.Number })
])
class Person extends Schema.Class<Person>("Person")({
  name: Schema.NonEmptyString,
  friends: Schema.Array(Schema.suspend((): Schema.Codec<Person> => Person))
}) {}
const Everything = Schema.Struct({
  text: Schema.NonEmptyString.annotate({ description: "Some words" }),
  whole: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })),
  any: Schema.Number,
  yes: Schema.Boolean,
  one: Schema.Literals(["a", "b"]),
  nullable: Schema.NullOr(Schema.String),
  left: Schema.optionalKey(Schema.String),
  maybe: Schema.optional(Schema.Number),
  list: Schema.Array(Schema.String),
  pair: Schema.Tuple([Schema.String, Schema.Number]),
  map: Schema.Record(Schema.String, Schema.Number),
  payment: Payment,
  whatever: Schema.Unknown,
  later: Schema.optionalKey(Schema.Struct({ x: Schema.Number }))
})

const objectOf = (draft: Draft): Extract<Draft, { readonly kind: "object" }> => {
  assert.strictEqual(draft.kind, "object")
  return draft as Extract<Draft, { readonly kind: "object" }>
}
const filled = (draft: Draft, values: Readonly<Record<string, Draft>>): Draft => {
  const object = objectOf(draft)
  return { ...object, of: new Map([...object.of, ...Object.entries(values)]) }
}
const text = (text: string): Draft => ({ kind: "text", text })

describe("fields of a JSON Schema", () => {
  it("are read from what effect writes", () => {
    const reader = readerFor(Everything)
    const root = reader.field(reader.root) as Struct
    const kinds = Object.fromEntries(root.properties.map(({ name, schema }) => [name, reader.field(schema).kind]))
    assert.deepStrictEqual(kinds, {
      text: "text",
      whole: "number",
      any: "number",
      yes: "flag",
      one: "choice",
      nullable: "union",
      left: "text",
      maybe: "union",
      list: "list",
      pair: "list",
      map: "object",
      payment: "union",
      whatever: "json",
      later: "object"
    })
    const field = (name: string) => reader.field(root.properties.find((it) => it.name === name)!.schema)
    assert.deepInclude(field("whole"), { integer: true, min: 1, max: 9 })
    assert.deepInclude(field("text"), { description: "Some words", minLength: 1 })
    assert.deepInclude(field("pair"), { min: 2, max: 2, item: undefined })
    assert.deepStrictEqual((field("payment") as Union).options.map(({ title }) => title), ["Card", "Cash"])
    assert.deepStrictEqual((field("nullable") as Union).options.map(({ title }) => title), ["text", "null"])
  })

  it("have the limits that somebody set, the tightest of those that stand beside one another", () => {
    const limits = (schema: Schema.Top) => {
      const reader = readerFor(schema)
      const field = reader.field(reader.root)
      assert.strictEqual(field.kind, "number")
      return field.kind === "number" ? limitsOf(field) : undefined
    }
    assert.strictEqual(limits(Schema.Int), "")
    assert.strictEqual(limits(Schema.Int.check(Schema.isGreaterThan(0))), "greater than 0")
    assert.strictEqual(
      limits(Schema.Finite.check(Schema.isLessThan(5), Schema.isGreaterThanOrEqualTo(1))),
      "at least 1, less than 5"
    )
    assert.strictEqual(limits(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))), "1 to 9")
    const both = readerOf({
      type: "integer",
      minimum: 2,
      maximum: 9,
      allOf: [{ minimum: -9007199254740991, maximum: 7 }]
    })
    assert.deepInclude(both.field(both.root), { min: 2, max: 7 })
  })

  it("follow references, also to themselves, no further than they are filled in", () => {
    const reader = readerFor(Person)
    const root = reader.field(reader.root) as Struct
    assert.deepStrictEqual(root.properties.map(({ name }) => name), ["name", "friends"])
    const draft = initial(reader, reader.root)
    assert.deepStrictEqual(objectOf(draft).of.get("friends"), { kind: "list", items: [] })
    const value: Json = { name: "a", friends: [{ name: "b", friends: [] }] }
    const again = draftFrom(reader, reader.root, value)!
    assert.deepStrictEqual(entered(reader, again).value, value)
  })

  it("that can't be read are fields for JSON", () => {
    const schemas: ReadonlyArray<JsonSchema> = [
      {},
      { $ref: "#/$defs/nowhere" },
      { $ref: "#/$defs/loop", $defs: { loop: { $ref: "#/$defs/loop" } } },
      { type: "object" },
      { type: "array" },
      { type: "mystery" },
      { not: {} }
    ]
    for (const schema of schemas) {
      const reader = readerOf(schema)
      assert.strictEqual(reader.field(reader.root).kind, "json", JSON.stringify(schema))
    }
    assert.strictEqual(readerOf(null).field(readerOf(null).root).kind, "json")
    const either = readerOf({ type: ["string", "null"] })
    assert.strictEqual(either.field(either.root).kind, "union")
  })
})

describe("a draft", () => {
  const reader = readerFor(Everything)
  const empty = initial(reader, reader.root)
  const whole = filled(empty, {
    text: text("hi"),
    whole: text(" 3 "),
    any: text("1e3"),
    yes: { kind: "flag", on: true },
    one: { kind: "choice", at: 1 },
    nullable: { kind: "union", at: 1, of: { kind: "choice", at: 0 } },
    list: { kind: "list", items: [text("x")] },
    pair: { kind: "list", items: [text("p"), text("2")] },
    map: { kind: "object", of: new Map(), rest: [{ key: "__proto__", value: text("5") }] },
    payment: {
      kind: "union",
      at: 1,
      of: { kind: "object", of: new Map([["_tag", { kind: "choice", at: 0 }], ["amount", text("7")]]), rest: [] }
    },
    whatever: text(`{"deep":[1]}`)
  })
  const json = {
    text: "hi",
    whole: 3,
    any: 1000,
    yes: true,
    one: "b",
    nullable: null,
    list: ["x"],
    pair: ["p", 2],
    map: JSON.parse(`{"__proto__":5}`),
    payment: { _tag: "Cash", amount: 7 },
    whatever: { deep: [1] }
  }

  it("becomes the JSON that the schema takes; what is left empty and optional is left out", () => {
    const { problems, value } = entered(reader, whole)
    assert.deepStrictEqual(problems, [])
    assert.strictEqual(JSON.stringify(value), JSON.stringify(json))
    assert.deepInclude(Schema.decodeUnknownSync(Everything)(value), { text: "hi", pair: ["p", 2] })
    assert.isUndefined(({} as { readonly five?: number }).five)
  })

  it("says of each field what is wrong with it, by the path that the server would use", () => {
    const wrong = filled(whole, {
      text: text(""),
      whole: text("10"),
      any: text("many"),
      one: { kind: "choice", at: -1 },
      list: { kind: "list", items: [text("x"), text("y")] },
      pair: { kind: "list", items: [text("p"), text("")] },
      map: { kind: "object", of: new Map(), rest: [{ key: "a", value: text("x") }] },
      whatever: text("{")
    })
    const { partial, problems, value } = entered(reader, wrong)
    assert.deepInclude(partial, { yes: true, list: ["x", "y"], payment: { _tag: "Cash", amount: 7 } })
    assert.isUndefined(value)
    assert.deepStrictEqual(problems.map(({ path }) => path), [
      "text",
      "whole",
      "any",
      "one",
      "pair[1]",
      "map.a",
      "whatever"
    ])
    assert.deepStrictEqual(problems.slice(0, 4).map(({ message }) => message), [
      "Fill this in",
      "At most 9",
      "This is not a number",
      "Choose one"
    ])
    assert.match(problems[6]!.message, /^This is not JSON/)
  })

  it("does not take what is not between its limits", () => {
    const open = readerFor(Schema.Finite.check(Schema.isGreaterThan(0), Schema.isLessThan(1)))
    const said = (value: string) => entered(open, text(value)).problems.map(({ message }) => message)
    assert.deepStrictEqual([said("0"), said("1"), said("0.5")], [["Greater than 0"], ["Less than 1"], []])
  })

  it("has under a field what was expected, without what the field says itself", () => {
    const whole =
      `The body does not fit the input of the flow "a": b": Expected a value greater than 0 at ["items"][0]["a \\" b"]`
    assert.strictEqual(expectedIn(whole), "Expected a value greater than 0")
    assert.strictEqual(expectedIn("Expected an integer"), "Expected an integer")
    assert.strictEqual(expectedIn("It looks at [0], or so"), "It looks at [0], or so")
  })

  it("comes back from JSON, unless the form has no place for something", () => {
    const again = draftFrom(reader, reader.root, json)!
    assert.strictEqual(JSON.stringify(entered(reader, again).value), JSON.stringify(json))
    assert.deepStrictEqual(
      entered(reader, draftFrom(reader, reader.root, { ...json, left: "l", maybe: 2, later: { x: 1 } })!).value,
      { ...json, left: "l", maybe: 2, later: { x: 1 } }
    )
    for (
      const odd of [
        { ...json, more: 1 },
        { ...json, whole: "3" },
        { ...json, left: "" },
        [],
        null,
        "x"
      ] as ReadonlyArray<Json>
    ) {
      assert.isUndefined(draftFrom(reader, reader.root, odd), JSON.stringify(odd))
    }
  })

  it("of an optional value that may be null does not ask for the null", () => {
    const optional: JsonSchema = {
      anyOf: [{ type: "object", properties: { x: { type: "number" } } }, { type: "null" }]
    }
    assert.strictEqual(reader.field(optionalOf(reader, optional)).kind, "object")
  })

  it("of a value that is no object is a field by itself", () => {
    const number = readerFor(Schema.Number)
    assert.strictEqual(entered(number, text("4")).value, 4)
    const words = readerFor(Schema.String)
    assert.strictEqual(entered(words, initial(words, words.root)).value, "")
  })
})
