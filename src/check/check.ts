/**
 * Checks sources of flows: what the types can't see. Nothing is run and nothing is imported; the files are parsed.
 *
 * See docs/checks.md for the rules and for what they do not see.
 */
import { docsOf, type Finding, type Found, rules } from "./finding.ts"
import { type Module, readModule } from "./module.ts"
import { credential } from "./rules/credential.ts"
import { metaNotJson } from "./rules/meta.ts"
import { againIn, durableNondeterminism, insertNotIdempotent } from "./rules/rerun.ts"
import { clientInRun, moduleState } from "./rules/state.ts"
import { suppressionsIn } from "./suppression.ts"
import type { Parser } from "./syntax.ts"

export type { Finding, RuleId } from "./finding.ts"
export { rules } from "./finding.ts"
export type { Parser } from "./syntax.ts"

/** Where files come from. */
export interface Files {
  /** The text of a file; undefined where there is none. */
  readonly read: (file: string) => string | undefined
  /** The file that an import of another file names; undefined for packages and for what does not exist. */
  readonly resolve: (source: string, from: string) => string | undefined
}

const noFiles: Files = { read: () => undefined, resolve: () => undefined }

/** Checks one source after another, and reads those that they import at most once. */
export interface Checker {
  readonly check: (file: string, text: string) => ReadonlyArray<Finding>
}

/**
 * Makes a checker of a parser: `oxc-parser`, or what gives the same tree.
 *
 * @example
 * ```ts runnable
 * import * as parser from "oxc-parser"
 * import * as Check from "penguiflow/check/check"
 *
 * const source = `
 *   import { Node } from "penguiflow"
 *   import { Pool } from "pg"
 *   export const ask = Node.make("ask", { run: () => new Pool().query("SELECT 1") })
 * `
 * const findings = Check.make(parser).check("ask.ts", source)
 * findings.map(({ line, rule }) => `${line} ${rule}`) // => ["4 client-in-run"]
 * ```
 */
export const make = (parser: Parser, files: Files = noFiles): Checker => {
  const modules = new Map<string, Module | undefined>()
  const resolverOf = (from: string) => (source: string): Module | undefined => {
    const file = files.resolve(source, from)
    if (file === undefined) return undefined
    if (modules.has(file)) return modules.get(file)
    // Files may import each other: while one is read it is none.
    modules.set(file, undefined)
    const text = files.read(file)
    const module = text === undefined ? undefined : readModule(file, text, parser, resolverOf(file))
    if (module !== undefined && "program" in module) modules.set(file, module)
    return modules.get(file)
  }
  return {
    check: (file, text) => {
      const place = placesIn(text)
      const toFinding = ({ at, fix, message, rule }: Found): Finding => ({
        rule,
        severity: rules[rule].severity,
        file,
        ...place(at),
        message,
        fix,
        docs: docsOf(rule)
      })
      const module = readModule(file, text, parser, resolverOf(file))
      if (!("program" in module)) {
        const fix = "Mend the syntax: a file that does not parse is not checked"
        return [toFinding({ rule: "syntax", at: module.at, message: module.message, fix })]
      }
      const { apply } = suppressionsIn(text, module.comments, (at) => place(at).line)
      return apply(unique(foundIn(module))).toSorted((a, b) => a.at - b.at).map(toFinding)
    }
  }
}

const foundIn = (module: Module): ReadonlyArray<Found> => {
  const everywhere = credential(module)
  if (!module.concerned) return everywhere
  const again = againIn(module)
  return [
    ...everywhere,
    ...metaNotJson(module),
    ...module.made.flatMap((made) => {
      const reason = again.reasonOf(made)
      return [
        ...clientInRun(module, made),
        ...moduleState(module, made),
        ...(reason === undefined ? [] : insertNotIdempotent(module, made, reason)),
        ...(again.isDurable(made) ? durableNondeterminism(module, made) : [])
      ]
    })
  ]
}

/** A function that several nodes use is told of once. */
const unique = (found: ReadonlyArray<Found>): ReadonlyArray<Found> => {
  const seen = new Set<string>()
  return found.filter(({ at, rule }) => {
    const key = `${rule} ${at}`
    return !seen.has(key) && seen.add(key)
  })
}

/** Line and column of an offset, both from 1. */
const placesIn = (text: string): (at: number) => { readonly line: number; readonly column: number } => {
  const starts = [0]
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1)
  return (at) => {
    let [low, high] = [0, starts.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (starts[middle]! <= at) low = middle
      else high = middle - 1
    }
    return { line: low + 1, column: at - starts[low]! + 1 }
  }
}
