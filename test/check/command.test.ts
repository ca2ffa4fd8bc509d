/** The command as a user runs it: a process, its output and its exit code. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { clean, wrong } from "./snippets.ts"

const root = path.resolve(import.meta.dirname, "../..")
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "penguiflow-check-"))

const penguiflow = (...args: ReadonlyArray<string>) => penguiflowIn(root, ...args)

const penguiflowIn = (cwd: string, ...args: ReadonlyArray<string>) => {
  const { NODE_OPTIONS: _, ...env } = process.env
  const done = spawnSync(
    process.execPath,
    ["--conditions=source", path.join(root, "src/bin/penguiflow.ts"), ...args],
    { cwd, encoding: "utf8", env }
  )
  return { code: done.status, stdout: done.stdout, stderr: done.stderr }
}

interface Told {
  readonly rule: string
  readonly severity: string
  readonly file: string
  readonly line: number
  readonly message: string
}

const bad = path.join(folder, "bad.ts")
const good = path.join(folder, "good.ts")

describe("penguiflow check", () => {
  beforeAll(() => {
    fs.writeFileSync(bad, wrong[0]!.source)
    fs.writeFileSync(good, clean[0]!.source)
  })
  afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

  it("prints findings as text, and ends with 1", () => {
    const { code, stdout } = penguiflow("check", bad)
    assert.strictEqual(code, 1)
    assert.match(
      stdout,
      /bad\.ts:6:18 error client-in-run\n {2}Node "a" makes a client .*\n {2}→ .*docs\/checks\.md#client-in-run/
    )
    assert.match(stdout, /1 file checked: 1 error, 0 warnings\.\n$/)
  })

  it("prints an array of findings as JSON", () => {
    const { code, stdout } = penguiflow("check", bad, good, "--format", "json")
    assert.strictEqual(code, 1)
    const findings = JSON.parse(stdout) as ReadonlyArray<Told>
    assert.deepStrictEqual(findings.map(({ file, line, rule, severity }) => ({ file, line, rule, severity })), [
      { file: bad, line: 6, rule: "client-in-run", severity: "error" }
    ])
    assert.match(findings[0]!.message, /makes a client/)
  })

  it("prints SARIF that names its rules and places", () => {
    const { code, stdout } = penguiflow("check", bad, "--format", "sarif")
    assert.strictEqual(code, 1)
    const { runs, version } = JSON.parse(stdout) as {
      readonly version: string
      readonly runs: ReadonlyArray<{
        readonly tool: { readonly driver: { readonly rules: ReadonlyArray<{ readonly id: string }> } }
        readonly results: ReadonlyArray<{
          readonly ruleId: string
          readonly ruleIndex: number
          readonly level: string
          readonly locations: ReadonlyArray<{
            readonly physicalLocation: { readonly region: { readonly startLine: number } }
          }>
        }>
      }>
    }
    assert.strictEqual(version, "2.1.0")
    const [result] = runs[0]!.results
    assert.strictEqual(result!.level, "error")
    assert.strictEqual(runs[0]!.tool.driver.rules[result!.ruleIndex]!.id, "client-in-run")
    assert.strictEqual(result!.locations[0]!.physicalLocation.region.startLine, 6)
  })

  it("ends with 0 where nothing is wrong, in each format", () => {
    assert.deepStrictEqual(penguiflow("check", good).code, 0)
    const json = penguiflow("check", "--format", "json", good)
    assert.deepStrictEqual([json.code, JSON.parse(json.stdout)], [0, []])
  })

  it("the ready-made flows and the examples are clean, their flows too", () => {
    const { code, stderr, stdout } = penguiflow("check", "src/flows", "examples", "--format", "json")
    assert.deepStrictEqual([code, stderr, JSON.parse(stdout)], [0, "", []])
    const flows = penguiflow("check", "src/flows", "--flows")
    assert.strictEqual(flows.code, 0, flows.stdout + flows.stderr)
    assert.match(
      flows.stdout,
      /Flow "topic creation": .* on create → enhance\n {2}node +attempts +at worst\n {2}create +4 /
    )
    assert.match(flows.stdout, /: 0 errors, 0 warnings\.\n$/)
  })

  it("checks exported flows against what they are used for", () => {
    const args = ["src/flows/TopicCreation.ts", "--flows", "--format", "json"]
    const tight = penguiflow("check", ...args, "--deadline", "1 minute")
    assert.strictEqual(tight.code, 1)
    const [finding] = JSON.parse(tight.stdout) as ReadonlyArray<Told>
    assert.strictEqual(finding?.rule, "too-slow")
    assert.match(finding?.message ?? "", /the deadline is 60000 ms/)
    assert.strictEqual(penguiflow("check", ...args, "--deadline", "1 hour").code, 0)
  })

  it("reports a flow once, where it is made, whichever modules export it, and its table once", () => {
    const project = path.join(folder, "project")
    fs.mkdirSync(path.join(project, "src"), { recursive: true })
    fs.symlinkSync(path.join(root, "node_modules"), path.join(project, "node_modules"))
    const write = (name: string, ...lines: ReadonlyArray<string>) =>
      fs.writeFileSync(path.join(project, "src", name), `${lines.join("\n")}\n`)
    const places = (...args: ReadonlyArray<string>) =>
      (JSON.parse(penguiflowIn(project, "check", "--flows", "--format", "json", ...args).stdout) as ReadonlyArray<Told>)
        .map(({ file, line, rule }) => `${file}:${line} ${rule}`)
    const source = pathToFileURL(path.join(root, "src/index.ts")).href
    write("all.ts", `export * from "./index.ts"`, `export { default } from "./again.ts"`)
    write("again.ts", `import { orders } from "./index.ts"`, `export default orders`)
    write("alias.ts", `import { orders } from "./index.ts"`, `export const mine = orders`)
    write("index.ts", `/** What others need. */`, `export { flow as orders } from "./made.ts"`)
    write(
      "made.ts",
      `import { Effect, Schema } from "effect"`,
      `import { Flow, Node } from "${source}"`,
      `const options = { input: Schema.Number, output: Schema.Number, run: (n: number) => Effect.succeed(n) }`,
      `const first = Node.make("first", options)`,
      `const second = Node.make("second", options)`,
      `export const flow = Flow.make("orders", [first.to(), second.to()])`
    )
    const expected = ["src/made.ts:4 no-timeout", "src/made.ts:6 unconnected"]
    assert.deepStrictEqual(places("src").toSorted(), expected)
    // What passes it on is enough to find where it is made.
    for (const file of ["all.ts", "again.ts", "index.ts"]) {
      assert.deepStrictEqual(places(`src/${file}`).toSorted(), expected, file)
    }
    const { stdout } = penguiflowIn(project, "check", "src", "--flows")
    assert.lengthOf(stdout.match(/^Flow "orders": /gm) ?? [], 1)
    assert.match(stdout, /5 files checked: 0 errors, 2 warnings\.\n$/)
  })

  it("names the chapter of a rule as it can be opened from where the command runs", () => {
    const docsIn = (cwd: string) => {
      const [json, sarif] = ["json", "sarif"].map((format) =>
        JSON.parse(penguiflowIn(cwd, "check", bad, "--format", format).stdout)
      )
      const { help, id } = sarif.runs[0].tool.driver.rules[0]
      assert.strictEqual(id, "client-in-run")
      assert.strictEqual(help.text, `See ${json[0].docs}`)
      return json[0].docs
    }
    assert.strictEqual(docsIn(root), "docs/checks.md#client-in-run")
    assert.strictEqual(docsIn(folder), "docs/checks.md#client-in-run of penguiflow")
    const app = path.join(folder, "workspace/packages/app")
    fs.mkdirSync(app, { recursive: true })
    const copy = path.join(folder, "workspace/node_modules/penguiflow/docs")
    fs.mkdirSync(copy, { recursive: true })
    fs.copyFileSync(path.join(root, "docs/checks.md"), path.join(copy, "checks.md"))
    const docs = docsIn(app)
    assert.strictEqual(docs, "../../node_modules/penguiflow/docs/checks.md#client-in-run")
    assert.isTrue(fs.existsSync(path.resolve(app, docs.split("#")[0])))
  })

  it("ends with 2 and one sentence for what is not there, and with the usage for what is no usage", () => {
    const none = penguiflow("check", path.join(folder, "none.ts"))
    assert.strictEqual(none.code, 2)
    assert.match(none.stderr, /^✗ .*none\.ts/)
    assert.notMatch(none.stderr, /\n\s+at /)
    const empty = path.join(folder, "empty")
    fs.mkdirSync(empty)
    assert.match(penguiflow("check", empty).stderr, /There are no sources in/)
    for (
      const args of [["check"], ["chek"], ["check", good, "--format", "xml"], ["check", good, "--deadline", "soon"]]
    ) {
      const wrong = penguiflow(...args)
      assert.strictEqual(wrong.code, 2, args.join(" "))
      assert.match(wrong.stdout + wrong.stderr, /penguiflow/)
    }
  })

  it("says its version, and helps", () => {
    assert.match(penguiflow("--version").stdout, /0\.\d+\.\d+/)
    const help = penguiflow("check", "--help")
    assert.strictEqual(help.code, 0)
    assert.match(help.stdout, /penguiflow-ignore rule-id: the reason/)
  })
})
