/** The package as a stranger gets it: packed, installed beside effect alone, imported, compiled against, run. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { bundle } from "../tools/dashboard.ts"

const root = path.resolve(import.meta.dirname, "..")
const tsc = path.join(root, "node_modules/.bin/tsc")
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "penguiflow-package-"))
const staged = path.join(folder, "staged")
const consumer = path.join(folder, "consumer")
const installed = path.join(consumer, "node_modules/penguiflow")
let packed: ReadonlyArray<string> = []

const spawn = (program: string, args: ReadonlyArray<string>, cwd: string) => {
  // A consumer's process knows nothing of the conditions and options of this one.
  const { NODE_OPTIONS: _, ...env } = process.env
  const done = spawnSync(program, args, { cwd, env, encoding: "utf8" })
  return { code: done.status, output: `${done.stdout}${done.stderr}`, stdout: done.stdout }
}

/** Runs a module in the consumer's folder and gives what it prints. */
const runModule = (code: string) => {
  fs.writeFileSync(path.join(consumer, "main.mjs"), code)
  const { code: status, output } = spawn(process.execPath, ["main.mjs"], consumer)
  assert.strictEqual(status, 0, output)
  return output.trim()
}

const modulesIn = (sub: string) =>
  fs.readdirSync(path.join(installed, "dist", sub), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".js"))
    .map((file) => file.replace(/\.js$/, ""))

interface PackReport {
  readonly filename: string
  readonly files: ReadonlyArray<{ readonly path: string }>
}

interface Manifest {
  readonly name: string
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

const versionIn = (at: string): string =>
  (JSON.parse(fs.readFileSync(path.join(at, "package.json"), "utf8")) as { readonly version: string }).version

interface Lock {
  readonly packages: Readonly<Record<string, { readonly optionalDependencies?: Readonly<Record<string, string>> }>>
}

describe("the lock file", () => {
  it("knows the packages of other platforms, without which npm ci refuses it", () => {
    const { packages } = JSON.parse(fs.readFileSync(path.join(root, "package-lock.json"), "utf8")) as Lock
    const optional = Object.entries(packages).flatMap(([at, it]) =>
      Object.keys(it.optionalDependencies ?? {}).map((name) => ({ at, name }))
    )
    assert.isAtLeast(optional.length, 20)
    const missing = optional.filter(({ at, name }) =>
      !(`node_modules/${name}` in packages) && !(`${at}/node_modules/${name}` in packages)
    )
    assert.deepStrictEqual(missing, [])
  })
})

describe("the package", () => {
  beforeAll(async () => {
    fs.mkdirSync(staged)
    for (const name of ["package.json", "README.md", "LICENSE", "CHANGELOG.md", "src", "template"]) {
      if (fs.existsSync(path.join(root, name))) {
        fs.cpSync(path.join(root, name), path.join(staged, name), { recursive: true })
      }
    }
    const built = spawn(tsc, ["-p", "tsconfig.build.json", "--outDir", path.join(staged, "dist")], root)
    assert.strictEqual(built.code, 0, built.output)
    await bundle(path.join(staged, "dist/dashboard/assets.js"))
    const npm = spawn("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], staged)
    assert.strictEqual(npm.code, 0, npm.output)
    const answer: unknown = JSON.parse(npm.stdout)
    // A list, or since npm 12 a record by name.
    const report = Object.values(answer as Record<string, PackReport>)[0]!
    packed = report.files.map((file) => file.path)
    fs.mkdirSync(installed, { recursive: true })
    const tar = spawn(
      "tar",
      ["-xzf", path.join(folder, report.filename), "--strip-components=1", "-C", installed],
      folder
    )
    assert.strictEqual(tar.code, 0, tar.output)
    fs.symlinkSync(path.join(root, "node_modules/effect"), path.join(consumer, "node_modules/effect"))
    fs.writeFileSync(path.join(consumer, "package.json"), `{ "type": "module" }`)
  })

  afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

  it("holds what it needs, and neither tests nor secrets", () => {
    for (const file of ["package.json", "LICENSE", "README.md", "dist/index.js", "dist/index.d.ts", "src/index.ts"]) {
      assert.include(packed, file)
    }
    const known =
      /^(?:package\.json|LICENSE|README\.md|CHANGELOG\.md|src\/[\w/]+\.ts|dist\/[\w/]+\.(?:js|d\.ts)(?:\.map)?|template\/[\w/.]+)$/
    assert.deepStrictEqual(packed.filter((file) => !known.test(file)), [])
    assert.deepStrictEqual(packed.filter((file) => /^(?!template).*\.test\.|\.env|secret|\.pem|\.key$/i.test(file)), [])
  })

  it("brings its dashboard, which is found from inside", () => {
    const keys = runModule(`
      import { createRequire } from "node:module"
      const inside = createRequire(import.meta.resolve("penguiflow"))
      const assets = await import(inside.resolve("#dashboard"))
      console.log(Object.entries(assets).map(([name, text]) => name + " " + (text.length > 100)).sort().join())`)
    assert.strictEqual(keys, "css true,html true,icon true,js true")
  })

  it("can be imported where effect is all that is installed", () => {
    const names = runModule(`import * as P from "penguiflow"; console.log(Object.keys(P).join(" "))`).split(" ")
    for (const name of ["Flow", "FlowRuntime", "Join", "Loop", "Node", "Router", "Trace"]) assert.include(names, name)
  })

  it("loads with the core nothing but effect, no built-in module of Node, none of its own layers", () => {
    const loaded = runModule(`
      import { registerHooks } from "node:module"
      const urls = []
      registerHooks({ load: (url, context, next) => { urls.push(url); return next(url, context) } })
      await import("penguiflow")
      console.log(urls.join("\\n"))`).split("\n")
    const own = loaded.filter((url) => url.includes("/penguiflow/dist/"))
    assert.isAtLeast(own.length, 10)
    assert.deepStrictEqual(own.filter((url) => /\/dist\/(?:layers|flows|testing|bin)\//.test(url)), [])
    const others = loaded.filter((url) => !own.includes(url))
    assert.deepStrictEqual(others.filter((url) => !/\/effect\/dist\//.test(url)), [])
  })

  it("has every module behind the name of its file", () => {
    const modules = modulesIn("").filter((it) => it !== "index" && !/^(?:bin\/|(?:layers\/)?internal\/)/.test(it))
    const specifiers = modules.map((it) => `penguiflow/${it.replace(/\/index$/, "")}`)
    assert.isAtLeast(specifiers.length, 10)
    const resolved = runModule(`
      for (const it of ${
      JSON.stringify(specifiers)
    }) console.log(import.meta.resolve(it).split("/penguiflow/").at(-1))`)
    assert.deepStrictEqual(resolved.split("\n"), modules.map((it) => `dist/${it}.js`))
  })

  it("has a name for every folder with an index", () => {
    const folders = fs.readdirSync(path.join(root, "src")).filter((it) =>
      it !== "internal" && fs.existsSync(path.join(root, "src", it, "index.ts"))
    )
    const { exports } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
      readonly exports: Readonly<Record<string, unknown>>
    }
    for (const folder of folders) {
      assert.deepStrictEqual(exports[`./${folder}`], {
        source: `./src/${folder}/index.ts`,
        types: `./dist/${folder}/index.d.ts`,
        default: `./dist/${folder}/index.js`
      })
    }
  })

  it("keeps its inside to itself", () => {
    const inside = [
      "penguiflow/index",
      ...modulesIn("internal").map((it) => `penguiflow/internal/${it}`),
      ...modulesIn("layers/internal").map((it) => `penguiflow/layers/internal/${it}`)
    ]
    assert.isAtLeast(inside.length, 5)
    const answers = runModule(`
      for (const it of ${JSON.stringify(inside)}) {
        try { import.meta.resolve(it); console.log("open") } catch (error) { console.log(error.code) }
      }`)
    assert.deepStrictEqual([...new Set(answers.split("\n"))], ["ERR_PACKAGE_PATH_NOT_EXPORTED"])
  })

  it("runs a flow and gives its types", () => {
    const program = (check: string) => `
      import { Effect, Schema } from "effect"
      import { Flow } from "penguiflow"
      import * as Node from "penguiflow/Node"
      const double = Node.make("double", {
        input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n * 2)
      })
      const flow = Flow.make("doubling", [double.to()])
      ${check}`
    assert.strictEqual(runModule(program("console.log(await Effect.runPromise(Flow.run(flow, 21)))")), "42")

    const options = { module: "NodeNext", target: "ES2024", strict: true, noEmit: true, skipLibCheck: true, types: [] }
    fs.writeFileSync(
      path.join(consumer, "tsconfig.json"),
      JSON.stringify({ compilerOptions: options, files: ["good.ts", "bad.ts"] })
    )
    fs.writeFileSync(
      path.join(consumer, "good.ts"),
      program("export const x: Effect.Effect<number, unknown> = Flow.run(flow, 21)")
    )
    fs.writeFileSync(path.join(consumer, "bad.ts"), program(`export const x = Flow.run(flow, "21")`))
    const { code, output } = spawn(tsc, ["-p", "."], consumer)
    assert.notStrictEqual(code, 0)
    assert.match(output, /^bad\.ts.*'string' is not assignable to parameter of type 'number'/m)
    assert.notMatch(output, /^(?!bad\.ts|\s|$)/m, "only the mistake is an error")
  })

  it("makes a project, and says what else the command line needs, where effect is all that is installed", () => {
    const binary = path.join(installed, "dist/bin/penguiflow.js")
    const penguiflow = (...args: ReadonlyArray<string>) => spawn(process.execPath, [binary, ...args], consumer)
    const made = penguiflow("new", "begun")
    assert.strictEqual(made.code, 0, made.output)
    assert.isTrue(fs.existsSync(path.join(consumer, "begun/src/flow.ts")))
    const again = penguiflow("new", "begun")
    assert.deepStrictEqual([again.code, again.output], [2, "✗ begun: is not empty: name another folder\n"])
    assert.include(penguiflow("--help").stdout, "penguiflow <subcommand>")
    assert.match(penguiflow("--version").stdout, /\d+\.\d+\.\d+/)
    const run = penguiflow("run", "flow.ts")
    const words = "✗ The command line needs a package: npm install @effect/platform-node\n"
    assert.deepStrictEqual([run.code, run.output], [2, words])
  })

  it("makes a project that passes its check and its tests, and runs", () => {
    const around = path.join(folder, "projects")
    const modules = path.join(around, "node_modules")
    fs.mkdirSync(path.join(modules, ".bin"), { recursive: true })
    fs.mkdirSync(path.join(modules, "@effect"))
    fs.cpSync(installed, path.join(modules, "penguiflow"), { recursive: true })
    // What npm would install, by links: the project asks for exactly the versions that are here.
    const link = (name: string) => fs.symlinkSync(path.join(root, "node_modules", name), path.join(modules, name))
    for (const name of ["effect", "@effect/platform-node"]) link(name)
    fs.symlinkSync("../penguiflow/dist/bin/penguiflow.js", path.join(modules, ".bin/penguiflow"))
    fs.chmodSync(path.join(modules, "penguiflow/dist/bin/penguiflow.js"), 0o755)
    const made = spawn(path.join(modules, ".bin/penguiflow"), ["new", "My Flow", "--yes"], around)
    assert.strictEqual(made.code, 0, made.output)
    assert.match(made.stdout, /^Made My Flow: package\.json, [^]*\n {2}cd "My Flow"\n {2}npm install\n/)

    const project = path.join(around, "My Flow")
    const manifest = JSON.parse(fs.readFileSync(path.join(project, "package.json"), "utf8")) as Manifest
    assert.strictEqual(manifest.name, "my-flow")
    const { penguiflow, ...others } = { ...manifest.dependencies, ...manifest.devDependencies }
    assert.strictEqual(penguiflow, versionIn(root))
    assert.isAtLeast(Object.keys(others).length, 7)
    for (const [name, version] of Object.entries(others)) {
      assert.strictEqual(version, versionIn(path.join(root, "node_modules", name)), name)
      if (!fs.existsSync(path.join(modules, name))) {
        fs.mkdirSync(path.dirname(path.join(modules, name)), { recursive: true })
        link(name)
      }
    }
    for (const bin of ["tsc", "vitest"]) {
      fs.symlinkSync(fs.realpathSync(path.join(root, "node_modules/.bin", bin)), path.join(modules, ".bin", bin))
    }
    // The Node.js of this test: npm may have come with another one.
    fs.symlinkSync(process.execPath, path.join(modules, ".bin/node"))
    assert.isTrue(fs.existsSync(path.join(project, ".gitignore")))
    const npm = (...args: ReadonlyArray<string>) => spawn("npm", args, project)
    const check = npm("run", "check")
    assert.strictEqual(check.code, 0, check.output)
    const test = npm("test")
    assert.strictEqual(test.code, 0, test.output)
    assert.match(test.output, /2 passed/)
    const start = npm("start", "--silent")
    assert.deepStrictEqual([start.code, start.output], [
      0,
      `{"customer":"pingu","total":8}\n{"customer":"pinga","total":3}\n`
    ])
  })
})
