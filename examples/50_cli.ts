/**
 * @title A flow as a command line
 *
 * `node --conditions=source examples/50_cli.ts '{ "text": "Three small words" }'`, or `--help`.
 *
 * Everything that is a command line here is the last statement: where messages come from, how they are checked, what goes
 * to which output, exit codes, Ctrl-C, completions.
 */
import { NodeServices } from "@effect/platform-node"
import { Context, Effect, Layer, Schema, Stream } from "effect"
import { Flow, Join, Node } from "penguiflow"
import * as FlowCli from "penguiflow/FlowCli"

const Text = Schema.Struct({ text: Schema.NonEmptyString })

/** What the flow needs, as a service: a command line of other words needs another layer. */
class Stopwords extends Context.Service<Stopwords, { readonly has: (word: string) => boolean }>()(
  "examples/cli/Stopwords"
) {
  static readonly layer = Layer.sync(Stopwords, () => {
    const words = new Set(["a", "and", "of", "the", "to"])
    return { has: (word) => words.has(word) }
  })
}

/** Sends each word as a part before it gives them all: `--stream` shows them. */
const words = Node.stream("words", {
  input: Text,
  part: Schema.String,
  output: Schema.Array(Schema.String),
  rerun: "pure",
  run: ({ text }) =>
    Stream.unwrap(
      Stopwords.useSync(({ has }) =>
        Stream.fromIterable(text.toLowerCase().match(/\p{L}+/gu) ?? []).pipe(Stream.filter((word) => !has(word)))
      )
    ),
  collect: (parts) => parts
})

const count = Node.make("count", {
  input: Schema.Array(Schema.String),
  output: Schema.Int,
  rerun: "pure",
  run: (all) => Effect.succeed(all.length)
})

const longest = Node.make("longest", {
  input: Schema.Array(Schema.String),
  output: Schema.String,
  rerun: "pure",
  run: (all) => Effect.succeed(all.reduce((a, b) => b.length > a.length ? b : a, ""))
})

const summary = Join.all("summary", { count: Schema.Int, longest: Schema.String })

export const flow = Flow.make("words", [
  words.to(count, longest),
  count.to(summary.in.count),
  longest.to(summary.in.longest),
  summary.to()
])

export const layer = Stopwords.layer

// Only where it is the script that was started: `penguiflow run examples/50_cli.ts` imports it.
if (process.argv[1] === import.meta.filename) {
  FlowCli.run(flow, layer, { version: "1.0.0" }).pipe(Effect.provide(NodeServices.layer), FlowCli.runMain(process))
}
