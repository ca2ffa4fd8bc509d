/**
 * Types, tested as behaviour. `--update` stores what was measured.
 *
 * 1. `test/types/*.ts` type-check as they stand, so every `@ts-expect-error` is met.
 * 2. Without those comments the compiler complains in each of the statements below them and nowhere else, and says what
 *    the comment says: the sentence after `@ts-expect-error`, or what comes after ` ~ ` where the compiler words it
 *    differently.
 * 3. The cost of a flow's types grows with its rows, in a line: instantiations per row against a stored number.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { parseSync } from "oxc-parser"
import { fail, filesBelow, lineAt, read, root, run } from "./lib.ts"

const update = process.argv.includes("--update")
const folder = path.join(root, ".typetest")
const countsFile = "test/types/counts.json"
interface Counts {
  /** Expected complaints per file. */
  readonly complaints: Readonly<Record<string, number>>
  readonly instantiationsPerRow: number
}
const stored: Counts = fs.existsSync(path.join(root, countsFile))
  ? JSON.parse(read(countsFile))
  : { complaints: {}, instantiationsPerRow: 0 }

const faults: Array<string> = []

// ---- a project of its own for each question

/** Checks these files alone, under the project's own compiler options. */
const check = (files: Readonly<Record<string, string>>, ...flags: ReadonlyArray<string>) => {
  fs.rmSync(folder, { recursive: true, force: true })
  fs.mkdirSync(folder)
  fs.writeFileSync(
    path.join(folder, "tsconfig.json"),
    JSON.stringify({ extends: "../tsconfig.json", include: ["*.ts"] })
  )
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text)
  return run("tsc", ["-p", ".typetest", "--pretty", "false", ...flags])
}

interface Complaint {
  readonly file: string
  readonly line: number
  readonly text: string
}
const complaintsIn = (output: string): ReadonlyArray<Complaint> => {
  const found: Array<{ file: string; line: number; text: string }> = []
  for (const line of output.split("\n")) {
    const start = /^(.+?)\((\d+),\d+\): error (.*)$/.exec(line)
    if (start) found.push({ file: path.basename(start[1]!), line: Number(start[2]), text: start[3]! })
    else if (/^\s/.test(line)) found.at(-1)!.text += ` ${line.trim()}`
    else if (line.startsWith("error")) found.push({ file: "", line: 0, text: line })
  }
  return found
}

// ---- 1 and 2: what must compile, and what must not

const expecting = /^(\s*\/\/) @ts-expect-error ?(.*)$/
const sources = Object.fromEntries(filesBelow("test/types", ".ts").map((file) => [path.basename(file), read(file)]))
if (Object.keys(sources).length === 0) fail("there are no type tests in test/types")

const asTheyStand = check(sources)
for (const { file, line, text } of complaintsIn(asTheyStand.output)) faults.push(`test/types/${file}:${line}: ${text}`)
if (asTheyStand.code !== 0 && faults.length === 0) faults.push(asTheyStand.output)

const bare = Object.fromEntries(
  Object.entries(sources).map(([name, text]) => [
    name,
    text.split("\n").map((line) => line.replace(expecting, "$1 $2")).join("\n")
  ])
)
const complaints = [...complaintsIn(check(bare).output)]
const counted: Record<string, number> = {}
const fold = (text: string) => text.replaceAll("\\\"", "\"").replaceAll(/\s+/g, " ").toLowerCase()
for (const [name, text] of Object.entries(sources)) {
  const statements = parseSync(name, text).program.body
  counted[name] = 0
  for (const [i, line] of text.split("\n").entries()) {
    const sentence = expecting.exec(line)?.[2]
    if (sentence === undefined) continue
    counted[name]++
    const statement = statements.find((it) => lineAt(text, it.start) > i + 1)
    if (statement === undefined) fail(`test/types/${name}:${i + 1}: no statement follows`)
    const [from, to] = [lineAt(text, statement!.start), lineAt(text, statement!.end)]
    const own = complaints.filter((it) => it.file === name && it.line >= from && it.line <= to)
    for (const it of own) complaints.splice(complaints.indexOf(it), 1)
    const wanted = sentence.split(" ~ ").at(-1)!
    if (own.length === 0) faults.push(`test/types/${name}:${from}: compiles, but should not: ${sentence}`)
    else if (sentence === "" || !own.some((it) => fold(it.text).includes(fold(wanted)))) {
      faults.push(
        `test/types/${name}:${from}: should say\n    ${wanted}\n  but says\n    ${
          own.map((it) => it.text).join("\n    ")
        }`
      )
    }
  }
}
for (const { file, line, text } of complaints) {
  faults.push(`test/types/${file}:${line}: an error nobody expects: ${text}`)
}

// ---- 3: what the types of a large flow cost

/** A chain: each row joins two nodes of their own names. */
const flowOf = (rows: number) =>
  [
    `import { Effect, Schema } from "effect"`,
    `import { Flow, Node } from "penguiflow"`,
    `class A extends Schema.Class<A>("A")({ text: Schema.String, count: Schema.Number }) {}`,
    ...Array.from({ length: rows + 1 }, (_, i) =>
      `const n${i} = Node.make("n${i}", { input: A, output: A, run: (a) => Effect.succeed(a) })`),
    `export const flow = Flow.make("large", [`,
    Array.from({ length: rows }, (_, i) =>
      `  n${i}.to(n${i + 1})`).join(",\n"),
    `])`,
    ""
  ].join("\n")

const measure = (rows: number) => {
  const { code, output } = check({ "flow.ts": flowOf(rows) }, "--extendedDiagnostics")
  const number = (name: string) => Number(new RegExp(`^${name}:\\s+([\\d.]+)`, "m").exec(output)?.[1] ?? Number.NaN)
  if (code !== 0) faults.push(`a flow of ${rows} rows does not compile: ${output.split("\n").slice(0, 3).join("\n")}`)
  return { instantiations: number("Instantiations"), seconds: number("Check time") }
}
const [few, some, many] = [measure(100), measure(200), measure(400)]
const [early, late] = [
  (some.instantiations - few.instantiations) / 100,
  (many.instantiations - some.instantiations) / 200
]
// The best of three: another program may have been using the machine. A slow one takes long for a single row as well.
const rounds = Array.from({ length: 2 }, () => ({ one: measure(1).seconds, all: measure(400).seconds }))
const seconds = Math.min(many.seconds, ...rounds.map((it) => it.all))
const most = Math.max(1, 4 * Math.min(...rounds.map((it) => it.one)))
if (!(early > 0) || !(late > 0)) faults.push("no instantiations were counted")
if (!(late <= early * 1.05)) {
  faults.push(`types grow faster than the rows: ${early} instantiations a row up to 200 rows, ${late} up to 400`)
}
if (!(seconds < most)) faults.push(`a flow of 400 rows takes ${seconds} s to check, and may take ${most} s`)

if (update) {
  const counts: Counts = { complaints: counted, instantiationsPerRow: Math.round(late) }
  fs.writeFileSync(path.join(root, countsFile), `${JSON.stringify(counts, null, 2)}\n`)
} else {
  for (const name of new Set([...Object.keys(counted), ...Object.keys(stored.complaints)])) {
    const [now, before] = [counted[name] ?? 0, stored.complaints[name] ?? 0]
    if (now !== before) {
      faults.push(
        `test/types/${name} has ${now} expected errors, ${countsFile} says ${before}: npm run test-types -- --update`
      )
    }
  }
  if (!(late <= stored.instantiationsPerRow * 1.1)) {
    faults.push(`${late} instantiations a row, 10 % more than the ${stored.instantiationsPerRow} in ${countsFile}`)
  }
}

fs.rmSync(folder, { recursive: true, force: true })
for (const fault of faults) console.error(fault)
const cases = Object.values(counted).reduce((sum, n) => sum + n, 0)
if (cases === 0) fail("no type test expects an error")
if (faults.length > 0) fail(`${faults.length} type tests failed`)
console.log(
  `${Object.keys(sources).length} files of type tests hold; ${cases} mistakes are refused in the words expected; ` +
    `${Math.round(late)} instantiations a row; 400 rows in ${seconds} s.`
)
