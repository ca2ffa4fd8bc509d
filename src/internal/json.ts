/** Whether a value is JSON, and where it is not. */

/** Nested deeper than this is refused: a meta is a few words about a message, not a document. */
const maxDepth = 64

const isPlain = (value: object): boolean => {
  const proto: unknown = Object.getPrototypeOf(value)
  return proto === Object.prototype || proto === null
}

/**
 * The path to the first thing in `value` that is not JSON, or undefined. Never throws, never runs for ever: a cycle is
 * found by its depth, and a getter that throws is not JSON.
 */
export const notJson = (value: unknown, path: string, depth = 0): string | undefined => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined
    case "number":
      return Number.isFinite(value) ? undefined : path
    case "object": {
      if (value === null) return undefined
      if (depth >= maxDepth) return path
      try {
        if (Array.isArray(value)) {
          for (let i = 0; i < value.length; i++) {
            const found = notJson(value[i], `${path}[${i}]`, depth + 1)
            if (found !== undefined) return found
          }
          return undefined
        }
        if (!isPlain(value)) return path
        for (const [key, inner] of Object.entries(value)) {
          const found = notJson(inner, `${path}.${key}`, depth + 1)
          if (found !== undefined) return found
        }
        return undefined
      } catch {
        return path
      }
    }
    default:
      return path
  }
}

/** The first key of a meta whose value is not JSON, as a path. */
export const badMeta = (meta: unknown): string | undefined => {
  if (typeof meta !== "object" || meta === null || !isPlain(meta)) return "meta"
  try {
    for (const [key, value] of Object.entries(meta)) {
      const found = notJson(value, key)
      if (found !== undefined) return found
    }
  } catch {
    return "meta"
  }
  return undefined
}
