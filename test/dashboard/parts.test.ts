import { assert, describe, it } from "@effect/vitest"
import { textOfParts } from "../../dashboard/model/parts.ts"

describe("parts of a stream", () => {
  it("that are tokens flow together", () => {
    assert.strictEqual(
      textOfParts(["Pen", "guins", " do", " not", " unconditionally", " freeze\n", "."]),
      "Penguins do not unconditionally freeze\n."
    )
    assert.strictEqual(textOfParts([]), "")
  })

  it("that are lines or other values stand on lines of their own", () => {
    assert.strictEqual(textOfParts(["box 1/3 at 4", "box 2/3 at 4"]), "box 1/3 at 4\nbox 2/3 at 4")
    assert.strictEqual(
      textOfParts(["a line that ends itself\n", "another long line"]),
      "a line that ends itself\nanother long line"
    )
    assert.strictEqual(textOfParts([{ n: 1 }, 2, "x", null]), `{"n":1}\n2\nx\nnull`)
  })
})
