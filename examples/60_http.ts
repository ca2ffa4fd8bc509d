/**
 * @title A flow over HTTP: run, streamed, enqueued, watched
 *
 *     node --conditions=source examples/60_http.ts --port 3000
 *     curl -H 'content-type: application/json' -d '{"text":"Three small words"}' http://127.0.0.1:3000/api/flows/words/run
 *
 * Everything is kept in memory: jobs, traces and metrics. With TOKEN in the environment it asks for that token, and then
 * may be bound to an address that others can reach: `--host 0.0.0.0`. Ctrl-C lets requests under way end.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Layer, Option, Schema, Stream } from "effect"
import { HttpServer } from "effect/http"
import { parseArgs } from "node:util"
import { Flow, Join, Node } from "penguiflow"
import * as FlowHttp from "penguiflow/FlowHttp"
import * as HttpServerNode from "penguiflow/layers/HttpServerNode"
import * as JobQueueMemory from "penguiflow/layers/JobQueueMemory"
import * as MetricsObserver from "penguiflow/layers/MetricsObserver"
import * as TraceStoreMemory from "penguiflow/layers/TraceStoreMemory"
import * as Worker from "penguiflow/Worker"

const Text = Schema.Struct({ text: Schema.NonEmptyString })

class NoWords extends Schema.TaggedError<NoWords>()("NoWords", {}) {
  override readonly message = "the text holds no word"
}

/** Sends each word as a part before it gives them all: the stream shows them as they come. */
const split = Node.stream("split", {
  input: Text,
  part: Schema.String,
  output: Schema.NonEmptyArray(Schema.String),
  error: NoWords,
  rerun: "pure",
  run: ({ text }) => {
    const [first, ...rest] = text.toLowerCase().match(/\p{L}+/gu) ?? []
    return first === undefined ? Stream.fail(new NoWords()) : Stream.make(first, ...rest)
  },
  collect: ([first = "", ...rest]) => [first, ...rest] as const
})

const count = Node.make("count", {
  input: Schema.Array(Schema.String),
  output: Schema.Int,
  rerun: "pure",
  run: (words) => Effect.succeed(words.length)
})

const longest = Node.make("longest", {
  input: Schema.Array(Schema.String),
  output: Schema.String,
  rerun: "pure",
  run: (words) => Effect.succeed(words.reduce((a, b) => b.length > a.length ? b : a, ""))
})

const summary = Join.all("summary", { count: Schema.Int, longest: Schema.String })

export const flow = Flow.make("words", [
  split.to(count, longest),
  count.to(summary.in.count),
  longest.to(summary.in.longest),
  summary.to()
])

const auth = Layer.unwrap(Effect.map(
  Config.Redacted("TOKEN").pipe(Config.option),
  Option.match({ onNone: () => Layer.empty, onSome: (token) => FlowHttp.bearer(token) })
))

/** Who counts, and what keeps. */
const kept = Layer.mergeAll(JobQueueMemory.layer(), MetricsObserver.layer(), TraceStoreMemory.layer())

const serving = (options: HttpServerNode.Options) =>
  Layer.effectDiscard(
    HttpServer.addressFormattedWith((address) => Console.log(`Serving "${flow.name}" at ${address}`))
  ).pipe(
    // Under the server's layer, so that what it runs is seen there.
    Layer.provideMerge(Worker.layer(flow)),
    Layer.provideMerge(FlowHttp.layer([flow], { version: "1.0.0" })),
    Layer.provide([kept, auth]),
    Layer.provide(HttpServerNode.layer(options))
  )

// Only where it is the script that was started: others may import the flow.
if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: process.env["PORT"] ?? "3000" },
      host: { type: "string", default: "127.0.0.1" }
    }
  })
  NodeRuntime.runMain(Layer.launch(serving({ port: Number(values.port), host: values.host })))
}
