/** The flows that are served, running: a runtime for each, and what is told of it. */
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Any, Flow } from "../../Flow.ts"
import type * as FlowRuntime from "../../FlowRuntime.ts"
import { type EncodePart, encodePartOf } from "../cli/parts.ts"
import { graphOf } from "../graph.ts"
import { recordedWhereKept } from "../observers/running.ts"
import { type Plan, planOf } from "../plan.ts"
import { codecsOf, type FlowCodecs, ingressOf, type JsonSchema, jsonSchemasOf } from "../schemas.ts"

type AnyFlow = Flow<string, unknown, unknown, unknown, unknown, unknown>
type Runtime = FlowRuntime.FlowRuntime<unknown, unknown, unknown, unknown>

/** A flow that is served. */
export interface Running {
  readonly name: string
  readonly flow: AnyFlow
  readonly nodes: ReadonlyArray<{ readonly name: string; readonly kind: string }>
  readonly schemas: { readonly input: JsonSchema | undefined; readonly result: JsonSchema | undefined }
  readonly codecs: FlowCodecs
  readonly encodePart: EncodePart
  readonly isIngress: (node: string) => boolean
  readonly runtime: Runtime
  /** How many traces may be open, those that wait for admission included. */
  readonly mostOpen: number
  /** The flow's services. */
  readonly context: Context.Context<never>
}

/** How flows are run. */
export interface RunningOptions {
  readonly maxInFlight: number
  readonly maxWaiting: number
  readonly interruptGrace: Duration.Input | undefined
}

/** Starts a flow, recorded where there is a store. */
export const start = (flow: Any, options: RunningOptions): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.gen(function*() {
    // What the flow needs is in the context: the layer's type says so.
    const known = flow as unknown as Flow<string, unknown, unknown, unknown, never, unknown>
    const context = yield* Effect.context<never>()
    const bounds = { maxInFlight: options.maxInFlight, interruptGrace: options.interruptGrace }
    const runtime: Runtime = yield* recordedWhereKept(known, bounds)
    const plan = planOf(known)
    const ingress = new Set(ingressOf(graphOf(known)).map(({ name }) => name))
    return {
      name: flow.name,
      flow: known,
      nodes: nodesOf(plan),
      schemas: jsonSchemasOf(known),
      codecs: codecsOf(known),
      encodePart: encodePartOf(plan),
      isIngress: (node) => ingress.has(node) || ingress.has(node.split("/")[0]!),
      runtime,
      mostOpen: options.maxInFlight + options.maxWaiting,
      context
    }
  })

// ----------------------------------------------------------------------------------------------------------- internals

/** The nodes as events name them, those inside of subflows and of `forEach` included. */
const nodesOf = (plan: Plan): Running["nodes"] => {
  const nodes: Array<Running["nodes"][number]> = []
  const plans: Array<Plan> = [plan]
  for (const each of plans) {
    for (const step of each.steps) {
      if (step.kind !== "flow") nodes.push({ name: step.name, kind: step.kind })
      if (step.inner !== undefined) plans.push(step.inner)
    }
  }
  const known = new Set<string>()
  return nodes.filter(({ name }) => !known.has(name) && known.add(name))
}
