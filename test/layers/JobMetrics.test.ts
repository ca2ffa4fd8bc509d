import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, Node } from "penguiflow"
import * as JobQueue from "penguiflow/JobQueue"
import * as JobMetrics from "penguiflow/layers/JobMetrics"
import * as JobQueueMemory from "penguiflow/layers/JobQueueMemory"
import * as Worker from "penguiflow/Worker"
import * as Metrics from "../utils/metrics.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

const flow = Flow.make("orders", [
  Node.make("only", {
    input: Schema.Number,
    output: Schema.Number,
    error: Refused,
    run: (n) => n < 0 ? Effect.fail(new Refused()) : Effect.as(Effect.sleep("2 seconds"), n)
  }).to()
])

const numbers = Metrics.numbers(({ count, sum }) => [count, sum])

describe("JobMetrics", () => {
  it.effect("counts tries by outcome, sums how long jobs waited and took, and shows what the queue keeps", () => {
    const worker = Worker.layer(flow, { concurrency: 1, grace: 0 })
    const live = JobMetrics.layer({ countEvery: "10 seconds" }).pipe(
      Layer.provideMerge(worker),
      Layer.provideMerge(JobQueueMemory.layer())
    )
    return Effect.gen(function*() {
      const queue = yield* JobQueue.JobQueue
      yield* queue.enqueue(flow, 1, { id: "a" })
      yield* queue.enqueue(flow, 2, { id: "b" })
      yield* queue.enqueue(flow, -1, { id: "c", maxAttempts: 1 })
      yield* TestClock.adjust("11 seconds")
      assert.deepStrictEqual(yield* numbers, {
        // One at a time: they waited for 0, 2 and 4 seconds.
        "job_wait_seconds flow=orders": [3, 6],
        "job_attempts_total flow=orders outcome=succeeded": 2,
        "job_attempts_total flow=orders outcome=died": 1,
        "job_duration_seconds flow=orders outcome=succeeded": [2, 4],
        "job_duration_seconds flow=orders outcome=died": [1, 0],
        "jobs state=queued": 0,
        "jobs state=running": 0,
        "jobs state=done": 2,
        "jobs state=dead": 1,
        "jobs state=cancelled": 0
      })
    }).pipe(Effect.provide(Layer.provideMerge(live, Metrics.registry)))
  })
})
