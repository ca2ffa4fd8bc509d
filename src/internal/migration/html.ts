/** A report as one page. Everything that comes from requests is escaped; nothing is loaded, nothing is run. */
import { latencies, matchRateOverTime } from "./plot.ts"
import type { Report } from "./report.ts"
import { counts, instant, millis, operation, pathOf, percent, printable } from "./words.ts"

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "\"": "&quot;",
  "'": "&#39;",
  "`": "&#96;"
}
const escaped = (text: string): string => printable(text).replaceAll(/[&<>"'`]/g, (character) => entities[character]!)

const cells = (tag: "td" | "th", row: ReadonlyArray<string>): string =>
  `<tr>${row.map((cell) => `<${tag}>${cell}</${tag}>`).join("")}</tr>`

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  `<div class="scroll"><table><thead>${cells("th", head)}</thead><tbody>${
    rows.map((row) => cells("td", row)).join("")
  }</tbody></table></div>`

/** Only this text may style the page: the policy names it by its digest, which a test compares. */
export const style: string =
  `:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}body{max-width:60rem;margin:0 auto;padding:1.5rem}` +
  `h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}table{border-collapse:collapse}` +
  `th,td{text-align:left;padding:.2rem .9rem .2rem 0;border-bottom:1px solid #8a8f9855;vertical-align:top}` +
  `code{font:.85em ui-monospace,monospace;overflow-wrap:break-word}figure{margin:0}.scroll{overflow-x:auto}ul{padding-left:0;list-style:none}` +
  `.promote,.hold{display:inline-block;padding:.1rem .7rem;border-radius:1rem;color:#fff;font-weight:600}` +
  `.promote{background:#1a7f37}.hold{background:#b42318}.key span{margin-right:1.5rem}`

/** The SHA-256 of {@link style}, as a content security policy names it. */
export const styleDigest = "sha256-giXNTDLKe/w8+KoNEk0xf4Rd5M6Rb8/zeuGGgLs86fQ="

/** See `Migration.toHtml`. */
export const htmlOf = (report: Report): string => {
  const { failures, latency, matchRate, migration, paths, verdict } = report
  const name = escaped(migration)
  const span = report.compared === 0
    ? "nothing was compared yet"
    : `<time>${instant(report.from)}</time> to <time>${instant(report.to)}</time>`
  return [
    `<!doctype html><html lang="en"><head><meta charset="utf-8">`,
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src '${styleDigest}'">`,
    `<meta name="viewport" content="width=device-width, initial-scale=1">`,
    `<title>Migration ${name}: ${verdict.decision}</title><style>${style}</style></head><body><main>`,
    `<h1>Migration ${name} <span id="verdict" class="${verdict.decision}">${verdict.decision}</span></h1>`,
    `<p>${span}</p><ul id="reasons">`,
    ...verdict.reasons.map(({ holds, text }) => `<li>${holds ? "✓" : "✗"} ${escaped(text)}</li>`),
    `</ul><h2>Match rate</h2><p id="rate">${percent(matchRate.value)}, 95 % interval ${percent(matchRate.low)} to ${
      percent(matchRate.high)
    }</p><figure>${matchRateOverTime(report)}</figure>`,
    `<h2>Latency</h2><p class="key"><span>▒ legacy</span><span>— flow</span></p><figure>${latencies(report)}</figure>`,
    table(["", "p50", "p95", "p99", "requests"], [
      ...([["legacy", latency.legacy], ["flow", latency.flow]] as const).map(([side, { count, p50, p95, p99 }]) => [
        side,
        millis(p50),
        millis(p95),
        millis(p99),
        String(count)
      ]),
      ["flow/legacy", "", latency.legacy.count === 0 ? "" : latency.ratio.toFixed(2), "", ""]
    ]),
    `<h2>Requests</h2>`,
    table(["", "count"], counts(report).map(([what, count]) => [what, String(count)])),
    ...(paths.length === 0 ? [] : [
      `<h2>Where they differ</h2>`,
      table(
        ["count", "path", "examples"],
        paths.map(({ count, examples, path }) => [
          String(count),
          `<code>${escaped(pathOf(path))}</code>`,
          examples.map(({ patch, traceId }) =>
            `<code>${escaped(traceId)}</code>: <code>${escaped(patch.map(operation).join("; "))}</code>`
          ).join("<br>")
        ])
      )
    ]),
    ...(failures.length === 0 ? [] : [
      `<h2>What fails on one side alone</h2>`,
      table(
        ["count", "side", "error", "example"],
        failures.map(({ count, example, side, tag }) => [
          String(count),
          side,
          `<code>${escaped(tag)}</code>`,
          `<code>${escaped(example.traceId)}</code>: ${escaped(example.message)}`
        ])
      )
    ]),
    `</main></body></html>`
  ].join("\n")
}
