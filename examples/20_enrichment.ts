/** A text is checked, and gets what the database knows of its user, and its embedding, computed here. */
import { ConfigProvider, Console, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Flow } from "penguiflow"
import * as Enrichment from "penguiflow/flows/Enrichment"
import * as Limits from "penguiflow/flows/Limits"
import * as EmbeddingsLocal from "penguiflow/layers/EmbeddingsLocal"
import * as Sqlite from "penguiflow/layers/Sqlite"

/** A database that has the flow's table, and one user. */
const database = Layer.effectDiscard(Effect.andThen(
  Enrichment.tables,
  SqlClient.SqlClient.use((sql) => sql`INSERT INTO users VALUES (7, 'keeps penguins')`)
)).pipe(Layer.provideMerge(Sqlite.layer({ filename: ":memory:" })))

/** In an application this comes from the environment. */
const configuration = ConfigProvider.layer(ConfigProvider.fromUnknown({ MAX_INPUT_LENGTH: "40" }))

const services = Layer.mergeAll(
  Enrichment.layer.pipe(Layer.provide(database)),
  Limits.layer.pipe(Layer.provide(configuration)),
  EmbeddingsLocal.layer({ dimensions: 64 })
)

const ask = (userId: number, text: string) =>
  Flow.run(Enrichment.flow, { userId, text }).pipe(
    Effect.map(({ context, embedding }) => `"${text}" by one who ${context}: ${embedding.length} numbers`),
    // Each way in which it can go wrong is in the flow's type, and told apart by its tag.
    Effect.catchTag(["TooLong", "UnknownUser"], (error) => Effect.succeed(`${error._tag}: ${error.message}`))
  )

const program = Effect.gen(function*() {
  yield* Console.log(yield* ask(7, "what do they eat?"))
  yield* Console.log(yield* ask(8, "what do they eat?"))
  yield* Console.log(yield* ask(7, "what do they eat in winter, when the sea is frozen?"))
})

await Effect.runPromise(Effect.provide(program, services))
