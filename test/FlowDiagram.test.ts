import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule, Schema } from "effect"
import { Flow, Join, Loop, Node, Router } from "penguiflow"
import { number } from "./utils/nodes.ts"

const step = (name: string) => number(name, Effect.succeed)

describe("toMermaid and toGraphViz", () => {
  const route = Router.make("route", {
    input: Schema.Number,
    cases: ["low", "high"],
    decide: (n) => n < 5 ? "low" : "high"
  })
  const pair = Join.all("pair", { a: Schema.Number, b: Schema.Number })
  const loop = Loop.make("loop", {
    state: Schema.Number,
    output: Schema.Number,
    maxHops: 3,
    step: (n) => Effect.succeed(Loop.done(n))
  })
  const inner = Node.fromFlow(Flow.make("inner", [step("x").to(step("y"))]))
  const merge = Node.make("merge", {
    input: Schema.Struct({ a: Schema.Number, b: Schema.Number }),
    output: Schema.Number,
    run: ({ a }) => Effect.succeed(a)
  })
  const a = step("a")
  const b = step("b")
  const flow = Flow.make("all", [
    step("start").to(route, a, b),
    route.to({ low: loop, high: inner }),
    a.to(pair.in.a),
    b.to(pair.in.b),
    pair.to(merge)
  ])

  it("hold ingress, egress, cases, inputs, loops and subflows, in declaration order", () => {
    assert.deepStrictEqual(Flow.toMermaid(flow).split("\n"), [
      "flowchart LR",
      "  n0([\"start\"])",
      "  n1{\"route\"}",
      "  n2[\"a\"]",
      "  n3[\"b\"]",
      "  n4[[\"loop\"]]",
      "  n8{{\"pair\"}}",
      "  n9[[\"merge\"]]",
      "  subgraph s_0[\"inner\"]",
      "    n6[\"x\"]",
      "    n7[[\"y\"]]",
      "  end",
      "  n0 --> n1",
      "  n0 --> n2",
      "  n0 --> n3",
      "  n1 -->|\"low\"| n4",
      "  n1 -->|\"high\"| n6",
      "  n2 -->|\"a\"| n8",
      "  n3 -->|\"b\"| n8",
      "  n4 -->|\"again, at most 3 hops\"| n4",
      "  n8 --> n9",
      "  n6 --> n7"
    ])
    const dot = Flow.toGraphViz(flow)
    for (const part of ["digraph \"all\"", "subgraph cluster_s_0", "shape=diamond", "shape=hexagon", "peripheries=2"]) {
      assert.include(dot, part)
    }
  })

  it("are the same for the same flow, and name no node twice", () => {
    assert.strictEqual(Flow.toMermaid(flow), Flow.toMermaid(flow))
    const ids = [...Flow.toMermaid(flow).matchAll(/^ *(n\d+)[[({]/gm)].map((match) => match[1])
    assert.strictEqual(new Set(ids).size, ids.length)
    assert.lengthOf(ids, 9)
  })

  it("escape whatever a name holds", () => {
    const name = "\"] --> n9; <img onerror=x> `a` \\ {b}\n%%"
    const odd = Flow.make("odd", [step(name).to()])
    const line = Flow.toMermaid(odd).split("\n")
    assert.lengthOf(line, 2)
    assert.notMatch(/^ {2}n0\(\["(.*)"\]\)$/.exec(line[1]!)![1]!, /["<>`\\{}]/)
    assert.include(Flow.toGraphViz(odd), "\\\"] --> n9")
    assert.lengthOf(Flow.toGraphViz(odd).split("\n"), 4)
  })

  it("say what each node may cost at worst, where that is asked for", () => {
    const patient = number("patient", Effect.succeed, {
      timeout: "1 second",
      retry: Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 2 }))
    })
    const costly = Flow.make("f", [patient.to(step("open"))])
    const text = Flow.toMermaid(costly, { costs: true })
    assert.include(text, "\"patient<br/>3 attempts, at most 3.2 s\"")
    assert.include(text, "\"open<br/>no bound\"")
    assert.include(Flow.toGraphViz(costly, { costs: true }), "label=\"patient\\n3 attempts, at most 3.2 s\"")
  })
})
