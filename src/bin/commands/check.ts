/** `penguiflow check`: the "before deploying" list as a program. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import type * as Flow from "../../Flow.ts"
import type { Ended } from "../../FlowCli.ts"
import * as Flags from "./flags.ts"

/** What is to be checked, and how it is told. */
export interface Asked {
  readonly files: ReadonlyArray<string>
  readonly format: "text" | "json" | "sarif"
  readonly flows: boolean
  readonly options: Flow.CheckOptions
}

/** `penguiflow check FILE…`. */
export const check: Command.Command<"check", never, object, Ended, Stdio.Stdio | Terminal.Terminal> = Command.make(
  "check",
  {
    files: Argument.String("FILE").pipe(
      Argument.withDescription("Sources, or folders of them"),
      Argument.variadic({ min: 1 })
    ),
    format: Flag.Literals("format", ["text", "json", "sarif"]).pipe(
      Flag.withDefault("text" as const),
      Flag.withDescription("json is an array of findings; sarif is for code scanning")
    ),
    flows: Flag.Boolean("flows").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Also import the files, which runs them, and check the flows that they export")
    ),
    deadline: Flags.duration("deadline").pipe(
      Flag.optional,
      Flag.withDescription("With --flows: the deadline that callers give")
    ),
    jobTimeout: Flags.duration("job-timeout").pipe(
      Flag.optional,
      Flag.withDescription("With --flows: the time that a worker gives a job")
    ),
    usedBy: Flag.Literals("used-by", ["worker", "durable"]).pipe(
      Flag.optional,
      Flag.withDescription("With --flows: who runs the flows again after a crash")
    )
  },
  ({ deadline, files, flows, format, jobTimeout, usedBy }) =>
    Effect.flatMap(Effect.promise(() => import("../check.ts")), (it) =>
      it.check({
        files,
        format,
        flows,
        options: {
          deadline: Option.getOrUndefined(deadline),
          jobTimeout: Option.getOrUndefined(jobTimeout),
          usedBy: Option.getOrUndefined(usedBy)
        }
      }))
).pipe(
  Command.withDescription(
    `Checks the sources of flows for what the types can't see: clients made in nodes, state of modules, credentials, inserts
  that a retry repeats.

  A finding that is meant is suppressed by a comment on its line or the line before:
  // penguiflow-ignore rule-id: the reason

  Exit codes: 0 nothing wrong, 1 errors found or they could not be written, 2 wrong usage or nothing could be checked.`
  )
)
