/**
 * What one visit of a flow gathers: results, and what its joins wait for. The outermost frame is the trace's own, each
 * visit of a subflow has another; all of it dies with the trace.
 */
import type { Plan, Step } from "./plan.ts"
import type { Walk } from "./walk.ts"
import * as Way from "./way.ts"

/** What one input of a join has received, in order; the first `given` have been paired already. */
class Waiting {
  #values: Array<unknown> = []
  #ways: Array<Way.Way> = []
  #given = 0

  get length(): number {
    return this.#values.length - this.#given
  }

  push(value: unknown, way: Way.Way): void {
    this.#values.push(value)
    this.#ways.push(way)
  }

  get value(): unknown {
    return this.#values[this.#given]
  }

  get way(): Way.Way {
    return this.#ways[this.#given]!
  }

  /** Gives the first and lets go of it. What has been given is cut off in large pieces: one input may run far ahead. */
  shift(): void {
    this.#values[this.#given] = undefined
    if (++this.#given < 1024 && this.#given < this.#values.length) return
    this.#values = this.#values.slice(this.#given)
    this.#ways = this.#ways.slice(this.#given)
    this.#given = 0
  }

  /** Gives all there is. */
  take(): { readonly values: ReadonlyArray<unknown>; readonly ways: ReadonlyArray<Way.Way> } {
    const taken = { values: this.#values, ways: this.#ways }
    this.#values = []
    this.#ways = []
    return taken
  }
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
    if (input.length === 0) hall.empty--
    input.push(value, { a, b })
    return step.kind === "collect" ? collected(step, input) : hall.empty > 0 ? undefined : paired(step, hall)
  }

  /** The first join, in declaration order, that got something and not all. */
  get incomplete(): { readonly step: Step; readonly missing: ReadonlyArray<string> } | undefined {
    if (this.#halls === undefined) return undefined
    for (const step of this.plan.joins) {
      const hall = this.#halls[step.join]
      if (hall === undefined || hall.inputs.every((input) => input.length === 0)) continue
      return step.kind === "collect"
        ? {
          step,
          missing: [`${step.definition.count! - hall.inputs[0]!.length} of ${step.definition.count} items`]
        }
        : { step, missing: step.slots.filter((_, at) => hall.inputs[at]!.length === 0) }
    }
    return undefined
  }
}

const makeHall = (width: number): Hall => {
  const inputs: Array<Waiting> = []
  for (let i = 0; i < width; i++) inputs.push(new Waiting())
  return { inputs, empty: width }
}

const collected = (step: Step, input: Waiting): Joined | undefined => {
  if (input.length < step.definition.count!) return undefined
  const { values, ways } = input.take()
  return { value: values, way: Way.gathered(ways) }
}

const paired = (step: Step, hall: Hall): Joined => {
  const record: { [input: string]: unknown } = {}
  const { inputs } = hall
  let { a, b } = Way.start
  for (let i = 0; i < inputs.length; i++) {
    const input = inputs[i]!
    const { way } = input
    record[step.slots[i]!] = input.value
    input.shift()
    a = Way.mixA(Way.mixA(a, way.a), way.b)
    b = Way.mixB(Way.mixB(b, way.b), way.a)
    if (input.length === 0) hall.empty++
  }
  return { value: record, way: { a, b } }
}
