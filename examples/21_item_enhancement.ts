/** An item out of the database, described better by a language model: what a registry of services is elsewhere is a Layer. */
import { Console, Effect, Layer } from "effect"
import { LanguageModel } from "effect/ai"
import { SqlClient } from "effect/sql"
import { Flow } from "penguiflow"
import * as ItemEnhancement from "penguiflow/flows/ItemEnhancement"
import * as Sqlite from "penguiflow/layers/Sqlite"

const database = Layer.effectDiscard(Effect.andThen(
  ItemEnhancement.tables,
  SqlClient.SqlClient.use((sql) => sql`INSERT INTO items VALUES (3, 'bird, black and white, good swimmer')`)
)).pipe(Layer.provideMerge(Sqlite.layer({ filename: ":memory:" })))

/** A model that needs no network: it writes the last line of what it is asked as a sentence. */
const model = Layer.effect(
  LanguageModel.LanguageModel,
  LanguageModel.make({
    generateText: ({ prompt }) => {
      const asked = prompt.content.flatMap((message) =>
        message.role === "user" ? message.content.flatMap((part) => part.type === "text" ? [part.text] : []) : []
      ).join("\n")
      const line = asked.split("\n").at(-1) ?? ""
      return Effect.succeed([{ type: "text", text: `A ${line}.` }])
    },
    streamText: () => {
      throw new Error("this model does not stream")
    }
  })
)

const program = Effect.gen(function*() {
  const { enhanced } = yield* Flow.run(ItemEnhancement.flow, { itemId: 3 })
  yield* Console.log(enhanced)
  const error = yield* Effect.flip(Flow.run(ItemEnhancement.flow, { itemId: 4 }))
  yield* Console.log(`${error._tag}: ${error.message}`)
})

await Effect.runPromise(
  Effect.provide(program, Layer.merge(ItemEnhancement.layer.pipe(Layer.provide(database)), model))
)
