/**
 * @title The first real run: 233 addresses through an enrichment flow into a database
 *
 * `npm start`, or `npm start -- --help`. The flow itself is in `corpus/flow.ts`, the services it needs in
 * `corpus/services.ts` and `corpus/store.ts`; this file is the command around it.
 */
// Compiles schemas, for the whole process: an application's choice, and only before any schema is used.
// oxlint-disable-next-line import/no-unassigned-import
import "effect/schema/SchemaJITCompiler/enable"
import { NodeServices } from "@effect/platform-node"
import { Data, Deferred, Effect, Layer, Option, Runtime } from "effect"
import { Command, Flag } from "effect/cli"
import { mkdir } from "node:fs/promises"
import { dirname, join, relative } from "node:path"
import * as Sqlite from "penguiflow/layers/Sqlite"
import { readInput, UnreadableInput } from "./corpus/input.ts"
import { report } from "./corpus/report.ts"
import { runAll } from "./corpus/run.ts"
import * as Serve from "./corpus/serve.ts"
import * as Services from "./corpus/services.ts"
import * as Store from "./corpus/store.ts"
import * as Terminal from "./corpus/terminal.ts"

/** How the process ends; nothing more is said about it. */
class Ended extends Data.TaggedError("Ended")<{ readonly code: number }> {
  override readonly [Runtime.errorExitCode] = this.code
  override readonly [Runtime.errorReported] = false
}

const bundled = join(import.meta.dirname, "data", "sotu.ndjson.gz")
const fromHere = (path: string) => relative(process.cwd(), path) || path

const documents = (count: number) => `${count} document${count === 1 ? "" : "s"}`

const atLeastOne = (name: string) =>
  Flag.Int(name).pipe(Flag.filter((n) => n >= 1, () => "Expected a whole number from 1 on"))

const command = Command.make("corpus", {
  input: Flag.String("input").pipe(
    Flag.withDefault(bundled),
    Flag.withMetavar("FILE"),
    Flag.withDescription("JSON lines with id, year, name, party and text, compressed with gzip or not")
  ),
  db: Flag.String("db").pipe(
    Flag.withDefault(join(".penguiflow", "corpus.sqlite")),
    Flag.withMetavar("FILE"),
    Flag.withDescription("The SQLite database that documents are stored in; made if it is not there")
  ),
  concurrency: atLeastOne("concurrency").pipe(
    Flag.withDefault(8),
    Flag.withDescription("How many documents are in the flow at once")
  ),
  limit: atLeastOne("limit").pipe(Flag.optional, Flag.withDescription("Only the first so many documents")),
  near: Flag.String("near").pipe(
    Flag.optional,
    Flag.withMetavar("ID"),
    Flag.withDescription("Whose nearest neighbours are shown at the end")
  ),
  serve: Flag.Boolean("serve").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Opens the dashboard while it runs, and serves the flow until Ctrl-C")
  ),
  port: Flag.Int("port").pipe(
    Flag.filter((n) => n >= 0 && n < 65_536, () => "Expected a port from 0 to 65535"),
    Flag.withDefault(8080),
    Flag.withDescription("With --serve: where; 0 takes a free one")
  )
}, ({ concurrency, db, input, limit, near, port, serve }) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal.Terminal
    const interruption = Deferred.await(yield* Terminal.interruption)
    const { faults, lines } = yield* readInput(input)
    if (lines.length + faults.length === 0) {
      return yield* new UnreadableInput({ message: `${input} is empty: there is nothing to do.` })
    }
    // Only the last directory of the path, and whatever is wrong with it is told when the database is opened.
    yield* Effect.ignore(Effect.tryPromise(() => mkdir(dirname(db))))
    const taken = lines.slice(0, Option.getOrElse(limit, () => lines.length))
    yield* terminal.note(
      `${documents(taken.length)} from ${fromHere(input)} into ${db}. Learning which words are rare…`
    )

    // The database first: whether it can be opened is known at once, the rest takes a moment.
    const services = Store.layer.pipe(
      Layer.provideMerge(Services.layer(lines)),
      Layer.provideMerge(Sqlite.layer({ filename: db }))
    )
    const begin = Effect.gen(function*() {
      const ran = yield* runAll(taken, { concurrency, interruption })
      const damaged = faults.map(({ line, message }) => ({ line, node: "input", message }))
      const summary = { ...ran, total: ran.total + damaged.length, failures: [...damaged, ...ran.failures] }
      yield* report(summary, { near })
      const { failures, interrupted, replaced, stored, total, unchanged } = summary
      yield* terminal.print("")
      if (Option.isSome(interrupted)) {
        const done = stored + replaced + unchanged + failures.length
        const rest = done < total ? "Run it again to do the rest." : "That was all of them."
        yield* terminal.print(`Interrupted after ${done} of ${documents(total)}. ${rest}`)
        return interrupted.value
      }
      if (failures.length > 0) {
        const others = failures.length < total ? " The others are stored." : ""
        yield* terminal.print(`${failures.length} of ${documents(total)} failed.${others}`)
        return 1
      }
      yield* terminal.print(
        stored + replaced === 0
          ? `${documents(unchanged)} stored before, none stored twice.`
          : `Run it again: it will find the ${documents(total)}, and store nothing twice.`
      )
      return 0
    })
    const served = Effect.gen(function*() {
      const url = yield* Serve.url
      yield* terminal.note(`The dashboard is at ${url}`)
      yield* Serve.open(url)
      const code = yield* begin
      if (code < 128) {
        yield* terminal.note(`Still serving at ${url}. Ctrl-C ends it.`)
        yield* interruption
      }
      return code
    })
    const code = yield* serve
      ? Effect.provide(served, Layer.provideMerge(Serve.layer(port), services))
      : Effect.provide(begin, services)
    if (code !== 0) return yield* new Ended({ code })
  }).pipe(Effect.scoped, Effect.provide(Terminal.layer))).pipe(
    Command.withDescription(
      `Runs the State of the Union addresses through a flow: validates, embeds and classifies each,
  reads who gave it, stores all of it in one transaction, and checks what was stored.

  Ctrl-C finishes what is open and says how far it came; a second one ends at once.

  Exit codes: 0 all is stored, 1 some documents failed, 2 wrong usage or nothing could be begun,
  130 interrupted.`
    ),
    Command.withExamples([
      { command: "npm start", description: "All 233 addresses" },
      { command: "npm start -- --serve", description: "The same, on the dashboard" },
      { command: "npm start -- --limit 20 --concurrency 2", description: "The first 20, two at a time" }
    ])
  )

const say = (error: { readonly message: string }) =>
  Effect.andThen(Effect.sync(() => process.stderr.write(`✗ ${error.message}\n`)), new Ended({ code: 2 }))

const main = Command.run(command, { version: "0.1.0" }).pipe(
  Effect.catchTags({
    ShowHelp: (help) => help.errors.length > 0 ? new Ended({ code: 2 }) : Effect.void,
    NotServed: say,
    ServeRefused: say,
    UnreadableInput: say,
    SqlError: say,
    MigrationError: say
  }),
  Effect.provide(NodeServices.layer)
)

// Whoever reads along may leave, as in `npm start | head`: then there is nobody to tell.
process.stdout.on("error", () => process.exit(0))

// Like NodeRuntime.runMain, but signals are the command's own business: a first Ctrl-C is not an interruption here.
Runtime.makeRunMain(({ fiber, teardown }) => {
  fiber.addObserver((exit) => teardown(exit, (code) => process.exitCode = code))
})(main)
