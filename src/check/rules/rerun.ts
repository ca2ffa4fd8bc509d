/** What must not be in a node that may run again. */
import type { Found } from "../finding.ts"
import { calleeOf, type Made, type Module, policyHas, visitRun } from "../module.ts"
import { bare, isFunction, type Node, pathOf, walk } from "../syntax.ts"

/** Why nodes may run again, by the variables that hold them. */
export interface Again {
  /** Nodes that hold a policy with a retry, are given one, or stand in a flow that a worker or a durable flow runs. */
  readonly reasonOf: (made: Made) => string | undefined
  readonly isDurable: (made: Made) => boolean
}

/** What a piece of source refers to: names that occur in it, and the pieces themselves that such names stand for. */
interface Held {
  readonly names: Set<string>
  readonly pieces: Set<Node>
}

/** Every name that occurs below a node, but not inside of functions. */
const namesBelow = (module: Module, root: Node): ReadonlySet<string> => {
  const names = new Set<string>()
  walk(module.parser, root, (node) => {
    if (isFunction(node)) return false
    if (node.type === "Identifier") names.add(node.name)
  })
  return names
}

/** Reads who runs which flow, from the flows that this module makes and hands on. */
export const againIn = (module: Module): Again => {
  const durable: Held = { names: new Set(), pieces: new Set() }
  const worked: Held = { names: new Set(), pieces: new Set() }
  const retried: Held = { names: new Set(), pieces: new Set() }
  /** What variables hold flows, or nodes that are made of others. */
  const values = new Map<string, Node>()
  walk(module.parser, module.program, (node) => {
    if (node.type !== "VariableDeclarator" || node.id.type !== "Identifier" || node.init === null) return
    const callee = calleeOf(module, bare(node.init)) ?? ""
    if (callee === "Flow.make" || /^Node\.(?!make$|stream$)/.test(callee)) values.set(node.id.name, node.init)
  })
  const hold = (held: Held, root: Node): void => {
    if (held.pieces.has(root)) return
    held.pieces.add(root)
    for (const name of namesBelow(module, root)) {
      held.names.add(name)
      const value = values.get(name)
      if (value !== undefined) hold(held, value)
    }
  }
  walk(module.parser, module.program, (node) => {
    if (node.type !== "CallExpression") return
    const callee = calleeOf(module, node) ?? ""
    const target = callee.startsWith("DurableFlow.") ? durable : callee.startsWith("Worker.") ? worked : undefined
    if (target !== undefined) { for (const argument of node.arguments) hold(target, argument) }
    if (callee === "Node.withPolicy") {
      const [given, policy] = node.arguments
      if (given !== undefined && policy !== undefined && policyHas(module, policy, "retry")) hold(retried, given)
    }
  })
  const isIn = (made: Made, { names, pieces }: Held) =>
    made.variable === undefined
      ? [...pieces].some(({ end, start }) => start <= made.at && made.at < end)
      : names.has(made.variable)
  return {
    isDurable: (made) => isIn(made, durable),
    reasonOf: (made) =>
      made.policy !== undefined && policyHas(module, made.policy, "retry") || isIn(made, retried)
        ? "is retried"
        : isIn(made, durable)
        ? "is part of a durable flow"
        : isIn(made, worked)
        ? "is run by a worker"
        : undefined
  }
}

const inserts = /\binsert\s+(?:into|or\s+(?:rollback|abort|fail)\s+into)\b/i
const idempotent =
  /\bon\s+conflict\b|\bon\s+duplicate\s+key\b|\binsert\s+or\s+(?:ignore|replace)\b|\binsert\s+ignore\b|\bwhere\s+not\s+exists\b|\bmerge\s+into\b/i

/** The text of a literal, what is interpolated as its names. */
const textOf = (node: Node): string | undefined => {
  if (node.type === "Literal") return typeof node.value === "string" ? node.value : undefined
  if (node.type === "TemplateLiteral") {
    return node.quasis.map((quasi, at) => {
      const inserted = node.expressions[at]
      const name = inserted === undefined ? "" : pathOf(inserted)?.at(-1) ?? "?"
      // A clause of its own, named for what it says.
      return `${quasi.value.cooked ?? quasi.value.raw} ${/onconflict/i.test(name) ? "ON CONFLICT" : "?"} `
    }).join("")
  }
  if (node.type !== "BinaryExpression" || node.operator !== "+") return undefined
  const [left, right] = [textOf(bare(node.left)), textOf(bare(node.right))]
  return left === undefined && right === undefined ? undefined : `${left ?? "?"}${right ?? "?"}`
}

/** An INSERT that a second run would do a second time. */
export const insertNotIdempotent = (module: Module, made: Made, reason: string): ReadonlyArray<Found> => {
  const found: Array<Found> = []
  visitRun(module, made.bodies, (node, parent) => {
    // Of texts that are put together only the whole tells.
    if (parent?.type === "BinaryExpression" && parent.operator === "+") return
    const text = textOf(node)
    if (text === undefined || !inserts.test(text) || idempotent.test(text)) return
    found.push({
      rule: "insert-not-idempotent",
      at: node.start,
      message:
        `Node "${made.name}" ${reason} and inserts without ON CONFLICT: a second run inserts a second time, or fails`,
      fix:
        "Write under a key that is the same in each run, `context.idempotencyKey` for one, and add `ON CONFLICT (…) DO NOTHING`"
    })
  })
  return found
}

const chance = new Map([
  ["process.env", "the environment"],
  ["Date.now", "the clock"],
  ["Math.random", "chance"],
  ["performance.now", "the clock"],
  ["crypto.randomUUID", "chance"],
  ["globalThis.crypto.randomUUID", "chance"],
  ["randomUUID", "chance"],
  ["process.hrtime", "the clock"]
])

/** What answers otherwise when a durable flow runs a node again. */
export const durableNondeterminism = (module: Module, made: Made): ReadonlyArray<Found> => {
  const found: Array<Found> = []
  const tell = (at: number, what: string, source: string) =>
    found.push({
      rule: "durable-nondeterminism",
      at,
      message:
        `Node "${made.name}" is part of a durable flow and asks ${source} (${what}): run again, it gets another answer`,
      fix:
        "Ask the services Clock, Random and Config, or take the value from the input: what the caller chose is stored"
    })
  visitRun(module, made.bodies, (node, parent, isLocal) => {
    if (node.type === "NewExpression") {
      if (pathOf(node.callee)?.join(".") === "Date" && node.arguments.length === 0) {
        tell(node.start, "new Date()", "the clock")
      }
      return
    }
    if (node.type !== "MemberExpression" && node.type !== "Identifier") return
    const path = pathOf(node)
    if (path === undefined || isLocal(path[0]!)) return
    const name = path.join(".")
    const source = chance.get(name)
    if (source === undefined) return
    if (name === "randomUUID" && !/crypto/.test(module.imports.get(name)?.source ?? "")) return
    if (node.type === "Identifier" && parent?.type === "MemberExpression") return
    tell(node.start, name, source)
  })
  return found
}
