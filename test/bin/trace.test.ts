import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Flow } from "penguiflow"
import * as MigrationReportsSql from "penguiflow/layers/MigrationReportsSql"
import * as Postgres from "penguiflow/layers/Postgres"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as TraceStoreSql from "penguiflow/layers/TraceStoreSql"
import * as Migration from "penguiflow/Migration"
import * as TraceStore from "penguiflow/TraceStore"
import { add } from "../utils/nodes.ts"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { temporaryFolder } from "../utils/servers/process.ts"
import { command, hasTerminal, onTerminal } from "./command.ts"
import { flow, two } from "./modules/factor.ts"

const binary = "src/bin/penguiflow.ts"
const module = "test/bin/modules/factor.ts"

/** Two traces of `factor`, and one of another flow that failed. */
const filled = Effect.gen(function*() {
  yield* TraceStore.run(flow, 21, { traceId: "first", headers: { tenant: "acme" } })
  yield* TraceStore.run(flow, 1, { traceId: "second" })
  yield* Effect.exit(TraceStore.run(Flow.make("other", [add("inc", 1).to()]), "x" as never, { traceId: "third" }))
  yield* TraceStore.TraceStore.use((store) => store.flush)
}).pipe(Effect.provide(two))

const sqlite = Effect.map(temporaryFolder("traces"), (folder) => {
  const filename = join(folder, "traces.sqlite")
  return { folder, flag: filename, sql: Layer.orDie(Sqlite.layer({ filename })) }
})

describe("penguiflow trace", () => {
  it.live("lists traces, shows one with each attempt by its time, and gives all of it as JSON", () =>
    Effect.scoped(Effect.gen(function*() {
      const { flag, sql } = yield* sqlite
      yield* Effect.provide(filled, TraceStoreSql.layer().pipe(Layer.provide(sql)))
      const trace = (...args: ReadonlyArray<string>) => command(binary, ["trace", ...args, "--database", flag])
      const [table, failed, json, shown, raw, nothing] = yield* Effect.all([
        trace("list"),
        trace("list", "--status", "failed"),
        trace("list", "--flow", "factor", "--json", "--limit", "1"),
        trace("show", "first"),
        trace("show", "first", "--json"),
        trace("show", "nope")
      ], { concurrency: 2 })
      const lines = table.out.split("\n")
      assert.match(lines[0]!, /^TRACE +FLOW +STATUS +TENANT +AGE +TOOK +REASON$/)
      assert.match(lines[1]!, /^third +other +failed +default +\d+s .*INVALID_INPUT/)
      assert.match(lines[3]!, /^first +factor +succeeded +acme +\d+s +\d+ ms$/)
      assert.strictEqual(failed.out.split("\n").length, 3)
      assert.deepStrictEqual(json.json.map((it) => (it as TraceStore.Summary).traceId), ["second"])
      assert.match(shown.out, /^status +succeeded$/m)
      assert.match(shown.out, /^input +21$/m)
      const bars = shown.out.split("\n\n")[1]!.split("\n")
      assert.match(bars[0]!, /^read +\+[\d.]+ ms +[\d.]+ ms +█+$/)
      assert.match(bars[1]!, /^times +\+\d+ ms +[\d.]+ ms +failed +▒+$/)
      assert.strictEqual(bars[2], "  Busy: once more")
      assert.strictEqual(bars[3], "  tried again after 30 ms")
      assert.match(bars[4]!, /^times +try 2 +\+\d+ ms +[\d.]+ ms +█+$/)
      assert.isAbove(bars[4]!.indexOf("█"), bars[0]!.indexOf("█"))
      const [all] = raw.json as ReadonlyArray<{ readonly trace: TraceStore.Stored; readonly events: Array<unknown> }>
      assert.deepStrictEqual(all!.trace.outcome, { _tag: "Kept", json: [42] })
      assert.strictEqual(all!.events.length, all!.trace.events)
      assert.deepStrictEqual([nothing.said, nothing.code], [["✗ no trace has the id \"nope\""], 2])
      if (hasTerminal) {
        const narrow = yield* onTerminal(binary, ["trace", "show", "first", "--database", flag], {
          env: { COLUMNS: "20" }
        })
        for (const line of narrow.split("\r\n").slice(0, -1)) assert.isBelow(line.length, 20)
      }
    })))

  it.live("replays a trace, and says whether outcome and way are the same", () =>
    Effect.scoped(Effect.gen(function*() {
      const { flag, sql } = yield* sqlite
      const store = TraceStoreSql.layer().pipe(Layer.provide(sql))
      yield* Effect.provide(filled, store)
      const replay = (...args: ReadonlyArray<string>) =>
        command(binary, ["trace", "replay", module, ...args, "--database", flag])
      const [same, other, missing, none, away] = yield* Effect.all([
        replay("second", "--layer", "two", "--json"),
        replay("second", "--layer", "three"),
        replay("third", "--layer", "two"),
        replay("nope", "--layer", "two"),
        command(binary, ["trace", "replay", "test/bin/modules/numbers.ts", "x", "--database", flag], {
          env: { NO_DATABASE: "1" }
        })
      ], { concurrency: 2 })
      // The first try of a process fails: the second trace was stored without that.
      const [told] = same.json as ReadonlyArray<TraceStore.Replay>
      assert.deepStrictEqual([same.code, told!.outcome.same, told!.path.same], [1, true, false])
      assert.match(
        other.out,
        /^replay +different\noutcome +different\nstored +succeeded\n +\[\n +2\n +\]\nnow +succeeded\n +\[\n +3$/m
      )
      assert.match(other.out, /^added +times \(attempt 1\) failed\n +times \(attempt 2\) succeeded$/m)
      assert.strictEqual(other.code, 1)
      for (const refused of [missing, none]) {
        assert.deepStrictEqual([refused.code, refused.out, refused.said], [2, "", [
          "✗ The trace can't be replayed: the store has no trace of the flow \"factor\" under this id"
        ]])
      }
      assert.deepStrictEqual([away.code, away.said], [2, [
        "✗ the layer of the flow \"numbers\" can't be built: the database at 127.0.0.1 is away"
      ]])
      const kept = yield* Effect.provide(TraceStore.TraceStore.use((it) => it.list()), store)
      assert.strictEqual(kept.length, 3)
    })))

  it.effect("an older store is not tidied by somebody who only looks", () =>
    Effect.gen(function*() {
      const { flag, sql } = yield* sqlite
      const old = 1000
      const note = (store: TraceStore.Service) =>
        store.note([{
          _tag: "TraceStarted",
          flow: "old",
          traceId: "old",
          node: undefined,
          attempt: undefined,
          at: old,
          durationMs: undefined,
          tenant: "default"
        }])
      yield* Effect.provide(
        TraceStore.TraceStore.use(note),
        TraceStoreSql.layer({ maxAge: "36500 days" }).pipe(Layer.provide(sql))
      )
      for (let i = 0; i < 2; i++) {
        const listed = yield* command(binary, ["trace", "list", "--database", flag, "--json"])
        assert.strictEqual(listed.json.length, 1)
      }
    }))

  describe.skipIf(!PostgresServer.available)("with a server", () => {
    it.live("reads PostgreSQL as well", () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* PostgresServer.start()
        const sql = Layer.orDie(Postgres.layer({ url: server.url }))
        yield* Effect.provide(filled, TraceStoreSql.layer().pipe(Layer.provide(sql)))
        const env = { PENGUIFLOW_DATABASE_URL: `postgres://postgres@127.0.0.1:${server.port}/postgres` }
        const listed = yield* command(binary, ["trace", "list", "--tenant", "acme", "--json"], { env })
        assert.deepStrictEqual(listed.json.map((it) => (it as TraceStore.Summary).traceId), ["first"])
        assert.deepStrictEqual([listed.code, listed.err], [0, ""])
      })))
  })
})

describe("penguiflow migrate report", () => {
  it.live("says what is stored of a migration: as text, as JSON, as a page in a file", () =>
    Effect.scoped(Effect.gen(function*() {
      const { flag, folder, sql } = yield* sqlite
      yield* Effect.scoped(Effect.gen(function*() {
        const migration = yield* Migration.make("sums", {
          legacy: (n) => Effect.succeed(n === 3 ? 0 : n + 1),
          flow: Flow.make("sums", [add("inc", 1).to()]),
          mode: "shadow"
        })
        for (let n = 0; n < 5; n++) yield* migration.run(n)
        yield* migration.settled
      })).pipe(Effect.provide(MigrationReportsSql.layer.pipe(Layer.provide(sql))))
      const report = (...args: ReadonlyArray<string>) =>
        command(binary, ["migrate", "report", ...args, "--database", flag])
      const page = join(folder, "report.html")
      const [text, json, html, none, readonly] = yield* Effect.all([
        report("sums"),
        report("sums", "--format", "json", "--compared", "5", "--match-rate", "0"),
        report("sums", "--format", "html", "--out", page),
        report("nope"),
        report("sums", "--out", "/proc/nope/x")
      ], { concurrency: 2 })
      assert.match(text.out, /^Migration sums: hold\n/)
      assert.deepStrictEqual([text.code, text.err], [0, ""])
      const [told] = json.json as ReadonlyArray<Migration.Report>
      assert.deepStrictEqual([told!.compared, told!.matches, told!.mismatches], [5, 4, 1])
      assert.isTrue(told!.verdict.reasons.every(({ holds, text }) => holds || !text.includes("compared")))
      assert.deepStrictEqual([html.code, html.out, html.err], [0, "", ""])
      assert.match(readFileSync(page, "utf8"), /^<!doctype html>/i)
      assert.deepStrictEqual([none.code, none.said], [2, [
        "✗ nothing is known of a migration \"nope\": is it the right name and database?"
      ]])
      assert.deepStrictEqual([readonly.code, readonly.said], [1, ["✗ /proc/nope/x: can't be written: ENOENT"]])
    })))
})
