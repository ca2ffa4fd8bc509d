/** Flows of every shape that a picture can have, hostile ones among them. */
import { Effect, Schedule, Schema } from "effect"
import { Flow, Join, Loop, Node, Router } from "penguiflow"
import { number } from "./nodes.ts"

const step = (name: string) => number(name, Effect.succeed)

export const hostileNames: ReadonlyArray<string> = [
  "<script>globalThis.__xss=1</script>",
  "<img src=x onerror='globalThis.__xss=1'>",
  "\"] --> n9; click n0 \"javascript:alert(1)\"",
  "`$(x)` \\ {b} 'c' %% &amp; &#60; #35; $$x^2$$ fa:fa-car",
  "two\nlines\tand\r\nmore",
  "\u0000\u0008\u001b[31m\ud800",
  "שלום עולם",
  "\u202eevil\u202c مرحبا",
  "🐧👩‍👩‍👧‍👦❤️",
  "漢字かな한글",
  "ЩЩЩЩЩЩЖЖЖЖЖЖ",
  "𒐫𒐫𒐫﷽﷽﷽⟿⟿⟿",
  "W".repeat(300),
  "end",
  "1. first",
  "- item",
  "# head ## *a* __b__ ~~c~~ [d](http://e.example) f@{ shape: rect }:::g",
  "---",
  "https://example.org/x?y=z&amp;w",
  "%%{init: {'theme':'dark'}}%%",
  "   "
]

/** As the example of the README has it. */
const readme = () => {
  const City = Schema.String
  const clean = Node.make("clean", { input: City, output: City, run: (city) => Effect.succeed(city.trim()) })
  const slogan = Node.make("slogan", { input: City, output: City, run: (city) => Effect.succeed(`Visit ${city}`) })
  const weather = Node.make("weather", {
    input: City,
    output: Schema.Number,
    policy: { retry: Schedule.recurs(3), timeout: "2 seconds" },
    run: () => Effect.succeed(21)
  })
  const both = Join.all("both", { celsius: Schema.Number, slogan: Schema.String })
  return Flow.make("trip", [
    clean.to(weather, slogan),
    weather.to(both.in.celsius),
    slogan.to(both.in.slogan),
    both.to()
  ])
}

export const trip = readme()

class Busy extends Schema.TaggedError<Busy>()("Busy", { after: Schema.Number }) {}
class Gone extends Schema.TaggedError<Gone>()("Gone", {}) {}

/** A router, a join, a loop, a forEach, subflows in subflows, policies and errors. */
const everything = () => {
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
  const patient = Node.make("patient", {
    input: Schema.Number,
    output: Schema.Number,
    error: Schema.Union([Busy, Gone]),
    policy: {
      timeout: "1 second",
      retry: Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 2 })),
      concurrency: 4
    },
    run: (n) => n === 0 ? Effect.fail(new Gone()) : Effect.succeed(n)
  })
  const deep = Node.fromFlow(Flow.make("deep", [patient.to(step("v"), step("w"))]))
  const inner = Node.fromFlow(Flow.make("inner", [step("x").to(step("y"), deep)]))
  const merge = Node.make("merge", {
    input: Schema.Struct({ a: Schema.Number, b: Schema.Number }),
    output: Schema.Array(Schema.Number),
    run: ({ a, b }) => Effect.succeed([a, b])
  })
  const [a, b] = [step("a"), step("b")]
  return Flow.make("everything", [
    step("start").to(route, a, b),
    route.to({ low: loop, high: inner }),
    a.to(pair.in.a),
    b.to(pair.in.b),
    pair.to(merge),
    merge.to(Node.forEach(step("square"), { concurrency: 4 }))
  ])
}

export const all = everything()

/** Every pair of nodes that can be joined by two edges, and edges that lead back. */
const circles = () => {
  const route = Router.make("route", {
    input: Schema.Number,
    cases: ["one", "two", "back", "itself"],
    decide: () => "one"
  })
  const [start, next, last] = [step("start"), step("next"), step("last")]
  return Flow.make(
    "circles",
    [start.to(next), next.to(route, next), route.to({ one: last, two: last, back: next, itself: route })],
    { maxHops: 5 }
  )
}

const parts = Flow.make("parts", [
  step("a").to(step("b")),
  step("c").to(),
  step("d").to(step("e"), Node.fromFlow(Flow.make("alone", [step("x").to()])))
])

const narrow = Flow.make("narrow", [
  step("a").to(Node.named(
    Node.withPolicy(Node.fromFlow(Flow.make("s", [step("x").to()])), { timeout: "2 seconds", concurrency: 3 }),
    "a subflow whose name is much longer than all that is inside of it"
  ))
])

const eachFlow = Flow.make("each", [
  Node.forEach(Node.fromFlow(Flow.make("item", [step("x").to(step("y"), step("z"))])), { concurrency: 2 }).to()
])

/** A router that messages enter at, a join that collects, and one that results leave at. */
const edges = () => {
  const route = Router.make("first", { input: Schema.Number, cases: ["", "b"], decide: () => "b" as const })
  const collected = Join.collect("collected", { item: Schema.Number, count: 2 })
  return Flow.make("edges", [route.to({ "": step("x"), b: collected }), collected.to()])
}

const hostileFlow = () => {
  const [first, ...rest] = hostileNames.map(step)
  return Flow.make(hostileNames[0]!, [
    first!.to(...rest),
    ...rest.map((node, at) =>
      node.to(Node.named(Node.fromFlow(Flow.make("inner", [step(`${node.name} ${at}`).to()])), `${node.name} `))
    )
  ], { description: hostileNames.join(" ") })
}

export const hostile = hostileFlow()

const wide = Flow.make("wide", [step("from").to(...Array.from({ length: 200 }, (_, n) => step(`to ${n}`)))])

const chainOf = (length: number) => {
  const nodes = Array.from({ length }, (_, n) => step(`node ${n}`))
  return Flow.make(
    "long",
    nodes.slice(1).map((node, at) => nodes[at]!.to(node))
  )
}

export const long = chainOf(500)
export const tooLong = () => chainOf(5000)

const nestedFlow = (): Flow.Any => {
  let flow = Flow.make("level", [step("a").to(step("b"))])
  for (let level = 1; level < 8; level++) {
    flow = Flow.make("level", [step("a").to(Node.fromFlow(flow), step("b"))])
  }
  return flow
}

/** A flow of numbers, subflows in it and edges that lead back, as its seed has it. */
export const random = (seed: number): Flow.Any => {
  let state = seed
  const next = (below: number): number => {
    state = state * 48271 % 2147483647
    return state % below
  }
  const flowOf = (name: string, depth: number, size: number): Flow.Flow<string, number, number> => {
    const nodes = Array.from({ length: size }, (_, n): Node.Node<string, number, number> => {
      const own = `${name}${n}${"x".repeat(next(4) === 0 ? next(30) : 0)}`
      return depth > 0 && next(4) === 0
        ? Node.named(Node.fromFlow(flowOf(`${own}.`, depth - 1, 1 + next(5))), own)
        : step(own)
    })
    const targets = nodes.map(() => new Set<Node.Node<string, number, number>>())
    for (let at = 1; at < size; at++) {
      targets[Math.max(0, at - 1 - next(3))]!.add(nodes[at]!)
      if (next(4) === 0) targets[at]!.add(nodes[1 + next(size - 1)]!)
    }
    const rows = nodes.map((node, at) => node.to(...targets[at]!))
    return Flow.make(name, rows, { maxHops: 3 })
  }
  return flowOf("n", 2, 4 + next(12))
}

/** All of them, by what is special about them. */
export const flows: Readonly<Record<string, Flow.Any>> = {
  trip,
  all,
  circles: circles(),
  parts,
  narrow,
  eachFlow,
  edges: edges(),
  hostile,
  wide,
  long,
  nested: nestedFlow(),
  ...Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`random ${n}`, random(1 + 7919 * n)]))
}
