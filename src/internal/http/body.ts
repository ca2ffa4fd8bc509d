/** Bodies, read: bounded in size and time, refused before they are taken in where their head says that they don't fit. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Stream from "effect/Stream"
import { parse } from "../cli/json.ts"
import { Refusal, refusal } from "./errors.ts"

/** How large a body may be, and how long it may take to come. */
export interface BodyLimits {
  readonly maxBody: number
  readonly bodyTimeout: Duration.Input
}

/** The JSON in a request's body. */
export const jsonBody = (request: HttpServerRequest, limits: BodyLimits): Effect.Effect<unknown, Refusal> =>
  Effect.suspend(() => {
    const unfit = unfitHead(request, limits)
    return unfit === undefined ? Effect.flatMap(textOf(request, limits), parsed) : Effect.fail(unfit)
  })

/** The JSON in a request's body; undefined where it is empty. */
export const optionalJsonBody = (
  request: HttpServerRequest,
  limits: BodyLimits
): Effect.Effect<unknown, Refusal> => {
  const { headers } = request
  const none = headers["transfer-encoding"] === undefined && Number(headers["content-length"] ?? 0) === 0
  return none ? Effect.undefined : jsonBody(request, limits)
}

// ----------------------------------------------------------------------------------------------------------- internals

/** A connection whose body was not read to its end can't be used again. */
const closing = { connection: "close" }

const tooLarge = (limit: number): Refusal =>
  new Refusal(
    413,
    { error: `The body is larger than ${limit} bytes, and nothing of it was kept`, code: "BODY_TOO_LARGE" },
    closing
  )

const unfitHead = ({ headers }: HttpServerRequest, { maxBody }: BodyLimits): Refusal | undefined => {
  const length = headers["content-length"]
  if (length !== undefined && Number(length) > maxBody) return tooLarge(maxBody)
  const type = headers["content-type"]?.split(";", 1)[0]!.trim().toLowerCase()
  if (type === undefined || !/^application\/(?:[\w.-]+\+)?json$/.test(type)) {
    return new Refusal(415, {
      error: "The body must be JSON, and its content type application/json",
      code: "UNSUPPORTED_MEDIA_TYPE",
      path: "content-type"
    }, { accept: "application/json" })
  }
  const encoding = headers["content-encoding"]?.trim().toLowerCase()
  if (encoding !== undefined && encoding !== "" && encoding !== "identity") {
    return new Refusal(415, {
      error: "The body is compressed, and compressed bodies are not taken: send it as it is",
      code: "UNSUPPORTED_ENCODING",
      path: "content-encoding"
    }, { "accept-encoding": "identity" })
  }
  return undefined
}

// By its stream: a read of the whole that is interrupted would destroy the connection before it is answered.
const bytesOf = (request: HttpServerRequest, maxBody: number): Effect.Effect<Uint8Array<ArrayBuffer>, Refusal> =>
  Effect.suspend(() => {
    const chunks: Array<Uint8Array> = []
    let size = 0
    return request.stream.pipe(
      Stream.mapError(() => refusal(400, "INVALID_BODY", "The body did not come to its end")),
      Stream.runForEachArray((pieces) => {
        for (const piece of pieces) {
          chunks.push(piece)
          size += piece.length
        }
        return size > maxBody ? Effect.fail(tooLarge(maxBody)) : Effect.void
      }),
      Effect.map(() => {
        const bytes = new Uint8Array(size)
        let at = 0
        for (const chunk of chunks) {
          bytes.set(chunk, at)
          at += chunk.length
        }
        return bytes
      })
    )
  })

const textOf = (request: HttpServerRequest, { bodyTimeout, maxBody }: BodyLimits): Effect.Effect<string, Refusal> =>
  bytesOf(request, maxBody).pipe(
    Effect.timeoutOrElse({
      duration: bodyTimeout,
      orElse: () =>
        Effect.fail(
          new Refusal(408, { error: "The body took too long to come", code: "BODY_TIMEOUT" }, closing)
        )
    }),
    Effect.flatMap((bytes) => {
      try {
        return Effect.succeed(new TextDecoder("utf-8", { fatal: true }).decode(bytes))
      } catch {
        return Effect.fail(refusal(400, "INVALID_JSON", "The body is not UTF-8"))
      }
    })
  )

const parsed = (text: string): Effect.Effect<unknown, Refusal> => {
  const json = parse(text)
  return json._tag === "Json"
    ? Effect.succeed(json.value)
    : Effect.fail(
      refusal(400, "INVALID_JSON", `The body is not JSON: ${json.expected} was expected here`, {
        path: `${json.line}:${json.column}`
      })
    )
}
