/** A source file as the rules see it: what it imports, what stands at its top, and which nodes of a flow it makes. */
import {
  bare,
  childrenOf,
  type Comment,
  isFunction,
  keyOf,
  namesOf,
  type Node,
  type Parser,
  pathOf,
  propertyOf,
  walk
} from "./syntax.ts"

export interface Import {
  readonly source: string
  /** `*` for the whole module. */
  readonly imported: string
}

/** Something declared at the top of a module. */
export interface Top {
  readonly kind: "const" | "let" | "function" | "class"
  /** Its initial value, or the function itself. */
  readonly value: Node | undefined
  readonly at: number
}

/** A node of a flow, where it is made. */
export interface Made {
  readonly at: number
  /** The name it has in the flow, where that is a literal. */
  readonly name: string
  /** The variable that holds it. */
  readonly variable: string | undefined
  /** What runs: `run`, `step`, `decide`, `compensate`. */
  readonly bodies: ReadonlyArray<Node>
  readonly policy: Node | undefined
}

export interface Module {
  readonly file: string
  readonly text: string
  readonly parser: Parser
  readonly program: Node
  readonly comments: ReadonlyArray<Comment>
  readonly imports: ReadonlyMap<string, Import>
  readonly tops: ReadonlyMap<string, Top>
  /** Exported name to local name. */
  readonly exports: ReadonlyMap<string, string>
  /** Top-level names that are assigned to anywhere. */
  readonly assigned: ReadonlySet<string>
  readonly made: ReadonlyArray<Made>
  /** Whether it has to do with flows at all. */
  readonly concerned: boolean
  /** The module that an import names, where it is a file beside this one. */
  readonly resolve: (source: string) => Module | undefined
}

const isOurs = (source: string): boolean => /^penguiflow(?:\/|$)/.test(source)

/** The word that a name stands for: `Node`, `Flow` and so on, however it was imported. */
export const wordOf = (module: Module, name: string): string | undefined => {
  const found = module.imports.get(name)
  if (found === undefined) return undefined
  const { imported, source } = found
  const base = /([A-Z]\w*)(?:\.[cm]?[jt]s)?$/.exec(source)?.[1]
  if (imported === "*") return isOurs(source) || source.startsWith(".") ? base : undefined
  if (isOurs(source)) return base === undefined || base === imported ? imported : `${base}.${imported}`
  // Within the package itself the words are files beside each other.
  return /^\.{1,2}\//.test(source) && base !== undefined ? `${base}.${imported}` : undefined
}

/** `Node.make` for `Node.make(…)`, and for `make(…)` where that was imported from there. */
export const calleeOf = (module: Module, node: Node): string | undefined => {
  if (node.type !== "CallExpression") return undefined
  // `Worker.Service<Self>()("id", flow)` is a call of what a call gives.
  if (bare(node.callee).type === "CallExpression") return calleeOf(module, bare(node.callee))
  const path = pathOf(node.callee)
  if (path === undefined) return undefined
  const word = wordOf(module, path[0]!)
  return word === undefined ? undefined : [word, ...path.slice(1)].join(".")
}

const makers: Readonly<Record<string, ReadonlyArray<string>>> = {
  "Node.make": ["run", "compensate"],
  "Node.stream": ["run", "collect"],
  "Loop.make": ["step", "onExhausted"],
  "Router.make": ["decide"]
}

/** Reads a file. A file that does not parse gives the place and the words of the first error. */
export const readModule = (
  file: string,
  text: string,
  parser: Parser,
  resolve: (source: string) => Module | undefined
): Module | { readonly at: number; readonly message: string } => {
  const parsed = parser.parseSync(file, text)
  const [error] = parsed.errors
  if (error !== undefined) return { at: error.labels[0]?.start ?? 0, message: error.message }
  const imports = new Map<string, Import>()
  const tops = new Map<string, Top>()
  const exports = new Map<string, string>()
  const declare = (node: Node, exported: boolean): void => {
    if (node.type === "VariableDeclaration") {
      for (const { id, init, start } of node.declarations) {
        for (const name of namesOf(id)) {
          tops.set(name, {
            kind: node.kind === "const" || node.kind === "using" || node.kind === "await using" ? "const" : "let",
            // What a pattern takes apart is not the value of any of its names.
            value: id.type === "Identifier" ? init ?? undefined : undefined,
            at: start
          })
          if (exported) exports.set(name, name)
        }
      }
    } else if ((node.type === "FunctionDeclaration" || node.type === "ClassDeclaration") && node.id !== null) {
      tops.set(node.id.name, {
        kind: node.type === "ClassDeclaration" ? "class" : "function",
        value: node,
        at: node.start
      })
      if (exported) exports.set(node.id.name, node.id.name)
    }
  }
  for (const node of parsed.program.body) {
    if (node.type === "ImportDeclaration") {
      if (node.importKind === "type") continue
      for (const it of node.specifiers) {
        const imported = it.type === "ImportNamespaceSpecifier"
          ? "*"
          : it.type === "ImportDefaultSpecifier"
          ? "default"
          : it.imported.type === "Identifier"
          ? it.imported.name
          : it.imported.value
        imports.set(it.local.name, { source: node.source.value, imported })
      }
    } else if (node.type === "ExportNamedDeclaration") {
      if (node.declaration !== null) declare(node.declaration, true)
      for (const { exported, local } of node.source === null ? node.specifiers : []) {
        if (local.type === "Identifier" && exported.type === "Identifier") exports.set(exported.name, local.name)
      }
    } else if (node.type === "ExportDefaultDeclaration" && node.declaration.type === "Identifier") {
      exports.set("default", node.declaration.name)
    } else declare(node, false)
  }
  const assigned = new Set<string>()
  walk(parser, parsed.program, (node) => {
    if (node.type === "AssignmentExpression") { for (const name of namesOf(node.left)) assigned.add(name) }
    else if (node.type === "UpdateExpression" && node.argument.type === "Identifier") assigned.add(node.argument.name)
  })
  const module = {
    file,
    text,
    parser,
    program: parsed.program,
    comments: parsed.comments,
    imports,
    tops,
    exports,
    assigned,
    concerned: [...imports.values()].some(({ source }) =>
      isOurs(source) || /\/(?:Node|Flow|Loop|Router)\.ts$/.test(source)
    ),
    resolve
  }
  return { ...module, made: madeIn({ ...module, made: [] }) }
}

const madeIn = (module: Module): ReadonlyArray<Made> => {
  const made: Array<Made> = []
  const variables = new Map<Node, string>()
  walk(module.parser, module.program, (node) => {
    if (node.type === "VariableDeclarator" && node.id.type === "Identifier" && node.init !== null) {
      variables.set(bare(node.init), node.id.name)
    }
  })
  walk(module.parser, module.program, (node) => {
    if (node.type !== "CallExpression") return
    const parts = makers[calleeOf(module, node) ?? ""]
    if (parts === undefined) return
    const [name, given] = node.arguments
    const options = given === undefined ? undefined : valueOf(module, given)?.node
    made.push({
      at: node.start,
      name: name?.type === "Literal" && typeof name.value === "string" ? name.value : "?",
      variable: variables.get(node),
      bodies: options === undefined ? [] : parts.flatMap((part) => propertyOf(options, part) ?? []),
      policy: options === undefined ? undefined : propertyOf(options, "policy")
    })
  })
  return made
}

/** A value and the module it stands in. */
export interface Located {
  readonly module: Module
  readonly node: Node
}

/** What a name of a module's top, or of a module that it imports, stands for: through `const`s, across files. */
export const valueOf = (module: Module, node: Node, depth = 0): Located | undefined => {
  const inner = bare(node)
  const path = pathOf(inner)
  if (path === undefined || depth > 8) return { module, node: inner }
  return followPath(module, path, depth)
}

const followPath = (module: Module, path: ReadonlyArray<string>, depth: number): Located | undefined => {
  const [first, ...rest] = path
  const top = module.tops.get(first!)
  if (top !== undefined) {
    if (top.value === undefined || top.kind === "let") return undefined
    return rest.length === 0 ? valueOf(module, top.value, depth + 1) : followInto(module, top.value, rest, depth)
  }
  const found = module.imports.get(first!)
  const other = found === undefined ? undefined : module.resolve(found.source)
  if (found === undefined || other === undefined) return undefined
  const [exported, ...below] = found.imported === "*" ? rest : [found.imported, ...rest]
  const local = exported === undefined ? undefined : other.exports.get(exported)
  return local === undefined ? undefined : followPath(other, [local, ...below], depth + 1)
}

const followInto = (module: Module, node: Node, keys: ReadonlyArray<string>, depth: number): Located | undefined => {
  const at = valueOf(module, node, depth + 1)
  const [key, ...rest] = keys
  const inner = at === undefined ? undefined : propertyOf(at.node, key!)
  if (at === undefined || inner === undefined) return undefined
  return rest.length === 0 ? valueOf(at.module, inner, depth + 1) : followInto(at.module, inner, rest, depth)
}

/** The top that a name stands for, here or in a module that is imported. */
export const topOf = (
  module: Module,
  name: string
): { readonly module: Module; readonly top: Top; readonly name: string } | undefined => {
  const top = module.tops.get(name)
  if (top !== undefined) return { module, top, name }
  const found = module.imports.get(name)
  const other = found === undefined || found.imported === "*" ? undefined : module.resolve(found.source)
  const local = other?.exports.get(found!.imported)
  const there = local === undefined ? undefined : other?.tops.get(local)
  return other === undefined || there === undefined ? undefined : { module: other, top: there, name: local! }
}

/** Names declared inside of a function, those of its parameters included, but not those of functions within. */
const localsOf = (parser: Parser, fn: Node): ReadonlySet<string> => {
  const names = new Set<string>()
  const add = (pattern: Node) => {
    for (const name of namesOf(pattern)) names.add(name)
  }
  if (fn.type === "ArrowFunctionExpression" || fn.type === "FunctionExpression" || fn.type === "FunctionDeclaration") {
    for (const param of fn.params) add(param.type === "TSParameterProperty" ? param.parameter : param)
    if (fn.type === "FunctionExpression" && fn.id !== null) names.add(fn.id.name)
  }
  walk(parser, fn, (node) => {
    if (node === fn) return
    if (node.type === "FunctionDeclaration" || node.type === "ClassDeclaration") {
      if (node.id !== null) names.add(node.id.name)
    }
    if (isFunction(node)) return false
    if (node.type === "VariableDeclarator") add(node.id)
    else if (node.type === "CatchClause" && node.param !== null) add(node.param)
  })
  return names
}

/** Whether an identifier is the name of something, and not that of a property. */
export const isReference = (node: Node, parent: Node | undefined): boolean => {
  if (node.type !== "Identifier" || parent === undefined) return node.type === "Identifier"
  if (parent.type === "MemberExpression") return parent.object === node || parent.computed
  if (parent.type === "Property" || parent.type === "MethodDefinition" || parent.type === "PropertyDefinition") {
    return parent.value === node || parent.computed
  }
  return !parent.type.startsWith("TS") || parent.type === "TSAsExpression" || parent.type === "TSNonNullExpression" ||
    parent.type === "TSSatisfiesExpression"
}

/** What a rule is told of each node in what a flow's node runs. */
export type Visit = (node: Node, parent: Node | undefined, isLocal: (name: string) => boolean) => void

/**
 * Everything that runs when a body runs, as far as this module tells: the body, and functions of the module's top that
 * it names, each once.
 */
export const visitRun = (module: Module, bodies: ReadonlyArray<Node>, visit: Visit): void => {
  const { parser } = module
  const seen = new Set<Node>()
  const open: Array<Node> = [...bodies]
  const go = (node: Node, parent: Node | undefined, scopes: ReadonlyArray<ReadonlySet<string>>): void => {
    const inner = isFunction(node) ? [...scopes, localsOf(parser, node)] : scopes
    const isLocal = (name: string) => inner.some((scope) => scope.has(name))
    visit(node, parent, isLocal)
    if (node.type === "Identifier" && isReference(node, parent) && !isLocal(node.name)) {
      const top = module.tops.get(node.name)
      if (top?.value !== undefined && (top.kind === "function" || top.kind === "const" && givesFunction(top.value))) {
        open.push(top.value)
      }
    }
    for (const child of childrenOf(parser, node)) go(child, node, inner)
  }
  for (let body = open.pop(); body !== undefined; body = open.pop()) {
    if (seen.has(body)) continue
    seen.add(body)
    go(body, undefined, [])
  }
}

/** A function, an `Effect.fn(function*() {…})`, or an Effect that is described and not yet run. */
const givesFunction = (value: Node): boolean => {
  const inner = bare(value)
  if (isFunction(inner)) return true
  if (inner.type !== "CallExpression") return false
  const path = pathOf(inner.callee.type === "CallExpression" ? inner.callee.callee : inner.callee)
  return path !== undefined &&
    /^(?:fn|fnUntraced|fnUntracedEager|gen|flatMap|map|andThen|suspend|sync|promise|tryPromise|use|pipe|scoped)$/.test(
      path.at(-1)!
    )
}

/** The value of the property `name` of a policy, wherever the policy is written. */
export const policyHas = (module: Module, policy: Node, name: string, depth = 0): boolean => {
  const at = valueOf(module, policy)
  if (at === undefined || at.node.type !== "ObjectExpression" || depth > 8) return false
  let has = false
  for (const property of at.node.properties) {
    if (property.type === "SpreadElement") {
      has = policyHas(at.module, property.argument, name, depth + 1) || has
    } else if (keyOf(property) === name) {
      has = !(property.value.type === "Identifier" && property.value.name === "undefined")
    }
  }
  return has
}
