/** Walking a syntax tree. The parser comes from outside: it is an optional peer, loaded by who needs it. */
import type * as Oxc from "oxc-parser"

export type Node = Oxc.Node
export type Comment = Oxc.Comment

/** What the checker needs of a parser. */
export interface Parser {
  readonly parseSync: typeof Oxc.parseSync
  readonly visitorKeys: typeof Oxc.visitorKeys
}

const isNode = (u: unknown): u is Node =>
  typeof u === "object" && u !== null && "type" in u && typeof u.type === "string"

/** What stands directly below a node, in order. */
export const childrenOf = (parser: Parser, node: Node): ReadonlyArray<Node> => {
  const children: Array<Node> = []
  for (const key of parser.visitorKeys[node.type] ?? []) {
    const value: unknown = Reflect.get(node, key)
    if (isNode(value)) children.push(value)
    else if (Array.isArray(value)) { for (const item of value) if (isNode(item)) children.push(item) }
  }
  return children
}

/** Every node from this one down, each before what is below it. `false` leaves out what is below. */
export const walk = (
  parser: Parser,
  root: Node,
  visit: (node: Node, parent: Node | undefined) => boolean | void
): void => {
  const open: Array<readonly [Node, Node | undefined]> = [[root, undefined]]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [node, parent] = next
    if (visit(node, parent) === false) continue
    const children = childrenOf(parser, node)
    for (let at = children.length - 1; at >= 0; at--) open.push([children[at]!, node])
  }
}

/** Without parentheses, `as`, `satisfies`, `!` and type arguments. */
export const bare = (node: Node): Node => {
  switch (node.type) {
    case "ParenthesizedExpression":
    case "TSAsExpression":
    case "TSSatisfiesExpression":
    case "TSNonNullExpression":
    case "TSTypeAssertion":
    case "TSInstantiationExpression":
    case "ChainExpression":
      return bare(node.expression)
    default:
      return node
  }
}

/** `a`, `a.b`, `a.b.c`, else undefined. */
export const pathOf = (node: Node): ReadonlyArray<string> | undefined => {
  const inner = bare(node)
  if (inner.type === "Identifier") return [inner.name]
  if (inner.type === "ThisExpression") return ["this"]
  if (inner.type !== "MemberExpression") return undefined
  const object = pathOf(inner.object)
  if (object === undefined) return undefined
  if (!inner.computed && inner.property.type === "Identifier") return [...object, inner.property.name]
  const key = bare(inner.property)
  return key.type === "Literal" && typeof key.value === "string" ? [...object, key.value] : undefined
}

/** The text of a property's name. */
export const keyOf = (property: { readonly computed: boolean; readonly key: Node }): string | undefined => {
  const key = property.key
  if (!property.computed && key.type === "Identifier") return key.name
  return key.type === "Literal" && typeof key.value === "string" ? key.value : undefined
}

/** A property of an object literal, by its name. */
export const propertyOf = (object: Node, name: string): Node | undefined => {
  if (object.type !== "ObjectExpression") return undefined
  for (const property of object.properties) {
    if (property.type === "Property" && keyOf(property) === name) return property.value
  }
  return undefined
}

/** Names that a pattern binds. */
export const namesOf = (pattern: Node): ReadonlyArray<string> => {
  switch (pattern.type) {
    case "Identifier":
      return [pattern.name]
    case "ObjectPattern":
      return pattern.properties.flatMap((it) => namesOf(it.type === "RestElement" ? it.argument : it.value))
    case "ArrayPattern":
      return pattern.elements.flatMap((it) => it === null ? [] : namesOf(it))
    case "AssignmentPattern":
      return namesOf(pattern.left)
    case "RestElement":
      return namesOf(pattern.argument)
    default:
      return []
  }
}

export const isFunction = (node: Node): boolean =>
  node.type === "ArrowFunctionExpression" || node.type === "FunctionExpression" || node.type === "FunctionDeclaration"
