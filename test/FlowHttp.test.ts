/** Flows served over HTTP, as a client sees them. */
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Redacted, Schema, Stream } from "effect"
import { FetchHttpClient, type HttpServer } from "effect/http"
import { Flow, Join, Node } from "penguiflow"
import * as FlowHttp from "penguiflow/FlowHttp"
import * as HttpServerNode from "penguiflow/layers/HttpServerNode"
import * as JobQueueMemory from "penguiflow/layers/JobQueueMemory"
import * as MetricsObserver from "penguiflow/layers/MetricsObserver"
import * as MigrationReportsMemory from "penguiflow/layers/MigrationReportsMemory"
import * as TraceStoreMemory from "penguiflow/layers/TraceStoreMemory"
import * as Worker from "penguiflow/Worker"
import { type Answer, ask, eventually, post, type Sent, serving, sse, type Wire } from "./utils/http.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", { at: Schema.DateFromString }) {
  override readonly message = "the order is refused"
}

const Order = Schema.Struct({
  id: Schema.NonEmptyString,
  items: Schema.Array(Schema.Struct({ price: Schema.Finite }))
})

const total = Flow.make("total", [
  Node.make("sum", {
    input: Order,
    output: Schema.Struct({ total: Schema.Number, at: Schema.DateFromString }),
    error: Refused,
    run: ({ id, items }) =>
      id === "refused"
        ? Effect.fail(new Refused({ at: new Date(5) }))
        : id === "broken"
        ? Effect.die(new Error("a secret of the program"))
        : Effect.succeed({ total: items.reduce((sum, { price }) => sum + price, 0), at: new Date(0) })
  }).to()
])

const words = Flow.make("words of/all: kinds", [
  Node.stream("split", {
    input: Schema.String,
    part: Schema.DateFromString,
    output: Schema.Number,
    run: (text) => Stream.fromIterable(text.split(" ")).pipe(Stream.map((word) => new Date(word.length))),
    collect: (parts) => parts.length
  }).to()
])

/** A flow that waits until it is let go, and tells when it was stopped. */
const waiting = () => {
  const state = { running: 0, stopped: 0, let: Deferred.makeUnsafe<void>() }
  const flow = Flow.make("waiting", [
    Node.make("wait", {
      input: Schema.Number,
      output: Schema.Number,
      run: (n) =>
        Effect.suspend(() => {
          state.running++
          return Deferred.await(state.let)
        }).pipe(
          Effect.as(n),
          Effect.onInterrupt(() => Effect.sync(() => state.stopped++))
        )
    }).to()
  ])
  return { state, flow }
}

/** The first snapshot in which the flows are as they should be. */
const snapshotWhere = (base: string, condition: (flows: Wire) => boolean): Effect.Effect<Sent> =>
  Stream.runCollect(Stream.take(sse(`${base}/api/events`), 1)).pipe(
    Effect.map(([first]) => first!),
    Effect.repeat({ until: ({ data }) => condition(data.flows), times: 1000 })
  )

const order = { id: "a", items: [{ price: 2 }, { price: 3 }] }

describe("FlowHttp", () => {
  describe("a message", () => {
    it.live("is run, and its results are encoded by the flow's schema", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total])
        const { headers, json, status } = yield* post(`${base}/api/flows/total/run?traceId=one`, order)
        assert.strictEqual(status, 200)
        assert.deepStrictEqual(json, { traceId: "one", results: [{ total: 5, at: "1970-01-01T00:00:00.000Z" }] })
        assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
      }).pipe(Effect.scoped))

    it.live("that does not fit is refused with the path to what does not, and not repeated", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total])
        const bad = { id: "a", items: [{ price: 1 }, { price: "hunter2" }] }
        const { json, status, text } = yield* post(`${base}/api/flows/total/run`, bad)
        assert.strictEqual(status, 400)
        assert.strictEqual(json.code, "INVALID_INPUT")
        assert.strictEqual(json.path, "items[1].price")
        assert.notInclude(text, "hunter2")
      }).pipe(Effect.scoped))

    it.live("that a node refuses is a 422 with the node's own error", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total])
        const { json, status } = yield* post(`${base}/api/flows/total/run?traceId=t`, { ...order, id: "refused" })
        assert.strictEqual(status, 422)
        assert.deepStrictEqual(json, {
          error: "the order is refused",
          code: "Refused",
          traceId: "t",
          node: "sum",
          detail: { _tag: "Refused", at: "1970-01-01T00:00:00.005Z" }
        })
      }).pipe(Effect.scoped))

    it.live("that a node dies of is a 500 that tells nothing of the defect", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total])
        const { json, status, text } = yield* post(`${base}/api/flows/total/run`, { ...order, id: "broken" })
        assert.strictEqual(status, 500)
        assert.strictEqual(json.code, "NODE_EXCEPTION")
        assert.strictEqual(json.node, "sum")
        assert.notInclude(text, "secret")
      }).pipe(Effect.scoped))

    it.live("has a deadline, its own and the server's", () =>
      Effect.gen(function*() {
        const { flow } = waiting()
        const { base } = yield* serving([flow], { maxDeadline: "40 millis" })
        const own = yield* post(`${base}/api/flows/waiting/run?deadline=20`, 1)
        assert.deepStrictEqual([own.status, own.json.code], [504, "DEADLINE_EXCEEDED"])
        const servers = yield* post(`${base}/api/flows/waiting/run?deadline=60000`, 1)
        assert.deepStrictEqual([servers.status, servers.json.code], [504, "DEADLINE_EXCEEDED"])
      }).pipe(Effect.scoped))

    it.live("of an id that is open is a conflict", () =>
      Effect.gen(function*() {
        const { flow, state } = waiting()
        const { base } = yield* serving([flow])
        const first = yield* Effect.forkChild(post(`${base}/api/flows/waiting/run?traceId=same`, 1))
        yield* eventually(() => state.running === 1)
        const second = yield* post(`${base}/api/flows/waiting/run?traceId=same`, 2)
        assert.deepStrictEqual([second.status, second.json.code, second.json.traceId], [409, "DUPLICATE_TRACE", "same"])
        yield* Deferred.succeed(state.let, undefined)
        assert.deepStrictEqual((yield* Fiber.join(first)).json, { traceId: "same", results: [1] })
      }).pipe(Effect.scoped))

    it.live("beyond the capacity is told to come again", () =>
      Effect.gen(function*() {
        const { flow, state } = waiting()
        const { base } = yield* serving([flow], { maxInFlight: 1, maxWaiting: 1 })
        const answers: Array<Answer> = []
        const run = Effect.map(post(`${base}/api/flows/waiting/run`, 1), (answer) => void answers.push(answer))
        const all = yield* Effect.forkChild(Effect.all(Array.from({ length: 5 }, () => run), { concurrency: 5 }))
        // One runs, one waits.
        yield* eventually(() => answers.length === 3)
        for (const { headers, json, status } of answers) {
          assert.deepStrictEqual([status, json.code, headers.get("retry-after")], [429, "OVER_CAPACITY", "1"])
        }
        yield* Deferred.succeed(state.let, undefined)
        yield* Fiber.join(all)
        assert.deepStrictEqual(answers.slice(3).map(({ status }) => status), [200, 200])
      }).pipe(Effect.scoped))

    it.live("continues the trace that its traceparent names", () =>
      Effect.gen(function*() {
        const span = Node.make("span", {
          input: Schema.Null,
          output: Schema.String,
          run: () =>
            Effect.map(
              Effect.orDie(Effect.currentParentSpan),
              ({ spanId, traceId }) => `${traceId} ${spanId}`
            )
        })
        const { base } = yield* serving([Flow.make("spans", [span.to()])])
        const { json } = yield* post(`${base}/api/flows/spans/run`, null, {
          traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        })
        assert.deepStrictEqual(json.results, ["0af7651916cd43dd8448eb211c80319c b7ad6b7169203331"])
      }).pipe(Effect.scoped))

    it.live("may be for a flow of any name", () =>
      Effect.gen(function*() {
        const names = ["a b/ü:*?#%", "__proto__", "..", "<img src=x>"]
        const flows = names.map((name) =>
          Flow.make(name, [
            Node.make("n", { input: Schema.Number, output: Schema.String, run: () => Effect.succeed(name) }).to()
          ])
        )
        const { base } = yield* serving(flows)
        for (const name of names.filter((it) => it !== "..")) {
          const { json } = yield* post(`${base}/api/flows/${encodeURIComponent(name)}/run`, 1)
          assert.deepStrictEqual(json.results, [name])
        }
        const { json } = yield* ask(`${base}/api/flows`)
        assert.deepStrictEqual(json.flows.map((flow: { readonly name: string }) => flow.name), names)
      }).pipe(Effect.scoped))

    it.live("gives all results of several egress nodes", () =>
      Effect.gen(function*() {
        const half = (name: string) =>
          Node.make(name, { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n / 2) })
        const first = half("first")
        const { base } = yield* serving([Flow.make("halves", [first.to(half("left"), half("right"))])])
        const { json } = yield* post(`${base}/api/flows/halves/run`, 8)
        assert.deepStrictEqual(json.results, [2, 2])
      }).pipe(Effect.scoped))
  })

  describe("what there is", () => {
    it.live("is listed with its schema, its nodes as events name them, and its features", () =>
      Effect.gen(function*() {
        const inc = Node.make("inc", { input: Schema.Number, output: Schema.Number, run: (n) => Effect.succeed(n) })
        const both = Join.all("both", { a: Schema.Number, b: Schema.Number })
        const inner = Flow.make("inner", [inc.to(both.in.a, both.in.b), both.to()])
        const flow = Flow.make("outer", [Node.named(inc, "start").to(Node.fromFlow(inner))])
        const { base } = yield* serving([flow, total], { version: "1.2.3" }, TraceStoreMemory.layer())
        const { json } = yield* ask(`${base}/api/flows`)
        assert.deepStrictEqual(json.flows[0].nodes, [
          { name: "start", kind: "task" },
          { name: "inner/inc", kind: "task" },
          { name: "inner/both", kind: "join" }
        ])
        assert.deepStrictEqual(json.flows[1].input.required, ["id", "items"])
        assert.strictEqual(json.flows[1].jobs, false)
        assert.deepStrictEqual(json.features, { jobs: false, traces: true, replay: true, migrations: false })
        assert.strictEqual(json.version, "1.2.3")
      }).pipe(Effect.scoped))

    it.live("is drawn in three formats", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total])
        const svg = yield* ask(`${base}/api/flows/total/diagram`)
        assert.include(svg.headers.get("content-type"), "image/svg+xml")
        assert.include(svg.text, `data-node="sum"`)
        assert.include((yield* ask(`${base}/api/flows/total/diagram?format=mermaid`)).text, "flowchart")
        assert.include((yield* ask(`${base}/api/flows/total/diagram?format=dot`)).text, "digraph")
        const other = yield* ask(`${base}/api/flows/total/diagram?format=png`)
        assert.deepStrictEqual([other.status, other.json.code, other.json.path], [400, "INVALID_REQUEST", "format"])
      }).pipe(Effect.scoped))

    it.live("is documented, each flow with its own schemas, on a page that loads nothing", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total, words])
        const { json } = yield* ask(`${base}/openapi.json`)
        const run = json.paths["/api/flows/total/run"].post
        assert.deepStrictEqual(run.requestBody.content["application/json"].schema.required, ["id", "items"])
        assert.deepStrictEqual(
          Object.keys(run.responses["200"].content["application/json"].schema.properties.results.items.properties),
          ["total", "at"]
        )
        assert.isDefined(json.paths[`/api/flows/${encodeURIComponent(words.name)}/run`])
        assert.notInclude(Object.keys(json.paths).join(), "{flow}")
        assert.strictEqual(json.tags[0].name, "total")
        assert.isUndefined(json.components.securitySchemes)
        const docs = yield* ask(`${base}/docs`)
        assert.strictEqual(docs.status, 200)
        assert.include(docs.headers.get("content-security-policy"), "default-src 'none'")
        assert.deepStrictEqual([...docs.text.matchAll(/<(?:script|link|img)[^>]+(?:src|href)=/g)].map(String), [])
      }).pipe(Effect.scoped))

    it.live("is counted at /metrics, where an observer counts", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total], {}, MetricsObserver.layer())
        yield* post(`${base}/api/flows/total/run`, order)
        const text = yield* ask(`${base}/metrics`).pipe(
          Effect.map((answer) => answer.text),
          Effect.repeat({ until: (text) => text.includes("penguiflow_traces_ended_total{"), times: 1000 })
        )
        assert.include(text, `penguiflow_traces_ended_total{flow="total",outcome="succeeded"}`)
      }).pipe(Effect.scoped))

    it.live("answers nothing else: 404, and 405 with what would be answered", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total])
        const nothing = yield* ask(`${base}/api/nothing`)
        assert.deepStrictEqual([nothing.status, nothing.json.code], [404, "NOT_FOUND"])
        const method = yield* ask(`${base}/api/flows/total/run`, { method: "PUT" })
        assert.deepStrictEqual([method.status, method.headers.get("allow")], [405, "POST"])
        const post405 = yield* post(`${base}/api/flows`, 1)
        assert.deepStrictEqual([post405.status, post405.headers.get("allow")], [405, "GET, HEAD"])
        const unknown = yield* post(`${base}/api/flows/nope/run`, 1)
        assert.deepStrictEqual([unknown.status, unknown.json.code], [404, "FLOW_NOT_FOUND"])
        const head = yield* ask(`${base}/api/events`, { method: "HEAD" })
        assert.strictEqual(head.status, 200)
      }).pipe(Effect.scoped))
  })

  describe("a stream", () => {
    const url = (base: string, query = "") => `${base}/api/flows/${encodeURIComponent(words.name)}/stream${query}`
    const init = (text: string, headers?: Record<string, string>): RequestInit => ({
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(text)
    })

    it.live("sends parts, results and the end, each with an id", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([words])
        const sent = yield* Stream.runCollect(sse(url(base, "?traceId=s"), init("a bc")))
        assert.deepStrictEqual(sent.slice(0, 3), [
          { id: "1", event: "part", data: { node: "split", attempt: 1, seq: 0, value: "1970-01-01T00:00:00.001Z" } },
          { id: "2", event: "part", data: { node: "split", attempt: 1, seq: 1, value: "1970-01-01T00:00:00.002Z" } },
          { id: "3", event: "result", data: { node: "split", value: 2 } }
        ])
        assert.strictEqual(sent[3]?.event, "done")
        assert.strictEqual(sent[3]?.data.traceId, "s")
        assert.isNumber(sent[3]?.data.durationMs)
      }).pipe(Effect.scoped))

    it.live("ends with what the trace failed with", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total])
        const sent = yield* Stream.runCollect(
          sse(`${base}/api/flows/total/stream`, {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ ...order, id: "refused" })
          })
        )
        assert.deepStrictEqual(sent.map(({ data, event }) => [event, data.code, data.node]), [[
          "error",
          "Refused",
          "sum"
        ]])
      }).pipe(Effect.scoped))

    it.live("that is left cancels its trace, and its finalizers run", () =>
      Effect.gen(function*() {
        const { flow, state } = waiting()
        const { base } = yield* serving([flow])
        const reading = yield* Effect.forkChild(
          Stream.runDrain(sse(`${base}/api/flows/waiting/stream`, {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: "1"
          }))
        )
        yield* eventually(() => state.running === 1)
        yield* Fiber.interrupt(reading)
        yield* eventually(() => state.stopped === 1)
      }).pipe(Effect.scoped))

    it.live("that is detached goes on, and is resumed where its reader was", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([words])
        const [first] = yield* Stream.runCollect(
          Stream.take(sse(url(base, "?detach=true&traceId=d"), init("a bc def")), 1)
        )
        assert.strictEqual(first?.id, "1")
        const rest = yield* Stream.runCollect(sse(`${base}/api/streams/d`, { headers: { "last-event-id": "1" } }))
        assert.deepStrictEqual(rest.map(({ event, id }) => [id, event]), [
          ["2", "part"],
          ["3", "part"],
          ["4", "result"],
          ["5", "done"]
        ])
        const all = yield* Stream.runCollect(sse(`${base}/api/streams/d`))
        assert.lengthOf(all, 5)
        const other = yield* ask(`${base}/api/streams/nope`)
        assert.deepStrictEqual([other.status, other.json.code], [404, "STREAM_NOT_FOUND"])
      }).pipe(Effect.scoped))

    it.live("tells a reader that comes back too late how much is gone", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([words], { streamBuffer: 4 })
        yield* Stream.runDrain(sse(url(base, "?detach=true&traceId=d"), init("a b c d e f g h")))
        const late = yield* Stream.runCollect(sse(`${base}/api/streams/d`, { headers: { "last-event-id": "1" } }))
        assert.deepStrictEqual(late.map(({ event, id }) => [id, event]), [
          [undefined, "lost"],
          ["7", "part"],
          ["8", "part"],
          ["9", "result"],
          ["10", "done"]
        ])
        assert.deepStrictEqual(late[0]?.data, { count: 5 })
      }).pipe(Effect.scoped))

    it.live("of which nothing is said for a while says that it is there", () =>
      Effect.gen(function*() {
        const { flow } = waiting()
        const { base } = yield* serving([flow], { heartbeat: "20 millis" })
        const beats = yield* Effect.promise(async () => {
          const controller = new AbortController()
          const response = await fetch(`${base}/api/flows/waiting/stream`, {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: "1",
            signal: controller.signal
          })
          let text = ""
          for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
            text += chunk
            if (text.split(": \n\n").length > 4) break
          }
          controller.abort()
          return text
        })
        assert.match(beats, /^(: \n\n)+$/)
      }).pipe(Effect.scoped))
  })

  describe("what happens", () => {
    it.live("is told after a snapshot, and goes on where a reader was", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total])
        yield* post(`${base}/api/flows/total/run?traceId=before`, order)
        const snapshot = yield* snapshotWhere(base, ({ total }) => total.succeeded === 1)
        assert.strictEqual(snapshot.event, "snapshot")
        assert.deepStrictEqual(snapshot.data.flows.total, {
          open: 0,
          started: 1,
          succeeded: 1,
          failed: 0,
          cancelled: 0,
          nodes: { sum: { running: 0, succeeded: 1, errored: 0, failed: 0, retrying: 0, timedOut: 0 } }
        })
        assert.strictEqual(snapshot.data.recent[0].traceId, "before")
        yield* post(`${base}/api/flows/total/run?traceId=after`, { ...order, id: "refused" })
        const resumed = yield* Stream.runCollect(
          sse(`${base}/api/events?flow=total`, { headers: { "last-event-id": snapshot.id! } }).pipe(
            Stream.takeUntil(({ data }) => data._tag === "TraceFailed")
          )
        )
        assert.deepStrictEqual(resumed.map(({ data, event }) => [event, data._tag]), [
          ["event", "TraceStarted"],
          ["event", "NodeStarted"],
          ["event", "NodeErrored"],
          ["event", "NodeFailed"],
          ["event", "TraceFailed"]
        ])
      }).pipe(Effect.scoped))

    it.live("begins with a snapshot again where the id is of another server, or its events are gone", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total], { eventBuffer: 2 })
        const firstOf = (lastId: string) =>
          Stream.runCollect(Stream.take(sse(`${base}/api/events`, { headers: { "last-event-id": lastId } }), 1))
        const [one] = yield* firstOf("another.3")
        assert.strictEqual(one?.event, "snapshot")
        yield* post(`${base}/api/flows/total/run`, order)
        const [two] = yield* firstOf(one!.id!).pipe(
          Effect.repeat({ until: ([it]) => it?.event === "snapshot", times: 1000 })
        )
        assert.strictEqual(two?.event, "snapshot")
      }).pipe(Effect.scoped))

    it.live("is more than anybody can look at: the newest, and how much else there was", () =>
      Effect.gen(function*() {
        const item = Node.make("item", { input: Schema.Int, output: Schema.Int, run: (n) => Effect.succeed(n) })
        const many = Flow.make("many", [Node.forEach(item, { concurrency: 1 }).to()])
        const { base } = yield* serving([many])
        const began = yield* Deferred.make<void>()
        const watching = yield* Effect.forkChild(Stream.runCollect(
          sse(`${base}/api/events`).pipe(
            Stream.tap(({ event }) => event === "snapshot" ? Deferred.succeed(began, undefined) : Effect.void),
            Stream.takeUntil(({ data }) => data._tag === "TraceSucceeded")
          )
        ))
        yield* Deferred.await(began)
        yield* post(`${base}/api/flows/many/run`, Array.from({ length: 2000 }, (_, n) => n))
        const [, ...sent] = yield* Fiber.join(watching)
        const lost = sent.filter(({ event }) => event === "lost").reduce((sum, { data }) => sum + data.count, 0)
        const events = sent.filter(({ event }) => event === "event")
        assert.isAbove(lost, 0)
        // Of each item two, of the node around them two, of the trace two.
        assert.strictEqual(lost + events.length, 2 * 2000 + 4)
        const ids = sent.map(({ id }) => Number(id?.split(".")[1]))
        assert.deepStrictEqual(ids, ids.toSorted((a, b) => a - b))
      }).pipe(Effect.scoped))

    it.live("counts what runs now, and what is over", () =>
      Effect.gen(function*() {
        const { flow, state } = waiting()
        const { base } = yield* serving([flow])
        const running = yield* Effect.forkChild(post(`${base}/api/flows/waiting/run?traceId=r`, 1))
        yield* eventually(() => state.running === 1)
        const during = yield* snapshotWhere(base, ({ waiting }) => waiting.open === 1)
        assert.strictEqual(during.data.flows.waiting.nodes.wait.running, 1)
        const cancelled = yield* post(`${base}/api/traces/r/cancel`, { reason: "enough" })
        assert.deepStrictEqual(cancelled.json, { cancelled: true })
        const after = yield* snapshotWhere(base, ({ waiting }) => waiting.open === 0)
        assert.strictEqual(after.data.flows.waiting.cancelled, 1)
        assert.strictEqual(after.data.flows.waiting.nodes.wait.running, 0)
        assert.strictEqual(after.data.recent[0].status, "cancelled")
        const answer = yield* Fiber.join(running)
        assert.deepStrictEqual([answer.status, answer.json.code], [499, "TRACE_CANCELLED"])
        assert.strictEqual(state.stopped, 1)
      }).pipe(Effect.scoped))
  })

  describe("jobs", () => {
    it.live("are stored, seen, cancelled, retried and forgotten", () =>
      Effect.gen(function*() {
        const queue = JobQueueMemory.layer()
        const { base } = yield* serving([total], {}, queue)
        const stored = yield* post(`${base}/api/flows/total/jobs?id=j1&tenant=acme`, order)
        assert.deepStrictEqual([stored.status, stored.json], [202, { id: "j1" }])
        assert.strictEqual(stored.headers.get("location"), "/api/jobs/j1")
        const again = yield* post(`${base}/api/flows/total/jobs?id=j1`, { ...order, id: "b" })
        assert.deepStrictEqual([again.status, again.json.code], [409, "ID_CONFLICT"])
        const bad = yield* post(`${base}/api/flows/total/jobs`, { id: "" })
        assert.deepStrictEqual([bad.status, bad.json.code], [400, "INVALID_INPUT"])
        const list = yield* ask(`${base}/api/jobs?state=queued&tenant=acme`)
        assert.deepStrictEqual(list.json.jobs.map((job: { readonly id: string }) => job.id), ["j1"])
        assert.strictEqual(list.json.counts.queued, 1)
        assert.deepStrictEqual((yield* post(`${base}/api/jobs/j1/cancel`, "")).json, { cancelled: true })
        assert.strictEqual((yield* ask(`${base}/api/jobs/j1`)).json.state, "cancelled")
        assert.deepStrictEqual((yield* post(`${base}/api/jobs/j1/retry`, "")).json, { requeued: 1 })
        assert.deepStrictEqual((yield* ask(`${base}/api/jobs/j1`, { method: "DELETE" })).json, { purged: 1 })
        assert.strictEqual((yield* ask(`${base}/api/jobs/j1`)).status, 404)
      }).pipe(Effect.scoped))

    it.live("that a worker beside the server runs are seen as they run", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total], { above: Worker.layer(total) }, JobQueueMemory.layer())
        yield* post(`${base}/api/flows/total/jobs?id=seen`, order)
        const { data } = yield* snapshotWhere(base, ({ total }) => total.succeeded === 1)
        assert.strictEqual(data.recent[0].traceId, "job-seen")
        const job = yield* ask(`${base}/api/jobs/seen`).pipe(
          Effect.repeat({ until: ({ json }) => json.state === "done", times: 1000 })
        )
        assert.deepStrictEqual(job.json.results, [{ total: 5, at: "1970-01-01T00:00:00.000Z" }])
      }).pipe(Effect.scoped))

    it.live("are not there without a queue", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total])
        const { json, status } = yield* post(`${base}/api/flows/total/jobs`, order)
        assert.deepStrictEqual([status, json.code], [404, "NO_JOB_QUEUE"])
      }).pipe(Effect.scoped))
  })

  describe("traces", () => {
    it.live("are kept where there is a store, with their events, and are replayed", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total], {}, TraceStoreMemory.layer())
        yield* post(`${base}/api/flows/total/run?traceId=kept`, order)
        const { json } = yield* ask(`${base}/api/traces/kept`).pipe(
          Effect.repeat({
            until: ({ json }) => json.trace?.status === "succeeded" && json.trace.input !== undefined,
            times: 1000
          })
        )
        assert.deepStrictEqual(json.trace.input.json, order)
        assert.strictEqual(json.events.at(-1)._tag, "TraceSucceeded")
        const list = yield* ask(`${base}/api/traces?status=succeeded&flow=total`)
        assert.strictEqual(list.json.traces[0].traceId, "kept")
        const replay = yield* post(`${base}/api/traces/kept/replay`, "")
        assert.isTrue(replay.json.same)
        const none = yield* post(`${base}/api/traces/nope/replay`, "")
        assert.deepStrictEqual([none.status, none.json.code], [404, "TRACE_NOT_FOUND"])
      }).pipe(Effect.scoped))
  })

  describe("migrations", () => {
    it.live("are reported by name", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total], { migrations: ["m"] }, MigrationReportsMemory.layer())
        assert.deepStrictEqual((yield* ask(`${base}/api/migrations`)).json, { migrations: ["m"] })
        assert.strictEqual((yield* ask(`${base}/api/migrations/m`)).json.migration, "m")
        assert.strictEqual((yield* ask(`${base}/api/migrations/n`)).status, 404)
      }).pipe(Effect.scoped))
  })

  describe("the client", () => {
    it.live("takes what the flow takes, and gives what it gives", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total, words], {}, JobQueueMemory.layer())
        const client = yield* FlowHttp.client({ baseUrl: base })
        const result = yield* client.run(total, order)
        assert.deepStrictEqual(result, { total: 5, at: new Date(0) })
        const own = yield* Effect.flip(client.run(total, { ...order, id: "refused" }))
        assert.instanceOf(own, Refused)
        assert.strictEqual(own._tag === "Refused" && own.at.getTime(), 5)
        const died = yield* Effect.flip(client.run(total, { ...order, id: "broken" }))
        assert.deepInclude(died, { _tag: "FlowHttpError", status: 500, code: "NODE_EXCEPTION", node: "sum" })
        const unsent = yield* Effect.flip(client.run(total, { id: "", items: [] }))
        assert.deepInclude(unsent, { _tag: "FlowHttpError", status: 0, code: "INVALID_INPUT" })
        const items = yield* Stream.runCollect(client.stream(words, "a bc"))
        assert.deepStrictEqual(items, [
          { _tag: "Part", node: "split", attempt: 1, seq: 0, value: new Date(1) },
          { _tag: "Part", node: "split", attempt: 1, seq: 1, value: new Date(2) },
          { _tag: "Result", node: "split", value: 2 }
        ])
        assert.strictEqual(yield* client.enqueue(total, order, { id: "j" }), "j")
        assert.isFalse(yield* client.cancel("nobody"))
      }).pipe(Effect.scoped, Effect.provide(FetchHttpClient.layer)))

    it.live("that leaves cancels the trace, and that finds nobody says so", () =>
      Effect.gen(function*() {
        const { flow, state } = waiting()
        const { base } = yield* serving([flow])
        const client = yield* FlowHttp.client({ baseUrl: base })
        const calls = [client.run(flow, 1), Stream.runDrain(client.stream(flow, 1))]
        for (const [index, call] of calls.entries()) {
          const fiber = yield* Effect.forkChild(call)
          yield* eventually(() => state.running === index + 1)
          yield* Fiber.interrupt(fiber)
          yield* eventually(() => state.stopped === index + 1)
        }
        const nobody = yield* FlowHttp.client({ baseUrl: "http://127.0.0.1:9" })
        const error = yield* Effect.flip(nobody.run(flow, 1))
        assert.deepInclude(error, { code: "NO_ANSWER", status: 0 })
      }).pipe(Effect.scoped, Effect.provide(FetchHttpClient.layer)))
  })

  describe("auth", () => {
    const token = "correct horse".replaceAll(" ", "-")

    it.live("lets through who bears the token, and tells nobody else anything", () =>
      Effect.gen(function*() {
        const { base } = yield* serving([total], {}, FlowHttp.bearer(Redacted.make(token)))
        const guarded = ["/api/flows", "/metrics", "/openapi.json", "/docs", "/api/nothing", "/api/events"]
        for (const path of guarded) {
          const { headers, json, status } = yield* ask(`${base}${path}`)
          assert.deepStrictEqual([path, status, json.code], [path, 401, "UNAUTHORIZED"])
          assert.strictEqual(headers.get("www-authenticate"), "Bearer")
        }
        for (const path of ["/", "/assets/app.js", "/assets/app.css", "/healthz", "/readyz"]) {
          assert.deepStrictEqual([path, (yield* ask(`${base}${path}`)).status], [path, 200])
        }
        const wrong = [
          "",
          "Bearer",
          "Bearer ",
          `Bearer ${token}x`,
          `Bearer ${token.slice(1)}`,
          `Bearer ${token}${token}`,
          `Basic ${token}`,
          token
        ]
        for (const authorization of wrong) {
          const { status } = yield* post(`${base}/api/flows/total/run`, order, { authorization })
          assert.strictEqual(status, 401, authorization)
        }
        const right = yield* post(`${base}/api/flows/total/run`, order, { authorization: `bearer ${token}` })
        assert.strictEqual(right.status, 200)
        const client = yield* FlowHttp.client({ baseUrl: base, token: Redacted.make(token) })
        assert.strictEqual((yield* client.run(total, order)).total, 5)
        assert.isTrue((yield* ask(`${base}/openapi.json`, { headers: { authorization: `Bearer ${token}` } })).text
          .includes(`"security":[{"bearer":[]}]`))
      }).pipe(Effect.scoped, Effect.provide(FetchHttpClient.layer)))

    it.live("is needed on an address that others can reach, unless one says otherwise", () =>
      Effect.gen(function*() {
        const built = (options: FlowHttp.Options, under: Layer.Layer<never>) =>
          Effect.exit(Effect.scoped(Layer.build(
            FlowHttp.layer([total], options).pipe(
              Layer.provide(under),
              Layer.provide(HttpServerNode.layer({ port: 0, host: "0.0.0.0" }))
            )
          )))
        const refused = yield* built({}, Layer.empty)
        assert.isTrue(Exit.isFailure(refused))
        assert.include(String(refused), "ServeRefused")
        assert.isTrue(Exit.isSuccess(yield* built({ allowUnauthenticated: true }, Layer.empty)))
        assert.isTrue(Exit.isSuccess(yield* built({}, FlowHttp.bearer(Redacted.make("t")) as Layer.Layer<never>)))
      }))

    it.live("may be anybody's own", () =>
      Effect.gen(function*() {
        const own = Layer.succeed(FlowHttp.Auth, {
          check: (request) => Effect.succeed(request.headers["x-key"] === "k")
        })
        const { base } = yield* serving([total], {}, own)
        assert.strictEqual((yield* ask(`${base}/api/flows`)).status, 401)
        assert.strictEqual((yield* ask(`${base}/api/flows`, { headers: { "x-key": "k" } })).status, 200)
      }).pipe(Effect.scoped))

    it("takes no empty token", () => {
      for (const wrong of [" ", "two words"]) {
        assert.throws(() => Effect.runSync(Effect.scoped(Layer.build(FlowHttp.bearer(Redacted.make(wrong))))))
      }
    })
  })

  it.live("two flows of one name are refused", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(
        FlowHttp.layer([total, total]).pipe(Layer.provide(HttpServerNode.layer({ port: 0 })))
      )))
      assert.include(String(exit), "two flows are named")
    }))

  it.live("flows get their services from where they are served", () =>
    Effect.gen(function*() {
      class Rate extends Context.Service<Rate, number>()("test/Rate") {}
      const convert = Node.make("convert", {
        input: Schema.Number,
        output: Schema.Number,
        run: (n) => Rate.useSync((rate) => n * rate)
      })
      const flow = Flow.make("convert", [convert.to()])
      const { base } = yield* serving([flow], {}, Layer.succeed(Rate, 3))
      const layer = FlowHttp.layer([flow])
      expectTypeOf<Layer.Services<typeof layer>>().toEqualTypeOf<HttpServer.HttpServer | Rate>()
      assert.deepStrictEqual((yield* post(`${base}/api/flows/convert/run`, 2)).json.results, [6])
    }).pipe(Effect.scoped))
})
