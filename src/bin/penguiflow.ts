#!/usr/bin/env node
/** The command line. Each command is a file in `commands`; this is only what is around them. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import { check } from "./commands/check.ts"
import { Ended } from "./ended.ts"
import { version } from "./version.ts"

const penguiflow = Command.make("penguiflow").pipe(
  Command.withDescription("Typed flows on Effect: check them before they are deployed."),
  Command.withSubcommands([check])
)

const main = Command.run(penguiflow, { version }).pipe(
  Effect.catchTag("ShowHelp", (help) => help.errors.length > 0 ? new Ended({ code: 2 }) : Effect.void),
  Effect.provide(NodeServices.layer)
)

// Whoever reads the output may have seen enough of it: `penguiflow check src | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error
})

// What was written must get out before the process ends: the code is set, and the process ends on its own.
Runtime.makeRunMain(({ fiber, teardown }) => {
  const interrupt = () => fiber.interruptUnsafe()
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt)
  fiber.addObserver((exit) => {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt)
    teardown(exit, (code) => {
      process.exitCode = code
    })
  })
})(main)
