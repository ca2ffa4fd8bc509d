import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric, type Scope } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { OtlpExporter } from "effect/observability"
import { createServer, type IncomingHttpHeaders } from "node:http"
import { Flow, FlowRuntime } from "penguiflow"
import * as Telemetry from "penguiflow/layers/Telemetry"
import { add, failing } from "../utils/nodes.ts"
import { watchedFlow } from "./watchedFlow.ts"

// ---------------------------------------------------------------- a collector, as far as these tests ask

interface KeyValue {
  readonly key: string
  readonly value: { readonly stringValue?: string; readonly intValue?: string | number; readonly boolValue?: boolean }
}
interface OtlpSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: ReadonlyArray<KeyValue>
  readonly status: { readonly code: number; readonly message?: string }
  readonly events: ReadonlyArray<{ readonly name: string }>
}
interface OtlpMetric {
  readonly name: string
  readonly sum?: {
    readonly dataPoints: ReadonlyArray<
      { readonly attributes: ReadonlyArray<KeyValue>; readonly asDouble?: number; readonly asInt?: string | number }
    >
  }
}
interface Body {
  readonly resourceSpans?: ReadonlyArray<{
    readonly resource: { readonly attributes: ReadonlyArray<KeyValue> }
    readonly scopeSpans: ReadonlyArray<{ readonly spans: ReadonlyArray<OtlpSpan> }>
  }>
  readonly resourceMetrics?: ReadonlyArray<{
    readonly scopeMetrics: ReadonlyArray<{ readonly metrics: ReadonlyArray<OtlpMetric> }>
  }>
  readonly resourceLogs?: ReadonlyArray<{
    readonly scopeLogs: ReadonlyArray<
      { readonly logRecords: ReadonlyArray<{ readonly body?: { readonly stringValue?: string } }> }
    >
  }>
}
interface Request {
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly bytes: Buffer
}

/** Takes whatever is posted to it, and answers with a status. */
const collector = (status: number): Effect.Effect<
  { readonly baseUrl: string; readonly requests: ReadonlyArray<Request> },
  never,
  Scope.Scope
> =>
  Effect.gen(function*() {
    const requests: Array<Request> = []
    const server = yield* Effect.acquireRelease(
      Effect.promise(() =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const made = createServer((request, response) => {
            const chunks: Array<Buffer> = []
            request.on("data", (chunk: Buffer) => chunks.push(chunk))
            request.on("end", () => {
              requests.push({ url: request.url ?? "", headers: request.headers, bytes: Buffer.concat(chunks) })
              response.writeHead(status, { "content-type": "application/json" }).end("{}")
            })
          })
          made.listen(0, "127.0.0.1", () => resolve(made))
        })
      ),
      (made) =>
        Effect.promise(() =>
          new Promise<void>((resolve) => {
            made.closeAllConnections()
            made.close(() => resolve())
          })
        )
    )
    const address = server.address()
    return { baseUrl: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`, requests }
  })

const bodies = (requests: ReadonlyArray<Request>, url: string): ReadonlyArray<Body> =>
  requests.filter((request) => request.url === url).map((request) => JSON.parse(request.bytes.toString()) as Body)

const spansIn = (requests: ReadonlyArray<Request>) =>
  bodies(requests, "/v1/traces").flatMap((body) =>
    (body.resourceSpans ?? []).flatMap((resource) => resource.scopeSpans.flatMap(({ spans }) => spans))
  )

const attribute = (attributes: ReadonlyArray<KeyValue>, key: string) => {
  const value = attributes.find((pair) => pair.key === key)?.value
  return value?.stringValue ?? value?.intValue ?? value?.boolValue
}

const registry = () => Layer.succeed(Metric.MetricRegistry, new Map())

// ---------------------------------------------------------------- Prometheus' text, strictly

interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Reads the text format, and throws at the first line that a Prometheus server would refuse. */
const parsePrometheus = (text: string) => {
  const types = new Map<string, string>()
  const samples: Array<Sample> = []
  assert.isTrue(text.endsWith("\n"), "the last line must end")
  for (const line of text.slice(0, -1).split("\n")) {
    const type = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram|summary|untyped)$/.exec(line)
    if (type !== null) {
      assert.isFalse(types.has(type[1]!), `two types for ${type[1]}`)
      types.set(type[1]!, type[2]!)
      continue
    }
    if (/^# HELP [a-zA-Z_:][\w:]* /.test(line)) continue
    const sample = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line)
    assert.isNotNull(sample, `no sample: ${line}`)
    const labels: Record<string, string> = {}
    let rest = sample![2] ?? ""
    while (rest !== "") {
      const label = /^([a-zA-Z_]\w*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)/.exec(rest)
      assert.isNotNull(label, `no label: ${rest}`)
      labels[label![1]!] = label![2]!.replaceAll(/\\(.)/g, (_, char: string) => char === "n" ? "\n" : char)
      rest = rest.slice(label![0].length)
    }
    const value = sample![3] === "+Inf" ? Infinity : Number(sample![3])
    assert.isFalse(Number.isNaN(value), line)
    samples.push({ name: sample![1]!, labels, value })
  }
  for (const { name } of samples) {
    assert.isTrue(
      types.has(name) || types.get(name.replace(/_(bucket|sum|count)$/, "")) === "histogram",
      `${name} has no type`
    )
  }
  return { types, samples }
}

// ---------------------------------------------------------------- the tests

describe("Telemetry", () => {
  it.live(
    "sends spans, metrics and logs to an OTLP collector, the last of them when the layer ends",
    () =>
      Effect.gen(function*() {
        const { baseUrl, requests } = yield* collector(200)
        yield* Effect.gen(function*() {
          const runtime = yield* FlowRuntime.make(watchedFlow("orders"))
          yield* runtime.run({ failures: 1, wrap: "well" }, { traceId: "t1", headers: { tenant: "acme" } })
          yield* Effect.exit(runtime.run({ failures: 0, wrap: "badly" }, { traceId: "t2" }))
          yield* Effect.logInfo("a word of the application")
        }).pipe(
          Effect.scoped,
          Effect.provide(Layer.provideMerge(
            Telemetry.layerOtlp({
              baseUrl,
              serviceName: "shop",
              serviceVersion: "1.2.3",
              headers: { authorization: "Bearer collector" }
            }),
            registry()
          ))
        )
        assert.deepStrictEqual([...new Set(requests.map((request) => request.url))].toSorted(), [
          "/v1/logs",
          "/v1/metrics",
          "/v1/traces"
        ])
        for (const { headers } of requests) {
          assert.strictEqual(headers["authorization"], "Bearer collector")
          assert.include(headers["content-type"], "application/json")
        }
        const [resource] = bodies(requests, "/v1/traces").flatMap((body) => body.resourceSpans ?? [])
        assert.strictEqual(attribute(resource?.resource.attributes ?? [], "service.name"), "shop")
        assert.strictEqual(attribute(resource?.resource.attributes ?? [], "service.version"), "1.2.3")

        const spans = spansIn(requests)
        const ofTrace = (id: string) => spans.filter((span) => attribute(span.attributes, "penguiflow.trace_id") === id)
        const nameOf = (spanId: string | undefined) => spans.find((span) => span.spanId === spanId)?.name
        const lines = (id: string) =>
          ofTrace(id).map((span) => `${span.name} < ${nameOf(span.parentSpanId)} ${span.status.code}`).toSorted()
        // Status 1 is ok, 2 an error.
        assert.deepStrictEqual(lines("t1"), [
          "charge < flow orders 1",
          "charge < flow orders 2",
          "flow orders < undefined 1",
          "pack < flow orders 1",
          "pack/wrap < pack 1",
          "reserve < flow orders 1"
        ])
        assert.deepStrictEqual(lines("t2"), [
          "charge < flow orders 1",
          "flow orders < undefined 2",
          "pack < flow orders 2",
          "pack/wrap < pack 2",
          "reserve < flow orders 1",
          "undo reserve < flow orders 1"
        ])
        for (const id of ["t1", "t2"]) {
          assert.strictEqual(new Set(ofTrace(id).map((span) => span.traceId)).size, 1)
          const trace = ofTrace(id).find((span) => span.name.startsWith("flow"))!
          assert.match(trace.traceId, /^[0-9a-f]{32}$/)
          for (const span of ofTrace(id)) {
            assert.match(span.spanId, /^[0-9a-f]{16}$/)
            assert.isTrue(BigInt(span.startTimeUnixNano) >= BigInt(trace.startTimeUnixNano), span.name)
            assert.isTrue(BigInt(span.endTimeUnixNano) <= BigInt(trace.endTimeUnixNano), span.name)
          }
          const wall = Math.abs(Date.now() - Number(BigInt(trace.endTimeUnixNano) / 1_000_000n))
          assert.isBelow(wall, 60_000)
        }
        const first = ofTrace("t1").find((span) => span.name.startsWith("flow"))!
        assert.strictEqual(attribute(first.attributes, "penguiflow.tenant"), "acme")
        assert.deepStrictEqual(first.events.map((event) => event.name), ["retry"])

        const metrics = bodies(requests, "/v1/metrics").flatMap((body) =>
          (body.resourceMetrics ?? []).flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
        )
        const ended = metrics.findLast((metric) => metric.name === "penguiflow_traces_ended_total")?.sum?.dataPoints ??
          []
        assert.deepStrictEqual(
          ended.map((point) => [attribute(point.attributes, "outcome"), Number(point.asDouble ?? point.asInt)])
            .toSorted(),
          [["failed", 1], ["succeeded", 1]]
        )
        const logs = bodies(requests, "/v1/logs").flatMap((body) =>
          (body.resourceLogs ?? []).flatMap(({ scopeLogs }) => scopeLogs.flatMap((scope) => scope.logRecords))
        )
        assert.isTrue(logs.some((log) => log.body?.stringValue === "a word of the application"))
      }),
    20_000
  )

  it.live("flushes when it is asked to, and speaks protobuf where that is wanted", () =>
    Effect.gen(function*() {
      const { baseUrl, requests } = yield* collector(200)
      yield* Effect.gen(function*() {
        yield* Flow.run(Flow.make("f", [add("n", 1).to()]), 1)
        // Until the observer's fiber has read the events.
        yield* Effect.sleep("50 millis")
        yield* OtlpExporter.Flusher.use((flusher) => flusher.flush)
        assert.isTrue(requests.some((request) => request.url === "/v1/traces"))
      }).pipe(
        Effect.provide(
          Layer.provideMerge(Telemetry.layerOtlp({ baseUrl, serviceName: "shop", encoding: "protobuf" }), registry())
        )
      )
      const traces = requests.find((request) => request.url === "/v1/traces")!
      assert.include(traces.headers["content-type"], "protobuf")
      assert.include(traces.bytes.toString("latin1"), "penguiflow.trace_id")
    }))

  it.live("a collector that refuses or is not there costs the flow nothing", () =>
    Effect.gen(function*() {
      const { baseUrl } = yield* collector(400)
      for (const url of [baseUrl, "http://127.0.0.1:1"]) {
        const started = Date.now()
        const results = yield* Effect.gen(function*() {
          const runtime = yield* FlowRuntime.make(Flow.make("f", [add("n", 1).to()]))
          return yield* Effect.forEach([1, 2, 3], (n) => runtime.run(n))
        }).pipe(
          Effect.scoped,
          Effect.provide(Layer.provideMerge(
            Telemetry.layerOtlp({ baseUrl: url, serviceName: "shop", shutdownTimeout: "200 millis" }),
            registry()
          ))
        )
        assert.deepStrictEqual(results, [2, 3, 4])
        assert.isBelow(Date.now() - started, 3000)
      }
    }))

  it.live("gives Prometheus' text by HTTP: what arrives parses, and counts the flows", () =>
    Effect.gen(function*() {
      const flows = Effect.gen(function*() {
        const runtime = yield* FlowRuntime.make(watchedFlow("orders \"a\\b\"\nc"))
        yield* runtime.run({ failures: 2, wrap: "well" }, {
          traceId: "secret-id",
          headers: { tenant: "secret-tenant" }
        })
        yield* Effect.exit(runtime.run({ failures: 0, wrap: "badly" }))
        const bad = yield* FlowRuntime.make(Flow.make("bad", [failing("n").to()]))
        yield* Effect.exit(bad.run(1))
        yield* Effect.sleep("50 millis")
        const { address } = yield* HttpServer.HttpServer
        const port = "port" in address ? address.port : 0
        const response = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/metrics`))
        return { type: response.headers.get("content-type"), text: yield* Effect.promise(() => response.text()) }
      })
      const server = NodeHttpServer.layer(() => createServer(), { port: 0, host: "127.0.0.1" })
      // One layer for both: the runtimes are under the observer, the server serves the route.
      const telemetry = HttpRouter.serve(Telemetry.layerPrometheus(), { disableLogger: true, disableListenLog: true })
      const { text, type } = yield* Effect.scoped(flows).pipe(
        Effect.provide(Layer.provideMerge(Layer.provideMerge(telemetry, server), registry()))
      )
      assert.strictEqual(type, "text/plain; version=0.0.4; charset=utf-8")
      const { samples, types } = parsePrometheus(text)
      assert.strictEqual(types.get("penguiflow_traces_ended_total"), "counter")
      assert.strictEqual(types.get("penguiflow_traces_in_flight"), "gauge")
      assert.strictEqual(types.get("penguiflow_node_duration_seconds"), "histogram")
      const value = (name: string, labels: Record<string, string>) =>
        samples.find((sample) =>
          sample.name === name && Object.entries(labels).every(([key, label]) => sample.labels[key] === label)
        )?.value
      const flow = "orders \"a\\b\"\nc"
      assert.strictEqual(value("penguiflow_traces_ended_total", { flow, outcome: "succeeded" }), 1)
      assert.strictEqual(value("penguiflow_traces_ended_total", { flow, outcome: "failed" }), 1)
      assert.strictEqual(value("penguiflow_traces_ended_total", { flow: "bad", outcome: "failed" }), 1)
      assert.strictEqual(value("penguiflow_node_retries_total", { flow, node: "charge" }), 2)
      assert.strictEqual(value("penguiflow_compensations_total", { flow, node: "reserve", outcome: "undone" }), 1)
      const buckets = samples.filter((sample) =>
        sample.name === "penguiflow_node_duration_seconds_bucket" && sample.labels["flow"] === flow &&
        sample.labels["node"] === "charge"
      )
      assert.isAtLeast(buckets.length, 10)
      const counts = buckets.map((bucket) => bucket.value)
      assert.deepStrictEqual(counts, counts.toSorted((a, b) => a - b))
      assert.strictEqual(buckets.at(-1)?.labels["le"], "+Inf")
      assert.strictEqual(buckets.at(-1)?.value, 4)
      assert.strictEqual(value("penguiflow_node_duration_seconds_count", { flow, node: "charge" }), 4)
      assert.isAtLeast(value("penguiflow_node_duration_seconds_sum", { flow, node: "charge" }) ?? 0, 0.08)
      assert.notInclude(text, "secret")
    }))
})
