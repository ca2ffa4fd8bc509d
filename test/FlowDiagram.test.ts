import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Schedule, Schema } from "effect"
import { Flow, Join, Loop, Node, type Policy, Router } from "penguiflow"
import * as FlowDiagram from "penguiflow/FlowDiagram"
import * as diagrams from "./utils/diagrams.ts"
import { number } from "./utils/nodes.ts"

class Weather extends Context.Service<Weather, { at(city: string): Effect.Effect<number> }>()("app/Weather") {}

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

describe("toSvg", () => {
  const places = (svg: string) =>
    new Map(
      [...svg.matchAll(/data-node="([^"]*)".*?<rect class="shape"[^>]* x="([\d.]+)" y="([\d.]+)"/g)].map((
        [, name, x, y]
      ) => [name, { x: Number(x), y: Number(y) }])
    )

  it("is the same for the same flow, whatever was drawn before, and differs from another's", () => {
    const first = Object.values(diagrams.flows).map((flow) => FlowDiagram.toSvg(flow))
    const again = Object.values(diagrams.flows).toReversed().map((flow) => FlowDiagram.toSvg(flow)).toReversed()
    assert.deepStrictEqual(again, first)
    assert.strictEqual(new Set(first).size, first.length)
  })

  it("puts what a node leads to below one another in declaration order, and in the document, too", () => {
    const svg = FlowDiagram.toSvg(diagrams.flows["wide"]!)
    const ys = [...places(svg)].filter(([name]) => name !== "from").map(([, { y }]) => y)
    assert.lengthOf(ys, 200)
    assert.deepStrictEqual(ys, ys.toSorted((a, b) => a - b))
    const names = [...svg.matchAll(/<g class="node" data-node="([^"]*)"/g)].map((match) => match[1])
    assert.deepStrictEqual(names, ["from", ...Array.from({ length: 200 }, (_, n) => `to ${n}`)])
    const all = places(FlowDiagram.toSvg(diagrams.all))
    for (
      const [upper, lower] of [["loop", "inner/x"], ["a", "b"], ["inner/y", "inner/deep/patient"], [
        "inner/deep/v",
        "inner/deep/w"
      ]]
    ) {
      assert.isBelow(all.get(upper)!.y, all.get(lower)!.y, `${upper} above ${lower}`)
    }
  })

  it("puts what comes after at the right, but for edges that lead back", () => {
    const all = places(FlowDiagram.toSvg(diagrams.flows["long"]!))
    const xs = [...all.values()].map(({ x }) => x)
    assert.lengthOf(xs, 500)
    assert.deepStrictEqual(xs, xs.toSorted((a, b) => a - b))
  })

  it("says who it is to those who don't see it, and needs neither style nor script nor anything from elsewhere", () => {
    for (const flow of Object.values(diagrams.flows)) {
      const svg = FlowDiagram.toSvg(flow)
      assert.match(
        svg,
        /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" class="penguiflow" role="img" viewBox="0 0 [\d.]+ [\d.]+"/
      )
      assert.notMatch(svg, /<(?:style|script|image|a|use|foreignObject)[\s>]|\s(?:style|href|xlink:href|on\w+|id)="/)
    }
    const svg = FlowDiagram.toSvg(diagrams.trip)
    assert.include(svg, "<title>trip</title>")
    assert.include(svg, "<desc>A flow of 4 nodes and 4 edges. Messages enter at clean. Results leave at both.</desc>")
  })

  it("marks nodes with the names of events, their kinds, and where messages enter and leave", () => {
    const svg = FlowDiagram.toSvg(diagrams.all)
    const kinds = [...svg.matchAll(/data-node="([^"]*)" data-kind="(\w+)"/g)].map((match) => `${match[1]}: ${match[2]}`)
    assert.deepStrictEqual(kinds, [
      "start: node",
      "route: router",
      "a: node",
      "b: node",
      "loop: loop",
      "pair: join",
      "merge: node",
      "square: each",
      "inner/x: node",
      "inner/y: node",
      "inner/deep/patient: node",
      "inner/deep/v: node",
      "inner/deep/w: node"
    ])
    assert.deepStrictEqual([...svg.matchAll(/data-flow="([^"]*)"/g)].map((match) => match[1]), ["inner", "inner/deep"])
    assert.include(svg, `<g class="edge" data-from="route" data-to="inner/x"><title>high</title>`)
    assert.lengthOf(svg.match(/<circle class="ingress"/g)!, 1)
    // A ring and what is in it, for loop, y, v, w and the last one.
    assert.lengthOf(svg.match(/<circle class="egress"/g)!, 10)
  })

  it("elides what is long, and keeps it whole in the title", () => {
    const svg = FlowDiagram.toSvg(diagrams.hostile)
    assert.include(svg, `<title>${"W".repeat(300)}`)
    assert.match(svg, />W{10,30}…<\/text>/)
  })

  it("refuses a flow that is too long for its stack, and says what to do", () => {
    assert.throws(() => FlowDiagram.toSvg(diagrams.tooLong()), RangeError, "Draw it as Mermaid or DOT")
  })
})

describe("what is drawn on demand", () => {
  const formats = { svg: FlowDiagram.toSvg, mermaid: FlowDiagram.toMermaid, dot: FlowDiagram.toGraphViz }

  for (const [format, draw] of Object.entries(formats)) {
    it(`${format}: policies, costs, errors and services, and nothing where nothing is asked for`, () => {
      const nothing = draw(diagrams.all)
      for (const words of ["attempts", "timeout", "fails with", "needs"]) assert.notInclude(nothing, words)
      const drawn = draw(diagrams.all, {
        policies: true,
        errors: true,
        services: { "inner/deep/patient": [Weather, "a clock"] }
      })
      for (
        const words of ["3 attempts, timeout 1 s, 4 at once", "fails with Busy, Gone", "needs app/Weather, a clock"]
      ) {
        assert.include(drawn, words)
      }
      assert.include(drawn, "4 items at once")
      assert.include(draw(diagrams.all, { costs: true }), "3 attempts, at most 3.2 s")
    })

    it(`${format}: services of a node that is not there are refused`, () => {
      assert.throws(() => draw(diagrams.trip, { services: { wether: [Weather] } }), RangeError, "\"wether\"")
    })
  }

  it("is said of what can be known of a policy, and of no more", () => {
    const details = (policy: Policy.Policy<Policy.Tagged>) =>
      /<br\/>(.*)"/.exec(Flow.toMermaid(Flow.make("f", [number("n", Effect.succeed, policy).to()]), { policies: true }))
        ?.[1]
    assert.strictEqual(details({ retry: Schedule.forever }), "tries for ever")
    assert.strictEqual(
      details({ retry: Schedule.recurs(2), retryWhile: () => true }),
      "3 attempts, retries some errors only"
    )
    assert.strictEqual(details({ validate: "none", concurrency: 1 }), "1 at once, not validated")
    assert.strictEqual(details({ validate: "input" }), "validates input only")
    assert.isUndefined(details({}))
    const each = Node.forEach(number("n", Effect.succeed, { timeout: "2 seconds" }), { concurrency: 3 })
    assert.include(
      Flow.toGraphViz(Flow.make("f", [each.to()]), { policies: true }),
      "n × each\\n3 items at once, each item: timeout 2 s"
    )
  })
})
