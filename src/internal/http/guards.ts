/** What every request passes before anything of it is looked at: who it says it speaks to, where it comes from, who sends it. */
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Response from "effect/http/HttpServerResponse"
import { type Refusal, refusal } from "./errors.ts"

/** Who may ask. */
export type Check = (request: HttpServerRequest) => Effect.Effect<void, Refusal>

/** What is let through. */
export interface GuardOptions {
  /** Names that a `Host` header may have; undefined: any. */
  readonly hosts: ReadonlySet<string> | undefined
  /** Origins of pages elsewhere that may ask: `https://example.org`. */
  readonly origins: ReadonlySet<string>
  readonly auth: Check | undefined
}

/** Names under which a machine knows itself. */
export const loopbackNames: ReadonlyArray<string> = ["localhost", "127.0.0.1", "[::1]"]

/** Fails where a request is not let through. */
export const guard = (
  request: HttpServerRequest,
  path: string,
  options: GuardOptions
): Effect.Effect<void, Refusal> => {
  // For whoever watches the process: from inside a cluster, by address, without credentials.
  if (path === "/healthz" || path === "/readyz") return Effect.void
  const foreign = foreignIn(request, options)
  if (foreign !== undefined) return Effect.fail(foreign)
  return options.auth === undefined || isPublic(path) ? Effect.void : options.auth(request)
}

/** Without data in them: the page that asks for the credentials. */
const isPublic = (path: string): boolean => path === "/" || path.startsWith("/assets/")

/** What a page of a listed origin must be told so that its browser lets it read the answer; nothing for all others. */
export const sharedWith = (
  request: HttpServerRequest,
  origins: ReadonlySet<string>
): Readonly<Record<string, string>> => {
  const { origin } = request.headers
  return origin !== undefined && origins.has(origin.toLowerCase())
    ? { "access-control-allow-origin": origin, vary: "origin" }
    : {}
}

/** What a browser asks before it lets such a page send a request; undefined where it does not ask. */
export const preflight = (
  request: HttpServerRequest,
  origins: ReadonlySet<string>
): Response.HttpServerResponse | undefined =>
  request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined &&
    "vary" in sharedWith(request, origins)
    ? Response.empty({
      status: 204,
      headers: {
        "access-control-allow-methods": "GET, POST, DELETE",
        "access-control-allow-headers": "authorization, content-type, last-event-id, traceparent",
        "access-control-max-age": "600"
      }
    })
    : undefined

// ----------------------------------------------------------------------------------------------------------- internals

const forbidden = (code: string, error: string, path: string): Refusal => refusal(403, code, error, { path })

const foreignIn = (request: HttpServerRequest, { hosts, origins }: GuardOptions): Refusal | undefined => {
  const { host, origin, "sec-fetch-site": site } = request.headers
  if (hosts !== undefined && (host === undefined || !hosts.has(nameOf(host)))) {
    return forbidden(
      "FOREIGN_HOST",
      "The Host header names a machine that this server does not know itself by: list it in `hosts` where it is meant",
      "host"
    )
  }
  if (request.method === "GET" || request.method === "HEAD") return undefined
  const known = origin !== undefined && origins.has(origin.toLowerCase())
  if (origin !== undefined && !known && !isSame(origin, host)) {
    return forbidden(
      "FOREIGN_ORIGIN",
      "The request comes from a page of another origin: list that in `origins` where it is meant",
      "origin"
    )
  }
  // Of no page: "none". A client that is no browser sends nothing.
  return site === undefined || known || site === "same-origin" || site === "none"
    ? undefined
    : forbidden("FOREIGN_ORIGIN", "The request comes from a page of another site", "sec-fetch-site")
}

/** A host without its port, in small letters. */
const nameOf = (host: string): string => host.toLowerCase().replace(/:\d*$/, "")

const isSame = (origin: string, host: string | undefined): boolean => {
  const [, rest] = /^https?:\/\/([^/]+)$/i.exec(origin) ?? []
  return rest !== undefined && host !== undefined && rest.toLowerCase() === host.toLowerCase()
}

/** Headers of every answer. */
export const headersOfAll = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "x-frame-options": "DENY",
  "cross-origin-resource-policy": "same-origin"
} as const
