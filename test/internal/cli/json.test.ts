import { assert, describe, it } from "@effect/vitest"
import { isJson, parse } from "../../../src/internal/cli/json.ts"
import { fit, ndjson, oneLine } from "../../../src/internal/cli/text.ts"

const fault = (text: string) => {
  const parsed = parse(text)
  assert.strictEqual(parsed._tag, "NotJson")
  return parsed._tag === "NotJson" ? `${parsed.line}:${parsed.column} ${parsed.expected}` : ""
}

describe("JSON", () => {
  it("says where a text stops being JSON, and what is missing there", () => {
    const cases: Record<string, string> = {
      "": "1:1 a value",
      "  \n ": "2:2 a value",
      "{\"secret\": abc}": "1:12 a value",
      "{\"a\":1,}": "1:8 a name in double quotes",
      "{a:1}": "1:2 a name in double quotes or \"}\"",
      "{\"a\" 1}": "1:6 \":\"",
      "{\"a\":1 \"b\":2}": "1:8 \",\" or \"}\"",
      "[1,2": "1:5 \",\" or \"]\"",
      "[1,\n 2,\n]": "3:1 a value",
      "[": "1:2 a value or \"]\"",
      "1 2": "1:3 nothing more",
      "nul": "1:1 a value",
      "nulls": "1:1 a value",
      "01": "1:1 a value",
      "1.": "1:1 a value",
      "\"a\nb\"": "1:1 a value",
      "\"\\x\"": "1:1 a value",
      "'a'": "1:1 a value"
    }
    for (const [text, expected] of Object.entries(cases)) assert.strictEqual(fault(text), expected, text)
  })

  it("agrees with JSON.parse on what is JSON", () => {
    const texts = ["0", "-0.5e+3", "\"\\u00e9\\n\"", "[]", "{}", "[[{}],{\"a\":[null,true,false]}]", " \t\r\n1 "]
    for (const text of texts) {
      assert.deepStrictEqual(parse(text), { _tag: "Json", value: JSON.parse(text) as unknown })
      assert.isTrue(isJson(text))
      // Every text that is cut off is none, and its place is at most its end.
      for (let at = 0; at < text.trimEnd().length; at++) {
        const part = text.slice(0, at)
        if (!isJson(part)) assert.match(fault(part), /^\d+:\d+ /)
      }
    }
  })

  it("finds its way through texts that are deep", () => {
    assert.strictEqual(fault("[".repeat(200_000)), "1:200001 a value or \"]\"")
  })

  it("a line is one line, and can do nothing to the terminal", () => {
    assert.strictEqual(oneLine(" a\r\n  b\u001b[31m\u009b\u202ec \n"), "a b\\u001b[31m\\u009b\\u202ec")
    assert.isAtMost(oneLine("x".repeat(100_000)).length, 2000)
    assert.strictEqual(fit("penguin", 5), "pen…")
    assert.strictEqual(fit("penguin", 0), "…")
    assert.strictEqual(fit("penguin", Infinity), "penguin")
  })

  it("a value's line holds no control characters, and is the same value", () => {
    const value = { a: "\u001b\u009b\u2028\u202e\n" }
    const line = ndjson(value)!
    // oxlint-disable-next-line no-control-regex
    assert.notMatch(line.slice(0, -1), /[\u0000-\u001f\u007f-\u009f\u2028\u202e]/)
    assert.deepStrictEqual(JSON.parse(line), value)
    assert.strictEqual(ndjson(undefined), "null\n")
    let deep: unknown = 1
    for (let i = 0; i < 200_000; i++) deep = [deep]
    assert.strictEqual(ndjson(deep), undefined)
  })
})
