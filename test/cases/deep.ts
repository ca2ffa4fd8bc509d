/**
 * A deep flow in a process of its own, since one that overflows the stack may take its process along.
 *
 *     node --conditions=source test/cases/deep.ts <shape> <depth>
 *
 * Prints, as a line of JSON, how a trace ended that works, one that fails at the bottom, and one that is cancelled there,
 * and whether what waited at the bottom was stopped when `cancel` returned.
 */
import { Effect, Fiber, Schedule, Schema } from "effect"
import { Flow, FlowRuntime, Join, Node, type Policy } from "penguiflow"
import { endOf, flowOf, node, Oops } from "./kit.ts"

type Bottom = ReturnType<typeof node<Oops>>

const step = (name: string) => node(name, (n) => Effect.succeed(n + 1))
const never = (error: unknown) => !(error instanceof Error)

const policies: { readonly [shape: string]: Policy.Policy } = {
  nested: {},
  timeout: { timeout: 1e6 },
  retry: { retry: Schedule.recurs(1), retryWhile: never },
  permit: { concurrency: 1 },
  all: { timeout: 1e6, retry: Schedule.recurs(1), retryWhile: never, concurrency: 1 }
}

/** Subflows within subflows, each guarded by a policy. */
const nested = (policy: Policy.Policy) => (depth: number, bottom: Bottom) => {
  let flow = flowOf<Oops>([bottom.to()])
  for (let i = 1; i < depth; i++) {
    flow = flowOf<Oops>([step("before").to(Node.withPolicy(Node.named(Node.fromFlow(flow), "inner"), policy))])
  }
  return flow
}

/** Subflows within subflows, each beside another branch. */
const fans = (depth: number, bottom: Bottom) => {
  let flow = flowOf<Oops>([bottom.to()])
  for (let i = 1; i < depth; i++) {
    const inner = Node.named(Node.fromFlow(flow), "inner")
    const beside = step("beside")
    const pair = Join.all("pair", { x: Schema.Number, y: Schema.Number })
    const first = Node.make("first", {
      input: Schema.Struct({ x: Schema.Number, y: Schema.Number }),
      output: Schema.Number,
      run: ({ x }) => Effect.succeed(x)
    })
    flow = flowOf<Oops>([
      step("before").to(inner, beside),
      inner.to(pair.in.x),
      beside.to(pair.in.y),
      pair.to(first)
    ])
  }
  return flow
}

/** Fan-outs and joins, one after the other. */
const ladder = (depth: number, bottom: Bottom) => {
  const rows: Array<unknown> = []
  let from: { to(...targets: ReadonlyArray<unknown>): unknown } = step("start") as never
  for (let i = 0; i < depth; i++) {
    const x = step(`x${i}`)
    const y = step(`y${i}`)
    const join = Join.all(`join${i}`, { x: Schema.Number, y: Schema.Number })
    const merge = Node.make(`merge${i}` as string, {
      input: Schema.Struct({ x: Schema.Number, y: Schema.Number }),
      output: Schema.Number,
      run: (pair) => Effect.succeed(Math.max(pair.x, pair.y))
    })
    rows.push(from.to(x, y), x.to(join.in.x), y.to(join.in.y), join.to(merge))
    from = merge as never
  }
  return flowOf<Oops>([...rows, from.to(bottom)])
}

const [shape = "nested", depthText = "1000"] = process.argv.slice(2)
const depth = Number(depthText)
const make = shape === "ladder" ? ladder : shape === "fans" ? fans : nested(policies[shape]!)

const report = Effect.gen(function*() {
  const run = (bottom: Bottom) => Effect.map(Effect.exit(Flow.run(make(depth, bottom), 1)), endOf)
  const works = yield* run(node<Oops>("bottom", (n) => Effect.as(Effect.yieldNow, n)))
  const fails = yield* run(node("bottom", (n) => Effect.andThen(Effect.yieldNow, Effect.fail(new Oops({ n })))))
  let reached = false
  let stopped = 0
  const waits = node<Oops>("bottom", () =>
    Effect.andThen(
      Effect.sync(() => reached = true),
      Effect.onInterrupt(Effect.never, () => Effect.sync(() => stopped++))
    ))
  const runtime = yield* FlowRuntime.make(make(depth, waits))
  const fiber = yield* Effect.forkChild(Effect.exit(runtime.run(1, { traceId: "t" })), { startImmediately: true })
  for (let i = 0; i < 1000 && !reached; i++) yield* Effect.sleep(5)
  const from = performance.now()
  yield* runtime.cancel("t")
  const ms = Math.round(performance.now() - from)
  return { works, fails, reached, stopped, cancelled: endOf(yield* Fiber.join(fiber)), open: yield* runtime.open, ms }
})
process.stdout.write(`${JSON.stringify(await Effect.runPromise(Effect.scoped(report)))}\n`)
