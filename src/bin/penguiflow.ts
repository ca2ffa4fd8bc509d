#!/usr/bin/env node
/** The command line. Each command is a file in `commands`; this is only what is around them. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as FlowCli from "../FlowCli.ts"
import * as Bare from "./bare.ts"
import { check } from "./commands/check.ts"
import { graph } from "./commands/graph.ts"
import { jobs } from "./commands/jobs.ts"
import { migrate } from "./commands/migrate.ts"
import { create } from "./commands/new.ts"
import { run } from "./commands/run.ts"
import { serve } from "./commands/serve.ts"
import { trace } from "./commands/trace.ts"
import { worker } from "./commands/worker.ts"
import { isOld, version } from "./version.ts"

const penguiflow = Command.make("penguiflow").pipe(
  Command.withDescription("Typed flows on Effect: run them, draw them, check them before they are deployed."),
  Command.withSubcommands([
    run,
    graph,
    check.pipe(Command.withShortDescription("Checks the sources of flows for what the types can't see")),
    serve,
    worker,
    jobs,
    trace,
    migrate,
    create
  ])
)

// A project brings a Node.js of its own where this one is too old for it.
if (isOld && !Bare.suffices(process.argv.slice(2))) {
  process.stderr.write(`✗ penguiflow needs Node 22.19 or newer, and this is ${process.versions.node}\n`)
  process.exit(2)
}

/** An optional peer: whoever only imports the library, or has a project made, does without it. */
const services = await import("@effect/platform-node/NodeServices").then(
  (NodeServices) => NodeServices.layer,
  (error: unknown) => {
    if (!(error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND")) throw error
    if (Bare.suffices(process.argv.slice(2))) return Bare.layer
    process.stderr.write("✗ The command line needs a package: npm install @effect/platform-node\n")
    return process.exit(2)
  }
)

/** What shells complete as files. */
const files = ["module", "FILE", "file", "folder", "out", "database", "token-file"]

FlowCli.runCommand(penguiflow, { version, files }).pipe(Effect.provide(services), FlowCli.runMain(process))
