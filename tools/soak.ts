/**
 * Load that goes on: how much heap a trace leaves behind, in a process of its own.
 *
 *     node --conditions=source --expose-gc tools/soak.ts [scenario…] [--times 1]
 *
 * One line of JSON for each scenario, with the bytes that one trace (or flow, or deadline) leaves behind. `--times 10`
 * runs each ten times as long. Ends with 1 where a scenario left more than it may, an entry, or a wrong outcome.
 */
import { Effect, Exit, Schema, type Scope } from "effect"
import { parseArgs } from "node:util"
import { Flow, FlowObserver, FlowRuntime, Join, Node, Router } from "penguiflow"

class Oops extends Schema.TaggedError<Oops>()("Oops", { n: Schema.Number }) {}

interface Scenario {
  /** How often `one` runs in each of the measured blocks. */
  readonly block: number
  /** Bytes that one may leave behind. */
  readonly limit: number
  readonly make: Effect.Effect<
    {
      readonly one: (i: number) => Effect.Effect<unknown>
      /** What went wrong, once all have run. */
      readonly check?: Effect.Effect<ReadonlyArray<string>>
    },
    never,
    Scope.Scope
  >
}

const node = <E extends { readonly _tag: string } = never>(
  name: string,
  run: (n: number) => Effect.Effect<number, E>,
  policy = {}
) => Node.make(name, { input: Schema.Number, output: Schema.Number, policy, run })
const id = (name: string) => node(name, (n) => Effect.as(Effect.yieldNow, n))
const nothingOpen = (runtime: { readonly open: Effect.Effect<number> }) =>
  Effect.map(runtime.open, (open) => open === 0 ? [] : [`${open} traces are still open`])

const scenarios: { readonly [name: string]: Scenario } = {
  /** 85 % succeed, 10 % fail, 5 % are cancelled. */
  mixed: {
    block: 40_000,
    limit: 20,
    make: Effect.gen(function*() {
      const a = node("a", (n) => {
        const kind = n % 20
        if (kind < 2) return Effect.andThen(Effect.yieldNow, Effect.fail(new Oops({ n })))
        if (kind === 2) return Effect.never
        return n % 2 === 0 ? Effect.as(Effect.yieldNow, n) : Effect.sync(() => n)
      })
      const runtime = yield* FlowRuntime.make(Flow.make("mixed", [a.to(node("b", (n) => Effect.succeed(n)))] as const))
      const ends = { ok: 0, failed: 0, cancelled: 0, sent: 0 }
      return {
        one: (i) =>
          Effect.gen(function*() {
            const traceId = yield* Effect.orDie(runtime.emit(i))
            ends.sent++
            if (i % 20 === 2) yield* runtime.cancel(traceId)
            const { exit } = yield* Effect.orDie(runtime.fetch)
            if (Exit.isSuccess(exit)) ends.ok++
            else if (JSON.stringify(exit.cause).includes("Oops")) ends.failed++
            else ends.cancelled++
          }),
        check: Effect.map(nothingOpen(runtime), (faults) => {
          const { cancelled, failed, ok, sent } = ends
          const right = ok === sent * 0.85 && failed === sent * 0.1 && cancelled === sent * 0.05
          return right ? faults : [...faults, `the outcomes are ${JSON.stringify(ends)}`]
        })
      }
    })
  },
  /** A flow built, run once and dropped. */
  flows: {
    block: 2500,
    limit: 200,
    make: Effect.succeed({
      one: (i) => {
        const flow = Flow.make(`f${i}`, [node(`a${i}`, (n) => Effect.succeed(n)).to(id(`b${i}`))])
        return Effect.orDie(Flow.run(flow, i))
      }
    })
  },
  /** A runtime with an observer, made, used and closed. */
  runtimes: {
    block: 1700,
    limit: 200,
    make: Effect.succeed({
      one: (i) =>
        Effect.gen(function*() {
          const runtime = yield* FlowRuntime.make(Flow.make("f", [id("a").to(id("b"))]))
          yield* Effect.orDie(runtime.run(i))
          yield* Effect.orDie(runtime.emit(i))
        }).pipe(
          Effect.scoped,
          Effect.provide(FlowObserver.layer({ name: "o", observe: () => Effect.void }), { local: true })
        )
    })
  },
  /** A deadline and a timeout set and cleared. */
  timers: {
    block: 40_000,
    limit: 20,
    make: Effect.gen(function*() {
      const runtime = yield* FlowRuntime.make(
        Flow.make("f", [node("a", (n) => Effect.as(Effect.yieldNow, n), { timeout: 60_000 }).to()])
      )
      return {
        one: (i) => Effect.orDie(runtime.run(i, { deadline: 60_000 })),
        check: nothingOpen(runtime)
      }
    })
  },
  /** Joins that get one of their two inputs. */
  halves: {
    block: 20_000,
    limit: 20,
    make: Effect.gen(function*() {
      const join = Join.all("join", { x: Schema.Number, y: Schema.Number })
      const half = Router.make("half", { input: Schema.Number, cases: ["x", "y"], decide: () => "x" as const })
      const runtime = yield* FlowRuntime.make(Flow.make("f", [half.to(join.in), join.to()]))
      let incomplete = 0
      let sent = 0
      return {
        one: (i) =>
          Effect.map(Effect.exit(runtime.run(i)), (exit) => {
            sent++
            if (JSON.stringify(exit).includes("JoinIncomplete")) incomplete++
          }),
        check: Effect.map(
          nothingOpen(runtime),
          (faults) => incomplete === sent ? faults : [...faults, `${sent - incomplete} were not JOIN_INCOMPLETE`]
        )
      }
    })
  },
  /** Messages of which each sends the next, from its own node. */
  relay: {
    block: 10_000,
    limit: 20,
    make: Effect.gen(function*() {
      const runtime: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
        Flow.make("f", [
          node("a", (n) => Effect.as(Effect.andThen(Effect.yieldNow, Effect.orDie(runtime.emit(n + 1))), n)).to()
        ])
      )
      yield* Effect.orDie(runtime.emit(0))
      return { one: () => Effect.orDie(runtime.fetch) }
    })
  },
  /** The same from a fiber that has left its trace. */
  relayDetached: {
    block: 5000,
    limit: 20,
    make: Effect.gen(function*() {
      const runtime: FlowRuntime.FlowRuntime<number, number, never, never> = yield* FlowRuntime.make(
        Flow.make("f", [
          node("a", (n) =>
            Effect.as(
              Effect.forkDetach(
                Effect.yieldNow.pipe(
                  Effect.andThen(Effect.yieldNow),
                  Effect.andThen(Effect.exit(runtime.emit(n + 1)))
                )
              ),
              n
            )).to()
        ])
      )
      yield* Effect.orDie(runtime.emit(0))
      return { one: () => Effect.orDie(runtime.fetch) }
    })
  }
}

const collect = globalThis.gc
if (collect === undefined) {
  process.stderr.write("soak measures the heap: run it with --expose-gc\n")
  process.exit(2)
}
const heap = Effect.promise(async () => {
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 2))
    collect()
  }
  return process.memoryUsage().heapUsed
})

const blocks = 5

const measure = (name: string, { block, limit, make }: Scenario, times: number) =>
  Effect.scoped(Effect.gen(function*() {
    const { check, one } = yield* make
    let i = 0
    const run = (count: number) => {
      const end = i + count
      return Effect.whileLoop({ while: () => i < end, body: () => one(i++), step: () => {} })
    }
    // Twice: what the first round compiles and caches is not what a trace leaves behind.
    yield* run(block * times)
    yield* heap
    const from = performance.now()
    const heaps = [yield* heap]
    for (let round = 0; round < blocks; round++) {
      yield* run(block * times)
      heaps.push(yield* heap)
    }
    const ms = performance.now() - from
    const slopes = heaps.slice(1).map((after, at) => (after - heaps[at]!) / (block * times)).sort((a, b) => a - b)
    const bytes = slopes[Math.floor(blocks / 2)]!
    const faults = [...(check === undefined ? [] : yield* check)]
    if (bytes > limit) faults.push(`each left ${bytes.toFixed(1)} bytes behind, and may leave ${limit}`)
    const count = i
    process.stdout.write(
      `${
        JSON.stringify({
          scenario: name,
          count,
          bytes: Number(bytes.toFixed(2)),
          limit,
          microseconds: Number((1000 * ms / (block * times * blocks)).toFixed(2)),
          heapMb: Math.round(heaps[blocks]! / 1e6),
          faults
        })
      }\n`
    )
    return faults.length === 0
  }))

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { times: { type: "string", default: "1" } }
})
const wanted = positionals.length === 0 ? Object.keys(scenarios) : positionals
const times = Number(values.times)
const unknown = wanted.filter((name) => !Object.hasOwn(scenarios, name))
if (unknown.length > 0 || !(times > 0)) {
  process.stderr.write(`usage: soak.ts [${Object.keys(scenarios).join("|")}]… [--times n]\n`)
  process.exit(2)
}
let good = true
for (const name of wanted) good = await Effect.runPromise(measure(name, scenarios[name]!, times)) && good
process.exit(good ? 0 : 1)
