/** Parts of a stream as text: tokens flow together, whatever else is sent stands on lines of its own. */

/** A token is shorter than this, or says by a space at one of its ends that something belongs there. */
const longestToken = 12

const isToken = (part: unknown): part is string =>
  typeof part === "string" && (part.length < longestToken || /^\s|\s$/.test(part))

/** All parts in one text. */
export const textOfParts = (parts: ReadonlyArray<unknown>): string =>
  parts.every(isToken)
    ? parts.join("")
    : parts.map((part) => typeof part === "string" ? part.replace(/\n$/, "") : JSON.stringify(part)).join("\n")
