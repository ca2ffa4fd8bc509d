import { assert, describe, it } from "@effect/vitest"
import { distribution, percentile, wilson } from "../../src/internal/migration/statistics.ts"

const rounded = ({ high, low }: { readonly high: number; readonly low: number }) => [low.toFixed(4), high.toFixed(4)]

describe("the statistics of a migration's report", () => {
  it("Wilson's interval is that of the books", () => {
    // Newcombe 1998, table I, method 3.
    assert.deepStrictEqual(rounded(wilson(81, 263)), ["0.2553", "0.3662"])
    assert.deepStrictEqual(rounded(wilson(15, 148)), ["0.0624", "0.1605"])
    assert.deepStrictEqual(rounded(wilson(0, 20)), ["0.0000", "0.1611"])
    assert.deepStrictEqual(rounded(wilson(1, 29)), ["0.0061", "0.1718"])
  })

  it("holds what it is asked about, for any counts", () => {
    for (let n = 0; n < 60; n++) {
      for (let k = 0; k <= n; k++) {
        const { high, low, value } = wilson(k, n)
        assert.isTrue(0 <= low && low <= value + 1e-12 && value <= high + 1e-12 && high <= 1, `${k} of ${n}`)
      }
    }
  })

  it("a percentile is a value that was seen", () => {
    const hundred = Array.from({ length: 100 }, (_, n) => n + 1)
    assert.deepStrictEqual([0.5, 0.95, 0.99, 1].map((share) => percentile(hundred, share)), [50, 95, 99, 100])
    assert.deepStrictEqual([percentile([7], 0.5), percentile([7], 0.99), percentile([], 0.5)], [7, 7, 0])
  })

  it("a distribution counts every value once, zero and the largest included", () => {
    const { bounds, flow, legacy } = distribution([0, 0.001, 5, 1000], [3, 3, 3], 8)
    assert.lengthOf(bounds, 9)
    assert.deepStrictEqual([legacy, flow].map((counts) => counts.reduce((a, b) => a + b, 0)), [4, 3])
    assert.deepStrictEqual(distribution([], []), { bounds: [], legacy: [], flow: [] })
    assert.deepStrictEqual(distribution([2, 2], [2], 4).legacy, [2, 0, 0, 0])
  })
})
