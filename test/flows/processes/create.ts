/** A process that creates a topic in the file it is given. Told to, it stops for ever between the two steps. */
import { Effect, Layer } from "effect"
import { writeSync } from "node:fs"
import { Flow } from "penguiflow"
import * as TopicCreation from "penguiflow/flows/TopicCreation"
import * as Topics from "penguiflow/flows/Topics"
import * as Sqlite from "penguiflow/layers/Sqlite"

const [filename = "", how = ""] = process.argv.slice(2)

const rules = how === "reject"
  ? TopicCreation.layerRulesTest(() => Effect.succeed(false))
  : how === "stop"
  ? TopicCreation.layerRulesTest(() =>
    Effect.andThen(Effect.sync(() => writeSync(1, "between\n")), Effect.never as Effect.Effect<boolean>)
  )
  : TopicCreation.layerRules

const services = rules.pipe(Layer.provideMerge(Topics.layer), Layer.provide(Sqlite.layer({ filename })))
const program = Flow.run(TopicCreation.flow, { topic: "birds", dimensions: ["size"] }, { traceId: "job-1" })
const exit = await Effect.runPromiseExit(Effect.provide(program, services))
writeSync(1, `${exit._tag}\n`)
