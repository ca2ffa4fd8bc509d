/** The parts of a flow's streams, encoded as results are. */
import type * as Exit from "effect/Exit"
import { NodeImpl } from "../definition.ts"
import { FlowImpl } from "../graph.ts"
import type { Plan } from "../plan.ts"
import { codecsOf, type FlowCodecs } from "../schemas.ts"

/** Encodes a part that the node of this name has sent. Words that never hold the value where it can't be. */
export type EncodePart = (node: string, part: unknown) => Exit.Exit<unknown, string>

/** The encoders of a plan's parts; a node's is made when its first part comes. */
export const encodePartOf = (plan: Plan): EncodePart => {
  const codecs = partCodecsOf(plan)
  return (node, part) => codecs(node).encodeResult(part)
}

/** The decoders, likewise: of what the encoders gave. */
export const decodePartOf = (plan: Plan): EncodePart => {
  const codecs = partCodecsOf(plan)
  return (node, encoded) => codecs(node).decodeResult(encoded)
}

const partCodecsOf = (plan: Plan): (node: string) => FlowCodecs => {
  const known = new Map<string, FlowCodecs>()
  return (node) => {
    let codecs = known.get(node)
    if (codecs === undefined) {
      const output = stepOf(plan, node)?.definition.part
      // A part is to a stream what a result is to a flow: the codec is that of a flow that gives it.
      const only = new NodeImpl({ kind: "task", name: "part", output })
      codecs = codecsOf(new FlowImpl("parts", [only.to()], {}))
      known.set(node, codecs)
    }
    return codecs
  }
}

const stepOf = (plan: Plan, node: string): Plan["steps"][number] | undefined => {
  const plans = [plan]
  for (const each of plans) {
    for (const step of each.steps) {
      if (step.name === node && step.definition.part !== undefined) return step
      if (step.inner !== undefined) plans.push(step.inner)
    }
  }
  return undefined
}
