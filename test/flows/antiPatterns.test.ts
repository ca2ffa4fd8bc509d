/** The documented anti-patterns: each a pair, and both sides of it run (by the doctests, which assert what they give). */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { fencesIn, testOf } from "../../tools/doctest.ts"

const file = "docs/anti-patterns.md"
const text = fs.readFileSync(path.resolve(import.meta.dirname, "../..", file), "utf8")
const chapters = text.split(/^## /m).slice(1)

describe("the anti-patterns", () => {
  it("are those that people bring along, one chapter each", () => {
    assert.deepStrictEqual(chapters.map((chapter) => chapter.slice(0, chapter.indexOf("\n"))), [
      "Infrastructure in meta",
      "A session that outlives its time",
      "Global singletons",
      "Infrastructure made inside the node",
      "A write that a retry repeats"
    ])
  })

  it("show first what goes wrong, then what holds, each by code that is run and says what it gives", () => {
    for (const chapter of chapters) {
      const sides = chapter.split(/^### /m).slice(1)
      assert.deepStrictEqual(sides.map((side) => side.slice(0, side.indexOf("\n"))), ["What goes wrong", "What holds"])
      for (const side of sides) {
        const fences = fencesIn(file, side)
        assert.lengthOf(fences, 1, side.slice(0, 200))
        assert.isAtLeast(testOf(fences[0]!).assertions, 1)
        assert.notMatch(side, /^```ts$/m, "a fence that nobody runs")
      }
    }
  })
})
