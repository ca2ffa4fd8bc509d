import { assert, describe, it } from "@effect/vitest"
import {
  bounds,
  failingFor,
  isFailing,
  keyOf,
  type Live,
  nothing,
  perSecond,
  reduce,
  type Said
} from "../../dashboard/model/live.ts"
import type { FlowEvent, NodeCounts, Snapshot } from "../../dashboard/wire/types.ts"

const nowhere = { node: undefined, attempt: undefined, durationMs: undefined } as const

const started = (traceId: string, at = 0, flow = "f"): FlowEvent => ({
  _tag: "TraceStarted",
  ...nowhere,
  flow,
  traceId,
  at,
  tenant: "t"
})
const succeeded = (traceId: string, at = 0, flow = "f"): FlowEvent => ({
  _tag: "TraceSucceeded",
  ...nowhere,
  flow,
  traceId,
  at,
  durationMs: 5,
  results: 1
})
const failed = (traceId: string, at = 0): FlowEvent => ({
  _tag: "TraceFailed",
  flow: "f",
  traceId,
  at,
  durationMs: 5,
  node: "n",
  attempt: 1,
  error: { tag: "Bad", code: undefined, message: "no" }
})
const cancelled = (traceId: string, at = 0): FlowEvent => ({
  _tag: "TraceCancelled",
  ...nowhere,
  flow: "f",
  traceId,
  at,
  durationMs: 5,
  reason: "enough"
})
const at = (
  tag: "NodeStarted" | "NodeSucceeded" | "NodeErrored" | "NodeRetried" | "NodeFailed" | "NodeTimedOut" | "NodeStuck",
  traceId: string,
  attempt = 1,
  node = "n"
): FlowEvent => {
  const base = { flow: "f", traceId, node, attempt, at: 1000 }
  const error = { tag: "Bad", code: undefined, message: "no" }
  switch (tag) {
    case "NodeStarted":
    case "NodeStuck":
      return { _tag: tag, ...base, durationMs: undefined }
    case "NodeSucceeded":
      return { _tag: tag, ...base, durationMs: 1 }
    case "NodeErrored":
      return { _tag: tag, ...base, durationMs: 1, error }
    case "NodeTimedOut":
      return { _tag: tag, ...base, durationMs: 1, timeoutMs: 50 }
    case "NodeRetried":
      return { _tag: tag, ...base, durationMs: undefined, delayMs: 10 }
    case "NodeFailed":
      return { _tag: tag, ...base, durationMs: undefined, error }
  }
}
const heard = (...events: ReadonlyArray<FlowEvent>): ReadonlyArray<Said> =>
  events.map((event) => ({ _tag: "Event", event }))
const after = (live: Live, ...events: ReadonlyArray<FlowEvent>): Live => reduce(live, heard(...events))
const node = (live: Live, name = "n"): NodeCounts => live.flows["f"]!.nodes[name]!

const snapshot = (nodes: Snapshot["flows"][string]["nodes"], open: number): Said => ({
  _tag: "Snapshot",
  now: 500,
  snapshot: {
    at: 1500,
    flows: { f: { open, started: 9, succeeded: 4, failed: 2, cancelled: 0, nodes } },
    recent: [{ flow: "f", traceId: "old", status: "succeeded", at: 1, durationMs: 3 }],
    running: ["a", "b", "c"].map((traceId) => ({ flow: "f", traceId, at: 2 }))
  }
})
const counts = (more: Partial<NodeCounts>): NodeCounts => ({
  running: 0,
  retrying: 0,
  succeeded: 0,
  errored: 0,
  failed: 0,
  timedOut: 0,
  ...more
})

describe("the live model", () => {
  it("counts what is in flight, retrying and failing at each node", () => {
    let live = after(nothing, started("a"), at("NodeStarted", "a"))
    assert.deepInclude(node(live), { running: 1, retrying: 0 })
    live = after(live, at("NodeErrored", "a"), at("NodeRetried", "a"))
    assert.deepInclude(node(live), { running: 0, retrying: 1, errored: 1 })
    live = after(live, at("NodeStarted", "a", 2))
    assert.deepInclude(node(live), { running: 1, retrying: 0 })
    live = after(live, at("NodeTimedOut", "a", 2), at("NodeFailed", "a", 2), failed("a"))
    assert.deepInclude(node(live), { running: 0, retrying: 0, errored: 1, timedOut: 1, failed: 1 })
    assert.deepStrictEqual(node(live).lastError, { tag: "Bad", code: undefined, message: "no", traceId: "a", at: 1000 })
    assert.deepInclude(live.flows["f"]!, { open: 0, started: 1, failed: 1 })
  })

  it("says for five minutes that a node fails", () => {
    const live = after(nothing, started("a"), at("NodeStarted", "a"), at("NodeErrored", "a"))
    assert.isTrue(isFailing(node(live), 1000 + failingFor - 1))
    assert.isFalse(isFailing(node(live), 1000 + failingFor))
    assert.isFalse(isFailing(counts({}), 0))
  })

  it("a trace that ends takes with it what it held: runs, retries, what was left behind", () => {
    const live = after(
      nothing,
      started("a"),
      started("b"),
      at("NodeStarted", "a"),
      at("NodeStarted", "a", 1, "m"),
      at("NodeErrored", "a", 1, "m"),
      at("NodeRetried", "a", 1, "m"),
      at("NodeStarted", "b"),
      at("NodeStuck", "b"),
      cancelled("a")
    )
    assert.deepInclude(node(live), { running: 0, retrying: 0 })
    assert.deepInclude(node(live, "m"), { running: 0, retrying: 0 })
    assert.strictEqual(live.flows["f"]!.open, 1)
    assert.deepStrictEqual([...live.open.keys()], [keyOf("f", "b")])
    assert.deepInclude(live.ended[0]!, { traceId: "a", status: "cancelled", reason: "enough" })
  })

  it("goes on from a snapshot, with traces that began before it", () => {
    let live = reduce(nothing, [snapshot({ n: counts({ running: 2, retrying: 1 }) }, 3)])
    assert.strictEqual(live.skew, 1000)
    assert.strictEqual(live.ended[0]!.traceId, "old")
    assert.deepStrictEqual([...live.open.values()].map(({ at, traceId }) => [traceId, at]), [["a", 2], ["b", 2], [
      "c",
      2
    ]])
    live = after(live, at("NodeSucceeded", "a"), succeeded("a"))
    assert.deepInclude(node(live), { running: 1, retrying: 1, succeeded: 1 })
    live = after(live, at("NodeStarted", "b", 2), at("NodeSucceeded", "b", 2), succeeded("b"))
    assert.deepInclude(node(live), { running: 1, retrying: 0 })
    // The last of them is cancelled: what it held is not known, but it holds nothing any more.
    live = after(live, cancelled("c"))
    assert.deepInclude(node(live), { running: 0, retrying: 0 })
    assert.strictEqual(live.flows["f"]!.open, 0)
    assert.strictEqual(live.open.size, 0)
  })

  it("never counts below nothing, whatever was missed", () => {
    const live = after(nothing, at("NodeSucceeded", "x"), at("NodeStarted", "y", 2), succeeded("x"), succeeded("y"))
    assert.deepInclude(node(live), { running: 0, retrying: 0 })
    assert.strictEqual(live.flows["f"]!.open, 0)
  })

  it("an id that begins again while it is open is one trace", () => {
    const live = after(nothing, started("a"), at("NodeStarted", "a"), started("a"))
    assert.deepInclude(live.flows["f"]!, { open: 1, started: 2 })
    assert.strictEqual(node(live).running, 0)
  })

  it("copies only what a batch touches", () => {
    const before = after(
      nothing,
      started("a"),
      at("NodeStarted", "a"),
      at("NodeStarted", "a", 1, "m"),
      started("z", 0, "g")
    )
    const next = after(before, at("NodeSucceeded", "a"))
    assert.strictEqual(next.flows["g"], before.flows["g"])
    assert.strictEqual(next.flows["f"]!.nodes["m"], before.flows["f"]!.nodes["m"])
    assert.notStrictEqual(next.flows["f"], before.flows["f"])
    assert.strictEqual(next.ended, before.ended)
    // And what was, stays as it was.
    assert.strictEqual(node(before).running, 1)
  })

  it("is bounded in traces, events and nodes", () => {
    let live = nothing
    for (let n = 0; n < 60; n++) {
      const batch: Array<FlowEvent> = []
      for (let m = 0; m < 100; m++) {
        const id = `${n}-${m}`
        batch.push(started(id), at("NodeStarted", id, 1, `node ${n * 100 + m}`))
        if (m % 2 === 0) batch.push(succeeded(id, n * 1000))
      }
      live = after(live, ...batch)
    }
    assert.strictEqual(live.open.size, bounds.open)
    assert.strictEqual(live.ended.length, bounds.ended)
    assert.strictEqual(live.ended[0]!.traceId, "59-98")
    assert.strictEqual(live.events.length, bounds.events)
    assert.strictEqual(Object.keys(live.flows["f"]!.nodes).length, bounds.nodes)
    assert.strictEqual(live.flows["f"]!.rate.ended.length, bounds.seconds)
    assert.strictEqual(live.heard, 15_000)
  })

  it("knows how many traces ended lately", () => {
    const live = after(
      nothing,
      succeeded("a", 10_000),
      succeeded("b", 12_500),
      failed("c", 12_900),
      succeeded("late", 11_000)
    )
    const { rate } = live.flows["f"]!
    assert.strictEqual(rate.second, 12)
    assert.deepStrictEqual(rate.ended.slice(-3), [1, 1, 2])
    assert.deepStrictEqual(rate.failed.slice(-3), [0, 0, 1])
    assert.strictEqual(perSecond(rate, 12_999), 0.4)
    assert.strictEqual(perSecond(rate, 21_000), 0.2)
    assert.strictEqual(perSecond(rate, 60_000), 0)
  })

  it("takes names that are names of every object, and pollutes none", () => {
    const live = after(
      nothing,
      started("a", 0, "__proto__"),
      started("b", 0, "constructor"),
      at("NodeStarted", "a", 1, "__proto__")
    )
    assert.strictEqual(live.flows["__proto__"]?.open, 1)
    assert.strictEqual(live.flows["constructor"]?.open, 1)
    assert.strictEqual(live.flows["f"]!.nodes["__proto__"]?.running, 1)
    assert.isUndefined(({} as { readonly open?: number }).open)
  })

  it("adds up what was lost", () => {
    assert.strictEqual(reduce(nothing, [{ _tag: "Lost", count: 3 }, { _tag: "Lost", count: 4 }]).lost, 7)
  })
})
