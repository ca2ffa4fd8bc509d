import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import * as JobQueue from "penguiflow/JobQueue"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { type Circumstances, command } from "./command.ts"
import { notes, orders } from "./modules/orders.ts"
import * as Queues from "./queues.ts"

const binary = "src/bin/penguiflow.ts"
const module = "test/bin/modules/orders.ts"

const worker = (args: ReadonlyArray<string>, circumstances?: Circumstances) =>
  command(binary, ["worker", ...args], circumstances)

/** Sends a signal as soon as standard error holds this, and another one `ms` later. */
const signal = (name: NodeJS.Signals, when: string, again?: { readonly when: string }): Circumstances => {
  let sent = 0
  return {
    on: ({ err }, child) => {
      if (sent === 0 && err.includes(when)) {
        sent++
        child.kill(name)
      } else if (sent === 1 && again !== undefined && err.includes(again.when)) {
        sent++
        setTimeout(() => child.kill(name), 150)
      }
    }
  }
}

for (const [name, place] of Queues.places) {
  describe(`penguiflow worker, in ${name}`, () => {
    it.live("takes jobs of all flows of a module, tells of each, and SIGTERM ends it with 0", () =>
      Effect.scoped(Effect.gen(function*() {
        const { flags, layer } = yield* place
        yield* Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          yield* queue.enqueue(orders, { item: "fish" }, { id: "bad", maxAttempts: 1 })
          yield* queue.enqueue(notes, "hello", { id: "note" })
          yield* queue.enqueue(orders, { item: "ice" }, { id: "good", delay: 10 })
          const ended = yield* worker(
            [module, "--name", "mine", "--grace", "5 seconds", ...flags],
            signal("SIGTERM", "job good of orders is done")
          )
          assert.deepStrictEqual([ended.code, ended.out], [0, ""])
          assert.match(
            ended.said[0]!,
            /^mine-[0-9a-f-]{36} takes jobs of notes, orders from (?:\S+\.sqlite|postgres:\/\/127\.0\.0\.1:\d+\/postgres|redis:\/\/127\.0\.0\.1:\d+), 10 at once\.$/
          )
          assert.match(ended.err, /ERROR .*job bad of orders is dead, try 1: OutOfStock: none left of fish$/m)
          assert.match(ended.err, /INFO .*job note of notes is done after /)
          assert.include(ended.said, "Stopping. Once more ends it at once.")
          assert.match(
            ended.said.at(-1)!,
            /^Shut down: \d jobs? ended, 0 returned to the queue, 0 left to their leases\.$/
          )
          assert.strictEqual(yield* queue.await(orders, "good"), "ice shipped")
        }).pipe(Effect.provide(layer))
      })))
  })
}

describe("penguiflow worker", () => {
  const withJob = <A, E>(
    wait: number,
    test: (flags: ReadonlyArray<string>, queue: JobQueue.Service) => Effect.Effect<A, E>
  ) =>
    Effect.scoped(Effect.flatMap(
      Queues.sqlite,
      ({ flags, layer }) =>
        JobQueue.JobQueue.use((queue) =>
          Effect.andThen(queue.enqueue(orders, { item: "ice", wait }, { id: "slow" }), test(flags, queue))
        ).pipe(Effect.provide(layer))
    ))

  it.live("keeps the traces of jobs in their database, unless told not to, so that they can be shown and replayed", () =>
    withJob(0, (flags) =>
      Effect.gen(function*() {
        const ended = yield* worker([module, ...flags], signal("SIGTERM", "job slow of orders is done"))
        assert.strictEqual(ended.code, 0)
        const shown = yield* command(binary, ["trace", "show", "job-slow", ...flags])
        assert.match(shown.out, /ice shipped/)
        const replayed = yield* command(binary, ["trace", "replay", module, "job-slow", "--flow", "orders", ...flags])
        assert.strictEqual(replayed.code, 0, replayed.out + replayed.err)
      })))

  it.live("refuses tables that a newer program has changed, with what to do", () =>
    Effect.scoped(Effect.gen(function*() {
      const { flags, layer } = yield* Queues.sqlite
      yield* Effect.provide(JobQueue.JobQueue.use((queue) => queue.counts), layer)
      yield* SqlClient.SqlClient.use((sql) => sql`INSERT INTO penguiflow_jobs_version (version) VALUES (99)`).pipe(
        Effect.provide(Sqlite.layer({ filename: flags[1]! }))
      )
      const ended = yield* worker([module, ...flags])
      assert.strictEqual(ended.code, 2)
      assert.match(
        ended.err,
        /^✗ the queue can't be used: .*is of version 99, and this program knows .* up to 1: update it$/m
      )
    })))

  it.live("lets a running job end within its grace", () =>
    withJob(1000, (flags, queue) =>
      Effect.gen(function*() {
        const ended = yield* worker([module, "--grace", "10 seconds", ...flags], signal("SIGTERM", "shipping ice"))
        assert.strictEqual(ended.code, 0)
        assert.include(ended.err, "Shut down: 1 job ended, 0 returned")
        assert.strictEqual((yield* queue.get("slow"))?.state, "done")
      })))

  it.live("what takes longer goes back to the queue as if it had not been tried, and SIGINT ends it with 130", () =>
    withJob(60_000, (flags, queue) =>
      Effect.gen(function*() {
        const ended = yield* worker([module, "--grace", "300", ...flags], signal("SIGINT", "shipping ice"))
        assert.strictEqual(ended.code, 130)
        assert.include(ended.err, "job slow of orders goes back to the queue")
        assert.include(ended.err, "Shut down: 0 jobs ended, 1 returned")
        const job = yield* queue.get("slow")
        assert.deepStrictEqual([job?.state, job?.attempts], ["queued", 0])
      })))

  it.live("a second signal ends it at once, and the job starts again when its lease has ended", () =>
    withJob(60_000, (flags, queue) =>
      Effect.gen(function*() {
        const ended = yield* worker(
          [module, "--grace", "1 minute", "--lease", "1 second", ...flags],
          signal("SIGTERM", "shipping ice", { when: "Stopping." })
        )
        assert.strictEqual(ended.code, 143)
        assert.notInclude(ended.err, "Shut down")
        assert.strictEqual((yield* queue.get("slow"))?.state, "running")
        const next = yield* worker([module, "--grace", "0", ...flags], signal("SIGTERM", "shipping ice"))
        assert.strictEqual(next.code, 0)
        assert.include(next.err, "1 job of silent workers taken back")
      })))

  it.effect("what it can't work with is one line, and exit code 2", () =>
    Effect.gen(function*() {
      const env = { NO_DATABASE: "1" }
      const numbers = "test/bin/modules/numbers.ts"
      const [nowhere, missing, broken, twins, wrong] = yield* Effect.all([
        worker([module]),
        worker(["nowhere.ts", "--database", "x.sqlite"]),
        worker([numbers, "--database", ":memory:"], { env }),
        worker(["test/bin/modules/several.ts", "test/bin/modules/layerless.ts", "--layer", "ten", "--database", "x"]),
        worker([module, "--concurrency", "0", "--database", "x"])
      ], { concurrency: 2 })
      for (const { code, err, out, said } of [nowhere, missing, broken, wrong]) {
        assert.deepStrictEqual([code, out, said.length], [2, "", 1], err)
      }
      assert.match(nowhere.said[0]!, /^✗ it is not said where the queue is: give --database URL\|FILE or --redis URL/)
      assert.strictEqual(missing.said[0], "✗ nowhere.ts: there is no such file")
      assert.strictEqual(broken.said[0], "✗ the layer of the flows can't be built: the database at 127.0.0.1 is away")
      assert.strictEqual(
        wrong.said[0],
        "✗ Invalid value for --concurrency: \"0\". Expected a whole number from 1 on. See penguiflow worker --help"
      )
      assert.deepStrictEqual(twins.said, ["✗ test/bin/modules/layerless.ts: exports no layer \"ten\""])
    }))

  describe.skipIf(!PostgresServer.available)("with a server", () => {
    it.live("waits for a database that is not there, and ends within grace and two seconds when it is gone", () =>
      Effect.scoped(Effect.gen(function*() {
        const { flags, layer, server } = yield* Queues.postgres
        const queue = JobQueue.JobQueue.use((queue) => queue.enqueue(orders, { item: "ice", wait: 60_000 }))
        yield* Effect.provide(queue, layer)
        yield* server!.stop
        let step = 0
        let asked = 0
        const ended = yield* worker([module, "--grace", "1 second", ...flags], {
          on: ({ err }, child) => {
            if (step === 0 && err.includes("The queue is not there yet")) {
              step = 1
              Effect.runFork(server!.start)
            } else if (step === 1 && err.includes("shipping ice")) {
              step = 2
              Effect.runFork(Effect.andThen(
                server!.pause,
                Effect.sync(() => {
                  asked = performance.now()
                  child.kill("SIGTERM")
                })
              ))
            }
          }
        })
        const took = performance.now() - asked
        yield* server!.resume
        assert.deepStrictEqual([ended.code, step], [0, 2], ended.err)
        // Three seconds, on a machine that has nothing else to do: far from what a silent server would hold it for.
        assert.isBelow(took, 10_000)
        assert.include(ended.err, "nobody listens at 127.0.0.1")
        assert.match(ended.err, /Shut down: 0 jobs ended, \d returned to the queue, \d left to their leases\./)
      })))
  })
})
