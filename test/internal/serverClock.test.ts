import { assert, describe, it } from "@effect/vitest"
import { ServerClock } from "../../src/layers/internal/serverClock.ts"

describe("a server's clock", () => {
  const wall = 1_700_000_000_000
  const looked = (...looks: ReadonlyArray<readonly [asked: number, at: number, answered: number]>) => {
    const clock = new ServerClock()
    return looks.map(([asked, at, answered]) => clock.look(asked, wall + at, answered))
  }

  it("was not set where answers are slow, a process stood still, or it drifts a little", () => {
    assert.deepStrictEqual(looked([0, 1, 2], [1000, 4900, 5000], [6000, 6001, 6002], [90_000, 90_150, 90_002]), [
      0,
      0,
      0,
      0
    ])
  })

  it("was set forward or back, at least by so much, and that is said until it is put right", () => {
    assert.deepStrictEqual(looked([0, 1, 2], [1000, 601_001, 1010], [2000, 602_001, 2002]), [0, 599_990, 599_990])
    assert.deepStrictEqual(looked([0, 1, 2], [1000, -598_999, 1010]), [0, -599_998])
    const clock = new ServerClock()
    clock.look(0, wall, 1)
    assert.isBelow(clock.look(1000, wall - 5000, 1001), -5900)
    clock.righted()
    assert.strictEqual(clock.look(2000, wall - 4000, 2001), 0)
  })

  it("is expected to go on as it did; where nobody has looked, nothing is expected", () => {
    const clock = new ServerClock()
    assert.isUndefined(clock.expect(0))
    clock.look(0, wall, 10)
    const { least, most } = clock.expect(1000)!
    assert.isTrue(least <= wall + 990 && most >= wall + 1000 && most - least < 1000)
  })
})
