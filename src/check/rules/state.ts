/** What a node reaches outside of itself: clients it makes, and state of its module. */
import type { Found } from "../finding.ts"
import { isReference, type Made, type Module, topOf, visitRun } from "../module.ts"
import { bare, type Node, pathOf } from "../syntax.ts"
import { clientOf } from "./clients.ts"

/** A client that is made inside of what a node runs. */
export const clientInRun = (module: Module, made: Made): ReadonlyArray<Found> => {
  const found: Array<Found> = []
  visitRun(module, made.bodies, (node, parent, isLocal) => {
    if (node.type !== "NewExpression" && node.type !== "CallExpression") return
    const path = pathOf(node.callee)
    if (path !== undefined && isLocal(path[0]!)) return
    const client = clientOf(module, node)
    if (client === undefined) return
    found.push({
      rule: "client-in-run",
      at: node.start,
      message:
        `Node "${made.name}" makes a client each time it runs (${client}): a connection for every message, every retry`,
      fix: "Make it a service: provide it once by a Layer, and ask for it with `yield*` in the node"
    })
  })
  return found
}

const mutators = /^(?:set|add|push|delete|clear|pop|shift|unshift|splice|sort|reverse|fill|copyWithin)$/

/** Whether a value can be changed in place: a collection, an object, an array. */
const isMutable = (value: Node | undefined): boolean => {
  if (value === undefined) return false
  const node = bare(value)
  if (node.type === "ObjectExpression" || node.type === "ArrayExpression") return true
  if (node.type !== "NewExpression") return false
  const name = pathOf(node.callee)?.at(-1)
  return name !== undefined && /^(?:Map|Set|WeakMap|WeakSet|Array|Object|URLSearchParams|Headers)$/.test(name)
}

/** A cell, lock or queue that was made outside of any scope. */
const cellOf = (value: Node | undefined): string | undefined => {
  const node = value === undefined ? undefined : bare(value)
  if (node?.type !== "CallExpression") return undefined
  const path = pathOf(node.callee)
  const name = path?.at(-1)
  return path !== undefined && path.length > 1 && name !== undefined &&
      (/^(?:make\w*Unsafe|unsafeMake\w*)$/.test(name) || /^Mutable\w+$/.test(path[0]!))
    ? path.join(".")
    : undefined
}

/** The expression that changes what a reference names, where one does: `x.push()`, `x.a = 1`, `x[0]++`, `delete x.a`. */
const isChanged = (node: Node, chain: ReadonlyArray<Node>): boolean => {
  let inner = node
  for (const outer of chain) {
    if (outer.type === "MemberExpression" && outer.object === inner) {
      inner = outer
      continue
    }
    if (outer.type === "AssignmentExpression") return outer.left === inner
    if (outer.type === "UpdateExpression") return true
    if (outer.type === "UnaryExpression") return outer.operator === "delete"
    if (outer.type === "CallExpression" && outer.callee === inner) return mutators.test(pathOf(inner)?.at(-1) ?? "")
    if (bare(outer) !== outer) {
      inner = outer
      continue
    }
    return false
  }
  return false
}

/** State of a module that a node uses. */
export const moduleState = (module: Module, made: Made): ReadonlyArray<Found> => {
  const found: Array<Found> = []
  const told = new Set<string>()
  const parents = new Map<Node, Node>()
  const chainOf = (node: Node): ReadonlyArray<Node> => {
    const chain: Array<Node> = []
    for (let up = parents.get(node); up !== undefined && chain.length < 8; up = parents.get(up)) chain.push(up)
    return chain
  }
  const tell = (name: string, at: number, message: string) => {
    if (told.has(name)) return
    told.add(name)
    found.push({
      rule: "module-state",
      at,
      message,
      fix:
        "Make it a service that a Layer provides, or a Ref inside of one: then each runtime and each test has its own"
    })
  }
  visitRun(module, made.bodies, (node, parent, isLocal) => {
    if (parent !== undefined) parents.set(node, parent)
    if (node.type !== "Identifier" || !isReference(node, parent) || isLocal(node.name)) return
    const seen = topOf(module, node.name)
    if (seen === undefined) return
    const { module: home, name, top } = seen
    if (top.kind === "let" && home.assigned.has(name)) {
      tell(
        node.name,
        node.start,
        `Node "${made.name}" uses "${node.name}", a variable of the module: every trace shares it, and no test can replace it`
      )
      return
    }
    if (top.kind === "let" && top.value !== undefined || top.kind === "const") {
      const client = top.value === undefined ? undefined : clientOf(home, top.value)
      if (client !== undefined) {
        tell(
          node.name,
          node.start,
          `Node "${made.name}" uses "${node.name}", a client that its module makes when it is imported (${client})`
        )
        return
      }
      const cell = cellOf(top.value)
      if (cell !== undefined) {
        tell(
          node.name,
          node.start,
          `Node "${made.name}" uses "${node.name}", state that its module makes when it is imported (${cell})`
        )
        return
      }
      if (isMutable(top.value) && isChanged(node, chainOf(node))) {
        tell(
          node.name,
          node.start,
          `Node "${made.name}" changes "${node.name}", a value of the module: every trace shares it`
        )
      }
    }
  })
  return found
}
