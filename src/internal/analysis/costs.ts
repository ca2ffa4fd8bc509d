/** What the nodes of a plan may cost at worst, which way through it is the slowest, and what leaves it without a bound. */
import type { FlowAnalysis } from "../../FlowAnalysis.ts"
import type { Plan, Step } from "../plan.ts"
import { retriesOf } from "./retries.ts"

/** What the nodes of a plan and its slowest way may cost. */
export interface Costs extends FlowAnalysis {
  /** Nodes on the slowest way that nothing bounds because they have no timeout; of a subflow, those inside of it. */
  readonly untimed: ReadonlyArray<string>
  /** Nodes on the slowest way whose attempts end, and whose retries do not. */
  readonly endless: ReadonlyArray<string>
}

/** Milliseconds that a node takes which waits for nothing: nothing bounds it, and nothing outside makes it wait. */
export interface Assumed {
  readonly pureTakes: number
}

/** Whether it is pure, is tried once and has no timeout: it touches nothing outside, and so waits for nothing. */
export const waitsForNothing = (step: Step): boolean =>
  step.definition.rerun === "pure" && step.retry === undefined && step.timeout === 0

/** What a plan may cost when one value enters. */
export const costsOf = (plan: Plan, assumed: Assumed): Costs => analyzePlan(plan, 1, assumed)

type Cost = FlowAnalysis["nodes"][number]

/** 0 × Infinity is 0 here: what never runs takes no time. */
const times = (n: number, ms: number): number => n === 0 || ms === 0 ? 0 : n * ms

interface StepCosts {
  readonly own: Cost
  readonly inner: ReadonlyArray<Cost>
  readonly untimed: ReadonlyArray<string>
  readonly endless: ReadonlyArray<string>
}

const none: ReadonlyArray<never> = []

const costOf = (step: Step, visits: number, maxHops: number, assumed: Assumed): StepCosts => {
  const own = { node: step.name, maxAttempts: 1, worstCaseMs: 0, maxVisits: visits }
  if (step.kind === "router" || step.kind === "join" || step.kind === "collect") {
    return { own, inner: none, untimed: none, endless: none }
  }
  const inner = step.inner === undefined ? undefined : analyzePlan(step.inner, visits, assumed)
  // How many items a forEach gets is not in the definition.
  const insideMs = inner === undefined
    ? waitsForNothing(step) ? assumed.pureTakes : Infinity
    : step.kind === "each"
    ? times(Infinity, inner.worstCaseMs)
    : inner.worstCaseMs
  const attemptMs = step.timeout > 0 ? Math.min(step.timeout, insideMs) : insideMs
  const { attempts, totalMs } = step.retry === undefined
    ? { attempts: 1, totalMs: attemptMs }
    : retriesOf(step.retry, attemptMs)
  const hops = step.kind === "loop" ? step.definition.maxHops! : 1
  const open = attemptMs === Infinity
  return {
    own: { ...own, maxAttempts: attempts, worstCaseMs: times(maxHops * hops, totalMs) },
    inner: step.kind === "flow" ? inner!.nodes : none,
    untimed: !open ? none : step.kind === "flow" ? inner!.untimed : [step.name],
    endless: open ? (step.kind === "flow" ? inner!.endless : none) : totalMs === Infinity ? [step.name] : none
  }
}

/** The sum of a way, endless nodes counted apart: of two endless ways the one with more of them is slower. */
interface Length {
  readonly endless: number
  readonly ms: number
}
const longer = (a: Length, b: Length): boolean => a.endless > b.endless || a.endless === b.endless && a.ms > b.ms

const analyzePlan = (plan: Plan, entering: number, assumed: Assumed): Costs => {
  const visits = visitsOf(plan, entering)
  const costs = new Map(plan.steps.map((step) => [step, costOf(step, visits.get(step)!, plan.maxHops ?? 1, assumed)]))
  const nodes = [...costs.values()].flatMap(({ inner, own }) => [own, ...inner])
  const msOf = (step: Step): number => costs.get(step)!.own.worstCaseMs
  if (plan.maxHops !== undefined) {
    // In a cycle every node may be on the way, each as often as it may be visited.
    const worstCaseMs = plan.steps.reduce((sum, step) => sum + msOf(step), 0)
    return { nodes, worstCaseMs, ...wayOf(plan.steps, costs) }
  }
  const best = new Map<Step, { readonly length: Length; readonly before: Step | undefined }>()
  let end: Step | undefined
  for (const step of inOrder(plan)) {
    const so = best.get(step)
    const ms = msOf(step)
    const length: Length = {
      endless: (so?.length.endless ?? 0) + (ms === Infinity ? 1 : 0),
      ms: (so?.length.ms ?? 0) + (ms === Infinity ? 0 : ms)
    }
    best.set(step, { length, before: so?.before })
    // What costs nothing at the end of the slowest way is still part of it.
    if (end === undefined || longer(length, best.get(end)!.length) || so?.before === end) end = step
    for (const next of successorsOf(step)) {
      const known = best.get(next)
      if (known === undefined || longer(length, known.length)) best.set(next, { length, before: step })
    }
  }
  const way: Array<Step> = []
  for (let step = end; step !== undefined; step = best.get(step)!.before) way.unshift(step)
  const length = end === undefined ? { endless: 0, ms: 0 } : best.get(end)!.length
  return { nodes, worstCaseMs: length.endless > 0 ? Infinity : length.ms, ...wayOf(way, costs) }
}

const wayOf = (way: ReadonlyArray<Step>, costs: ReadonlyMap<Step, StepCosts>) => ({
  slowestWay: way.map((step) => step.name),
  untimed: way.flatMap((step) => costs.get(step)!.untimed),
  endless: way.flatMap((step) => costs.get(step)!.endless)
})

/** How many values may reach each step when so many enter: the number of ways to it. A join makes one of several. */
const visitsOf = (plan: Plan, entering: number): ReadonlyMap<Step, number> => {
  if (plan.maxHops !== undefined) return new Map(plan.steps.map((step) => [step, times(entering, plan.maxHops!)]))
  const arriving = new Map<Step, Map<number, number>>()
  const visits = new Map<Step, number>()
  const arrive = (step: Step, slot: number, values: number): void => {
    const slots = arriving.get(step) ?? new Map<number, number>()
    slots.set(slot, (slots.get(slot) ?? 0) + values)
    arriving.set(step, slots)
  }
  for (const target of plan.ingress) arrive(target.step, target.slot, entering)
  for (const step of inOrder(plan)) {
    const slots = [...(arriving.get(step) ?? new Map<number, number>()).values()]
    const here = step.kind === "join"
      ? Math.max(0, ...slots)
      : step.kind === "collect"
      ? slots.reduce((a, b) => a + b, 0) / (step.definition.count ?? 1)
      : slots.reduce((a, b) => a + b, 0)
    const count = Math.ceil(here)
    visits.set(step, count)
    const leaving = step.kind === "flow" ? leavingOf(step.inner!, count) : count
    for (const target of step.targets) arrive(target.step, target.slot, leaving)
    // A router may choose every case.
    for (const target of [...step.cases.values()].flat()) arrive(target.step, target.slot, leaving)
  }
  return visits
}

/** How many results an inner flow gives at most. */
const leavingOf = (plan: Plan, entering: number): number => {
  const visits = visitsOf(plan, entering)
  return plan.steps.reduce(
    (sum, step) =>
      step.egress < 0
        ? sum
        : sum + (step.kind === "flow" ? leavingOf(step.inner!, visits.get(step)!) : visits.get(step)!),
    0
  )
}

/** Where a step's values may go on; every case of a router. */
export const successorsOf = (step: Step): ReadonlyArray<Step> =>
  [...step.targets, ...[...step.cases.values()].flat()].map((target) => target.step)

/** The steps of a plan without cycles, each after all that lead to it. */
export const inOrder = (plan: Plan): ReadonlyArray<Step> => {
  const open = new Map(plan.steps.map((step) => [step, 0]))
  for (const step of plan.steps) {
    for (const next of successorsOf(step)) open.set(next, open.get(next)! + 1)
  }
  const ordered = plan.steps.filter((step) => open.get(step) === 0)
  for (let at = 0; at < ordered.length; at++) {
    for (const next of successorsOf(ordered[at]!)) {
      const left = open.get(next)! - 1
      open.set(next, left)
      if (left === 0) ordered.push(next)
    }
  }
  return ordered
}
