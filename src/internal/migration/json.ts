/** Any value as JSON that can be compared and shown: whatever it is, and without what must not be shown. */
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import { messageOf, tagOf } from "../text.ts"
import type { Failure } from "./entry.ts"

/** What stands for something that must not be shown. */
export const hidden = "<redacted>"

/** Values nested deeper, or with more parts, are cut: a comparison must not stop the process. */
const maxDepth = 64
const maxParts = 100_000
const maxText = 200

const secretName =
  /pass(?:word|phrase|wd)|secret|token|authoriz|cookie|api[-_]?key|credential|private[-_]?key|session|\bssn\b|\biban\b|card[-_]?number|\bcvv\b/i

const secretText = new RegExp(
  [
    String.raw`\b(?:sk|pk|rk)[-_](?:live|test|proj|ant)?[-_]?[\w-]{16,}`,
    String.raw`\bAKIA[0-9A-Z]{16}\b`,
    String.raw`\bgh[pousr]_\w{20,}`,
    String.raw`\bxox[abpr]-[\w-]{10,}`,
    String.raw`\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*`,
    String.raw`\b(?:Bearer|Basic)\s+[\w.~+/=-]{8,}`,
    String.raw`(?<=\w+:\/\/[^\s:/@]*:)[^\s@/]+(?=@)`,
    String.raw`(?<=(?:password|passwd|secret|token|api[-_]?key)["']?\s*[:=]\s*["']?)[^\s"',;&]+`,
    String.raw`-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`
  ].join("|"),
  "gi"
)

/** A text without what looks like a credential, cut to a length that fits a report. */
export const safeText = (text: string, max: number = maxText): string => {
  const safe = text.slice(0, 8192).replaceAll(secretText, hidden)
  return safe.length > max ? `${safe.slice(0, max - 1)}…` : safe
}

/** What is kept of an error. */
export const failureOf = (error: unknown): Failure => ({
  tag: safeText(tagOf(error), 80),
  message: safeText(messageOf(error))
})

/** A value as JSON, and the pointers of what was `Redacted` in it: compared by what is inside, never shown. */
export interface Jsoned {
  readonly json: Schema.Json
  readonly redacted: ReadonlySet<string>
}

/** Appends to a JSON pointer. */
export const pointer = (path: string, key: string | number): string =>
  `${path}/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`

/** Never throws, and ends for values that contain themselves. */
export const toJson = (value: unknown): Jsoned => {
  const redacted = new Set<string>()
  let parts = 0
  const entriesOf = (entries: Iterable<readonly [string, unknown]>, path: string, depth: number): Schema.Json => {
    const out: Record<string, Schema.Json> = Object.create(null)
    for (const [key, inner] of entries) {
      if (inner === undefined || typeof inner === "function") continue
      out[key] = walk(inner, pointer(path, key), depth + 1)
    }
    return { ...out }
  }
  const objectOf = (object: object, path: string, depth: number): Schema.Json => {
    if (Redacted.isRedacted(object)) {
      redacted.add(path)
      return walk(Redacted.value(object), path, depth + 1)
    }
    if (Array.isArray(object)) return object.map((inner, at) => walk(inner, pointer(path, at), depth + 1))
    if (object instanceof Date) return Number.isNaN(object.getTime()) ? "Invalid Date" : object.toISOString()
    if (object instanceof Map) {
      const entries = [...object]
      return entries.every((entry): entry is [string, unknown] => typeof entry[0] === "string")
        ? entriesOf(entries.toSorted(([a], [b]) => a < b ? -1 : 1), path, depth)
        : entries.map(([key, inner], at) => [
          walk(key, pointer(pointer(path, at), 0), depth + 1),
          walk(inner, pointer(pointer(path, at), 1), depth + 1)
        ])
    }
    if (object instanceof Set) {
      const before = redacted.size
      const items = [...object].map((inner, at) => walk(inner, pointer(path, at), depth + 1))
      // Sorting moves items away from their pointers.
      if (redacted.size > before) redacted.add(path)
      return items.map((json) => ({ json, text: JSON.stringify(json) }))
        .toSorted((a, b) => a.text < b.text ? -1 : 1).map(({ json }) => json)
    }
    if (ArrayBuffer.isView(object)) {
      const bytes = new Uint8Array(object.buffer, object.byteOffset, Math.min(object.byteLength, maxParts))
      return `${object.constructor.name}(${object.byteLength}) ${digestOf(bytes)}`
    }
    if (object instanceof Error) {
      // Never the stack: to read it is to format it, which takes longer than all the rest.
      const fields = Object.keys(object).filter((key) => !["_tag", "message", "cause", "stack"].includes(key))
      return entriesOf(
        [
          ["_tag", tagOf(object)],
          ["message", messageOf(object)],
          ...fields.map((key): [string, unknown] => [key, Reflect.get(object, key)])
        ],
        path,
        depth
      )
    }
    const own = Reflect.get(object, "toJSON")
    return typeof own === "function"
      ? walk(own.call(object), path, depth + 1)
      : entriesOf(Object.entries(object), path, depth)
  }
  const walk = (inner: unknown, path: string, depth: number): Schema.Json => {
    if (++parts > maxParts || depth > maxDepth) return "…"
    switch (typeof inner) {
      case "string":
      case "boolean":
        return inner
      case "number":
        return Number.isFinite(inner) ? inner === 0 ? 0 : inner : String(inner)
      case "bigint":
        return `${inner}n`
      case "object":
        if (inner === null) return null
        try {
          return objectOf(inner, path, depth)
        } catch {
          return "<unreadable>"
        }
      case "symbol":
        return inner.toString()
      default:
        return null
    }
  }
  return { json: walk(value, "", 0), redacted }
}

/** Tells bytes from other bytes; no secret is guarded by it. */
const digestOf = (bytes: Uint8Array): string => {
  let a = 0x811c9dc5
  for (const byte of bytes) a = Math.imul(a ^ byte, 0x01000193)
  return (a >>> 0).toString(16).padStart(8, "0")
}

/** A value for a report: secrets taken out by the names of fields and by their looks, long texts cut. */
export const redact = (json: Schema.Json, path: string, isSecret: (path: string) => boolean): Schema.Json => {
  let parts = 0
  const walk = (inner: Schema.Json, at: string): Schema.Json => {
    if (isSecret(at) || secretName.test(at.slice(at.lastIndexOf("/") + 1))) return hidden
    if (typeof inner === "string") return safeText(inner)
    if (typeof inner !== "object" || inner === null) return inner
    if (++parts > 50) return "…"
    if (Array.isArray(inner)) return inner.slice(0, 20).map((item, index) => walk(item, pointer(at, index)))
    return Object.fromEntries(
      Object.entries(inner).slice(0, 20).map(([key, item]) => [key, walk(item, pointer(at, key))])
    )
  }
  // A patch may replace something inside of what has a secret's name.
  const tokens = path.split("/")
  return tokens.some((token) => secretName.test(token)) ||
      tokens.some((_, at) => isSecret(tokens.slice(0, at + 1).join("/")))
    ? hidden
    : walk(json, path)
}
