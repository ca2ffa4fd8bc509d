/** Whether two answers say the same, and where they do not. */
import * as Effect from "effect/Effect"
import * as JsonPatch from "effect/JsonPatch"
import * as Schema from "effect/Schema"
import { checkOf } from "../check.ts"
import type { Operation } from "./entry.ts"
import { type Jsoned, pointer, redact, toJson } from "./json.ts"

/** How numbers may differ: by so much, or by such a part of the larger one. */
export type Tolerance = number | { readonly absolute?: number | undefined; readonly relative?: number | undefined }

export interface CompareOptions<L, Out> {
  /** Decides alone, in place of schema, `ignore` and `tolerance`. */
  readonly equivalent?: ((legacy: L, flow: Out) => boolean | Effect.Effect<boolean, unknown>) | undefined
  /** The schema whose equivalence is asked; default: that of the flow's one egress node. */
  readonly schema?: Schema.Schema<Out> | undefined
  /** JSON pointers that may differ, and all below them, as `/updatedAt`; a token `*` stands for any key or position. */
  readonly ignore?: ReadonlyArray<string> | undefined
  readonly tolerance?: Tolerance | undefined
  /** JSON pointers of secrets beyond those that are known by their names. */
  readonly redact?: ReadonlyArray<string> | undefined
  /** Whether two errors say the same; default: the same tag, fields and message. */
  readonly errors?: ((legacy: unknown, flow: unknown) => boolean) | undefined
}

export interface Difference {
  readonly patch: ReadonlyArray<Operation>
  readonly paths: ReadonlyArray<string>
}

/** Undefined where the two match. */
export type Comparer = (legacy: unknown, flow: unknown) => Effect.Effect<Difference | undefined, unknown>

const maxOperations = 20

/** Whether a pointer is one of these patterns or lies below one. */
const matcher = (patterns: ReadonlyArray<string>): (path: string) => boolean => {
  const compiled = patterns.map((pattern) => pattern.replace(/^\//, "").split("/"))
  if (compiled.length === 0) return () => false
  return (path) => {
    const tokens = path.slice(1).split("/")
    return path !== "" &&
      compiled.some((pattern) =>
        pattern.length <= tokens.length && pattern.every((token, at) => token === "*" || token === tokens[at])
      )
  }
}

const near = (tolerance: Tolerance | undefined): (a: number, b: number) => boolean => {
  const { absolute = 0, relative = 0 } = typeof tolerance === "number" ? { absolute: tolerance } : tolerance ?? {}
  return (a, b) => Math.abs(a - b) <= Math.max(absolute, relative * Math.max(Math.abs(a), Math.abs(b)))
}

const isRecord = (json: Schema.Json): json is { readonly [key: string]: Schema.Json } =>
  typeof json === "object" && json !== null && !Array.isArray(json)

/** The flow's JSON with legacy's values where the difference does not count. */
const aligned = (
  legacy: Schema.Json,
  flow: Schema.Json,
  ignored: (path: string) => boolean,
  isNear: (a: number, b: number) => boolean
): Schema.Json => {
  const walk = (a: Schema.Json | undefined, b: Schema.Json | undefined, path: string): Schema.Json | undefined => {
    if (ignored(path)) return a
    if (a === undefined || b === undefined) return b
    if (typeof a === "number" && typeof b === "number") return isNear(a, b) ? a : b
    if (Array.isArray(a) && Array.isArray(b)) {
      const length = Math.max(a.length, b.length)
      const out: Array<Schema.Json> = []
      for (let at = 0; at < length; at++) {
        const inner = walk(a[at], b[at], pointer(path, at))
        if (inner !== undefined) out.push(inner)
      }
      return out
    }
    if (isRecord(a) && isRecord(b)) {
      const out: Record<string, Schema.Json> = {}
      for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
        const inner = walk(
          Object.hasOwn(a, key) ? a[key] : undefined,
          Object.hasOwn(b, key) ? b[key] : undefined,
          pointer(path, key)
        )
        if (inner !== undefined) Object.defineProperty(out, key, { value: inner, enumerable: true })
      }
      return out
    }
    return b
  }
  return walk(legacy, flow, "") ?? null
}

/** Positions in arrays as `*`. */
const general = (path: string): string => path.replaceAll(/\/\d+(?=\/|$)/g, "/*")

const difference = (legacy: Jsoned, flow: Jsoned, wanted: Schema.Json, redactAt: ReadonlyArray<string>): Difference => {
  const operations = JsonPatch.get(legacy.json, wanted)
  const marked = matcher(redactAt)
  const isSecret = (path: string) => marked(path) || legacy.redacted.has(path) || flow.redacted.has(path)
  return {
    patch: operations.slice(0, maxOperations).map((operation): Operation =>
      operation.op === "remove"
        ? { op: "remove", path: operation.path }
        : { op: operation.op, path: operation.path, value: redact(operation.value, operation.path, isSecret) }
    ),
    paths: [...new Set(operations.map((operation) => general(operation.path)))].slice(0, maxOperations)
  }
}

const somewhere: Difference = { patch: [], paths: [""] }

/** How the answers of a migration are compared. */
export const comparer = <L, Out>(
  options: CompareOptions<L, Out>,
  schema: Schema.Schema<Out> | undefined
): Comparer => {
  const ignored = matcher(options.ignore ?? [])
  const isNear = near(options.tolerance)
  const lenient = (options.ignore?.length ?? 0) > 0 || options.tolerance !== undefined
  const equivalence = schema === undefined ? undefined : Schema.toEquivalence(schema)
  const check = checkOf(schema)
  const differ = (legacy: unknown, flow: unknown): Difference | undefined => {
    // An equivalence is made for values of its schema, and legacy's answer need not be one.
    const fits = equivalence !== undefined && (check === undefined || safely(() => check.is(legacy)))
    if (fits && safely(() => equivalence(legacy as Out, flow as Out))) return undefined
    const [a, b] = [toJson(legacy), toJson(flow)]
    const found = difference(a, b, lenient ? aligned(a.json, b.json, ignored, isNear) : b.json, options.redact ?? [])
    if (found.paths.length > 0) return found
    // Alike as JSON and still not equivalent: the schema knows of a difference that JSON does not show.
    return fits && !lenient ? somewhere : undefined
  }
  const { equivalent } = options
  if (equivalent === undefined) return (legacy, flow) => Effect.sync(() => differ(legacy, flow))
  return (legacy, flow) =>
    Effect.suspend(() => {
      const answer = equivalent(legacy as L, flow as Out)
      return Effect.isEffect(answer) ? answer : Effect.succeed(answer)
    }).pipe(Effect.map((same) => {
      if (same) return undefined
      const [a, b] = [toJson(legacy), toJson(flow)]
      const found = difference(a, b, b.json, options.redact ?? [])
      return found.paths.length > 0 ? found : somewhere
    }))
}

/** How two errors are compared. */
export const errorComparer = (options: CompareOptions<never, never>): Comparer => (legacy, flow) =>
  Effect.sync(() => {
    if (options.errors?.(legacy, flow) === true) return undefined
    const [a, b] = [toJson(legacy), toJson(flow)]
    const found = difference(a, b, b.json, options.redact ?? [])
    return found.paths.length > 0 ? found : options.errors === undefined ? undefined : somewhere
  })

const safely = (same: () => boolean): boolean => {
  try {
    return same()
  } catch {
    return false
  }
}
