/** What a node says of itself in a picture besides its name: what was asked for, in words, a line each. */
import type * as SchemaAST from "effect/SchemaAST"
import { analyze } from "../../FlowAnalysis.ts"
import { retriesOf } from "../analysis/retries.ts"
import type { Definition } from "../definition.ts"
import type { Plan, Step } from "../plan.ts"
import type { Options, ServiceName } from "./options.ts"

export type Says = (step: Step) => ReadonlyArray<string>

/** What the steps of a plan say. */
export const sayingOf = (flow: { readonly name: string }, plan: Plan, options: Options): Says => {
  const says: Array<(step: Step) => string> = []
  if (options.costs === true) says.push(costs(flow))
  if (options.policies === true) says.push(policy(options.costs === true))
  if (options.errors === true) says.push(errors)
  if (options.services !== undefined) says.push(services(plan, options.services))
  return (step) => says.map((say) => say(step)).filter((line) => line !== "")
}

// ----------------------------------------------------------------------------------------------------------- internals

const duration = (ms: number): string => ms < 1000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 100) / 10} s`

const tries = (attempts: number): string =>
  attempts === Infinity ? "tries for ever" : attempts === 1 ? "" : `${attempts} attempts`

const list = (words: ReadonlyArray<string>): string => words.filter((word) => word !== "").join(", ")

const costs = (flow: { readonly name: string }) => {
  const known = new Map(analyze(flow as Parameters<typeof analyze>[0]).nodes.map((cost) => [cost.node, cost]))
  return (step: Step): string => {
    const cost = known.get(step.name)
    if (cost === undefined || step.kind === "router" || step.join >= 0) return ""
    return list([
      tries(cost.maxAttempts),
      cost.worstCaseMs === Infinity ? "no bound" : `at most ${duration(cost.worstCaseMs)}`
    ])
  }
}

const policy = (triesAreSaid: boolean) => (step: Step): string => {
  const validate = step.definition.policy?.validate ?? "both"
  const item = step.kind === "each" ? policy(false)(step.inner!.steps[0]!) : ""
  return list([
    // Attempts do not depend on how long each takes.
    step.retry === undefined || triesAreSaid ? "" : tries(retriesOf(step.retry, Infinity).attempts),
    step.retry !== undefined && step.retryWhile !== undefined ? "retries some errors only" : "",
    step.timeout > 0 ? `timeout ${duration(step.timeout)}` : "",
    step.concurrency === undefined ? "" : `${step.concurrency} at once`,
    step.kind === "each" ? `${step.definition.concurrency} items at once` : "",
    step.budget === undefined ? "" : `budget ${step.budget}`,
    validate === "both" ? "" : validate === "none" ? "not validated" : `validates ${validate} only`,
    item === "" ? "" : `each item: ${item}`
  ])
}

const services = (plan: Plan, given: { readonly [node: string]: ReadonlyArray<ServiceName> }) => {
  const names = new Set(namesIn(plan))
  for (const name of Object.keys(given)) {
    if (!names.has(name)) {
      throw new RangeError(`\`services\` names the node "${name}", which the flow "${plan.name}" does not have`)
    }
  }
  return (step: Step): string => {
    const own = Object.hasOwn(given, step.name) ? given[step.name]! : []
    return own.length === 0
      ? ""
      : `needs ${list(own.map((service) => typeof service === "string" ? service : service.key))}`
  }
}

const namesIn = (plan: Plan): ReadonlyArray<string> =>
  plan.steps.flatMap((step) => step.inner === undefined ? [step.name] : [step.name, ...namesIn(step.inner)])

const errors = (step: Step): string => {
  const tags = [...new Set(tagsOf(errorOf(step.definition)))]
  return tags.length === 0 ? "" : `fails with ${list(tags)}`
}

const errorOf = (definition: Definition): SchemaAST.AST | undefined =>
  definition.kind === "each" ? errorOf(definition.item!) : definition.error?.ast

/** The `_tag`s of a schema: of a struct, a class, or a union of them. */
const tagsOf = (ast: SchemaAST.AST | undefined): ReadonlyArray<string> => {
  switch (ast?._tag) {
    case "Union":
      return ast.types.flatMap(tagsOf)
    case "Declaration":
      return ast.typeParameters.flatMap(tagsOf)
    case "Suspend":
      return tagsOf(ast.thunk())
    case "Objects":
      return ast.propertySignatures.flatMap(({ name, type }) =>
        name === "_tag" && type._tag === "Literal" ? [String(type.literal)] : []
      )
    default:
      return []
  }
}
