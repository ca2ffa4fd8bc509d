/** A report for the terminal. */
import type { Report } from "./report.ts"
import { counts, instant, millis, operation, pathOf, percent, printable } from "./words.ts"

const width = 100

const cut = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, Math.max(0, length - 1))}…`

/** Rows as columns, the last one cut where the line would be too long; numbers are set to the right. */
const table = (rows: ReadonlyArray<ReadonlyArray<string>>, right: ReadonlyArray<number>): ReadonlyArray<string> => {
  const columns = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, at) => Math.max(...rows.map((row) => (row[at] ?? "").length)))
  return rows.map((row) =>
    cut(
      `  ${
        row.map((cell, at) => right.includes(at) ? cell.padStart(widths[at]!) : cell.padEnd(widths[at]!)).join("  ")
      }`.trimEnd(),
      width
    )
  )
}

/** See `Migration.toText`. */
export const textOf = (report: Report): string => {
  const { failures, latency, matchRate, migration, paths, verdict } = report
  const none = report.compared === 0
  const lines = [
    `Migration ${printable(migration)}: ${verdict.decision}`,
    ...verdict.reasons.map(({ holds, text }) => `  ${holds ? "✓" : "✗"} ${text}`),
    "",
    ...(none ? ["Nothing was compared yet."] : [`${instant(report.from)} to ${instant(report.to)}`]),
    ...table(counts(report).map(([what, count]) => [what, String(count)]), [1]),
    ...(none ? [] : [
      `  match rate ${percent(matchRate.value)}, 95 % interval ${percent(matchRate.low)} to ${percent(matchRate.high)}`
    ]),
    "",
    "Latency",
    ...table([
      ["", "p50", "p95", "p99", "requests"],
      ...([["legacy", latency.legacy], ["flow", latency.flow]] as const).map(([side, { count, p50, p95, p99 }]) => [
        side,
        millis(p50),
        millis(p95),
        millis(p99),
        String(count)
      ]),
      ["flow/legacy", "", latency.legacy.count === 0 ? "" : latency.ratio.toFixed(2)]
    ], [1, 2, 3, 4]),
    ...(paths.length === 0 ? [] : [
      "",
      "Where they differ",
      ...paths.flatMap(({ count, examples, path }) => [
        ...table([[String(count), printable(pathOf(path))]], [0]),
        ...examples.map(({ patch, traceId }) =>
          cut(`      ${printable(traceId)}: ${printable(patch.map(operation).join("; "))}`, width)
        )
      ])
    ]),
    ...(failures.length === 0 ? [] : [
      "",
      "What fails on one side alone",
      ...table(
        failures.map(({ count, example, side, tag }) => [
          String(count),
          side,
          printable(tag),
          `${printable(example.traceId)}: ${printable(example.message)}`
        ]),
        [0]
      )
    ])
  ]
  return lines.map((line) => cut(line, width)).join("\n")
}
