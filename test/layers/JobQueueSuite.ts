/** What every job queue does, whatever stands behind it. A backend's test file calls it with a maker of fresh queues. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, Predicate, Redacted, Schedule, Schema, Stream, Tracer } from "effect"
import { Flow, Node } from "penguiflow"
import * as JobQueue from "penguiflow/JobQueue"
import type * as JobStore from "penguiflow/JobStore"
import * as SpanObserver from "penguiflow/layers/SpanObserver"
import * as Worker from "penguiflow/Worker"
import { ask, newJob } from "../utils/jobs.ts"
import { recordingTracer } from "../utils/spans.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", {
  why: Schema.String,
  token: Schema.optionalKey(Schema.Redacted(Schema.String))
}) {}
class Order extends Schema.Class<Order>("test/Order")({ id: Schema.Int, at: Schema.DateFromString }) {}

const single = <const Name extends string, I, O, E extends { readonly _tag: string } = never>(
  name: Name,
  input: Schema.Schema<I>,
  output: Schema.Schema<O>,
  run: (input: I, context: Node.NodeContext) => Effect.Effect<O, E>,
  error?: Schema.Schema<E>
) => Flow.make(name, [Node.make("only", { input, output, error, run: (i: I, context) => run(i, context) }).to()])

const echo = single("echo", Schema.Unknown, Schema.Unknown, (value) => Effect.succeed(value))
const lengths = single("lengths", Schema.String, Schema.Number, (text) => Effect.succeed(text.length))

const failure = (code: string): JobStore.Failure => ({
  code,
  message: `it was ${code}`,
  node: "only",
  attempt: 1,
  detail: undefined,
  kind: "node"
})

const storeOf = Effect.map(JobQueue.JobQueue, (queue) => queue.store)
const idsOf = (rows: ReadonlyArray<{ readonly id: string }>) => rows.map((row) => row.id)

/** Until a condition holds, looked at every few milliseconds of real time. */
const eventually = <E, R>(what: string, condition: Effect.Effect<boolean, E, R>, withinMs = 8000) =>
  Effect.gen(function*() {
    const until = Date.now() + withinMs
    while (!(yield* condition)) {
      if (Date.now() > until) return assert.fail(`not within ${withinMs} ms: ${what}`)
      yield* Effect.sleep(5)
    }
  })

/** `fresh` gives a queue that nobody else uses. */
export const jobQueueSuite = <E>(
  backend: string,
  fresh: (limits?: JobQueue.Limits) => Layer.Layer<JobQueue.JobQueue, E>
) =>
  describe(`JobQueue ${backend}`, () => {
    const test = <A, E2>(
      name: string,
      effect: () => Effect.Effect<A, E2, JobQueue.JobQueue>,
      limits?: JobQueue.Limits
    ) => it.live(name, () => Effect.provide(Effect.suspend(effect), fresh(limits)))

    const work = <const F extends Flow.Any | ReadonlyArray<Flow.Any>>(
      flows: F,
      options: Worker.Options<unknown> = {}
    ) =>
      Worker.layer(flows, {
        pollInterval: "50 millis",
        lease: "5 seconds",
        grace: 0,
        retry: Schedule.spaced(5),
        ...options
      }) as Layer.Layer<Worker.Worker, never, JobQueue.JobQueue>

    describe("enqueue", () => {
      test("stores a job with all that was said of it", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const id = yield* queue.enqueue(lengths, "four", {
            id: "a",
            headers: { tenant: "acme", topic: "words", priority: 3 },
            meta: { user: { n: 1 } },
            maxAttempts: 7,
            timeout: "2 seconds"
          })
          assert.strictEqual(id, "a")
          const job = yield* queue.get("a")
          const { enqueuedAt, runAt, seq, ...rest } = job!
          assert.deepStrictEqual(rest, {
            id: "a",
            flow: "lengths",
            state: "queued",
            headers: { tenant: "acme", priority: 3, topic: "words" },
            meta: { user: { n: 1 } },
            payload: "four",
            attempts: 0,
            failures: 0,
            crashes: 0,
            maxAttempts: 7,
            timeoutMs: 2000,
            startedAt: undefined,
            cancelReason: undefined,
            finishedAt: undefined,
            workerId: undefined,
            results: undefined,
            failure: undefined
          })
          assert.isAbove(seq, 0)
          assert.isBelow(Math.abs(Date.now() - enqueuedAt), 5000)
          assert.strictEqual(runAt, enqueuedAt)
        }))

      test("gives an id where none is given, and knows nothing of others", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const a = yield* queue.enqueue(lengths, "a")
          const b = yield* queue.enqueue(lengths, "a")
          assert.notStrictEqual(a, b)
          for (const unknown of ["nobody", "__proto__", "", "\0", "x".repeat(1_000_000), "\ud800", "../../x"]) {
            assert.isUndefined(yield* queue.get(unknown))
            assert.isFalse(yield* queue.cancel(unknown))
            assert.strictEqual(yield* queue.requeue(unknown), 0)
            assert.strictEqual(yield* queue.purge(unknown), 0)
            assert.strictEqual((yield* Effect.flip(queue.await(lengths, unknown)))._tag, "JobError")
          }
          assert.strictEqual((yield* queue.counts).queued, 2)
        }))

      test("the same id with the same input is the same job, with another input or flow a conflict", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          yield* queue.enqueue(echo, { a: 1, b: [2] }, { id: "a" })
          yield* queue.enqueue(echo, { b: [2], a: 1 }, { id: "a", priority: 9 })
          const other = yield* Effect.flip(queue.enqueue(echo, { a: 2 }, { id: "a" }))
          assert.deepStrictEqual([other.code, other.jobId], ["ID_CONFLICT", "a"])
          assert.strictEqual((yield* Effect.flip(queue.enqueue(lengths, "x", { id: "a" }))).code, "ID_CONFLICT")
          assert.strictEqual((yield* queue.counts).queued, 1)
        }))

      test("a thousand at once with one id are one job", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          yield* Effect.forEach(Array.from({ length: 1000 }), () => queue.enqueue(echo, { n: 1 }, { id: "same" }), {
            concurrency: 50,
            discard: true
          })
          assert.strictEqual((yield* queue.counts).queued, 1)
        }))

      test("gives ids that are UUIDs, all different, and begin with the time", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const timeOf = (id: string) => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
          const from = Date.now()
          const first: string = yield* queue.enqueue(echo, 1)
          const ids = yield* queue.enqueueMany(echo, Array.from({ length: 1000 }, (_, input) => ({ input })))
          for (const id of [first, ...ids]) {
            assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
            assert.isAtLeast(timeOf(id), Math.max(from, timeOf(first)))
            assert.isAtMost(timeOf(id), Date.now())
          }
          assert.strictEqual(new Set([first, ...ids]).size, 1001)
        }))

      test("enqueueMany stores all or none", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const ids = yield* queue.enqueueMany(echo, [{ input: 1, id: "a" }, { input: 2, id: "b" }, {
            input: 1,
            id: "a"
          }])
          assert.deepStrictEqual([...ids], ["a", "b", "a"])
          assert.strictEqual((yield* queue.counts).queued, 2)
          const conflict = yield* Effect.flip(queue.enqueueMany(echo, [{ input: 3, id: "c" }, { input: 9, id: "b" }]))
          assert.deepStrictEqual([conflict.code, conflict.jobId], ["ID_CONFLICT", "b"])
          const behind = [{ input: "1", id: "new" }, { input: "1", id: "new" }, { input: "other", id: "b" }]
          assert.strictEqual((yield* Effect.flip(queue.enqueueMany(lengths, behind))).jobId, "b")
          const twins = yield* Effect.flip(queue.enqueueMany(echo, [{ input: 3, id: "d" }, { input: 4, id: "d" }]))
          assert.strictEqual(twins.code, "ID_CONFLICT")
          const bad = yield* Effect.flip(
            queue.enqueueMany(echo, [{ input: 3, id: "e" }, { input: Number.NaN, id: "f" }])
          )
          assert.strictEqual(bad.code, "INVALID_PAYLOAD")
          assert.deepStrictEqual([...yield* queue.enqueueMany(echo, [])], [])
          assert.strictEqual((yield* queue.counts).queued, 2)
        }))

      test("refuses what is not JSON with its path, and goes on", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const cyclic: Record<string, unknown> = {}
          cyclic["self"] = cyclic
          const throwing = {
            get bad(): string {
              throw new Error("secret")
            }
          }
          const cases: ReadonlyArray<readonly [unknown, string, string]> = [
            [{ a: [1, Number.NaN] }, "INVALID_PAYLOAD", "payload.a[1]"],
            [{ a: Infinity }, "INVALID_PAYLOAD", "payload.a"],
            [{ "a b": new Date() }, "INVALID_PAYLOAD", "payload[\"a b\"]"],
            [{ a: 1n }, "INVALID_PAYLOAD", "payload.a"],
            [{ a: new Map() }, "INVALID_PAYLOAD", "payload.a"],
            [{ a: () => 1 }, "INVALID_PAYLOAD", "payload.a"],
            [{ a: [undefined] }, "INVALID_PAYLOAD", "payload.a[0]"],
            [undefined, "INVALID_PAYLOAD", "payload"],
            [JSON.parse("{\"__proto__\":{\"polluted\":1}}"), "INVALID_PAYLOAD", "payload[\"__proto__\"]"],
            [throwing, "INVALID_PAYLOAD", "payload"],
            [
              new Proxy({}, {
                ownKeys: () => {
                  throw new Error("no")
                }
              }),
              "INVALID_PAYLOAD",
              "payload"
            ],
            [{ secret: Redacted.make("s3cret") }, "INVALID_PAYLOAD", "payload.secret"]
          ]
          for (const [input, code, path] of cases) {
            const error = yield* Effect.flip(queue.enqueue(echo, input))
            assert.strictEqual(error.code, code, path)
            assert.strictEqual(error.reason._tag === "InvalidPayload" ? error.reason.path : "", path)
            assert.notInclude(error.message, "s3cret")
          }
          const deep = yield* Effect.flip(queue.enqueue(echo, cyclic))
          assert.strictEqual(deep.code, "PAYLOAD_TOO_DEEP")
          assert.isUndefined(({} as Record<string, unknown>)["polluted"])
          const id = yield* queue.enqueue(echo, { fine: true })
          assert.strictEqual((yield* queue.get(id))?.state, "queued")
          assert.strictEqual((yield* queue.counts).queued, 1)
        }))

      test("keeps what JSON can say as it is: NUL, halves of surrogates, -0, quotes, empty keys", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const input = {
            "": "a\0b\ud800'\"\\🐧",
            "a.b": [-0, 1e308, null, false, {}],
            "constructor": { prototype: 1 }
          }
          yield* queue.enqueue(echo, input, { id: "a", meta: { note: "\0\ud800" } })
          const job = yield* queue.get("a")
          assert.deepStrictEqual(job?.payload, input)
          assert.deepStrictEqual(job?.meta, { note: "\0\ud800" })
          const result = yield* Effect.provide(queue.await(echo, "a"), work(echo))
          assert.deepStrictEqual(result, input)
        }))

      test("refuses what is too large or too deep before it is looked at to its end", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          let nested: unknown = 1
          for (let i = 0; i < 200_000; i++) nested = [nested]
          const heavy: ReadonlyArray<readonly [unknown, string]> = [
            ["x".repeat(50 * 1024 * 1024), "PAYLOAD_TOO_LARGE"],
            [Array.from({ length: 1_000_000 }, () => 1), "PAYLOAD_TOO_LARGE"],
            ["ü".repeat(600_000), "PAYLOAD_TOO_LARGE"],
            [nested, "PAYLOAD_TOO_DEEP"]
          ]
          for (const [input, code] of heavy) {
            const times: Array<number> = []
            for (let round = 0; round < 3; round++) {
              const from = process.cpuUsage()
              assert.strictEqual((yield* Effect.flip(queue.enqueue(echo, input))).code, code)
              const { system, user } = process.cpuUsage(from)
              times.push((user + system) / 1000)
            }
            // Its own time, not that of what else the machine does; the best of three.
            assert.isBelow(Math.min(...times), 200)
          }
          yield* queue.enqueue(echo, "x".repeat(1024 * 1024 - 2), { id: "just" })
          assert.strictEqual(String((yield* queue.get("just"))?.payload).length, 1024 * 1024 - 2)
        }))

      test("refuses input that does not fit the schema without repeating it", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const flow = single("shape", Schema.Struct({ n: Schema.Number }), Schema.Unknown, Effect.succeed)
          const error = yield* Effect.flip(queue.enqueue(flow, { n: "s3cret" } as never))
          assert.strictEqual(error.code, "INVALID_PAYLOAD")
          assert.include(error.message, "n")
          assert.notInclude(JSON.stringify(error) + error.message, "s3cret")
        }))

      test("refuses ids, headers, meta and numbers that it can't keep", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const cases: ReadonlyArray<readonly [JobQueue.EnqueueOptions, string]> = [
            [{ id: "" }, "id"],
            [{ id: "x".repeat(256) }, "id"],
            [{ id: "a\0b" }, "id"],
            [{ id: "\ud800" }, "id"],
            [{ headers: { tenant: "" } }, "headers.tenant"],
            [{ headers: { topic: "\0" } }, "headers.topic"],
            [{ priority: 1.5 }, "priority"],
            [{ maxAttempts: 0 }, "maxAttempts"],
            [{ delay: "-1 seconds" }, "delay"],
            [{ delay: Infinity }, "delay"],
            [{ timeout: 0 }, "timeout"],
            [{ meta: { pool: new Map() as never } }, "meta.pool"],
            [{ meta: { big: "x".repeat(20_000) } }, "meta"]
          ]
          for (const [options, option] of cases) {
            const { reason } = yield* Effect.flip(queue.enqueue(echo, 1, options))
            assert.strictEqual(reason._tag === "InvalidOptions" ? reason.option : reason._tag, option)
          }
          for (const id of ["__proto__", "../../x", "<script>", "🐧", "a'b\"c", "x".repeat(255)]) {
            yield* queue.enqueue(echo, id, { id, headers: { tenant: id } })
            assert.strictEqual((yield* queue.get(id))?.headers.tenant, id)
          }
        }))

      test("takes no more than maxLength", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          for (const n of [1, 2, 3]) yield* queue.enqueue(echo, n, { id: `${n}` })
          const { code, reason } = yield* Effect.flip(queue.enqueue(echo, 4, { id: "4" }))
          assert.strictEqual(code, "QUEUE_FULL")
          assert.isTrue(reason._tag === "QueueFull" && reason.limit === 3 && reason.retryAfterMs > 0)
          assert.isUndefined(yield* queue.get("4"))
          yield* queue.enqueue(echo, 1, { id: "1" })
          yield* queue.cancel("1")
          yield* queue.enqueue(echo, 4, { id: "4" })
        }), { maxLength: 3 })
    })

    describe("claims and leases", () => {
      test("a job may be its taker's with the write that stores it: by a claim like any other", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          const taker = { workerId: "w1", leaseMs: 60_000 }
          const enqueue = (job: JobStore.NewJob, leaseMs = 60_000) =>
            Effect.map(
              store.enqueue([job], { maxLength: 1000, taker: { ...taker, leaseMs } }),
              (answers) => answers[0]
            )
          assert.strictEqual(yield* enqueue(newJob("a")), "taken")
          assert.strictEqual(yield* enqueue(newJob("a")), "same")
          assert.strictEqual(yield* enqueue(newJob("a", { payload: "2" })), "conflict")
          assert.deepStrictEqual(yield* store.claim(ask({ workerId: "w2" })), [])
          // Nobody has several with their write, or what is not to start yet.
          const several = [newJob("x"), newJob("y")]
          assert.deepStrictEqual(yield* store.enqueue(several, { maxLength: 1000, taker }), ["created", "created"])
          assert.strictEqual(yield* enqueue(newJob("z", { delayMs: 60_000 })), "created")
          assert.strictEqual(yield* store.purge({ ids: ["x", "y", "z"], states: ["queued"], limit: 3 }), 3)
          const [record] = yield* store.list({ ids: ["a"], limit: 1 })
          assert.deepStrictEqual([record?.state, record?.workerId, record?.startedAt], ["running", "w1", record?.runAt])
          const lease = { id: "a", token: 1 }
          assert.deepStrictEqual((yield* store.renew([lease], { leaseMs: 60_000, stalledMs: 0 })).lost, [])
          assert.deepStrictEqual(yield* store.settle([{ ...lease, _tag: "Done", results: "[1]" }]), [true])
          // Given back, it is anybody's.
          assert.strictEqual(yield* enqueue(newJob("b")), "taken")
          assert.strictEqual(yield* store.disown("w1", []), 1)
          const [claim] = yield* store.claim(ask({ workerId: "w2" }))
          assert.deepStrictEqual([claim?.id, claim?.failures, claim?.crashes], ["b", 0, 0])
          assert.deepStrictEqual(yield* store.settle([{ id: "b", token: 1, _tag: "Done", results: "[1]" }]), [false])
          // Its worker falls silent.
          assert.strictEqual(yield* enqueue(newJob("c"), 50), "taken")
          yield* Effect.sleep(80)
          assert.deepStrictEqual((yield* store.sweep(["echo"])).recovered, ["c"])
          const [again] = yield* store.claim(ask({ workerId: "w2" }))
          assert.deepStrictEqual([again?.id, again?.crashes], ["c", 1])
          const { queued, running } = yield* store.counts
          assert.deepStrictEqual([queued, running], [0, 2])
        }))

      test("a job is claimed once, and settled once by who holds it", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          yield* store.enqueue([newJob("a")], { maxLength: 10 })
          const [claim] = yield* store.claim(ask())
          assert.deepStrictEqual(
            [claim?.id, claim?.payload, claim?.alone, claim?.failures, claim?.crashes],
            ["a", "1", false, 0, 0]
          )
          assert.lengthOf(yield* store.claim(ask({ workerId: "w2" })), 0)
          const done = { id: "a", token: claim!.token, _tag: "Done", results: "[1]" } as const
          assert.deepStrictEqual([...yield* store.settle([{ ...done, token: done.token + 1 }])], [false])
          assert.deepStrictEqual([...yield* store.settle([done])], [true])
          // The answer may have been lost: asked again, it is the same.
          assert.deepStrictEqual([...yield* store.settle([done])], [true])
          const [row] = yield* store.list({ limit: 10 })
          assert.deepStrictEqual([row?.state, row?.results], ["done", "[1]"])
        }))

      test("one lot of many jobs goes to many claimers without a job in two hands", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          yield* store.enqueue(Array.from({ length: 200 }, (_, i) => newJob(`j${i}`)), { maxLength: 1000 })
          const lots = yield* Effect.forEach(
            Array.from({ length: 20 }, (_, i) => i),
            (i) => store.claim(ask({ workerId: `w${i}`, limit: 10 })),
            { concurrency: 8 }
          )
          const ids = lots.flatMap(idsOf)
          assert.strictEqual(new Set(ids).size, ids.length)
          let rest = 0
          for (let lot = yield* store.claim(ask()); lot.length > 0; lot = yield* store.claim(ask())) rest += lot.length
          assert.strictEqual(ids.length + rest, 200)
        }))

      test("serves higher priority first, then who came first", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          yield* store.enqueue(
            [
              newJob("a"),
              newJob("b", { priority: 5 }),
              newJob("c"),
              newJob("d", { priority: 5 }),
              newJob("e", { priority: -1 })
            ],
            { maxLength: 10 }
          )
          const order: Array<string> = []
          for (let i = 0; i < 5; i++) order.push(...idsOf(yield* store.claim(ask({ limit: 1 }))))
          assert.deepStrictEqual(order, ["b", "d", "a", "c", "e"])
        }))

      test("serves tenants in turn", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          const many = Array.from({ length: 50 }, (_, i) => newJob(`big${i}`, { tenant: "big", priority: 9 }))
          yield* store.enqueue([...many, newJob("small", { tenant: "small" }), newJob("tiny", { tenant: "tiny" })], {
            maxLength: 1000
          })
          assert.sameMembers(
            idsOf(yield* store.claim(ask({ limit: 5 }))),
            ["big0", "small", "tiny", "big1", "big2"]
          )
          yield* store.enqueue([newJob("small2", { tenant: "small" })], { maxLength: 1000 })
          assert.deepStrictEqual(idsOf(yield* store.claim(ask({ limit: 1, after: "big" }))), ["small2"])
          assert.lengthOf(yield* store.claim(ask({ limit: 5, after: "tiny" })), 0)
          assert.lengthOf(yield* store.claim(ask({ limit: 5, without: ["big"] })), 0)
        }))

      test("keeps to the tenant's limit, on all workers together", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          yield* store.enqueue(
            [
              ...Array.from({ length: 10 }, (_, i) => newJob(`a${i}`, { tenant: "a" })),
              ...Array.from({ length: 10 }, (_, i) => newJob(`b${i}`, { tenant: "b" }))
            ],
            { maxLength: 1000 }
          )
          const lots = yield* Effect.forEach(
            ["w1", "w2", "w3", "w4"],
            (workerId) => store.claim(ask({ workerId, limit: 4, tenantLimit: 3 })),
            { concurrency: 4 }
          )
          const tenants = lots.flat().map((claim) => claim.tenant).sort().join("")
          assert.strictEqual(tenants, "aaabbb")
        }))

      test("takes only the flows that are asked for", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          yield* store.enqueue([newJob("a"), newJob("b", { flow: "other" })], { maxLength: 10 })
          assert.deepStrictEqual(idsOf(yield* store.claim(ask({ flows: ["other", "third"] }))), ["b"])
          assert.isFalse((yield* store.sweep(["third"])).ready)
          assert.isTrue((yield* store.sweep(["third", "echo"])).ready)
        }))

      test("a delayed job waits for its time, and the sweep says how long", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          yield* store.enqueue([newJob("later", { delayMs: 150 })], { maxLength: 10 })
          const first = yield* store.sweep(["echo"])
          assert.isTrue(first.nextMs !== undefined && first.nextMs > 0 && first.nextMs <= 150)
          assert.lengthOf(yield* store.claim(ask()), 0)
          yield* Effect.sleep(200)
          assert.isTrue((yield* store.sweep(["echo"])).ready)
          assert.deepStrictEqual(idsOf(yield* store.claim(ask())), ["later"])
        }))

      test("a claim says how long the job waited since it might have started, each try anew", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          const waited = (from: number, claim: JobStore.Claim | undefined) => {
            assert.isDefined(claim)
            assert.isAtLeast(claim.waitedMs, from)
            return claim
          }
          yield* store.enqueue([newJob("a")], { maxLength: 10 })
          yield* Effect.sleep(120)
          const first = waited(100, (yield* store.claim(ask()))[0])
          yield* Effect.sleep(1000)
          yield* store.settle([{ id: "a", token: first.token, _tag: "Returned", delayMs: 0 }])
          assert.isBelow(waited(0, (yield* store.claim(ask()))[0]).waitedMs, 900)
          yield* store.enqueue([newJob("later", { delayMs: 1000 })], { maxLength: 10 })
          yield* Effect.sleep(1050)
          yield* store.sweep(["echo"])
          assert.isBelow(waited(0, (yield* store.claim(ask()))[0]).waitedMs, 900)
        }))

      test("a lease that ends is taken over with a new token, and the old one is worth nothing", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          yield* store.enqueue([newJob("a")], { maxLength: 10 })
          const [first] = yield* store.claim(ask({ leaseMs: 60 }))
          yield* Effect.sleep(120)
          const swept = yield* store.sweep(["echo"])
          assert.deepStrictEqual([...swept.recovered], ["a"])
          const [second] = yield* store.claim(ask({ workerId: "w2" }))
          assert.isAbove(second!.token, first!.token)
          assert.strictEqual(second!.crashes, 1)
          const { lost } = yield* store.renew([first!, second!], { leaseMs: 60_000, stalledMs: 0 })
          assert.deepStrictEqual(lost.map((it) => it.token), [first!.token])
          const done = { _tag: "Done", results: "[]" } as const
          assert.deepStrictEqual(
            [
              ...yield* store.settle([{ ...done, id: "a", token: first!.token }, {
                ...done,
                id: "a",
                token: second!.token
              }])
            ],
            [false, true]
          )
        }))

      test("a renewed lease holds", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          yield* store.enqueue([newJob("a")], { maxLength: 10 })
          const [claim] = yield* store.claim(ask({ leaseMs: 300 }))
          for (let i = 0; i < 5; i++) {
            yield* Effect.sleep(100)
            const { lost } = yield* store.renew([claim!], { leaseMs: 300, stalledMs: 0 })
            assert.lengthOf(lost, 0)
            assert.lengthOf((yield* store.sweep(["echo"])).recovered, 0)
          }
        }))

      test("whoever comes back late gives the present owner its time", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          yield* store.enqueue([newJob("a")], { maxLength: 10 })
          const [first] = yield* store.claim(ask({ leaseMs: 60 }))
          yield* Effect.sleep(120)
          yield* store.sweep(["echo"])
          const [second] = yield* store.claim(ask({ workerId: "w2", leaseMs: 60 }))
          assert.strictEqual(second?.id, "a")
          yield* store.renew([first!], { leaseMs: 60, stalledMs: 700 })
          yield* Effect.sleep(300)
          assert.lengthOf((yield* store.sweep(["echo"])).recovered, 0)
        }))

      test("who crashed twice runs alone, and is dead after maxAttempts; who was only beside it is not", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          yield* store.enqueue([newJob("poison"), newJob("beside")], { maxLength: 10 })
          const die = Effect.andThen(Effect.sleep(90), store.sweep(["echo"]))
          // Twice both are running when their worker dies. The second owner has a little longer than its lease.
          yield* store.claim(ask({ leaseMs: 30 }))
          yield* die
          yield* store.claim(ask({ leaseMs: 30 }))
          const second = yield* die
          assert.sameMembers([...second.recovered], ["poison", "beside"])
          const suspects = yield* store.claim(ask({ leaseMs: 30 }))
          assert.deepStrictEqual(suspects.map((it) => [it.alone, it.crashes]), [[true, 2], [true, 2]])
          // Only one of them begins.
          const poison = suspects.find((it) => it.id === "poison")!
          assert.isTrue(yield* store.start(poison))
          assert.isFalse(yield* store.start({ ...poison, token: poison.token - 1 }))
          const third = yield* die
          assert.deepStrictEqual([[...third.recovered], [...third.dead]], [["beside"], ["poison"]])
          const records = yield* store.list({ ids: ["poison"], limit: 1 })
          assert.deepStrictEqual(
            [records[0]?.state, records[0]?.failure?.code, records[0]?.failure?.message, records[0]?.crashes],
            ["dead", "WORKER_DIED", "worker died (3×)", 3]
          )
          const [again] = yield* store.claim(ask())
          assert.deepStrictEqual([again?.id, again?.crashes], ["beside", 2])
        }))

      test("with maxAttempts 1 a job is never begun twice", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          yield* store.enqueue([newJob("a", { maxAttempts: 1 })], { maxLength: 10 })
          yield* store.claim(ask({ leaseMs: 30 }))
          yield* Effect.sleep(60)
          assert.deepStrictEqual([...(yield* store.sweep(["echo"])).dead], ["a"])
        }))

      test("what was returned has lost no try; what failed has", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          yield* store.enqueue([newJob("a")], { maxLength: 10 })
          for (const tag of ["Returned", "Retry", "Returned"] as const) {
            const [claim] = yield* store.claim(ask())
            yield* store.settle([{ id: "a", token: claim!.token, delayMs: 0, _tag: tag, failure: failure("E") }])
          }
          const [row] = yield* store.list({ limit: 1 })
          assert.deepStrictEqual([row?.state, row?.failures, row?.crashes, row?.failure?.code], ["queued", 1, 0, "E"])
        }))

      test("gives back what was claimed by a worker that never heard of it", () =>
        Effect.gen(function*() {
          const store = yield* storeOf
          yield* store.enqueue([newJob("a"), newJob("b"), newJob("c")], { maxLength: 10 })
          const [mine, lost] = yield* store.claim(ask({ limit: 2 }))
          yield* store.claim(ask({ workerId: "w2" }))
          assert.strictEqual(yield* store.disown("w1", [mine!.id]), 1)
          assert.deepStrictEqual([...yield* store.settle([{ ...lost!, _tag: "Done", results: "[]" }])], [false])
          const [again] = yield* store.claim(ask())
          assert.deepStrictEqual([again?.id, again?.crashes, again?.failures], [lost!.id, 0, 0])
        }))

      test("says whom it wakes", () =>
        Effect.scoped(Effect.gen(function*() {
          const store = yield* storeOf
          const heard = new Set<string>()
          yield* store.watch(["ready", "cancel", "ended"], (change) => heard.add(change))
          yield* store.enqueue([newJob("a")], { maxLength: 10 })
          yield* eventually("ready", Effect.sync(() => heard.has("ready")))
          const [claim] = yield* store.claim(ask())
          yield* store.cancel("a", "enough")
          yield* eventually("cancel", Effect.sync(() => heard.has("cancel")))
          const renewed = yield* store.renew([claim!], { leaseMs: 1000, stalledMs: 0 })
          assert.deepStrictEqual(renewed.cancelled.map((it) => [it.id, it.reason]), [["a", "enough"]])
          yield* store.settle([{ ...claim!, _tag: "Cancelled", failure: failure("JOB_CANCELLED") }])
          yield* eventually("ended", Effect.sync(() => heard.has("ended")))
        })))
    })

    describe("looking after jobs", () => {
      test("lists by state, flow, tenant and id, page by page", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          for (let i = 0; i < 5; i++) yield* queue.enqueue(echo, i, { id: `e${i}`, headers: { tenant: `t${i % 2}` } })
          yield* queue.enqueue(lengths, "x", { id: "l" })
          yield* queue.cancel("e1")
          assert.deepStrictEqual(idsOf(yield* queue.list({ limit: 2 })), ["e0", "e1"])
          const [, second] = yield* queue.list({ limit: 2 })
          assert.deepStrictEqual(idsOf(yield* queue.list({ limit: 2, after: second!.seq })), ["e2", "e3"])
          assert.deepStrictEqual(idsOf(yield* queue.list({ flow: "lengths" })), ["l"])
          assert.deepStrictEqual(idsOf(yield* queue.list({ tenant: "t1" })), ["e1", "e3"])
          assert.deepStrictEqual(idsOf(yield* queue.list({ state: "cancelled" })), ["e1"])
          assert.deepStrictEqual(idsOf(yield* queue.list({ state: ["cancelled", "queued"], tenant: "t1" })), [
            "e1",
            "e3"
          ])
          assert.deepStrictEqual(idsOf(yield* queue.list({ id: ["l", "e4", "no"] })), ["e4", "l"])
          assert.deepStrictEqual(idsOf(yield* queue.list({ id: [] })), [])
          assert.deepStrictEqual(yield* queue.counts, { queued: 5, running: 0, done: 0, dead: 0, cancelled: 1 })
        }))

      test("cancels a job that waits at once, and only once", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const id = yield* queue.enqueue(lengths, "x", { delay: "1 hour" })
          assert.isTrue(yield* queue.cancel(id, "not needed"))
          assert.isFalse(yield* queue.cancel(id))
          const error = yield* Effect.flip(queue.await(id))
          assert.deepStrictEqual([error.code, error.message], ["JOB_CANCELLED", "The job was cancelled: not needed"])
          const job = yield* queue.get(id)
          assert.isNumber(job?.finishedAt)
          assert.strictEqual(job?.cancelReason, "not needed")
        }))

      test("lists dead letters with their reason, requeues them with all their tries, purges them", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const kill = Effect.fnUntraced(function*(id: string) {
            const [claim] = yield* queue.store.claim(ask({ flows: ["echo"] }))
            yield* queue.store.settle([{ ...claim!, _tag: "Dead", failure: failure("Broken") }])
            assert.strictEqual(claim!.id, id)
          })
          yield* queue.enqueue(echo, 1, { id: "a" })
          yield* kill("a")
          const [dead] = yield* queue.deadLetters()
          assert.deepStrictEqual([dead?.id, dead?.failure?.code, dead?.failure?.message], [
            "a",
            "Broken",
            "it was Broken"
          ])
          assert.strictEqual(yield* queue.requeue("a"), 1)
          assert.strictEqual(yield* queue.requeue("a"), 0)
          const again = yield* queue.get("a")
          assert.deepStrictEqual([again?.state, again?.attempts, again?.finishedAt], ["queued", 0, undefined])
          yield* kill("a")
          yield* queue.enqueue(echo, 1, { id: "b" })
          assert.strictEqual(yield* queue.purge({ state: "dead", olderThan: "1 hour" }), 0)
          assert.strictEqual(yield* queue.purge({ olderThan: "-1 seconds" }), 1)
          assert.strictEqual(yield* queue.purge({}), 0)
          assert.deepStrictEqual(idsOf(yield* queue.list()), ["b"])
          yield* queue.store.claim(ask())
          assert.strictEqual(yield* queue.purge("b"), 0)
          yield* queue.enqueue(echo, 2, { id: "a" })
        }))
    })

    describe("with a worker", () => {
      test("a job's spans continue the caller's, in every try", () => {
        const { spans, tracer } = recordingTracer()
        const flaky = single("flaky", Schema.String, Schema.String, (text, { meta }) =>
          meta["attempt"] === 1 ? Effect.fail(new Refused({ why: "not yet" })) : Effect.succeed(text), Refused)
        return Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const id = yield* queue.enqueue(flaky, "x", { id: "traced" }).pipe(Effect.withSpan("request"))
          yield* queue.enqueue(flaky, "x", { id: "alone" })
          yield* Effect.andThen(queue.await(id), queue.await(flaky, "alone")).pipe(
            Effect.provide(Layer.provideMerge(work(flaky), SpanObserver.layer()))
          )
          const request = spans.find((span) =>
            span.name === "request"
          )!
          const ofFlow = (id: string) =>
            spans.filter((span) =>
              span.name === "flow flaky" && span.attributes.get("penguiflow.trace_id") === id
            )
          assert.deepStrictEqual(
            ofFlow("job-traced").map((span) => [span.traceId, Option.getOrUndefined(span.parent)?.spanId]),
            [[request.traceId, request.spanId], [request.traceId, request.spanId]]
          )
          assert.deepStrictEqual(ofFlow("job-alone").map((span) => Option.isNone(span.parent)), [true, true])
        }).pipe(Effect.provideService(Tracer.Tracer, tracer))
      })

      test("runs jobs and gives their results, decoded", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const next = single(
            "next",
            Order,
            Order,
            (order) => Effect.succeed(new Order({ id: order.id + 1, at: order.at }))
          )
          const id = yield* queue.enqueue(next, { id: 1, at: new Date(0) } as Order, { id: "one" })
          const result = yield* Effect.provide(queue.await(id), work([next, lengths]))
          assert.instanceOf(result, Order)
          assert.deepStrictEqual([result.id, result.at.getTime()], [2, 0])
          const job = yield* queue.get(id)
          assert.deepStrictEqual(
            [job?.state, job?.attempts, job?.results, job?.payload],
            ["done", 1, [{ id: 2, at: "1970-01-01T00:00:00.000Z" }], { id: 1, at: "1970-01-01T00:00:00.000Z" }]
          )
          assert.deepStrictEqual((yield* queue.await(next, "one")).id, 2)
        }))

      test("a job is a trace with the job's headers, and ids in meta", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const who = single(
            "who",
            Schema.Null,
            Schema.Unknown,
            (_, { headers, meta, traceId }) => Effect.succeed({ headers, meta, traceId })
          )
          const id = yield* queue.enqueue(who, null, {
            id: "x",
            headers: { tenant: "acme", topic: "t", priority: 2 },
            meta: { user: "u" }
          })
          const seen = yield* Effect.provide(
            Effect.zip(queue.await(id), Effect.map(Worker.Worker, (worker) => worker.id)),
            work(who, { name: "mine" })
          )
          const workerId = seen[1]
          assert.match(workerId, /^mine-/)
          assert.deepStrictEqual(seen[0], {
            traceId: "job-x",
            headers: { tenant: "acme", topic: "t", priority: 2 },
            meta: { user: "u", jobId: "x", workerId, attempt: 1 }
          })
        }))

      test("records a node's own error as what it is, at once, with secrets left out", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const failing = single(
            "failing",
            Schema.String,
            Schema.Number,
            (why) => Effect.fail(new Refused({ why, token: Redacted.make("s3cret") })),
            Refused
          )
          const id = yield* queue.enqueue(failing, "because", { maxAttempts: 1, timeout: "30 seconds" })
          const from = Date.now()
          const error = yield* Effect.provide(Effect.flip(queue.await(id)), work(failing))
          assert.isBelow(Date.now() - from, 5000)
          assert.instanceOf(error, Refused)
          assert.strictEqual(error._tag === "Refused" ? error.why : "", "because")
          const job = yield* queue.get(id)
          assert.deepStrictEqual(
            [job?.state, job?.failure?.code, job?.failure?.node, job?.failures, job?.failure?.error],
            ["dead", "Refused", "only", 1, { _tag: "Refused", why: "because", token: "<redacted>" }]
          )
          assert.notInclude(JSON.stringify(yield* queue.store.list({ limit: 1 })), "s3cret")
        }))

      test("results hold no secrets", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const login = single(
            "login",
            Schema.String,
            Schema.Struct({ user: Schema.String, key: Schema.RedactedFromValue(Schema.String) }),
            (user) => Effect.succeed({ user, key: Redacted.make("s3cret") })
          )
          const id = yield* queue.enqueue(login, "me")
          const result = yield* Effect.provide(queue.await(id), work(login))
          assert.deepStrictEqual([result.user, Redacted.value(result.key)], ["me", "<redacted>"])
          assert.notInclude(JSON.stringify(yield* queue.store.list({ limit: 1 })), "s3cret")
        }))

      test("retries by the schedule, and is dead when the tries are used up", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const attempts: Array<unknown> = []
          const failing = single("failing", Schema.Null, Schema.Null, (_, { meta }) =>
            Effect.suspend(() => {
              attempts.push(meta["attempt"])
              return Effect.fail({ _tag: "Nope" as const })
            }))
          const id = yield* queue.enqueue(failing, null, { maxAttempts: 3 })
          const error = yield* Effect.provide(Effect.flip(queue.await(id)), work(failing))
          assert.deepStrictEqual(attempts, [1, 2, 3])
          assert.deepStrictEqual(["code" in error ? error.code : ""], ["NODE_FAILED"])
          assert.deepStrictEqual((yield* queue.get(id))?.failure?.code, "Nope")
        }))

      test("does not retry what says that it is of no use, nor what the predicate excludes", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const failing = single("failing", Schema.Unknown, Schema.Null, (error) => Effect.fail(error as { _tag: "X" }))
          const a = yield* queue.enqueue(failing, { _tag: "X", retryable: false }, { id: "a" })
          const b = yield* queue.enqueue(failing, { _tag: "Y" }, { id: "b" })
          yield* Effect.provide(
            Effect.zip(Effect.exit(queue.await(a)), Effect.exit(queue.await(b))),
            work(failing, {
              retryWhile: (error) => Predicate.isTagged(error, "X") && !("retryable" in error)
            })
          )
          assert.deepStrictEqual((yield* queue.deadLetters()).map((job) => job.failures), [1, 1])
          const c = yield* queue.enqueue(failing, { _tag: "X", retryable: false }, { id: "c" })
          yield* Effect.provide(Effect.exit(queue.await(c)), work(failing))
          assert.strictEqual((yield* queue.get("c"))?.failures, 1)
        }))

      test("a job that takes too long is a timeout, its trace is cancelled, its finalizers run", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          let finalized = 0
          const slow = single(
            "slow",
            Schema.Null,
            Schema.Null,
            () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => finalized++))
          )
          const id = yield* queue.enqueue(slow, null, { maxAttempts: 2, timeout: "40 millis" })
          const error = yield* Effect.provide(Effect.flip(queue.await(id)), work(slow))
          assert.strictEqual(error._tag === "JobError" ? error.code : error._tag, "JOB_TIMEOUT")
          assert.strictEqual(finalized, 2)
          assert.strictEqual((yield* queue.get(id))?.failure?.code, "JOB_TIMEOUT")
        }))

      test("defects, hostile ones too, are recorded and harm no other job", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const hostile = single("hostile", Schema.String, Schema.String, (kind) => {
            if (kind === "throw") throw new Error("thrown")
            if (kind === "undefined") return Effect.die(undefined)
            if (kind === "getter") {
              return Effect.die({
                get message(): string {
                  throw new Error("no")
                }
              })
            }
            if (kind === "long") return Effect.die(new Error("x".repeat(10_000_000)))
            if (kind === "nul") return Effect.die(new Error("a\0b\ud800c"))
            return Effect.succeed(kind)
          })
          const kinds = ["throw", "undefined", "getter", "long", "nul"]
          for (const id of [...kinds, "fine"]) yield* queue.enqueue(hostile, id, { id, maxAttempts: 1 })
          const exits = yield* Effect.provide(
            Effect.forEach([...kinds, "fine"], (id) => Effect.exit(queue.await(hostile, id)), { concurrency: 9 }),
            work(hostile)
          )
          assert.deepStrictEqual(exits.map((exit) => exit._tag === "Success"), [
            false,
            false,
            false,
            false,
            false,
            true
          ])
          for (const job of yield* queue.deadLetters()) {
            assert.strictEqual(job.failure?.code, "NODE_EXCEPTION")
            assert.strictEqual(job.failure?.node, "only")
            assert.isAtMost(job.failure!.message.length, 8192)
          }
        }))

      test("a payload that can't be decoded is dead at once, without being repeated, and can be purged", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          yield* queue.store.enqueue([newJob("bad", { flow: "lengths", payload: "{\"s3cret\":1}" })], { maxLength: 9 })
          yield* queue.store.enqueue([newJob("worse", { flow: "lengths", payload: "no JSON" })], { maxLength: 9 })
          const id = yield* queue.enqueue(lengths, "after")
          yield* Effect.provide(
            Effect.all([
              queue.await(id),
              Effect.exit(queue.await(lengths, "bad")),
              Effect.exit(queue.await(lengths, "worse"))
            ]),
            work(lengths)
          )
          const dead = yield* queue.deadLetters()
          assert.deepStrictEqual(dead.map((job) => [job.id, job.failure?.code, job.failures]), [
            ["bad", "UNDECODABLE_PAYLOAD", 1],
            ["worse", "UNDECODABLE_PAYLOAD", 1]
          ])
          assert.notInclude(JSON.stringify(dead.map((job) => job.failure)), "s3cret")
          assert.strictEqual(yield* queue.purge({ state: "dead" }), 2)
        }))

      test("a result that can't be stored is said so, and not run for again", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const large = single("large", Schema.Number, Schema.String, (n) => Effect.succeed("x".repeat(n)))
          const id = yield* queue.enqueue(large, 2_000_000)
          yield* Effect.provide(Effect.exit(queue.await(id)), work(large))
          const job = yield* queue.get(id)
          assert.deepStrictEqual([job?.state, job?.failure?.code, job?.failures], ["dead", "UNSTORABLE_RESULT", 1])
        }))

      test("cancels a running job, whose finalizers have run when its end is recorded", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const log: Array<string> = []
          const endless = single("endless", Schema.Null, Schema.Null, () =>
            Effect.andThen(
              Effect.sync(() => log.push("started")),
              Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push("stopped")))
            ))
          const id = yield* queue.enqueue(endless, null)
          const error = yield* Effect.provide(
            Effect.gen(function*() {
              yield* eventually("started", Effect.sync(() => log.length > 0))
              assert.isTrue(yield* queue.cancel(id, "enough"))
              return yield* Effect.flip(queue.await(id))
            }),
            work(endless)
          )
          assert.deepStrictEqual([error.code, log.join()], ["JOB_CANCELLED", "started,stopped"])
          assert.deepStrictEqual((yield* queue.get(id))?.state, "cancelled")
        }))

      test("a shutdown returns what runs, without taking a try", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          let started = 0
          const endless = single("endless", Schema.Null, Schema.Null, () =>
            Effect.andThen(
              Effect.sync(() => started++),
              Effect.never
            ))
          const id = yield* queue.enqueue(endless, null)
          const drained = yield* Effect.provide(
            Effect.gen(function*() {
              const worker = yield* Worker.Worker
              yield* eventually("started", Effect.sync(() => started > 0))
              return yield* worker.shutdown({ grace: "50 millis" })
            }),
            work(endless)
          )
          assert.deepStrictEqual([drained.drained, [...drained.returned], [...drained.abandoned]], [0, [id], []])
          const job = yield* queue.get(id)
          assert.deepStrictEqual([job?.state, job?.attempts, job?.failures, job?.crashes], ["queued", 0, 0, 0])
        }))

      test("one tenant's many jobs do not keep another's single one waiting", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const order: Array<string> = []
          const note = single(
            "note",
            Schema.String,
            Schema.Null,
            (name) =>
              Effect.andThen(
                Effect.sleep(5),
                Effect.sync(() => {
                  order.push(name)
                  return null
                })
              )
          )
          yield* queue.enqueueMany(
            note,
            Array.from({ length: 300 }, () => ({ input: "big", headers: { tenant: "big" }, priority: 100 }))
          )
          yield* Effect.provide(
            Effect.gen(function*() {
              yield* eventually("busy", Effect.sync(() => order.length > 10))
              const at = order.length
              yield* queue.await(yield* queue.enqueue(note, "small", { headers: { tenant: "small" } }))
              assert.isBelow(order.indexOf("small") - at, 12)
            }),
            work(note, { concurrency: 2 })
          )
        }))

      test("more tenants than a claim looks at, each with some quick jobs, are all served", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const order: Array<number> = []
          const note = single("note", Schema.Number, Schema.Null, (tenant) =>
            Effect.sync(() => {
              order.push(tenant)
              return null
            }))
          const jobs = Array.from({ length: 720 }, (_, i) => ({
            input: Math.floor(i / 6),
            headers: { tenant: `t${Math.floor(i / 6)}` }
          }))
          const ids = yield* queue.enqueueMany(note, jobs)
          yield* Effect.provide(
            Effect.forEach(ids, (id) => queue.await(id), { concurrency: "unbounded" }),
            work(note)
          )
          assert.lengthOf(order, 720)
          assert.strictEqual(new Set(order).size, 120)
          for (const job of yield* queue.list({ limit: 1000 })) assert.strictEqual(job.attempts, 1)
        }))

      test("keeps to a tenant's concurrency and to a rate", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          let now = 0
          let most = 0
          const busy = single("busy", Schema.Null, Schema.Null, () =>
            Effect.gen(function*() {
              most = Math.max(most, ++now)
              yield* Effect.sleep(10)
              now--
              return null
            }))
          const ids = yield* queue.enqueueMany(busy, Array.from({ length: 12 }, () => ({ input: null })))
          yield* Effect.provide(
            Effect.forEach(ids, (id) => queue.await(id), { concurrency: "unbounded" }),
            work(busy, { tenantConcurrency: 2, pollInterval: "10 millis" })
          )
          assert.strictEqual(most, 2)
          const more = yield* queue.enqueueMany(busy, Array.from({ length: 5 }, () => ({ input: null })))
          const from = Date.now()
          yield* Effect.provide(
            Effect.forEach(more, (id) => queue.await(id), { concurrency: "unbounded" }),
            work(busy, { rateLimit: { limit: 2, window: "150 millis" }, pollInterval: "10 millis" })
          )
          assert.isAbove(Date.now() - from, 250)
          for (const id of more) assert.strictEqual((yield* queue.get(id))?.attempts, 1)
        }))

      test("tells what it does", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const tags: Array<string> = []
          yield* Effect.provide(
            Effect.gen(function*() {
              const worker = yield* Worker.Worker
              const reader = yield* Effect.forkChild(
                Stream.runForEach(worker.events, (event) => Effect.sync(() => tags.push(event._tag))),
                { startImmediately: true }
              )
              yield* queue.await(yield* queue.enqueue(lengths, "x"))
              yield* eventually("events", Effect.sync(() => tags.includes("JobSucceeded")))
              assert.deepStrictEqual(yield* worker.status, { phase: "Running", running: 0, ready: true })
              yield* Fiber.interrupt(reader)
            }),
            work(lengths)
          )
          assert.deepStrictEqual(tags.filter((tag) => tag.startsWith("Job")), ["JobStarted", "JobSucceeded"])
        }))

      test("a flow with no result or several is done, and says so to who awaits one", () =>
        Effect.gen(function*() {
          const queue = yield* JobQueue.JobQueue
          const start = Node.make("start", { input: Schema.Number, output: Schema.Number, run: Effect.succeed })
          const a = Node.make("a", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n + 1) })
          const b = Node.make("b", { input: Schema.Number, output: Schema.String, run: (n) => Effect.succeed(`${n}`) })
          const both = Flow.make("both", [start.to(a, b)])
          const id = yield* queue.enqueue(both, 1)
          const exit = yield* Effect.provide(Effect.exit(queue.await(id)), work(both))
          assert.isTrue(Exit.isFailure(exit))
          const job = yield* queue.get(id)
          assert.deepStrictEqual([job?.state, job?.results], ["done", [2, "1"]])
          const error = yield* Effect.flip(queue.await(id))
          assert.strictEqual(error.code, "MANY_RESULTS")
        }))
    })
  })
