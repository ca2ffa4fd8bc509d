/**
 * Texts in pictures: what is shown of a name, and how wide it is without a browser to measure it.
 *
 * Widths are those of DejaVu Sans Bold, the widest of the fonts that a browser takes for `sans-serif` on a common system:
 * whatever it takes, a text is at most as wide as is thought here.
 */

/** On one line, without what can't be seen and works all the same. A text of blanks alone is shown as one. */
export const shown = (text: string): string => {
  const line = kept(text).replaceAll(/\s+/g, " ").replaceAll(unseen, "\uFFFD").trim()
  return line === "" ? "␣" : line
}

/** What XML may hold, whole: for attributes, whose values are read by programs. */
export const kept = (text: string): string => text.toWellFormed().replaceAll(forbidden, "\uFFFD")

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
    hundredths += width ?? (/\p{M}/u.test(character) ? 60 : 130)
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

// oxlint-disable-next-line no-control-regex
const forbidden = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g
/** Controls, and characters that turn the direction of what stands around them. */
// oxlint-disable-next-line no-control-regex
const unseen = /[\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

const segmenter = new Intl.Segmenter("en")

/** Of the characters from " " to "~", in hundredths of the font's size. */
const ascii: ReadonlyArray<number> = (
  "35 46 52 84 70 100 87 31 46 46 52 84 38 42 38 37 70 70 70 70 70 70 70 70 70 70 40 40 84 84 84 58 100 77 76 73 83 68 " +
  "68 82 84 37 37 77 64 100 84 85 73 85 77 72 68 81 77 110 77 72 73 46 37 46 84 50 50 67 72 59 72 68 44 72 71 34 34 67 " +
  "34 104 71 69 72 72 49 60 48 71 65 92 65 65 58 71 37 71 84"
).split(" ").map(Number)

/** In hundredths of the font's size; undefined where fonts differ too much for a bound that is of use. */
const characterWidth = (character: string): number | undefined => {
  const point = character.codePointAt(0)!
  if (point < 127) return ascii[point - 32] ?? 100
  // An accent widens few letters, and those by little; those that few fonts have are drawn as a box of their own.
  if (point >= 0x300 && point < 0x350) return 15
  if (point >= 0x200b && point < 0x2010 || point === 0x2060 || point >= 0xfe00 && point < 0xfe10) return 0
  if (/\p{M}/u.test(character) || rare.test(character)) return undefined
  if (/\p{Extended_Pictographic}|\p{Emoji_Presentation}/u.test(character)) return 160
  if (/[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Hang}]/u.test(character)) return 105
  if (/[\p{sc=Grek}\p{sc=Cyrl}\p{sc=Latn}]/u.test(character)) return /\p{Lu}/u.test(character) ? 136 : 112
  if (/[\p{sc=Hebr}\p{sc=Arab}]/u.test(character) && point < 0x700) return wideArabic.test(character) ? 142 : 116
  return point < 0x600 || (point >= 0x2000 && point < 0x2600) || point === 0xfffd ? 112 : undefined
}

/** Letters of two or three in one, long signs, and what only old books hold. */
const rare =
  /[\u01c4-\u01cc\u01f1-\u01f3\u02a3-\u02ab\u0460-\u0489\u2030\u2031\u20a0-\u20ab\u20ad-\u20af\u2100-\u218f\u222c-\u2230\u22d8\u22d9\u2326-\u232b\u23b2\u23b3\ua640-\ua7ff]/
const wideArabic = /[\u0633-\u0636\u0641\u0642\u069a-\u06aa]/
