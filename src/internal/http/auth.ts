/** Credentials: a bearer token, compared without telling how far it was right. */
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import { Refusal } from "./errors.ts"
import type { Check } from "./guards.ts"

/** A check that refuses whoever another one does not let through. */
export const checkOf = (check: (request: HttpServerRequest) => Effect.Effect<boolean>): Check => (request) =>
  Effect.flatMap(check(request), (passes) => passes ? Effect.void : Effect.fail(unauthorized))

/** Whether a request bears one of these tokens. */
export const bearerCheck = (tokens: ReadonlyArray<string>): (request: HttpServerRequest) => Effect.Effect<boolean> => {
  if (tokens.length === 0 || tokens.some((token) => token.trim() === "")) {
    throw new RangeError("A bearer token has no character: whoever sends none would be let through")
  }
  if (tokens.some((token) => /\s/.test(token))) {
    throw new RangeError("A bearer token holds white space: no header can bear it")
  }
  const encoder = new TextEncoder()
  const known = tokens.map((token) => encoder.encode(token))
  return ({ headers }) =>
    Effect.sync(() => {
      const [, given] = /^bearer +(\S+) *$/i.exec(headers["authorization"] ?? "") ?? []
      if (given === undefined) return false
      const bytes = Uint8Array.from(given, (character) => character.charCodeAt(0) & 0xff)
      let found = 0
      // All of them, whichever is right.
      for (const token of known) found |= same(token, bytes)
      return found === 1
    })
}

// ----------------------------------------------------------------------------------------------------------- internals

const unauthorized = new Refusal(
  401,
  { error: "The request bears no valid token: send it as Authorization: Bearer …", code: "UNAUTHORIZED" },
  { "www-authenticate": "Bearer", connection: "close" }
)

/** 1 or 0, in a time that depends on the length of what was given alone. */
const same = (token: Uint8Array, given: Uint8Array): number => {
  let difference = token.length ^ given.length
  for (let i = 0; i < given.length; i++) difference |= token[i % token.length]! ^ given[i]!
  return difference === 0 ? 1 : 0
}
