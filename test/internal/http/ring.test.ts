/** The last of what was said, and readers who go on where they were. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { Ring } from "../../../src/internal/http/ring.ts"

const values = <A>(ring: Ring<A>, id: number, most = Infinity) => ring.after(id, most).slots.map(({ value }) => value)

describe("Ring", () => {
  it("gives what comes after an id, at most so many", () => {
    const ring = new Ring<string>(10)
    for (const value of ["a", "b", "c"]) ring.push(value)
    assert.deepStrictEqual(ring.after(1, 1), { slots: [{ id: 2, value: "b" }], lost: 0 })
    assert.deepStrictEqual(values(ring, 0), ["a", "b", "c"])
    assert.deepStrictEqual(values(ring, 3), [])
  })

  it("keeps as much as fits, by number and by size, and always the last", () => {
    const ring = new Ring<string>(3, 5, (value) => value.length)
    for (const value of ["a", "bb", "cc", "dd"]) ring.push(value)
    assert.deepStrictEqual(values(ring, 0), ["cc", "dd"])
    assert.strictEqual(ring.after(0, 9).lost, 2)
    ring.push("much too large")
    assert.deepStrictEqual(values(ring, 0), ["much too large"])
    assert.isFalse(ring.holds(3))
    assert.isTrue(ring.holds(4))
    assert.isTrue(ring.holds(5))
    assert.isFalse(ring.holds(6))
  })

  it("lets go of what it is told to, and goes on", () => {
    const ring = new Ring<string>(Infinity, Infinity, (value) => value.length)
    for (const value of ["a", "bb", "ccc"]) ring.push(value)
    ring.forget(2)
    assert.deepStrictEqual(ring.after(0, 9), { slots: [{ id: 3, value: "ccc" }], lost: 2 })
    assert.strictEqual(ring.size, 3)
    ring.forget(9)
    assert.deepStrictEqual([ring.size, values(ring, 3)], [0, []])
    ring.push("d")
    assert.deepStrictEqual(ring.after(3, 9), { slots: [{ id: 4, value: "d" }], lost: 0 })
  })

  it.effect.prop(
    "gives every reader each value once, in order, or counts it as lost",
    [Schema.Array(Schema.Literals(["push", "read"])), Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 }))],
    ([steps, capacity]) =>
      Effect.sync(() => {
        const ring = new Ring<number>(capacity)
        let pushed = 0
        let at = 0
        let seen = 0
        for (const step of [...steps, "read"]) {
          if (step === "push") ring.push(++pushed)
          else {
            const { lost, slots } = ring.after(at, Infinity)
            for (const { id, value } of slots) assert.strictEqual(id, value)
            assert.isAtMost(slots.length, capacity)
            at = slots.at(-1)?.id ?? at
            seen += lost + slots.length
          }
        }
        assert.strictEqual(seen, pushed)
        assert.strictEqual(at, pushed)
      })
  )

  it.effect("wakes whoever waits, at the next value and at the end", () =>
    Effect.gen(function*() {
      const ring = new Ring<string>(3)
      const first = yield* Effect.forkChild(ring.wait(0), { startImmediately: true })
      const second = yield* Effect.forkChild(ring.wait(1), { startImmediately: true })
      const left = yield* Effect.forkChild(ring.wait(0), { startImmediately: true })
      yield* Fiber.interrupt(left)
      ring.push("a")
      yield* Fiber.join(first)
      ring.end()
      yield* Fiber.join(second)
      ring.push("after the end")
      assert.deepStrictEqual(values(ring, 0), ["a"])
    }))
})
