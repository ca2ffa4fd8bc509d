/** The few numbers that a report needs. */

/** A share with its Wilson 95 % interval. */
export interface Rate {
  readonly value: number
  readonly low: number
  readonly high: number
}

/** The standard normal's 97.5 % point. */
const z = 1.959963984540054

/**
 * The Wilson score interval: honest for few observations and near 0 and 1, where the usual one is not. Of nothing it
 * says nothing: from 0 to 1.
 */
export const wilson = (successes: number, n: number): Rate => {
  if (n === 0) return { value: 0, low: 0, high: 1 }
  const p = successes / n
  const middle = (p + z * z / (2 * n)) / (1 + z * z / n)
  const half = z / (1 + z * z / n) * Math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
  return { value: p, low: successes === 0 ? 0 : Math.max(0, middle - half), high: successes === n ? 1 : middle + half }
}

/** The smallest value that at least this share of all values does not exceed; 0 of none. Takes values in order. */
export const percentile = (sorted: ArrayLike<number>, share: number): number =>
  sorted.length === 0 ? 0 : sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))]!

/** How often each of a row of stretches is met, each so many times as long as the one before. */
export interface Distribution {
  /** Where the stretches begin and end, in milliseconds: one more than there are counts. */
  readonly bounds: ReadonlyArray<number>
  readonly legacy: ReadonlyArray<number>
  readonly flow: ReadonlyArray<number>
}

/** Two rows of milliseconds in the same logarithmic stretches. */
export const distribution = (
  legacy: ArrayLike<number>,
  flow: ArrayLike<number>,
  stretches: number = 32
): Distribution => {
  const least = 0.001
  const all = [...Array.from(legacy), ...Array.from(flow)]
  if (all.length === 0) return { bounds: [], legacy: [], flow: [] }
  const ends = all.reduce(
    (so, ms) => ({ low: Math.min(so.low, ms), high: Math.max(so.high, ms) }),
    { low: Infinity, high: 0 }
  )
  const low = Math.log10(Math.max(least, ends.low))
  const high = Math.max(low + 0.1, Math.log10(Math.max(least, ends.high)))
  const width = (high - low) / stretches
  const count = (values: ArrayLike<number>): ReadonlyArray<number> => {
    const counts = Array.from({ length: stretches }, () => 0)
    for (const ms of Array.from(values)) {
      const at = Math.floor((Math.log10(Math.max(least, ms)) - low) / width)
      counts[Math.min(stretches - 1, Math.max(0, at))]!++
    }
    return counts
  }
  return {
    bounds: Array.from({ length: stretches + 1 }, (_, at) => 10 ** (low + at * width)),
    legacy: count(legacy),
    flow: count(flow)
  }
}
