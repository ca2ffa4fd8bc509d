/** A flow as a picture without places: what is drawn, in declaration order, whatever it is drawn as. */
import type { Kind } from "../definition.ts"
import { type Plan, planOf, type Step, type Target } from "../plan.ts"
import { sayingOf, type Says } from "./details.ts"
import type { Options } from "./options.ts"

/** A node, or a subflow's frame, and what it says of itself. */
export interface Words {
  /** As events name it: `inner/node` in a subflow. */
  readonly name: string
  /** Its own name: inside the frame of its subflow the way to it is plain. */
  readonly label: string
  /** What was asked for, a line each. */
  readonly details: ReadonlyArray<string>
  readonly description: string | undefined
}

export interface Shape extends Words {
  /** Tells it from all others of the picture, inner ones included. */
  readonly id: number
  readonly kind: Exclude<Kind, "flow">
  /** Messages enter here. */
  readonly ingress: boolean
  /** Results leave here. */
  readonly egress: boolean
}

/** A subflow, or what a `forEach` does with one item where that is a flow. */
export interface Frame extends Words, Box {
  readonly id: number
}

export interface Box {
  readonly nodes: ReadonlyArray<Shape>
  readonly frames: ReadonlyArray<Frame>
}

export interface Arrow {
  readonly from: Step
  readonly to: Step
  /** The router's case, and the join's input. */
  readonly label: string | undefined
}

export interface Picture {
  readonly name: string
  readonly description: string | undefined
  readonly box: Box
  readonly arrows: ReadonlyArray<Arrow>
}

/** The picture of a flow. Throws where an option names a node that the flow does not have. */
export const pictureOf = (flow: { readonly name: string }, options: Options = {}): Picture => {
  const plan = planOf(flow)
  const { arrows, box } = draw(plan, sayingOf(flow, plan, options), true, true)
  return { name: plan.name, description: descriptionOf(flow), box, arrows }
}

/** All nodes of a picture, those of the frames after those around them. */
export const nodesOf = (box: Box): ReadonlyArray<Shape> => [...box.nodes, ...box.frames.flatMap(nodesOf)]

/** All frames of a picture, each before those in it. */
export const framesOf = (box: Box): ReadonlyArray<Frame> => box.frames.flatMap((frame) => [frame, ...framesOf(frame)])

/** Whether something inside of it is to be drawn: the plan of a subflow, also of one that runs for each item. */
export const insideOf = (step: Step): Plan | undefined => {
  let item = step
  while (item.kind === "each" && item.inner?.steps[0] !== undefined) item = item.inner.steps[0]
  return item.kind === "flow" ? item.inner : undefined
}

// ----------------------------------------------------------------------------------------------------------- internals

const descriptionOf = (flow: object): string | undefined =>
  "options" in flow && typeof flow.options === "object" && flow.options !== null && "description" in flow.options &&
    typeof flow.options.description === "string"
    ? flow.options.description
    : undefined

/** Where edges into a step end: at the ingress nodes of a subflow. */
const entries = (step: Step): ReadonlyArray<Step> =>
  insideOf(step)?.ingress.flatMap((target) => entries(target.step)) ?? [step]

/** Where edges out of a step begin: at the egress nodes of a subflow. */
const exits = (step: Step): ReadonlyArray<Step> =>
  insideOf(step)?.steps.filter((inner) => inner.egress >= 0).flatMap(exits) ?? [step]

const arrowsFrom = (step: Step, targets: ReadonlyArray<Target>, on: string | undefined): ReadonlyArray<Arrow> =>
  targets.flatMap(({ slot, step: target }) => {
    const input = target.kind === "join" ? target.slots[slot] : undefined
    const words = [on, input].filter((word) => word !== undefined)
    const label = words.length === 0 ? undefined : words.join(" → ")
    return exits(step).flatMap((from) => entries(target).map((to) => ({ from, to, label })))
  })

const nameOf = (step: Step): string => step.kind === "each" ? `${step.definition.name} × each` : step.definition.name

const draw = (plan: Plan, says: Says, outerIngress: boolean, outerEgress: boolean): Pick<Picture, "box" | "arrows"> => {
  const ingress = new Set(plan.ingress.map((target) => target.step))
  const nodes: Array<Shape> = []
  const frames: Array<Frame> = []
  const arrows: Array<Arrow> = []
  const innerArrows: Array<Arrow> = []
  for (const step of plan.steps) {
    const marks = { ingress: outerIngress && ingress.has(step), egress: outerEgress && step.egress >= 0 }
    const words: Words = {
      name: step.name,
      label: nameOf(step),
      details: says(step),
      description: step.definition.description
    }
    const inside = insideOf(step)
    if (inside === undefined) {
      nodes.push({ ...words, ...marks, id: step.id, kind: step.kind as Shape["kind"] })
      if (step.kind === "loop") {
        arrows.push({ from: step, to: step, label: `again, at most ${step.definition.maxHops} hops` })
      }
    } else {
      const inner = draw(inside, says, marks.ingress, marks.egress)
      frames.push({ ...words, ...inner.box, id: step.id })
      innerArrows.push(...inner.arrows)
    }
    arrows.push(
      ...arrowsFrom(step, step.targets, undefined),
      ...[...step.cases].flatMap(([on, targets]) => arrowsFrom(step, targets, on))
    )
  }
  return { box: { nodes, frames }, arrows: [...arrows, ...innerArrows] }
}
