/** The flow of `numbers.ts` as a script of its own, as the documentation says. */
import { NodeServices } from "@effect/platform-node"
import { Effect } from "effect"
import * as FlowCli from "penguiflow/FlowCli"
import { flow, layer } from "./numbers.ts"

FlowCli.run(flow, layer, { name: "script", version: "1.2.3", description: "Numbers, doubled." }).pipe(
  Effect.provide(NodeServices.layer),
  FlowCli.runMain(process)
)
