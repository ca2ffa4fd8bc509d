/** What is compared with what, and the bar that each comparison should stay under. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { FlowObserver, FlowRuntime } from "penguiflow"
import * as ByHand from "./byHand.ts"
import * as Ours from "./ours.ts"
import { enough, type Order } from "./work.ts"

/** One way of doing something to a message. */
export interface Side {
  readonly run: (order: Order) => Effect.Effect<unknown, unknown>
  /** Whether a message's result is what it should be. */
  readonly right: (result: unknown, order: Order) => boolean
  /** How many units of what is reported one run is. Default: 1. */
  readonly units?: number | undefined
  /** What has to happen before the time starts. */
  readonly prepare?: Effect.Effect<void> | undefined
  /** What still has to happen, within the time measured, after so many runs. */
  readonly settle?: ((runs: number) => Effect.Effect<void>) | undefined
}

export interface Case {
  readonly name: string
  readonly bar: number
  readonly ours: Side
  readonly other: Side
}

const morePieces = (pieces: number) => (result: unknown, order: Order): boolean =>
  (result as Order).quantity === order.quantity + pieces

const gathered = (result: unknown, order: Order): boolean => {
  const parts = result as Record<string, Order>
  let count = 0
  for (const name in parts) if (parts[name]!.quantity === order.quantity + 2) count++
  return count === 8
}

const looped = (result: unknown): boolean => (result as Order).quantity === enough

const pair = <Out, A, E>(
  name: string,
  bar: number,
  flow: Parameters<typeof Ours.running<Out>>[0],
  byHand: (order: Order) => Effect.Effect<A, E>,
  right: Side["right"]
): Effect.Effect<Case, never, Scope.Scope> =>
  Effect.gen(function*() {
    return {
      name,
      bar,
      ours: { run: yield* Ours.running(flow), right },
      other: { run: yield* ByHand.supervised(byHand), right }
    }
  })

/** Events of a trace through five nodes: two a node, two for the trace. */
const eventsPerTrace = 12

const observed: Effect.Effect<Case, never, Scope.Scope> = Effect.gen(function*() {
  let counted = 0
  let lost = 0
  let expected = 0
  const counting = FlowObserver.layer({
    name: "counting",
    observe: (events) =>
      Effect.sync(() => {
        counted += events.length
      }),
    onLost: (count) =>
      Effect.sync(() => {
        lost += count
      })
  })
  const watched = yield* Effect.provide(FlowRuntime.make(Ours.sync), counting)
  const right = morePieces(5)
  const prepare = Effect.gen(function*() {
    for (let turns = 0; turns < 10; turns++) yield* Effect.yieldNow
    expected = counted + lost
  })
  const settle = (runs: number) =>
    Effect.gen(function*() {
      expected += runs * eventsPerTrace
      for (let turns = 0; counted + lost < expected; turns++) {
        if (turns > 10_000) return yield* Effect.die(new Error(`${expected} events expected, ${counted} counted`))
        yield* Effect.yieldNow
      }
      if (counted + lost > expected) return yield* Effect.die(new Error("events were counted twice"))
      if (lost > 0) return yield* Effect.die(new Error(`${lost} events were lost: the observer did less than its work`))
    })
  return {
    name: "observer that counts events, against none (both ours)",
    bar: 1.15,
    ours: { run: (order) => watched.run(order), right, prepare, settle },
    other: { run: yield* Ours.running(Ours.sync), right }
  }
})

const perHop: Effect.Effect<Case, never, Scope.Scope> = Effect.gen(function*() {
  return {
    name: "per hop: chain of 500 against chain of 5 (both ours)",
    bar: 1.2,
    ours: { run: yield* Ours.running(Ours.chainOf(500)), right: morePieces(500), units: 500 },
    other: { run: yield* Ours.running(Ours.chainOf(5)), right: morePieces(5), units: 5 }
  }
})

export const cases: Effect.Effect<ReadonlyArray<Case>, never, Scope.Scope> = Effect.all([
  pair("chain of 5, nodes that answer at once", 1, Ours.atOnce, ByHand.atOnce, morePieces(5)),
  pair("chain of 5, sync nodes", 1.3, Ours.sync, ByHand.sync, morePieces(5)),
  pair("chain of 5, generator nodes", 1.3, Ours.generator, ByHand.generator, morePieces(5)),
  pair("chain of 5, async nodes: a promise", 1.1, Ours.promise, ByHand.promise, morePieces(5)),
  pair("chain of 5, async nodes: yieldNow", 1.1, Ours.yielding, ByHand.yielding, morePieces(5)),
  pair("retry + timeout, at once", 0.3, Ours.guardedAtOnce, ByHand.guardedAtOnce, morePieces(5)),
  pair("retry + timeout, sync", 0.5, Ours.guardedSync, ByHand.guardedSync, morePieces(5)),
  pair("retry + timeout, generator", 0.5, Ours.guardedGenerator, ByHand.guardedGenerator, morePieces(5)),
  pair("retry + timeout, async: a promise", 1, Ours.guardedPromise, ByHand.guardedPromise, morePieces(5)),
  pair("retry + timeout, async: yieldNow", 1, Ours.guardedYielding, ByHand.guardedYielding, morePieces(5)),
  pair("fan-out to 8 and join, sync nodes", 1.5, Ours.fanOutSync, ByHand.fanOutSync, gathered),
  pair("fan-out to 8 and join, async nodes: yieldNow", 1.5, Ours.fanOutYielding, ByHand.fanOutYielding, gathered),
  pair("loop of 100 hops", 1.5, Ours.loop, ByHand.loop, looped),
  observed,
  perHop
])
