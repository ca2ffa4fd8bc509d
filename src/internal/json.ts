/** JSON, taken in: copied, so that what was judged stays what it is, and refused with the path to what is not JSON. */
import type * as Schema from "effect/Schema"
import type { Meta } from "../Trace.ts"

/** Nested deeper, or more values, is refused: a meta is a few words about a message, not a document. */
const maxDepth = 64
const maxValues = 10_000

/** Thrown at the first thing that is not JSON. */
class NotJson {
  readonly path: string
  constructor(path: string) {
    this.path = path
  }
}

/** How many values may still be looked at: shared references would otherwise be walked once for each way to them. */
interface Budget {
  left: number
}

const isPlain = (value: object): boolean => {
  const proto: unknown = Object.getPrototypeOf(value)
  return proto === Object.prototype || proto === null
}

const take = (value: unknown, path: string, depth: number, budget: Budget): Schema.Json => {
  if (--budget.left < 0) throw new NotJson(path)
  switch (typeof value) {
    case "string":
    case "boolean":
      return value
    case "number":
      if (Number.isFinite(value)) return value
      break
    case "object":
      if (value === null) return null
      if (depth < maxDepth) return takeObject(value, path, depth, budget)
  }
  throw new NotJson(path)
}

const takeObject = (value: object, path: string, depth: number, budget: Budget): Schema.Json => {
  // A getter or a proxy that throws is not JSON, and is so where it stands.
  let at = path
  try {
    if (Array.isArray(value)) {
      const items: Array<Schema.Json> = []
      for (let i = 0; i < value.length; i++) {
        at = `${path}[${i}]`
        items.push(take(value[i], at, depth + 1, budget))
      }
      return items
    }
    if (isPlain(value)) return takeRecord(value, path, depth, budget)
  } catch (thrown) {
    throw thrown instanceof NotJson ? thrown : new NotJson(at)
  }
  throw new NotJson(path)
}

const takeRecord = (value: object, path: string, depth: number, budget: Budget): Record<string, Schema.Json> => {
  const record: Record<string, Schema.Json> = {}
  let at = path
  try {
    for (const key of Object.keys(value)) {
      at = path === "" ? key : `${path}.${key}`
      const taken = take(Reflect.get(value, key), at, depth + 1, budget)
      // Defined and not assigned: `__proto__` is a key like any other. Defining costs seven times as much.
      if (key !== "__proto__") record[key] = taken
      else Object.defineProperty(record, key, { value: taken, enumerable: true, writable: true, configurable: true })
    }
  } catch (thrown) {
    throw thrown instanceof NotJson ? thrown : new NotJson(at)
  }
  return record
}

/** A copy of a meta, or the path to the first value in it that is not JSON. Never throws and always ends. */
export const takeMeta = (meta: unknown): { readonly meta: Meta } | { readonly key: string } => {
  try {
    if (typeof meta !== "object" || meta === null || Array.isArray(meta) || !isPlain(meta)) return { key: "meta" }
    return { meta: Object.freeze(takeRecord(meta, "", 0, { left: maxValues })) }
  } catch (thrown) {
    return { key: thrown instanceof NotJson && thrown.path !== "" ? thrown.path : "meta" }
  }
}
