/** JSON, written: what goes out. */

/** A value as JSON text; undefined where it can't be: nested too deep, or no JSON at all. */
export const jsonText = (value: unknown): string | undefined => {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}
