/** `penguiflow run`: messages through the flow of a module. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import * as FlowCli from "../../FlowCli.ts"
import { load } from "./load.ts"

export const run: Command.Command<
  "run",
  never,
  object,
  FlowCli.Ended,
  FileSystem.FileSystem | Stdio.Stdio | Terminal.Terminal
> = Command.make("run", {
  module: Argument.String("module").pipe(
    Argument.withDescription("A module that exports a flow, and the layer that its nodes need; importing runs it")
  ),
  ...FlowCli.params,
  flow: Flag.String("flow").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("Which export is the flow; default: the default export, \"flow\", or the only one"),
    Flag.optional
  ),
  layer: Flag.String("layer").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("Which export is the layer; default: \"layer\", or the only one, or none"),
    Flag.optional
  )
}, (given) =>
  Effect.flatMap(
    load(given.module, {
      flow: Option.getOrUndefined(given.flow),
      layer: Option.getOrUndefined(given.layer),
      debug: given.debug
    }),
    ({ flow, layer }) => FlowCli.runGiven(flow, layer, given)
  )).pipe(
    Command.withShortDescription("Runs messages through the flow of a module"),
    Command.withDescription(
      `Runs messages through the flow of a module, each as JSON, from an argument, a file, or standard input.

  Results are lines of JSON on standard output; everything else is on standard error.

  Exit codes: 0 done, 1 a message failed, 2 no message was run, 130 and 143 interrupted.`
    ),
    Command.withExamples([
      { command: "penguiflow run src/orders.ts '{ \"id\": 7 }'", description: "One message" },
      { command: "penguiflow run src/orders.ts --file orders.ndjson --concurrency 4", description: "One a line" },
      { command: "tail -f orders.log | penguiflow run src/orders.ts --ndjson", description: "As they come" }
    ])
  )
