/** A topic and its dimensions in one transaction, for two tenants at once; and a second delivery, which changes nothing. */
import { Console, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { FlowRuntime } from "penguiflow"
import * as Topics from "penguiflow/flows/Topics"
import * as TopicStaging from "penguiflow/flows/TopicStaging"
import * as Sqlite from "penguiflow/layers/Sqlite"

class Staging extends FlowRuntime.Service<Staging>()("example/Staging", TopicStaging.flow) {}

const services = Staging.layer.pipe(
  Layer.provide(Topics.layer),
  Layer.provideMerge(Layer.effectDiscard(Topics.tables)),
  Layer.provideMerge(Sqlite.layer({ filename: ":memory:" }))
)

const program = Effect.gen(function*() {
  const staging = yield* Staging
  const sql = yield* SqlClient.SqlClient
  const deliver = (tenant: string) =>
    staging.run({ topic: "birds", dimensions: ["size", "colour"] }, {
      traceId: `${tenant}-1`,
      headers: { tenant }
    })
  yield* Effect.all([deliver("acme"), deliver("umbrella")], { concurrency: "unbounded" })
  // As a job queue does whose worker died before it could acknowledge.
  yield* deliver("acme")
  const rows = yield* sql<{ readonly tenant: string; readonly names: number }>`
    SELECT t.tenant AS tenant, count(*) AS names FROM topics t
    JOIN dimensions d ON d.topic_id = t.id GROUP BY t.id, t.tenant ORDER BY t.tenant`
  for (const { names, tenant } of rows) yield* Console.log(`${tenant}: one topic, ${names} dimensions`)
})

await Effect.runPromise(Effect.provide(program, services))
