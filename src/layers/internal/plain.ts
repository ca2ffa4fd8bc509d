/** Text from outside, made fit for a line of a log or a terminal: nothing in it can begin a line or move a cursor. */

// Controls of both sets (CR, LF, ESC, CSI), what breaks lines in Unicode, what turns the direction of writing, and half
// characters.
const unfit = new RegExp(
  "[\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ufeff]" +
    "|[\\ud800-\\udbff](?![\\udc00-\\udfff])|(?<![\\ud800-\\udbff])[\\udc00-\\udfff]",
  "g"
)

const named: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

const escape = (char: string): string => named[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`

/** The text with all of that escaped as JavaScript would write it, at most so many UTF-16 units of it. */
export const plain = (text: string, most: number): string =>
  (text.length <= most ? text : `${text.slice(0, most - 1)}…`).replace(unfit, escape)
