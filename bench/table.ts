/** The table of ratios. */
import type { Row } from "./rounds.ts"

export interface Result extends Row {
  /** Undefined where there is no bar. */
  readonly met: boolean | undefined
  /** The ratio with the schema JIT off, where it was measured. */
  readonly withoutJit: number | undefined
}

const figure = (value: number, unit: Row["unit"]): string =>
  unit === "B"
    ? `${Math.round(value)} B`
    : `${value < 1 ? value.toFixed(3) : value < 100 ? value.toFixed(2) : value.toFixed(0)} µs`

const bar = ({ bar, held, unit }: Row): string =>
  bar === undefined ? "–" : held === "ours" ? `≤ ${figure(bar, unit)}` : `≤ ${bar.toFixed(2)}`

export const table = (results: ReadonlyArray<Result>): string => {
  const head = ["case", "ours", "by hand", "ratio (p10–p90)", "bar", "", "JIT off"]
  const lines = results.map((row) => [
    row.name,
    figure(row.ours, row.unit),
    figure(row.other, row.unit),
    `${row.ratio.toFixed(2)} (${row.p10.toFixed(2)}–${row.p90.toFixed(2)})`,
    bar(row),
    row.met === undefined ? "" : row.met ? "ok" : "MISSED",
    row.withoutJit === undefined ? "–" : row.withoutJit.toFixed(2)
  ])
  const widths = head.map((title, at) => Math.max(title.length, ...lines.map((line) => line[at]!.length)))
  const print = (line: ReadonlyArray<string>): string =>
    line.map((cell, at) => at === 0 || at === 5 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)).join("  ")
      .trimEnd()
  return [print(head), widths.map((width) => "─".repeat(width)).join("  "), ...lines.map(print)].join("\n")
}
