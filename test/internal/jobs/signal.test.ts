import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Signal } from "../../../src/internal/jobs/signal.ts"

describe("Signal", () => {
  it.effect("wakes whoever waits, in the same step", () =>
    Effect.gen(function*() {
      const bell = new Signal()
      for (const wait of [Effect.as(bell.wait, true), bell.waitFor(1000)]) {
        const fiber = yield* Effect.forkChild(wait, { startImmediately: true })
        bell.ring()
        assert.deepStrictEqual(fiber.pollUnsafe(), yield* Effect.exit(Effect.succeed(true)))
      }
    }))

  it.effect("one that rang while nobody waited is heard by the next, and by nobody after him", () =>
    Effect.gen(function*() {
      const bell = new Signal()
      bell.ring()
      bell.ring()
      assert.isTrue(yield* bell.waitFor(1000))
      const next = yield* Effect.forkChild(bell.waitFor(1000), { startImmediately: true })
      yield* TestClock.adjust(1000)
      assert.isFalse(yield* Fiber.join(next))
      bell.ring()
      yield* bell.wait
    }))

  it.effect("whoever waited for too long, or was interrupted, takes no ring from the next", () =>
    Effect.gen(function*() {
      const bell = new Signal()
      const late = yield* Effect.forkChild(bell.waitFor(10), { startImmediately: true })
      yield* TestClock.adjust(10)
      assert.isFalse(yield* Fiber.join(late))
      for (const wait of [bell.wait, bell.waitFor(10)]) {
        yield* Fiber.interrupt(yield* Effect.forkChild(wait, { startImmediately: true }))
      }
      bell.ring()
      assert.isTrue(yield* bell.waitFor(10))
    }))
})
