/** The parts of a plan that no edge connects. */
import type { Plan, Step } from "../plan.ts"

export const partsOf = (plan: Plan): ReadonlyArray<ReadonlyArray<Step>> => {
  const neighbours = new Map<Step, Array<Step>>(plan.steps.map((step) => [step, []]))
  for (const step of plan.steps) {
    for (const { step: next } of [...step.targets, ...[...step.cases.values()].flat()]) {
      neighbours.get(step)!.push(next)
      neighbours.get(next)!.push(step)
    }
  }
  const seen = new Set<Step>()
  const parts: Array<ReadonlyArray<Step>> = []
  for (const start of plan.steps) {
    if (seen.has(start)) continue
    seen.add(start)
    const part = [start]
    for (let at = 0; at < part.length; at++) {
      for (const next of neighbours.get(part[at]!)!) {
        if (seen.has(next)) continue
        seen.add(next)
        part.push(next)
      }
    }
    parts.push(part)
  }
  return parts
}
