/**
 * @title From an old enrichment to the flow, behind one HTTP endpoint, without stopping
 *
 *     node --conditions=source examples/40_migration.ts
 *     node --conditions=source examples/40_migration.ts --limit 66 --html report.html
 *     node --conditions=source examples/40_migration.ts --serve 8080
 *
 * The first sends all documents in shadow mode, shows the report, and looks at what differs; then it switches to a canary
 * and to the flow while documents are sent, mends the old one, and asks again. The last serves the endpoint:
 *
 *     curl -X PUT localhost:8080/mode -H content-type:application/json -d '{"mode":"canary","share":0.1}'
 */
// oxlint-disable-next-line import/no-unassigned-import
import "effect/schema/SchemaJITCompiler/enable"
import { Effect, Fiber, Layer, Stream } from "effect"
import { FetchHttpClient } from "effect/http"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Migration from "penguiflow/Migration"
import type { RawLine } from "./corpus/address.ts"
import { readInput } from "./corpus/input.ts"
import { clientOf, enrichment, live } from "./migration/app.ts"
import { Enrichment, serve, thresholds } from "./migration/http.ts"
import { planted } from "./migration/legacy.ts"

const { values } = parseArgs({
  options: {
    limit: { type: "string" },
    html: { type: "string" },
    serve: { type: "string" }
  }
})

const say = (text: string) => Effect.sync(() => process.stdout.write(`${text}\n`))

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "penguiflow-migration-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const demonstrate = (lines: ReadonlyArray<RawLine>) =>
  Effect.gen(function*() {
    const { migration } = yield* Enrichment
    const client = yield* clientOf
    const sendAll = Effect.forEach(lines, (line) => client.enrichment.enrich({ payload: line }), {
      concurrency: 4,
      discard: true
    })
    yield* say(`${lines.length} documents in shadow mode…`)
    yield* sendAll
    yield* migration.settled
    const report = yield* client.enrichment.report()
    yield* say(`${Migration.toText(report)}\n`)
    if (values.html !== undefined) {
      const html = yield* client.enrichment.page()
      yield* Effect.sync(() => writeFileSync(values.html!, html))
      yield* say(`The same as a page: ${values.html}\n`)
    }

    // What differs, one by one: for a report as good as this one has to be known.
    const reports = yield* Migration.Reports
    const differing = yield* differ(reports)
    const expected = lines.filter(({ line }) => planted.isWrong(line)).map(({ line }) => `line-${line}`)
    const found = differing.filter((id) => expected.includes(id))
    yield* say(
      `Planted ${expected.length} wrong topics; found ${found.length} of them, and ${
        differing.length - found.length
      } other differences.`
    )

    // Requests go on while the mode changes: each has the mode of its beginning.
    const sending = yield* Effect.forkChild(sendAll, { startImmediately: true })
    const served = yield* migration.counters
    for (const mode of ["canary", "flow"] as const) {
      yield* Effect.sleep("250 millis")
      yield* client.enrichment.switch({ payload: { mode } })
    }
    yield* Fiber.join(sending)
    const now = yield* migration.counters
    yield* say(
      `While documents were sent: shadow, canary, flow. Of ${lines.length} requests the old one answered ${
        now.legacy - served.legacy
      }, the flow ${now.flow - served.flow}; ${now.fallbacks} fell back.`
    )

    // The old one was wrong: it is mended, and what is compared from now on is asked alone.
    yield* client.enrichment.switch({ payload: { mode: "shadow" } })
    planted.bug = false
    const from = Date.now()
    yield* sendAll
    yield* migration.settled
    const mended = yield* migration.report({ ...thresholds, from })
    yield* say(`\nAfter the old one was mended: ${mended.verdict.decision}`)
    for (const { holds, text } of mended.verdict.reasons) yield* say(`  ${holds ? "✓" : "✗"} ${text}`)
  })

const differ = (reports: Migration.ReportsStore) =>
  Effect.gen(function*() {
    const ids: Array<string> = []
    yield* Stream.runForEach(reports.read("enrichment", {}), (entry) =>
      Effect.sync(() => {
        if (entry._tag === "Compared" && entry.result !== "match") ids.push(entry.traceId)
      }))
    return ids
  })

const main = Effect.gen(function*() {
  const databases = yield* folder
  const { lines } = yield* readInput(join(import.meta.dirname, "data", "sotu.ndjson.gz"))
  const taken = lines.slice(0, values.limit === undefined ? lines.length : Number(values.limit))
  const served = serve(Number(values.serve ?? 0)).pipe(
    Layer.provideMerge(enrichment(databases)),
    Layer.provideMerge(live(databases, lines))
  )
  const program = values.serve === undefined
    ? demonstrate(taken)
    : Effect.andThen(
      say(`Serving on http://127.0.0.1:${values.serve}: POST /enrich, PUT /mode, GET /report.html`),
      Effect.never
    )
  yield* Effect.provide(program, Layer.merge(served, FetchHttpClient.layer))
}).pipe(Effect.scoped)

const fiber = Effect.runFork(main)
process.once("SIGINT", () => fiber.interruptUnsafe()).once("SIGTERM", () => fiber.interruptUnsafe())
fiber.addObserver((exit) => {
  if (exit._tag === "Failure" && !exit.cause.reasons.every((reason) => reason._tag === "Interrupt")) {
    process.stderr.write(`✗ ${exit.cause}\n`)
    process.exitCode = 1
  }
})
