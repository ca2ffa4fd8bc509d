/** Plots as SVG: plain elements with attributes, so that no script and no style sheet is needed to see them. */
import type { Report } from "./report.ts"
import { instant, millis } from "./words.ts"

const width = 720
const height = 220
const left = 56
const right = 16
const top = 16
const bottom = 36
const inner = { width: width - left - right, height: height - top - bottom }

/** The sides' colours, told apart by everybody and in print: one is filled, the other a line. */
const legacy = "#b35900"
const flow = "#0b6bcb"
const grey = "#8a8f98"

const n = (value: number): string => String(Math.round(value * 100) / 100)

const text = (x: number, y: number, anchor: "start" | "middle" | "end", words: string): string =>
  `<text x="${n(x)}" y="${n(y)}" text-anchor="${anchor}" font-size="12" fill="currentColor">${words}</text>`

const line = (x1: number, y1: number, x2: number, y2: number): string =>
  `<line x1="${n(x1)}" y1="${n(y1)}" x2="${n(x2)}" y2="${n(y2)}" stroke="${grey}" stroke-opacity="0.35"/>`

const svg = (title: string, body: ReadonlyArray<string>): string =>
  `<svg role="img" aria-label="${title}" viewBox="0 0 ${width} ${height}" width="100%" ` +
  `xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif"><title>${title}</title>${body.join("")}</svg>`

const empty = (title: string): string => svg(title, [text(width / 2, height / 2, "middle", "nothing was compared yet")])

/** The share of matches in each stretch of time. */
export const matchRateOverTime = ({ from, overTime, to }: Report): string => {
  const title = "Match rate over time"
  if (overTime.length === 0) return empty(title)
  const rates = overTime.map(({ compared, matches }) => matches / compared)
  // A rate of 99.7 % is a flat line on a scale from 0: the scale begins below the worst stretch.
  const worst = Math.min(...rates)
  const floor = worst >= 0.95 ? 0.9 : worst >= 0.6 ? 0.5 : 0
  const span = Math.max(1, to - from)
  const x = (at: number) => left + (at - from) / span * inner.width
  const y = (rate: number) => top + (1 - rate) / (1 - floor) * inner.height
  const most = Math.max(...overTime.map(({ compared }) => compared))
  const points = overTime.map(({ at }, place) => ({
    x: overTime.length === 1 ? left + inner.width / 2 : x(at),
    y: y(rates[place]!)
  }))
  const bar = Math.max(1, inner.width / Math.max(overTime.length, 1) * 0.8)
  return svg(title, [
    // How many requests a point stands for, behind it.
    ...overTime.map(({ compared }, place) => {
      const tall = compared / most * inner.height * 0.4
      return `<rect x="${n(points[place]!.x - Math.min(bar, 10) / 2)}" y="${n(top + inner.height - tall)}" width="${
        n(Math.min(bar, 10))
      }" height="${n(tall)}" fill="${grey}" fill-opacity="0.25"/>`
    }),
    ...[floor, (1 + floor) / 2, 1].flatMap((rate) => [
      line(left, y(rate), left + inner.width, y(rate)),
      text(left - 6, y(rate) + 4, "end", `${n(100 * rate)} %`)
    ]),
    text(left, height - 12, "start", instant(from)),
    text(left + inner.width, height - 12, "end", instant(to)),
    `<polyline fill="none" stroke="${flow}" stroke-width="2" points="${
      points.map((point) => `${n(point.x)},${n(point.y)}`).join(" ")
    }"/>`,
    ...points.map((point, place) =>
      `<circle cx="${n(point.x)}" cy="${n(point.y)}" r="3" fill="${flow}"><title>${n(100 * rates[place]!)} % of ${
        overTime[place]!.compared
      }</title></circle>`
    )
  ])
}

/** How long both sides take, on one logarithmic scale. */
export const latencies = (
  { distribution: { bounds, flow: flowCounts, legacy: legacyCounts }, latency }: Report
): string => {
  const title = "Latency of both sides"
  if (bounds.length < 2) return empty(title)
  const most = Math.max(1, ...legacyCounts, ...flowCounts)
  const low = Math.log10(bounds[0]!)
  const high = Math.log10(bounds.at(-1)!)
  const x = (ms: number) =>
    left + Math.min(1, Math.max(0, (Math.log10(Math.max(1e-9, ms)) - low) / (high - low))) * inner.width
  const y = (count: number) => top + (1 - count / most) * inner.height
  const steps = (counts: ReadonlyArray<number>) => {
    const points = counts.flatMap((count, at) => [[x(bounds[at]!), y(count)], [x(bounds[at + 1]!), y(count)]] as const)
    return [[left, y(0)] as const, ...points, [left + inner.width, y(0)] as const]
      .map(([px, py]) => `${n(px)},${n(py)}`).join(" ")
  }
  const ticks: Array<number> = []
  for (let power = Math.ceil(low); power <= Math.floor(high); power++) ticks.push(10 ** power)
  const shown = ticks.length >= 2 ? ticks : [bounds[0]!, 10 ** ((low + high) / 2), bounds.at(-1)!]
  const mark = (ms: number, colour: string, words: string, row: number) => [
    `<line x1="${n(x(ms))}" y1="${top}" x2="${n(x(ms))}" y2="${
      top + inner.height
    }" stroke="${colour}" stroke-dasharray="4 3"/>`,
    `<text x="${n(x(ms) > width / 2 ? x(ms) - 4 : x(ms) + 4)}" y="${top + 10 + row * 15}" text-anchor="${
      x(ms) > width / 2 ? "end" : "start"
    }" font-size="12" fill="${colour}">${words}</text>`
  ]
  return svg(title, [
    line(left, top + inner.height, left + inner.width, top + inner.height),
    text(left - 6, top + 10, "end", String(most)),
    text(left - 6, top + inner.height, "end", "0"),
    ...shown.map((ms, at) =>
      text(x(ms), height - 12, at === 0 ? "start" : at === shown.length - 1 ? "end" : "middle", millis(ms))
    ),
    `<polygon points="${steps(legacyCounts)}" fill="${legacy}" fill-opacity="0.3" stroke="${legacy}"/>`,
    `<polyline points="${steps(flowCounts)}" fill="none" stroke="${flow}" stroke-width="2"/>`,
    ...mark(latency.legacy.p95, legacy, "legacy p95", 0),
    ...mark(latency.flow.p95, flow, "flow p95", 1)
  ])
}
