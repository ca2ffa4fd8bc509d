/** `penguiflow trace`: what became of messages, as a trace store kept it. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import type * as FlowCli from "../../FlowCli.ts"
import * as Flags from "./flags.ts"

/** What every command says of its store. */
export interface Asked extends Flags.Database {
  readonly json: boolean
  readonly debug: boolean
}

/** Which traces are meant. */
export interface Which {
  readonly flow: Option.Option<string>
  readonly tenant: Option.Option<string>
  readonly status: Option.Option<"running" | "succeeded" | "failed" | "cancelled">
  readonly since: Option.Option<Duration.Duration>
  readonly limit: number
}

const handlers = Effect.promise(() => import("../trace.ts"))

const common = { ...Flags.database, json: Flags.json, debug: Flags.debug }

const id = Argument.String("trace").pipe(Argument.withDescription("The id of a trace"))

const list = Command.make("list", {
  flow: Flags.flow,
  tenant: Flags.tenant,
  status: Flag.Literals("status", ["running", "succeeded", "failed", "cancelled"]).pipe(
    Flag.withDescription("Only those that are so; \"running\" also where the end was lost"),
    Flag.optional
  ),
  since: Flags.duration("since").pipe(
    Flag.withDescription("Only those that began less long ago: \"1 hour\""),
    Flag.optional
  ),
  limit: Flags.limit,
  ...common
}, (given) => Effect.flatMap(handlers, (it) => it.list(given))).pipe(
  Command.withShortDescription("Lists traces, the newest first"),
  Command.withDescription(
    `Lists traces, the newest first: a table, or with --json a trace a line.

  Exit codes: 0 listed, 1 it could not be written, 2 wrong usage or a database that does not answer.`
  ),
  Command.withExamples([
    { command: "penguiflow trace list --status failed --since '1 hour'", description: "What went wrong of late" }
  ])
)

const show = Command.make(
  "show",
  { id, flow: Flags.flow, ...common },
  (given) => Effect.flatMap(handlers, (it) => it.show(given))
).pipe(
  Command.withShortDescription("Shows a trace: what went in, what came out, and each attempt at each node"),
  Command.withDescription(
    `Shows a trace: what went in, what came out, and each attempt at each node by its time; of a trace that ran more than
  once the last time. With --json all that is stored of it, as one line: {"trace":…,"events":[…]}.

  Exit codes: 0 shown, 1 it could not be written, 2 no such trace, wrong usage, or a database that does not answer.`
  )
)

const replay = Command.make("replay", {
  module: Argument.String("module").pipe(
    Argument.withDescription("A module that exports the flow, and the layer that its nodes need; importing runs it")
  ),
  id,
  flow: Flag.String("flow").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("Which export is the flow; default: the default export, \"flow\", or the only one"),
    Flag.optional
  ),
  layer: Flags.layer,
  ...common
}, (given) => Effect.flatMap(handlers, (it) => it.replay(given))).pipe(
  Command.withShortDescription("Runs the stored input of a trace again, and compares"),
  Command.withDescription(
    `Runs the stored input of a trace on the flow of today, and compares how it ended and which way it took. Everything is
  done again: export a layer that may be called again. Nothing is stored of it. The input must have been recorded, as
  penguiflow serve, TraceStore.runtime and TraceStore.run do.

  Exit codes: 0 the same, 1 different, 2 it can't be replayed.`
  ),
  Command.withExamples([
    { command: "penguiflow trace replay src/orders.ts 6e7c2b54", description: "With the layer of the module" }
  ])
)

export const trace: Command.Command<"trace", {}, {}, FlowCli.Ended, Stdio.Stdio | Terminal.Terminal> = Command.make(
  "trace"
).pipe(
  Command.withShortDescription("Lists, shows and replays traces that were stored"),
  Command.withDescription(
    `Traces that TraceStoreSql keeps, in PostgreSQL or SQLite (--database, PENGUIFLOW_DATABASE_URL).`
  ),
  Command.withSubcommands([list, show, replay])
)
