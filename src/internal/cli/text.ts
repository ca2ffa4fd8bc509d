/** Words for a terminal: one line, whatever they are made of. */

/** The longest line that is written about an error, in UTF-16 units. */
const longest = 2000

// Control characters would move the cursor, colour what follows, or begin a line of their own.
// oxlint-disable-next-line no-control-regex
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

const escaped = (character: string): string => `\\u${character.codePointAt(0)!.toString(16).padStart(4, "0")}`

/** One line of at most 2000 characters that can do nothing to the terminal. */
export const oneLine = (text: string): string => {
  const line = text.slice(0, 4 * longest).trim().replaceAll(/\s*[\r\n]+\s*/g, " ").replaceAll(control, escaped)
  return line.length <= longest ? line : `${line.slice(0, longest - 1)}…`
}

/** Lines as they are, but for what would do something to the terminal. */
export const printable = (text: string): string =>
  text.slice(0, 16 * longest).replaceAll(control, (character) => character === "\n" ? character : escaped(character))

// JSON escapes the controls below U+0020 itself; the others mean something to some terminals.
// oxlint-disable-next-line no-control-regex
const controlInJson = /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

/** A value of JSON as one line of NDJSON; undefined where it is nested too deep to be written. */
export const ndjson = (value: unknown): string | undefined => {
  try {
    return `${(JSON.stringify(value) ?? "null").replaceAll(controlInJson, escaped)}\n`
  } catch {
    return undefined
  }
}

/** The last columns of a terminal's line are left free: a full line would wrap. */
export const fit = (text: string, columns: number): string => {
  const width = Math.max(1, columns - 1)
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`
}
