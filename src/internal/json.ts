/** Whether a value is JSON, and where it is not. */

/** Nested deeper, or more values, is refused: a meta is a few words about a message, not a document. */
const maxDepth = 64
const maxValues = 10_000

const isPlain = (value: object): boolean => {
  const proto: unknown = Object.getPrototypeOf(value)
  return proto === Object.prototype || proto === null
}

/** How many values may still be looked at: shared references would otherwise be walked once for each way to them. */
interface Budget {
  left: number
}

const search = (value: unknown, path: string, depth: number, budget: Budget): string | undefined => {
  if (--budget.left < 0) return path
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined
    case "number":
      return Number.isFinite(value) ? undefined : path
    case "object": {
      if (value === null) return undefined
      if (depth >= maxDepth || !Array.isArray(value) && !isPlain(value)) return path
      const isArray = Array.isArray(value)
      for (const [key, inner] of Object.entries(value)) {
        const found = search(
          inner,
          isArray ? `${path}[${key}]` : path === "" ? key : `${path}.${key}`,
          depth + 1,
          budget
        )
        if (found !== undefined) return found
      }
      return isArray && Object.keys(value).length !== value.length ? path : undefined
    }
    default:
      return path
  }
}

/**
 * The path to the first value of a meta that is not JSON, or undefined. Never throws and always ends: a cycle is found by
 * its depth, a getter or a proxy that throws is not JSON.
 */
export const badMeta = (meta: unknown): string | undefined => {
  try {
    if (typeof meta !== "object" || meta === null || Array.isArray(meta)) return "meta"
    const found = search(meta, "", 0, { left: maxValues })
    return found === "" ? "meta" : found
  } catch {
    return "meta"
  }
}
