/** What every store of reports promises: a suite as a function of a layer. */
import { assert, describe, layer as shared } from "@effect/vitest"
import { Effect, type Layer, Schema, Stream } from "effect"
import { Flow, Node } from "penguiflow"
import * as Migration from "penguiflow/Migration"

const entry = (migration: string, at: number, id: string, result: "match" | "mismatch" = "match"): Migration.Entry => ({
  _tag: "Compared",
  id,
  migration,
  at,
  traceId: `trace-${id}`,
  result,
  legacyMs: 1.25,
  flowMs: 2.5,
  patch: result === "match" ? [] : [{ op: "replace", path: "/a", value: { nested: ["é", null, 1.5] } }],
  paths: result === "match" ? [] : ["/a"]
})

const readAll = (migration: string, range = {}) =>
  Migration.Reports.use((store) => Stream.runCollect(store.read(migration, range)))

/** `twice` tells whether entries that come again are known by their ids. */
export const reportsSuite = <E>(
  name: string,
  layer: Layer.Layer<Migration.Reports, E>,
  options: { readonly twice: boolean }
): void => {
  describe(`${name}`, () => {
    shared(layer)((it) => {
      it.effect("gives back what it was given, by time, each migration its own", () =>
        Effect.gen(function*() {
          const store = yield* Migration.Reports
          const others: ReadonlyArray<Migration.Entry> = [
            { _tag: "Skipped", id: "1-c", migration: "one", at: 3, reason: "busy", count: 7 },
            {
              _tag: "FellBack",
              id: "1-d",
              migration: "one",
              at: 4,
              traceId: "t",
              error: { tag: "Busy", message: "'; DROP TABLE penguiflow_migration_entries; --" }
            }
          ]
          yield* store.add([entry("one", 1, "1-a"), entry("one", 2, "1-b", "mismatch"), entry("two", 1, "2-a")])
          yield* store.add(others)
          yield* store.add([])
          assert.deepStrictEqual(yield* readAll("one"), [
            entry("one", 1, "1-a"),
            entry("one", 2, "1-b", "mismatch"),
            ...others
          ])
          assert.deepStrictEqual((yield* readAll("two")).map(({ id }) => id), ["2-a"])
          assert.deepStrictEqual(yield* readAll("three"), [])
        }))

      it.effect("reads a stretch of time: its begin belongs to it, its end does not", () =>
        Effect.gen(function*() {
          const store = yield* Migration.Reports
          yield* store.add([10, 20, 30].map((at) => entry("range", at, `r-${at}`)))
          const ids = Effect.map(readAll("range", { from: 10, to: 30 }), (found) => found.map(({ at }) => at))
          assert.deepStrictEqual(yield* ids, [10, 20])
        }))

      it.effect("reads more than it reads at a time, of one instant, too", () =>
        Effect.gen(function*() {
          const store = yield* Migration.Reports
          const all = Array.from(
            { length: 2500 },
            (_, at) => entry("many", Math.floor(at / 2000), `m-${String(at).padStart(5, "0")}`)
          )
          for (let at = 0; at < all.length; at += 500) yield* store.add(all.slice(at, at + 500))
          assert.deepStrictEqual((yield* readAll("many")).map(({ id }) => id), all.map(({ id }) => id))
        }))

      it.effect("a migration reports from it, and so does whoever has the store alone", () =>
        Effect.scoped(Effect.gen(function*() {
          const migration = yield* Migration.make("whole", {
            legacy: (n: number) => Effect.succeed(n),
            flow: Flow.make("f", [
              Node.make("f", {
                input: Schema.Number,
                output: Schema.Number,
                run: (n) => Effect.succeed(n === 3 ? 0 : n)
              }).to()
            ]),
            mode: "shadow"
          })
          for (let n = 0; n < 10; n++) yield* migration.run(n)
          yield* migration.settled
          const { compared, mismatches } = yield* migration.report()
          assert.deepStrictEqual([compared, mismatches], [10, 1])
          assert.deepStrictEqual(yield* Migration.report("whole"), yield* migration.report())
        })))

      if (!options.twice) return
      it.effect("an entry that comes again is the same entry", () =>
        Effect.gen(function*() {
          const store = yield* Migration.Reports
          yield* store.add([entry("again", 1, "x"), entry("again", 2, "y")])
          yield* store.add([entry("again", 1, "x"), entry("again", 2, "y"), entry("again", 3, "z")])
          assert.lengthOf(yield* readAll("again"), 3)
        }))
    })
  })
}
