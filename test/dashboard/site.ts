/** A site to look at: flows of every shape, with traces, jobs and a migration, served by the real server. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { HttpServer } from "effect/http"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Flow, Join, Node, Router } from "penguiflow"
import * as FlowHttp from "penguiflow/FlowHttp"
import * as HttpServerNode from "penguiflow/layers/HttpServerNode"
import * as JobQueueMemory from "penguiflow/layers/JobQueueMemory"
import * as TraceStoreMemory from "penguiflow/layers/TraceStoreMemory"
import * as Migration from "penguiflow/Migration"
import * as Worker from "penguiflow/Worker"

/** What must stay text wherever it is shown. */
export const hostile = `<img src=x onerror="window.__xss=1"><script>window.__xss=1</script>'"&`

const Item = Schema.Struct({
  sku: Schema.NonEmptyString,
  quantity: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 99 }))
})
const Payment = Schema.Union([
  Schema.TaggedStruct("Card", { last4: Schema.String }),
  Schema.TaggedStruct("Invoice", { days: Schema.Int })
])
const Order = Schema.Struct({
  customer: Schema.NonEmptyString.annotate({ description: "Who ordered: a name or a number" }),
  items: Schema.Array(Item),
  payment: Payment,
  delivery: Schema.Literals(["express", "standard"]),
  note: Schema.optionalKey(Schema.String),
  /** How the payment goes: for trying things out. */
  trial: Schema.optionalKey(Schema.Literals(["declined", "flaky", "slow"]))
})
type Order = typeof Order.Type

class Declined extends Schema.TaggedError<Declined>()("Declined", { message: Schema.String }) {}

const pause = (ms: number) => Effect.sleep(Duration.millis(ms * (0.6 + Math.random() * 0.8)))

/** An order that goes on as it is, after a while. */
const step = <const Name extends string>(name: Name, ms: number) =>
  Node.make(name, {
    input: Order,
    output: Order,
    rerun: "pure",
    run: (order) => Effect.as(pause(ms), order)
  })

const pay = Node.make("pay", {
  input: Order,
  output: Order,
  error: Declined,
  rerun: "idempotent",
  policy: { retry: Schedule.spaced("180 millis").pipe(Schedule.upTo({ times: 2 })), timeout: "60 seconds" },
  run: (order, { attempt }) =>
    Effect.gen(function*() {
      yield* pause(90)
      if (order.trial === "slow") yield* Effect.sleep("30 seconds")
      if (order.trial === "declined" || (order.trial === "flaky" && attempt < 3)) {
        return yield* new Declined({ message: `The bank declined the payment of ${order.customer}: limit exceeded` })
      }
      return order
    })
})
const Receipt = Schema.Struct({ customer: Schema.String, parcels: Schema.Int, by: Schema.String })
const send = <const Name extends string>(name: Name, ms: number) =>
  Node.make(name, {
    input: Order,
    output: Receipt,
    rerun: "idempotent",
    run: (order) => Effect.as(pause(ms), { customer: order.customer, parcels: order.items.length, by: name })
  })
const receive = step("receive", 15)
const stock = step("stock", 60)
const ready = Join.all("ready", { stock: Order, price: Order })
const reserve = Node.make("reserve", {
  input: Schema.Struct({ stock: Order, price: Order }),
  output: Order,
  rerun: "compensated",
  run: ({ price }) => Effect.as(pause(30), price),
  compensate: () => pause(20)
})
const delivery = Router.make("delivery", {
  input: Order,
  cases: ["express", "standard"],
  decide: (order) => order.delivery
})
const [courier, parcel] = [send("courier", 70), send("parcel", 40)]
const lookup = step("lookup", 35)
const discount = step("discount", 20)
const pricing = Node.fromFlow(Flow.make("pricing", [lookup.to(discount)]))

export const orders = Flow.make("orders", [
  receive.to(stock, pricing),
  stock.to(ready.in.stock),
  pricing.to(ready.in.price),
  ready.to(reserve),
  reserve.to(pay),
  pay.to(delivery),
  delivery.to({ express: courier, standard: parcel })
])

const Question = Schema.Struct({
  question: Schema.NonEmptyString,
  words: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 200 }))
})
const answer = Node.make("answer", {
  input: Question,
  output: Schema.String,
  part: Schema.String,
  rerun: "idempotent",
  run: ({ question, words }, { emit }) =>
    Effect.gen(function*() {
      const said = question.split(" ")
      for (let n = 0; n < words; n++) {
        yield* Effect.sleep("25 millis")
        yield* emit(`${n === 0 ? "" : " "}${said[n % said.length]}`)
      }
      return `${words} words about: ${question}`
    })
})
export const support = Flow.make("support", [answer.to()])

const bad = Node.make(hostile, {
  input: Schema.String,
  output: Schema.String,
  rerun: "pure",
  run: (text) => Effect.fail({ _tag: hostile, message: `${hostile} ${text}` })
})
/** A flow whose names, words and errors mean ill. */
export const ill = Flow.make(hostile, [bad.to()])

const tick = <const Name extends string>(name: Name) =>
  Node.make(name, {
    input: Schema.Int,
    output: Schema.Int,
    rerun: "pure",
    run: (n) => Effect.as(Effect.yieldNow, n + 1)
  })
const [one, two, three] = [tick("one"), tick("two"), tick("three")]
/** Eight events a message. */
export const fast = Flow.make("fast", [one.to(two), two.to(three)])

const Box = Schema.Struct({
  boxes: Schema.Int.check(Schema.isGreaterThan(0)),
  weight: Schema.Finite.check(Schema.isGreaterThan(0), Schema.isLessThanOrEqualTo(30)),
  cares: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^fragile|none$/)))
})
class Full extends Schema.TaggedError<Full>()("Full", { message: Schema.String }) {}
const pack = Node.make("pack", {
  input: Box,
  output: Schema.Int,
  part: Schema.String,
  error: Full,
  rerun: "idempotent",
  run: ({ boxes }, { emit }) =>
    Effect.gen(function*() {
      for (let n = 1; n <= Math.min(boxes, 3); n++) yield* emit(`box ${n} of ${boxes} is packed`)
      if (boxes === 13) return yield* new Full({ message: "No place is left" })
      if (boxes === 14) return yield* Effect.die(new Error("dropped"))
      return boxes
    })
})
/** A flow whose parts are lines, and which fails in two ways. */
export const box = Flow.make("box", [pack.to()])

const entries = (): ReadonlyArray<Migration.Entry> =>
  Array.from({ length: 1200 }, (_, n): Migration.Entry => ({
    _tag: "Compared",
    id: String(n),
    migration: "checkout",
    at: Date.now() - (1200 - n) * 60_000,
    traceId: `order-${n}`,
    result: n % 300 === 7 ? "flowFailed" : n % 40 === 3 ? "mismatch" : "match",
    legacyMs: 8 + 6 * Math.abs(Math.sin(n)),
    flowMs: 9 + 7 * Math.abs(Math.sin(n * 1.7)),
    ...(n % 300 === 7 ? { flowError: { tag: "Declined", message: hostile } } : {}),
    patch: n % 40 === 3 ? [{ op: "replace", path: "/total", value: n }] : [],
    paths: n % 40 === 3 ? ["/total"] : []
  }))

export interface Options {
  readonly port?: number
  readonly token?: string
  /** Only flows that look well in a picture. */
  readonly tidy?: boolean
  /** Without a trace store, a queue and reports. */
  readonly bare?: boolean
  /** Nobody runs the jobs. */
  readonly idle?: boolean
}

const reports = Layer.effect(
  Migration.Reports,
  Effect.gen(function*() {
    const store = Migration.memoryReports()
    yield* store.add(entries())
    return store
  })
)

/** The site; in its context the server, which knows its address. */
export const site = ({ bare, idle, port, tidy, token }: Options = {}) => {
  const auth = token === undefined ? Layer.empty : FlowHttp.bearer(Redacted.make(token))
  const options: FlowHttp.Options = { migrations: ["checkout"], version: "0.1.0" }
  const flows = tidy === true
    ? FlowHttp.layer([orders, support], options)
    : FlowHttp.layer([orders, support, fast, ill, box], options)
  const served = flows.pipe(
    Layer.provide(auth),
    Layer.provideMerge(HttpServerNode.layer({ port: port ?? 0, grace: "1 second" }))
  )
  if (bare === true) return served
  const worker = idle === true ? Layer.empty : Worker.layer([orders, support, box], { concurrency: 4 })
  return Layer.mergeAll(served, worker).pipe(
    Layer.provide([TraceStoreMemory.layer({ maxTraces: 2000 }), reports, JobQueueMemory.layer()])
  )
}

/** Where a site is. */
export const addressOf = Effect.map(HttpServer.HttpServer, ({ address }) => HttpServer.formatAddress(address))

export const order = (customer: string, trial?: Order["trial"]): Order => ({
  customer,
  items: [{ sku: "herring", quantity: 3 }, { sku: "krill", quantity: 40 }],
  payment: { _tag: "Card", last4: "4242" },
  delivery: customer.length % 2 === 0 ? "express" : "standard",
  ...(trial === undefined ? {} : { trial })
})
