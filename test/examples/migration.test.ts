import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import { FetchHttpClient, HttpServer } from "effect/http"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Migration from "penguiflow/Migration"
import { RawLine } from "../../examples/corpus/address.ts"
import { readInput } from "../../examples/corpus/input.ts"
import { clientOf, enrichment, live } from "../../examples/migration/app.ts"
import { Enrichment, serve } from "../../examples/migration/http.ts"
import { planted } from "../../examples/migration/legacy.ts"

const root = join(import.meta.dirname, "..", "..")

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "penguiflow-migration-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const served = <A, E>(
  body: (lines: ReadonlyArray<RawLine>, databases: string) => Effect.Effect<
    A,
    E,
    Enrichment | Migration.Reports | HttpServer.HttpServer | Layer.Success<typeof FetchHttpClient.layer>
  >
) =>
  Effect.scoped(Effect.gen(function*() {
    const databases = yield* folder
    const { lines } = yield* readInput(join(root, "examples", "data", "sotu.ndjson.gz"))
    const server = serve(0).pipe(Layer.provideMerge(enrichment(databases)), Layer.provideMerge(live(databases, lines)))
    return yield* Effect.provide(body(lines, databases), Layer.merge(server, FetchHttpClient.layer))
  }))

const count = (file: string, table: string) => {
  const database = new DatabaseSync(file, { readOnly: true })
  try {
    return Number(database.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.["n"])
  } finally {
    database.close()
  }
}

describe("examples/40_migration", () => {
  it.live("over the whole corpus the report finds the planted mistakes, all of them and nothing else", () =>
    served((lines, databases) =>
      Effect.gen(function*() {
        const { migration } = yield* Enrichment
        const client = yield* clientOf
        yield* Effect.forEach(lines, (line) => client.enrichment.enrich({ payload: line }), {
          concurrency: 4,
          discard: true
        })
        yield* migration.settled
        const expected = lines.filter(({ line }) => planted.isWrong(line)).map(({ line }) => `line-${line}`)
        assert.strictEqual(expected.length, Math.round(0.03 * lines.length))
        const reports = yield* Migration.Reports
        const entries = yield* Stream.runCollect(reports.read("enrichment", {}))
        assert.deepStrictEqual(
          entries.flatMap((it) => it._tag === "Compared" && it.result === "mismatch" ? [it.traceId] : []).toSorted(),
          expected.toSorted()
        )
        const report = yield* client.enrichment.report()
        assert.deepStrictEqual(
          [report.compared, report.matches, report.mismatches, report.flowFailures, report.legacyFailures],
          [lines.length, lines.length - expected.length, expected.length, 0, 0]
        )
        assert.deepStrictEqual(report.paths.map(({ count, path }) => [path, count]), [["/topic", expected.length]])
        assert.strictEqual(report.verdict.decision, "hold")
        // The slow path is seen: 40 ms and more in the slowest 5 %, a few in the middle.
        assert.isAbove(report.latency.legacy.p95, 40)
        assert.isAbove(report.latency.legacy.p95, 3 * report.latency.legacy.p50)
        // Nothing was written twice: the flow's own database is empty, the shadow's is full.
        assert.strictEqual(count(join(databases, "legacy.sqlite"), "enriched"), lines.length)
        assert.strictEqual(count(join(databases, "shadow.sqlite"), "documents"), lines.length)
        assert.strictEqual(count(join(databases, "flow.sqlite"), "documents"), 0)
        const page = yield* client.enrichment.page()
        assert.match(page, /^<!doctype html>[\s\S]*Migration enrichment/)
      })
    ))

  it.live("the mode is switched over HTTP while requests run; each is answered, by one side", () =>
    served((lines, databases) =>
      Effect.gen(function*() {
        const { migration } = yield* Enrichment
        const client = yield* clientOf
        const some = lines.slice(0, 60)
        yield* client.enrichment.switch({ payload: { mode: "legacy" } })
        const sending = yield* Effect.forkChild(
          Effect.forEach(some, (line) => client.enrichment.enrich({ payload: line }), { concurrency: 3 }),
          { startImmediately: true }
        )
        const answered = (wanted: number) =>
          Effect.gen(function*() {
            for (;;) {
              const { flow, legacy } = yield* migration.counters
              if (flow + legacy >= wanted) return
              yield* Effect.sleep(1)
            }
          })
        yield* answered(15)
        yield* client.enrichment.switch({ payload: { mode: "canary", share: 0.5 } })
        yield* answered(40)
        yield* client.enrichment.switch({ payload: { mode: "flow" } })
        const answers = yield* Fiber.join(sending)
        assert.deepStrictEqual(answers.map(({ id }) => id), some.map(({ text }) => JSON.parse(text).id))
        const { flow, legacy } = yield* migration.counters
        assert.strictEqual(flow + legacy, some.length)
        assert.isAtLeast(legacy, 15)
        assert.isAtLeast(flow, 15)
        assert.strictEqual(count(join(databases, "legacy.sqlite"), "enriched"), legacy)
        assert.strictEqual(count(join(databases, "flow.sqlite"), "documents"), flow)
      })
    ))

  it.live("refuses what is no document and what is no mode, whichever side is asked", () =>
    served(() =>
      Effect.gen(function*() {
        const client = yield* clientOf
        const server = yield* HttpServer.HttpServer
        const port = server.address._tag === "UnixPathAddress" ? 0 : server.address.port
        for (const mode of ["legacy", "flow"] as const) {
          yield* client.enrichment.switch({ payload: { mode } })
          const payload = new RawLine({ line: 1, text: "{" })
          const rejected = yield* Effect.flip(client.enrichment.enrich({ payload }))
          assert.strictEqual(rejected._tag, "Rejected")
        }
        const wrong = yield* Effect.promise(() =>
          fetch(`http://127.0.0.1:${port}/mode`, {
            method: "PUT",
            headers: { "content-type": "application/json" },
            body: `{"mode":"penguin"}`
          })
        )
        assert.strictEqual(wrong.status, 400)
        assert.include(yield* Effect.promise(() => wrong.text()), "mode")
      })
    ))

  it.live("runs as a command, from the shadow to the verdict after mending", () =>
    Effect.scoped(Effect.gen(function*() {
      const cwd = yield* folder
      const page = join(cwd, "report.html")
      const { code, err, out } = yield* Effect.promise(async () => {
        const child = spawn(
          process.execPath,
          ["--conditions=source", join(root, "examples", "40_migration.ts"), "--limit", "66", "--html", page],
          { cwd, stdio: ["ignore", "pipe", "pipe"] }
        )
        let [out, err] = ["", ""]
        child.stdout.on("data", (chunk) => out += chunk)
        child.stderr.on("data", (chunk) => err += chunk)
        const [code] = await once(child, "close")
        return { code, out, err }
      })
      assert.deepStrictEqual([code, err], [0, ""])
      assert.match(out, /^Migration enrichment: hold$/m)
      assert.match(out, /^Planted 2 wrong topics; found 2 of them, and 0 other differences\.$/m)
      assert.match(out, /^While documents were sent: .* Of 66 requests /m)
      assert.match(out, /^ {2}✓ the flow's p95 is/m)
      assert.match(out, /the match rate is 100\.00 %/)
      assert.include(readFileSync(page, "utf8"), "<svg")
    })))
})
