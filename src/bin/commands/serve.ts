/** `penguiflow serve`: flows over HTTP, with the dashboard. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import type * as FlowCli from "../../FlowCli.ts"
import * as Flags from "./flags.ts"
import { flows, modules, type Working, working } from "./worker.ts"

/** Which modules, where, and for whom. */
export interface Asked extends Flags.Queue, Working {
  readonly modules: ReadonlyArray<string>
  readonly flow: ReadonlyArray<string>
  readonly layer: Option.Option<string>
  readonly port: number
  readonly host: string
  readonly tokenFile: Option.Option<string>
  readonly allowUnauthenticated: boolean
  readonly allowHost: ReadonlyArray<string>
  readonly allowOrigin: ReadonlyArray<string>
  readonly migration: ReadonlyArray<string>
  readonly worker: boolean
  readonly open: boolean
  readonly debug: boolean
}

const several = (name: string, metavar: string, description: string): Flag.Flag<ReadonlyArray<string>> =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.atLeast(0))

export const serve: Command.Command<"serve", never, {}, FlowCli.Ended, Stdio.Stdio | Terminal.Terminal> = Command.make(
  "serve",
  {
    modules,
    flow: flows,
    layer: Flags.layer,
    port: Flag.Int("port").pipe(
      Flag.withMetavar("N"),
      Flag.filter((n) => n >= 0 && n < 65_536, () => "Expected a port from 0 to 65535; 0 takes a free one"),
      Flag.withDefault(8080),
      Flag.withDescription("0 takes a free one")
    ),
    host: Flag.String("host").pipe(
      Flag.withMetavar("ADDRESS"),
      Flag.withDefault("127.0.0.1"),
      Flag.withDescription("The address to listen at; others than those of this machine alone need a token")
    ),
    tokenFile: Flag.String("token-file").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("Holds the token that requests must bring; default: PENGUIFLOW_TOKEN"),
      Flag.optional
    ),
    allowUnauthenticated: Flag.Boolean("allow-unauthenticated").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Lets everybody who reaches the address do everything, without a token")
    ),
    allowHost: several(
      "allow-host",
      "NAME",
      "A name besides this machine's that a request's Host may be; again for another"
    ),
    allowOrigin: several("allow-origin", "ORIGIN", "Pages from there may send requests, as https://example.org"),
    ...Flags.queue,
    migration: several("migration", "NAME", "A migration whose report is served; again for another"),
    worker: Flag.Boolean("worker").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Also runs jobs of the queue, in this process")
    ),
    ...working,
    open: Flag.Boolean("open").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Opens the dashboard in a browser")
    ),
    debug: Flags.debug
  },
  (given) => Effect.flatMap(Effect.promise(() => import("../serve.ts")), (it) => it.serve(given))
).pipe(
  Command.withShortDescription("Serves flows over HTTP, with the dashboard"),
  Command.withDescription(
    `Serves flows over HTTP, with the dashboard, until a signal ends it. The URL is on standard output, everything else on
  standard error. Requests bring a token where there is one: in PENGUIFLOW_TOKEN, or in the file of --token-file.

  With --database (PENGUIFLOW_DATABASE_URL) jobs, traces and reports of migrations are kept there, with --redis
  (PENGUIFLOW_REDIS_URL) jobs in Redis; else they are in memory, and gone at the end. Jobs are run by --worker in this
  process, or by penguiflow worker in others.

  SIGTERM and SIGINT take nothing new, give what is under way --grace to end, and end with 0 and 130. A second one ends at
  once.

  Exit codes: 0 after SIGTERM, 130 after SIGINT, 2 wrong usage, a port that is taken, a layer that can't be built.`
  ),
  Command.withExamples([
    { command: "penguiflow serve src/orders.ts --worker --open", description: "All in this process, in memory" },
    {
      command: "penguiflow serve src/orders.ts --host 0.0.0.0 --token-file /run/secrets/token",
      description: "For others"
    }
  ])
)
