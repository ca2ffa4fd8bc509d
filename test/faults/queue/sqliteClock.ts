/** A process whose own clock is set, and with it that of its SQLite: `node sqliteClock.ts FOLDER`, under `libfaketime`. */
import { Effect, Layer } from "effect"
import { join } from "node:path"
import * as JobQueueSql from "penguiflow/layers/JobQueueSql"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as FakeTime from "../../utils/servers/faketime.ts"
import { setForwardAndBack } from "./clock.ts"

const [folder = "."] = process.argv.slice(2)
const queue = () =>
  Layer.orDie(Layer.fresh(
    JobQueueSql.layer().pipe(Layer.provide(Sqlite.layer({ filename: join(folder, "jobs.sqlite") })))
  ))
const seen = await Effect.runPromise(setForwardAndBack(queue, FakeTime.setIn(folder)))
process.stdout.write(`${JSON.stringify(seen)}\n`)
process.exit(0)
