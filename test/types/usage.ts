/** What must compile, with exactly these types, and what must not: every line below a `@ts-expect-error` is a user's mistake. */
// The compiler's own words are tested here, and the mistakes are made on purpose.
// @effect-diagnostics *:skip-file
import { Context, Effect, Schedule, Schema, Stream } from "effect"
import { Flow, FlowRuntime, Join, Loop, Node, type Policy, Router, Trace } from "penguiflow"

type Exact<X, Y> = (<T>() => T extends X ? 1 : 2) extends (<T>() => T extends Y ? 1 : 2) ? true : false
type Parts<F> = F extends Flow.Flow<string, infer In, infer Out, infer E, infer R, infer Part> ? [In, Out, E, R, Part]
  : never
const exactly = <A, B>(_: Exact<A, B>) => {}

class Raw extends Schema.Class<Raw>("Raw")({ text: Schema.String, userId: Schema.Number }) {}
class Valid
  extends Schema.Class<Valid>("Valid")({ text: Schema.String, userId: Schema.Number, ok: Schema.Literal(true) })
{}
class Weather extends Schema.TaggedClass<Weather>()("Weather", { celsius: Schema.Number }) {}
class News extends Schema.TaggedClass<News>()("News", { items: Schema.Array(Schema.String) }) {}
class TooLong extends Schema.TaggedError<TooLong>()("TooLong", { length: Schema.Number }) {}
class Db extends Context.Service<Db, { query(sql: string): Effect.Effect<number> }>()("Db") {}
class Llm extends Context.Service<Llm, { ask(prompt: string): Effect.Effect<string> }>()("Llm") {}

const validate = Node.make("validate", {
  input: Raw,
  output: Valid,
  policy: { timeout: "1 second", retry: Schedule.exponential("10 millis") },
  run: (raw) =>
    raw.text.length > 3
      ? Effect.fail(new TooLong({ length: raw.text.length }))
      : Effect.succeed(new Valid({ ...raw, ok: true }))
})
const weather = Node.make("weather", {
  input: Valid,
  output: Weather,
  run: Effect.fn(function*(valid) {
    const db = yield* Db
    const { meta } = yield* Trace.CurrentTrace
    return new Weather({ celsius: yield* db.query(`${valid.text} ${meta["city"]}`) })
  })
})
const news = Node.make("news", {
  input: Schema.Struct({ text: Schema.String }),
  output: News,
  run: ({ text }) => Llm.use((llm) => Effect.map(llm.ask(text), (item) => new News({ items: [item] })))
})
const gather = Join.all("gather", { weather: Weather, news: News })
const report = Node.stream("report", {
  input: Schema.Struct({ weather: Weather, news: News }),
  part: Schema.String,
  output: Schema.Number,
  run: ({ news }) => Stream.fromIterable(news.items),
  collect: (parts) => parts.length
})

// fan-out, join and streaming: ingress, egress, errors, services and parts are computed, and exact
export const morning = Flow.make("morning", [
  validate.to(weather, news),
  weather.to(gather.in.weather),
  news.to(gather.in.news),
  gather.to(report)
])
exactly<Parts<typeof morning>, [Raw, number, TooLong, Db | Llm, string]>(true)

// routers
const route = Router.tagged("route", Schema.Union([Weather, News]))
const onWeather = Node.make("onWeather", {
  input: Weather,
  output: Schema.Number,
  run: (w) => Effect.succeed(w.celsius)
})
const onNews = Node.make("onNews", { input: News, output: Schema.String, run: (n) => Effect.succeed(n.items.join()) })
const routed = Flow.make("routed", [route.to({ Weather: onWeather, News: onNews })])
exactly<Parts<typeof routed>, [Weather | News, number | string, never, never, never]>(true)

const size = Router.make("size", {
  input: Valid,
  cases: ["short", "long"],
  decide: (v) => v.text.length > 3 ? "long" : "short"
})
const short = Node.make("short", { input: Valid, output: Schema.Number, run: () => Effect.succeed(1) })
const long = Node.make("long", { input: Valid, output: Schema.String, run: () => Effect.succeed("") })
const sized = Flow.make("sized", [validate.to(size), size.to({ short, long })])
exactly<Parts<typeof sized>, [Raw, number | string, TooLong, never, never]>(true)

// a loop, a mapped node, a flow as a node
class Memory extends Schema.Class<Memory>("Memory")({ query: Schema.String, facts: Schema.Array(Schema.String) }) {}
class Answer extends Schema.Class<Answer>("Answer")({ text: Schema.String }) {}
const controller = Loop.make("controller", {
  state: Memory,
  output: Answer,
  maxHops: 8,
  step: Effect.fnUntraced(function*(memory, { hop }) {
    const llm = yield* Llm
    return hop > 3
      ? Loop.done(new Answer({ text: yield* llm.ask(memory.query) }))
      : Loop.again(new Memory({ query: memory.query, facts: [...memory.facts, "fact"] }))
  })
})
const think = Flow.make("think", [controller.to()])
exactly<Parts<typeof think>, [Memory, Answer, never, Llm, never]>(true)
const all = Flow.make("all", [Node.forEach(short, { concurrency: 4 }).to()])
exactly<Parts<typeof all>, [ReadonlyArray<Valid>, ReadonlyArray<number>, never, never, never]>(true)
const nested = Flow.make("nested", [validate.to(Node.fromFlow(Flow.make("inner", [weather.to(onWeather)])))])
exactly<Parts<typeof nested>, [Raw, number, TooLong, Db, never]>(true)
export const runtime = FlowRuntime.make(nested, { maxInFlight: 8 })

// what must stay inferred: a policy before `run`, a generator, the context's own effects, an effect that needs a Scope
const told = Node.make("told", {
  input: Raw,
  output: Schema.Number,
  part: Schema.String,
  policy: { timeout: "1 second", retryWhile: (error) => error._tag === "TooLong" },
  run: Effect.fn(function*(raw, { annotate, emit }) {
    yield* annotate("length", raw.text.length)
    yield* emit(raw.text)
    yield* Effect.acquireRelease(Effect.succeed(1), () => Effect.void)
    const db = yield* Db
    return raw.text.length > 3 ? yield* new TooLong({ length: raw.text.length }) : yield* db.query(raw.text)
  })
})
exactly<Parts<ReturnType<typeof toldFlow>>, [Raw, number, TooLong, Db, string]>(true)
const toldFlow = () => Flow.make("told", [told.to()])

// a policy made once serves nodes with any error; on a known node the predicate sees its error
const patient: Policy.Policy = {
  retry: Schedule.exponential("10 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 3 }))
}
Node.withPolicy(validate, patient)
Node.withPolicy(validate, { retryWhile: (error) => error._tag === "TooLong" && error.length < 100 })
// the same subflow twice, under two names; names known only as strings stay sound
const inner = Node.fromFlow(Flow.make("inner", [onNews.to()]))
export const twice = Flow.make("twice", [news.to(Node.named(inner, "first"), Node.named(inner, "second"))])
const step = (name: string) =>
  Node.make(name, { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n) })
const steps = ["a", "b", "c"].map(step)
const dynamic = Flow.make("dynamic", steps.slice(1).map((node, i) => steps[i]!.to(node)))
exactly<Parts<typeof dynamic>, [number, number, never, never, never]>(true)
// reasons narrow
export const reasoned = Flow.run(nested, new Raw({ text: "a", userId: 1 })).pipe(
  Effect.catchReason("FlowError", "JoinIncomplete", (reason) => Effect.succeed(reason.missing.length))
)

// ------------------------------------------------------------ what must not compile
const tiered = Node.make("store", {
  input: Schema.Struct({ text: Schema.String, tier: Schema.String }),
  output: Schema.Number,
  run: () => Effect.succeed(1)
})
const counted = Node.make("counted", {
  input: Schema.Struct({ text: Schema.Number }),
  output: Schema.Number,
  run: () => Effect.succeed(1)
})
// @ts-expect-error ✗ store needs "tier", which validate does not give
validate.to(tiered)
// @ts-expect-error ✗ counted accepts another type of "text" than validate gives
validate.to(counted)
// @ts-expect-error ✗ gather needs "items", which weather does not give
weather.to(gather.in.news)
// @ts-expect-error ✗ no edge ends in gather.news
Flow.make("incomplete", [validate.to(weather, news), weather.to(gather.in.weather), gather.to(report)])
// @ts-expect-error property 'News' is missing
route.to({ Weather: onWeather })
// @ts-expect-error ✗ onNews needs "items", which route[Weather] does not give
route.to({ Weather: onNews, News: onNews })
// @ts-expect-error ✗ size has no case "longer"
size.to({ short, long, longer: long })
// @ts-expect-error a case that was not declared ~ Type '"b"' is not assignable to type '"a" |
Router.make("bad", { input: Valid, cases: ["a"], decide: () => "b" })
// @ts-expect-error Llm is not provided ~ Type 'Llm' is not assignable to type 'Db'
export const unprovided: Effect.Effect<unknown, unknown, Db> = Flow.run(morning, new Raw({ text: "a", userId: 1 }))
// @ts-expect-error only JSON goes into meta ~ Type 'Map<any, any>' is not assignable to type 'Json'
Flow.run(nested, new Raw({ text: "a", userId: 1 }), { meta: { pool: new Map() } })
// @ts-expect-error TooLong has no field size ~ Property 'size' does not exist on type 'NoInfer<TooLong>'
Node.withPolicy(validate, { retryWhile: (error) => error._tag === "TooLong" && error.size > 1 })
// @ts-expect-error a node's errors are tagged ~ Type 'string' is not assignable to type 'Tagged'
Node.make("plain", { input: Valid, output: Valid, run: () => Effect.fail("no") })
