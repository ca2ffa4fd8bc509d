import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import * as JobQueue from "penguiflow/JobQueue"
import * as Worker from "penguiflow/Worker"
import { temporaryFolder } from "../utils/servers/process.ts"
import { command, hasTerminal, onTerminal, shell } from "./command.ts"
import { orders } from "./modules/orders.ts"
import * as Queues from "./queues.ts"

const binary = "src/bin/penguiflow.ts"

/** One done, two dead, of two tenants; one that waits. */
const filled = Effect.gen(function*() {
  const queue = yield* JobQueue.JobQueue
  const items = ["ice", "fish", "fish"]
  for (const [at, item] of items.entries()) {
    yield* queue.enqueue(orders, { item }, {
      id: `order-${at}`,
      maxAttempts: 1,
      headers: { tenant: at === 2 ? "zoo" : "acme" }
    })
  }
  yield* Effect.scoped(Effect.gen(function*() {
    yield* Worker.make(orders)
    for (const at of items.keys()) yield* Effect.exit(queue.await(orders, `order-${at}`))
  }))
  yield* queue.enqueue(orders, { item: "snow" }, { id: "waiting" })
})

const states = Effect.flatMap(
  JobQueue.JobQueue,
  (queue) =>
    Effect.map(queue.list(), (jobs) => Object.fromEntries(jobs.map((job) => [job.id, `${job.state} ${job.attempts}`])))
)

for (const [name, place] of Queues.places) {
  describe(`penguiflow jobs, in ${name}`, () => {
    it.live("lists, shows, tries again and forgets dead letters, those too that no flow can decode", () =>
      Effect.scoped(Effect.gen(function*() {
        const { flags, layer, spoil } = yield* place
        const jobs = (...args: ReadonlyArray<string>) => command(binary, ["jobs", ...args, ...flags])
        yield* Effect.gen(function*() {
          yield* filled
          const [table, dead, json, counts] = yield* Effect.all([
            jobs("list"),
            jobs("list", "--state", "dead", "--tenant", "zoo", "--json"),
            jobs("list", "--json"),
            jobs("counts", "--json")
          ], { concurrency: 2 })
          const lines = table.out.split("\n").map((line) => line.replace(/ \d+s +/, " AGE  "))
          assert.match(lines[0]!, /^ID +STATE +FLOW +TENANT +TRIES +AGE +REASON$/)
          assert.match(lines[1]!, /^order-0 +done +orders +acme +1\/1/)
          assert.match(
            lines[2]!,
            /^order-1 +dead +orders +acme +1\/1 .*OutOfStock: none left of fish \(node "reserve"\)$/
          )
          assert.match(lines[4]!, /^waiting +queued +orders +default +0\/5/)
          assert.deepStrictEqual([table.err, table.code, lines.length], ["", 0, 6])
          assert.deepStrictEqual(dead.json.map((job) => (job as JobQueue.Job).id), ["order-2"])
          assert.strictEqual(json.json.length, 4)
          assert.deepStrictEqual(counts.json, [{ queued: 1, running: 0, done: 1, dead: 2, cancelled: 0 }])

          if (spoil !== undefined) yield* spoil("order-1")
          const shown = yield* jobs("show", "order-1")
          assert.include(shown.out, spoil === undefined ? "\"item\": \"fish\"" : "\"spoilt\"")
          assert.match(shown.out, /^dead of +OutOfStock, try 1, node "reserve"$/m)
          assert.match(shown.out, /^ +none left of fish$/m)

          const retried = yield* jobs("retry", "order-1", "order-0", "nope")
          assert.deepStrictEqual([retried.out, retried.code], ["order-1 retried\n", 1])
          assert.deepStrictEqual(retried.said, [
            "✗ \"order-0\" is done: only dead and cancelled jobs are tried again",
            "✗ no job has the id \"nope\""
          ])
          assert.strictEqual((yield* states)["order-1"], "queued 0")

          const cancelled = yield* jobs("cancel", "--state", "queued", "--reason", "closed", "--yes", "--json")
          assert.deepStrictEqual(cancelled.json, [{ cancelled: 2 }])
          const purged = yield* jobs("purge", "order-1", "--json")
          assert.deepStrictEqual([purged.json, purged.code], [[{ id: "order-1", purged: true }], 0])
          const all = yield* jobs("purge", "--flow", "orders", "--yes")
          assert.deepStrictEqual([all.out, all.code, yield* states], ["3 jobs purged\n", 0, {}])
        }).pipe(Effect.provide(layer))
      })))
  })
}

describe("penguiflow jobs", () => {
  const jobs = (...args: ReadonlyArray<string>) => command(binary, ["jobs", ...args])
  const withQueue = <A, E>(
    test: (place: Queues.Place, jobs: (...args: ReadonlyArray<string>) => ReturnType<typeof command>) => Effect.Effect<
      A,
      E,
      JobQueue.JobQueue
    >
  ) =>
    Effect.scoped(Effect.flatMap(
      Queues.sqlite,
      (place) =>
        Effect.provide(
          test(place, (...args) => command(binary, ["jobs", ...args, ...place.flags])),
          place.layer
        )
    ))

  it.live("a filter means all that match only where that is said, or confirmed at a terminal", () =>
    withQueue((place, jobs) =>
      Effect.gen(function*() {
        yield* filled
        const [silent, none, running] = yield* Effect.all([
          jobs("purge", "--state", "dead"),
          jobs("purge"),
          jobs("purge", "--state", "running", "--yes")
        ], { concurrency: 2 })
        assert.deepStrictEqual([silent.said, silent.out, silent.code], [
          ["✗ there is no terminal to ask at: say --yes to purge all that match"],
          "",
          2
        ])
        assert.deepStrictEqual(none.said, [
          "✗ which jobs? Name their ids, or say --state, --flow, --tenant or --older-than"
        ])
        assert.deepStrictEqual(running.said, [
          "✗ running jobs can't be purged: only queued, done, dead, cancelled ones"
        ])
        if (hasTerminal) {
          const ask = (keys: string) =>
            onTerminal(binary, ["jobs", "purge", "--state", "dead", ...place.flags], { keys })
          const no = yield* ask("no\n")
          assert.match(no, /2 jobs\. Type yes to purge\.[^]*Nothing was done\.\s+exit 1/)
          assert.strictEqual(Object.keys(yield* states).length, 4)
          assert.match(yield* ask("yes\n"), /2 jobs\. Type yes to purge\.[^]*2 jobs purged\s+exit 0/)
          assert.deepStrictEqual(Object.keys(yield* states), ["order-0", "waiting"])
        }
      })
    ))

  it.live("goes on page by page, cuts lines where the terminal ends, and ends for a reader who leaves", () =>
    withQueue((place, jobs) =>
      Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        yield* queue.enqueueMany(
          orders,
          Array.from({ length: 130 }, (_, at) => ({ id: `order-${at}`, input: { item: "ice" } }))
        )
        const [first, all] = yield* Effect.all([jobs("list"), jobs("list", "--limit", "1000", "--json")], {
          concurrency: 2
        })
        const after = /--after (\d+) goes on/.exec(first.err)?.[1]
        assert.strictEqual(first.out.split("\n").length, 102)
        assert.strictEqual(new Set(all.json.map((job) => (job as JobQueue.Job).id)).size, 130)
        assert.strictEqual((yield* jobs("list", "--after", after!, "--json")).json.length, 30)
        const left = yield* shell(
          `$NODE $1 jobs list --json --limit 1000 ${place.flags.join(" ")} | head -1 | wc -l; echo \${PIPESTATUS[0]}`,
          binary
        )
        assert.deepStrictEqual([left.out, left.err], ["1\n0\n", ""])
        if (hasTerminal) {
          const narrow = yield* onTerminal(binary, ["jobs", "list", ...place.flags], { env: { COLUMNS: "20" } })
          const lines = narrow.split("\r\n")
          assert.isAtLeast(lines.length, 100)
          assert.match(lines[1]!, /^order-0 +queued +…$/)
          for (const line of lines.slice(0, 100)) assert.isBelow(line.length, 20)
          // oxlint-disable-next-line no-control-regex
          assert.notMatch(narrow, /\u001b/)
        }
      })
    ))

  it.effect("where the queue is, and why it can't be reached, is one line without the password", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder("nowhere")
      const missing = join(folder, "jobs.sqlite")
      const secret = "hunter2"
      const ended = yield* Effect.forEach(
        [
          ["list"],
          ["list", "--database", missing],
          ["list", "--database", folder],
          ["list", "--database", `postgres://me:${secret}@127.0.0.1:1/shop`],
          ["list", "--database", `mysql://me:${secret}@127.0.0.1:1/shop`],
          ["list", "--database", `redis://:${secret}@127.0.0.1:1`],
          ["list", "--redis", `redis://:${secret}@127.0.0.1:1`],
          ["list", "--redis", `${secret}@127.0.0.1`],
          ["list", "--redis", "redis://127.0.0.1", "--database", "x"]
        ],
        (args) => jobs(...args),
        { concurrency: 2 }
      )
      for (const { code, err, out, said } of ended) {
        assert.deepStrictEqual([code, out, said.length], [2, "", 1], err)
        assert.notInclude(err, secret)
      }
      const away = "Is the server running, and are host and port right?"
      assert.deepStrictEqual(ended.map(({ said }) => said[0]), [
        "✗ it is not said where the queue is: give --database URL|FILE or --redis URL, or set PENGUIFLOW_DATABASE_URL or PENGUIFLOW_REDIS_URL",
        `✗ ${missing}: there is no such database: name the file that the workers use`,
        `✗ ${folder}: is a folder: name a file of SQLite`,
        `✗ PostgreSQL: nobody listens at 127.0.0.1:1. ${away}`,
        "✗ the database is neither PostgreSQL (postgres://host/database) nor a file of SQLite",
        "✗ the database is given a URL of Redis: give it by --redis",
        `✗ Redis: nobody listens at 127.0.0.1:1. ${away}`,
        "✗ --redis and PENGUIFLOW_REDIS_URL take a URL such as redis://localhost:6379",
        "✗ --database and --redis both say where the queue is: give one of them"
      ])
      assert.deepStrictEqual(readdirSync(folder), [])
    }))

  it.live("the environment says it as well, and a full disk is told", () =>
    withQueue((place) =>
      Effect.gen(function*() {
        yield* filled
        const env = { PENGUIFLOW_DATABASE_URL: place.flags[1], HOME: undefined }
        const counts = yield* command(binary, ["jobs", "counts"], { env })
        assert.deepStrictEqual(counts.out.split("\n").map((line) => line.replace(/ +/, " ")), [
          "queued 1",
          "running 0",
          "done 1",
          "dead 2",
          "cancelled 0",
          ""
        ])
        const full = yield* command(binary, ["jobs", "list"], { env, stdout: "/dev/full" })
        assert.deepStrictEqual([full.said, full.code], [["✗ standard output can't be written to: ENOSPC"], 1])
      })
    ))
})
