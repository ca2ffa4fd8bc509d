/**
 * A flow as text, for terminals of any width: chains as far as they go without a choice, what branches one below the
 * other, and a node that several edges lead to once, at the left.
 */
import type { Plan, Step, Target } from "../plan.ts"
import { fit, oneLine } from "./text.ts"

/** The lines of a flow. Linear in its size, whatever its shape; what does not fit is cut. */
export const draw = (plan: Plan, columns: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  const plans: Array<Plan> = [plan]
  for (const each of plans) {
    if (lines.length > 0) lines.push("")
    lines.push(each === plan ? oneLine(each.name) : `inside of ${oneLine(each.name)}`)
    lines.push(...drawPlan(each))
    for (const step of each.steps) {
      const inner = innerOf(step)
      if (inner !== undefined) plans.push({ ...inner, name: step.name })
    }
  }
  return lines.map((line) => fit(line, columns))
}

// ----------------------------------------------------------------------------------------------------------- internals

/** The flow that a node is, or that it runs for each item. */
const innerOf = (step: Step): Plan | undefined => {
  let each = step
  while (each.kind === "each" && each.inner?.steps[0] !== undefined) each = each.inner.steps[0]
  return each.kind === "flow" ? each.inner : undefined
}

interface Arrow {
  readonly target: Target
  /** The router's case. */
  readonly on: string | undefined
}

const arrowsOf = (step: Step): ReadonlyArray<Arrow> => [
  ...step.targets.map((target) => ({ target, on: undefined })),
  ...[...step.cases].flatMap(([on, targets]) => targets.map((target) => ({ target, on })))
]

/** Branches inside of branches are drawn so deep; deeper ones begin at the left again. */
const deepest = 6

/** A line of text may become so long before it goes on at the left. */
const widest = 60

const mark = (step: Step): string => {
  const { definition } = step
  switch (step.kind) {
    case "router":
      return " (router)"
    case "join":
      return " (join)"
    case "collect":
      return ` (collects ${definition.count})`
    case "loop":
      return ` (at most ${definition.maxHops} hops)`
    case "each":
      return " (for each)"
    case "flow":
      return " (flow)"
    case "task":
      return ""
  }
}

const nameOf = (step: Step): string => oneLine(step.definition.name)

const drawPlan = (plan: Plan): ReadonlyArray<string> => {
  const arrivals = new Map<Step, number>()
  for (const step of plan.steps) {
    for (const { target } of arrowsOf(step)) arrivals.set(target.step, (arrivals.get(target.step) ?? 0) + 1)
  }
  const heads = new Set<Step>(plan.ingress.map(({ step }) => step))
  for (const step of plan.steps) if ((arrivals.get(step) ?? 0) > 1) heads.add(step)
  const lines: Array<string> = []
  const drawn = new Set<Step>()

  const reference = ({ slot, step }: Target): string =>
    `▶ ${nameOf(step)}${step.kind === "join" ? `.${oneLine(step.slots[slot] ?? "")}` : ""}`
  const label = (on: string | undefined): string => on === undefined ? "" : `[${oneLine(on)}] `

  /** From a node on, below `prefix`. Deeper than `deepest` nothing calls itself. */
  const chain = (start: Step, first: string, prefix: string, depth: number): void => {
    let text = first
    let step = start
    while (true) {
      drawn.add(step)
      text += nameOf(step) + mark(step)
      const arrows = arrowsOf(step)
      const [only] = arrows
      if (only === undefined) {
        lines.push(`${text} ■`)
        return
      }
      if (arrows.length > 1 || only.on !== undefined) {
        lines.push(text)
        arrows.forEach((arrow, at) => branch(arrow, prefix, at === arrows.length - 1, depth))
        return
      }
      const { target } = only
      if (heads.has(target.step) || drawn.has(target.step)) {
        lines.push(`${text} ─${reference(target)}`)
        return
      }
      if (text.length > widest) {
        lines.push(`${text} ──`)
        text = `${prefix}  `
      } else text += " ── "
      step = target.step
    }
  }
  const branch = ({ on, target }: Arrow, prefix: string, last: boolean, depth: number): void => {
    const stem = `${prefix}${last ? "└" : "├"}─`
    const { step } = target
    if (depth >= deepest && !drawn.has(step)) heads.add(step)
    if (heads.has(step) || drawn.has(step)) {
      lines.push(`${stem}${on === undefined ? "" : ` ${label(on)}`}${reference(target)}`)
    } else chain(step, `${stem} ${label(on)}`, `${prefix}${last ? "   " : "│  "}`, depth + 1)
  }

  // Grows while it is walked: what lies too deep becomes a head of its own.
  for (const head of heads) if (!drawn.has(head)) chain(head, "", "", 0)
  return lines
}
