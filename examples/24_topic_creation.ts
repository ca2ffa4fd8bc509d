/** A topic, then its dimensions: four attempts, and the topic undone once they are spent. Watch the events. */
import { Console, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Flow, FlowObserver } from "penguiflow"
import * as TopicCreation from "penguiflow/flows/TopicCreation"
import * as Topics from "penguiflow/flows/Topics"
import * as Sqlite from "penguiflow/layers/Sqlite"

/** Rules that like no topic of one dimension. */
const rules = TopicCreation.layerRulesTest((_, dimensions) => Effect.succeed(dimensions.length > 1))

const cleanup = Layer.succeed(
  TopicCreation.ExternalCleanup,
  (traceId) => Console.log(`cleaned up outside of the database for ${traceId}`)
)

const observer = FlowObserver.layer({
  name: "console",
  observe: (events) =>
    Effect.forEach(events, (event) =>
      Console.log(
        `${event.traceId} ${event._tag}${event.node === undefined ? "" : ` ${event.node} ${event.attempt}`}`
      ))
})

const services = Layer.mergeAll(Topics.layer, rules, cleanup, observer, Layer.effectDiscard(Topics.tables)).pipe(
  Layer.provideMerge(Sqlite.layer({ filename: ":memory:" }))
)

const program = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const count = Effect.map(sql<{ readonly n: number }>`SELECT count(*) AS n FROM topics`, ([row]) => row?.n)
  yield* Flow.run(TopicCreation.flow, { topic: "birds", dimensions: ["size", "colour"] }, { traceId: "good" })
  yield* Console.log(`topics: ${yield* count}`)
  const error = yield* Effect.flip(
    Flow.run(TopicCreation.flow, { topic: "fish", dimensions: ["size"] }, { traceId: "bad" })
  )
  yield* Console.log(`${error._tag}: ${error.message}`)
  yield* Console.log(`topics: ${yield* count}`)
})

await Effect.runPromise(Effect.provide(program, services))
