/** `penguiflow jobs`: what is in a queue, and what is to become of it. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import type * as FlowCli from "../../FlowCli.ts"
import type { JobState } from "../../JobStore.ts"
import * as Flags from "./flags.ts"

/** Which jobs are meant. */
export interface Which {
  readonly state: ReadonlyArray<JobState>
  readonly flow: Option.Option<string>
  readonly tenant: Option.Option<string>
  readonly olderThan: Option.Option<Duration.Duration>
}

/** What every command says of its queue. */
export interface Asked extends Flags.Queue {
  readonly json: boolean
  readonly debug: boolean
}

/** What is to be done, with which. */
export interface Action extends Asked, Which {
  readonly ids: ReadonlyArray<string>
  readonly limit: Option.Option<number>
  readonly yes: boolean
}

const handlers = Effect.promise(() => import("../jobs.ts"))

const common = { ...Flags.queue, json: Flags.json, debug: Flags.debug }

const which = {
  state: Flag.Literals("state", ["queued", "running", "done", "dead", "cancelled"]).pipe(
    Flag.withDescription("Only in this state; again for another one"),
    Flag.atLeast(0)
  ),
  flow: Flags.flow,
  tenant: Flags.tenant,
  olderThan: Flags.duration("older-than").pipe(
    Flag.withDescription("Only those that ended longer ago than this: \"7 days\""),
    Flag.optional
  )
}

const action = {
  ids: Argument.String("id").pipe(
    Argument.withDescription("Jobs; or say which by --state, --flow, --tenant, --older-than"),
    Argument.variadic()
  ),
  ...which,
  limit: Flags.atLeastOne("limit").pipe(Flag.withDescription("At most so many, the oldest first"), Flag.optional),
  yes: Flag.Boolean("yes").pipe(
    Flag.withAlias("y"),
    Flag.withDefault(false),
    Flag.withDescription("Asks nothing; needed with a filter where there is no terminal to ask at")
  ),
  ...common
}

const ends = `
  Exit codes: 0 done, 1 some of the named jobs were not in a state for it or nothing was confirmed, 2 wrong usage or a
  queue that does not answer.`

const list = Command.make("list", {
  ...which,
  limit: Flags.limit,
  after: Flags.atLeastOne("after").pipe(
    Flag.withDescription("Those that came after this one: for the next page"),
    Flag.optional
  ),
  ...common
}, (given) => Effect.flatMap(handlers, (it) => it.list(given))).pipe(
  Command.withShortDescription("Lists jobs in the order in which they came"),
  Command.withDescription(
    `Lists jobs in the order in which they came: a table, or with --json a job a line, with payload and results.

  Exit codes: 0 listed, 1 it could not be written, 2 wrong usage or a queue that does not answer.`
  ),
  Command.withExamples([
    { command: "penguiflow jobs list --state dead", description: "Dead letters, with their reasons" },
    { command: "penguiflow jobs list --json | jq -r .id", description: "For other programs" }
  ])
)

const counts = Command.make("counts", common, (given) => Effect.flatMap(handlers, (it) => it.counts(given))).pipe(
  Command.withShortDescription("Counts jobs by their state"),
  Command.withDescription(
    `Counts jobs by their state.

  Exit codes: 0 counted, 1 it could not be written, 2 wrong usage or a queue that does not answer.`
  )
)

const show = Command.make("show", {
  id: Argument.String("id").pipe(Argument.withDescription("A job")),
  ...common
}, (given) => Effect.flatMap(handlers, (it) => it.show(given))).pipe(
  Command.withShortDescription("Shows a job: its payload, its results, why it failed"),
  Command.withDescription(
    `Shows a job: its payload, its results, why it failed. A payload that its flow can't decode is shown as it is.

  Exit codes: 0 shown, 1 it could not be written, 2 no such job, wrong usage, or a queue that does not answer.`
  )
)

const retry = Command.make("retry", action, (given) => Effect.flatMap(handlers, (it) => it.retry(given))).pipe(
  Command.withShortDescription("Lets dead and cancelled jobs wait again, with all their tries"),
  Command.withDescription(
    `Lets dead and cancelled jobs wait again, with all their tries. A filter without --state means the dead ones.
${ends}`
  ),
  Command.withExamples([
    { command: "penguiflow jobs retry order-7 order-9", description: "These two" },
    { command: "penguiflow jobs retry --flow orders --yes", description: "All dead ones of a flow" }
  ])
)

const cancel = Command.make("cancel", {
  ...action,
  reason: Flag.String("reason").pipe(
    Flag.withDescription("Why: it is kept with the job"),
    Flag.optional
  )
}, (given) => Effect.flatMap(handlers, (it) => it.cancel(given))).pipe(
  Command.withShortDescription("Ends jobs that wait, and stops running ones"),
  Command.withDescription(
    `Ends jobs that wait, and asks the workers of running ones to stop them, which takes a moment. A filter without --state
  means the waiting and the running ones.
${ends}`
  )
)

const purge = Command.make("purge", action, (given) => Effect.flatMap(handlers, (it) => it.purge(given))).pipe(
  Command.withShortDescription("Forgets jobs"),
  Command.withDescription(
    `Forgets jobs, whether their payloads can be decoded or not; never running ones. A filter without --state means those
  that have ended: done, dead and cancelled.
${ends}`
  ),
  Command.withExamples([
    { command: "penguiflow jobs purge --state done --older-than '7 days' --yes", description: "What is old" }
  ])
)

export const jobs: Command.Command<"jobs", {}, {}, FlowCli.Ended, Stdio.Stdio | Terminal.Terminal> = Command.make(
  "jobs"
).pipe(
  Command.withShortDescription("Lists, shows, retries, cancels and purges jobs of a queue"),
  Command.withDescription(
    `Jobs of a queue: in PostgreSQL or SQLite (--database, PENGUIFLOW_DATABASE_URL) or in Redis (--redis,
  PENGUIFLOW_REDIS_URL). Passwords are safer in the environment than on the command line, and are never printed.`
  ),
  Command.withSubcommands([list, show, counts, retry, cancel, purge])
)
