/** Numbers in words, the same in the text and on the page. */
import type { Operation } from "./entry.ts"
import type { Report } from "./report.ts"

export const percent = (share: number): string => `${(100 * share).toFixed(2)} %`

/** Milliseconds with three digits. */
export const millis = (ms: number): string =>
  ms >= 10_000
    ? `${(ms / 1000).toPrecision(3)} s`
    : ms >= 1000
    ? `${(ms / 1000).toFixed(2)} s`
    : ms >= 100
    ? `${ms.toFixed(0)} ms`
    : ms >= 1
    ? `${ms.toPrecision(3)} ms`
    : ms <= 0
    ? "0 ms"
    : `${Math.max(0.001, ms).toFixed(3)} ms`

export const instant = (at: number): string =>
  Number.isFinite(at) && Math.abs(at) < 8.64e15 ? new Date(at).toISOString().replace(/\.\d+Z$/, "Z") : "?"

/** The root of an answer has no name of its own. */
export const pathOf = (path: string): string => path === "" ? "(all of it)" : path

/** One operation of a patch in a line. */
export const operation = ({ op, path, value }: Operation): string =>
  op === "remove" ? `remove ${pathOf(path)}` : `${op} ${pathOf(path)} ${JSON.stringify(value)}`

/** Counts of a report as rows: what, how many. */
export const counts = (report: Report): ReadonlyArray<readonly [string, number]> => [
  ["requests compared", report.compared],
  ["matches", report.matches],
  ["mismatches", report.mismatches],
  ["failed in legacy alone", report.legacyFailures],
  ["failed in the flow alone", report.flowFailures],
  ["skipped, too many under way", report.skipped.busy],
  ["skipped, not in the sample", report.skipped.sampled],
  ["comparisons that failed", report.skipped.comparison],
  ["lost on the way to the store", report.skipped.lost],
  ["fallbacks to legacy", report.fallbacks]
]

/** Control characters of the terminal have no business in a report. */
export const printable = (text: string): string =>
  // oxlint-disable-next-line no-control-regex
  text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g, "·")
