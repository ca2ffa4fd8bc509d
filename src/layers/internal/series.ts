/** What metrics have in common: counters, the buckets of histograms, labels that are bounded. */
import * as Metric from "effect/Metric"

export const counter = (id: string, description: string): Metric.Counter<number> =>
  Metric.counter(id, { description, incremental: true })

/** The upper bounds of buckets, from a millisecond to ten minutes. */
// dprint-ignore
export const seconds: ReadonlyArray<number> = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600
]

/** At most so many values; every other one is `other`. */
export class Bounded {
  readonly #most: number
  readonly #known = new Set<string>()
  constructor(most: number) {
    this.#most = most
  }
  accepts(value: string): boolean {
    if (this.#known.has(value)) return true
    if (this.#known.size >= this.#most) return false
    this.#known.add(value)
    return true
  }
}
