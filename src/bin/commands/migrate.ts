/** `penguiflow migrate`: how far a migration is. */
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

/** Which report, and how. */
export interface Asked extends Flags.Database {
  readonly name: string
  readonly format: "text" | "json" | "html"
  readonly out: Option.Option<string>
  readonly since: Option.Option<Duration.Duration>
  readonly matchRate: Option.Option<number>
  readonly latencyRatio: Option.Option<number>
  readonly compared: Option.Option<number>
  readonly debug: boolean
}

const report = Command.make("report", {
  name: Argument.String("name").pipe(Argument.withDescription("The name of the migration")),
  format: Flag.Literals("format", ["text", "json", "html"]).pipe(
    Flag.withDefault("text" as const),
    Flag.withDescription("text is for a terminal, json for programs, html a page with its plots")
  ),
  out: Flag.String("out").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("Writes it to a file in place of standard output"),
    Flag.optional
  ),
  since: Flags.duration("since").pipe(
    Flag.withDescription("Only of requests less long ago: \"1 day\""),
    Flag.optional
  ),
  matchRate: Flag.Finite("match-rate").pipe(
    Flag.withMetavar("N"),
    Flag.filter((n) => n >= 0 && n <= 1, () => "Expected a number from 0 to 1"),
    Flag.withDescription("For the verdict: the least lower bound of the match rate; default 0.99"),
    Flag.optional
  ),
  latencyRatio: Flag.Finite("latency-ratio").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("For the verdict: how many times legacy's p95 the flow's may be; default 1.5"),
    Flag.optional
  ),
  compared: Flags.atLeastOne("compared").pipe(
    Flag.withDescription("For the verdict: the least number of requests compared; default 100"),
    Flag.optional
  ),
  ...Flags.database,
  debug: Flags.debug
}, (given) => Effect.flatMap(Effect.promise(() => import("../migrate.ts")), (it) => it.report(given))).pipe(
  Command.withShortDescription("Says whether old and new agree, and whether to switch"),
  Command.withDescription(
    `Says whether the old implementation and the flow agree, where they don't, how fast both are, and whether to switch: what
  MigrationReportsSql has stored of a migration, in PostgreSQL or SQLite (--database, PENGUIFLOW_DATABASE_URL).

  Exit codes: 0 reported, whatever the verdict, 1 it could not be written, 2 nothing is known of such a migration, wrong
  usage, or a database that does not answer.`
  ),
  Command.withExamples([
    { command: "penguiflow migrate report orders --format html --out report.html", description: "As a page" },
    { command: "penguiflow migrate report orders --format json | jq -r .verdict.decision", description: "For a script" }
  ])
)

export const migrate: Command.Command<"migrate", {}, {}, FlowCli.Ended, Stdio.Stdio | Terminal.Terminal> = Command.make(
  "migrate"
).pipe(
  Command.withShortDescription("Reports how far a migration is"),
  Command.withDescription("Reports how far a migration from an old implementation to a flow is."),
  Command.withSubcommands([report])
)
