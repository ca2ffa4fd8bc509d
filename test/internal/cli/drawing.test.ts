import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Flow, Join, Loop, Node, Router } from "penguiflow"
import * as FlowCli from "penguiflow/FlowCli"

const n = (name: string) =>
  Node.make(name, { input: Schema.Number, output: Schema.Number, run: (x) => Effect.succeed(x) })

const lines = (flow: Flow.Any, columns?: number) => FlowCli.toText(flow, { columns }).split("\n")

describe("a flow as text", () => {
  it("a chain is a line", () => {
    const [a, b, c] = [n("a"), n("b"), n("c")]
    assert.deepStrictEqual(lines(Flow.make("chain", [a.to(b), b.to(c)])), ["chain", "a ── b ── c ■"])
  })

  it("branches stand below each other, and where they meet stands once", () => {
    const [a, b, c, d] = [n("a"), n("b"), n("c"), n("d")]
    const both = Join.all("both", { left: Schema.Number, right: Schema.Number })
    const flow = Flow.make("diamond", [a.to(b, c), b.to(d), d.to(both.in.left), c.to(both.in.right), both.to()])
    assert.deepStrictEqual(lines(flow), [
      "diamond",
      "a",
      "├─ b ── d ─▶ both.left",
      "└─ c ─▶ both.right",
      "both (join) ■"
    ])
  })

  it("cases stand before what they lead to, and branches may branch", () => {
    const [a, b, c, d, e] = [n("a"), n("b"), n("c"), n("d"), n("e")]
    const size = Router.make("size", {
      input: Schema.Number,
      cases: ["small", "large"],
      decide: (x) => x < 10 ? "small" : "large"
    })
    const flow = Flow.make("routes", [a.to(size), size.to({ small: b, large: c }), b.to(d, e), c.to()])
    assert.deepStrictEqual(lines(flow), [
      "routes",
      "a ── size (router)",
      "├─ [small] b",
      "│  ├─ d ■",
      "│  └─ e ■",
      "└─ [large] c ■"
    ])
  })

  it("a cycle leads back to a name, and loops and subflows say what they are", () => {
    const [start, a, b, out] = [n("start"), n("a"), n("b"), n("out")]
    const again = Router.make("again", {
      input: Schema.Number,
      cases: ["back", "on"],
      decide: (x) => x > 0 ? "back" : "on"
    })
    const cycle = Flow.make("cycle", [start.to(a), a.to(again), again.to({ back: a, on: out })], { maxHops: 3 })
    assert.deepStrictEqual(lines(cycle), [
      "cycle",
      "start ─▶ a",
      "a ── again (router)",
      "├─ [back] ▶ a",
      "└─ [on] out ■"
    ])

    const halve = Loop.make("halve", {
      state: Schema.Number,
      output: Schema.Number,
      maxHops: 5,
      step: (x) => Effect.succeed(x > 1 ? Loop.again(x / 2) : Loop.done(x))
    })
    const inner = Flow.make("inner", [b.to(halve)])
    const first = n("first")
    assert.deepStrictEqual(lines(Flow.make("outer", [first.to(Node.fromFlow(inner))])), [
      "outer",
      "first ── inner (flow) ■",
      "",
      "inside of inner",
      "b ── halve (at most 5 hops) ■"
    ])
  })

  it("several ingress nodes each begin a line", () => {
    const sum = Join.all("sum", { a: Schema.Number, b: Schema.Number })
    const flow = Flow.make("two", [n("a").to(sum.in.a), n("b").to(sum.in.b), sum.to()])
    assert.deepStrictEqual(lines(flow), ["two", "a ─▶ sum.a", "b ─▶ sum.b", "sum (join) ■"])
  })

  it("names can do nothing to the terminal, and long lines are cut where it ends", () => {
    const flow = Flow.make("evil\u001b[2J", [n("a\nb").to(n("c\u009b31m"))])
    assert.deepStrictEqual(lines(flow), ["evil\\u001b[2J", "a b ── c\\u009b31m ■"])
    assert.deepStrictEqual(lines(flow, 12), ["evil\\u001b…", "a b ── c\\u…"])
    for (const columns of [1, 20]) for (const line of lines(flow, columns)) assert.isAtMost(line.length, columns)
  })

  it("draws flows of any size, long, wide and deep, in little time", () => {
    const many = Array.from({ length: 10_000 }, (_, at) => n(`n${at}`))
    const chain = Flow.make("chain", many.slice(1).map((node, at) => many[at]!.to(node)))
    const drawn = lines(chain)
    assert.strictEqual((drawn.join("\n").match(/n\d+/g) ?? []).length, 10_000)
    assert.isBelow(Math.max(...drawn.map((line) => line.length)), 100)

    const wide = Flow.make("wide", [n("root").to(...many)])
    assert.lengthOf(lines(wide), 10_002)

    // A comb: each node branches inside of the branch before.
    const teeth = many.map((_, at) => n(`t${at}`))
    const comb = Flow.make("comb", many.slice(1).map((node, at) => many[at]!.to(teeth[at]!, node)))
    const text = lines(comb)
    for (const name of ["n0", "n5000", "n9999", "t0", "t9998"]) {
      assert.isTrue(text.some((line) => line.includes(`${name} `) || line.endsWith(name)), name)
    }
    assert.isBelow(text.join("\n").length, 2_000_000)
  })
})
