/** A script that is a command line, as a real process: what comes in, what goes out where, and how it ends. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Circumstances, command, type Ended, file, hasTerminal, onTerminal, shell } from "./bin/command.ts"
import { ordinaryUser, temporaryFolder } from "./utils/servers/process.ts"

const script = "test/bin/modules/script.ts"
const cli = (args: ReadonlyArray<string>, circumstances?: Circumstances) => command(script, args, circumstances)

const message = (n: number, more: object = {}) => JSON.stringify({ n, ...more })
const folder = temporaryFolder("cli")

/** One line on standard error, after what the module's layer says, nothing on standard output, and this code. */
const refused = (ended: Ended, code: number, line: string) => {
  assert.deepStrictEqual(ended.said, [`✗ ${line}`])
  assert.strictEqual(ended.out, "")
  assert.strictEqual(ended.code, code)
}

describe("where messages come from", () => {
  it.effect("an argument is one message, and its result is one line of JSON", () =>
    Effect.gen(function*() {
      const ended = yield* cli([message(21)])
      assert.strictEqual(ended.out, "{\"n\":42}\n")
      assert.deepStrictEqual(ended.said, ["opened", "closed"])
      assert.strictEqual(ended.code, 0)
    }))

  it.effect("standard input is a document, or a message a line when the first line is one", () =>
    Effect.gen(function*() {
      const [document, lines, dash] = yield* Effect.all([
        cli([], { stdin: "{\n  \"n\": 1\n}\n" }),
        cli([], { stdin: `${message(1)}\n\n${message(2)}` }),
        cli(["-"], { stdin: message(3) })
      ], { concurrency: 2 })
      assert.deepStrictEqual([document.json, document.code], [[{ n: 2 }], 0])
      assert.deepStrictEqual([lines.json, lines.code], [[{ n: 2 }, { n: 4 }], 0])
      assert.deepStrictEqual([dash.json, dash.code], [[{ n: 6 }], 0])
    }))

  it.effect("a file is read like that too, and .ndjson is a message a line", () =>
    Effect.gen(function*() {
      const cwd = yield* folder
      writeFileSync(join(cwd, "one.json"), "{\n\"n\": 1 }")
      writeFileSync(join(cwd, "many.ndjson"), `{bad\n${message(2)}\n`)
      writeFileSync(join(cwd, "none.ndjson"), "")
      const [one, many, none] = yield* Effect.all([
        cli(["--file", "one.json"], { cwd }),
        cli(["--file", "many.ndjson"], { cwd }),
        cli(["--file", "none.ndjson"], { cwd })
      ], { concurrency: 2 })
      assert.deepStrictEqual([one.json, one.code], [[{ n: 2 }], 0])
      assert.deepStrictEqual([many.json, many.code], [[{ n: 4 }], 1])
      assert.include(many.said, "✗ many.ndjson:1:2: is not JSON: a name in double quotes or \"}\" was expected here")
      assert.include(many.said, "1 of 2 messages failed.")
      assert.deepStrictEqual([none.json, none.said, none.code], [[], [], 0])
    }))

  it.effect("a line is run when it is there, not when the input ends", () =>
    Effect.gen(function*() {
      let sent = 1
      const ended = yield* cli([], {
        stdin: { open: `${message(1)}\n` },
        on: ({ out }, child) => {
          if (sent === 1 && out === "{\"n\":2}\n") child.stdin?.write(`${message(++sent)}\n`)
          else if (sent === 2 && out.endsWith("{\"n\":4}\n")) child.stdin?.end(message(++sent))
        }
      })
      assert.deepStrictEqual([ended.json, ended.code], [[{ n: 2 }, { n: 4 }, { n: 6 }], 0])
    }))

  it.effect("results keep the order of their messages, whoever is done first", () =>
    Effect.gen(function*() {
      const stdin = [300, 0, 100, 0].map((wait, n) => message(n, { wait })).join("\n")
      const [together, alone] = yield* Effect.all([
        cli(["--ndjson"], { stdin }),
        cli(["--ndjson", "--concurrency", "1"], { stdin })
      ])
      const inOrder = [{ n: 0 }, { n: 2 }, { n: 4 }, { n: 6 }]
      assert.deepStrictEqual([together.json, alone.json], [inOrder, inOrder])
    }))

  it.effect("nothing at all is told, and not waited for", () =>
    Effect.gen(function*() {
      refused(yield* cli([]), 2, "stdin: holds no message")
      refused(yield* cli([], { stdin: " \n " }), 2, "stdin: holds no message")
    }))
})

describe("what is wrong with the invocation is one line, and exit code 2", () => {
  const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
    [["--fiel", "x"], "Unrecognized flag: --fiel (did you mean --file?). See script --help"],
    [["--file"], "Missing value for --file. Expected: FILE. See script --help"],
    [
      ["--concurrency", "0"],
      "Invalid value for --concurrency: \"0\". Expected a whole number from 1 on. See script --help"
    ],
    [
      ["--deadline", "soon"],
      "Invalid value for --deadline: \"soon\". Expected a duration such as \"30 seconds\", or milliseconds. See script --help"
    ],
    [
      ["{", "secret:", "1", "}"],
      "There are more arguments than one message: put it into single quotes. See script --help"
    ],
    [["1", "--file", "x"], "a message is given as an argument and by --file: give one of them"]
  ]
  for (const [args, line] of cases) {
    it.effect(args.join(" "), () => Effect.map(cli(args), (ended) => refused(ended, 2, line)))
  }
})

describe("what is wrong with the input says where and what, and never repeats it", () => {
  it.effect("not JSON", () =>
    Effect.gen(function*() {
      refused(
        yield* cli([], { stdin: "{\n  \"secret\": hunter2\n}" }),
        2,
        "stdin:2:13: is not JSON: a value was expected here"
      )
    }))

  it.effect("JSON that does not fit the flow's input", () =>
    Effect.gen(function*() {
      const ended = yield* cli([JSON.stringify({ n: "hunter2", secret: "hunter2" })])
      refused(ended, 2, "argument: does not fit the input of the flow \"numbers\": Expected number at [\"n\"]")
    }))

  it.effect("files that are not there, are directories, are no text, are too long", () =>
    Effect.gen(function*() {
      const cwd = yield* folder
      writeFileSync(join(cwd, "binary"), Buffer.from([0, 0xff, 0xfe, 1, 2, 3]))
      writeFileSync(join(cwd, "noise"), Buffer.alloc(10 * 1024 * 1024, 0xaa))
      writeFileSync(join(cwd, "long"), `"${"x".repeat(2000)}"`)
      const read = (name: string, ...more: ReadonlyArray<string>) => cli(["--file", name, ...more], { cwd })
      const [missing, directory, binary, noise, long] = yield* Effect.all([
        read("missing"),
        read("."),
        read("binary"),
        read("noise"),
        read("long", "--max-bytes", "1000")
      ], { concurrency: 2 })
      refused(missing, 2, "missing: there is no such file")
      refused(directory, 2, ".: is a directory: name a file of it")
      refused(binary, 2, "binary: is not text in UTF-8")
      refused(noise, 2, "noise: is not text in UTF-8")
      refused(long, 2, "long: is longer than 1000 bytes: --max-bytes allows more")
    }))

  it.effect("JSON that is nested without end", () =>
    Effect.gen(function*() {
      const ended = yield* cli([], { stdin: "[".repeat(200_000) + "]".repeat(200_000) })
      refused(ended, 2, "stdin: does not fit the input of the flow \"numbers\": Expected object")
    }))

  it.effect("a key named __proto__ is data like any other", () =>
    Effect.gen(function*() {
      const ended = yield* cli(["{\"n\":1,\"__proto__\":{\"do\":\"fail\"}}"])
      assert.deepStrictEqual([ended.json, ended.code], [[{ n: 2 }], 0])
    }))
})

describe("what becomes of messages", () => {
  it.effect("one that fails is a line that says where, the others go on, and the exit code is 1", () =>
    Effect.gen(function*() {
      const stdin = [
        message(1),
        message(2, { do: "fail" }),
        message(3, { do: "die" }),
        message(4, { do: "hostile" }),
        message(5)
      ].join("\n")
      const ended = yield* cli(["--ndjson"], { stdin })
      assert.deepStrictEqual(ended.json, [{ n: 2 }, { n: 10 }])
      const lines = ended.said.filter((line) => line.startsWith("✗")).toSorted()
      assert.deepStrictEqual(lines, [
        "✗ stdin:2: Refused: refuses 2 by a second line \\u001b[31m (node \"work\")",
        "✗ stdin:3: Node \"work\" died: boom (NODE_EXCEPTION)",
        "✗ stdin:4: Node \"work\" died: an error that can't be read: reading its message throws (NODE_EXCEPTION)"
      ])
      assert.deepStrictEqual(ended.said.at(-2), "3 of 5 messages failed.")
      assert.notInclude(ended.err, "    at ")
      assert.strictEqual(ended.code, 1)
    }))

  it.effect("--debug shows causes and stacks", () =>
    Effect.gen(function*() {
      const ended = yield* cli([message(3, { do: "die" }), "--debug"])
      assert.include(ended.err, "Error: boom\n    at ")
      assert.include(ended.err, "numbers.ts")
      assert.strictEqual(ended.code, 1)
    }))

  it.effect("what nodes log and print does not come between the results", () =>
    Effect.gen(function*() {
      const ended = yield* cli([message(1, { do: "log" })])
      assert.strictEqual(ended.out, "{\"n\":2}\n")
      assert.include(ended.err, "logged")
      assert.include(ended.err, "printed")
    }))

  it.effect("a secret is taken in, and leaves as a word", () =>
    Effect.gen(function*() {
      const ended = yield* cli([message(1, { secret: "hunter2" })])
      assert.deepStrictEqual(ended.json, [{ n: 2, secret: "<redacted>" }])
      assert.notInclude(ended.out + ended.err, "hunter2")
    }))

  it.effect("--stream tells parts and results apart, and of lines which they belong to", () =>
    Effect.gen(function*() {
      const part = (seq: number, value: string) => ({ _tag: "Part", node: "work", attempt: 1, seq, value })
      const result = { _tag: "Result", node: "work", value: { n: 2 } }
      const [one, lines] = yield* Effect.all([
        cli(["--stream", message(1, { do: "shout" })]),
        cli(["--stream", "--ndjson"], { stdin: `{bad\n${message(1, { do: "shout" })}\n${message(2, { do: "fail" })}` })
      ], { concurrency: 2 })
      assert.deepStrictEqual([one.json, one.code], [[part(0, "1!"), part(1, "1!!"), result], 0])
      assert.deepStrictEqual(
        lines.json,
        [part(0, "1!"), part(1, "1!!"), result].map((item) => ({ line: 2, ...item }))
      )
      assert.include(lines.err, "✗ stdin:3: Refused: refuses 2")
      assert.include(lines.err, "2 of 3 messages failed.")
      assert.strictEqual(lines.code, 1)
    }))

  it.effect("--deadline ends what takes too long", () =>
    Effect.gen(function*() {
      const ended = yield* cli(["--deadline", "100 millis", message(1, { do: "forever" })])
      assert.include(ended.err, "(DEADLINE_EXCEEDED)")
      assert.include(ended.err, "released 1")
      assert.strictEqual(ended.code, 1)
    }))

  it.effect("a layer that can't be built is one line and exit code 2; input that does not fit builds none", () =>
    Effect.gen(function*() {
      const env = { NO_DATABASE: "1" }
      const line = "the layer of the flow \"numbers\" can't be built: the database at 127.0.0.1 is away"
      refused(yield* cli([message(1)], { env }), 2, line)
      const many = yield* cli(["--ndjson"], { env, stdin: `${message(1)}\n${message(2)}\n` })
      refused(many, 2, line)
      const unfit = yield* cli(["{}"], { env })
      assert.match(unfit.err, /^✗ argument: does not fit/)
    }))
})

describe("how it ends", () => {
  it.effect("a reader who leaves ends it silently", () =>
    Effect.gen(function*() {
      const endless = "yes '{\"n\":1}' | $NODE $1 --ndjson | head -1; echo ${PIPESTATUS[1]}"
      const [results, help, completions] = yield* Effect.all([
        shell(endless, script),
        shell("$NODE $1 --help | head -1; echo ${PIPESTATUS[0]}", script),
        shell("$NODE $1 --completions bash | head -1; echo ${PIPESTATUS[0]}", script)
      ], { concurrency: 2 })
      assert.deepStrictEqual([results.out, results.said], ["{\"n\":2}\n0\n", ["opened", "closed"]])
      assert.deepStrictEqual([help.out, help.err], ["DESCRIPTION\n0\n", ""])
      assert.match(completions.out, /^#.*\n0\n$/)
      assert.strictEqual(completions.err, "")
    }))

  it.effect("everything is there for a reader who is slow", () =>
    Effect.gen(function*() {
      const slow = "for i in $(seq 20000); do echo '{\"n\":'$i'}'; done | $NODE $1 --ndjson | (sleep 1; tail -1)"
      assert.strictEqual((yield* shell(slow, script)).out, "{\"n\":40000}\n")
      const failing =
        "(for i in $(seq 3000); do echo '{\"n\":'$i'}'; done; echo '{}') | $NODE $1 --ndjson | (sleep 1; wc -l)"
      assert.strictEqual((yield* shell(failing, script)).out.trim(), "3000")
    }))

  it.effect("a full disk is one line, and exit code 1", () =>
    Effect.gen(function*() {
      const ended = yield* cli([message(1)], { stdout: "/dev/full" })
      assert.deepStrictEqual(ended.said, ["opened", "✗ standard output can't be written to: ENOSPC", "closed"])
      assert.strictEqual(ended.code, 1)
    }), { skip: !existsSync("/dev/full") })

  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    it.effect(`${signal} interrupts what is open, releases it, and ends with ${code}`, () =>
      Effect.gen(function*() {
        let sent = false
        const ended = yield* cli(["--ndjson"], {
          stdin: { open: [message(1), message(2, { do: "forever" }), ""].join("\n") },
          on: ({ err, out }, child) => {
            if (sent || !err.includes("begun 2") || out === "") return
            sent = true
            child.kill(signal)
          }
        })
        assert.deepStrictEqual(ended.said, [
          "opened",
          "begun 2",
          "Stopping. Once more ends it at once.",
          "released 2",
          "closed",
          "Interrupted: 1 message done, 1 stopped."
        ])
        assert.deepStrictEqual([ended.json, ended.code], [[{ n: 2 }], code])
      }))
  }

  it.effect("an input that never ends does not keep it when a reader has left or a signal came", () =>
    Effect.gen(function*() {
      const stopped = yield* cli([], {
        stdin: { open: `${message(1)}\n` },
        on: ({ out }, child) => void (out === "" ? undefined : child.kill("SIGTERM"))
      })
      assert.deepStrictEqual([stopped.json, stopped.code], [[{ n: 2 }], 143])
      let wrote = false
      const left = yield* cli([], {
        stdin: { open: `${message(1)}\n` },
        on: ({ out }, child) => {
          if (wrote || out === "") return
          wrote = true
          child.stdout?.destroy()
          child.stdin?.write(`${message(2)}\n`)
        }
      })
      assert.deepStrictEqual([left.said, left.code], [["opened", "closed"], 0])
    }))

  it.effect("a second signal ends it at once, whatever resists the first", () =>
    Effect.gen(function*() {
      let first = 0
      let second = 0
      const ended = yield* cli([message(1, { do: "stuck" })], {
        on: ({ err }, child) => {
          if (first === 0 && err.includes("begun 1")) {
            first = performance.now()
            child.kill("SIGINT")
          }
          if (second === 0 && err.includes("Stopping")) {
            second = 1
            setTimeout(() => {
              second = performance.now()
              child.kill("SIGINT")
            }, 300)
          }
        }
      })
      assert.strictEqual(ended.code, 130)
      assert.isBelow(performance.now() - second, 3000)
    }))

  it.effect("a node that resists is left behind after its grace, and the process ends", () =>
    Effect.gen(function*() {
      let sent = 0
      const ended = yield* cli([message(1, { do: "stuck" })], {
        on: ({ err }, child) => {
          if (sent > 0 || !err.includes("begun 1")) return
          sent = performance.now()
          child.kill("SIGTERM")
        }
      })
      assert.strictEqual(ended.code, 143)
      assert.isBelow(performance.now() - sent, 7_000)
    }))
})

describe("where it runs", () => {
  const terminal = (args: ReadonlyArray<string>, env?: Record<string, string>) => onTerminal(script, args, { env })

  it.effect(
    "on a terminal it shows how far it is, and takes that away before it writes anything else",
    () =>
      Effect.gen(function*() {
        const out = yield* terminal([message(1, { wait: 700 })])
        assert.match(out.replaceAll("\r\u001b[K", "«"), /«argument, 0\.\d s, work.*«\{"n":2\}\r\nclosed\r\nexit 0\n$/)
      }),
    { skip: !hasTerminal }
  )

  it.effect(
    "on a dumb terminal it does not, and NO_COLOR leaves colours out of the help",
    () =>
      Effect.gen(function*() {
        assert.notInclude(yield* terminal([message(1, { wait: 700 })], { TERM: "dumb" }), "\u001b")
        assert.include(yield* terminal(["--help"]), "\u001b[1m")
        assert.notInclude(yield* terminal(["--help"], { NO_COLOR: "1" }), "\u001b")
      }),
    { skip: !hasTerminal }
  )

  it.effect("where nobody watches there is neither progress nor colour nor control", () =>
    Effect.gen(function*() {
      const [slow, help] = yield* Effect.all([cli([message(1, { wait: 700 })]), cli(["--help"])], { concurrency: 2 })
      assert.deepStrictEqual(slow.said, ["opened", "closed"])
      // oxlint-disable-next-line no-control-regex
      assert.notMatch(slow.out + slow.err + help.out + help.err, /[\u001b\r]/)
    }))

  it.effect("without a home, in a narrow terminal, in a folder that is not writable", () =>
    Effect.gen(function*() {
      const user = ordinaryUser("nobody")
      const cwd = yield* temporaryFolder("cli", user)
      chmodSync(cwd, 0o555)
      const ended = yield* cli([message(1)], { cwd, user, env: { HOME: undefined, COLUMNS: "20", TERM: undefined } })
      assert.deepStrictEqual([ended.out, ended.code], ["{\"n\":2}\n", 0])
    }))

  it.effect("a file that may not be read is one line", () =>
    Effect.gen(function*() {
      const user = ordinaryUser("nobody")
      const cwd = yield* temporaryFolder("cli", user)
      const path = join(cwd, "secret.json")
      writeFileSync(path, message(1))
      chmodSync(path, 0o000)
      refused(yield* cli(["--file", path], { user }), 2, `${path}: may not be read: permission denied`)
    }))
})

describe("help, version and completions", () => {
  it.effect("say what effect/cli says", () =>
    Effect.gen(function*() {
      const [help, version, bash, zsh, fish] = yield* Effect.forEach(
        [["--help"], ["--version"], ["--completions", "bash"], ["--completions", "zsh"], ["--completions", "fish"]],
        (args) => cli(args),
        { concurrency: 2 }
      )
      for (const part of ["Numbers, doubled.", "script [flags] [<input>]", "--concurrency", "Exit codes"]) {
        assert.include(help!.out, part)
      }
      assert.strictEqual(version!.out, "script v1.2.3\n")
      for (const completion of [bash, zsh, fish]) {
        assert.include(completion!.out, "script")
        assert.include(completion!.out, "ndjson")
        assert.deepStrictEqual([completion!.code, completion!.err], [0, ""])
      }
    }))
})

describe("the example", () => {
  it.effect("counts words, with parts", () =>
    Effect.gen(function*() {
      const ended = yield* command("examples/50_cli.ts", ["--stream", "{\"text\":\"the words of a day\"}"])
      assert.deepStrictEqual(ended.json.map((item) => (item as { readonly value: unknown }).value), [
        "words",
        "day",
        { count: 2, longest: "words" }
      ])
      assert.strictEqual(readFileSync(file("examples/50_cli.ts"), "utf8").includes("FlowCli.runMain(process)"), true)
    }))
})
