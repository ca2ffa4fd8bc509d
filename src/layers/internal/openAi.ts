/**
 * One request to an API that speaks as OpenAI's does: key, timeout, retries, and errors that say what to do.
 *
 * The key is in no error: it is cut out of what the server says, and what the HTTP client says is not passed on, since
 * that holds the request with all its headers.
 */
import * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"

/** What all layers of this kind have in common. */
export interface Options {
  /** Sent as `Authorization: Bearer …`. Needed for OpenAI itself; a server of one's own may do without. */
  readonly apiKey?: Redacted.Redacted | undefined
  /** Up to `/v1`; default `https://api.openai.com/v1`. */
  readonly baseUrl?: string | undefined
  /** How long one attempt may take, the body included; of a stream, the wait for what comes next. Default 1 minute. */
  readonly timeout?: Duration.Input | undefined
  /** How often a request is sent again that failed with 429, 5xx, a timeout or a lost connection; default 3. */
  readonly retries?: number | undefined
  /** A server that asks to wait longer than this (`Retry-After`) is not waited for; default 1 minute. */
  readonly maxRetryAfter?: Duration.Input | undefined
  /** Further headers, `OpenAI-Organization` for one. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

export const defaultBaseUrl = "https://api.openai.com/v1"

/** An API, ready to be asked. */
export interface Api {
  /** The answer as JSON of whatever shape. */
  readonly post: (path: string, method: string, body: object) => Effect.Effect<unknown, AiError.AiError>
  /** The answer whose body is still to be read. What fails before its first byte is tried again. */
  readonly open: (
    path: string,
    method: string,
    body: object
  ) => Effect.Effect<HttpClientResponse.HttpClientResponse, AiError.AiError>
  readonly timeoutMs: number
  /** An error of this module, without the key. */
  readonly error: (method: string, reason: AiError.AiErrorReason) => AiError.AiError
  /** The connection was lost, or nothing came in time. */
  readonly lost: (method: string, path: string, description: string) => AiError.AiError
  /** Text from outside for an error: short, and without the key. */
  readonly quote: (text: string) => string
}

/** Checks the options: what is wrong with them is known at the start. */
export const make = (
  module: string,
  options: Options
): Effect.Effect<Api, AiError.AiError, HttpClient.HttpClient> =>
  Effect.gen(function*() {
    const fail = (reason: AiError.AiErrorReason) => Effect.fail(AiError.make({ module, method: "layer", reason }))
    const client = yield* HttpClient.HttpClient
    const base = parse(options.baseUrl ?? defaultBaseUrl)
    if (base === undefined) {
      return yield* fail(
        new AiError.NetworkError({
          reason: "InvalidUrlError",
          method: "POST",
          url: "",
          description: `baseUrl must be an http or https URL without user and password, such as ${defaultBaseUrl}`
        })
      )
    }
    const key = options.apiKey === undefined ? undefined : Redacted.value(options.apiKey)
    if (key === undefined && new URL(base).hostname === "api.openai.com") {
      return yield* fail(
        new AiError.AuthenticationError({
          kind: "MissingKey",
          description: "there is no apiKey. Give one, for example by layerConfig and OPENAI_API_KEY"
        })
      )
    }
    // A line break, as a file's end has it, would make the client complain about the header, and quote it.
    if (key !== undefined && !/^[\x21-\x7e]+$/.test(key)) {
      return yield* fail(
        new AiError.AuthenticationError({
          kind: "InvalidKey",
          description: "the apiKey is empty, or holds spaces, line breaks or other characters that no key has"
        })
      )
    }
    const timeoutMs = milliseconds(options.timeout ?? "1 minute")
    const maxRetryAfterMs = milliseconds(options.maxRetryAfter ?? "1 minute")
    const retries = options.retries ?? 3
    if (timeoutMs === undefined || maxRetryAfterMs === undefined || !Number.isInteger(retries) || retries < 0) {
      return yield* fail(
        new AiError.InvalidUserInputError({
          description:
            "timeout and maxRetryAfter must be times such as \"30 seconds\", retries a whole number from 0 on"
        })
      )
    }

    const quote: Api["quote"] = (text) => {
      const clean = key === undefined ? text : text.replaceAll(key, "<redacted>")
      return clean.length > 300 ? `${clean.slice(0, 300)}…` : clean
    }
    const error: Api["error"] = (method, reason) => AiError.make({ module, method, reason })
    const lost: Api["lost"] = (method, path, description) =>
      error(
        method,
        new AiError.NetworkError({ reason: "TransportError", method: "POST", url: base + path, description })
      )
    const failed = (error: AiError.AiError, after?: Duration.Duration | undefined): Failed => ({
      error,
      afterMs: after === undefined ? 0 : Duration.toMillis(after)
    })
    const late = (method: string, path: string) =>
      Effect.fail(failed(lost(method, path, `there was no answer within ${timeoutMs / 1000} s`)))

    /** Sends it once; an answer that is not 2xx is a failure. */
    const send = (path: string, method: string, body: object) =>
      Effect.suspend(() => {
        const request = HttpClientRequest.post(base + path, { headers: options.headers ?? {}, acceptJson: true }).pipe(
          HttpClientRequest.bodyJsonUnsafe(body),
          key === undefined ? (it) => it : HttpClientRequest.bearerToken(key)
        )
        return client.execute(request).pipe(
          Effect.mapError((it) => failed(lost(method, path, what(it)))),
          Effect.filterOrElse(
            (response) => response.status >= 200 && response.status < 300,
            (response) =>
              Effect.flatMap(
                Effect.orElseSucceed(response.text, () => ""),
                (text) =>
                  Effect.fail(failed(error(method, refused(response, text, quote)), retryAfter(response.headers)))
              )
          )
        )
      })

    const retried = <A, R>(attempt: Effect.Effect<A, Failed, R>): Effect.Effect<A, AiError.AiError, R> => {
      const go = (n: number): Effect.Effect<A, AiError.AiError, R> =>
        Effect.catch(attempt, ({ afterMs, error }) => {
          if (n >= retries || !transient(error) || afterMs > maxRetryAfterMs) return Effect.fail(error)
          return Effect.flatMap(Random.next, (random) => {
            const ownMs = Math.min(8000, 500 * 2 ** n) * (0.8 + 0.4 * random)
            return Effect.andThen(Effect.sleep(Math.max(ownMs, afterMs)), go(n + 1))
          })
        })
      return go(0)
    }

    return {
      post: (path, method, body) =>
        retried(
          send(path, method, body).pipe(
            Effect.flatMap((response) =>
              Effect.mapError(response.text, () => failed(lost(method, path, "the answer was cut off")))
            ),
            Effect.timeoutOrElse({ duration: timeoutMs, orElse: () => late(method, path) })
          )
        ).pipe(Effect.flatMap((text) => {
          try {
            const json: unknown = JSON.parse(text)
            return Effect.succeed(json)
          } catch {
            return Effect.fail(error(
              method,
              new AiError.InvalidResponseError({
                description: `the answer is not JSON. Check baseUrl (${base}). It begins with: ${
                  quote(text.slice(0, 100))
                }`
              })
            ))
          }
        })),
      open: (path, method, body) =>
        retried(
          Effect.timeoutOrElse(send(path, method, body), { duration: timeoutMs, orElse: () => late(method, path) })
        ),
      timeoutMs,
      error,
      lost,
      quote
    }
  })

/** A field of a value of whatever shape. */
export const field = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined

/** A whole number, where it is one. */
export const count = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined

// ----------------------------------------------------------------------------------------------------------- internals

/** One attempt's failure, and how long the server asks to be left alone: a 503 may say that as well as a 429. */
interface Failed {
  readonly error: AiError.AiError
  readonly afterMs: number
}

const parse = (text: string): string | undefined => {
  try {
    const url = new URL(text)
    if (url.protocol !== "http:" && url.protocol !== "https:") return undefined
    if (url.username !== "" || url.password !== "") return undefined
    return (url.origin + url.pathname).replace(/\/+$/, "")
  } catch {
    return undefined
  }
}

const milliseconds = (input: Duration.Input): number | undefined => {
  const ms = Option.getOrUndefined(Option.map(Duration.fromInput(input), Duration.toMillis))
  return ms !== undefined && ms > 0 ? Math.min(ms, 2 ** 31 - 1) : undefined
}

const transient = (error: AiError.AiError): boolean => {
  const reason = error.reason
  return reason._tag === "RateLimitError" || reason._tag === "InternalProviderError" ||
    (reason._tag === "NetworkError" && reason.reason === "TransportError")
}

/** The system's word for it, from below whatever the client has put around it. */
const what = (error: HttpClientError.HttpClientError): string => {
  let cause: unknown = error
  for (let depth = 0; depth < 6 && cause !== undefined; depth++) {
    const code = field(cause, "code")
    if (typeof code === "string" && /^[A-Z][A-Z0-9_]+$/.test(code)) {
      return code === "ECONNREFUSED" ? "nobody listens there (ECONNREFUSED)" : `the connection failed (${code})`
    }
    cause = field(cause, "cause") ?? field(cause, "reason")
  }
  return "the connection failed, or was cut off"
}

const retryAfter = (headers: Headers.Headers): Duration.Duration | undefined => {
  const ms = Number(headers["retry-after-ms"] ?? "")
  if (ms > 0 && Number.isFinite(ms)) return Duration.millis(ms)
  const value = headers["retry-after"]
  if (value === undefined) return undefined
  const parsed = Headers.parseRetryAfter(value)
  return Result.isSuccess(parsed) ? Headers.retryAfterDelay(parsed.success, Date.now()) : undefined
}

/** What an answer that is not 2xx means: `{ "error": { "message", "type", "param", "code" } }`, if it is that. */
const refused = (
  response: HttpClientResponse.HttpClientResponse,
  text: string,
  quote: (text: string) => string
): AiError.AiErrorReason => {
  let body: unknown
  try {
    body = field(JSON.parse(text), "error")
  } catch {
    body = undefined
  }
  const said = typeof body === "string" ? body : field(body, "message")
  const code = field(body, "code") ?? field(body, "type")
  const param = field(body, "param")
  const { status } = response
  const id = response.headers["x-request-id"]
  const http = {
    response: { status, headers: id === undefined ? {} : { "x-request-id": quote(id) } },
    ...(typeof said === "string" ? { body: quote(said) } : {})
  }
  const description = `the server answered ${status}${typeof said === "string" ? `: ${quote(said)}` : ""}`
  switch (status) {
    case 401:
      return new AiError.AuthenticationError({
        kind: "InvalidKey",
        description: `${description}. Check the apiKey`,
        http
      })
    case 403:
      return new AiError.AuthenticationError({
        kind: "InsufficientPermissions",
        description: `${description}. The apiKey may not do this`,
        http
      })
    case 404:
      return new AiError.InvalidRequestError({ description: `${description}. Check baseUrl and model`, http })
    case 429: {
      if (code === "insufficient_quota") return new AiError.QuotaExhaustedError({ http })
      const after = retryAfter(response.headers)
      return new AiError.RateLimitError({ http, ...(after === undefined ? {} : { retryAfter: after }) })
    }
  }
  if (status >= 500) return new AiError.InternalProviderError({ description, http })
  return new AiError.InvalidRequestError({
    description,
    http,
    ...(typeof param === "string" ? { parameter: quote(param) } : {})
  })
}
