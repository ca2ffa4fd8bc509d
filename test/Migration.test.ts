import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Config,
  ConfigProvider,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Redacted,
  Ref,
  Schema,
  Scope,
  Stream,
  SubscriptionRef
} from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { Flow, FlowError, Node } from "penguiflow"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as Migration from "penguiflow/Migration"

class Sorry extends Schema.TaggedError<Sorry>()("Sorry", { why: Schema.String }) {}

const flowOf = <E extends { readonly _tag: string } = never, R = never>(
  run: (n: number) => Effect.Effect<number, E, R>
) => Flow.make("doubling", [Node.make("double", { input: Schema.Number, output: Schema.Number, run }).to()])

const doubling = flowOf((n) => Effect.succeed(2 * n))
const legacy = (n: number) => Effect.succeed(2 * n)

/** A store that can be looked into. */
const noting = Effect.sync(() => {
  const entries: Array<Migration.Entry> = []
  const store: Migration.ReportsStore = {
    add: (more) => Effect.sync(() => void entries.push(...more)),
    read: (migration) => Stream.suspend(() => Stream.fromIterable(entries.filter((it) => it.migration === migration)))
  }
  return { entries, layer: Layer.succeed(Migration.Reports, store) }
})

const withStore = (store: Partial<Migration.ReportsStore>) =>
  Layer.succeed(Migration.Reports, { add: () => Effect.void, read: () => Stream.empty, ...store })

const only = (entries: ReadonlyArray<Migration.Entry>): Extract<Migration.Entry, { readonly _tag: "Compared" }> => {
  const [entry, ...more] = entries
  assert.deepStrictEqual(more, [])
  if (entry?._tag !== "Compared") throw new Error("nothing was compared")
  return entry
}

describe("Migration", () => {
  describe("modes", () => {
    it.effect("legacy alone answers in legacy mode, the flow alone in flow mode", () =>
      Effect.gen(function*() {
        const mode = yield* SubscriptionRef.make<Migration.Mode>("legacy")
        let runs = 0
        const migration = yield* Migration.make("m", {
          legacy: (n) => Effect.succeed(n + 100),
          flow: flowOf((n) => Effect.sync(() => (runs++, 2 * n))),
          mode
        })
        assert.strictEqual(yield* migration.run(1), 101)
        assert.strictEqual(runs, 0)
        yield* SubscriptionRef.set(mode, "flow")
        assert.strictEqual(yield* migration.run(1), 2)
        assert.strictEqual(runs, 1)
        const { flow, legacy, shadowed } = yield* migration.counters
        assert.deepStrictEqual({ flow, legacy, shadowed }, { flow: 1, legacy: 1, shadowed: 0 })
      }))

    it.effect("a mode changed while a request runs is the next request's", () =>
      Effect.gen(function*() {
        const mode = yield* SubscriptionRef.make<Migration.Mode>("legacy")
        const gate = yield* Deferred.make<number>()
        const migration = yield* Migration.make("m", { legacy: () => Deferred.await(gate), flow: doubling, mode })
        const first = yield* Effect.forkChild(migration.run(1), { startImmediately: true })
        yield* SubscriptionRef.set(mode, "flow")
        assert.strictEqual(yield* migration.run(1), 2)
        yield* Deferred.succeed(gate, 7)
        assert.strictEqual(yield* Fiber.join(first), 7)
      }))

    it.effect("reads mode and share from Config, anew for each request", () =>
      Effect.gen(function*() {
        const env: Record<string, string> = { MODE: "legacy", SHARE: "1" }
        const migration = yield* Migration.make("m", {
          legacy: () => Effect.succeed(-1),
          flow: doubling,
          mode: Config.schema(Migration.Mode, "MODE"),
          share: Config.Number("SHARE")
        })
        const run = migration.run(1).pipe(
          Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnvRecord(env))
        )
        assert.strictEqual(yield* run, -1)
        env["MODE"] = "canary"
        assert.strictEqual(yield* run, 2)
        env["SHARE"] = "0"
        assert.strictEqual(yield* run, -1)
      }))

    it.effect("a mode that can't be read stays what it was, and is told once", () =>
      Effect.gen(function*() {
        const said: Array<unknown> = []
        const logger = Logger.make(({ message }) => void said.push(message))
        const mode = yield* SubscriptionRef.make<string>("flow")
        const migration = yield* Migration.make("m", {
          legacy: () => Effect.succeed(-1),
          flow: doubling,
          mode: mode as unknown as SubscriptionRef.SubscriptionRef<Migration.Mode>
        })
        yield* Effect.gen(function*() {
          assert.strictEqual(yield* migration.run(1), 2)
          yield* SubscriptionRef.set(mode, "Flow!")
          assert.strictEqual(yield* migration.run(1), 2)
          assert.strictEqual(yield* migration.run(1), 2)
        }).pipe(Effect.provide(Logger.layer([logger])))
        assert.lengthOf(said, 1)
        assert.match(String(said[0]), /mode of the migration "m" can't be read, and stays flow: "Flow!"/)

        const broken = yield* Migration.make("m", {
          legacy: () => Effect.succeed(-1),
          flow: doubling,
          mode: Effect.fail("no such file")
        })
        assert.strictEqual(yield* broken.run(1), -1)
      }))

    it.effect("in a canary a key always has the same side, and stays in while the share grows", () =>
      Effect.gen(function*() {
        const share = yield* SubscriptionRef.make(0.2)
        const migration = yield* Migration.make("m", {
          legacy: () => Effect.succeed("legacy"),
          flow: Flow.make("f", [
            Node.make("f", { input: Schema.Null, output: Schema.String, run: () => Effect.succeed("flow") }).to()
          ]),
          mode: "canary",
          share
        })
        const keys = Array.from({ length: 2000 }, (_, at) => `user-${at}`)
        const sides = Effect.forEach(keys, (key) => migration.run(null, { key }))
        const first = yield* sides
        assert.deepStrictEqual(yield* sides, first)
        const chosen = first.filter((side) => side === "flow").length
        assert.isAbove(chosen, 340)
        assert.isBelow(chosen, 460)
        yield* SubscriptionRef.set(share, 0.5)
        const grown = yield* sides
        first.forEach((side, at) => side === "flow" && assert.strictEqual(grown[at], "flow"))
        assert.isAbove(grown.filter((side) => side === "flow").length, 900)
        // Without a key the tenant decides.
        const tenant = (name: string) => migration.run(null, { headers: { tenant: name } })
        const tenants = yield* Effect.forEach(keys.slice(0, 50), (name) => Effect.zip(tenant(name), tenant(name)))
        for (const [a, b] of tenants) assert.strictEqual(a, b)
        assert.deepStrictEqual([...new Set(tenants.map(([side]) => side))].toSorted(), ["flow", "legacy"])
      }))

    it.effect("falls back to legacy on the errors chosen and no others, counted", () =>
      Effect.gen(function*() {
        const { entries, layer } = yield* noting
        const migration = yield* Migration.make("m", {
          legacy,
          flow: flowOf((n) =>
            n === 1 ? new Sorry({ why: "busy" }) : n === 2 ? new Sorry({ why: "no" }) : Effect.die(n)
          ),
          mode: "flow",
          fallback: (error) => error._tag === "Sorry" && error.why === "busy"
        }).pipe(Effect.provide(layer))
        assert.strictEqual(yield* migration.run(1), 2)
        const no = yield* Effect.flip(migration.run(2))
        assert.deepInclude(no, { _tag: "Sorry", why: "no" })
        const died = yield* Effect.flip(migration.run(3))
        assert.strictEqual(FlowError.isFlowError(died) ? died.code : died, "NODE_EXCEPTION")
        assert.strictEqual((yield* migration.counters).fallbacks, 1)
        yield* migration.settled
        assert.deepStrictEqual(entries.map((it) => it._tag === "FellBack" ? it.error.tag : it), ["Sorry"])
        assert.strictEqual((yield* migration.report()).fallbacks, 1)
      }))

    it.effect("refuses options that make no sense, and says which", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(
          Migration.make("m", { legacy, flow: doubling, mode: "shadow", shadow: { sample: 2 } })
        )
        assert.match(
          Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "",
          /"m" can't be made: shadow.sample is 2, and takes a number from 0 to 1/
        )
      }))
  })

  describe("legacy", () => {
    it.effect("may be a Promise function; its rejection comes out as the very value", () =>
      Effect.gen(function*() {
        const boom = new Error("boom")
        for (const mode of ["legacy", "shadow"] as const) {
          const migration = yield* Migration.make("m", {
            legacy: (n: number) => n === 1 ? Promise.resolve(5) : Promise.reject(boom),
            flow: doubling,
            mode
          })
          assert.strictEqual(yield* migration.run(1), 5)
          assert.strictEqual(yield* Effect.flip(migration.run(2)), boom)
        }
      }))

    it.effect("that throws dies with what it threw, and the shadow is compared with it", () =>
      Effect.gen(function*() {
        const { entries, layer } = yield* noting
        const boom = new TypeError("boom")
        const migration = yield* Migration.make("m", {
          legacy: (): Promise<number> => {
            throw boom
          },
          flow: flowOf(() => Effect.die(boom)),
          mode: "shadow"
        }).pipe(Effect.provide(layer))
        const exit = yield* Effect.exit(migration.run(1))
        assert.strictEqual(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, boom)
        yield* migration.settled
        assert.strictEqual(only(entries).result, "match")
      }))

    it.effect("is told of an interruption, and is not shadowed then", () =>
      Effect.gen(function*() {
        let aborted = false
        const migration = yield* Migration.make("m", {
          legacy: (_: number, { signal }) => {
            signal.addEventListener("abort", () => aborted = true)
            return new Promise<number>(() => {})
          },
          flow: doubling,
          mode: "shadow"
        })
        const fiber = yield* Effect.forkChild(migration.run(1), { startImmediately: true })
        yield* Fiber.interrupt(fiber)
        assert.isTrue(aborted)
        assert.strictEqual((yield* migration.counters).shadowed, 0)
      }))

    it.effect("has the caller's services", () =>
      Effect.gen(function*() {
        class Who extends Context.Service<Who, string>()("test/Who") {}
        const migration = yield* Migration.make("m", {
          legacy: () => Who,
          flow: doubling,
          mode: "legacy"
        }).pipe(Effect.provideService(Who, "maker"))
        assert.strictEqual(yield* migration.run(1), "maker")
        assert.strictEqual(yield* Effect.provideService(migration.run(1), Who, "caller"), "caller")
      }))
  })

  describe("shadow", () => {
    const flows = {
      hanging: flowOf(() => Effect.never),
      stuck: flowOf(() => Effect.uninterruptible(Effect.never)),
      slow: flowOf((n) => Effect.delay(Effect.succeed(2 * n), "10 seconds")),
      failing: flowOf(() => new Sorry({ why: "always" })),
      dying: flowOf(() => Effect.die(new Error("dead"))),
      throwing: flowOf(() => {
        throw new Error("thrown")
      })
    }
    const stores = {
      hanging: withStore({ add: () => Effect.never }),
      stuck: withStore({ add: () => Effect.uninterruptible(Effect.never) }),
      failing: withStore({ add: () => Effect.fail(new Migration.ReportsError({ message: "disk full" })) }),
      dying: withStore({ add: () => Effect.die("dead") }),
      throwing: withStore({
        add: () => {
          throw new Error("thrown")
        }
      })
    }

    /** Closes the scope with time going on: what is stuck is waited for, but not for ever. */
    const closed = <A, E, R>(body: Effect.Effect<A, E, R | Scope.Scope>) =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const answer = yield* Effect.provideService(body, Scope.Scope, scope)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
        for (let second = 0; second < 20 && closing.pollUnsafe() === undefined; second++) yield* TestClock.adjust(1000)
        assert.isDefined(closing.pollUnsafe(), "the scope does not close")
        return answer
      })

    for (const [how, flow] of Object.entries(flows)) {
      it.effect(`the caller gets legacy's answer and legacy's error at legacy's time while the flow is ${how}`, () =>
        closed(Effect.gen(function*() {
          const migration = yield* Migration.make("m", {
            legacy: (n: number) =>
              Effect.delay(n === 1 ? Effect.succeed(42) : Effect.fail("legacy's own" as const), "1 second"),
            flow,
            mode: "shadow"
          })
          const both = yield* Effect.forkChild(
            Effect.all([migration.run(1), Effect.flip(migration.run(2))], { concurrency: 2 }),
            { startImmediately: true }
          )
          yield* TestClock.adjust("999 millis")
          assert.isUndefined(both.pollUnsafe())
          yield* TestClock.adjust("1 millis")
          const exit = both.pollUnsafe()
          assert.deepStrictEqual(exit && Exit.isSuccess(exit) ? exit.value : exit, [42, "legacy's own"])
        })))
    }

    for (const [how, store] of Object.entries(stores)) {
      it.effect(`the caller does not notice that the report store is ${how}; what it did not take is counted`, () =>
        closed(Effect.gen(function*() {
          const migration = yield* Effect.provide(
            Migration.make("m", { legacy, flow: doubling, mode: "shadow" }),
            store
          )
          for (let n = 0; n < 3; n++) assert.strictEqual(yield* migration.run(n), 2 * n)
          yield* TestClock.adjust("2 minutes")
          const { lost, storeFailure } = yield* migration.counters
          if (how === "stuck") assert.strictEqual(lost, 0)
          else {
            assert.strictEqual(lost, 3)
            assert.isString(storeFailure)
          }
        })))
    }

    it.effect("a store that comes back is told how many were lost, and the verdict knows", () =>
      Effect.gen(function*() {
        const { entries } = yield* noting
        let down = true
        const store = withStore({
          add: (more) =>
            down
              ? Effect.fail(new Migration.ReportsError({ message: "down" }))
              : Effect.sync(() => void entries.push(...more)),
          read: () => Stream.suspend(() => Stream.fromIterable(entries))
        })
        const migration = yield* Effect.provide(Migration.make("m", { legacy, flow: doubling, mode: "shadow" }), store)
        yield* migration.run(1)
        yield* TestClock.adjust("1 minute")
        down = false
        yield* migration.run(2)
        yield* migration.settled
        const { compared, skipped, verdict } = yield* migration.report({ compared: 1 })
        assert.deepStrictEqual([compared, skipped.lost], [1, 1])
        assert.isTrue(verdict.reasons.some(({ holds, text }) => !holds && /1 comparisons were lost/.test(text)))
      }))

    it.effect("a comparison that throws, dies or hangs reaches nobody but the count", () =>
      Effect.gen(function*() {
        const comparisons: ReadonlyArray<() => boolean | Effect.Effect<boolean, unknown>> = [
          () => {
            throw new Error("thrown")
          },
          () => Effect.die("dead"),
          () => Effect.never
        ]
        for (const equivalent of comparisons) {
          const migration = yield* Migration.make("m", {
            legacy,
            flow: doubling,
            mode: "shadow",
            compare: { equivalent },
            shadow: { timeout: "1 second" }
          })
          assert.strictEqual(yield* migration.run(1), 2)
          yield* TestClock.adjust("2 seconds")
          yield* migration.settled
          const { compared, skipped } = yield* migration.report()
          assert.deepStrictEqual([compared, skipped.comparison], [0, 1])
        }
      }))

    it.effect("ends after its timeout, and is told as the flow's failure", () =>
      Effect.gen(function*() {
        const { entries, layer } = yield* noting
        let stopped = 0
        const migration = yield* Migration.make("m", {
          legacy,
          flow: flowOf(() => Effect.ensuring(Effect.never, Effect.sync(() => stopped++))),
          mode: "shadow",
          shadow: { timeout: "2 seconds" }
        }).pipe(Effect.provide(layer))
        yield* migration.run(1)
        yield* TestClock.adjust("1999 millis")
        assert.strictEqual(stopped, 0)
        yield* TestClock.adjust("1 millis")
        yield* migration.settled
        assert.strictEqual(stopped, 1)
        const { flowError, flowMs, result } = only(entries)
        assert.strictEqual(result, "flowFailed")
        assert.strictEqual(flowMs, 2000)
        assert.match(flowError?.message ?? "", /deadline/)
      }))

    it.effect("is skipped and counted where as many as allowed are under way", () =>
      Effect.gen(function*() {
        const migration = yield* Migration.make("m", {
          legacy,
          flow: flowOf((n) => Effect.delay(Effect.succeed(2 * n), "1 second")),
          mode: "shadow",
          shadow: { maxConcurrent: 2 }
        })
        for (let n = 0; n < 5; n++) assert.strictEqual(yield* migration.run(n), 2 * n)
        yield* TestClock.adjust("1 second")
        yield* migration.settled
        const { matches, skipped } = yield* migration.report()
        assert.deepStrictEqual([matches, skipped.busy], [2, 3])
        yield* migration.run(9)
        yield* TestClock.adjust("1 second")
        yield* migration.settled
        assert.strictEqual((yield* migration.counters).shadowed, 3)
      }))

    it.effect("a burst of requests that answer at once is compared whole: it is not too many under way", () =>
      Effect.gen(function*() {
        const migration = yield* Migration.make("m", {
          legacy: (n: number) => Promise.resolve(2 * n),
          flow: doubling,
          mode: "shadow",
          shadow: { maxConcurrent: 1 }
        })
        for (let n = 0; n < 1000; n++) yield* migration.run(n)
        yield* migration.settled
        const { matches, skipped } = yield* migration.report()
        assert.deepStrictEqual([matches, skipped.busy], [1000, 0])
      }))

    it.effect("is left out for what the sample does not hold", () =>
      Effect.gen(function*() {
        const migration = yield* Migration.make("m", {
          legacy,
          flow: doubling,
          mode: "shadow",
          shadow: { sample: 0.25, maxConcurrent: 10_000 }
        })
        for (let n = 0; n < 1000; n++) yield* migration.run(n)
        yield* migration.settled
        const { compared, skipped } = yield* migration.report()
        assert.strictEqual(compared + skipped.sampled, 1000)
        assert.isAbove(compared, 180)
        assert.isBelow(compared, 320)
      }))

    it.effect("is interrupted when the scope closes, and what was noted is written", () =>
      Effect.gen(function*() {
        const { entries, layer } = yield* noting
        let stopped = 0
        yield* Effect.scoped(Effect.gen(function*() {
          const migration = yield* Migration.make("m", {
            legacy,
            flow: flowOf((n) =>
              n === 0 ? Effect.ensuring(Effect.never, Effect.sync(() => stopped++)) : Effect.succeed(2 * n)
            ),
            mode: "shadow"
          })
          for (let n = 0; n < 4; n++) yield* migration.run(n)
          for (let turn = 0; turn < 5; turn++) yield* Effect.yieldNow
        })).pipe(Effect.provide(layer))
        assert.strictEqual(stopped, 1)
        assert.deepStrictEqual(entries.map((it) => it._tag === "Compared" && it.result), ["match", "match", "match"])
      }))

    it.effect("a store that hangs holds the closing of the scope for 5 seconds and no longer", () =>
      Effect.gen(function*() {
        for (const how of ["hanging", "stuck"] as const) {
          const scope = yield* Scope.make()
          const migration = yield* Migration.make("m", { legacy, flow: doubling, mode: "shadow" }).pipe(
            Effect.provide(stores[how]),
            Effect.provideService(Scope.Scope, scope)
          )
          yield* migration.run(1)
          yield* TestClock.adjust(1)
          const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
          yield* TestClock.adjust(4999)
          assert.isUndefined(closing.pollUnsafe())
          yield* TestClock.adjust(1)
          assert.isDefined(closing.pollUnsafe())
        }
      }))

    it.effect("writes where the given layer sends it, while the flow itself writes where it always does", () =>
      Effect.gen(function*() {
        class Table extends Context.Service<Table, { readonly write: (n: number) => Effect.Effect<void> }>()(
          "test/Table"
        ) {}
        const tables = { live: yield* Ref.make<Array<number>>([]), shadow: yield* Ref.make<Array<number>>([]) }
        let builds = 0
        const tableOf = (which: "live" | "shadow") => ({
          write: (n: number) => Ref.update(tables[which], (all) => [...all, n])
        })
        const mode = yield* SubscriptionRef.make<Migration.Mode>("shadow")
        const migration = yield* Migration.make("m", {
          legacy: (n: number) => Effect.as(Table.use((table) => table.write(n)), n),
          flow: flowOf((n) => Effect.as(Table.use((table) => table.write(n)), n)),
          mode,
          shadow: { layer: Layer.effect(Table, Effect.sync(() => (builds++, Table.of(tableOf("shadow"))))) }
        }).pipe(Effect.provideService(Table, tableOf("live")))
        yield* migration.run(1)
        yield* migration.run(2)
        yield* migration.settled
        assert.deepStrictEqual(yield* Ref.get(tables.live), [1, 2])
        assert.deepStrictEqual(yield* Ref.get(tables.shadow), [1, 2])
        assert.strictEqual(builds, 1)
        yield* SubscriptionRef.set(mode, "flow")
        yield* migration.run(3)
        assert.deepStrictEqual(yield* Ref.get(tables.live), [1, 2, 3])
        assert.deepStrictEqual(yield* Ref.get(tables.shadow), [1, 2])
      }))

    it.effect("builds the shadow's layers afresh, those that the flow itself has, too", () =>
      Effect.gen(function*() {
        class Database extends Context.Service<Database, Array<number>>()("test/Database") {}
        class Store extends Context.Service<Store, { readonly write: (n: number) => Effect.Effect<void> }>()(
          "test/Store"
        ) {}
        const storeLayer = Layer.effect(
          Store,
          Effect.map(Database, (rows) => Store.of({ write: (n) => Effect.sync(() => void rows.push(n)) }))
        )
        const rows = { live: Array<number>(), shadow: Array<number>() }
        yield* Effect.gen(function*() {
          const migration = yield* Migration.make("m", {
            legacy: (n: number) => Effect.as(Store.use((store) => store.write(n)), n),
            flow: flowOf((n) => Effect.as(Store.use((store) => store.write(n)), n)),
            mode: "shadow",
            shadow: { layer: storeLayer.pipe(Layer.provide(Layer.succeed(Database, rows.shadow))) }
          })
          yield* migration.run(1)
          yield* migration.settled
        }).pipe(Effect.provide(storeLayer.pipe(Layer.provide(Layer.succeed(Database, rows.live)))))
        assert.deepStrictEqual(rows, { live: [1], shadow: [1] })
      }))

    it.effect("a shadow layer that can't be built is the flow's failure, and is tried again", () =>
      Effect.gen(function*() {
        class Thing extends Context.Service<Thing, number>()("test/Thing") {}
        let builds = 0
        const migration = yield* Migration.make("m", {
          legacy,
          flow: flowOf((n) => Effect.map(Thing, (factor) => factor * n)),
          mode: "shadow",
          shadow: {
            layer: Layer.effect(
              Thing,
              Effect.suspend(() => ++builds < 2 ? Effect.fail("no database") : Effect.succeed(2))
            )
          }
        }).pipe(Effect.provideService(Thing, 0))
        for (let n = 1; n <= 2; n++) {
          assert.strictEqual(yield* migration.run(n), 2 * n)
          yield* migration.settled
        }
        const { flowFailures, matches } = yield* migration.report()
        assert.deepStrictEqual([flowFailures, matches], [1, 1])
      }))

    it.effect("rolled back, it reads what it writes and leaves nothing behind", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE notes (n INTEGER PRIMARY KEY)`
        const write = Node.make("write", {
          input: Schema.Number,
          output: Schema.Number,
          run: (n) =>
            SqlClient.SqlClient.use((sql) => Effect.as(sql`INSERT INTO notes (n) VALUES (${n})`, n))
              .pipe(Effect.orDie)
        })
        const count = Node.make("count", {
          input: Schema.Number,
          output: Schema.Number,
          run: (n) =>
            SqlClient.SqlClient.use((sql) => sql<{ n: number }>`SELECT count(*) AS n FROM notes WHERE n = ${n}`)
              .pipe(Effect.map((rows) => rows[0]!.n), Effect.orDie)
        })
        const migration = yield* Migration.make("m", {
          legacy: (n: number) => Effect.succeed(n < 0 ? -1 : 1),
          flow: Flow.make("counting", [write.to(count)]),
          mode: "shadow",
          shadow: { around: Migration.rolledBack }
        })
        for (const n of [1, 2, 2, 3]) yield* migration.run(n)
        yield* migration.settled
        const { compared, matches } = yield* migration.report()
        assert.deepStrictEqual([compared, matches], [4, 4])
        assert.deepStrictEqual(yield* sql`SELECT * FROM notes`, [])
      }).pipe(Effect.provide(Sqlite.layer({ filename: ":memory:" }))))
  })

  describe("comparison", () => {
    const Doc = Schema.Struct({
      id: Schema.String,
      at: Schema.Date,
      score: Schema.Number,
      items: Schema.Array(Schema.Struct({ id: Schema.String, price: Schema.Number })),
      token: Schema.optionalKey(Schema.String)
    })
    type Doc = typeof Doc.Type
    const doc: Doc = { id: "a", at: new Date(0), score: 1, items: [{ id: "x", price: 1 }, { id: "y", price: 2 }] }
    const compare = (
      old: unknown,
      now: Doc,
      options?: Migration.CompareOptions<Doc, Doc>
    ) =>
      Effect.scoped(Effect.gen(function*() {
        const { entries, layer } = yield* noting
        const migration = yield* Migration.make("m", {
          legacy: () => Promise.resolve(old as Doc),
          flow: Flow.make("f", [
            Node.make("f", { input: Schema.Null, output: Doc, run: () => Effect.succeed(now) }).to()
          ]),
          mode: "shadow",
          compare: options
        }).pipe(Effect.provide(layer))
        yield* migration.run(null)
        yield* migration.settled
        return only(entries)
      }))

    it.effect("asks the output schema: equal dates, other instances, any order of keys match", () =>
      Effect.gen(function*() {
        const { at, id, items, score } = doc
        const { result } = yield* compare(structuredClone({ items, score, at, id }), doc)
        assert.strictEqual(result, "match")
      }))

    it.effect("gives what differs as a JSON patch from legacy's answer to the flow's", () =>
      Effect.gen(function*() {
        const now = { ...doc, at: new Date(1000), items: [{ id: "x", price: 3 }, { id: "y", price: 5 }] }
        const { patch, paths, result } = yield* compare(doc, now)
        assert.strictEqual(result, "mismatch")
        assert.deepStrictEqual(patch, [
          { op: "replace", path: "/at", value: "1970-01-01T00:00:01.000Z" },
          { op: "replace", path: "/items/0/price", value: 3 },
          { op: "replace", path: "/items/1/price", value: 5 }
        ])
        assert.deepStrictEqual(paths, ["/at", "/items/*/price"])
      }))

    it.effect("ignores paths, single ones and those below a star", () =>
      Effect.gen(function*() {
        const now = { ...doc, at: new Date(1000), items: [{ id: "x", price: 3 }, { id: "z", price: 5 }] }
        const ignore = ["/at", "/items/*/price"]
        assert.deepStrictEqual((yield* compare(doc, now, { ignore })).paths, ["/items/*/id"])
        assert.strictEqual((yield* compare(doc, now, { ignore: [...ignore, "/items/*/id"] })).result, "match")
        assert.strictEqual((yield* compare(doc, now, { ignore: ["/at", "/items"] })).result, "match")
      }))

    it.effect("takes numbers within the tolerance as equal, absolute or relative", () =>
      Effect.gen(function*() {
        const now = { ...doc, score: 1.001 }
        assert.strictEqual((yield* compare(doc, now)).result, "mismatch")
        assert.strictEqual((yield* compare(doc, now, { tolerance: 0.01 })).result, "match")
        assert.strictEqual((yield* compare(doc, now, { tolerance: { relative: 0.01 } })).result, "match")
        assert.strictEqual((yield* compare(doc, { ...doc, score: 1.1 }, { tolerance: 0.01 })).result, "mismatch")
        assert.strictEqual((yield* compare(doc, { ...doc, score: Number.NaN }, { tolerance: 9 })).result, "mismatch")
      }))

    it.effect("lets a function decide alone", () =>
      Effect.gen(function*() {
        const now = { ...doc, id: "A" }
        const equivalent = (a: Doc, b: Doc) => a.id === b.id.toLowerCase()
        assert.strictEqual((yield* compare(doc, now, { equivalent })).result, "match")
        const { paths } = yield* compare(doc, now, { equivalent: (a, b) => Effect.succeed(a === b) })
        assert.deepStrictEqual(paths, ["/id"])
      }))

    it.effect("shows no secret: by the names of fields, by their looks, by the paths given", () =>
      Effect.gen(function*() {
        const now = {
          ...doc,
          id: "postgres://admin:hunter22@db/x",
          token: "abc123",
          items: [{ id: "Bearer abcdefghijklmnop", price: 1 }, { id: "private", price: 2 }]
        }
        const { patch } = yield* compare({ ...doc, token: "old" }, now, { redact: ["/items/1/id"] })
        const text = JSON.stringify(patch)
        for (const secret of ["hunter22", "abc123", "abcdefghijklmnop", "private"]) assert.notInclude(text, secret)
        assert.lengthOf(patch, 4)
      }))

    it.effect("compares what is Redacted, and never shows it", () =>
      Effect.gen(function*() {
        const { entries, layer } = yield* noting
        const Out = Schema.Struct({ key: Schema.Redacted(Schema.String) })
        const migration = yield* Migration.make("m", {
          legacy: (key: string) => Promise.resolve({ key: Redacted.make(key) }),
          flow: Flow.make("f", [
            Node.make("f", {
              input: Schema.String,
              output: Out,
              run: () => Effect.succeed({ key: Redacted.make("swordfish") })
            }).to()
          ]),
          mode: "shadow"
        }).pipe(Effect.provide(layer))
        yield* migration.run("swordfish")
        yield* migration.run("mackerel")
        yield* migration.settled
        assert.deepStrictEqual(entries.map((it) => it._tag === "Compared" && it.result), ["match", "mismatch"])
        const text = JSON.stringify(entries)
        assert.notInclude(text, "swordfish")
        assert.notInclude(text, "mackerel")
        assert.include(text, "/key")
      }))

    it.effect("compares errors: their tags, fields and words", () =>
      Effect.gen(function*() {
        const { entries, layer } = yield* noting
        const migration = yield* Migration.make("m", {
          legacy: (n: number) => Effect.fail(new Sorry({ why: n === 1 ? "same" : "other" })),
          flow: flowOf((n) => n === 3 ? Effect.succeed(6) : new Sorry({ why: "same" })),
          mode: "shadow"
        }).pipe(Effect.provide(layer))
        for (const n of [1, 2, 3]) yield* Effect.flip(migration.run(n))
        yield* migration.settled
        assert.deepStrictEqual(
          entries.map((it) => it._tag === "Compared" && [it.result, it.paths]),
          [["match", []], ["mismatch", ["/why"]], ["legacyFailed", []]]
        )
      }))

    it.effect("survives answers that can't be read: cycles, getters that throw, ten megabytes", () =>
      Effect.gen(function*() {
        const cycle: Record<string, unknown> = { id: "a" }
        cycle["self"] = cycle
        const hostile = Object.defineProperty({ id: "a" }, "score", {
          enumerable: true,
          get: () => {
            throw new Error("no")
          }
        })
        const large = { ...doc, items: Array.from({ length: 300_000 }, (_, at) => ({ id: `${at}`, price: at })) }
        for (const old of [cycle, hostile, large, null, undefined, 7, "text", Symbol("s"), new Map([[1, 2]])]) {
          const { patch, result } = yield* compare(old, doc)
          assert.strictEqual(result, "mismatch")
          assert.isAtMost(JSON.stringify(patch).length, 50_000)
        }
      }))
  })

  describe("report", () => {
    it.effect("says promote only when the match rate and the latency both hold", () =>
      Effect.gen(function*() {
        const run = (wrong: number, flowMs: number) =>
          Effect.scoped(Effect.gen(function*() {
            const migration = yield* Migration.make("m", {
              legacy: (n: number) => Effect.delay(Effect.succeed(2 * n), 10),
              flow: flowOf((n) => Effect.delay(Effect.succeed(n < wrong ? -1 : 2 * n), flowMs)),
              mode: "shadow"
            })
            for (let n = 0; n < 400; n++) {
              const fiber = yield* Effect.forkChild(migration.run(n), { startImmediately: true })
              yield* TestClock.adjust(10)
              yield* Fiber.join(fiber)
              yield* TestClock.adjust(flowMs)
            }
            yield* migration.settled
            return yield* migration.report({ matchRate: 0.98, latencyRatio: 2 })
          }))
        const good = yield* run(0, 12)
        assert.deepStrictEqual(
          [good.verdict.decision, good.matches, good.latency.legacy.p95, good.latency.flow.p95],
          ["promote", 400, 10, 12]
        )
        // 1 % wrong: the rate is above the threshold, its lower bound is not.
        const unsure = yield* run(4, 12)
        assert.isAbove(unsure.matchRate.value, 0.98)
        assert.isBelow(unsure.matchRate.low, 0.98)
        assert.strictEqual(unsure.verdict.decision, "hold")
        assert.deepStrictEqual(unsure.verdict.reasons.map(({ holds }) => holds), [true, false, true])
        const slow = yield* run(0, 30)
        assert.deepStrictEqual(slow.verdict.reasons.map(({ holds }) => holds), [true, true, false])
        assert.strictEqual(slow.verdict.decision, "hold")
      }))

    it.effect("of nothing promotes nothing", () =>
      Effect.gen(function*() {
        const migration = yield* Migration.make("m", { legacy, flow: doubling, mode: "legacy" })
        const report = yield* migration.report()
        assert.strictEqual(report.verdict.decision, "hold")
        assert.deepStrictEqual(report.matchRate, { value: 0, low: 0, high: 1 })
      }))

    it.effect("is JSON, and its schema reads it back", () =>
      Effect.gen(function*() {
        const migration = yield* Migration.make("m", {
          legacy: () => Effect.succeed(0),
          flow: doubling,
          mode: "shadow"
        })
        for (let n = 0; n < 5; n++) yield* migration.run(n, { traceId: `t${n}` })
        yield* migration.settled
        const report = yield* migration.report()
        const back = yield* Schema.decodeUnknownEffect(Migration.Report)(JSON.parse(JSON.stringify(report)))
        assert.deepStrictEqual(back, report)
        assert.deepStrictEqual([report.mismatches, report.matches], [4, 1])
        assert.deepStrictEqual(report.paths[0]?.examples.map(({ traceId }) => traceId), ["t1", "t2", "t3"])
      }))
  })

  describe("the price of a shadow, on a real clock", () => {
    const never = Effect.never
    const settings = {
      "a hanging flow": { flow: flowOf(() => never) },
      "a slow flow": { flow: flowOf((n) => Effect.delay(Effect.succeed(2 * n), 50)) },
      "a failing flow": { flow: flowOf(() => new Sorry({ why: "always" })) },
      "a dying flow": { flow: flowOf(() => Effect.die(new Error("dead"))) },
      "a hanging store": { flow: doubling, store: withStore({ add: () => never }) },
      "a failing store": {
        flow: doubling,
        store: withStore({ add: () => Effect.fail(new Migration.ReportsError({ message: "no" })) })
      }
    }
    for (
      const [how, { flow, store = Layer.empty }] of Object.entries<
        { readonly flow: typeof doubling | ReturnType<typeof flowOf<Sorry>>; readonly store?: Layer.Layer<never> }
      >(settings)
    ) {
      it.live(`adds less than a millisecond at p99 with ${how}`, () =>
        Effect.gen(function*() {
          const mode = yield* SubscriptionRef.make<Migration.Mode>("legacy")
          const scope = yield* Scope.make()
          const migration = yield* Migration.make("m", {
            legacy: (n: number) => new Promise<number>((resolve) => setImmediate(() => resolve(2 * n))),
            flow,
            mode
          }).pipe(Effect.provide(store), Effect.provideService(Scope.Scope, scope))
          const switches = () => process.resourceUsage().involuntaryContextSwitches
          const once = (now: Migration.Mode) =>
            Effect.gen(function*() {
              yield* SubscriptionRef.set(mode, now)
              const before = switches()
              const begun = performance.now()
              yield* migration.run(1)
              const ms = performance.now() - begun
              return { ms, undisturbed: switches() === before }
            })
          const p99 = (now: Migration.Mode) =>
            Effect.map(Effect.forEach(Array.from({ length: 500 }), () => once(now)), (all) => {
              // On a busy machine the system takes the processor away for milliseconds: those requests tell nothing.
              const times = all.filter((time) => time.undisturbed).map((time) => time.ms).toSorted((a, b) => a - b)
              assert.isAbove(times.length, 250)
              return times[Math.floor(times.length * 0.99)]!
            })
          const added: Array<number> = []
          for (let round = 0; round < 10 && !(added.at(-1)! < 1); round++) {
            const alone = yield* p99("legacy")
            // Each request meets what the shadows of those before it do.
            added.push((yield* p99("shadow")) - alone)
            yield* Effect.sleep(20)
          }
          if (process.env["SHOW"] !== undefined) {
            console.log(`${how}: ${added.map((ms) => ms.toFixed(3)).join(", ")} ms`)
          }
          assert.isBelow(added.at(-1)!, 1)
          assert.isAbove((yield* migration.counters).shadowed, 15)
          // A hanging store is waited for: that is not what is measured here.
          yield* Effect.forkDetach(Scope.close(scope, Exit.void))
        }))
    }
  })
})
