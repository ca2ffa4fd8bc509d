/** Attempts below one another, each from when to when: a table, with bars for those who see them. */
import type { JSX } from "preact"
import { useState } from "preact/hooks"
import { to } from "../model/route.ts"
import type { Bar, Waterfall } from "../model/waterfall.ts"
import { durationIn, plural } from "../model/words.ts"
import { Duration, State } from "./parts.tsx"

/** Rows that are drawn before somebody asks for more. */
const atFirst = 200

export const WaterfallTable = (
  { flow, waterfall }: { readonly flow: string; readonly waterfall: Waterfall }
): JSX.Element => {
  const [all, setAll] = useState(false)
  const { bars, total } = waterfall
  const shown = all ? bars : bars.slice(0, atFirst)
  return (
    <>
      <table class="waterfall">
        <thead>
          <tr>
            <th scope="col" class="col-node">Node</th>
            <th scope="col" class="col-end">Outcome</th>
            <th scope="col" class="col-from number">After</th>
            <th scope="col" class="col-took number">Took</th>
            <th scope="col" class="col-bar">
              <span class="unseen">Drawn in time</span>
              <span class="axis" aria-hidden="true">
                {[0, 0.25, 0.5, 0.75, 1].map((at) => <span key={at}>{durationIn(total * at)}</span>)}
              </span>
            </th>
          </tr>
        </thead>
        <tbody>
          {shown.map((bar, at) => <Row key={at} flow={flow} bar={bar} total={total} />)}
        </tbody>
      </table>
      {bars.length > shown.length
        ? (
          <button type="button" class="button plain" onClick={() => setAll(true)}>
            Show {plural(bars.length - shown.length, "attempt")} more
          </button>
        )
        : ""}
    </>
  )
}

const Row = (
  { bar, flow, total }: { readonly bar: Bar; readonly flow: string; readonly total: number }
): JSX.Element => {
  const until = bar.to ?? total
  const share = (ms: number) => total === 0 ? 0 : Math.min(100, Math.max(0, ms / total * 100))
  const depth = bar.node.split("/").length - 1
  return (
    <tr class={bar.attempt > 1 ? "again" : depth > 0 ? "inner" : ""}>
      <th scope="row" class="col-node">
        <a href={to.node(flow, bar.node)}>{bar.node}</a>
        {bar.attempt > 1 && bar.end !== "undone" ? <span class="dim aside">attempt {bar.attempt}</span> : ""}
        {bar.error === undefined ? "" : (
          <span class="line" title={bar.error.message}>
            <strong>{bar.error.tag}</strong> <span class="dim">{bar.error.message.slice(0, 200)}</span>
          </span>
        )}
        {bar.parts === 0 ? "" : <span class="line dim">{plural(bar.parts, "part")} sent</span>}
      </th>
      <td class="col-end">
        <State of={bar.end} />
      </td>
      <td class="col-from">
        <Duration ms={bar.from} />
      </td>
      <td class="col-took">
        <Duration ms={bar.to === undefined && bar.end !== "running" ? undefined : until - bar.from} />
      </td>
      <td class="col-bar">
        <span class="track">
          {bar.waited === undefined ? "" : (
            <span
              class="wait"
              title={`waited ${durationIn(bar.waited)}`}
              style={{ left: `${share(bar.from - bar.waited)}%`, width: `${share(bar.waited)}%` }}
            />
          )}
          <span
            class={`bar end-${bar.end.replaceAll(" ", "-")}`}
            style={{ left: `${share(bar.from)}%`, width: `${share(until - bar.from)}%` }}
          />
        </span>
      </td>
    </tr>
  )
}
