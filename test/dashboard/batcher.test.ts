import { assert, describe, it } from "@effect/vitest"
import { makeBatcher, type Timers } from "../../dashboard/model/batcher.ts"
import { routeOf, to } from "../../dashboard/model/route.ts"
import { ago, count, durationIn } from "../../dashboard/model/words.ts"

/** Timers that go when they are told to. */
const clockwork = () => {
  const state = { now: 0, hidden: false }
  let frames: Array<() => void> = []
  let timers: Array<{ readonly at: number; readonly run: () => void }> = []
  const batches: Array<number> = []
  const timing: Timers = {
    now: () => state.now,
    hidden: () => state.hidden,
    frame: (run) => frames.push(run),
    later: (run, ms) => timers.push({ at: state.now + ms, run })
  }
  const push = makeBatcher<number>((batch) => batches.push(batch.length), timing)
  /** Goes on by so many milliseconds, with a frame each 16 of them. */
  const go = (ms: number) => {
    for (const until = state.now + ms; state.now < until;) {
      state.now += 4
      const due = timers.filter(({ at }) => at <= state.now)
      timers = timers.filter(({ at }) => at > state.now)
      for (const { run } of due) run()
      if (state.now % 16 === 0 && !state.hidden) {
        const now = frames
        frames = []
        for (const run of now) run()
      }
    }
  }
  return { batches, go, push, state }
}

describe("batches", () => {
  it("come at once when nothing came before, and at most ten a second", () => {
    const { batches, go, push } = clockwork()
    push([1])
    go(16)
    assert.deepStrictEqual(batches, [1])
    for (let n = 0; n < 250; n++) {
      push([1, 2])
      go(4)
    }
    go(200)
    assert.strictEqual(batches.reduce((sum, it) => sum + it, 0), 501)
    assert.isAtMost(batches.length, 12)
    assert.isAtLeast(batches.length, 9)
  })

  it("come by a timer while the page is hidden and draws no frames", () => {
    const { batches, go, push, state } = clockwork()
    state.hidden = true
    push([1])
    go(900)
    assert.deepStrictEqual(batches, [])
    push([2])
    go(200)
    assert.deepStrictEqual(batches, [2])
  })

  it("do not grow without end where no timer goes", () => {
    const { batches, push } = clockwork()
    for (let n = 0; n < 50; n++) push(Array.from({ length: 100 }, () => n))
    assert.deepStrictEqual(batches, [2000, 2000])
  })
})

describe("addresses of views", () => {
  it("lead back to the view, whatever its names hold", () => {
    for (const name of ["plain", "a/b c?d#e", `<img src=x onerror="1">`, "100 %", "日本"]) {
      assert.deepStrictEqual(routeOf(to.flow(name)), { view: "flow", flow: name, node: undefined })
      assert.deepStrictEqual(routeOf(to.node(name, name)), { view: "flow", flow: name, node: name })
      assert.deepStrictEqual(routeOf(to.run(name)), { view: "run", flow: name })
      assert.deepStrictEqual(routeOf(to.trace(name, name)), { view: "trace", flow: name, traceId: name })
      assert.deepStrictEqual(routeOf(to.traces({ flow: name, status: "failed" })), {
        view: "traces",
        flow: name,
        status: "failed"
      })
      assert.deepStrictEqual(routeOf(to.job(name)), { view: "job", id: name })
      assert.deepStrictEqual(routeOf(to.migration(name)), { view: "migration", name })
    }
    assert.deepStrictEqual(routeOf(""), { view: "flow", flow: undefined, node: undefined })
    assert.deepStrictEqual(routeOf(to.jobs("dead")), { view: "jobs", state: "dead" })
    assert.deepStrictEqual(routeOf("#/somewhere/else"), { view: "unknown" })
    assert.deepStrictEqual(routeOf("#/flows/%"), { view: "flow", flow: "%", node: undefined })
  })
})

describe("words", () => {
  it("say durations and instants as people do", () => {
    assert.deepStrictEqual([0, 0.44, 9.96, 412.4, 1234, 12_345, 65_000, 7_500_000].map(durationIn), [
      "0 ms",
      "0.4 ms",
      "10 ms",
      "412 ms",
      "1.23 s",
      "12.3 s",
      "1 min 5 s",
      "2 h 5 min"
    ])
    assert.deepStrictEqual([0, 900, 61_000, 3_600_000, 100_000_000].map((ms) => ago(1e9 - ms, 1e9)), [
      "now",
      "1 s ago",
      "1 min ago",
      "1 h ago",
      "1 d ago"
    ])
    assert.strictEqual(ago(1e9 + 5000, 1e9), "in 5 s")
    assert.strictEqual(count(1234567), "1\u202F234\u202F567")
  })
})
