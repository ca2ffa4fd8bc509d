/** From what was noted of single requests to what can be decided. */
import * as Schema from "effect/Schema"
import { type Compared, type Entry, Operation, type SkipReason } from "./entry.ts"
import { distribution, percentile, wilson } from "./statistics.ts"

const Percentiles = Schema.Struct({
  count: Schema.Int,
  p50: Schema.Number,
  p95: Schema.Number,
  p99: Schema.Number
})

const Example = Schema.Struct({ traceId: Schema.String, at: Schema.Number, patch: Schema.Array(Operation) })

const Failing = Schema.Struct({
  side: Schema.Literals(["legacy", "flow"]),
  tag: Schema.String,
  count: Schema.Int,
  example: Schema.Struct({ traceId: Schema.String, message: Schema.String })
})

/** A report is JSON. Times are milliseconds, instants milliseconds since the epoch. */
export const Report = Schema.Struct({
  migration: Schema.String,
  /** The first and the last request that it tells of; 0 where there is none. */
  from: Schema.Number,
  to: Schema.Number,
  /** Requests of which both sides are known. */
  compared: Schema.Int,
  matches: Schema.Int,
  mismatches: Schema.Int,
  /** One side failed and the other did not. */
  legacyFailures: Schema.Int,
  flowFailures: Schema.Int,
  skipped: Schema.Struct({
    /** As many shadows as allowed were under way. */
    busy: Schema.Int,
    /** Left out by the sampling rate. */
    sampled: Schema.Int,
    /** The comparison itself failed or took too long. */
    comparison: Schema.Int,
    /** Compared, and then the store did not take it. */
    lost: Schema.Int
  }),
  fallbacks: Schema.Int,
  /** Matches among those compared, with the Wilson 95 % interval. */
  matchRate: Schema.Struct({ value: Schema.Number, low: Schema.Number, high: Schema.Number }),
  /** Of requests that neither side failed, and the flow's p95 over legacy's. */
  latency: Schema.Struct({ legacy: Percentiles, flow: Percentiles, ratio: Schema.Number }),
  /** Where the sides differ, the most frequent first; at most 20, with up to 3 examples each. */
  paths: Schema.Array(Schema.Struct({ path: Schema.String, count: Schema.Int, examples: Schema.Array(Example) })),
  /** What failed on one side alone, the most frequent first; at most 20. */
  failures: Schema.Array(Failing),
  /** At most 60 stretches of time. */
  overTime: Schema.Array(Schema.Struct({ at: Schema.Number, compared: Schema.Int, matches: Schema.Int })),
  distribution: Schema.Struct({
    bounds: Schema.Array(Schema.Number),
    legacy: Schema.Array(Schema.Int),
    flow: Schema.Array(Schema.Int)
  }),
  verdict: Schema.Struct({
    decision: Schema.Literals(["promote", "hold"]),
    reasons: Schema.Array(Schema.Struct({ holds: Schema.Boolean, text: Schema.String }))
  })
})
export type Report = typeof Report.Type

/** What must hold before the flow takes over. */
export interface Thresholds {
  /** The least lower bound of the match rate; default 0.99. */
  readonly matchRate?: number | undefined
  /** How many times legacy's p95 the flow's may be; default 1.5. */
  readonly latencyRatio?: number | undefined
  /** The least number of requests compared; default 100. */
  readonly compared?: number | undefined
}

const maxPaths = 20
const maxExamples = 3
const stretches = 60

/** Takes entries one by one and keeps what the report needs of them: two numbers a request, and counts. */
export class Tally {
  readonly #times: Array<number> = []
  readonly #matched: Array<boolean> = []
  readonly #legacyMs: Array<number> = []
  readonly #flowMs: Array<number> = []
  readonly #results = { match: 0, mismatch: 0, legacyFailed: 0, flowFailed: 0 }
  readonly #skipped: Record<SkipReason, number> = { busy: 0, sampled: 0, comparison: 0, lost: 0 }
  readonly #paths = new Map<string, { count: number; readonly examples: Array<typeof Example.Type> }>()
  readonly #failures = new Map<string, { count: number; readonly first: typeof Failing.Type }>()
  #fallbacks = 0
  #from = Infinity
  #to = -Infinity

  add(entry: Entry): void {
    this.#from = Math.min(this.#from, entry.at)
    this.#to = Math.max(this.#to, entry.at)
    if (entry._tag === "Skipped") this.#skipped[entry.reason] += entry.count
    else if (entry._tag === "FellBack") this.#fallbacks++
    else this.#compared(entry)
  }

  #compared(entry: Compared): void {
    this.#results[entry.result]++
    this.#times.push(entry.at)
    this.#matched.push(entry.result === "match")
    if (entry.legacyError === undefined && entry.flowError === undefined) {
      this.#legacyMs.push(entry.legacyMs)
      this.#flowMs.push(entry.flowMs)
    }
    for (const path of entry.paths) {
      let known = this.#paths.get(path)
      if (known === undefined) this.#paths.set(path, known = { count: 0, examples: [] })
      known.count++
      if (known.examples.length < maxExamples) {
        known.examples.push({ traceId: entry.traceId, at: entry.at, patch: entry.patch })
      }
    }
    const side = entry.result === "legacyFailed" ? "legacy" : entry.result === "flowFailed" ? "flow" : undefined
    const error = side === "legacy" ? entry.legacyError : entry.flowError
    if (side === undefined || error === undefined) return
    const key = JSON.stringify([side, error.tag])
    const known = this.#failures.get(key)
    if (known !== undefined) known.count++
    else {
      const example = { traceId: entry.traceId, message: error.message }
      this.#failures.set(key, { count: 1, first: { side, tag: error.tag, count: 1, example } })
    }
  }

  report(migration: string, thresholds: Thresholds): Report {
    const { flowFailed, legacyFailed, match, mismatch } = this.#results
    const compared = match + mismatch + legacyFailed + flowFailed
    const [legacyMs, flowMs] = [sorted(this.#legacyMs), sorted(this.#flowMs)]
    const [legacy, flow] = [percentilesOf(legacyMs), percentilesOf(flowMs)]
    const known = compared > 0 || this.#from !== Infinity
    const numbers = {
      migration,
      from: known ? this.#from : 0,
      to: known ? this.#to : 0,
      compared,
      matches: match,
      mismatches: mismatch,
      legacyFailures: legacyFailed,
      flowFailures: flowFailed,
      skipped: { ...this.#skipped },
      fallbacks: this.#fallbacks,
      matchRate: wilson(match, compared),
      latency: { legacy, flow, ratio: ratioOf(flow.p95, legacy.p95) },
      paths: [...this.#paths].map(([path, { count, examples }]) => ({ path, count, examples }))
        .toSorted((a, b) => b.count - a.count || (a.path < b.path ? -1 : 1)).slice(0, maxPaths),
      failures: [...this.#failures.values()].map(({ count, first }) => ({ ...first, count }))
        .toSorted((a, b) => b.count - a.count).slice(0, maxPaths),
      overTime: this.#overTime(),
      distribution: distribution(legacyMs, flowMs)
    }
    return { ...numbers, verdict: verdictOf(numbers, thresholds) }
  }

  #overTime(): Report["overTime"] {
    if (this.#times.length === 0) return []
    const from = this.#times.reduce((a, b) => Math.min(a, b))
    const to = this.#times.reduce((a, b) => Math.max(a, b))
    const width = Math.max(1, (to - from) / stretches)
    const counts = new Map<number, { compared: number; matches: number }>()
    this.#times.forEach((at, index) => {
      const place = Math.min(stretches - 1, Math.floor((at - from) / width))
      let known = counts.get(place)
      if (known === undefined) counts.set(place, known = { compared: 0, matches: 0 })
      known.compared++
      if (this.#matched[index]) known.matches++
    })
    return [...counts].toSorted(([a], [b]) => a - b)
      .map(([place, known]) => ({ at: Math.round(from + (place + 0.5) * width), ...known }))
  }
}

const sorted = (values: ReadonlyArray<number>): Float64Array => Float64Array.from(values).sort()

const percentilesOf = (values: Float64Array): typeof Percentiles.Type => ({
  count: values.length,
  p50: percentile(values, 0.5),
  p95: percentile(values, 0.95),
  p99: percentile(values, 0.99)
})

/** Times below a microsecond are none that a clock can tell apart. */
const ratioOf = (flow: number, legacy: number): number => Math.max(0.001, flow) / Math.max(0.001, legacy)

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`

const verdictOf = (report: Omit<Report, "verdict">, thresholds: Thresholds): Report["verdict"] => {
  const { compared = 100, latencyRatio = 1.5, matchRate = 0.99 } = thresholds
  const { comparison, lost } = report.skipped
  const enough = report.compared >= compared
  const alike = report.matchRate.low >= matchRate
  const fast = report.latency.flow.count > 0 && report.latency.ratio <= latencyRatio
  const reasons = [
    { holds: enough, text: `${report.compared} requests compared, at least ${compared} wanted` },
    {
      holds: alike,
      text: `the match rate is ${percent(report.matchRate.value)}, with 95 % confidence at least ${
        percent(report.matchRate.low)
      }; wanted ${percent(matchRate)}`
    },
    {
      holds: fast,
      text: report.latency.flow.count === 0
        ? "there is no request that both sides answered"
        : `the flow's p95 is ${report.latency.ratio.toFixed(2)} times legacy's, at most ${latencyRatio} allowed`
    },
    // What was seen and not counted may be anything.
    ...(comparison > 0 ? [{ holds: false, text: `${comparison} comparisons failed themselves` }] : []),
    ...(lost > 0
      ? [{ holds: lost <= report.compared / 100, text: `${lost} comparisons were lost on the way to the store` }]
      : [])
  ]
  return { decision: reasons.every((reason) => reason.holds) ? "promote" : "hold", reasons }
}
