/** `penguiflow worker`: a process that takes jobs. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as FlowCli from "../../FlowCli.ts"
import * as Flags from "./flags.ts"

/** How jobs are worked on. */
export interface Working {
  readonly concurrency: number
  readonly lease: Duration.Duration
  readonly jobTimeout: Option.Option<Duration.Duration>
  readonly grace: Duration.Duration
  readonly tenantConcurrency: Option.Option<number>
}

/** Which modules, and how. */
export interface Asked extends Flags.Queue, Working {
  readonly modules: ReadonlyArray<string>
  readonly flow: ReadonlyArray<string>
  readonly layer: Option.Option<string>
  readonly name: string
  readonly traces: boolean
  readonly debug: boolean
}

export const modules: Argument.Argument<ReadonlyArray<string>> = Argument.String("module").pipe(
  Argument.withDescription("Modules that export flows, and the layer that their nodes need; importing runs them"),
  Argument.variadic({ min: 1 })
)

export const flows: Flag.Flag<ReadonlyArray<string>> = Flag.String("flow").pipe(
  Flag.withMetavar("NAME"),
  Flag.withDescription("Which export is a flow, again for another one; default: all that the modules export"),
  Flag.atLeast(0)
)

/** How jobs are worked on, as flags. */
export const working: {
  readonly concurrency: Flag.Flag<number>
  readonly lease: Flag.Flag<Duration.Duration>
  readonly jobTimeout: Flag.Flag<Option.Option<Duration.Duration>>
  readonly grace: Flag.Flag<Duration.Duration>
  readonly tenantConcurrency: Flag.Flag<Option.Option<number>>
} = {
  concurrency: Flags.atLeastOne("concurrency").pipe(
    Flag.withDefault(10),
    Flag.withDescription("Jobs at once")
  ),
  lease: Flags.duration("lease").pipe(
    Flag.withDefault(Duration.seconds(30)),
    Flag.withDescription("How long a worker that fell silent keeps its jobs; default 30 seconds")
  ),
  jobTimeout: Flags.duration("job-timeout").pipe(
    Flag.withDescription("For one try of a job that names no time of its own; default: none"),
    Flag.optional
  ),
  grace: Flags.duration("grace").pipe(
    Flag.withDefault(Duration.seconds(30)),
    Flag.withDescription("How long running jobs may take after a signal; default 30 seconds")
  ),
  tenantConcurrency: Flags.atLeastOne("tenant-concurrency").pipe(
    Flag.withDescription("How many jobs of one tenant run at once, on all workers together"),
    Flag.optional
  )
}

export const worker: Command.Command<"worker", never, {}, FlowCli.Ended> = Command.make("worker", {
  modules,
  flow: flows,
  layer: Flags.layer,
  ...Flags.queue,
  ...working,
  name: Flag.String("name").pipe(
    Flag.withDefault("worker"),
    Flag.withDescription("What its jobs are marked with; a random part is added")
  ),
  traces: Flag.Boolean("traces").pipe(
    Flag.withDefault(true),
    Flag.withDescription(
      "Keeps the traces of jobs in the database too, for penguiflow trace and the dashboard; --no-traces does not"
    )
  ),
  debug: Flags.debug
}, (given) => Effect.flatMap(Effect.promise(() => import("../worker.ts")), (it) => it.worker(given))).pipe(
  Command.withShortDescription("Takes jobs of flows from a queue, until a signal ends it"),
  Command.withDescription(
    `Takes jobs of flows from a queue, and runs them until a signal ends it. The queue is in PostgreSQL or SQLite
  (--database, PENGUIFLOW_DATABASE_URL) or in Redis (--redis, PENGUIFLOW_REDIS_URL). What happens is told on standard
  error, a line for each job. A queue that is not there yet is waited for.

  SIGTERM takes no more jobs, lets those that run end for --grace, gives the others back to the queue as if they had not
  been tried, and ends with 0 within grace and 2 seconds. SIGINT does the same and ends with 130. A second signal ends at
  once, with 143 or 130: jobs start elsewhere when their leases end.

  Exit codes: 0 after SIGTERM, 130 after SIGINT, 2 wrong usage, a layer that can't be built or a queue that refuses.`
  ),
  Command.withExamples([
    {
      command: "penguiflow worker src/orders.ts --concurrency 20",
      description: "The queue of PENGUIFLOW_DATABASE_URL"
    },
    { command: "penguiflow worker src/orders.ts src/bills.ts --redis redis://localhost", description: "Of two modules" }
  ])
)
