/** Words about errors that may be hostile: a `message` getter that throws, a cycle, ten megabytes of text. */
import { isFlowError } from "../FlowError.ts"
import type { ErrorInfo } from "../FlowEvent.ts"

/** The longest text that the engine passes on of somebody else's error, in UTF-16 units. */
export const maxText = 8192

/** A text of at most {@link maxText}. */
export const cut = (text: string): string => text.length <= maxText ? text : `${text.slice(0, maxText - 1)}…`

const read = (u: object, key: "message" | "_tag" | "name"): string | undefined => {
  const value: unknown = Reflect.get(u, key)
  return typeof value === "string" ? value : undefined
}

/** What an error says of itself, whatever it is. Never throws. */
export const messageOf = (error: unknown): string => {
  try {
    if (typeof error === "object" && error !== null) {
      return cut(read(error, "message") || read(error, "_tag") || read(error, "name") || "an object without a message")
    }
    return cut(typeof error === "string" ? error : String(error))
  } catch {
    return "an error that can't be read: reading its message throws"
  }
}

/** The tag of an error, or its class name, or its type. Never throws. */
export const tagOf = (error: unknown): string => {
  try {
    if (typeof error === "object" && error !== null) {
      return cut(read(error, "_tag") || read(error, "name") || error.constructor?.name || "Object")
    }
    return typeof error
  } catch {
    return "unknown"
  }
}

/** What events tell of an error. */
export const errorInfo = (error: unknown): ErrorInfo => ({
  tag: tagOf(error),
  code: isFlowError(error) ? error.code : undefined,
  message: messageOf(error)
})
