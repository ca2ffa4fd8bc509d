/** What the flows of these tests are run with. */
import { Effect, Layer } from "effect"
import { LanguageModel, type Response } from "effect/ai"
import { SqlClient } from "effect/sql"
import * as Enrichment from "penguiflow/flows/Enrichment"
import * as ItemEnhancement from "penguiflow/flows/ItemEnhancement"
import * as Topics from "penguiflow/flows/Topics"

/** The tables of all flows, and a few rows to read. */
export const tables = Layer.effectDiscard(Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* Enrichment.tables
  yield* ItemEnhancement.tables
  yield* Topics.tables
  yield* sql`INSERT INTO users ${sql.insert({ id: 7, context: "likes birds" })}`
  yield* sql`INSERT INTO items ${sql.insert({ id: 3, description: "a bird" })}`
}))

const finish: Response.FinishPartEncoded = {
  type: "finish",
  reason: "stop",
  usage: {
    inputTokens: { total: 1, uncached: undefined, cacheRead: undefined, cacheWrite: undefined },
    outputTokens: { total: 1, text: undefined, reasoning: undefined }
  },
  response: undefined
}

/** A model that answers what it is asked, in capitals. */
export const loudModel = Layer.effect(
  LanguageModel.LanguageModel,
  LanguageModel.make({
    generateText: ({ prompt }) => {
      const said = JSON.stringify(prompt.content.at(-1)?.content)
      return Effect.succeed([{ type: "text", text: /bird/.test(said) ? "A BIRD" : "?" }, finish])
    },
    streamText: () => {
      throw new Error("not streamed here")
    }
  })
)
