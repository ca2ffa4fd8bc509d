/** `penguiflow new`: a project to begin with. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import type * as FlowCli from "../../FlowCli.ts"

/** Where, and how it is called. */
export interface Asked {
  readonly folder: string
  readonly name: Option.Option<string>
  readonly penguiflow: Option.Option<string>
}

export const create: Command.Command<"new", never, {}, FlowCli.Ended, Stdio.Stdio | Terminal.Terminal> = Command.make(
  "new",
  {
    folder: Argument.String("folder").pipe(Argument.withDescription("Is made; one that is there must be empty")),
    name: Flag.String("name").pipe(
      Flag.withMetavar("NAME"),
      Flag.withDescription("The name of the package; default: the folder's"),
      Flag.optional
    ),
    penguiflow: Flag.String("penguiflow").pipe(
      Flag.withMetavar("SPEC"),
      Flag.withDescription("Where npm gets penguiflow from, such as file:../penguiflow.tgz; default: this version"),
      Flag.optional
    ),
    yes: Flag.Boolean("yes").pipe(
      Flag.withAlias("y"),
      Flag.withDefault(false),
      Flag.withDescription("Nothing is asked in any case")
    )
  },
  (given) => Effect.flatMap(Effect.promise(() => import("../new.ts")), (it) => it.create(given))
).pipe(
  Command.withShortDescription("Makes a project: a flow, its layers, a test"),
  Command.withDescription(
    `Makes a project that installs, passes its tests and runs: a flow, its layers, a test with a mock, package.json with the
  versions that this penguiflow was built against.

  Exit codes: 0 made, 2 the folder is not empty or can't be written to.`
  ),
  Command.withExamples([{ command: "penguiflow new my-flow && cd my-flow && npm install && npm test" }])
)
