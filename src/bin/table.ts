/** Tables and times for people. */
import * as FlowCli from "../FlowCli.ts"

/** Columns as wide as what is in them; lines are cut where the terminal ends. The last column is never padded. */
export const table = (
  header: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  columns: number
): string => {
  const all = [header, ...rows].map((row) => row.map(FlowCli.oneLine))
  const widths = header.map((_, at) => all.reduce((most, row) => Math.max(most, row[at]?.length ?? 0), 0))
  return all.map((row) => {
    const line = row.map((cell, at) => at === row.length - 1 ? cell : cell.padEnd(widths[at] ?? 0)).join("  ")
    return `${FlowCli.fit(line.trimEnd(), columns)}\n`
  }).join("")
}

/** Names and what they stand for, one below the other; what has several lines is set in. */
export const record = (
  fields: ReadonlyArray<readonly [name: string, value: string | undefined]>,
  columns: number
): string => {
  const shown = fields.filter((field): field is readonly [string, string] => field[1] !== undefined)
  const width = shown.reduce((most, [name]) => Math.max(most, name.length), 0) + 2
  return shown.flatMap(([name, value]) =>
    value.split("\n").map((line, at) =>
      `${FlowCli.fit(`${(at === 0 ? name : "").padEnd(width)}${controlled(line)}`, columns)}\n`
    )
  ).join("")
}

/** `3s`, `5m`, `2h`, `9d`; what lies ahead has a plus in front. */
export const age = (at: number, now: number): string => {
  const sign = at > now ? "+" : ""
  const seconds = Math.floor(Math.abs(now - at) / 1000)
  if (seconds < 60) return `${sign}${seconds}s`
  if (seconds < 3600) return `${sign}${Math.floor(seconds / 60)}m`
  if (seconds < 86_400) return `${sign}${Math.floor(seconds / 3600)}h`
  return `${sign}${Math.floor(seconds / 86_400)}d`
}

/** `850 ms`, `1.25 s`, `2 min 5 s`. */
export const lasting = (ms: number): string => {
  if (ms < 10) return `${Math.round(ms * 100) / 100} ms`
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${Math.round(ms / 10) / 100} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

/** An instant, and how long ago it was. */
export const instant = (at: number, now: number): string => {
  const ago = at > now ? `in ${age(at, now).slice(1)}` : `${age(at, now)} ago`
  return Math.abs(at) <= 8.64e15 ? `${new Date(at).toISOString()} (${ago})` : String(at)
}

/** `1 job`, `2 jobs`. */
export const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`

// ----------------------------------------------------------------------------------------------------------- internals

/** Spaces in front say how deep JSON is. */
const controlled = (line: string): string => {
  const text = line.trimStart()
  return line.slice(0, line.length - text.length).replaceAll(/[^ ]/g, " ") + FlowCli.oneLine(text)
}
