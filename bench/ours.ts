/** Our side: the same work as flows, run one message after another by a runtime with its default options. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { Flow, FlowRuntime, Join, Loop, Node, type Policy } from "penguiflow"
import * as Work from "./work.ts"
import { Order } from "./work.ts"

const node = <Name extends string>(
  name: Name,
  run: (order: Order) => Effect.Effect<Order>,
  policy?: Policy.Policy
) => Node.make(name, { input: Order, output: Order, policy, run })

const guarded: Policy.Policy = {
  retry: Schedule.exponential("100 millis").pipe(Schedule.upTo({ times: 3 })),
  timeout: "1 second"
}

const fiveOf = (run: (order: Order) => Effect.Effect<Order>, policy?: Policy.Policy) => {
  const reserve = node("reserve", run, policy)
  const discount = node("discount", run, policy)
  const tax = node("tax", run, policy)
  const ship = node("ship", run, policy)
  const book = node("book", run, policy)
  return Flow.make("order", [reserve.to(discount), discount.to(tax), tax.to(ship), ship.to(book)])
}

export const atOnce = fiveOf(Work.atOnce)
export const sync = fiveOf(Work.sync)
export const generator = fiveOf(Work.generator)
export const promise = fiveOf(Work.promise)
export const yielding = fiveOf(Work.yielding)

export const guardedAtOnce = fiveOf(Work.atOnce, guarded)
export const guardedSync = fiveOf(Work.sync, guarded)
export const guardedGenerator = fiveOf(Work.generator, guarded)
export const guardedPromise = fiveOf(Work.promise, guarded)
export const guardedYielding = fiveOf(Work.yielding, guarded)

const fanOut = (run: (order: Order) => Effect.Effect<Order>) => {
  const split = node("split", Work.sync)
  const a = node("a", run)
  const b = node("b", run)
  const c = node("c", run)
  const d = node("d", run)
  const e = node("e", run)
  const f = node("f", run)
  const g = node("g", run)
  const h = node("h", run)
  const gather = Join.all("gather", { a: Order, b: Order, c: Order, d: Order, e: Order, f: Order, g: Order, h: Order })
  return Flow.make("fan-out", [
    split.to(a, b, c, d, e, f, g, h),
    a.to(gather.in.a),
    b.to(gather.in.b),
    c.to(gather.in.c),
    d.to(gather.in.d),
    e.to(gather.in.e),
    f.to(gather.in.f),
    g.to(gather.in.g),
    h.to(gather.in.h),
    gather.to()
  ])
}

export const fanOutSync = fanOut(Work.sync)
export const fanOutYielding = fanOut(Work.yielding)

const advance = Loop.make("loop", {
  state: Order,
  output: Order,
  maxHops: Work.enough,
  step: (order) =>
    Effect.sync(() => {
      const next = Work.more(order)
      return next.quantity >= Work.enough ? Loop.done(next) : Loop.again(next)
    })
})
export const loop = Flow.make("loop", [advance.to()])

/** A chain of as many sync nodes. */
export const chainOf = (length: number) => {
  const nodes = Array.from({ length }, (_, at) => node<string>(`node-${at}`, Work.sync))
  return Flow.make("chain", nodes.slice(1).map((next, at) => nodes[at]!.to(next)))
}

/** A runtime's `run`. */
export const running = <Out>(
  flow: Flow.Flow<string, Order, Out>
): Effect.Effect<(order: Order) => Effect.Effect<Out, unknown>, never, Scope.Scope> =>
  Effect.map(FlowRuntime.make(flow), (runtime) => (order) => runtime.run(order))
