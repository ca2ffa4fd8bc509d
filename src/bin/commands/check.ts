/** `penguiflow check`: the "before deploying" list as a program. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as fs from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import * as Check from "../../check/check.ts"
import { docsOf, type Finding, isRule } from "../../check/finding.ts"
import * as Format from "../../check/format.ts"
import * as Flow from "../../Flow.ts"
import { Ended } from "../../FlowCli.ts"
import { version } from "../version.ts"

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

/** The first line that names something, where the source can be read. */
const lineOf = (text: string, name: string | undefined): number => {
  if (name === undefined) return 1
  const own = name.split("/").at(-1)!
  const at = text.split("\n").findIndex((line) => line.includes(JSON.stringify(own)))
  return at < 0 ? 1 : at + 1
}

interface Checked {
  readonly findings: ReadonlyArray<Finding>
  readonly tables: ReadonlyArray<string>
}

/** Imports a module, which runs it, and checks the flows that it exports. */
const flowsOf = (file: string, options: Flow.CheckOptions): Effect.Effect<Checked, CantCheck> =>
  Effect.map(
    Effect.tryPromise({
      try: (): Promise<Readonly<Record<string, unknown>>> => import(pathToFileURL(path.resolve(file)).href),
      catch: (cause) => new CantCheck({ message: `${file} can't be imported: ${messageOf(cause)}` })
    }),
    (module) => {
      const text = readFile(file) ?? ""
      const flows = [...new Set(Object.values(module))].filter(isFlow)
      return {
        findings: flows.flatMap((flow) =>
          Flow.check(flow, options).flatMap(({ message, node, rule, severity }): ReadonlyArray<Finding> => {
            if (!isRule(rule)) return []
            const line = lineOf(text, node ?? flow.name)
            // The message says how to mend it, too: what is wrong, a colon, what to do.
            const [what, ...fix] = message.split(/: (?=[a-z`][^:]*$)/)
            return [{
              rule,
              severity,
              file,
              line,
              column: 1,
              message: `Flow "${flow.name}": ${what}`,
              fix: fix.join(": "),
              docs: docsOf(rule)
            }]
          })
        ),
        tables: flows.map(tableOf)
      }
    }
  )

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

const duration = (name: string) =>
  Flag.String(name).pipe(
    Flag.withMetavar("DURATION"),
    Flag.filterMap(
      (text) => {
        const found = Duration.fromInput(/^\d+$/.test(text) ? Number(text) : text as Duration.Input)
        return found
      },
      (text) => `takes a duration as "30 seconds", or milliseconds, not ${JSON.stringify(text)}`
    ),
    Flag.optional
  )

const run = Effect.fnUntraced(function*(given: {
  readonly files: ReadonlyArray<string>
  readonly format: "text" | "json" | "sarif"
  readonly flows: boolean
  readonly options: Flow.CheckOptions
}) {
  const files = yield* Effect.try({
    try: () => [...new Set(given.files.flatMap(filesOf))],
    catch: (cause) => new CantCheck({ message: messageOf(cause) })
  })
  if (files.length === 0) {
    return yield* new CantCheck({ message: `There are no sources in ${given.files.join(", ")}` })
  }
  const checker = Check.make(yield* loadParser, { read: readFile, resolve })
  const findings: Array<Finding> = []
  const tables: Array<string> = []
  for (const file of files) {
    const text = readFile(file)
    if (text === undefined) return yield* new CantCheck({ message: `${file} can't be read` })
    findings.push(...checker.check(file, text))
    if (given.flows) {
      const checked = yield* flowsOf(file, given.options)
      findings.push(...checked.findings)
      tables.push(...checked.tables)
    }
  }
  yield* Console.log(
    given.format === "json"
      ? Format.toJson(findings)
      : given.format === "sarif"
      ? Format.toSarif(findings, version)
      : [...tables, Format.toText(findings, files.length)].join("\n")
  )
  if (findings.some((finding) => finding.severity === "error")) return yield* new Ended({ code: 1 })
})

/** `penguiflow check FILE…`. */
export const check: Command.Command<"check", never, object, Ended> = Command.make("check", {
  files: Argument.String("FILE").pipe(
    Argument.withDescription("Sources, or folders of them"),
    Argument.variadic({ min: 1 })
  ),
  format: Flag.Literals("format", ["text", "json", "sarif"]).pipe(
    Flag.withDefault("text" as const),
    Flag.withDescription("json is an array of findings; sarif is for code scanning")
  ),
  flows: Flag.Boolean("flows").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Also import the files, which runs them, and check the flows that they export")
  ),
  deadline: duration("deadline").pipe(Flag.withDescription("With --flows: the deadline that callers give")),
  jobTimeout: duration("job-timeout").pipe(Flag.withDescription("With --flows: the time that a worker gives a job")),
  usedBy: Flag.Literals("used-by", ["worker", "durable"]).pipe(
    Flag.optional,
    Flag.withDescription("With --flows: who runs the flows again after a crash")
  )
}, ({ deadline, files, flows, format, jobTimeout, usedBy }) =>
  run({
    files,
    format,
    flows,
    options: {
      deadline: Option.getOrUndefined(deadline),
      jobTimeout: Option.getOrUndefined(jobTimeout),
      usedBy: Option.getOrUndefined(usedBy)
    }
  }).pipe(
    Effect.catchTag("CantCheck", ({ message }) => Effect.andThen(Console.error(`✗ ${message}`), new Ended({ code: 2 })))
  )).pipe(
    Command.withDescription(
      "Checks the sources of flows for what the types can't see: clients made in nodes, state of modules, credentials, " +
        "inserts that a retry repeats.\n\nA finding that is meant is suppressed by a comment on its line or the line " +
        "before: // penguiflow-ignore rule-id: the reason\n\nExit codes: 0 nothing wrong, 1 errors found, 2 wrong usage " +
        "or nothing could be checked."
    )
  )
