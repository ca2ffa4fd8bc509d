import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { command, file, shell } from "./command.ts"

const binary = "src/bin/penguiflow.ts"
const corpus = "examples/corpus/flow.ts"
const graph = (...args: ReadonlyArray<string>) => command(binary, ["graph", ...args])

describe("penguiflow graph", () => {
  it.effect("draws the flow of a module as text, Mermaid or DOT, the same each time", () =>
    Effect.gen(function*() {
      const [text, again, mermaid, dot] = yield* Effect.all([
        graph(corpus),
        graph(corpus, "--format", "text"),
        graph(corpus, "--format", "mermaid"),
        graph(corpus, "--format", "dot")
      ], { concurrency: 2 })
      assert.deepStrictEqual(text.out.split("\n"), [
        "corpus",
        "validate",
        "├─ embed ─▶ gather.vector",
        "├─ author ─▶ gather.author",
        "├─ classify ─▶ gather.classified",
        "└─▶ gather.address",
        "gather (join) ── store ── verify ■",
        ""
      ])
      assert.strictEqual(again.out, text.out)
      assert.match(mermaid.out, /^flowchart LR\n/)
      assert.include(mermaid.out, "n0 -->|\"address\"| n4")
      assert.match(dot.out, /^digraph "corpus" \{\n[^]*\n\}\n$/)
      for (const { code, err } of [text, again, mermaid, dot]) assert.deepStrictEqual([code, err], [0, ""])
    }))

  it.effect("draws it as SVG, and says in every format for programs what is asked for", () =>
    Effect.gen(function*() {
      const more = ["--costs", "--policies", "--errors"]
      const drawn = yield* Effect.all(
        ["svg", "mermaid", "dot"].map((format) => graph(corpus, "--format", format, ...more)),
        { concurrency: 2 }
      )
      for (const { code, err, out } of drawn) {
        assert.deepStrictEqual([code, err], [0, ""])
        for (const words of ["4 attempts, at most", "retries some errors only, timeout 20 s"]) {
          assert.include(out, words)
        }
      }
      const plain = yield* graph(corpus, "--format", "svg")
      assert.match(plain.out, /^<svg [^]*<\/svg>\n$/)
      assert.notInclude(plain.out, "attempts")
    }))

  it.effect("draws the example of the README as the README shows it", () =>
    Effect.gen(function*() {
      const readme = fs.readFileSync(file("README.md"), "utf8")
      const example = /^```ts runnable\n([^]*?)^```$/m.exec(readme)![1]!
      fs.mkdirSync(file(".doctest"), { recursive: true })
      const folder = fs.mkdtempSync(file(".doctest", "readme-"))
      const drawn = yield* Effect.ensuring(
        Effect.suspend(() => {
          const module = path.join(folder, "trip.ts")
          fs.writeFileSync(module, `${example}\nexport { trip as flow }\n`)
          return graph(module, "--format", "svg", "--policies")
        }),
        Effect.sync(() => fs.rmSync(folder, { recursive: true }))
      )
      assert.deepStrictEqual([drawn.code, drawn.err], [0, ""])
      // What differs is drawn anew by `npx penguiflow graph … --format svg --policies`.
      assert.strictEqual(drawn.out, fs.readFileSync(file("docs", "images", "trip.svg"), "utf8"))
      assert.include(readme, "](docs/images/trip.svg)")
    }))

  it.effect("what only pictures show is refused as text, in one line with exit code 2", () =>
    Effect.gen(function*() {
      const ended = yield* graph(corpus, "--costs")
      assert.deepStrictEqual([ended.code, ended.out, ended.said.length], [2, "", 1])
      assert.include(ended.err, "--format svg, mermaid and dot")
    }))

  it.effect("needs no layer, and chooses no layer where there are several", () =>
    Effect.gen(function*() {
      const ended = yield* graph("test/bin/modules/several.ts", "--flow", "second")
      assert.deepStrictEqual([ended.out, ended.code], ["second\ninc ■\n", 0])
    }))

  it.effect("a format that is none, and a module that is none, are one line, and exit code 2", () =>
    Effect.gen(function*() {
      const [format, missing, broken] = yield* Effect.all([
        graph(corpus, "--format", "svgg"),
        graph("nowhere.ts"),
        graph("test/bin/modules/broken.ts")
      ], { concurrency: 2 })
      for (const { code, out, said } of [format, missing, broken]) {
        assert.deepStrictEqual([code, out, said.length], [2, "", 1])
      }
      assert.strictEqual(
        format.err,
        "✗ Invalid value for --format: \"svgg\". Expected: \"text\" | \"mermaid\" | \"dot\" | \"svg\". See penguiflow graph --help\n"
      )
      assert.strictEqual(missing.err, "✗ nowhere.ts: there is no such file\n")
      assert.include(broken.err, "it has the cycle a → b → a")
      assert.notInclude(broken.err, "    at ")
    }))

  it.effect("a reader who leaves ends it silently, and a full disk is told", () =>
    Effect.gen(function*() {
      const line = `$NODE $1 graph ${corpus} --format dot | true; echo \${PIPESTATUS[0]}`
      const left = yield* shell(line, binary)
      assert.deepStrictEqual([left.out, left.err], ["0\n", ""])
      const full = yield* command(binary, ["graph", corpus], { stdout: "/dev/full" })
      assert.deepStrictEqual([full.said, full.code], [["✗ standard output can't be written to: ENOSPC"], 1])
    }))
})
