import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { unavailable } from "penguiflow/JobError"
import * as JobStore from "penguiflow/JobStore"
import { recordingTracer } from "./utils/spans.ts"

describe("JobStore.bounded", () => {
  it.effect("gives what the operation gives, at once or later", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* JobStore.bounded("list", 1000, Effect.succeed(1)), 1)
      const later = yield* Effect.forkChild(JobStore.bounded("list", 1000, Effect.as(Effect.sleep(999), 2)))
      yield* TestClock.adjust(999)
      assert.strictEqual(yield* Fiber.join(later), 2)
      const no = unavailable("list", undefined, "no", "no")
      assert.strictEqual(yield* Effect.flip(JobStore.bounded("list", 1000, Effect.fail(no))), no)
    }))

  it.effect("says in time that it does not know, and does not wait for one that resists interruption", () =>
    Effect.gen(function*() {
      const end = yield* Deferred.make<void>()
      let interrupted = false
      const stubborn = Effect.uninterruptible(Deferred.await(end)).pipe(
        Effect.andThen(Effect.never),
        Effect.onInterrupt(() => Effect.sync(() => void (interrupted = true)))
      )
      const asking = yield* Effect.forkChild(Effect.flip(JobStore.bounded("claim", 1000, stubborn)))
      yield* TestClock.adjust(1000)
      const { code, message, reason } = yield* Fiber.join(asking)
      assert.strictEqual(code, "QUEUE_UNAVAILABLE")
      assert.isTrue(reason._tag === "QueueUnavailable" && reason.stored === "unknown")
      assert.match(message, /"claim" within 1000 ms/)
      assert.isFalse(interrupted)
      yield* Deferred.succeed(end, undefined)
      yield* Effect.yieldNow
      assert.isTrue(interrupted)
    }))

  it.effect("says the same of one that is gone at once when it is interrupted", () =>
    Effect.gen(function*() {
      const asking = yield* Effect.forkChild(Effect.flip(JobStore.bounded("claim", 1000, Effect.never)))
      yield* TestClock.adjust(1000)
      assert.strictEqual((yield* Fiber.join(asking)).code, "QUEUE_UNAVAILABLE")
    }))

  it.effect("whoever is interrupted while it waits interrupts what it asked for", () =>
    Effect.gen(function*() {
      let interrupted = false
      const endless = Effect.onInterrupt(Effect.never, () => Effect.sync(() => void (interrupted = true)))
      const asking = yield* Effect.forkChild(JobStore.bounded("claim", 1000, endless), { startImmediately: true })
      yield* Fiber.interrupt(asking)
      assert.isTrue(interrupted)
    }))

  it.effect("makes spans for a tracer that somebody has given, in the caller's", () =>
    Effect.gen(function*() {
      const { spans, tracer } = recordingTracer()
      let parent: string | undefined
      const operation = Effect.useSpan("statement", (span) =>
        Effect.sync(() => {
          parent = span.parent._tag === "Some" && span.parent.value._tag === "Span" ? span.parent.value.name : undefined
        }))
      yield* Effect.withSpan(JobStore.bounded("list", 1000, operation), "request").pipe(
        Effect.provideService(Tracer.Tracer, tracer)
      )
      assert.deepStrictEqual([spans.map(({ name }) => name), parent], [["request", "statement"], "request"])
    }))
})
