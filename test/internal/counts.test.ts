/**
 * How many fibers a message costs: exact numbers, so that a change that costs every message one more is seen in review
 * and not in production.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric, Schedule, Schema } from "effect"
import { Flow, FlowRuntime, Join, Node, type Policy } from "penguiflow"

type Run = (n: number) => Effect.Effect<number>

const kinds: Record<string, Run> = {
  atOnce: (n) => Effect.succeed(n + 1),
  sync: (n) => Effect.sync(() => n + 1),
  generator: Effect.fnUntraced(function*(n: number) {
    const more = yield* Effect.sync(() => n)
    return more + 1
  }),
  async: (n) => Effect.as(Effect.yieldNow, n + 1)
}

const node = (name: string, run: Run, policy?: Policy.Policy) =>
  Node.make(name, { input: Schema.Number, output: Schema.Number, policy, run })

const chain = (run: Run, length: number, policy?: Policy.Policy) => {
  const nodes = Array.from({ length }, (_, at) => node(`node ${at}` as string, run, policy))
  const [first] = nodes
  return Flow.make("chain", length === 1 ? [first!.to()] : nodes.slice(1).map((next, at) => nodes[at]!.to(next)))
}

const fanOut = (run: Run) => {
  const split = node("split", kinds["atOnce"]!)
  const branches = Array.from({ length: 8 }, (_, at) => node(`branch ${at}` as string, run))
  const gather = Join.collect("gather", { item: Schema.Number, count: 8 })
  return Flow.make("fan-out", [split.to(...branches), ...branches.map((branch) => branch.to(gather)), gather.to()])
}

/** Fibers that each of a few messages starts, one after another; all the same, and none is left. */
const fibersPerMessage = Effect.fnUntraced(function*(flow: Flow.Flow<string, number, unknown>) {
  let started = 0
  let ended = 0
  const counting: Metric.FiberRuntimeMetricsService = {
    recordFiberStart: () => void started++,
    recordFiberEnd: () => void ended++
  }
  return yield* Effect.gen(function*() {
    const runtime = yield* FlowRuntime.make(flow)
    const counts: Array<number> = []
    // The first sleep of all makes the test clock start a fiber of its own.
    yield* runtime.run(0)
    for (let message = 0; message < 5; message++) {
      const before = { started, ended }
      yield* runtime.run(message)
      assert.strictEqual(ended - before.ended, started - before.started, "a message's fibers end with it")
      counts.push(started - before.started)
    }
    assert.deepStrictEqual(new Set(counts).size, 1, `messages cost the same: ${counts.join(", ")}`)
    return counts[0]!
  }).pipe(Effect.scoped, Effect.provideService(Metric.FiberRuntimeMetrics, counting))
})

describe("fibers per message", () => {
  /** A chain is walked by one fiber, however long, and by none where it needs none. */
  const chains = {
    atOnce: { 1: 0, 3: 0, 10: 0 },
    sync: { 1: 1, 3: 1, 10: 1 },
    generator: { 1: 1, 3: 1, 10: 1 },
    async: { 1: 1, 3: 1, 10: 1 }
  }
  for (const [kind, counts] of Object.entries(chains)) {
    for (const [length, expected] of Object.entries(counts)) {
      it.effect(`a chain of ${length} ${kind} nodes starts ${expected}`, () =>
        Effect.gen(function*() {
          assert.strictEqual(yield* fibersPerMessage(chain(kinds[kind]!, Number(length))), expected)
        }))
    }
  }

  /** A timeout runs its attempt in a fiber that can be stopped, and a timer once the attempt has not ended at once. */
  const guardedChains = {
    atOnce: { 1: 0, 3: 0, 10: 0 },
    sync: { 1: 2, 3: 4, 10: 11 },
    generator: { 1: 2, 3: 4, 10: 11 },
    async: { 1: 3, 3: 7, 10: 21 }
  }
  const guarded: Policy.Policy = { retry: Schedule.recurs(3), timeout: "1 second" }
  for (const [kind, counts] of Object.entries(guardedChains)) {
    for (const [length, expected] of Object.entries(counts)) {
      it.effect(`a chain of ${length} ${kind} nodes with retry and timeout starts ${expected}`, () =>
        Effect.gen(function*() {
          assert.strictEqual(yield* fibersPerMessage(chain(kinds[kind]!, Number(length), guarded)), expected)
        }))
    }
  }

  const fanOuts = { atOnce: 1, sync: 9, generator: 9, async: 9 }
  for (const [kind, expected] of Object.entries(fanOuts)) {
    it.effect(`a fan-out to 8 ${kind} nodes and a join start ${expected}`, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* fibersPerMessage(fanOut(kinds[kind]!)), expected)
      }))
  }
})
