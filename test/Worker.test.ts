/** What a worker does when its queue fails, its leases end, or it is shut down: under a test's clock, on a store that obeys. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Logger, Schedule, Schema, type Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Flow, Node } from "penguiflow"
import { type JobError, unavailable } from "penguiflow/JobError"
import * as JobQueue from "penguiflow/JobQueue"
import type * as JobStore from "penguiflow/JobStore"
import { makeStore } from "penguiflow/layers/JobQueueMemory"
import * as Worker from "penguiflow/Worker"
import { ask, newJob } from "./utils/jobs.ts"

/** A store that does as the memory's does, until it is told otherwise. */
const obedient = () => {
  const store = makeStore()
  const state = {
    fail: new Set<string>(),
    hang: new Set<string>(),
    slow: new Map<string, number>(),
    lost: new Set<string>(),
    calls: new Map<string, number>()
  }
  /** What becomes of results, where it is not what becomes of all outcomes. */
  const fate: { results: "no room" | "refused" | undefined; mute: boolean } = { results: undefined, mute: false }
  const wrap = <A>(name: string, effect: Effect.Effect<A, JobError>): Effect.Effect<A, JobError> =>
    Effect.suspend(() => {
      state.calls.set(name, (state.calls.get(name) ?? 0) + 1)
      if (state.hang.has(name) || state.hang.has("all")) return Effect.uninterruptible(Effect.never)
      if (state.fail.has(name) || state.fail.has("all")) return Effect.fail(unavailable(name, "gone", "no", "gone"))
      if (state.lost.has(name)) return Effect.andThen(effect, Effect.fail(unavailable(name, "lost", "unknown", "lost")))
      // It takes effect at once, and the answer comes late.
      const late = state.slow.get(name)
      return late === undefined ? effect : Effect.tap(effect, () => Effect.uninterruptible(Effect.sleep(late)))
    })
  const wrapped: JobStore.JobStore = {
    ...store,
    claim: (request) => wrap("claim", store.claim(request)),
    start: (lease) => wrap("start", store.start(lease)),
    renew: (leases, options) => wrap("renew", store.renew(leases, options)),
    settle: (settlements) =>
      wrap(
        "settle",
        settlements.some((it) => it._tag === "Done") && fate.results !== undefined
          ? Effect.fail(unavailable("settle", "no", "no", "no", fate.results === "refused"))
          : store.settle(settlements)
      ),
    enqueue: (jobs, options) => wrap("enqueue", store.enqueue(jobs, options)),
    sweep: (flows) => wrap("sweep", store.sweep(flows)),
    disown: (workerId, known) => wrap("disown", store.disown(workerId, known)),
    watch: (changes, listener) => store.watch(changes, (change) => fate.mute || listener(change))
  }
  return { ...state, fate, store, wrapped, layer: Layer.effect(JobQueue.JobQueue, JobQueue.make(wrapped)) }
}

const flowOf = <E extends { readonly _tag: string } = never>(
  run: (input: string, context: Node.NodeContext) => Effect.Effect<string, E>
) =>
  Flow.make("flow", [
    Node.make<"only", string, string, E>("only", { input: Schema.String, output: Schema.String, run }).to()
  ])

const settle = Effect.repeat(Effect.yieldNow, Schedule.recurs(50))

/** Time passes step by step: what wakes at an instant runs before the next. */
const pass = (ms: number, step = 10) =>
  Effect.repeat(Effect.andThen(TestClock.adjust(step), settle), Schedule.recurs(Math.ceil(ms / step) - 1))

const stateOf = (id: string) =>
  Effect.flatMap(JobQueue.JobQueue, (queue) => Effect.map(queue.store.list({ ids: [id], limit: 1 }), (rows) => rows[0]))

/** As another process enqueues: no worker of this one gets it with the write. */
const elsewhere = (store: JobStore.JobStore, id: string) =>
  store.enqueue([newJob(id, { flow: "flow", payload: "\"x\"" })], { maxLength: 1000 })

const worker = <F extends Flow.Any>(flow: F, options: Worker.Options<unknown> = {}) =>
  Worker.layer(flow, { lease: "3 seconds", grace: 0, ...options }) as Layer.Layer<
    Worker.Worker,
    never,
    JobQueue.JobQueue
  >

const eventsOf = Effect.gen(function*() {
  const events: Array<Worker.WorkerEvent> = []
  const service = yield* Worker.Worker
  yield* Effect.forkScoped(
    Stream.runForEach(service.events, (event) => Effect.sync(() => events.push(event))),
    { startImmediately: true }
  )
  return events
})
const tagsOf = (events: ReadonlyArray<Worker.WorkerEvent>) => events.map((event) => event._tag)

describe("Worker", () => {
  it.effect("takes the jobs of the queue that it is given, and needs none in its context", () =>
    Effect.gen(function*() {
      const flow = flowOf(Effect.succeed)
      const here = yield* JobQueue.make(makeStore())
      const elsewhere = yield* JobQueue.make(makeStore())
      yield* elsewhere.enqueue(flow, "x", { id: "a" })
      yield* here.enqueue(flow, "x", { id: "a" })
      // Both have no requirements left: what is given to a worker is not asked for again.
      const alone: Layer.Layer<Worker.Worker> = Worker.layer(flow, { queue: here, grace: 0 })
      yield* Layer.build(alone)
      yield* pass(100)
      assert.strictEqual((yield* here.get("a"))?.state, "done")
      assert.strictEqual((yield* elsewhere.get("a"))?.state, "queued")
      const made: Effect.Effect<Worker.Service, never, Scope.Scope> = Worker.make(flow, { queue: elsewhere, grace: 0 })
      yield* Effect.provideService(made, JobQueue.JobQueue, here)
      yield* pass(100)
      assert.strictEqual((yield* elsewhere.get("a"))?.state, "done")
    }))

  it.effect("its events end when it has shut down: after the last job's, and at once for whoever comes later", () =>
    Effect.gen(function*() {
      const { layer } = obedient()
      const flow = flowOf(() => Effect.never)
      yield* Effect.scoped(Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const service = Context.get(yield* Layer.build(worker(flow)), Worker.Worker)
        const reading = yield* Effect.forkScoped(Stream.runCollect(service.events), { startImmediately: true })
        yield* queue.enqueue(flow, "x", { id: "a" })
        yield* pass(50)
        yield* Effect.forkScoped(service.shutdown({ grace: 0 }))
        yield* pass(100)
        assert.deepStrictEqual(tagsOf(yield* Fiber.join(reading)), ["JobStarted", "JobReturned"])
        assert.deepStrictEqual(yield* Stream.runCollect(service.events), [])
      })).pipe(Effect.provide(layer))
    }))

  it.effect("renews while a job runs, for as long as it runs", () =>
    Effect.gen(function*() {
      const { calls, layer, store } = obedient()
      const flow = flowOf((input) => Effect.as(Effect.sleep("1 minute"), input))
      yield* Effect.scoped(Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        yield* Layer.build(worker(flow))
        yield* queue.enqueue(flow, "x", { id: "a" })
        yield* pass(59_000, 100)
        assert.strictEqual((yield* stateOf("a"))?.state, "running")
        assert.lengthOf((yield* store.sweep(["flow"])).recovered, 0)
        yield* pass(2000, 100)
        const job = yield* queue.get("a")
        assert.deepStrictEqual([job?.state, job?.attempts], ["done", 1])
        assert.isBelow(calls.get("renew")!, 90)
      })).pipe(Effect.provide(layer))
    }))

  it.effect("an idle worker asks at most twice a second", () =>
    Effect.gen(function*() {
      const { calls, layer } = obedient()
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Layer.build(worker(flowOf(Effect.succeed)))
        yield* pass(60_000, 100)
        const all = [...calls.values()].reduce((sum, n) => sum + n, 0)
        assert.isAtMost(all, 120)
        assert.isAtLeast(all, 40)
      })).pipe(Effect.provide(layer))
    }))

  it.effect("a failing queue is survived, told and logged, at most twice a second, and left in peace", () =>
    Effect.gen(function*() {
      const { calls, fail, layer, store } = obedient()
      const lines: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => {
        lines.push(String(message))
      })])
      const flow = flowOf(Effect.succeed)
      yield* Effect.scoped(Effect.gen(function*() {
        const context = yield* Layer.build(worker(flow))
        const service = Context.get(context, Worker.Worker)
        const events = yield* Effect.provide(eventsOf, context)
        yield* pass(100)
        fail.add("all")
        yield* elsewhere(store, "a")
        calls.clear()
        yield* pass(60_000, 100)
        assert.isFalse((yield* service.status).ready)
        assert.isAtMost(lines.length, 20)
        assert.isAtLeast(lines.length, 2)
        assert.isAtMost([...calls.values()].reduce((sum, n) => sum + n, 0), 60)
        fail.clear()
        yield* pass(8000, 100)
        assert.strictEqual((yield* stateOf("a"))?.state, "done")
        assert.isTrue((yield* service.status).ready)
        const tags = tagsOf(events)
        assert.include(tags, "QueueFailed")
        assert.strictEqual(tags.filter((tag) => tag === "QueueRecovered").length, 1)
        assert.include(lines.at(-1), "answers again")
      })).pipe(Effect.provide([layer, logger]))
    }))

  it.effect("an outcome that can't be recorded is kept, and recorded when the queue answers again", () =>
    Effect.gen(function*() {
      const { fail, layer } = obedient()
      let runs = 0
      const flow = flowOf((input) => Effect.sync(() => (runs++, input)))
      yield* Effect.scoped(Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        yield* Layer.build(worker(flow))
        fail.add("settle")
        yield* queue.enqueue(flow, "x", { id: "a" })
        // Longer than any result is waited for that the store refuses for what is in it.
        yield* pass(40_000, 100)
        assert.strictEqual((yield* stateOf("a"))?.state, "running")
        fail.clear()
        yield* pass(6000, 100)
        assert.strictEqual((yield* stateOf("a"))?.state, "done")
        assert.strictEqual(runs, 1)
      })).pipe(Effect.provide(layer))
    }))

  it.effect("a result waits for as long as the store has no room for it; one that it never takes is said so", () =>
    Effect.gen(function*() {
      const { fate, layer } = obedient()
      const flow = flowOf(Effect.succeed)
      yield* Effect.scoped(Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        yield* Layer.build(worker(flow))
        fate.results = "no room"
        yield* queue.enqueue(flow, "x", { id: "a" })
        yield* pass(60_000, 100)
        assert.strictEqual((yield* stateOf("a"))?.state, "running")
        fate.results = undefined
        yield* pass(7000, 100)
        assert.strictEqual((yield* stateOf("a"))?.state, "done")
        fate.results = "refused"
        yield* queue.enqueue(flow, "x", { id: "b" })
        yield* pass(20_000, 100)
        const job = yield* stateOf("b")
        assert.deepStrictEqual([job?.state, job?.failure?.code], ["dead", "UNSTORABLE_RESULT"])
      })).pipe(Effect.provide(layer))
    }))

  it.effect("a job whose lease can't be renewed in time is interrupted, and told as lost", () =>
    Effect.gen(function*() {
      const { hang, layer } = obedient()
      const log: Array<string> = []
      const flow = flowOf(() => Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push("interrupted"))))
      yield* Effect.scoped(Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const context = yield* Layer.build(worker(flow))
        const events = yield* Effect.provide(eventsOf, context)
        yield* queue.enqueue(flow, "x", { id: "a" })
        yield* pass(500)
        hang.add("all")
        yield* pass(2000, 50)
        assert.deepStrictEqual(log, [])
        yield* pass(2500, 50)
        assert.deepStrictEqual(log, ["interrupted"])
        assert.include(tagsOf(events), "LeaseLost")
        hang.clear()
        yield* pass(20_000, 50)
        // Taken again, by the same worker: nobody else was there.
        assert.strictEqual((yield* stateOf("a"))?.state, "running")
        assert.strictEqual((yield* stateOf("a"))?.crashes, 1)
      })).pipe(Effect.provide(layer))
    }))

  it.effect("a worker that comes back late learns that it lost, and its outcome is refused", () =>
    Effect.gen(function*() {
      const { fail, layer, store } = obedient()
      const gate = yield* Deferred.make<string>()
      const flow = flowOf(() => Effect.uninterruptible(Deferred.await(gate)))
      yield* Effect.scoped(Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const context = yield* Layer.build(worker(flow, { lease: "3 seconds" }))
        const events = yield* Effect.provide(eventsOf, context)
        yield* queue.enqueue(flow, "x", { id: "a" })
        yield* pass(100)
        // As if its time had been over while its process stood still.
        fail.add("claim")
        const service = Context.get(context, Worker.Worker)
        assert.strictEqual(yield* store.disown(service.id, []), 1)
        const [claim] = yield* store.claim(ask({ workerId: "other", flows: ["flow"], limit: 1 }))
        yield* Deferred.succeed(gate, "zombie")
        yield* pass(5000, 50)
        assert.isTrue(tagsOf(events).includes("LeaseLost"))
        assert.isFalse(tagsOf(events).includes("JobSucceeded"))
        const row = yield* stateOf("a")
        assert.deepStrictEqual([row?.state, row?.workerId, row?.results], ["running", "other", undefined])
        yield* store.settle([{ ...claim!, _tag: "Done", results: "[\"owner\"]" }])
        assert.strictEqual(yield* queue.await(flow, "a"), "owner")
      })).pipe(Effect.provide(layer))
    }))

  it.effect("a suspect runs with nobody beside it", () =>
    Effect.gen(function*() {
      const { layer, store } = obedient()
      let now = 0
      let beside = 0
      const flow = flowOf((input) =>
        Effect.gen(function*() {
          now++
          if (input === "suspect") beside = Math.max(beside, now)
          yield* Effect.sleep("300 millis")
          if (input === "suspect") beside = Math.max(beside, now)
          now--
          return input
        })
      )
      yield* Effect.scoped(Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        yield* queue.enqueue(flow, "suspect", { id: "suspect" })
        for (let i = 0; i < 2; i++) {
          yield* store.claim(ask({ workerId: "dies", flows: ["flow"], limit: 1, leaseMs: 10 }))
          yield* TestClock.adjust(100)
          yield* store.sweep(["flow"])
        }
        for (let i = 0; i < 20; i++) yield* queue.enqueue(flow, `${i}`, { id: `n${i}` })
        yield* Layer.build(worker(flow, { concurrency: 4 }))
        yield* pass(6000, 20)
        assert.deepStrictEqual(yield* queue.counts, { queued: 0, running: 0, done: 21, dead: 0, cancelled: 0 })
        assert.strictEqual(beside, 1)
      })).pipe(Effect.provide(layer))
    }))

  it.effect("a shutdown lets jobs end for its grace, and takes no more", () =>
    Effect.gen(function*() {
      const { layer } = obedient()
      const flow = flowOf((input) => Effect.as(Effect.sleep(Number(input)), input))
      yield* Effect.scoped(Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const context = yield* Layer.build(worker(flow, { concurrency: 2, interruptGrace: "500 millis" }))
        const service = Context.get(context, Worker.Worker)
        yield* queue.enqueue(flow, "1000", { id: "short" })
        yield* queue.enqueue(flow, "60000", { id: "long" })
        yield* queue.enqueue(flow, "1", { id: "waits" })
        yield* pass(100)
        const down = yield* Effect.forkChild(service.shutdown({ grace: "2 seconds" }), { startImmediately: true })
        yield* pass(2100)
        const drained = yield* Fiber.join(down)
        assert.deepStrictEqual([drained.drained, [...drained.returned]], [1, ["long"]])
        const states = yield* Effect.forEach(["short", "long", "waits"], stateOf)
        assert.deepStrictEqual(
          states.map((row) => [row?.state, row?.failures, row?.crashes]),
          [["done", 0, 0], ["queued", 0, 0], ["queued", 0, 0]]
        )
        assert.deepStrictEqual(yield* service.shutdown(), drained)
        assert.strictEqual((yield* service.status).phase, "Stopped")
      })).pipe(Effect.provide(layer))
    }))

  it.effect("jobs that were claimed ahead are cancelled and returned as such that have not begun", () =>
    Effect.gen(function*() {
      const { layer } = obedient()
      let began = 0
      const flow = flowOf((input) =>
        input === "quick"
          ? Effect.succeed(input)
          : Effect.andThen(Effect.sync(() => began++), Effect.never)
      )
      yield* Effect.scoped(Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const service = Context.get(yield* Layer.build(worker(flow, { concurrency: 2 })), Worker.Worker)
        for (let i = 0; i < 20; i++) yield* queue.enqueue(flow, "quick", { id: `q${i}` })
        yield* pass(100)
        yield* queue.enqueueMany(flow, Array.from({ length: 20 }, (_, i) => ({ input: "long", id: `l${i}` })))
        yield* pass(100)
        assert.deepStrictEqual([(yield* queue.counts).running, began], [20, 2])
        assert.isTrue(yield* queue.cancel("l19"))
        yield* pass(1000)
        assert.strictEqual((yield* stateOf("l19"))?.state, "cancelled")
        const down = yield* Effect.forkChild(service.shutdown({ grace: 0 }), { startImmediately: true })
        yield* pass(1500)
        const { abandoned } = yield* Fiber.join(down)
        assert.deepStrictEqual([[...abandoned], began], [[], 2])
        const counts = yield* queue.counts
        assert.deepStrictEqual([counts.queued, counts.running, counts.done], [19, 0, 20])
        for (const job of yield* queue.list({ state: "queued" })) assert.strictEqual(job.attempts, 0)
      })).pipe(Effect.provide(layer))
    }))

  it.effect("jobs that were claimed ahead of long ones go back, once each, and another worker does them", () =>
    Effect.gen(function*() {
      const { layer } = obedient()
      const flow = flowOf((input) => input === "long" ? Effect.never : Effect.succeed(input))
      yield* Effect.scoped(Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const service = Context.get(yield* Layer.build(worker(flow, { concurrency: 2 })), Worker.Worker)
        const returned: Array<string> = []
        yield* Effect.forkScoped(Stream.runForEach(service.events, (event) =>
          Effect.sync(() => {
            if (event._tag === "JobReturned") returned.push(event.jobId)
          })))
        for (let i = 0; i < 20; i++) yield* queue.enqueue(flow, "quick", { id: `before${i}` })
        yield* pass(100)
        const behind = Array.from({ length: 10 }, (_, i) => `behind${i}`)
        yield* queue.enqueueMany(flow, [
          ...["a", "b"].map((id) => ({ input: "long", id })),
          ...behind.map((id) => ({ input: "quick", id }))
        ])
        yield* pass(50)
        assert.strictEqual((yield* queue.counts).running, 12)
        yield* pass(5000)
        assert.sameMembers(returned, behind)
        yield* queue.enqueue(flow, "quick", { id: "late" })
        yield* pass(2000)
        assert.deepInclude(yield* queue.counts, { queued: 11, running: 2 })
        yield* Layer.build(Layer.fresh(worker(flow, { concurrency: 2 })))
        yield* pass(100)
        assert.deepInclude(yield* queue.counts, { queued: 0, running: 2, done: 31 })
        for (const job of yield* queue.list({ state: "done" })) assert.strictEqual(job.attempts, 1)
      })).pipe(Effect.provide(layer))
    }))

  it.effect("jobs that come of a claim while the worker shuts down go back at once, and have not begun", () =>
    Effect.gen(function*() {
      const { layer, slow, store } = obedient()
      let began = 0
      const flow = flowOf((input) => Effect.sync(() => (began++, input)))
      yield* Effect.scoped(Effect.gen(function*() {
        const service = Context.get(yield* Layer.build(worker(flow)), Worker.Worker)
        yield* pass(100)
        slow.set("claim", 300)
        yield* elsewhere(store, "a")
        yield* pass(100)
        const down = yield* Effect.forkChild(service.shutdown({ grace: 0 }), { startImmediately: true })
        yield* pass(50)
        assert.strictEqual((yield* stateOf("a"))?.state, "running")
        yield* pass(300)
        assert.deepStrictEqual(yield* Fiber.join(down), { drained: 0, returned: [], abandoned: [] })
        const job = yield* stateOf("a")
        assert.deepStrictEqual([job?.state, job?.crashes, job?.failures, began], ["queued", 0, 0, 0])
      })).pipe(Effect.provide(layer))
    }))

  it.effect("a shutdown ends within its grace and two seconds while nothing answers, stuck jobs included", () =>
    Effect.gen(function*() {
      const { hang, layer } = obedient()
      const flow = flowOf((input) =>
        input === "stuck" ? Effect.uninterruptible(Effect.never) : Effect.as(Effect.sleep("500 millis"), input)
      )
      yield* Effect.scoped(Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const context = yield* Layer.build(worker(flow, { lease: "30 seconds" }))
        const service = Context.get(context, Worker.Worker)
        yield* queue.enqueue(flow, "stuck", { id: "stuck" })
        yield* queue.enqueue(flow, "fine", { id: "fine" })
        yield* pass(100)
        hang.add("all")
        const down = yield* Effect.forkChild(service.shutdown({ grace: "3 seconds" }), { startImmediately: true })
        yield* pass(4950)
        const drained = yield* Fiber.join(down).pipe(Effect.timeoutOption(0))
        assert.strictEqual(drained._tag, "Some")
        assert.sameMembers(drained._tag === "Some" ? [...drained.value.abandoned] : [], ["fine", "stuck"])
      })).pipe(Effect.provide(layer))
    }))

  it.effect("delays between tries follow the schedule, asked anew from the number of failures", () =>
    Effect.gen(function*() {
      const { layer } = obedient()
      const flow = flowOf(() => Effect.fail({ _tag: "No" as const }))
      yield* Effect.scoped(Effect.gen(function*() {
        const queue = yield* JobQueue.JobQueue
        const context = yield* Layer.build(
          worker(flow, { retry: Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 3 })) })
        )
        const events = yield* Effect.provide(eventsOf, context)
        yield* queue.enqueue(flow, "x", { id: "a", maxAttempts: 100 })
        yield* pass(12_000, 50)
        assert.deepStrictEqual(
          events.flatMap((event) => event._tag === "JobRetried" ? [event.delayMs] : []),
          [1000, 2000, 4000]
        )
        const job = yield* queue.get("a")
        assert.deepStrictEqual([job?.state, job?.failures], ["dead", 4])
      })).pipe(Effect.provide(layer))
    }))
})

describe("a job that is enqueued beside an idle worker", () => {
  const started = (
    options: Worker.Options<unknown> = {},
    prepare: (store: JobStore.JobStore) => Effect.Effect<unknown, JobError> = () => Effect.void
  ) =>
    Effect.gen(function*() {
      const it = obedient()
      yield* prepare(it.store)
      const runs: Array<string> = []
      const flow = flowOf((input) =>
        Effect.andThen(
          Effect.sync(() => {
            runs.push(input)
          }),
          Effect.as(Effect.sleep(input === "long" ? 60_000 : 1), input)
        )
      )
      const context = yield* Layer.build(
        worker(flow, { concurrency: 2, ...options }).pipe(Layer.provideMerge(it.layer))
      )
      yield* pass(100)
      const claims = () => it.calls.get("claim") ?? 0
      const before = claims()
      const queue = Context.get(context, JobQueue.JobQueue)
      const service = Context.get(context, Worker.Worker)
      const state = (id: string) => Effect.provide(stateOf(id), context)
      const tries = (id: string) => Effect.map(state(id), (job) => [job?.state, job?.failures, job?.crashes])
      return { ...it, flow, runs, queue, service, state, tries, claimed: () => claims() - before }
    })

  it.effect("goes to it with the write that stores it, and whoever enqueued goes on first", () =>
    Effect.scoped(Effect.gen(function*() {
      const { claimed, flow, queue, runs, state, tries } = yield* started()
      yield* queue.enqueue(flow, "x", { id: "a", headers: { tenant: "acme", priority: 2 } })
      assert.deepStrictEqual([(yield* state("a"))?.state, runs.length], ["running", 0])
      yield* pass(50)
      assert.deepStrictEqual([yield* tries("a"), runs, claimed()], [["done", 0, 0], ["x"], 0])
      assert.deepStrictEqual(yield* queue.await(flow, "a"), "x")
      yield* queue.enqueue(flow, "x", { id: "a", headers: { tenant: "acme", priority: 2 } })
      assert.strictEqual((yield* Effect.flip(queue.enqueue(flow, "y", { id: "a" }))).code, "ID_CONFLICT")
      yield* pass(50)
      assert.deepStrictEqual(runs, ["x"])
    })))

  it.effect("waits like any other where all places are taken, or jobs may wait already", () =>
    Effect.scoped(Effect.gen(function*() {
      const { flow, queue, slow, state, store } = yield* started()
      for (const id of ["a", "b", "c"]) yield* queue.enqueue(flow, "long", { id })
      const states = yield* Effect.forEach(["a", "b", "c"], state)
      assert.deepStrictEqual(states.map((job) => job?.state), ["running", "running", "queued"])
      assert.isTrue(yield* queue.cancel("a"))
      yield* pass(3000, 100)
      assert.deepStrictEqual((yield* state("c"))?.state, "running")
      assert.isTrue(yield* queue.cancel("b"))
      slow.set("claim", 500)
      yield* elsewhere(store, "d")
      yield* pass(3000, 100)
      yield* elsewhere(store, "e")
      yield* queue.enqueue(flow, "x", { id: "f" })
      assert.strictEqual((yield* state("f"))?.state, "queued")
      yield* pass(3000, 100)
      assert.strictEqual((yield* state("f"))?.state, "done")
    })))

  it.effect("is claimed where a tenant has a limit on all workers, or its time has not come", () =>
    Effect.scoped(Effect.gen(function*() {
      const { claimed, flow, queue, runs } = yield* started({ tenantConcurrency: 1 })
      yield* queue.enqueue(flow, "x")
      yield* pass(50)
      assert.deepStrictEqual([runs.length, claimed() > 0], [1, true])
      const other = yield* started()
      yield* other.queue.enqueue(other.flow, "x", { delay: "1 second" })
      yield* pass(900)
      assert.deepStrictEqual(other.runs, [])
      yield* pass(1200)
      assert.deepStrictEqual([other.runs.length, other.claimed() > 0], [1, true])
    })))

  it.effect("runs though whoever enqueued it is interrupted meanwhile", () =>
    Effect.scoped(Effect.gen(function*() {
      const { claimed, flow, queue, runs, slow, tries } = yield* started()
      slow.set("enqueue", 300)
      const fiber = yield* Effect.forkChild(queue.enqueue(flow, "x", { id: "a" }), { startImmediately: true })
      yield* pass(100)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual([yield* tries("a"), runs], [["running", 0, 0], []])
      yield* pass(300)
      assert.deepStrictEqual([yield* tries("a"), runs, claimed()], [["done", 0, 0], ["x"], 0])
    })))

  it.effect("is given back where the answer got lost or came too late, and runs once", () =>
    Effect.scoped(Effect.gen(function*() {
      const { flow, lost, queue, runs, slow, tries } = yield* started()
      lost.add("enqueue")
      const error = yield* Effect.flip(queue.enqueue(flow, "x", { id: "a" }))
      lost.clear()
      assert.strictEqual(error.code, "QUEUE_UNAVAILABLE")
      yield* pass(2000, 100)
      assert.deepStrictEqual([yield* tries("a"), runs], [["done", 0, 0], ["x"]])
      slow.set("enqueue", 4000)
      const late = yield* Effect.forkChild(queue.enqueue(flow, "y", { id: "b" }), { startImmediately: true })
      yield* pass(6000, 100)
      yield* Fiber.join(late)
      const [state, failures] = yield* tries("b")
      assert.deepStrictEqual([state, failures, runs], ["done", 0, ["x", "y"]])
    })))

  it.effect("goes back, untried, where the worker shuts down or is gone before it is stored", () =>
    Effect.gen(function*() {
      for (const [slowly, then] of [[300, "queued"], [2500, "running"]] as const) {
        yield* Effect.scoped(Effect.gen(function*() {
          const { flow, queue, runs, service, slow, tries } = yield* started()
          slow.set("enqueue", slowly)
          const storing = yield* Effect.forkChild(queue.enqueue(flow, "x", { id: "a" }), { startImmediately: true })
          yield* pass(100)
          const shutdown = Effect.flatMap(
            service.shutdown(),
            (drained) => Effect.map(tries("a"), ([state]) => [drained, state])
          )
          const down = yield* Effect.forkChild(shutdown, { startImmediately: true })
          yield* pass(2000, 100)
          assert.deepStrictEqual(yield* Fiber.join(down), [{ drained: 0, returned: [], abandoned: [] }, then])
          yield* pass(600, 100)
          yield* Fiber.join(storing)
          assert.deepStrictEqual([yield* tries("a"), runs], [["queued", 0, 0], []])
        }))
      }
    }))

  it.effect("one after the other, all of them go to it", () =>
    Effect.scoped(Effect.gen(function*() {
      const { claimed, flow, queue, runs } = yield* started({ concurrency: 10 })
      for (let i = 0; i < 40; i++) {
        yield* queue.enqueue(flow, "x")
        yield* pass(10)
      }
      yield* queue.enqueue(flow, "x")
      yield* queue.enqueue(flow, "x")
      yield* pass(10)
      assert.deepStrictEqual([runs.length, claimed()], [42, 0])
    })))

  it.effect("a suspect waits for what is being stored, and has nobody beside it", () =>
    Effect.scoped(Effect.gen(function*() {
      const suspect = newJob("suspect", { flow: "flow", payload: "\"x\"", maxAttempts: 2 })
      const { flow, queue, runs, slow, state } = yield* started({}, (store) =>
        Effect.andThen(
          store.enqueue([suspect], { maxLength: 1 }),
          store.claim(ask({ workerId: "gone", flows: ["flow"], leaseMs: 1500 }))
        ))
      slow.set("enqueue", 3000)
      const storing = yield* Effect.forkChild(queue.enqueue(flow, "long", { id: "long" }), { startImmediately: true })
      yield* pass(2900, 100)
      assert.deepStrictEqual([(yield* state("suspect"))?.state, runs], ["running", []])
      yield* pass(500, 100)
      yield* Fiber.join(storing)
      assert.deepStrictEqual(runs, ["long"])
      assert.isTrue(yield* queue.cancel("long"))
      yield* pass(3000, 100)
      assert.deepStrictEqual(runs, ["long", "x"])
    })))

  it.effect("one that was given back comes before those that are enqueued after it", () =>
    Effect.scoped(Effect.gen(function*() {
      const { fate, flow, lost, queue, runs } = yield* started({ pollInterval: "1 minute" })
      fate.mute = true
      lost.add("enqueue")
      yield* Effect.flip(queue.enqueue(flow, "first"))
      lost.clear()
      for (let i = 0; i < 3; i++) {
        yield* pass(50)
        yield* queue.enqueue(flow, "later")
      }
      yield* pass(100)
      assert.deepStrictEqual(runs, ["first", "later", "later", "later"])
    })))

  it.effect("one whose write was sent twice by a store that tries again is not left with nobody", () =>
    Effect.scoped(Effect.gen(function*() {
      const { wrapped } = obedient()
      const twice: JobStore.JobStore = {
        ...wrapped,
        enqueue: (jobs, options) => Effect.andThen(wrapped.enqueue(jobs, options), wrapped.enqueue(jobs, options))
      }
      const flow = flowOf(Effect.succeed)
      const context = yield* Layer.build(
        worker(flow).pipe(Layer.provideMerge(Layer.effect(JobQueue.JobQueue, JobQueue.make(twice))))
      )
      yield* pass(100)
      const queue = Context.get(context, JobQueue.JobQueue)
      yield* queue.enqueue(flow, "x", { id: "a", maxAttempts: 1 })
      yield* pass(100)
      const job = yield* queue.get("a")
      assert.deepStrictEqual([job?.state, job?.crashes], ["done", 0])
    })))

  it.effect("that is cancelled before the worker hears of it ends as soon as it does", () =>
    Effect.scoped(Effect.gen(function*() {
      const { flow, queue, slow, tries } = yield* started()
      slow.set("enqueue", 300)
      const storing = yield* Effect.forkChild(queue.enqueue(flow, "long", { id: "a" }), { startImmediately: true })
      yield* pass(100)
      assert.isTrue(yield* queue.cancel("a"))
      yield* pass(300)
      yield* Fiber.join(storing)
      yield* pass(100)
      assert.deepStrictEqual(yield* tries("a"), ["cancelled", 0, 0])
    })))
})
