import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { command, type Ended, shell } from "./command.ts"

const binary = "src/bin/penguiflow.ts"
const module = (name: string) => `test/bin/modules/${name}.ts`
const run = (...args: ReadonlyArray<string>) => command(binary, ["run", ...args])

const refused = (ended: Ended, line: string) => {
  assert.deepStrictEqual([ended.said, ended.out, ended.code], [[`✗ ${line}`], "", 2])
}

describe("penguiflow run", () => {
  it.effect("runs a message through the flow of a module, with its layer", () =>
    Effect.gen(function*() {
      const [one, lines, failing] = yield* Effect.all([
        run(module("numbers"), "{\"n\":21}"),
        command(binary, ["run", module("numbers"), "--concurrency", "2"], { stdin: "{\"n\":1}\n{\"n\":2}\n" }),
        run(module("numbers"), "{\"n\":1,\"do\":\"die\"}")
      ], { concurrency: 2 })
      assert.deepStrictEqual([one.out, one.said, one.code], ["{\"n\":42}\n", ["opened", "closed"], 0])
      assert.deepStrictEqual([lines.json, lines.code], [[{ n: 2 }, { n: 4 }], 0])
      assert.deepStrictEqual(
        [failing.said, failing.code],
        [["opened", "✗ argument: Node \"work\" died: boom (NODE_EXCEPTION)", "closed"], 1]
      )
    }))

  it.effect("finds flow and layer by default export, by name, by being the only one, or by the flags", () =>
    Effect.gen(function*() {
      const [standard, object, first, second] = yield* Effect.all([
        run(module("standard"), "1"),
        run(module("object"), "1"),
        run(module("several"), "1", "--flow", "first", "--layer", "ten"),
        run(module("several"), "1", "--flow", "second", "--layer", "hundred")
      ], { concurrency: 2 })
      assert.deepStrictEqual([standard, object, first, second].map(({ code, err, out }) => ({ code, err, out })), [
        { code: 0, err: "", out: "2\n" },
        { code: 0, err: "", out: "11\n" },
        { code: 0, err: "", out: "11\n" },
        { code: 0, err: "", out: "101\n" }
      ])
    }))

  it.effect("where several would do, or none, it says which there are", () =>
    Effect.gen(function*() {
      const several = module("several")
      const [flows, layers, unknown] = yield* Effect.all([
        run(several, "1"),
        run(several, "1", "--flow", "first"),
        run(several, "1", "--flow", "third")
      ], { concurrency: 2 })
      refused(flows, `${several}: exports several flows (first, second): choose one by --flow`)
      refused(layers, `${several}: exports several layers (hundred, ten): choose one by --layer`)
      refused(unknown, `${several}: exports no flow "third", but first, second`)
    }))

  it.effect("modules that are not there, are folders, throw, or hold no flow are one line", () =>
    Effect.gen(function*() {
      const [missing, folder, throwing, empty] = yield* Effect.all([
        run("nowhere.ts", "1"),
        run("src", "1"),
        run(module("throwing"), "1"),
        run("src/Trace.ts", "1")
      ], { concurrency: 2 })
      refused(missing, "nowhere.ts: there is no such file")
      refused(folder, "src: is no file: name a module")
      refused(throwing, `${module("throwing")}: can't be imported: no such region, said twice`)
      refused(
        empty,
        "src/Trace.ts: exports no flow: export what Flow.make gives, of the same copy of penguiflow as this command's"
      )
      const debugged = yield* run(module("throwing"), "1", "--debug")
      assert.include(debugged.err, "throwing.ts")
    }))

  it.effect("a service that the layer does not give is named", () =>
    Effect.gen(function*() {
      const ended = yield* run(module("layerless"), "1")
      assert.lengthOf(ended.said, 1)
      assert.match(ended.err, /^✗ argument: .*test\/bin\/Plus/)
      assert.strictEqual(ended.code, 1)
    }))

  it.effect("signals and readers who leave are heard here as well", () =>
    Effect.gen(function*() {
      const stopped = yield* command(binary, ["run", module("numbers"), "{\"n\":1,\"do\":\"forever\"}"], {
        on: ({ err }, child) => void (err.includes("begun 1") && !err.includes("Stopping") ? child.kill("SIGTERM") : 0)
      })
      assert.deepStrictEqual([stopped.code, stopped.said.includes("released 1")], [143, true])
      const left = yield* shell(
        `yes '{"n":1}' | $NODE $1 run ${module("numbers")} --ndjson | head -1; echo \${PIPESTATUS[1]}`,
        binary
      )
      assert.deepStrictEqual([left.out, left.said], ["{\"n\":2}\n0\n", ["opened", "closed"]])
    }))
})

describe("penguiflow", () => {
  it.effect("says in one line what is wrong with an invocation, and nothing on standard output", () =>
    Effect.gen(function*() {
      const [command1, module1, flag, value] = yield* Effect.all([
        command(binary, ["rnu"]),
        command(binary, ["run"]),
        command(binary, ["run", "--nope", "x"]),
        command(binary, ["check", "--deadline", "soon", "x.ts"])
      ], { concurrency: 2 })
      refused(command1, "Unknown command: rnu (did you mean run?). See penguiflow --help")
      refused(module1, "Missing required argument: module. See penguiflow run --help")
      refused(flag, "Unrecognized flag: --nope. See penguiflow run --help")
      assert.deepStrictEqual([value.said.length, value.out, value.code], [1, "", 2])
    }))

  it.effect("gives help, its version, and completions", () =>
    Effect.gen(function*() {
      const [bare, help, version, ...completions] = yield* Effect.forEach(
        [[], ["run", "--help"], ["--version"], ["--completions", "bash"], ["--completions", "zsh"], [
          "--completions",
          "fish"
        ]],
        (args) => command(binary, args),
        { concurrency: 2 }
      )
      for (const name of ["run", "graph", "check"]) assert.match(bare!.out, new RegExp(`^  ${name} `, "m"))
      assert.include(help!.out, "penguiflow run [flags] <module> [<input>]")
      assert.match(version!.out, /^penguiflow v\d+\.\d+\.\d+\n$/)
      for (const { code, err, out } of completions) {
        assert.deepStrictEqual([code, err], [0, ""])
        for (const name of ["graph", "concurrency"]) assert.include(out, name)
      }
    }))
})
