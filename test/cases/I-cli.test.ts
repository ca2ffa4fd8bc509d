/** The command line under bad circumstances: what holds for every command. Each has tests of its own in `test/bin`. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { mkdirSync, readdirSync } from "node:fs"
import { join } from "node:path"
import * as JobQueue from "penguiflow/JobQueue"
import * as JobQueueSql from "penguiflow/layers/JobQueueSql"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as TraceStoreSql from "penguiflow/layers/TraceStoreSql"
import * as TraceStore from "penguiflow/TraceStore"
import { command, type Ended, file, hasTerminal, onTerminal, shell } from "../bin/command.ts"
import { notes } from "../bin/modules/orders.ts"
import { temporaryFolder } from "../utils/servers/process.ts"

const binary = "src/bin/penguiflow.ts"
const cli = (args: ReadonlyArray<string>, circumstances?: Parameters<typeof command>[2]) =>
  command(binary, args, circumstances)

/** All of them, two at a time. */
const all = <A>(effects: ReadonlyArray<Effect.Effect<A>>) => Effect.all(effects, { concurrency: 2 })

const commands = [
  ["run"],
  ["graph"],
  ["check"],
  ["serve"],
  ["worker"],
  ["jobs", "list"],
  ["jobs", "show"],
  ["jobs", "counts"],
  ["jobs", "retry"],
  ["jobs", "cancel"],
  ["jobs", "purge"],
  ["trace", "list"],
  ["trace", "show"],
  ["trace", "replay"],
  ["migrate", "report"],
  ["new"]
]

/** One line that names what is wrong and where help is, and nothing else. */
const usage = ({ code, err, out, said }: Ended, pattern: RegExp) => {
  assert.deepStrictEqual([code, out, said.length], [2, "", 1], err)
  assert.match(said[0]!, pattern)
}

/** A database with one job and one trace in it. */
const filled = Effect.gen(function*() {
  const filename = join(yield* temporaryFolder("cli"), "all.sqlite")
  yield* Effect.gen(function*() {
    yield* JobQueue.JobQueue.use((queue) => queue.enqueue(notes, "hello", { id: "one" }))
    yield* TraceStore.run(notes, "hello", { traceId: "one" })
    yield* TraceStore.TraceStore.use((store) => store.flush)
  }).pipe(Effect.provide(
    Layer.merge(JobQueueSql.layer(), TraceStoreSql.layer()).pipe(Layer.provide(Sqlite.layer({ filename })))
  ))
  return filename
})

describe("the command line", () => {
  it.effect("112: an unknown flag is one line with a hint, and exit code 2, of every command", () =>
    Effect.gen(function*() {
      const ended = yield* all(commands.map((it) => cli([...it, "--nope"])))
      ended.forEach((it, at) =>
        usage(it, new RegExp(`^✗ Unrecognized flag: --nope.*See penguiflow ${commands[at]!.join(" ")} --help$`))
      )
    }))

  it.effect("112: unknown commands, missing values and bad numbers too", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [args: ReadonlyArray<string>, pattern: RegExp]> = [
        [["serv"], /^✗ Unknown command: serv \(did you mean serve\?\)\. See penguiflow --help$/],
        [["jobs", "lst"], /^✗ Unknown command: lst \(did you mean list\?\)\. See penguiflow jobs --help$/],
        [["trace", "show"], /^✗ Missing required argument: trace\. See penguiflow trace show --help$/],
        [["jobs", "list", "--limit", "many"], /^✗ Invalid value for --limit: "many"\./],
        [["jobs", "list", "--state", "ded"], /^✗ Invalid value for --state: "ded"\. Expected: "queued"/],
        [["jobs", "list", "--older-than", "old"], /^✗ Invalid value for --older-than: "old"\. Expected a duration/],
        [["jobs", "list", "--limit", "0"], /^✗ Invalid value for --limit: "0"\. Expected a whole number from 1 on/],
        [["worker", "x.ts", "--grace"], /^✗ Missing value for --grace\./],
        [["migrate", "report", "x", "--match-rate", "3"], /^✗ Invalid value for --match-rate: "3"\. Expected a number/]
      ]
      const ended = yield* all(cases.map(([args]) => cli(args)))
      ended.forEach((it, at) => usage(it, cases[at]![1]))
    }))

  it.effect("113: modules that are missing, folders or no modules are one line, whoever asks for them", () =>
    Effect.gen(function*() {
      const database = ["--database", yield* filled]
      const ended = yield* all(
        ["nowhere.ts", "src", "LICENSE"].flatMap((module) => [
          cli(["run", module, "1"]),
          cli(["graph", module]),
          cli(["worker", module, ...database]),
          cli(["serve", module, "--port", "0"]),
          cli(["trace", "replay", module, "one", ...database])
        ])
      )
      const words = /^✗ (?:nowhere\.ts: there is no such file|src: is no file|LICENSE: can't be imported)/
      for (const it of ended) usage(it, words)
    }))

  it.effect("114, 117: a reader who leaves is no failure, a full disk is one line", () =>
    Effect.gen(function*() {
      const database = yield* filled
      const writing = [
        ["--help"],
        ["--completions", "bash"],
        ["check", "src/Flow.ts"],
        ["graph", "examples/corpus/flow.ts"],
        ["jobs", "list", "--json", "--database", database],
        ["jobs", "show", "one", "--database", database],
        ["trace", "list", "--database", database],
        ["trace", "show", "one", "--database", database]
      ]
      const left = yield* all(
        writing.map((args) => shell(`$NODE $1 ${args.join(" ")} | true; echo \${PIPESTATUS[0]}`, binary))
      )
      for (const { err, out } of left) assert.deepStrictEqual([out, err], ["0\n", ""])
      const full = yield* all(writing.map((args) => cli(args, { stdout: "/dev/full" })))
      for (const { code, said } of full) {
        assert.deepStrictEqual([code, said], [1, ["✗ standard output can't be written to: ENOSPC"]])
      }
    }))

  it.effect("116: without input, terminal and colours; in twenty columns; as JSON nothing but JSON", () =>
    Effect.gen(function*() {
      const database = yield* filled
      const json = yield* all([
        ["jobs", "list", "--json"],
        ["jobs", "show", "one", "--json"],
        ["jobs", "counts", "--json"],
        ["jobs", "cancel", "one", "--json"],
        ["trace", "list", "--json"],
        ["trace", "show", "one", "--json"]
      ].map((args) => cli([...args, "--database", database])))
      for (const it of json) assert.isAtLeast(it.json.length, 1)
      const counts = `$NODE $1 jobs counts --database ${database} <&- >/dev/null; echo $?`
      const purge = `$NODE $1 jobs purge --state dead --database ${database} <&- 2>/dev/null; echo $?`
      const closed = yield* shell(`${counts}; ${purge}`, binary)
      assert.deepStrictEqual([closed.out, closed.err], ["0\n2\n", ""])
      if (hasTerminal) {
        const env = { COLUMNS: "20", NO_COLOR: "1" }
        for (const args of [["jobs", "list"], ["jobs", "show", "one"], ["trace", "list"], ["trace", "show", "one"]]) {
          const shown = yield* onTerminal(binary, [...args, "--database", database], { env })
          for (const line of shown.split("\r\n").slice(0, -1)) assert.isBelow(line.length, 20, line)
          // oxlint-disable-next-line no-control-regex
          assert.notMatch(shown, /\u001b/)
        }
      }
    }))

  it.effect("117: without a home, from a folder that is gone", () =>
    Effect.gen(function*() {
      const database = yield* filled
      const gone = join(yield* temporaryFolder("gone"), "here")
      mkdirSync(gone)
      const line = `cd ${gone}; rmdir ${gone}; $NODE "$1" jobs counts --json --database ${database}`
      const ended = yield* shell(line, binary, { HOME: undefined })
      assert.deepStrictEqual([ended.err, ended.code], ["", 0])
      assert.match(ended.out, /^\{"queued":1,/)
    }))

  it.effect("118: passwords are in no output", () =>
    Effect.gen(function*() {
      const secret = "hunter2"
      const urls = [`postgres://me:${secret}@127.0.0.1:1/shop`, `postgresql://${secret}@[::1`, `mysql://${secret}@x/y`]
      const ended = yield* all(
        urls.flatMap((url) => [
          cli(["jobs", "list", "--database", url, "--debug"]),
          cli(["trace", "list", "--database", url]),
          cli(["migrate", "report", "x"], { env: { PENGUIFLOW_DATABASE_URL: url } }),
          cli(["jobs", "list", "--redis", url])
        ])
      )
      for (const { code, err, out } of ended) {
        assert.deepStrictEqual([code, out], [2, ""], err)
        assert.notInclude(err, secret)
      }
    }))

  it("leaves nothing in the project's folder", () => {
    assert.deepStrictEqual(readdirSync(file()).filter((name) => /sqlite|memory/.test(name)), [])
  })
})
