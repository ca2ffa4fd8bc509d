/** What is on its way into a trace's meta and is no JSON. */
import type { Found } from "../finding.ts"
import { type Module } from "../module.ts"
import { bare, isFunction, keyOf, namesOf, type Node, pathOf, walk } from "../syntax.ts"
import { clientOf } from "./clients.ts"

/** Calls whose options may hold a meta. */
const takesOptions = /^(?:run|runAll|stream|emit|submit|enqueue|offer|execute|start|simulate|runOne)$/

/** Makers of what lives beside a message: locks, cells, queues. */
const living =
  /^(?:Semaphore|Ref|SynchronizedRef|SubscriptionRef|Deferred|Queue|PubSub|Latch|FiberMap|FiberSet|FiberHandle|Scope|Pool|TxRef|MutableRef|ManagedRuntime)$/

/** Types whose values are no JSON, by the names that they are annotated with. */
const types =
  /^(?:Date|Map|Set|WeakMap|WeakSet|RegExp|Promise|Function|bigint|symbol|Uint8Array|Buffer|Pool|Client|PoolClient|MongoClient|PrismaClient|Redis|OpenAI|Anthropic)$/

/** Names with their values, or with the types that are written at them. A name that stands for several is left alone. */
interface Locals {
  readonly values: ReadonlyMap<string, Node>
  readonly types: ReadonlyMap<string, string>
}

const localsOf = (module: Module): Locals => {
  const values = new Map<string, Node>()
  const annotated = new Map<string, string>()
  const several = new Set<string>()
  const seen = new Set<string>()
  walk(module.parser, module.program, (node) => {
    if (isFunction(node) && "params" in node && Array.isArray(node.params)) {
      for (const param of node.params) {
        for (const name of namesOf(param)) {
          if (seen.has(name)) several.add(name)
          seen.add(name)
        }
        const type = param.type === "Identifier" ? typeOf(param) : undefined
        if (param.type === "Identifier" && type !== undefined) annotated.set(param.name, type)
      }
    }
    if (node.type !== "VariableDeclarator" || node.id.type !== "Identifier") return
    if (seen.has(node.id.name)) several.add(node.id.name)
    seen.add(node.id.name)
    if (node.init !== null) values.set(node.id.name, node.init)
  })
  for (const name of several) {
    values.delete(name)
    annotated.delete(name)
  }
  return { values, types: annotated }
}

/** The name of the type that is written at a name, where it is the type of something that is no JSON. */
const typeOf = (node: Node): string | undefined => {
  const annotation = "typeAnnotation" in node ? node.typeAnnotation : undefined
  if (typeof annotation !== "object" || annotation === null || !("typeAnnotation" in annotation)) return undefined
  const type = annotation.typeAnnotation
  if (typeof type !== "object" || type === null || !("type" in type) || type.type !== "TSTypeReference") {
    return undefined
  }
  const name = "typeName" in type ? nameOf(type.typeName) : undefined
  if (name === undefined) return undefined
  const parts = name.split(".")
  return types.test(name) ||
      parts.length === 2 && parts[0] === parts[1] && (living.test(name.split(".")[0]!) || parts[0] === "SqlClient")
    ? name
    : undefined
}

const nameOf = (name: unknown): string | undefined => {
  if (typeof name !== "object" || name === null) return undefined
  if ("name" in name && typeof name.name === "string") return name.name
  if (!("left" in name) || !("right" in name)) return undefined
  const [left, right] = [nameOf(name.left), nameOf(name.right)]
  return left === undefined || right === undefined ? undefined : `${left}.${right}`
}

/** What a value is, in words, where it is certainly not JSON. */
const notJson = (module: Module, locals: Locals, value: Node, depth = 0): string | undefined => {
  const node = bare(value)
  if (depth > 8) return undefined
  if (isFunction(node)) return "a function"
  switch (node.type) {
    case "ClassExpression":
      return "a class"
    case "NewExpression": {
      const name = pathOf(node.callee)?.join(".") ?? "an object"
      return name === "Date" ? "a Date (write `.toISOString()`, or milliseconds)" : `an instance of ${name}`
    }
    case "Literal":
      return "bigint" in node && node.bigint !== undefined
        ? "a bigint"
        : "regex" in node && node.regex !== undefined
        ? "a RegExp"
        : undefined
    case "AwaitExpression":
      return notJson(module, locals, node.argument, depth + 1)
    case "YieldExpression": {
      if (node.argument === null) return undefined
      const inner = bare(node.argument)
      // A service is yielded by its class; what a call gives may be anything.
      if (inner.type === "Identifier" && /^[A-Z]/.test(inner.name)) return `the service ${inner.name}`
      if (inner.type === "MemberExpression") {
        const path = pathOf(inner)
        if (path !== undefined && path.length === 2 && path.every((part) => /^[A-Z]/.test(part))) {
          return `the service ${path.join(".")}`
        }
      }
      return notJson(module, locals, inner, depth + 1)
    }
    case "CallExpression": {
      const client = clientOf(module, node)
      if (client !== undefined) return `a client (${client})`
      const path = pathOf(node.callee)
      if (path?.length === 1 && path[0] === "Symbol") return "a symbol"
      if (path?.length === 1 && path[0] === "BigInt") return "a bigint"
      return path !== undefined && path.length === 2 && living.test(path[0]!) &&
          /^(?:make|bounded|unbounded|sliding|dropping)/.test(path[1]!)
        ? `a ${path[0]}`
        : undefined
    }
    case "Identifier": {
      if (node.name === "undefined") return "undefined"
      const local = locals.values.get(node.name)
      if (local !== undefined) return notJson(module, locals, local, depth + 1)
      const type = locals.types.get(node.name)
      if (type !== undefined) return `a ${type}`
      return module.tops.get(node.name)?.kind === "function"
        ? "a function"
        : module.tops.get(node.name)?.kind === "class"
        ? "a class"
        : undefined
    }
    default:
      return undefined
  }
}

const found = (at: number, key: string, what: string): Found => ({
  rule: "meta-not-json",
  at,
  message: `"${key}" in the meta is ${what}: meta travels with the message and is JSON`,
  fix: "What has a life of its own is a service, provided by a Layer; what is about the message goes into meta as JSON"
})

const inside = (module: Module, locals: Locals, value: Node, key: string): ReadonlyArray<Found> => {
  const node = bare(value)
  if (node.type === "ObjectExpression") {
    return node.properties.flatMap((property) =>
      property.type === "Property"
        ? inside(
          module,
          locals,
          property.value,
          key === "" ? keyOf(property) ?? "?" : `${key}.${keyOf(property) ?? "?"}`
        )
        : []
    )
  }
  if (node.type === "ArrayExpression") {
    return node.elements.flatMap((item) =>
      item === null || item.type === "SpreadElement" ? [] : inside(module, locals, item, key)
    )
  }
  const what = notJson(module, locals, node)
  return what === undefined ? [] : [found(node.start, key, what)]
}

/** Looks at `{ meta: … }` in the options of calls, and at `annotate(key, value)` in nodes. */
export const metaNotJson = (module: Module): ReadonlyArray<Found> => {
  const locals = localsOf(module)
  const all: Array<Found> = []
  /** Parameters of a node's `run` that are `annotate`, or hold it. */
  const annotators = new Set<string>()
  walk(module.parser, module.program, (node) => {
    if (node.type === "ObjectPattern") {
      for (const property of node.properties) {
        if (property.type === "Property" && keyOf(property) === "annotate") {
          for (const name of namesOf(property.value)) annotators.add(name)
        }
      }
    }
  })
  walk(module.parser, module.program, (node) => {
    if (node.type === "AssignmentExpression") {
      // `message.meta["session"] = session`, as it was written elsewhere.
      const path = pathOf(node.left)
      if (path !== undefined && path.length >= 2 && path.at(-2) === "meta") {
        all.push(...inside(module, locals, node.right, path.at(-1)!))
      }
      return
    }
    if (node.type !== "CallExpression") return
    const path = pathOf(node.callee)
    const name = path?.at(-1) ??
      (node.callee.type === "MemberExpression" && node.callee.property.type === "Identifier"
        ? node.callee.property.name
        : undefined)
    if (name === undefined) return
    if (takesOptions.test(name)) {
      for (const argument of node.arguments) {
        const options = bare(argument)
        if (options.type !== "ObjectExpression") continue
        for (const property of options.properties) {
          if (property.type === "Property" && keyOf(property) === "meta") {
            const meta = bare(property.value)
            const known = meta.type === "Identifier" ? locals.values.get(meta.name) ?? meta : meta
            all.push(...inside(module, locals, known, ""))
          }
        }
      }
    }
    const annotates = path !== undefined && (path.length === 1
      ? annotators.has(name)
      : name === "annotate" && path.length === 2 && /^(?:ctx|context|c|trace|node)$/i.test(path[0]!))
    if (annotates) {
      const [key, value] = node.arguments
      if (value === undefined || value.type === "SpreadElement") return
      all.push(
        ...inside(module, locals, value, key?.type === "Literal" && typeof key.value === "string" ? key.value : "?")
      )
    }
  })
  return all
}
