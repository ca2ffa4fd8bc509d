/** Credentials that stand in the source. Their text is never repeated. */
import type { Found } from "../finding.ts"
import type { Module } from "../module.ts"
import { bare, keyOf, namesOf, type Node, pathOf, walk } from "../syntax.ts"

/** By their looks. */
const looks: ReadonlyArray<readonly [RegExp, string]> = [
  [/\bsk-(?:ant-|proj-|live-|test-)?[A-Za-z0-9_-]{12,}/, "an API key"],
  [/\b[rsp]k_(?:live|test)_[A-Za-z0-9]{10,}/, "an API key"],
  [/\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/, "an access key"],
  [/\bgh[pousr]_[A-Za-z0-9]{20,}/, "an access token"],
  [/\bgithub_pat_\w{20,}/, "an access token"],
  [/\bglpat-[\w-]{16,}/, "an access token"],
  [/\bxox[abprs]-[\w-]{10,}/, "an access token"],
  [/\bAIza[\w-]{30,}/, "an API key"],
  [/\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}/, "a signed token"],
  [/-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/, "a private key"],
  [/\b(?:Bearer|Basic)\s+[A-Za-z0-9._~+/-]{16,}=*/, "an authorization"]
]

/** A password in a text that is a URL, and not a sentence about one. */
const inUrl = /^\s*[a-z][a-z0-9+.-]*:\/\/[^\s:/@"'`]*:([^\s/@"'`]+)@\S*\s*$/i

const secretName =
  /(?:^|[_-])(?:pass(?:word|wd|phrase)?|secret|api[_-]?key|private[_-]?key|client[_-]?secret|access[_-]?(?:key|token)|auth[_-]?token)$|(?:[Pp]assword|[Pp]assphrase|[Ss]ecret|[Aa]pi[_-]?[Kk]ey|(?:private|access|auth|client)(?:Key|Token|Secret))$/

const placeholders: ReadonlyArray<RegExp> = [
  /^(?:<[^>]*>|\$\{[^}]*\}|\{\{.*\}\}|[*x.•]+|your[\s_-].*|change[\s_-]?me|placeholder|redacted|string|none|null|undefined)$/i,
  // The name of a variable.
  /^[A-Z][A-Z_]*[A-Z]$/
]
const isPlaceholder = (text: string): boolean => placeholders.some((pattern) => pattern.test(text))

/** Whether a text may be one, given a name that says so: no word for one, no name of a variable, no sentence. */
const maybe = (text: string): boolean => text.length >= 4 && !/\s/.test(text) && !isPlaceholder(text)

const textOf = (node: Node): string | undefined =>
  node.type === "Literal" && typeof node.value === "string"
    ? node.value
    : node.type === "TemplateLiteral"
    ? node.quasis.map((quasi) => quasi.value.cooked ?? quasi.value.raw).join("${}")
    : undefined

const found = (at: number, what: string): Found => ({
  rule: "credential",
  at,
  message: `This literal holds ${what}: whoever reads the source, a log of it or its history has it`,
  fix: "Take it back where it was issued, and read the new one with `Config.Redacted(\"NAME\")`"
})

/** `Redacted.make("…")` hides a text from logs, not from the source. */
const literalOf = (value: Node): Node => {
  const node = bare(value)
  if (node.type === "CallExpression" && pathOf(node.callee)?.join(".") === "Redacted.make") {
    const [inner] = node.arguments
    return inner === undefined ? node : bare(inner)
  }
  return node
}

export const credential = (module: Module): ReadonlyArray<Found> => {
  const all = new Map<number, Found>()
  const named = (name: string | undefined, value: Node): void => {
    if (name === undefined || !secretName.test(name)) return
    const literal = literalOf(value)
    const text = literal.type === "Literal" ? textOf(literal) : undefined
    if (text !== undefined && maybe(text)) all.set(literal.start, found(literal.start, `what is named "${name}"`))
  }
  walk(module.parser, module.program, (node) => {
    if (node.type === "ImportDeclaration" || node.type.startsWith("TSType") || node.type === "TSInterfaceDeclaration") {
      return false
    }
    if (node.type === "Property") named(keyOf(node), node.value)
    else if (node.type === "PropertyDefinition" && node.value !== null && node.key.type === "Identifier") {
      named(node.key.name, node.value)
    } else if (node.type === "VariableDeclarator" && node.init !== null) {
      const [name] = namesOf(node.id)
      named(name, node.init)
    } else if (node.type === "AssignmentExpression") named(pathOf(node.left)?.at(-1), node.right)
    const text = textOf(node)
    if (text === undefined || all.has(node.start)) return
    for (const [pattern, what] of looks) {
      const hit = pattern.exec(text)?.[0]
      if (hit !== undefined && !/\.{3}|x{6,}|\*{3,}/i.test(hit)) {
        all.set(node.start, found(node.start, what))
        return
      }
    }
    const password = inUrl.exec(text)?.[1]
    if (password !== undefined && !isPlaceholder(password) && !password.includes("${}")) {
      all.set(node.start, found(node.start, "a URL with a password"))
    }
  })
  return [...all.values()]
}
