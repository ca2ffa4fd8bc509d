/**
 * The baselines: what a careful writer of Effect code would write for the same work, without a flow.
 *
 * Each chain is one generator with its nodes written out. It checks what a flow checks: the input once, and what each
 * node gives once, with a check compiled once, failing with a typed error. Each message runs in a fiber that a FiberMap
 * knows by the message's id, so that it can be cancelled, and is awaited. Retry and timeout stand around each node, the
 * Schedule and the Duration made once.
 *
 * Every chain has code of its own, as it would have in an application: what the engine's compiler learns of one kind of
 * node does not slow another.
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberMap from "effect/FiberMap"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Work from "./work.ts"
import { Order } from "./work.ts"

export class Refused extends Data.TaggedError("Refused")<{ readonly node: string }> {}

const isOrder = Schema.is(Order)
const retries = Schedule.exponential("100 millis").pipe(Schedule.upTo({ times: 3 }))
const second = Duration.seconds(1)
const guarded = <A, E>(effect: Effect.Effect<A, E>) => Effect.retry(Effect.timeout(effect, second), retries)

/** A fiber per message, known by the message's id. */
export const supervised = <A, E>(
  handle: (order: Order) => Effect.Effect<A, E>
): Effect.Effect<(order: Order) => Effect.Effect<A, E>, never, Scope.Scope> =>
  Effect.map(FiberMap.make<string, A, E>(), (fibers) => {
    const prefix = globalThis.crypto.randomUUID()
    let ids = 0
    return (order) =>
      Effect.flatMap(FiberMap.run(fibers, `${prefix}-${(ids++).toString(36)}`, handle(order)), Fiber.join)
  })

// ---------------------------------------------------------------- chains of five

export const atOnce = Effect.fnUntraced(function*(order: Order) {
  if (!isOrder(order)) return yield* new Refused({ node: "reserve" })
  const reserved = yield* Work.atOnce(order)
  if (!isOrder(reserved)) return yield* new Refused({ node: "reserve" })
  const discounted = yield* Work.atOnce(reserved)
  if (!isOrder(discounted)) return yield* new Refused({ node: "discount" })
  const taxed = yield* Work.atOnce(discounted)
  if (!isOrder(taxed)) return yield* new Refused({ node: "tax" })
  const shipped = yield* Work.atOnce(taxed)
  if (!isOrder(shipped)) return yield* new Refused({ node: "ship" })
  const booked = yield* Work.atOnce(shipped)
  if (!isOrder(booked)) return yield* new Refused({ node: "book" })
  return booked
})

export const sync = Effect.fnUntraced(function*(order: Order) {
  if (!isOrder(order)) return yield* new Refused({ node: "reserve" })
  const reserved = yield* Work.sync(order)
  if (!isOrder(reserved)) return yield* new Refused({ node: "reserve" })
  const discounted = yield* Work.sync(reserved)
  if (!isOrder(discounted)) return yield* new Refused({ node: "discount" })
  const taxed = yield* Work.sync(discounted)
  if (!isOrder(taxed)) return yield* new Refused({ node: "tax" })
  const shipped = yield* Work.sync(taxed)
  if (!isOrder(shipped)) return yield* new Refused({ node: "ship" })
  const booked = yield* Work.sync(shipped)
  if (!isOrder(booked)) return yield* new Refused({ node: "book" })
  return booked
})

export const generator = Effect.fnUntraced(function*(order: Order) {
  if (!isOrder(order)) return yield* new Refused({ node: "reserve" })
  const reserved = yield* Work.generator(order)
  if (!isOrder(reserved)) return yield* new Refused({ node: "reserve" })
  const discounted = yield* Work.generator(reserved)
  if (!isOrder(discounted)) return yield* new Refused({ node: "discount" })
  const taxed = yield* Work.generator(discounted)
  if (!isOrder(taxed)) return yield* new Refused({ node: "tax" })
  const shipped = yield* Work.generator(taxed)
  if (!isOrder(shipped)) return yield* new Refused({ node: "ship" })
  const booked = yield* Work.generator(shipped)
  if (!isOrder(booked)) return yield* new Refused({ node: "book" })
  return booked
})

export const promise = Effect.fnUntraced(function*(order: Order) {
  if (!isOrder(order)) return yield* new Refused({ node: "reserve" })
  const reserved = yield* Work.promise(order)
  if (!isOrder(reserved)) return yield* new Refused({ node: "reserve" })
  const discounted = yield* Work.promise(reserved)
  if (!isOrder(discounted)) return yield* new Refused({ node: "discount" })
  const taxed = yield* Work.promise(discounted)
  if (!isOrder(taxed)) return yield* new Refused({ node: "tax" })
  const shipped = yield* Work.promise(taxed)
  if (!isOrder(shipped)) return yield* new Refused({ node: "ship" })
  const booked = yield* Work.promise(shipped)
  if (!isOrder(booked)) return yield* new Refused({ node: "book" })
  return booked
})

export const yielding = Effect.fnUntraced(function*(order: Order) {
  if (!isOrder(order)) return yield* new Refused({ node: "reserve" })
  const reserved = yield* Work.yielding(order)
  if (!isOrder(reserved)) return yield* new Refused({ node: "reserve" })
  const discounted = yield* Work.yielding(reserved)
  if (!isOrder(discounted)) return yield* new Refused({ node: "discount" })
  const taxed = yield* Work.yielding(discounted)
  if (!isOrder(taxed)) return yield* new Refused({ node: "tax" })
  const shipped = yield* Work.yielding(taxed)
  if (!isOrder(shipped)) return yield* new Refused({ node: "ship" })
  const booked = yield* Work.yielding(shipped)
  if (!isOrder(booked)) return yield* new Refused({ node: "book" })
  return booked
})

// ---------------------------------------------------------------- the same with retry and timeout on every node

export const guardedAtOnce = Effect.fnUntraced(function*(order: Order) {
  if (!isOrder(order)) return yield* new Refused({ node: "reserve" })
  const reserved = yield* guarded(Work.atOnce(order))
  if (!isOrder(reserved)) return yield* new Refused({ node: "reserve" })
  const discounted = yield* guarded(Work.atOnce(reserved))
  if (!isOrder(discounted)) return yield* new Refused({ node: "discount" })
  const taxed = yield* guarded(Work.atOnce(discounted))
  if (!isOrder(taxed)) return yield* new Refused({ node: "tax" })
  const shipped = yield* guarded(Work.atOnce(taxed))
  if (!isOrder(shipped)) return yield* new Refused({ node: "ship" })
  const booked = yield* guarded(Work.atOnce(shipped))
  if (!isOrder(booked)) return yield* new Refused({ node: "book" })
  return booked
})

export const guardedSync = Effect.fnUntraced(function*(order: Order) {
  if (!isOrder(order)) return yield* new Refused({ node: "reserve" })
  const reserved = yield* guarded(Work.sync(order))
  if (!isOrder(reserved)) return yield* new Refused({ node: "reserve" })
  const discounted = yield* guarded(Work.sync(reserved))
  if (!isOrder(discounted)) return yield* new Refused({ node: "discount" })
  const taxed = yield* guarded(Work.sync(discounted))
  if (!isOrder(taxed)) return yield* new Refused({ node: "tax" })
  const shipped = yield* guarded(Work.sync(taxed))
  if (!isOrder(shipped)) return yield* new Refused({ node: "ship" })
  const booked = yield* guarded(Work.sync(shipped))
  if (!isOrder(booked)) return yield* new Refused({ node: "book" })
  return booked
})

export const guardedGenerator = Effect.fnUntraced(function*(order: Order) {
  if (!isOrder(order)) return yield* new Refused({ node: "reserve" })
  const reserved = yield* guarded(Work.generator(order))
  if (!isOrder(reserved)) return yield* new Refused({ node: "reserve" })
  const discounted = yield* guarded(Work.generator(reserved))
  if (!isOrder(discounted)) return yield* new Refused({ node: "discount" })
  const taxed = yield* guarded(Work.generator(discounted))
  if (!isOrder(taxed)) return yield* new Refused({ node: "tax" })
  const shipped = yield* guarded(Work.generator(taxed))
  if (!isOrder(shipped)) return yield* new Refused({ node: "ship" })
  const booked = yield* guarded(Work.generator(shipped))
  if (!isOrder(booked)) return yield* new Refused({ node: "book" })
  return booked
})

export const guardedPromise = Effect.fnUntraced(function*(order: Order) {
  if (!isOrder(order)) return yield* new Refused({ node: "reserve" })
  const reserved = yield* guarded(Work.promise(order))
  if (!isOrder(reserved)) return yield* new Refused({ node: "reserve" })
  const discounted = yield* guarded(Work.promise(reserved))
  if (!isOrder(discounted)) return yield* new Refused({ node: "discount" })
  const taxed = yield* guarded(Work.promise(discounted))
  if (!isOrder(taxed)) return yield* new Refused({ node: "tax" })
  const shipped = yield* guarded(Work.promise(taxed))
  if (!isOrder(shipped)) return yield* new Refused({ node: "ship" })
  const booked = yield* guarded(Work.promise(shipped))
  if (!isOrder(booked)) return yield* new Refused({ node: "book" })
  return booked
})

export const guardedYielding = Effect.fnUntraced(function*(order: Order) {
  if (!isOrder(order)) return yield* new Refused({ node: "reserve" })
  const reserved = yield* guarded(Work.yielding(order))
  if (!isOrder(reserved)) return yield* new Refused({ node: "reserve" })
  const discounted = yield* guarded(Work.yielding(reserved))
  if (!isOrder(discounted)) return yield* new Refused({ node: "discount" })
  const taxed = yield* guarded(Work.yielding(discounted))
  if (!isOrder(taxed)) return yield* new Refused({ node: "tax" })
  const shipped = yield* guarded(Work.yielding(taxed))
  if (!isOrder(shipped)) return yield* new Refused({ node: "ship" })
  const booked = yield* guarded(Work.yielding(shipped))
  if (!isOrder(booked)) return yield* new Refused({ node: "book" })
  return booked
})

// ---------------------------------------------------------------- fan-out and loop

const eightOf = (node: (order: Order) => Effect.Effect<Order>) => (order: Order) =>
  Effect.all({
    a: node(order),
    b: node(order),
    c: node(order),
    d: node(order),
    e: node(order),
    f: node(order),
    g: node(order),
    h: node(order)
  }, { concurrency: "unbounded" })

const allAreOrders = (parts: Record<"a" | "b" | "c" | "d" | "e" | "f" | "g" | "h", Order>): boolean =>
  isOrder(parts.a) && isOrder(parts.b) && isOrder(parts.c) && isOrder(parts.d) && isOrder(parts.e) &&
  isOrder(parts.f) && isOrder(parts.g) && isOrder(parts.h)

const eightSync = eightOf(Work.sync)
export const fanOutSync = Effect.fnUntraced(function*(order: Order) {
  if (!isOrder(order)) return yield* new Refused({ node: "split" })
  const split = yield* Work.sync(order)
  if (!isOrder(split)) return yield* new Refused({ node: "split" })
  const parts = yield* eightSync(split)
  if (!allAreOrders(parts)) return yield* new Refused({ node: "part" })
  return parts
})

const eightYielding = eightOf(Work.yielding)
export const fanOutYielding = Effect.fnUntraced(function*(order: Order) {
  if (!isOrder(order)) return yield* new Refused({ node: "split" })
  const split = yield* Work.sync(order)
  if (!isOrder(split)) return yield* new Refused({ node: "split" })
  const parts = yield* eightYielding(split)
  if (!allAreOrders(parts)) return yield* new Refused({ node: "part" })
  return parts
})

export const loop = Effect.fnUntraced(function*(order: Order) {
  if (!isOrder(order)) return yield* new Refused({ node: "loop" })
  let state = order
  for (let hop = 0; hop < Work.enough; hop++) {
    state = yield* Work.sync(state)
    if (!isOrder(state)) return yield* new Refused({ node: "loop" })
    if (state.quantity >= Work.enough) return state
  }
  return yield* new Refused({ node: "loop" })
})
