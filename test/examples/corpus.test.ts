import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { gunzipSync, gzipSync } from "node:zlib"

const root = join(import.meta.dirname, "..", "..")
const bundled = join(root, "examples", "data", "sotu.ndjson.gz")
const lines = gunzipSync(readFileSync(bundled)).toString().trim().split("\n")

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "penguiflow-corpus-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Runs the command in a directory of its own, so that its default database is there, too. */
const corpus = (
  cwd: string,
  args: ReadonlyArray<string>,
  onErr?: (err: string, kill: (signal: NodeJS.Signals) => void) => void
) =>
  Effect.promise(async (): Promise<Ended> => {
    const process = spawn(
      globalThis.process.execPath,
      ["--conditions=source", join(root, "examples", "10_corpus.ts"), ...args],
      { cwd, stdio: ["ignore", "pipe", "pipe"], env: { ...globalThis.process.env, FORCE_COLOR: "0" } }
    )
    let out = ""
    let err = ""
    process.stdout.on("data", (chunk) => out += chunk)
    process.stderr.on("data", (chunk) => {
      err += chunk
      onErr?.(err, (signal) => process.kill(signal))
    })
    const [code] = await once(process, "close")
    return { code, out, err }
  })

/** A row of the table "This run". */
const row = (ended: Ended, label: string) =>
  Number(new RegExp(`^  ${label} +([\\d.]+)$`, "m").exec(ended.out)?.[1] ?? NaN)

describe("the first real run", () => {
  it.effect(
    "--serve shows it on the dashboard while it runs, and goes on serving until Ctrl-C",
    () =>
      Effect.gen(function*() {
        const cwd = yield* directory
        const seen: Array<Promise<string>> = []
        const ended = yield* corpus(cwd, ["--serve", "--port", "0", "--limit", "12"], (err, kill) => {
          const url = /The dashboard is at (\S+)\n/.exec(err)?.[1]
          if (url === undefined || seen.length > 0 || !err.includes("Still serving")) return
          const get = (path: string) => fetch(`${url}${path}`).then((response) => response.text())
          seen.push(get("/api/traces?flow=corpus"), get("/api/flows/corpus/diagram"))
          void Promise.allSettled(seen).then(() => kill("SIGINT"))
        })
        const [traces, diagram] = yield* Effect.promise(() => Promise.all(seen))
        assert.strictEqual(JSON.parse(traces!).traces.length, 12)
        assert.match(diagram!, /^<svg /)
        assert.strictEqual(ended.code, 0, ended.err)
        assert.strictEqual(row(ended, "stored now"), 12)
        assert.match(ended.err, /Still serving at http:\/\/127\.0\.0\.1:\d+\. Ctrl-C ends it\.\n$/)
      }),
    60_000
  )

  it.effect(
    "stores the documents, tells what it did, and a second run stores nothing twice",
    () =>
      Effect.gen(function*() {
        const cwd = yield* directory
        const first = yield* corpus(cwd, ["--limit", "12", "--concurrency", "3"])
        assert.strictEqual(first.code, 0, first.err)
        assert.strictEqual(row(first, "stored now"), 12)
        assert.strictEqual(row(first, "failed"), 0)
        assert.isAbove(row(first, "documents a second"), 0)
        for (
          const part of [
            "The flow",
            "Topics by century",
            "Nearest to 1801",
            "validate",
            "verify",
            "land and settlement"
          ]
        ) {
          assert.include(first.out, part)
        }
        assert.include(first.out, "validate ┼─ author ───┼─ gather ── store ── verify")
        assert.include(first.err, "12 of 12 documents")
        // Neither colours nor control codes where nobody looks.
        assert.notInclude(first.out + first.err, "\u001b")
        assert.notInclude(first.out + first.err, "\r")

        const second = yield* corpus(cwd, ["--limit", "12"])
        assert.strictEqual(second.code, 0, second.err)
        assert.strictEqual(row(second, "stored now"), 0)
        assert.strictEqual(row(second, "found as they are, not stored twice"), 12)
        assert.strictEqual(row(second, "in the database"), 12)
        assert.include(second.out, "12 documents stored before, none stored twice.")

        const database = new DatabaseSync(join(cwd, ".penguiflow", "corpus.sqlite"))
        const counted = database.prepare(
          "SELECT (SELECT count(*) FROM documents) d, (SELECT count(*) FROM dimensions) x"
        ).get()
        database.close()
        assert.strictEqual(counted?.["d"], 12)
        assert.strictEqual(counted?.["x"], 12 * 8)
      }),
    60_000
  )

  it.effect(
    "a damaged document is one clear failure each, the rest is stored, and the exit code is 1",
    () =>
      Effect.gen(function*() {
        const cwd = yield* directory
        const input = join(cwd, "broken.ndjson.gz")
        const good = lines.slice(0, 3)
        writeFileSync(
          input,
          gzipSync(Buffer.concat([
            Buffer.from([
              good[0],
              "{\"id\": \"cut",
              "",
              JSON.stringify({ id: "wrong", year: "1800", name: 5, party: "x", text: "text" }),
              JSON.stringify({ id: "empty", year: 1800, name: "A", party: "x", text: "  " }),
              good[1],
              good[1],
              "[1, 2]",
              ""
            ].join("\n")),
            Buffer.from([0xff, 0xfe, 0x0a]),
            Buffer.from(`${good[2]}\n`)
          ]))
        )
        const ended = yield* corpus(cwd, ["--input", input, "--db", "x.sqlite"])
        assert.strictEqual(ended.code, 1, ended.err)
        assert.strictEqual(row(ended, "stored now"), 3)
        assert.strictEqual(row(ended, "failed"), 6)
        for (
          const failure of [
            /line 2: is not JSON: /,
            /line 4 \(wrong\): "year" expected (number|an integer)[^;]*; "name" expected string/,
            /line 5 \(empty\): "text" must not be empty/,
            /line 7 \(1791_george_washington_n\): has the same id as line 6/,
            /line 8: expected object/,
            /line 9: is not text in UTF-8/
          ]
        ) assert.match(ended.out, failure)
        assert.include(ended.out, "6 of 9 documents failed. The others are stored.")
      }),
    60_000
  )

  it.effect("a gzip file that is cut off gives what stood before the cut", () =>
    Effect.gen(function*() {
      const cwd = yield* directory
      const input = join(cwd, "cut.gz")
      const whole = readFileSync(bundled)
      writeFileSync(input, whole.subarray(0, Math.floor(whole.length / 20)))
      const ended = yield* corpus(cwd, ["--input", input, "--db", "x.sqlite"])
      assert.strictEqual(ended.code, 1, ended.err)
      assert.isAbove(row(ended, "stored now"), 3)
      assert.strictEqual(row(ended, "failed"), 1)
      assert.match(ended.out, /line \d+: the compressed file is damaged from here on \(unexpected end of file\)/)
    }), 60_000)

  it.effect(
    "Ctrl-C finishes what is open, says how far it came, and exits with 130; the next run does the rest",
    () =>
      Effect.gen(function*() {
        const cwd = yield* directory
        const input = join(cwd, "some.ndjson")
        writeFileSync(input, lines.slice(0, 60).join("\n"))
        let sent = false
        const ended = yield* corpus(cwd, ["--input", input, "--concurrency", "2"], (err, kill) => {
          if (sent || !/^\d+ of 60 documents/m.test(err)) return
          sent = true
          // npm sends on what the terminal sent already: twice at once is one.
          kill("SIGINT")
          kill("SIGINT")
        })
        assert.strictEqual(ended.code, 130, ended.err)
        const stored = row(ended, "stored now")
        assert.isAbove(stored, 0)
        assert.isBelow(stored, 60)
        assert.strictEqual(row(ended, "failed"), 0)
        assert.include(ended.out, `Interrupted after ${stored} of 60 documents.`)
        const rest = yield* corpus(cwd, ["--input", input])
        assert.strictEqual(rest.code, 0, rest.err)
        assert.strictEqual(row(rest, "found as they are, not stored twice"), stored)
        assert.strictEqual(row(rest, "stored now"), 60 - stored)
      }),
    60_000
  )

  it.effect("a second Ctrl-C ends at once, and what was committed is safe", () =>
    Effect.gen(function*() {
      const cwd = yield* directory
      let lock: DatabaseSync | undefined
      let sent = 0
      const ended = yield* corpus(cwd, ["--limit", "60", "--concurrency", "4"], (err, kill) => {
        if (lock !== undefined || !/^\d+ of 60 documents/m.test(err)) return
        // Somebody else writes, so that what is open can't be finished.
        lock = new DatabaseSync(join(cwd, ".penguiflow", "corpus.sqlite"), { timeout: 2000 })
        lock.exec("BEGIN IMMEDIATE")
        sent = performance.now()
        kill("SIGINT")
        setTimeout(() => kill("SIGINT"), 1000)
      })
      lock?.close()
      assert.strictEqual(ended.code, 130, ended.err)
      assert.include(ended.err, "Stopping: what is open is finished")
      assert.include(ended.err, "Ended at once.")
      assert.isBelow(performance.now() - sent, 3000)
      const next = yield* corpus(cwd, ["--limit", "60"])
      assert.strictEqual(next.code, 0, next.err)
      assert.strictEqual(row(next, "in the database"), 60)
      assert.isAbove(row(next, "found as they are, not stored twice"), 0)
    }), 60_000)

  it.effect(
    "wrong usage, an input that is not there and a database that can't be opened exit with 2, and say why",
    () =>
      Effect.gen(function*() {
        const cwd = yield* directory
        writeFileSync(join(cwd, "empty"), "\n\n")
        const cases: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
          [["--limit", "0"], /--limit.*whole number from 1 on/],
          [["--nope"], /Unrecognized flag: --nope/],
          [["--input", "nowhere.gz"], /can't read nowhere\.gz.*--input/],
          [["--input", "empty"], /empty is empty: there is nothing to do/],
          [["--db", cwd], /it is a directory/],
          [["--db", join(cwd, "a", "b", "x.sqlite")], /the directory .*b does not exist\. Create it/]
        ]
        for (const [args, said] of cases) {
          const ended = yield* corpus(cwd, args)
          assert.strictEqual(ended.code, 2, ended.err)
          assert.match(ended.err, said)
          assert.notMatch(ended.err, /\n {4}at /)
        }
        const help = yield* corpus(cwd, ["--help"])
        assert.strictEqual(help.code, 0)
        for (const flag of ["--input", "--db", "--concurrency", "--limit", "--near", "Exit codes"]) {
          assert.include(help.out, flag)
        }
      }),
    60_000
  )
})
