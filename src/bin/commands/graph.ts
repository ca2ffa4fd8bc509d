/** `penguiflow graph`: the flow of a module, drawn. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import * as FlowCli from "../../FlowCli.ts"
import { loadOrEnd } from "./exports.ts"

export const graph: Command.Command<"graph", never, object, FlowCli.Ended, Stdio.Stdio | Terminal.Terminal> = Command
  .make("graph", {
    module: Argument.String("module").pipe(
      Argument.withDescription("A module that exports a flow; importing runs it")
    ),
    format: Flag.Literals("format", ["text", "mermaid", "dot"]).pipe(
      Flag.withDefault("text" as const),
      Flag.withDescription("text is for a terminal, mermaid for documents, dot for Graphviz")
    ),
    flow: Flag.String("flow").pipe(
      Flag.withMetavar("NAME"),
      Flag.withDescription("Which export is the flow; default: the default export, \"flow\", or the only one"),
      Flag.optional
    ),
    debug: FlowCli.params.debug
  }, ({ debug, flow: name, format, module }) =>
    Effect.flatMap(
      loadOrEnd(module, { flow: Option.getOrUndefined(name), layer: false, debug }),
      ({ flow }) => FlowCli.graph(flow, format)
    )).pipe(
    Command.withShortDescription("Draws the flow of a module"),
    Command.withDescription(
      `Draws the flow of a module on standard output.

  Exit codes: 0 drawn, 1 it could not be written, 2 there is no such module or flow.`
    )
  )
