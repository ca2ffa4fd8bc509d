/** What `penguiflow check` does. */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type * as Terminal from "effect/Terminal"
import * as fs from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import * as Check from "../check/check.ts"
import { docsOf, type Finding, isRule } from "../check/finding.ts"
import * as Format from "../check/format.ts"
import { originOf } from "../check/origin.ts"
import type { Parser } from "../check/syntax.ts"
import * as Flow from "../Flow.ts"
import * as FlowCli from "../FlowCli.ts"
import { refused } from "./answer.ts"
import type * as Commands from "./commands/check.ts"
import { docsFrom } from "./docs.ts"
import { version } from "./version.ts"

/** Nothing could be checked: what was asked for is not there. */
class CantCheck extends Data.TaggedError("CantCheck")<{ readonly message: string }> {}

const sources = /(?<!\.d)\.[cm]?tsx?$|\.[cm]?jsx?$/
const skipped = new Set(["node_modules", "dist", "coverage", ".git"])

const messageOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

/** Files as they are; of folders all sources below. */
const filesOf = (given: string): ReadonlyArray<string> => {
  if (!fs.statSync(given).isDirectory()) return [given]
  return fs.readdirSync(given, { withFileTypes: true })
    .filter((entry) => !skipped.has(entry.name))
    .toSorted((a, b) => a.name < b.name ? -1 : 1)
    .flatMap((entry) => {
      const inner = path.join(given, entry.name)
      return entry.isDirectory() ? filesOf(inner) : entry.isFile() && sources.test(entry.name) ? [inner] : []
    })
}

const readFile = (file: string): string | undefined => {
  try {
    return fs.readFileSync(file, "utf8")
  } catch {
    return undefined
  }
}

/** The file beside another one that a relative import names. */
const resolve = (source: string, from: string): string | undefined => {
  if (!/^\.{1,2}\//.test(source)) return undefined
  const base = path.resolve(path.dirname(from), source)
  const candidates = [
    base,
    base.replace(/\.js$/, ".ts"),
    base.replace(/\.mjs$/, ".mts"),
    `${base}.ts`,
    `${base}.js`,
    path.join(base, "index.ts")
  ]
  return candidates.find((file) =>
    sources.test(file) && fs.statSync(file, { throwIfNoEntry: false })?.isFile() === true
  )
}

const loadParser = Effect.tryPromise({
  try: () => import("oxc-parser"),
  catch: (cause) =>
    new CantCheck({
      message: `The parser could not be loaded: install the package oxc-parser beside penguiflow. ${messageOf(cause)}`
    })
})

/** A flow, once, and where it is made. */
interface Found {
  readonly flow: Flow.Any
  readonly file: string
  readonly text: string
  /** The line of its export. */
  readonly line: number
  /** How sure it is that this is where it is made. */
  readonly rank: number
}

/** The line that names something first. */
const lineOf = (text: string, name: string): number | undefined => {
  const own = name.split("/").at(-1)!
  const at = text.split("\n").findIndex((line) => line.includes(JSON.stringify(own)))
  return at < 0 ? undefined : at + 1
}

const importModule = (file: string): Effect.Effect<Readonly<Record<string, unknown>>, CantCheck> =>
  Effect.tryPromise({
    try: () => import(pathToFileURL(path.resolve(file)).href),
    catch: (cause) => new CantCheck({ message: `${file} can't be imported: ${messageOf(cause)}` })
  })

/** Imports modules, which runs them, and finds the flows that they export: each once, whoever else passes it on. */
const flowsOf = Effect.fnUntraced(function*(files: ReadonlyArray<string>, parser: Parser) {
  const origin = originOf(parser, { read: readFile, resolve })
  const asGiven = new Map(files.map((file) => [path.resolve(file), file]))
  const found = new Map<Flow.Any, Found>()
  for (const file of files) {
    for (const [name, flow] of Object.entries(yield* importModule(file))) {
      if (!isFlow(flow)) continue
      const made = origin(file, name) ?? { file, at: 0, own: false }
      const text = readFile(made.file) ?? ""
      // A module may give a flow another name without making it: the one that says the flow's own name makes it.
      const rank = (made.own ? 2 : 0) + (lineOf(text, flow.name) === undefined ? 0 : 1)
      if (rank <= (found.get(flow)?.rank ?? -1)) continue
      found.set(flow, {
        flow,
        file: asGiven.get(path.resolve(made.file)) ??
          (path.isAbsolute(file) ? made.file : path.relative("", made.file)),
        text,
        line: text.slice(0, made.at).split("\n").length,
        rank
      })
    }
  }
  return [...found.values()]
})

const findingsOf = ({ file, flow, line, text }: Found, options: Flow.CheckOptions): ReadonlyArray<Finding> =>
  Flow.check(flow, options).flatMap(({ message, node, rule, severity }): ReadonlyArray<Finding> => {
    if (!isRule(rule)) return []
    // The message says how to mend it, too: what is wrong, a colon, what to do.
    const [what, ...fix] = message.split(/: (?=[a-z`][^:]*$)/)
    return [{
      rule,
      severity,
      file,
      line: (node === undefined ? undefined : lineOf(text, node)) ?? lineOf(text, flow.name) ?? line,
      column: 1,
      message: `Flow "${flow.name}": ${what}`,
      fix: fix.join(": "),
      docs: docsOf(rule)
    }]
  })

const isFlow = (value: unknown): value is Flow.Any => {
  if (typeof value !== "object" || value === null) return false
  try {
    Flow.analyze(value as Flow.Any)
    return true
  } catch {
    return false
  }
}

const timeOf = (ms: number): string => ms === Infinity ? "no bound" : Duration.format(Duration.millis(Math.ceil(ms)))

/** What a flow costs at worst, node by node. */
const tableOf = (flow: Flow.Any): string => {
  const { nodes, slowestWay, worstCaseMs } = Flow.analyze(flow)
  const rows = [
    ["node", "attempts", "at worst"],
    ...nodes.map(({ maxAttempts, node, worstCaseMs }) => [
      node,
      maxAttempts === Infinity ? "no bound" : String(maxAttempts),
      timeOf(worstCaseMs)
    ])
  ]
  const widths = [0, 1, 2].map((at) => Math.max(...rows.map((row) => row[at]!.length)))
  return [
    `Flow "${flow.name}": ${timeOf(worstCaseMs)} on ${slowestWay.join(" → ")}`,
    ...rows.map((row) => `  ${row.map((cell, at) => cell.padEnd(widths[at]!)).join("  ").trimEnd()}`)
  ].join("\n")
}

const run = Effect.fnUntraced(function*(given: Commands.Asked) {
  const files = yield* Effect.try({
    try: () => [...new Set(given.files.flatMap(filesOf))],
    catch: (cause) => new CantCheck({ message: messageOf(cause) })
  })
  if (files.length === 0) {
    return yield* new CantCheck({ message: `There are no sources in ${given.files.join(", ")}` })
  }
  const parser = yield* loadParser
  const checker = Check.make(parser, { read: readFile, resolve })
  const inSources: Array<Finding> = []
  for (const file of files) {
    const text = readFile(file)
    if (text === undefined) return yield* new CantCheck({ message: `${file} can't be read` })
    inSources.push(...checker.check(file, text))
  }
  const flows = given.flows ? yield* flowsOf(files, parser) : []
  const docs = docsFrom("")
  const order = new Map([...files, ...flows.map(({ file }) => file)].toReversed().map((file, at) => [file, -at]))
  const findings = [...inSources, ...flows.flatMap((found) => findingsOf(found, given.options))]
    .toSorted((a, b) => order.get(a.file)! - order.get(b.file)!)
    .map((finding) => ({ ...finding, docs: docs(finding.docs) }))
  const text = given.format === "json"
    ? Format.toJson(findings)
    : given.format === "sarif"
    ? Format.toSarif(findings, version, (rule) => docs(docsOf(rule)))
    : [...flows.map(({ flow }) => tableOf(flow)), Format.toText(findings, files.length)].join("\n")
  yield* FlowCli.print(Stream.make(`${text}\n`))
  if (findings.some((finding) => finding.severity === "error")) return yield* new FlowCli.Ended({ code: 1 })
})

/** Checks files, and says what is wrong with them. */
export const check = (given: Commands.Asked): Effect.Effect<void, FlowCli.Ended, Stdio.Stdio | Terminal.Terminal> =>
  Effect.catchTag(run(given), "CantCheck", ({ message }) => refused(message))
