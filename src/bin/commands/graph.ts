/** `penguiflow graph`: the flow of a module, drawn. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import * as FlowCli from "../../FlowCli.ts"
import { load } from "./load.ts"

const more = (name: string, description: string): Flag.Flag<boolean> =>
  Flag.Boolean(name).pipe(Flag.withDefault(false), Flag.withDescription(`${description}; not as text`))

export const graph: Command.Command<"graph", never, object, FlowCli.Ended, Stdio.Stdio | Terminal.Terminal> = Command
  .make(
    "graph",
    {
      module: Argument.String("module").pipe(
        Argument.withDescription("A module that exports a flow; importing runs it")
      ),
      format: Flag.Literals("format", ["text", "mermaid", "dot", "svg"]).pipe(
        Flag.withDefault("text" as const),
        Flag.withDescription("text is for a terminal, mermaid for documents, dot for Graphviz, svg is laid out")
      ),
      flow: Flag.String("flow").pipe(
        Flag.withMetavar("NAME"),
        Flag.withDescription("Which export is the flow; default: the default export, \"flow\", or the only one"),
        Flag.optional
      ),
      costs: more("costs", "Says how often each node may be tried, and how long it takes at worst"),
      policies: more("policies", "Says how each node's runs are guarded: attempts, timeout, concurrency, validation"),
      errors: more("errors", "Says the tags of the errors that each node declares"),
      debug: FlowCli.params.debug
    },
    ({ costs, debug, errors, flow: name, format, module, policies }) =>
      format === "text" && (costs || policies || errors)
        ? Effect.andThen(
          FlowCli.say(
            "✗ --costs, --policies and --errors are drawn by --format svg, mermaid and dot. See penguiflow graph --help"
          ),
          Effect.fail(new FlowCli.Ended({ code: 2 }))
        )
        : Effect.flatMap(
          load(module, { flow: Option.getOrUndefined(name), layer: false, debug }),
          ({ flow }) => FlowCli.graph(flow, format, { costs, policies, errors })
        )
  ).pipe(
    Command.withShortDescription("Draws the flow of a module"),
    Command.withDescription(
      `Draws the flow of a module on standard output.

  Exit codes: 0 drawn, 1 it could not be written, 2 there is no such module or flow, or it can't be drawn.`
    )
  )
