/** Completions, in the shells that they are for. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { firstOf, temporaryFolder } from "../utils/servers/process.ts"
import { command, file } from "./command.ts"

const binary = "src/bin/penguiflow.ts"
const fish = firstOf("/usr/bin/fish", "/usr/local/bin/fish", "/opt/homebrew/bin/fish")
const zsh = firstOf("/usr/bin/zsh", "/bin/zsh", "/usr/local/bin/zsh")

/** What is typed, and what the shell makes of its last word. */
const cases: ReadonlyArray<readonly [line: string, found: ReadonlyArray<string>]> = [
  ["penguiflow wor", ["worker"]],
  ["penguiflow jobs p", ["purge"]],
  ["penguiflow jobs list --older", ["--older-than"]],
  ["penguiflow jobs list --state d", ["dead", "done"]],
  ["penguiflow graph --format m", ["mermaid"]],
  ["penguiflow run examples/10", ["examples/10_corpus.ts"]],
  ["penguiflow run --file dprint.j", ["dprint.json"]],
  ["penguiflow trace replay examples/10", ["examples/10_corpus.ts"]],
  ["penguiflow jobs list --database LIC", ["LICENSE"]]
]

const scriptFor = (shell: string) =>
  Effect.gen(function*() {
    const { code, err, out } = yield* command(binary, ["--completions", shell])
    assert.deepStrictEqual([code, err], [0, ""])
    const path = join(yield* temporaryFolder("completions"), shell)
    writeFileSync(path, out)
    return path
  })

const run = (program: string, args: ReadonlyArray<string>) =>
  execFileSync(program, args, { cwd: file(), encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).split("\n")
    .map((line) => line.split("\t")[0]!)
    .filter((line) => line !== "")
    .toSorted()

describe("completions", () => {
  it.effect("bash completes commands, flags, choices and files", () =>
    Effect.gen(function*() {
      const script = yield* scriptFor("bash")
      const complete = [
        "source \"$1\"; COMP_LINE=$2; COMP_POINT=${#COMP_LINE}; read -ra COMP_WORDS <<< \"$COMP_LINE\"",
        "COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))",
        "_penguiflow penguiflow \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"",
        "printf '%s\\n' \"${COMPREPLY[@]}\""
      ].join("\n")
      for (const [line, found] of cases) {
        assert.deepStrictEqual(run("bash", ["-c", complete, "bash", script, line]), [...found], line)
      }
      assert.deepStrictEqual(run("bash", ["-c", "source \"$1\"; complete -p penguiflow", "bash", script]), [
        "complete -F _penguiflow penguiflow"
      ])
    }))

  it.effect("fish completes the same", () =>
    Effect.gen(function*() {
      const script = yield* scriptFor("fish")
      for (const [line, found] of cases) {
        const complete = "source $argv[1]; complete -C $argv[2]"
        assert.deepStrictEqual(run(fish!, ["--no-config", "-c", complete, script, line]), [...found], line)
      }
    }), { skip: fish === undefined })

  it.effect("zsh can read its script, and takes it for its own", () =>
    Effect.gen(function*() {
      const script = yield* scriptFor("zsh")
      run(zsh!, ["-f", "-n", script])
      const load = "autoload -Uz compinit; compinit -u -D; source $1; print -r -- $_comps[penguiflow]"
      assert.deepStrictEqual(run(zsh!, ["-f", "-c", load, "zsh", script]), ["_penguiflow"])
    }), { skip: zsh === undefined })
})
