/**
 * What one visit of a flow gathers: results, and what its joins wait for. The outermost frame is the trace's own, each
 * visit of a subflow has another; all of it dies with the trace.
 */
import type { Plan, Step } from "./plan.ts"
import * as Way from "./way.ts"

/** A value that waits at a join, and the way by which it came. */
interface Waiting {
  readonly value: unknown
  readonly way: Way.Way
}

/** What one join of a frame waits with. */
interface Hall {
  readonly queues: ReadonlyArray<Array<Waiting>>
  /** How many of the queues are empty: a wide join is asked at each arrival. */
  empty: number
}

/** A join that has all it waited for. */
export interface Joined {
  readonly value: unknown
  readonly way: Way.Way
}

export class Frame {
  readonly plan: Plan
  #values: Array<unknown> = []
  #egress: Array<number> | undefined
  #halls: Array<Hall | undefined> | undefined

  constructor(plan: Plan) {
    this.plan = plan
  }

  add(egress: number, value: unknown): void {
    this.#values.push(value)
    if (this.plan.egress > 1) (this.#egress ??= []).push(egress)
  }

  /** By the declaration order of the egress nodes, then by arrival. */
  get results(): ReadonlyArray<unknown> {
    const egress = this.#egress
    if (egress === undefined || this.#values.length < 2) return this.#values
    return this.#values
      .map((value, index) => ({ value, index, egress: egress[index]! }))
      .sort((x, y) => x.egress - y.egress || x.index - y.index)
      .map(({ value }) => value)
  }

  /** A value arrives at a join: what the join gives, if it was the last that was missing. */
  arrive(step: Step, slot: number, value: unknown, a: number, b: number): Joined | undefined {
    const halls = this.#halls ??= []
    const hall = halls[step.join] ??= makeHall(step.kind === "collect" ? 1 : step.slots.length)
    const queue = hall.queues[slot]!
    if (queue.push({ value, way: { a, b } }) === 1) hall.empty--
    return step.kind === "collect" ? collected(step, queue) : hall.empty > 0 ? undefined : paired(step, hall)
  }

  /** The first join, in declaration order, that got something and not all. */
  get incomplete(): { readonly step: Step; readonly missing: ReadonlyArray<string> } | undefined {
    if (this.#halls === undefined) return undefined
    for (const step of this.plan.joins) {
      const hall = this.#halls[step.join]
      if (hall === undefined || hall.queues.every((queue) => queue.length === 0)) continue
      return step.kind === "collect"
        ? { step, missing: [`${step.definition.count! - hall.queues[0]!.length} of ${step.definition.count} items`] }
        : { step, missing: step.slots.filter((_, at) => hall.queues[at]!.length === 0) }
    }
    return undefined
  }
}

const makeHall = (width: number): Hall => ({ queues: Array.from({ length: width }, () => []), empty: width })

const collected = (step: Step, queue: Array<Waiting>): Joined | undefined => {
  const count = step.definition.count!
  if (queue.length < count) return undefined
  const items = queue.splice(0, count)
  return { value: items.map((item) => item.value), way: Way.gathered(items.map((item) => item.way)) }
}

const paired = (step: Step, hall: Hall): Joined => {
  const record: { [input: string]: unknown } = {}
  const ways: Array<Way.Way> = []
  step.slots.forEach((input, at) => {
    const queue = hall.queues[at]!
    const item = queue.shift()!
    if (queue.length === 0) hall.empty++
    ways.push(item.way)
    record[input] = item.value
  })
  return { value: record, way: Way.joined(ways) }
}
