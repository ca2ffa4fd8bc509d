/** JSON, read: what is wrong with a text and where, without a word of the text itself. */

/** A value, or where the text stops being JSON, counted from 1, and what is missing there. */
export type Parsed =
  | { readonly _tag: "Json"; readonly value: unknown }
  | { readonly _tag: "NotJson"; readonly line: number; readonly column: number; readonly expected: string }

/** Reads a text. Never throws. */
export const parse = (text: string): Parsed => {
  try {
    return { _tag: "Json", value: JSON.parse(text) as unknown }
  } catch {
    const { at, expected } = firstFault(text)
    const before = text.slice(0, at)
    return {
      _tag: "NotJson",
      line: before.split("\n").length,
      column: at - before.lastIndexOf("\n"),
      expected
    }
  }
}

/** Whether a text is JSON. */
export const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

// ----------------------------------------------------------------------------------------------------------- internals

interface Fault {
  readonly at: number
  readonly expected: string
}

const space = /[ \t\n\r]*/y
// oxlint-disable-next-line no-control-regex
const string = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/y
const scalar = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|(?:true|false|null)(?!\w)/y

const expected = {
  value: "a value",
  valueOrEnd: "a value or \"]\"",
  key: "a name in double quotes",
  keyOrEnd: "a name in double quotes or \"}\"",
  colon: "\":\"",
  end: "nothing more",
  "[": "\",\" or \"]\"",
  "{": "\",\" or \"}\""
}

// JSON.parse says where in some of its messages, and quotes the text in others. Without recursion: texts may be deep.
const firstFault = (text: string): Fault => {
  let at = 0
  const match = (token: RegExp): boolean => {
    token.lastIndex = at
    const found = token.test(text)
    if (found) at = token.lastIndex
    return found
  }
  const take = (character: string): boolean => {
    if (text[at] !== character) return false
    at++
    return true
  }
  const open: Array<"[" | "{"> = []
  let state: "value" | "valueOrEnd" | "key" | "keyOrEnd" | "colon" | "after" = "value"
  while (true) {
    match(space)
    switch (state) {
      case "value":
      case "valueOrEnd":
        if (state === "valueOrEnd" && take("]")) {
          open.pop()
          state = "after"
        } else if (take("[")) {
          open.push("[")
          state = "valueOrEnd"
        } else if (take("{")) {
          open.push("{")
          state = "keyOrEnd"
        } else if (match(string) || match(scalar)) state = "after"
        else return { at, expected: expected[state] }
        break
      case "key":
      case "keyOrEnd":
        if (state === "keyOrEnd" && take("}")) {
          open.pop()
          state = "after"
        } else if (match(string)) state = "colon"
        else return { at, expected: expected[state] }
        break
      case "colon":
        if (!take(":")) return { at, expected: expected.colon }
        state = "value"
        break
      case "after": {
        const inside = open.at(-1)
        if (inside === undefined) return { at, expected: expected.end }
        if (take(",")) state = inside === "[" ? "value" : "key"
        else if (take(inside === "[" ? "]" : "}")) open.pop()
        else return { at, expected: expected[inside] }
      }
    }
  }
}
