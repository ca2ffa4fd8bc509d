import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Flow, Join, Loop, Node, type Policy, Router } from "penguiflow"

const node = <const Name extends string>(
  name: Name,
  options?: { readonly policy?: Policy.Policy; readonly rerun?: Node.Rerun; readonly compensates?: boolean }
) =>
  Node.make(name, {
    input: Schema.Number,
    output: Schema.Number,
    policy: options?.policy,
    rerun: options?.rerun,
    compensate: options?.compensates === true ? () => Effect.void : undefined,
    run: (n) => Effect.succeed(n)
  })

const alone = (policy: Policy.Policy) => {
  const { nodes, worstCaseMs } = Flow.analyze(Flow.make("f", [node("a", { policy }).to()]))
  return { attempts: nodes[0]!.maxAttempts, worstCaseMs }
}

const rules = (flow: Flow.Any, options?: Flow.CheckOptions) =>
  Flow.check(flow, options).map(({ node, rule }) => node === undefined ? rule : `${rule} ${node}`)

describe("Flow.analyze", () => {
  it("one node: once, for its timeout; without one, without a bound", () => {
    assert.deepStrictEqual(alone({ timeout: "2 seconds" }), { attempts: 1, worstCaseMs: 2000 })
    assert.deepStrictEqual(alone({}), { attempts: 1, worstCaseMs: Infinity })
  })

  it("counts attempts and delays of Schedules that end after so many times", () => {
    assert.deepStrictEqual(
      alone({ timeout: 1000, retry: Schedule.recurs(3) }),
      { attempts: 4, worstCaseMs: 4000 }
    )
    const backoff = Schedule.exponential(100).pipe(Schedule.upTo({ times: 3 }))
    assert.deepStrictEqual(alone({ timeout: 1000, retry: backoff }), { attempts: 4, worstCaseMs: 4000 + 700 })
    const capped = Schedule.min([Schedule.exponential(100), Schedule.spaced(300)]).pipe(Schedule.upTo({ times: 4 }))
    assert.deepStrictEqual(alone({ timeout: 1000, retry: capped }), { attempts: 5, worstCaseMs: 5000 + 900 })
  })

  it("bounds a jittered Schedule by its longest delays", () => {
    const jittered = Schedule.spaced(1000).pipe(Schedule.jittered, Schedule.upTo({ times: 3 }))
    const { attempts, worstCaseMs } = alone({ timeout: 100, retry: jittered })
    assert.strictEqual(attempts, 4)
    assert.closeTo(worstCaseMs, 400 + 3 * 1200, 1)
  })

  it("bounds a Schedule that ends after a duration: by quick failures their number, by late ones their time", () => {
    const until = Schedule.spaced(100).pipe(Schedule.upTo({ duration: 1000 }))
    const { attempts, worstCaseMs } = alone({ timeout: 500, retry: until })
    // Failures at once are seen at 0, 100, …, 1000; the latest is seen just before 1000 and followed by one attempt.
    assert.isAtLeast(attempts, 11)
    assert.isAtMost(attempts, 12)
    assert.isAtLeast(worstCaseMs, 500 + 1000 + 100 + 500 - 1)
    assert.isAtMost(worstCaseMs, 500 + 1000 + 100 + 500 + 1)
  })

  it("says Infinity for what does not end, and is done at once with it", () => {
    assert.deepStrictEqual(alone({ timeout: 10, retry: Schedule.spaced(10) }), {
      attempts: Infinity,
      worstCaseMs: Infinity
    })
    assert.deepStrictEqual(alone({ timeout: 10, retry: Schedule.exponential(1) }).attempts, Infinity)
    // Without a pause it may try as often as it likes, but not for ever.
    const { attempts, worstCaseMs } = alone({
      timeout: 10,
      retry: Schedule.forever.pipe(Schedule.upTo({ duration: 100 }))
    })
    assert.strictEqual(attempts, Infinity)
    assert.isAtLeast(worstCaseMs, 110)
    assert.isAtMost(worstCaseMs, 150)
  })

  it.effect("no run takes longer or more attempts than it says, whatever the failures and the jitter", () =>
    Effect.gen(function*() {
      const retries = {
        jittered: Schedule.exponential(50).pipe(Schedule.jittered, Schedule.upTo({ times: 4 })),
        until: Schedule.exponential(50).pipe(Schedule.upTo({ duration: 700 })),
        "jittered until": Schedule.spaced(90).pipe(Schedule.jittered, Schedule.upTo({ duration: 500, times: 20 })),
        capped: Schedule.max([Schedule.min([Schedule.fibonacci(20), Schedule.spaced(200)]), Schedule.recurs(6)])
      }
      for (const [name, retry] of Object.entries(retries)) {
        const bound = alone({ timeout: 100, retry })
        // Attempts take anything from nothing to their timeout.
        for (const take of [0, 1, 37, 60, 99, 1000]) {
          let attempts = 0
          const flow = Flow.make("f", [
            Node.make("a", {
              input: Schema.Number,
              output: Schema.Number,
              policy: { timeout: 100, retry },
              run: () => Effect.suspend(() => (attempts++, Effect.delay(Effect.fail({ _tag: "No" as const }), take)))
            }).to()
          ])
          const [spent] = yield* Effect.all([
            Effect.timed(Effect.exit(Flow.run(flow, 1))),
            TestClock.adjust("1 hour")
          ], { concurrency: 2 }).pipe(Effect.map(([timed]) => timed))
          const ms = Duration.toMillis(spent)
          assert.isAtMost(ms, Math.ceil(bound.worstCaseMs) + 1, `${name}, attempts of ${take} ms`)
          assert.isAtMost(attempts, bound.attempts, `${name}, attempts of ${take} ms`)
          assert.isAbove(attempts, 1)
        }
      }
    }))

  it("finds the slowest way through branches and joins", () => {
    const slow = (name: string, ms: number) => node(name, { policy: { timeout: ms } })
    const start = slow("start", 1)
    const short = slow("short", 10)
    const long = slow("long", 20)
    const more = slow("more", 20)
    const both = Join.all("both", { short: Schema.Number, more: Schema.Number })
    const flow = Flow.make("f", [
      start.to(short, long),
      long.to(more),
      short.to(both.in.short),
      more.to(both.in.more),
      both.to()
    ])
    const { slowestWay, worstCaseMs } = Flow.analyze(flow)
    assert.deepStrictEqual(slowestWay, ["start", "long", "more", "both"])
    assert.strictEqual(worstCaseMs, 41)
  })

  it("loops and cycles count as often as they may go round", () => {
    const loop = Loop.make("loop", {
      state: Schema.Number,
      output: Schema.Number,
      maxHops: 5,
      policy: { timeout: 100, retry: Schedule.recurs(1) },
      step: (n) => Effect.succeed(Loop.done(n))
    })
    assert.strictEqual(Flow.analyze(Flow.make("f", [loop.to()])).worstCaseMs, 1000)

    const a = node("a", { policy: { timeout: 10 } })
    const b = node("b", { policy: { timeout: 20 } })
    const again = Router.make("again", { input: Schema.Number, cases: ["yes", "no"], decide: () => "no" })
    const end = node("end", { policy: { timeout: 1 } })
    const cycle = Flow.make("f", [a.to(b), b.to(again), again.to({ yes: b, no: end })], { maxHops: 3 })
    assert.strictEqual(Flow.analyze(cycle).worstCaseMs, 3 * 10 + 3 * 20 + 3 * 1)
  })

  it("looks into subflows, and a policy around one bounds it", () => {
    const inner = Flow.make("inner", [node("a", { policy: { timeout: 10 } }).to(node("b"))])
    const free = Flow.analyze(Flow.make("outer", [Node.fromFlow(inner).to()]))
    assert.strictEqual(free.worstCaseMs, Infinity)
    assert.deepStrictEqual(free.nodes.map(({ node }) => node), ["inner", "inner/a", "inner/b"])
    const guarded = Node.withPolicy(Node.fromFlow(inner), { timeout: 50, retry: Schedule.recurs(2) })
    assert.strictEqual(Flow.analyze(Flow.make("outer", [guarded.to()])).worstCaseMs, 150)
  })

  it("a forEach has no bound but that of the whole", () => {
    const each = Node.forEach(node("item", { policy: { timeout: 10 } }), { concurrency: 4 })
    assert.strictEqual(Flow.analyze(Flow.make("f", [each.to()])).worstCaseMs, Infinity)
    const bounded = Node.withPolicy(each, { timeout: 500 })
    assert.strictEqual(Flow.analyze(Flow.make("f", [bounded.to()])).worstCaseMs, 500)
  })

  it("counts the values that reach a node: branches that meet without a join multiply", () => {
    const layers = Array.from({ length: 4 }, (_, at) => [node(`l${at}`), node(`r${at}`), node(`m${at}`)] as const)
    const rows = layers.flatMap(([left, right, meet], at) => {
      const next = layers[at + 1]
      return [left.to(meet), right.to(meet), next === undefined ? meet.to() : meet.to(next[0], next[1])]
    })
    const flow = Flow.make("f", rows)
    const visits = Object.fromEntries(Flow.analyze(flow).nodes.map(({ maxVisits, node }) => [node, maxVisits]))
    assert.deepStrictEqual([visits["l0"], visits["m0"], visits["m1"], visits["m3"]], [1, 2, 4, 16])
    const gather = Join.collect("gather", { item: Schema.Number, count: 2 })
    const joined = Flow.make("f", [node("a").to(gather), node("b").to(gather), gather.to()])
    assert.strictEqual(Flow.analyze(joined).nodes.find(({ node }) => node === "gather")?.maxVisits, 1)
  })
})

describe("Flow.check", () => {
  const quick: Policy.Policy = { timeout: 100 }
  const retried: Policy.Policy = { timeout: 100, retry: Schedule.recurs(2) }

  it("finds nothing where nothing is wrong", () => {
    const flow = Flow.make("f", [
      node("read", { rerun: "pure", policy: retried }).to(node("write", { rerun: "idempotent", policy: retried }))
    ])
    assert.deepStrictEqual(Flow.check(flow, { deadline: "1 minute", jobTimeout: "1 minute", usedBy: "worker" }), [])
  })

  it("asks how a node may be run again where it is retried, or a worker or a durable flow holds it", () => {
    const of = (rerun: Node.Rerun | undefined, policy: Policy.Policy) =>
      Flow.make("f", [node("a", { ...(rerun === undefined ? {} : { rerun }), policy }).to()])
    assert.deepStrictEqual(rules(of(undefined, quick)), [])
    assert.deepStrictEqual(rules(of(undefined, retried)), ["rerun-unknown a"])
    assert.deepStrictEqual(rules(of("unsafe", retried)), ["retried-unsafe a"])
    assert.deepStrictEqual(rules(of(undefined, quick), { usedBy: "worker" }), ["rerun-unknown a"])
    assert.deepStrictEqual(rules(of("unsafe", quick), { usedBy: "durable" }), ["retried-unsafe a"])
    assert.match(Flow.check(of("unsafe", quick), { usedBy: "worker" })[0]!.message, /a worker may run it again/)
  })

  it("asks it of the nodes inside, where a subflow or a forEach is retried as a whole", () => {
    const inner = Flow.make("inner", [node("a", { policy: quick }).to(node("b", { policy: quick, rerun: "pure" }))])
    const outer = Flow.make("outer", [Node.withPolicy(Node.fromFlow(inner), retried).to()])
    assert.deepStrictEqual(rules(outer), ["rerun-unknown inner/a"])
  })

  it("a promise to compensate must be kept", () => {
    const flow = (compensates: boolean) =>
      Flow.make("f", [node("a", { rerun: "compensated", policy: quick, compensates }).to()])
    assert.deepStrictEqual(rules(flow(false)), ["nothing-compensates a"])
    assert.deepStrictEqual(rules(flow(true)), [])
  })

  it("a write before another write needs a compensation; the last one does not", () => {
    const apart = Flow.make("f", [
      node("first", { rerun: "transactional", policy: quick }).to(node("between", { rerun: "pure", policy: quick })),
      node("x", { policy: quick }).to(node("last", { rerun: "idempotent", policy: quick }))
    ])
    assert.deepStrictEqual(rules(apart), ["unconnected"])
    const first = node("first", { rerun: "transactional", policy: quick })
    const between = node("between", { rerun: "pure", policy: quick })
    const last = node("last", { rerun: "idempotent", policy: quick })
    assert.deepStrictEqual(rules(Flow.make("f", [first.to(between), between.to(last)])), ["uncompensated-write first"])
    const kept = node("first", { rerun: "transactional", policy: quick, compensates: true })
    assert.deepStrictEqual(rules(Flow.make("f", [kept.to(between), between.to(last)])), [])
  })

  it("retries must end, and the slowest way needs timeouts", () => {
    const endless = node("a", { rerun: "pure", policy: { timeout: 10, retry: Schedule.spaced(10) } })
    assert.deepStrictEqual(rules(Flow.make("f", [endless.to(node("b"))])), ["endless-retries a", "no-timeout b"])
  })

  it("a forEach needs a timeout of the whole", () => {
    const each = Node.forEach(node("item", { policy: quick }), { concurrency: 2 })
    assert.deepStrictEqual(rules(Flow.make("f", [each.to()])), ["unbounded-each item"])
    assert.deepStrictEqual(rules(Flow.make("f", [Node.withPolicy(each, quick).to()])), [])
  })

  it("branches must not multiply beyond measure", () => {
    const layers = Array.from(
      { length: 11 },
      (_, at) => [`l${at}`, `r${at}`, `m${at}`].map((name) => node(name, { policy: quick }))
    )
    const rows = layers.flatMap(([left, right, meet], at) => {
      const next = layers[at + 1]
      return [left!.to(meet!), right!.to(meet!), next === undefined ? meet!.to() : meet!.to(next[0]!, next[1]!)]
    })
    assert.deepStrictEqual(rules(Flow.make("f", rows)), ["fan-out m9"])
  })

  it("the worst case must fit into the deadline and the job timeout given", () => {
    const flow = Flow.make("f", [
      node("a", { rerun: "pure", policy: retried }).to(node("b", { rerun: "pure", policy: quick }))
    ])
    assert.deepStrictEqual(rules(flow, { deadline: 400, jobTimeout: "1 second" }), [])
    assert.deepStrictEqual(rules(flow, { deadline: 399 }), ["too-slow"])
    const [found] = Flow.check(flow, { jobTimeout: 100 })
    assert.match(found!.message, /a → b, takes 400 ms at worst, and the job timeout is 100 ms/)
    assert.deepStrictEqual(rules(Flow.make("f", [node("a").to()]), { deadline: "1 day" }), ["too-slow", "no-timeout a"])
  })

  const told = (flow: Flow.Any) =>
    Flow.check(flow, { deadline: 1000 }).filter(({ rule }) => rule === "too-slow").map(({ message }) => message)

  it("nodes that no-timeout leaves out take no time for too-slow, and have no bound in what analyze tells", () => {
    const pure = Flow.make("f", [node("start", { rerun: "pure" }).to(node("pack", { rerun: "pure" }))])
    assert.deepStrictEqual(Flow.check(pure, { deadline: 1, jobTimeout: 1 }), [])
    assert.strictEqual(Flow.analyze(pure).worstCaseMs, Infinity)
    // A timeout says how long it may take, and retries what it may fail with.
    assert.deepStrictEqual(
      rules(Flow.make("f", [node("a", { rerun: "pure", policy: quick }).to()]), { deadline: 99 }),
      ["too-slow"]
    )
    const again = node("a", { rerun: "pure", policy: { retry: Schedule.recurs(1) } })
    assert.deepStrictEqual(rules(Flow.make("f", [again.to()]), { deadline: "1 day" }), ["too-slow", "no-timeout a"])
    const each = Node.forEach(node("item", { rerun: "pure" }), { concurrency: 2 })
    assert.deepStrictEqual(rules(Flow.make("f", [each.to()]), { deadline: 1 }), [])
  })

  it("the slowest way is looked for among what waits: pure nodes without a timeout hide no other way", () => {
    const start = node("start", { rerun: "pure" })
    const pure = node("pure", { rerun: "pure" })
    const flow = Flow.make("f", [start.to(pure, node("ask")), pure.to(node("more", { rerun: "pure" }))])
    assert.deepStrictEqual(rules(flow), ["no-timeout ask"])
  })

  it("a way without a bound names the nodes that have none, and says what to do", () => {
    assert.deepStrictEqual(told(Flow.make("f", [node("a", { rerun: "pure" }).to(node("b"))])), [
      "The slowest way, a → b, has no bound, for \"b\" has no timeout, and the deadline is 1000 ms: " +
      "give it a policy with a timeout"
    ])
    const inner = Flow.make("inner", [node("x", { policy: quick }).to(node("y"))])
    const each = Node.forEach(node("item", { policy: quick }), { concurrency: 2 })
    const endless = node("endless", { policy: { timeout: 10, retry: Schedule.spaced(10) } })
    const sub = Node.withPolicy(Node.fromFlow(inner), { retry: Schedule.recurs(1) })
    assert.deepStrictEqual(told(Flow.make("f", [sub.to(endless), endless.to()])), [
      "The slowest way, inner → endless, has no bound, for \"inner/y\" has no timeout, and the retries of \"endless\" never " +
      "end, and the deadline is 1000 ms: give it a policy with a timeout, and bound the retries with Schedule.upTo"
    ])
    assert.match(told(Flow.make("f", [each.to()]))[0]!, /, for "item" has no timeout, /)
    assert.match(
      told(Flow.make("f", [node("a").to(node("b"))]))[0]!,
      /, for "a" and "b" have no timeout, .*: give each of/
    )
  })
})
