import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Schedule, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Node, Router, Trace } from "penguiflow"
import { codeOf, gauge, start } from "./utils/effects.ts"
import { add, Bad, failing, late, never, number } from "./utils/nodes.ts"

class Person extends Schema.Class<Person>("Person")({ name: Schema.String, age: Schema.Number }) {}
class Team extends Schema.Class<Team>("Team")({ lead: Person, all: Schema.Array(Person) }) {}

describe("Node.make", () => {
  it.effect("a flow of one node gives what the node makes of the input", () =>
    Effect.gen(function*() {
      const upper = Node.make("upper", {
        input: Schema.String,
        output: Schema.String,
        run: (text) => Effect.succeed(text.toUpperCase())
      })
      assert.strictEqual(yield* Flow.run(Flow.make("f", [upper.to()]), "penguin"), "PENGUIN")
    }))

  it.effect("what compiles runs: a class accepts whatever has its fields, nested ones too", () =>
    Effect.gen(function*() {
      const count = Node.make("count", {
        input: Team,
        output: Person,
        run: (team) => Effect.succeed({ name: team.lead.name, age: team.all.length })
      })
      const name = Node.make("name", { input: Person, output: Schema.String, run: ({ name }) => Effect.succeed(name) })
      const flow = Flow.make("f", [count.to(name)])
      const ada = { name: "Ada", age: 36 }
      assert.strictEqual(yield* Flow.run(flow, { lead: ada, all: [ada, new Person({ name: "Bob", age: 1 })] }), "Ada")
      assert.strictEqual(yield* Flow.run(flow, new Team({ lead: new Person(ada), all: [] })), "Ada")
      const bad = { lead: ada, all: [{ name: "Bob", age: "old" }] } as never
      const error = yield* Effect.flip(Flow.run(flow, bad))
      assert.strictEqual(error.code, "INVALID_INPUT")
    }))

  it.effect("values are shared between branches, never copied", () =>
    Effect.gen(function*() {
      const Big = Schema.Struct({ n: Schema.Number })
      const same = (name: string) => Node.make(name, { input: Big, output: Big, run: Effect.succeed })
      const flow = Flow.make("f", [same("a").to(same("b"), same("c"))])
      const runtime = yield* FlowRuntime.make(flow)
      const input = { n: 1 }
      const results = yield* runtime.runAll(input)
      assert.isTrue(results.every((result) => result === input))
      assert.strictEqual(results.length, 2)
    }))

  it.effect("an input that does not fit fails before the node runs, and the error says where but not what", () =>
    Effect.gen(function*() {
      let calls = 0
      const login = Node.make("login", {
        input: Schema.Struct({ user: Schema.String, pin: Schema.Number }),
        output: Schema.Number,
        run: ({ pin }) => Effect.sync(() => (calls++, pin))
      })
      const input = { user: "ada", pin: "s3cr3t-pin" } as never
      const error = yield* Effect.flip(Flow.run(Flow.make("f", [login.to()]), input))
      assert.strictEqual(error.code, "INVALID_INPUT")
      assert.strictEqual(error.node, "login")
      assert.strictEqual(calls, 0)
      const said = JSON.stringify([error, error.message, error.reason, String(error)])
      assert.include(said, "pin")
      assert.notInclude(said, "s3cr3t")
    }))

  it.effect("an output that does not fit reaches no other node, and the error does not show it", () =>
    Effect.gen(function*() {
      let reached = 0
      const leak = Node.make("leak", {
        input: Schema.Number,
        output: Schema.Struct({ token: Schema.Literals(["a", "b"]) }),
        run: () => Effect.succeed({ token: "s3cr3t-token" } as never)
      })
      const next = Node.make("next", {
        input: Schema.Unknown,
        output: Schema.Number,
        run: () => Effect.sync(() => ++reached)
      })
      const error = yield* Effect.flip(Flow.run(Flow.make("f", [leak.to(next)]), 1))
      assert.strictEqual(error.code, "INVALID_OUTPUT")
      assert.strictEqual(error.node, "leak")
      assert.strictEqual(reached, 0)
      assert.notInclude(JSON.stringify([error, error.message, error.reason, String(error)]), "s3cr3t")
    }))

  it.effect("its own error stays what it is, and is caught by its tag", () =>
    Effect.gen(function*() {
      const answer = yield* Flow.run(Flow.make("f", [failing("bad").to(add("next", 1))]), 7).pipe(
        Effect.catchTag("Bad", (error) => Effect.succeed(error.n * 10))
      )
      assert.strictEqual(answer, 70)
    }))

  it.effect("a defect, a throw and a rejected promise are NODE_EXCEPTION with the original inside, and harm no other trace", () =>
    Effect.gen(function*() {
      const original = new Error("the original")
      const run = (n: number) => {
        if (n === 1) throw original
        return n === 2
          ? Effect.die(original)
          : n === 3
          ? Effect.promise(() => Promise.reject(original))
          : Effect.succeed(n)
      }
      const runtime = yield* FlowRuntime.make(Flow.make("f", [number("node", run).to()]))
      const waiting = yield* start(runtime.run(0))
      for (const n of [1, 2, 3]) {
        const error = yield* Effect.flip(runtime.run(n))
        assert.strictEqual(error.code, "NODE_EXCEPTION")
        assert.strictEqual(error.node, "node")
        assert.strictEqual(error.reason._tag === "NodeDied" && error.reason.defect, original)
        assert.include(error.message, "the original")
      }
      assert.strictEqual(yield* Fiber.join(waiting), 0)
      assert.strictEqual(yield* runtime.run(4), 4)
    }))

  it.effect("a node that interrupts itself, or whose sub-task is interrupted, is NODE_EXCEPTION and not a cancelled trace", () =>
    Effect.gen(function*() {
      const subTask = Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(Effect.never)
        yield* Fiber.interrupt(fiber)
        return yield* Fiber.join(fiber)
      })
      const flow = Flow.make("f", [
        number("node", (n) => n === 1 ? Effect.interrupt : n === 2 ? subTask : Effect.succeed(n)).to()
      ])
      const runtime = yield* FlowRuntime.make(flow)
      assert.strictEqual(yield* codeOf(runtime.run(1)), "NODE_EXCEPTION")
      assert.strictEqual(yield* codeOf(runtime.run(2)), "NODE_EXCEPTION")
      assert.strictEqual(yield* runtime.run(3), 3)
    }))

  it.effect("an error whose message can't be read fails the trace and not the runtime", () =>
    Effect.gen(function*() {
      const hostile = {
        get message(): string {
          throw new Error("unreadable")
        },
        get _tag(): string {
          throw new Error("unreadable")
        }
      }
      const flow = Flow.make("f", [
        number("node", (n) => n === 1 ? Effect.die(hostile) : n === 2 ? Effect.fail(hostile) : Effect.succeed(n)).to()
      ])
      const runtime = yield* FlowRuntime.make(flow)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(runtime.run(1))))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(runtime.run(2))))
      assert.strictEqual(yield* runtime.run(3), 3)
    }))

  it.effect("a defect of ten megabytes is cut in the message, and is there whole in the reason", () =>
    Effect.gen(function*() {
      const flow = Flow.make("f", [number("node", () => Effect.die(new Error("x".repeat(10_000_000)))).to()])
      const error = yield* Effect.flip(Flow.run(flow, 1))
      assert.isBelow(error.message.length, 10_000)
    }))

  it.effect("services come from where the runtime was made", () =>
    Effect.gen(function*() {
      class Factor extends Context.Service<Factor, number>()("test/Factor") {}
      const times = number("times", (n) => Factor.useSync((factor) => n * factor))
      const runtime = yield* Effect.provideService(FlowRuntime.make(Flow.make("f", [times.to()])), Factor, 3)
      assert.strictEqual(yield* Effect.provideService(runtime.run(2), Factor, 100), 6)
    }))
})

describe("the scope of an attempt", () => {
  const resource = <const Name extends string>(name: Name, told: Array<string>) =>
    number(name, (n) =>
      Effect.as(
        Effect.acquireRelease(
          Effect.sync(() => told.push(`acquire ${name}`)),
          (_, exit) => Effect.sync(() => told.push(`release ${name} ${exit._tag}`))
        ),
        n
      ))

  it.effect("ends with the attempt: what a node acquires is released before the next node runs", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      yield* Flow.run(Flow.make("chain", [resource("a", told).to(resource("b", told))]), 1)
      assert.deepStrictEqual(told, ["acquire a", "release a Success", "acquire b", "release b Success"])
    }))

  it.effect("each attempt has its own, and learns how the attempt ended", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const node = number(
        "node",
        (n, { attempt }) =>
          Effect.andThen(
            Effect.acquireRelease(Effect.void, (_, exit) => Effect.sync(() => told.push(`${attempt} ${exit._tag}`))),
            attempt < 3 ? Effect.fail(new Bad({ n })) : Effect.succeed(n)
          ),
        { retry: Schedule.recurs(5) }
      )
      yield* Flow.run(Flow.make("f", [node.to()]), 1)
      assert.deepStrictEqual(told, ["1 Failure", "2 Failure", "3 Success"])
    }))

  it.effect("is closed before the outcome stands, when the attempt fails or is cancelled", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const node = number("node", (n) =>
        Effect.andThen(
          Effect.acquireRelease(Effect.void, () =>
            Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => told.push("released")))),
          n === 0 ? Effect.fail(new Bad({ n })) : Effect.never
        ))
      const runtime = yield* FlowRuntime.make(Flow.make("f", [node.to()]))
      const failed = yield* start(Effect.tapError(runtime.run(0), () => Effect.sync(() => told.push("failed"))))
      yield* TestClock.adjust("1 second")
      yield* Fiber.await(failed)
      const running = yield* start(runtime.run(1, { traceId: "t" }))
      const cancel = yield* start(Effect.tap(runtime.cancel("t"), () => Effect.sync(() => told.push("cancelled"))))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(cancel)
      yield* Fiber.await(running)
      assert.deepStrictEqual(told, ["released", "failed", "released", "cancelled"])
    }))

  it.effect("a branch's scope is its own: a sibling's end does not close it", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const hold = (name: string, millis: number) =>
        number(name, (n) =>
          Effect.gen(function*() {
            yield* Effect.acquireRelease(Effect.void, () => Effect.sync(() => told.push(`release ${name}`)))
            yield* Effect.sleep(millis)
            told.push(`end ${name}`)
            return n
          }))
      const flow = Flow.make("f", [add("start", 0).to(hold("short", 10), hold("long", 20))])
      const runtime = yield* FlowRuntime.make(flow)
      const fiber = yield* start(runtime.runAll(1))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(told, ["end short", "release short", "end long", "release long"])
    }))

  it.effect("a finalizer that dies fails the trace, naming its node", () =>
    Effect.gen(function*() {
      const node = number(
        "node",
        (n) => Effect.as(Effect.acquireRelease(Effect.void, () => Effect.die("finalizer")), n)
      )
      const error = yield* Effect.flip(Flow.run(Flow.make("f", [node.to(add("next", 1))]), 1))
      assert.strictEqual(error.code, "NODE_EXCEPTION")
      assert.strictEqual(error.node, "node")
    }))
})

describe("Node.forEach", () => {
  it.effect("gives the results in the order of the items, whatever order they end in", () =>
    Effect.gen(function*() {
      const { inside, state } = gauge()
      const item = number("item", (n) => inside(Effect.as(Effect.sleep(100 - n * 10), n * 2)))
      const flow = Flow.make("f", [Node.forEach(item, { concurrency: 3 }).to()])
      const fiber = yield* start(Flow.run(flow, [1, 2, 3, 4, 5]))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [2, 4, 6, 8, 10])
      assert.strictEqual(state.most, 3)
    }))

  it.effect("no items, no runs, an empty result", () =>
    Effect.gen(function*() {
      const flow = Flow.make("f", [Node.forEach(failing("item"), { concurrency: 3 }).to()])
      assert.deepStrictEqual(yield* Flow.run(flow, []), [])
    }))

  it.effect("the first failure stops the items that run and begins no further one", () =>
    Effect.gen(function*() {
      const { inside, state } = gauge()
      let stopped = 0
      const item = number("item", (n) =>
        inside(
          n === 3
            ? Effect.andThen(Effect.sleep("10 millis"), Effect.fail(new Bad({ n })))
            : Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++))
        ))
      const flow = Flow.make("f", [Node.forEach(item, { concurrency: 4 }).to()])
      const fiber = yield* start(Flow.run(flow, Array.from({ length: 40 }, (_, i) => i)))
      yield* TestClock.adjust("10 millis")
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "Bad")
      assert.deepStrictEqual({ ...state, stopped }, { now: 0, most: 4, entered: 4, stopped: 3 })
    }))

  it.effect("the node's policy guards each item, a policy on the whole guards the whole", () =>
    Effect.gen(function*() {
      const calls = new Map<number, number>()
      const item = number("item", (n) =>
        Effect.suspend(() => {
          const count = (calls.get(n) ?? 0) + 1
          calls.set(n, count)
          return n === 2 && count < 3 ? Effect.fail(new Bad({ n })) : Effect.succeed(n)
        }), { retry: Schedule.recurs(1) })
      const each = Node.forEach(item, { concurrency: 1 })
      assert.strictEqual(yield* codeOf(Flow.run(Flow.make("f", [each.to()]), [1, 2])), "Bad")
      assert.deepStrictEqual([...calls], [[1, 1], [2, 2]])
      calls.clear()
      const whole = Node.withPolicy(each, { retry: Schedule.recurs(1) })
      assert.deepStrictEqual(yield* Flow.run(Flow.make("f", [whole.to()]), [1, 2]), [1, 2])
      assert.deepStrictEqual([...calls], [[1, 2], [2, 3]])
    }))

  it.effect("an item that does not fit fails the trace before that item runs", () =>
    Effect.gen(function*() {
      const flow = Flow.make("f", [Node.forEach(add("item", 1), { concurrency: 2 }).to()])
      assert.strictEqual(yield* codeOf(Flow.run(flow, [1, "2" as never])), "INVALID_INPUT")
      assert.strictEqual(yield* codeOf(Flow.run(flow, "12" as never)), "INVALID_INPUT")
    }))

  it.effect("over a subflow wants one result for each item", () =>
    Effect.gen(function*() {
      const two = Flow.make("two", [add("a", 0).to(add("b", 1), add("c", 2))])
      const flow = Flow.make("f", [Node.forEach(Node.fromFlow(two), { concurrency: 2 }).to()])
      const error = yield* Effect.flip(Flow.run(flow, [1]))
      assert.deepStrictEqual(error.reason, { _tag: "ManyResults", count: 2 })
    }))

  it.effect("inside forEach inside forEach keeps every order", () =>
    Effect.gen(function*() {
      const inner = Node.forEach(number("n", (n) => Effect.as(Effect.sleep(10 - n % 10), n)), { concurrency: 2 })
      const outer = Flow.make("f", [Node.forEach(inner, { concurrency: 2 }).to()])
      const input = [[1, 2, 3], [], [4], [5, 6, 7, 8]]
      const fiber = yield* start(Flow.run(outer, input))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), input)
    }))

  it.effect("100 000 items that answer at once take no stack", () =>
    Effect.gen(function*() {
      const flow = Flow.make("f", [Node.forEach(add("item", 1), { concurrency: 8 }).to()])
      const results = yield* Flow.run(flow, Array.from({ length: 100_000 }, (_, i) => i))
      assert.strictEqual(results[99_999], 100_000)
    }))
})

describe("Node.named", () => {
  it.effect("lets a node stand twice in one flow, and each is known by its own name", () =>
    Effect.gen(function*() {
      const names: Array<string> = []
      const node = number("first", (n, { node }) => Effect.sync(() => (names.push(node), n + 1)))
      const flow = Flow.make("f", [node.to(Node.named(node, "second"))])
      assert.strictEqual(yield* Flow.run(flow, 1), 3)
      assert.deepStrictEqual(names, ["first", "second"])
    }))

  it.effect("lets a subflow stand twice in one flow", () =>
    Effect.gen(function*() {
      const names: Array<string> = []
      const inner = Node.fromFlow(
        Flow.make("inner", [number("n", (n, { node }) => Effect.sync(() => (names.push(node), n * 2))).to()])
      )
      assert.strictEqual(yield* Flow.run(Flow.make("f", [inner.to(Node.named(inner, "again"))]), 1), 4)
      assert.deepStrictEqual(names, ["inner/n", "again/n"])
    }))
})

describe("Node.fromFlow", () => {
  it.effect("runs in the same trace: the same id, headers, meta and deadline, the outer flow's name, inner/node", () =>
    Effect.gen(function*() {
      let seen: unknown
      const deep = number("deep", (n, context) =>
        Effect.map(Trace.CurrentTrace, (trace) => {
          const { deadline, flow, headers, meta, node, traceId } = context
          seen = { deadline, flow, headers, meta, node, traceId, service: [trace.traceId, trace.flow] }
          return n
        }))
      const middle = Flow.make("middle", [Node.fromFlow(Flow.make("inner", [deep.to()])).to()])
      const flow = Flow.make("outer", [Node.fromFlow(middle).to()])
      yield* Flow.run(flow, 1, {
        traceId: "t",
        headers: { tenant: "acme", topic: "birds" },
        meta: { k: 1 },
        deadline: "1 minute"
      })
      assert.deepStrictEqual(seen, {
        deadline: 60_000,
        flow: "outer",
        headers: { tenant: "acme", topic: "birds", priority: 0 },
        meta: { k: 1 },
        node: "middle/inner/deep",
        traceId: "t",
        service: ["t", "outer"]
      })
    }))

  it.effect("a subflow that gives no result ends its branch, and the others go on", () =>
    Effect.gen(function*() {
      const gate = Router.make("gate", {
        input: Schema.Number,
        cases: ["pass"],
        decide: (n) => n > 0 ? "pass" : []
      })
      const inner = Flow.make("inner", [gate.to({ pass: add("a", 1) })])
      const flow = Flow.make("outer", [add("start", 0).to(Node.fromFlow(inner), add("other", 5))])
      const runtime = yield* FlowRuntime.make(flow)
      assert.deepStrictEqual(yield* runtime.runAll(0), [5])
      assert.deepStrictEqual(yield* runtime.runAll(1), [2, 6])
      const alone = Flow.make("alone", [Node.fromFlow(inner).to(add("after", 1))])
      assert.strictEqual(yield* codeOf(Flow.run(alone, 0)), "NO_RESULT")
    }))

  it.effect("sends each of several results on", () =>
    Effect.gen(function*() {
      const inner = Flow.make("inner", [add("a", 0).to(add("b", 10), add("c", 20))])
      const flow = Flow.make("outer", [Node.fromFlow(inner).to(add("x", 1), add("y", 2))])
      const runtime = yield* FlowRuntime.make(flow)
      assert.deepStrictEqual(yield* runtime.runAll(1), [12, 22, 13, 23])
      const egress = yield* FlowRuntime.make(Flow.make("egress", [Node.fromFlow(inner).to()]))
      assert.deepStrictEqual(yield* egress.runAll(1), [11, 21])
    }))

  it.effect("an error of an inner node is the outer flow's, and says where", () =>
    Effect.gen(function*() {
      const inner = Flow.make("inner", [add("a", 1).to(failing("b"))])
      const runtime = yield* FlowRuntime.make(Flow.make("outer", [Node.fromFlow(inner).to(never("after"))]))
      yield* runtime.emit(1)
      const outcome = yield* runtime.fetch
      assert.deepStrictEqual(outcome.failedAt, { node: "inner/b", attempt: 1 })
      const error = yield* Effect.flip(outcome.exit)
      assert.strictEqual(error._tag === "Bad" && error.n, 2)
    }))

  it.effect("its policy guards the inner flow as a whole", () =>
    Effect.gen(function*() {
      let first = 0
      let second = 0
      const inner = Flow.make("inner", [
        number("a", (n) => Effect.sync(() => (first++, n))).to(
          number("b", (n) => ++second < 3 ? Effect.fail(new Bad({ n })) : Effect.succeed(n))
        )
      ])
      const flow = Flow.make("outer", [
        Node.withPolicy(Node.fromFlow(inner), { retry: Schedule.recurs(2) }).to(add("c", 1))
      ])
      assert.strictEqual(yield* Flow.run(flow, 1), 2)
      assert.deepStrictEqual([first, second], [3, 3])
    }))

  it.effect("cancelling the trace reaches the node inside a running subflow, and a later trace works", () =>
    Effect.gen(function*() {
      let stopped = 0
      const deep = number(
        "deep",
        (n) => n === 0 ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++)) : Effect.succeed(n)
      )
      const flow = Flow.make("outer", [add("a", 0).to(Node.fromFlow(Flow.make("inner", [deep.to()])))])
      const runtime = yield* FlowRuntime.make(flow)
      const fiber = yield* start(runtime.run(0, { traceId: "t" }))
      assert.isTrue(yield* runtime.cancel("t"))
      assert.strictEqual(stopped, 1)
      assert.strictEqual(yield* codeOf(Fiber.join(fiber)), "TRACE_CANCELLED")
      assert.strictEqual(yield* runtime.run(5), 5)
    }))

  it.effect("a trace that was cancelled before it began never starts its subflow", () =>
    Effect.gen(function*() {
      let started = 0
      const inner = Flow.make("inner", [number("n", (n) => Effect.sync(() => (started++, n))).to()])
      const runtime = yield* FlowRuntime.make(Flow.make("outer", [late("a", "1 second").to(Node.fromFlow(inner))]), {
        maxInFlight: 1
      })
      const first = yield* start(runtime.run(1, { traceId: "first" }))
      const second = yield* start(runtime.run(2, { traceId: "second" }))
      assert.isTrue(yield* runtime.cancel("second"))
      assert.isTrue(yield* runtime.cancel("first"))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* codeOf(Fiber.join(first)), "TRACE_CANCELLED")
      assert.strictEqual(yield* codeOf(Fiber.join(second)), "TRACE_CANCELLED")
      assert.strictEqual(started, 0)
    }))

  it.effect("inherits the services and the runtime: a subflow costs no runtime of its own", () =>
    Effect.gen(function*() {
      class Factor extends Context.Service<Factor, number>()("test/Factor") {}
      const inner = Flow.make("inner", [number("n", (n) => Factor.useSync((f) => n * f)).to()])
      const flow = Flow.make("outer", [Node.fromFlow(inner).to()])
      assert.strictEqual(yield* Effect.provideService(Flow.run(flow, 4), Factor, 5), 20)
    }))

  it.effect("each visit of a subflow counts its own hops", () =>
    Effect.gen(function*() {
      const inner = Flow.make("inner", [add("a", 1).to(add("b", 1))], { maxHops: 3 })
      const flow = Flow.make("outer", [Node.forEach(Node.fromFlow(inner), { concurrency: 1 }).to()])
      assert.deepStrictEqual(yield* Flow.run(flow, [1, 2, 3, 4, 5]), [3, 4, 5, 6, 7])
    }))
})

describe("Node.stream", () => {
  it.effect("an error after some parts is the node's, and a defect in collect is NODE_EXCEPTION", () =>
    Effect.gen(function*() {
      const make = (fails: boolean) =>
        Node.stream("s", {
          input: Schema.Number,
          part: Schema.Number,
          output: Schema.Number,
          run: (n) => fails ? Stream.concat(Stream.make(1, 2), Stream.fail(new Bad({ n }))) : Stream.make(1, 2),
          collect: () => {
            throw new Error("collect")
          }
        })
      assert.strictEqual(yield* codeOf(Flow.run(Flow.make("f", [make(true).to()]), 1)), "Bad")
      assert.strictEqual(yield* codeOf(Flow.run(Flow.make("f", [make(false).to()]), 1)), "NODE_EXCEPTION")
    }))
})

describe("what a node can't break", () => {
  it.effect("a node can't change the trace's identity: its context is not writable", () =>
    Effect.gen(function*() {
      const node = number("node", (n, context) =>
        Effect.sync(() => {
          try {
            ;(context as { traceId: string }).traceId = "stolen"
          } catch {
            // refused
          }
          return n
        }))
      const after = Node.make("after", {
        input: Schema.Number,
        output: Schema.String,
        run: (_, { traceId }) => Effect.succeed(traceId)
      })
      assert.strictEqual(yield* Flow.run(Flow.make("f", [node.to(after)]), 1, { traceId: "mine" }), "mine")
    }))

  it.effect("a failed exit never holds an interruption where a reason is known", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Flow.run(Flow.make("f", [number("n", () => Effect.interrupt).to()]), 1))
      assert.isTrue(Exit.isFailure(exit) && !Cause.hasInterrupts(exit.cause))
    }))
})
