/** Answers that go well, and what requests say in their query. */
import * as Effect from "effect/Effect"
import * as Response from "effect/http/HttpServerResponse"
import { type Refusal, refusal } from "./errors.ts"
import type { Hosting } from "./hosting.ts"
import { jsonText } from "./json.ts"
import type { Running } from "./running.ts"

/** A value as JSON. What can't be written is the server's fault. */
export const json = (
  value: unknown,
  status = 200,
  headers?: Readonly<Record<string, string>>
): Effect.Effect<Response.HttpServerResponse, Refusal> => {
  const text = jsonText(value)
  return text === undefined
    ? Effect.fail(refusal(500, "UNWRITABLE_RESULT", "The answer can't be written as JSON: it is nested too deep"))
    : Effect.succeed(Response.text(text, {
      status,
      contentType: "application/json",
      headers: { "cache-control": "no-store", ...headers }
    }))
}

/** The flow of a name. */
export const flowOf = (hosting: Hosting, name: string): Effect.Effect<Running, Refusal> => {
  const running = hosting.flows.get(name)
  return running === undefined
    ? Effect.fail(refusal(404, "FLOW_NOT_FOUND", "No flow of this name is served: GET /api/flows lists them"))
    : Effect.succeed(running)
}
