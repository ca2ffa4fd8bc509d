/**
 * Texts in pictures: what is shown of a name, and how wide it is without a browser to measure it.
 *
 * Widths are those of DejaVu Sans Bold, the widest of the fonts that a browser takes for `sans-serif` on a common system:
 * whatever it takes, a text is at most as wide as is thought here.
 */

/** On one line, and nothing in it that XML or a terminal could not hold. A text of blanks alone is shown as one. */
export const shown = (text: string): string => {
  const line = text.toWellFormed().replaceAll(/\s+/g, " ").replaceAll(unprintable, "\uFFFD").trim()
  return line === "" ? "␣" : line
}

/** What XML may hold, whole: blanks stay as they are. For attributes, whose values are read by programs. */
export const kept = (text: string): string => text.toWellFormed().replaceAll(unprintable, "\uFFFD")

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "\"": "&quot;",
  "'": "&#39;",
  "\t": "&#9;",
  "\n": "&#10;",
  "\r": "&#13;"
}

/** For the text and the attributes of XML and HTML alike. */
export const escaped = (text: string): string => text.replaceAll(/[&<>"'\t\n\r]/g, (c) => entities[c]!)

/** The width of a text in a font of this size, at most. `certain` is false where a character may be wider than that. */
export const widthOf = (text: string, size: number): { readonly width: number; readonly certain: boolean } => {
  let hundredths = 0
  let certain = true
  for (const character of text.normalize("NFD")) {
    const width = characterWidth(character)
    if (width === undefined) certain = false
    hundredths += width ?? 130
  }
  return { width: Math.ceil(hundredths * size / 100 * 1.02) + 1, certain }
}

/** The text where it fits, else as much of its beginning as does, and "…". Never half of a character that is seen as one. */
export const elided = (text: string, size: number, most: number): string => {
  if (widthOf(text, size).width <= most) return text
  let short = ""
  for (const { segment } of segmenter.segment(text)) {
    if (widthOf(`${short}${segment}…`, size).width > most) break
    short += segment
  }
  return `${short.trimEnd()}…`
}

// ----------------------------------------------------------------------------------------------------------- internals

/** Controls, what XML 1.0 forbids, and characters that turn the direction of what stands around them. */
// oxlint-disable-next-line no-control-regex
const unprintable = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/g

const segmenter = new Intl.Segmenter("en")

/** Of the characters from " " to "~", in hundredths of the font's size. */
const ascii: ReadonlyArray<number> = (
  "35 46 52 84 70 100 87 31 46 46 52 84 38 42 38 37 70 70 70 70 70 70 70 70 70 70 40 40 84 84 84 58 100 77 76 73 83 68 " +
  "68 82 84 37 37 77 64 100 84 85 73 85 77 72 68 81 77 110 77 72 73 46 37 46 84 50 50 67 72 59 72 68 44 72 71 34 34 67 " +
  "34 104 71 69 72 72 49 60 48 71 65 92 65 65 58 71 37 71 84"
).split(" ").map(Number)

const characterWidth = (character: string): number | undefined => {
  const point = character.codePointAt(0)!
  if (point < 127) return ascii[point - 32] ?? 100
  if (/\p{M}|[\u200b-\u200f\u2060]/u.test(character)) return 0
  if (/\p{Extended_Pictographic}|\p{Emoji_Presentation}/u.test(character)) return 140
  if (/[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Hang}]/u.test(character)) return 105
  if (/[\p{scx=Grek}\p{scx=Cyrl}\p{scx=Latn}]/u.test(character)) return /\p{Lu}/u.test(character) ? 125 : 105
  if (/[\p{scx=Hebr}\p{scx=Arab}]/u.test(character) && point < 0x700) return 110
  if (point < 0x2100) return 105
  return undefined
}
