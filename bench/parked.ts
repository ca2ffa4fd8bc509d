/**
 * Memory: what a message costs that waits in the middle of its chain for something outside.
 *
 * Ten thousand are emitted and wait at the third of five nodes. The heap is measured before and after, each time after
 * collecting garbage, then all go on, and every result is checked.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Flow, FlowRuntime, Node, type Policy } from "penguiflow"
import { Refused } from "./byHand.ts"
import { quantile, type Row } from "./rounds.ts"
import * as Work from "./work.ts"
import { Order } from "./work.ts"

const messages = 10_000

const order = (at: number): Order => ({
  id: `order-${at}`,
  customer: `customer-${at % 7}`,
  quantity: at,
  price: at * 1.5,
  express: at % 3 === 0
})

const heap = Effect.gen(function*() {
  for (let times = 0; times < 4; times++) {
    globalThis.gc!()
    yield* Effect.sleep(5)
  }
  return process.memoryUsage().heapUsed
})

interface Side {
  readonly emit: (order: Order) => Effect.Effect<unknown, unknown>
  /** The next result. */
  readonly fetch: Effect.Effect<Order, unknown>
}

/** Lets those go on that wait. */
interface Gate {
  opened: Deferred.Deferred<void>
}
const waiting = (gate: Gate) => (order: Order): Effect.Effect<Order> =>
  Effect.andThen(Effect.suspend(() => Deferred.await(gate.opened)), Work.sync(order))

const ours = (gate: Gate, policy?: Policy.Policy) =>
  Effect.gen(function*() {
    const node = (name: string, run: (order: Order) => Effect.Effect<Order>, policy?: Policy.Policy) =>
      Node.make(name, { input: Order, output: Order, policy, run })
    const nodes = [Work.sync, Work.sync, waiting(gate), Work.sync, Work.sync]
      .map((run, at) => node(`node-${at}`, run, policy))
    const runtime = yield* FlowRuntime.make(
      Flow.make("parked", nodes.slice(1).map((next, at) => nodes[at]!.to(next))),
      { maxInFlight: messages }
    )
    const side: Side = {
      emit: (order) => runtime.emit(order),
      fetch: Effect.flatMap(runtime.fetch, ({ exit }) => Effect.map(exit, ([result]) => result!))
    }
    return side
  })

const byHand = (gate: Gate, around: (node: Effect.Effect<Order>) => Effect.Effect<Order, unknown>) =>
  Effect.gen(function*() {
    const isOrder = Schema.is(Order)
    const wait = waiting(gate)
    const results = yield* Queue.unbounded<Order>()
    const fibers = yield* FiberMap.make<string, void, unknown>()
    const prefix = globalThis.crypto.randomUUID()
    let ids = 0
    const handle = Effect.fnUntraced(function*(order: Order) {
      if (!isOrder(order)) return yield* new Refused({ node: "node-0" })
      const a = yield* around(Work.sync(order))
      if (!isOrder(a)) return yield* new Refused({ node: "node-0" })
      const b = yield* around(Work.sync(a))
      if (!isOrder(b)) return yield* new Refused({ node: "node-1" })
      const c = yield* around(wait(b))
      if (!isOrder(c)) return yield* new Refused({ node: "node-2" })
      const d = yield* around(Work.sync(c))
      if (!isOrder(d)) return yield* new Refused({ node: "node-3" })
      const e = yield* around(Work.sync(d))
      if (!isOrder(e)) return yield* new Refused({ node: "node-4" })
      Queue.offerUnsafe(results, e)
    })
    const side: Side = {
      emit: (order) => FiberMap.run(fibers, `${prefix}-${(ids++).toString(36)}`, handle(order)),
      fetch: Queue.take(results)
    }
    return side
  })

/** Bytes of one message, of so many. */
const park = (side: Side, gate: Gate, count: number) =>
  Effect.gen(function*() {
    gate.opened = Deferred.makeUnsafe<void>()
    const before = yield* heap
    for (let at = 0; at < count; at++) yield* side.emit(order(at))
    const bytes = ((yield* heap) - before) / count
    yield* Deferred.succeed(gate.opened, undefined)
    let sum = 0
    for (let at = 0; at < count; at++) sum += (yield* side.fetch).quantity
    if (sum !== count * (count - 1) / 2 + 5 * count) return yield* Effect.die(new Error("parked results are wrong"))
    return bytes
  })

const compare = (
  name: string,
  bar: number | undefined,
  makeOurs: (gate: Gate) => ReturnType<typeof ours>,
  makeOther: (gate: Gate) => ReturnType<typeof byHand>,
  rounds: number
) =>
  Effect.gen(function*() {
    const gate: Gate = { opened: Deferred.makeUnsafe<void>() }
    const a = yield* makeOurs(gate)
    const b = yield* makeOther(gate)
    // Twice in full: tables that have grown once stay as large.
    for (let times = 0; times < 2; times++) {
      yield* park(a, gate, messages)
      yield* park(b, gate, messages)
    }
    const bytes = { ours: [] as Array<number>, other: [] as Array<number> }
    for (let round = 0; round < rounds; round++) {
      bytes.ours.push(yield* park(a, gate, messages))
      bytes.other.push(yield* park(b, gate, messages))
    }
    const ratios = bytes.ours.map((value, at) => value / bytes.other[at]!)
    const row: Row = {
      name,
      bar,
      unit: "B",
      held: "ours",
      ours: quantile(bytes.ours, 0.5),
      other: quantile(bytes.other, 0.5),
      ratio: quantile(ratios, 0.5),
      p10: quantile(ratios, 0.1),
      p90: quantile(ratios, 0.9)
    }
    return row
  })

const retry = Schedule.exponential("100 millis").pipe(Schedule.upTo({ times: 3 }))

const comparisons = [
  {
    name: "bytes per parked trace, 10 000 of them",
    run: (name: string, rounds: number) =>
      compare(name, 3072, (gate) => ours(gate), (gate) => byHand(gate, (it) => it), rounds)
  },
  {
    name: "bytes per parked trace, retry + timeout on every node",
    run: (name: string, rounds: number) =>
      compare(
        name,
        undefined,
        (gate) => ours(gate, { retry, timeout: "1 hour" }),
        (gate) => byHand(gate, (it) => Effect.retry(Effect.timeout(it, "1 hour"), retry)),
        rounds
      )
  }
]

export const parked = (chosen: (name: string) => boolean, rounds: number) =>
  Effect.gen(function*() {
    const rows: Array<Row> = []
    for (const { name, run } of comparisons) if (chosen(name)) rows.push(yield* run(name, rounds))
    return rows
  })
