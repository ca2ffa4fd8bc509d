/** From what was noted of single requests to what can be decided. */
import * as Schema from "effect/Schema"
import { type Compared, type Entry, Operation, type SkipReason } from "./entry.ts"
import { type Distribution, distribution, percentile, type Rate, wilson } from "./statistics.ts"
import { percent } from "./words.ts"

/** Milliseconds. */
export interface Percentiles {
  readonly count: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

/** One request that shows a difference. */
export interface Example {
  readonly traceId: string
  readonly at: number
  readonly patch: ReadonlyArray<Operation>
}

/** What failed on one side and not on the other. */
export interface Failing {
  readonly side: "legacy" | "flow"
  readonly tag: string
  readonly count: number
  readonly example: { readonly traceId: string; readonly message: string }
}

/** A report is JSON. Times are milliseconds, instants milliseconds since the epoch. */
export interface Report {
  readonly migration: string
  /** The first and the last request that it tells of; 0 where there is none. */
  readonly from: number
  readonly to: number
  /** Requests of which both sides are known. */
  readonly compared: number
  readonly matches: number
  readonly mismatches: number
  /** One side failed and the other did not. */
  readonly legacyFailures: number
  readonly flowFailures: number
  readonly skipped: {
    /** As many shadows as allowed were under way. */
    readonly busy: number
    /** Left out by the sampling rate. */
    readonly sampled: number
    /** The comparison itself failed or took too long. */
    readonly comparison: number
    /** Compared, and then the store did not take it. */
    readonly lost: number
  }
  readonly fallbacks: number
  /** Matches among those compared, with the Wilson 95 % interval. */
  readonly matchRate: Rate
  /** Of requests that neither side failed, and the flow's p95 over legacy's. */
  readonly latency: { readonly legacy: Percentiles; readonly flow: Percentiles; readonly ratio: number }
  /** Where the sides differ, the most frequent first; at most 20, with up to 3 examples each. */
  readonly paths: ReadonlyArray<
    { readonly path: string; readonly count: number; readonly examples: ReadonlyArray<Example> }
  >
  /** What failed on one side alone, the most frequent first; at most 20. */
  readonly failures: ReadonlyArray<Failing>
  /** At most 60 stretches of time. */
  readonly overTime: ReadonlyArray<{ readonly at: number; readonly compared: number; readonly matches: number }>
  readonly distribution: Distribution
  readonly verdict: {
    readonly decision: "promote" | "hold"
    readonly reasons: ReadonlyArray<{ readonly holds: boolean; readonly text: string }>
  }
}

const PercentilesSchema = Schema.Struct({
  count: Schema.Int,
  p50: Schema.Number,
  p95: Schema.Number,
  p99: Schema.Number
})

export const Report: Schema.Codec<Report> = Schema.Struct({
  migration: Schema.String,
  from: Schema.Number,
  to: Schema.Number,
  compared: Schema.Int,
  matches: Schema.Int,
  mismatches: Schema.Int,
  legacyFailures: Schema.Int,
  flowFailures: Schema.Int,
  skipped: Schema.Struct({ busy: Schema.Int, sampled: Schema.Int, comparison: Schema.Int, lost: Schema.Int }),
  fallbacks: Schema.Int,
  matchRate: Schema.Struct({ value: Schema.Number, low: Schema.Number, high: Schema.Number }),
  latency: Schema.Struct({ legacy: PercentilesSchema, flow: PercentilesSchema, ratio: Schema.Number }),
  paths: Schema.Array(Schema.Struct({
    path: Schema.String,
    count: Schema.Int,
    examples: Schema.Array(
      Schema.Struct({ traceId: Schema.String, at: Schema.Number, patch: Schema.Array(Operation) })
    )
  })),
  failures: Schema.Array(Schema.Struct({
    side: Schema.Literals(["legacy", "flow"]),
    tag: Schema.String,
    count: Schema.Int,
    example: Schema.Struct({ traceId: Schema.String, message: Schema.String })
  })),
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
  readonly #paths = new Map<string, { count: number; readonly examples: Array<Example> }>()
  readonly #failures = new Map<string, { count: number; readonly first: Failing }>()
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

const percentilesOf = (values: Float64Array): Percentiles => ({
  count: values.length,
  p50: percentile(values, 0.5),
  p95: percentile(values, 0.95),
  p99: percentile(values, 0.99)
})

/** Times below a microsecond are none that a clock can tell apart. */
const ratioOf = (flow: number, legacy: number): number => Math.max(0.001, flow) / Math.max(0.001, legacy)

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
