/**
 * The same rules as a JS plugin of oxlint, for those who have it in their editor already:
 *
 * ```json
 * { "jsPlugins": ["penguiflow/check/oxlint"], "rules": { "penguiflow/client-in-run": "error" } }
 * ```
 *
 * Each file is parsed once more, by the parser of `penguiflow check`. What needs other files (a policy or a client that is
 * imported) is found by the command alone.
 */
import * as parser from "oxc-parser"
import { type Checker, type Finding, make, rules } from "./check.ts"

/** What the plugin needs of oxlint's context. */
interface Context {
  readonly filename: string
  readonly sourceCode: { readonly text: string }
  readonly report: (problem: {
    readonly message: string
    readonly loc: { readonly line: number; readonly column: number }
  }) => void
}

interface PluginRule {
  readonly meta: { readonly type: "problem"; readonly docs: { readonly description: string } }
  readonly create: (context: Context) => { readonly Program: () => void }
}

let checker: Checker | undefined
let last: { readonly text: string; readonly findings: ReadonlyArray<Finding> } | undefined

/** One file is looked at by many rules, one after the other. */
const findingsOf = (file: string, text: string): ReadonlyArray<Finding> => {
  if (last?.text !== text) last = { text, findings: (checker ??= make(parser)).check(file, text) }
  return last.findings
}

const ruleOf = (id: string, title: string): PluginRule => ({
  meta: { type: "problem", docs: { description: title } },
  create: (context) => ({
    Program: () => {
      for (const { column, fix, line, message, rule } of findingsOf(context.filename, context.sourceCode.text)) {
        if (rule === id) context.report({ message: `${message}. ${fix}.`, loc: { line, column: column - 1 } })
      }
    }
  })
})

/** The rules for sources; those for flows need the flow itself. */
const sourceRules = [
  "client-in-run",
  "module-state",
  "meta-not-json",
  "insert-not-idempotent",
  "durable-nondeterminism",
  "credential",
  "suppression",
  "unused-suppression"
] as const

const plugin: {
  readonly meta: { readonly name: "penguiflow" }
  readonly rules: Readonly<Record<string, PluginRule>>
} = {
  meta: { name: "penguiflow" },
  rules: Object.fromEntries(sourceRules.map((id) => [id, ruleOf(id, rules[id].title)]))
}

export default plugin
