import { assert, describe, it } from "@effect/vitest"
import { type Context, Effect } from "effect"
import { TestClock } from "effect/testing"
import { after } from "../../src/internal/after.ts"

/** How often it went off, and how to stop it. */
const counted = (ms: number) =>
  Effect.contextWith((context: Context.Context<never>) =>
    Effect.sync(() => {
      const it = { times: 0, stop: () => {} }
      it.stop = after(context, ms, () => void it.times++)
      return it
    })
  )

describe("after", () => {
  it.effect("goes by the fiber's clock where that is another than the machine's", () =>
    Effect.gen(function*() {
      const one = yield* counted(1000)
      const stopped = yield* counted(500)
      yield* TestClock.adjust(499)
      stopped.stop()
      yield* TestClock.adjust(500)
      assert.deepStrictEqual([one.times, stopped.times], [0, 0])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual([one.times, stopped.times], [1, 0])
      one.stop()
    }))

  it.live("goes off once by the machine's clock, or not at all", () =>
    Effect.gen(function*() {
      const one = yield* counted(20)
      const stopped = yield* counted(20)
      // A timer of the machine would go off at once.
      const late = yield* counted(2 ** 31)
      stopped.stop()
      assert.strictEqual(one.times, 0)
      yield* Effect.sleep(100)
      assert.deepStrictEqual([one.times, stopped.times, late.times], [1, 0, 0])
      late.stop()
    }))
})
