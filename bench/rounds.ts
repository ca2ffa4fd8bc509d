/**
 * Measuring: warm up everything, then rounds over all cases.
 *
 * Every side of every case has run before the first one is measured, so that what the compiler learns of one it knows
 * when it meets the next. Within a round each case runs both its sides one after the other, the first of them by turns;
 * the ratio is taken per round, so that what disturbs the machine disturbs both.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Case, Side } from "./cases.ts"
import { Order, orders } from "./work.ts"

export interface Plan {
  readonly rounds: number
  /** For one sample, at least. */
  readonly sampleMs: number
  readonly warmUpPasses: number
  readonly warmUpMs: number
}

export interface Row {
  readonly name: string
  /** Undefined: told for comparison, and held against nothing. */
  readonly bar: number | undefined
  readonly unit: "µs" | "B"
  /** Medians. */
  readonly ours: number
  readonly other: number
  /** Of the rounds' ratios. */
  readonly ratio: number
  readonly p10: number
  readonly p90: number
  /** What is held against the bar: the ratio, or our own figure. */
  readonly held: "ratio" | "ours"
}

/** The value below which a part of the sorted values lies. */
export const quantile = (values: ReadonlyArray<number>, part: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * part
  const low = Math.floor(at)
  return sorted[low]! + (sorted[Math.min(low + 1, sorted.length - 1)]! - sorted[low]!) * (at - low)
}

/**
 * Milliseconds that so many messages take, one after another in one fiber: the thread's CPU time, so that what other
 * processes take away does not count. Nothing that is measured waits for a clock or for input.
 */
const sample = (name: string, side: Side, runs: number): Effect.Effect<number, unknown> =>
  Effect.gen(function*() {
    if (side.prepare !== undefined) yield* side.prepare
    // A clean nursery, and no more: a full collection would also throw away what the compiler knows of objects of which
    // none is alive just now, which would be measured then.
    globalThis.gc?.({ type: "minor" })
    let at = 0
    let wrong = 0
    const start = process.threadCpuUsage()
    yield* Effect.whileLoop({
      while: () => at < runs,
      body: () => side.run(orders[at & 63]!),
      step: (result) => {
        if (!side.right(result, orders[at & 63]!)) wrong++
        at++
      }
    })
    if (side.settle !== undefined) yield* side.settle(runs)
    const { system, user } = process.threadCpuUsage(start)
    if (wrong > 0) return yield* Effect.die(new Error(`${name}: ${wrong} of ${runs} results are wrong`))
    return (user + system) / 1000
  })

/** A message that no node accepts is refused by both sides. */
const refuses = (name: string, side: Side): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const exit = yield* Effect.exit(side.run({ ...orders[0]!, price: "1" as unknown as number }))
    if (exit._tag === "Success") return yield* Effect.die(new Error(`${name}: an invalid message was accepted`))
  })

/** Nanoseconds that one check of the record takes: shows whether the schema JIT is at work. */
export const checkNs = (): number => {
  const isOrder = Schema.is(Order)
  const times = 200_000
  let passed = 0
  const pass = (): number => {
    const start = process.threadCpuUsage()
    for (let at = 0; at < times; at++) if (isOrder(orders[at & 63])) passed++
    const { system, user } = process.threadCpuUsage(start)
    return (user + system) * 1000 / times
  }
  const passes = [pass(), pass(), pass(), pass(), pass()]
  if (passed !== 5 * times) throw new Error("the check refuses what it should accept")
  return quantile(passes, 0.5)
}

interface Subject {
  readonly name: string
  readonly side: Side
  runs: number
}

const warmUp = (subject: Subject, ms: number): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const took = yield* sample(subject.name, subject.side, subject.runs)
    subject.runs = Math.max(1, Math.min(subject.runs * 10, Math.ceil(subject.runs * ms / took)))
  })

export const measure = (
  cases: ReadonlyArray<Case>,
  chosen: (name: string) => boolean,
  plan: Plan,
  progress: (sentence: string) => void
): Effect.Effect<ReadonlyArray<Row>, unknown> =>
  Effect.gen(function*() {
    if (!cases.some(({ name }) => chosen(name))) return []
    const subjects = cases.map(({ name, ours, other }) => ({
      ours: { name: `${name}, ours`, side: ours, runs: 10 } as Subject,
      other: { name: `${name}, other`, side: other, runs: 10 } as Subject
    }))
    progress(`warming up ${cases.length} cases`)
    for (const { ours, other } of subjects) {
      yield* refuses(ours.name, ours.side)
      yield* refuses(other.name, other.side)
    }
    for (let pass = 0; pass < plan.warmUpPasses; pass++) {
      for (const { ours, other } of subjects) {
        yield* warmUp(ours, plan.warmUpMs)
        yield* warmUp(other, plan.warmUpMs)
      }
    }
    const measured = cases.map((subject, at) => ({ ...subject, ...subjects[at]! }))
      .map((entry) => ({ ...entry, times: { ours: [] as Array<number>, other: [] as Array<number> } }))
      .filter((entry) => chosen(entry.name))
    for (const { ours, other } of measured) {
      for (const subject of [ours, other]) {
        // How many runs a sample needs; twice, since the first answer may be far off.
        yield* warmUp(subject, plan.sampleMs * 1.1)
        yield* warmUp(subject, plan.sampleMs * 1.1)
      }
    }
    for (let round = 0; round < plan.rounds; round++) {
      progress(`round ${round + 1} of ${plan.rounds}`)
      for (const { ours, other, times } of measured) {
        const turns = round % 2 === 0 ? ["ours", "other"] as const : ["other", "ours"] as const
        for (const turn of turns) {
          const { name, runs, side } = turn === "ours" ? ours : other
          times[turn].push((yield* sample(name, side, runs)) * 1000 / runs / (side.units ?? 1))
        }
      }
    }
    return measured.map(({ bar, name, times }): Row => {
      const ratios = times.ours.map((time, at) => time / times.other[at]!)
      return {
        name,
        bar,
        unit: "µs",
        held: "ratio",
        ours: quantile(times.ours, 0.5),
        other: quantile(times.other, 0.5),
        ratio: quantile(ratios, 0.5),
        p10: quantile(ratios, 0.1),
        p90: quantile(ratios, 0.9)
      }
    })
  })
