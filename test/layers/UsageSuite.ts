/** What every `Usage` of ours does, wherever it keeps its records. */
import { assert, layer } from "@effect/vitest"
import { Effect, type Layer, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, Node } from "penguiflow"
import * as Usage from "penguiflow/Usage"

let users = 0
/** A user of its own for each test: the store may be shared with others. */
const user = () => `user-${process.pid}-${users++}`

const record = (userId: string, over: Partial<Usage.UsageRecord> = {}): Usage.UsageRecord => ({
  key: `${userId}/1`,
  userId,
  tenant: "default",
  flow: "f",
  node: "n",
  traceId: "t",
  tokens: 5,
  durationMs: 1.5,
  at: 1_700_000_000_000,
  ...over
})

const Answer = Schema.Struct({ text: Schema.String, tokens: Schema.Number })
let failures = 0
const trackCost = Node.make("track_cost", {
  input: Answer,
  output: Answer,
  rerun: "idempotent",
  policy: { retry: Schedule.recurs(2) },
  run: (answer, context) =>
    Effect.gen(function*() {
      yield* Usage.track(context, { tokens: answer.tokens })
      if (answer.text === "flaky" && failures++ < 2) return yield* Effect.fail({ _tag: "Flaky" } as const)
      return answer
    })
})
const flow = Flow.make("billing", [trackCost.to()])

export const usageSuite = <E>(backend: string, usage: Layer.Layer<Usage.Usage, E>) =>
  layer(usage)(backend, (it) => {
    it.effect("adds up what a user has used, in a time, for a tenant, in a trace", () =>
      Effect.gen(function*() {
        const usage = yield* Usage.Usage
        const [a, b] = [user(), user()]
        assert.isTrue(yield* usage.record(record(a)))
        assert.isTrue(
          yield* usage.record(record(a, { key: `${a}/2`, tokens: 7, at: 1_700_000_001_000, traceId: `${a}-t2` }))
        )
        assert.isTrue(yield* usage.record(record(a, { key: `${a}/3`, tokens: 1, tenant: `${a}-acme` })))
        assert.isTrue(yield* usage.record(record(b, { tokens: 100 })))
        assert.deepStrictEqual(yield* usage.totals({ userId: a }), { records: 3, tokens: 13, durationMs: 4.5 })
        assert.deepStrictEqual(yield* usage.totals({ userId: b }), { records: 1, tokens: 100, durationMs: 1.5 })
        assert.strictEqual((yield* usage.totals({ userId: a, from: 1_700_000_001_000 })).tokens, 7)
        assert.strictEqual((yield* usage.totals({ userId: a, until: 1_700_000_001_000 })).tokens, 6)
        assert.strictEqual((yield* usage.totals({ tenant: `${a}-acme` })).tokens, 1)
        assert.strictEqual((yield* usage.totals({ traceId: `${a}-t2` })).tokens, 7)
        assert.deepStrictEqual(yield* usage.totals({ userId: user() }), { records: 0, tokens: 0, durationMs: 0 })
        assert.deepStrictEqual((yield* usage.list({ userId: a })).map((one) => one.key), [`${a}/1`, `${a}/3`, `${a}/2`])
        assert.deepStrictEqual((yield* usage.list({ userId: b }))[0], record(b, { tokens: 100 }))
        assert.isAtLeast((yield* usage.totals()).records, 4)
      }))

    it.effect("the same key counts once, also when it comes many times at once", () =>
      Effect.gen(function*() {
        const usage = yield* Usage.Usage
        const id = user()
        const news = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, i) => i),
          (i) => usage.record(record(id, { tokens: i + 1 })),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(news.filter((isNew) => isNew).length, 1)
        assert.strictEqual((yield* usage.totals({ userId: id })).records, 1)
      }))

    it.effect("sums stay exact beyond 32 bits", () =>
      Effect.gen(function*() {
        const usage = yield* Usage.Usage
        const id = user()
        for (let i = 0; i < 3; i++) yield* usage.record(record(id, { key: `${id}/${i}`, tokens: 3_000_000_000_000 }))
        assert.strictEqual((yield* usage.totals({ userId: id })).tokens, 9_000_000_000_000)
      }))

    it.effect("track reads user and start time from the trace's meta, and takes a retried node once", () =>
      Effect.gen(function*() {
        const usage = yield* Usage.Usage
        const id = user()
        yield* TestClock.setTime(1_700_000_000_000)
        failures = 0
        const options = {
          traceId: `${id}-trace`,
          headers: { tenant: "acme" },
          meta: { user_id: id, start_time: 1_699_999_998_500 }
        }
        yield* Flow.run(flow, { text: "flaky", tokens: 11 }, options)
        assert.strictEqual(failures, 3)
        const [one, ...others] = yield* usage.list({ userId: id })
        assert.deepStrictEqual(others, [])
        assert.deepInclude(one, {
          userId: id,
          tenant: "acme",
          flow: "billing",
          node: "track_cost",
          traceId: `${id}-trace`,
          tokens: 11,
          durationMs: 1500,
          at: 1_700_000_000_000
        })
        // Redelivered: the same trace again.
        yield* Flow.run(flow, { text: "again", tokens: 11 }, options)
        assert.strictEqual((yield* usage.totals({ userId: id })).tokens, 11)
        // A number as user, an ISO date as start, and a clock that goes before ours.
        yield* Flow.run(flow, { text: "", tokens: 1 }, { meta: { user_id: 4711, start_time: "2099-01-01T00:00:00Z" } })
        assert.strictEqual((yield* usage.list({ userId: "4711" }))[0]?.durationMs, 0)
      }))

    it.effect("what is missing or can't be meant is a typed error that names it, and nothing is recorded", () =>
      Effect.gen(function*() {
        const usage = yield* Usage.Usage
        const id = user()
        const ok = { user_id: id, start_time: 1_700_000_000_000 }
        const cases: ReadonlyArray<readonly [Record<string, Schema.Json>, number, string]> = [
          [{ start_time: ok.start_time }, 1, "meta.user_id"],
          [{ ...ok, user_id: null }, 1, "meta.user_id"],
          [{ ...ok, user_id: "" }, 1, "userId"],
          [{ user_id: id }, 1, "meta.start_time"],
          [{ ...ok, start_time: "soon" }, 1, "meta.start_time"],
          [{ ...ok, start_time: 1_700_000_000 }, 1, "seconds"],
          [ok, -1, "tokens"],
          [ok, 0.5, "tokens"],
          [ok, Infinity, "tokens"]
        ]
        for (const [meta, tokens, names] of cases) {
          const error = yield* Effect.flip(Flow.run(flow, { text: "", tokens }, { meta }))
          assert.instanceOf(error, Usage.UsageError)
          assert.include(String(error), names)
        }
        for (
          const wrong of [{ key: "" }, { key: "a\0b" }, { node: "x".repeat(1001) }, { durationMs: NaN }, { at: 0.5 }]
        ) {
          const error = yield* Effect.flip(usage.record(record(id, wrong)))
          assert.strictEqual(error.kind, "InvalidRecord")
          assert.include(error.message, Object.keys(wrong)[0] ?? "")
          assert.isFalse(error.isRetryable)
        }
        assert.strictEqual((yield* usage.totals({ userId: id })).records, 0)
      }))
  })
