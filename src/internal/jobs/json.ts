/** JSON at the door of a queue: what is not JSON is named by its path, and nothing large or deep is looked at to its end. */

/** What is wrong with a value. */
export type Fault =
  | { readonly _tag: "NotJson"; readonly path: string; readonly what: string }
  | { readonly _tag: "TooDeep"; readonly path: string }
  | { readonly _tag: "TooLarge"; readonly bytes: number }

export interface Limits {
  readonly maxBytes: number
  readonly maxDepth: number
}

const show = (key: string): string =>
  /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key.slice(0, 64)}` : `[${JSON.stringify(key.slice(0, 64))}]`

const typeName = (value: object): string => {
  try {
    const name: unknown = value.constructor?.name
    return typeof name === "string" && name !== "" ? name.slice(0, 64) : "object of a class"
  } catch {
    return "object of a class"
  }
}

interface Walk {
  readonly limits: Limits
  /** Whether only JSON passes; else only size, depth and cycles are judged. */
  readonly strict: boolean
  bytes: number
}

/** The first fault of a value, or undefined. Never throws, never runs for ever. */
export const faultIn = (value: unknown, path: string, limits: Limits, strict: boolean): Fault | undefined =>
  visit({ limits, strict, bytes: 0 }, value, path, 0)

const spend = (walk: Walk, bytes: number): Fault | undefined =>
  (walk.bytes += bytes) > walk.limits.maxBytes ? { _tag: "TooLarge", bytes: walk.bytes } : undefined

const visit = (walk: Walk, value: unknown, path: string, depth: number): Fault | undefined => {
  const not = (what: string): Fault | undefined => walk.strict ? { _tag: "NotJson", path, what } : undefined
  switch (typeof value) {
    case "string":
      return spend(walk, value.length + 2)
    case "boolean":
      return spend(walk, 4)
    case "number":
      return Number.isFinite(value) ? spend(walk, 1) : not(String(value))
    case "object":
      return value === null
        ? spend(walk, 4)
        : depth >= walk.limits.maxDepth
        ? { _tag: "TooDeep", path }
        : inside(walk, value, path, depth)
    default:
      return not(typeof value)
  }
}

const inside = (walk: Walk, value: object, path: string, depth: number): Fault | undefined => {
  try {
    if (Array.isArray(value)) {
      const tooMany = spend(walk, value.length + 1)
      if (tooMany !== undefined) return tooMany
      for (let i = 0; i < value.length; i++) {
        const fault = visit(walk, value[i], `${path}[${i}]`, depth + 1)
        if (fault !== undefined) return fault
      }
      return undefined
    }
    const proto: unknown = Object.getPrototypeOf(value)
    if (walk.strict && proto !== Object.prototype && proto !== null) {
      return { _tag: "NotJson", path, what: `a ${typeName(value)}` }
    }
    for (const key of Object.keys(value)) {
      if (key === "__proto__") {
        return { _tag: "NotJson", path: `${path}["__proto__"]`, what: "a key that JSON may not have here" }
      }
      const inner: unknown = Reflect.get(value, key)
      if (inner === undefined) continue
      const fault = spend(walk, key.length + 4) ?? visit(walk, inner, path + show(key), depth + 1)
      if (fault !== undefined) return fault
    }
    if (walk.strict && Object.getOwnPropertySymbols(value).length > 0) {
      return { _tag: "NotJson", path, what: "an object with a symbol as key" }
    }
    return undefined
  } catch {
    return { _tag: "NotJson", path, what: "an object that throws when it is read" }
  }
}

/** JSON text with keys in order: equal values have equal texts. For values in which {@link faultIn} finds no fault. */
export const canonical = (value: unknown): string => {
  if (typeof value !== "object" || value === null) return Object.is(value, -0) ? "-0" : JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`
  const parts: Array<string> = []
  for (const key of Object.keys(value).sort()) {
    const inner: unknown = Reflect.get(value, key)
    if (inner !== undefined) parts.push(`${JSON.stringify(key)}:${canonical(inner)}`)
  }
  return `{${parts.join(",")}}`
}

const encoder = new TextEncoder()

/** Bytes of UTF-8. A look at a short text is a quarter of the encoder's cost, and most are ASCII. */
export const bytesOf = (text: string): number => {
  if (text.length > 1024) return encoder.encode(text).length
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return encoder.encode(text).length
  return text.length
}
