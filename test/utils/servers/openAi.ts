/** A real HTTP server that speaks as OpenAI's API does, and fails in whatever way a test wants. */
import { Effect, type Scope } from "effect"
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http"

export interface Asked {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Record<string, unknown>
}

export type Handler = (response: ServerResponse, asked: Asked, nth: number) => void

export interface OpenAiServer {
  readonly baseUrl: string
  /** What has been asked so far. */
  readonly asked: Array<Asked>
  /** How the next requests are answered; the first of several is the `nth` 0. */
  readonly answer: (handler: Handler) => void
  /** How many requests the client gave up before they were answered. */
  readonly abandoned: Effect.Effect<number>
}

export const start: Effect.Effect<OpenAiServer, never, Scope.Scope> = Effect.gen(function*() {
  const asked: Array<Asked> = []
  let handler: Handler = (response) => json(response, { error: { message: "no answer is set" } }, 500)
  let nth = 0
  let abandoned = 0
  const server = createServer((request, response) => {
    let text = ""
    request.on("data", (chunk) => text += chunk)
    request.on("end", () => {
      const body: Record<string, unknown> = JSON.parse(text)
      const one = { path: request.url ?? "", headers: request.headers, body }
      asked.push(one)
      handler(response, one, nth++)
    })
    response.on("close", () => {
      if (!response.writableFinished) abandoned++
    })
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
    () =>
      Effect.promise(() =>
        new Promise<void>((resolve) => {
          server.close(() => resolve())
          server.closeAllConnections()
        })
      )
  )
  const address = server.address()
  return {
    baseUrl: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/v1`,
    asked,
    answer: (next) => {
      handler = next
      nth = 0
      asked.length = 0
    },
    abandoned: Effect.sync(() => abandoned)
  }
})

export const json = (response: ServerResponse, body: unknown, status = 200, headers: Record<string, string> = {}) => {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body))
}

/** The error that the API would send. */
export const refuse = (
  response: ServerResponse,
  status: number,
  error: { readonly message: string; readonly type?: string; readonly code?: string; readonly param?: string },
  headers: Record<string, string> = {}
) => json(response, { error }, status, headers)

/** Promises more than it gives. */
export const cutOff = (response: ServerResponse, text: string, contentType = "application/json") => {
  response.writeHead(200, { "content-type": contentType, "content-length": String(text.length + 1000) })
  response.write(text, () => setTimeout(() => response.destroy(), 20))
}

/** What was asked to be embedded. */
export const inputsOf = (asked: Asked): ReadonlyArray<string> =>
  Array.isArray(asked.body.input) ? asked.body.input : [String(asked.body.input)]

/** A vector that tells its text: the length of it, then noughts. */
export const vectorOf = (text: string, dimensions: number): Array<number> => [
  text.length,
  ...Array.from({ length: dimensions - 1 }, () => 0)
]

/** As the API answers, the items in reverse: their index says where they belong. */
export const embeddings = (asked: Asked, dimensions = 1536) => ({
  object: "list",
  data: inputsOf(asked).map((text, index) => ({ object: "embedding", index, embedding: vectorOf(text, dimensions) }))
    .toReversed(),
  model: asked.body.model,
  usage: { prompt_tokens: inputsOf(asked).join("").length, total_tokens: 0 }
})

/** Server-sent events, as they are written. */
export const events = (
  response: ServerResponse,
  all: ReadonlyArray<unknown>,
  end: "done" | "cut" | "open" = "done"
) => {
  response.writeHead(200, { "content-type": "text/event-stream" })
  for (const one of all) response.write(`data: ${typeof one === "string" ? one : JSON.stringify(one)}\n\n`)
  if (end === "done") response.end("data: [DONE]\n\n")
  if (end === "cut") setTimeout(() => response.destroy(), 20)
}
