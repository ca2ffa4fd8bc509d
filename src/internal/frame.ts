/**
 * What one visit of a flow gathers: results, and what its joins wait for. The outermost frame is the trace's own, each
 * visit of a subflow has another; all of it dies with the trace.
 */
import type { Plan, Step } from "./plan.ts"
import type { Walk } from "./walk.ts"
import * as Way from "./way.ts"

/** What one input of a join has received and not yet given: values, and in step with them the ways they came by. */
interface Waiting {
  readonly values: Array<unknown>
  readonly ways: Array<Way.Way>
}

/** What one join of a frame waits with. */
interface Hall {
  readonly inputs: Array<Waiting>
  /** How many of the inputs wait for nothing: a wide join is asked at each arrival. */
  empty: number
}

/** What an egress node gave, and the way by which it was reached. */
export interface Result extends Way.Way {
  readonly egress: number
  readonly value: unknown
}

/** A join that has all it waited for. */
export interface Joined {
  readonly value: unknown
  readonly way: Way.Way
}

export class Frame {
  readonly plan: Plan
  /** The visit that it belongs to; undefined for the trace's own. */
  readonly visit: Walk | undefined
  #visits: Int32Array | undefined
  #results: Array<Result> = []
  #halls: Array<Hall | undefined> | undefined

  constructor(plan: Plan, visit: Walk | undefined) {
    this.plan = plan
    this.visit = visit
  }

  /** Whether what happens in this frame happens within a visit. */
  isWithin(walk: Walk): boolean {
    for (let visit = this.visit; visit !== undefined; visit = visit.frame.visit) if (visit === walk) return true
    return false
  }

  /** Counts an arrival at a node; false once there were more than the flow allows. */
  count(step: Step, maxHops: number): boolean {
    const visits = this.#visits ??= new Int32Array(this.plan.size)
    const at = step.id - this.plan.first
    return ++visits[at]! <= maxHops
  }

  add(egress: number, value: unknown, a: number, b: number): void {
    this.#results.push({ egress, value, a, b })
  }

  /** By the declaration order of the egress nodes, then by arrival. */
  get results(): ReadonlyArray<Result> {
    return this.plan.egress > 1 && this.#results.length > 1
      ? this.#results.toSorted((x, y) => x.egress - y.egress)
      : this.#results
  }

  get values(): ReadonlyArray<unknown> {
    return this.results.map((result) => result.value)
  }

  /** A value arrives at a join: what the join gives, if it was the last that was missing. */
  arrive(step: Step, slot: number, value: unknown, a: number, b: number): Joined | undefined {
    const halls = this.#halls ??= []
    const hall = halls[step.join] ??= makeHall(step.kind === "collect" ? 1 : step.slots.length)
    const input = hall.inputs[slot]!
    input.ways.push({ a, b })
    if (input.values.push(value) === 1) hall.empty--
    return step.kind === "collect" ? collected(step, input) : hall.empty > 0 ? undefined : paired(step, hall)
  }

  /** The first join, in declaration order, that got something and not all. */
  get incomplete(): { readonly step: Step; readonly missing: ReadonlyArray<string> } | undefined {
    if (this.#halls === undefined) return undefined
    for (const step of this.plan.joins) {
      const hall = this.#halls[step.join]
      if (hall === undefined || hall.inputs.every((input) => input.values.length === 0)) continue
      return step.kind === "collect"
        ? {
          step,
          missing: [`${step.definition.count! - hall.inputs[0]!.values.length} of ${step.definition.count} items`]
        }
        : { step, missing: step.slots.filter((_, at) => hall.inputs[at]!.values.length === 0) }
    }
    return undefined
  }
}

const makeHall = (width: number): Hall => {
  const inputs: Array<Waiting> = []
  for (let i = 0; i < width; i++) inputs.push({ values: [], ways: [] })
  return { inputs, empty: width }
}

const collected = (step: Step, input: Waiting): Joined | undefined => {
  const count = step.definition.count!
  return input.values.length < count
    ? undefined
    : { value: input.values.splice(0, count), way: Way.gathered(input.ways.splice(0, count)) }
}

const paired = (step: Step, hall: Hall): Joined => {
  const record: { [input: string]: unknown } = {}
  const { inputs } = hall
  let { a, b } = Way.start
  for (let i = 0; i < inputs.length; i++) {
    const { values, ways } = inputs[i]!
    record[step.slots[i]!] = values.shift()
    const way = ways.shift()!
    a = Way.mixA(Way.mixA(a, way.a), way.b)
    b = Way.mixB(Way.mixB(b, way.b), way.a)
    if (values.length === 0) hall.empty++
  }
  return { value: record, way: { a, b } }
}
