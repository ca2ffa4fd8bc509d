/** Migrations from legacy code to a flow: whether it may take over, and where both differ. */
import type { JSX } from "preact"
import { to } from "../model/route.ts"
import { durationIn, percent, plural } from "../model/words.ts"
import type { Report } from "../wire/types.ts"
import { Figures } from "./App.tsx"
import { useAsk, usePage } from "./context.ts"
import { Empty, Problem, State, Time } from "./parts.tsx"

export const MigrationsView = (): JSX.Element => {
  const { api } = usePage()
  const [asked] = useAsk("migrations", api.migrations)
  return (
    <div class="content">
      <div class="title">
        <h1>Migrations</h1>
      </div>
      {asked._tag === "Failed" ? <Problem error={asked.error} title="The migrations can't be shown." /> : ""}
      {asked._tag === "Got" && asked.value.migrations.length === 0
        ? (
          <Empty>
            <p>The server has no reports of migrations: give it a place for them, and names.</p>
          </Empty>
        )
        : ""}
      {asked._tag === "Got" ?
        (
          <ul class="list card">
            {asked.value.migrations.map((name) => (
              <li key={name}>
                <a href={to.migration(name)}>{name}</a>
              </li>
            ))}
          </ul>
        ) :
        ""}
    </div>
  )
}

export const MigrationView = ({ name }: { readonly name: string }): JSX.Element => {
  const { api } = usePage()
  const [asked] = useAsk(name, () => api.migration(name), 10_000)
  const report = asked._tag === "Asking" ? undefined : asked.value
  return (
    <div class="content">
      <div class="title">
        <h1>
          Migration <span class="id">{name}</span>
        </h1>
        {report === undefined ? "" : <State of={report.verdict.decision} />}
      </div>
      {asked._tag === "Failed" ? <Problem error={asked.error} title="The report can't be shown." /> : ""}
      {asked._tag === "Asking"
        ? (
          <Empty>
            <p>Asking the server…</p>
          </Empty>
        )
        : ""}
      {report === undefined ? "" : <ReportOf report={report} />}
    </div>
  )
}

const ReportOf = ({ report }: { readonly report: Report }): JSX.Element => {
  const { fallbacks, latency, matchRate, skipped } = report
  const ms = (value: number) => Number.isFinite(value) ? durationIn(value) : "–"
  return (
    <>
      <Figures
        figures={[
          ["Compared", report.compared],
          ["Match rate", report.compared === 0 ? "–" : percent(matchRate.value)],
          ["Mismatches", report.mismatches, "bad"],
          ["Flow failed alone", report.flowFailures, "bad"],
          ["Legacy failed alone", report.legacyFailures],
          ["Fallbacks", fallbacks],
          ["Skipped", skipped.busy + skipped.sampled + skipped.comparison + skipped.lost]
        ]}
      />
      <section class="card" aria-labelledby="verdict-title">
        <h2 id="verdict-title">
          {report.verdict.decision === "promote" ? "The flow may take over" : "The flow may not take over yet"}
        </h2>
        {report.compared === 0
          ? (
            <Empty>
              <p>Nothing was compared yet: run the migration in the mode "shadow".</p>
            </Empty>
          )
          : (
            <p class="dim">
              Requests from <Time at={report.from} /> to <Time at={report.to} />. The match rate lies between{" "}
              {percent(matchRate.low)} and {percent(matchRate.high)}, with 95 % confidence.
            </p>
          )}
        <ul class="reasons">
          {report.verdict.reasons.map(({ holds, text }, at) => (
            <li key={at}>
              <State of={holds ? "succeeded" : "failed"}>{text}</State>
            </li>
          ))}
        </ul>
      </section>
      <section class="card" aria-labelledby="latency-title">
        <h2 id="latency-title">Latency</h2>
        <table class="narrow">
          <thead>
            <tr>
              <th scope="col">Side</th>
              <th scope="col" class="number">p50</th>
              <th scope="col" class="number">p95</th>
              <th scope="col" class="number">p99</th>
              <th scope="col" class="number">Requests</th>
            </tr>
          </thead>
          <tbody>
            {(["legacy", "flow"] as const).map((side) => (
              <tr key={side}>
                <th scope="row">{side}</th>
                <td class="number">{ms(latency[side].p50)}</td>
                <td class="number">{ms(latency[side].p95)}</td>
                <td class="number">{ms(latency[side].p99)}</td>
                <td class="number">{latency[side].count}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      <section class="card" aria-labelledby="paths-title">
        <h2 id="paths-title">Where they differ</h2>
        {report.paths.length === 0 ?
          (
            <Empty>
              <p>Nowhere so far.</p>
            </Empty>
          ) :
          (
            <ul class="paths">
              {report.paths.map(({ count, examples, path }) => (
                <li key={path}>
                  <details>
                    <summary>
                      <code>{path === "" ? "(the whole)" : path}</code> {plural(count, "time")}
                    </summary>
                    <ul>
                      {examples.map(({ at, patch, traceId }, index) => (
                        <li key={index}>
                          <span class="id">{traceId}</span> <Time at={at} />
                          <pre class="json" tabIndex={0} aria-label={`Difference of ${traceId}`}>
                          {patch.map((operation) => JSON.stringify(operation)).join("\n")}
                          </pre>
                        </li>
                      ))}
                    </ul>
                  </details>
                </li>
              ))}
            </ul>
          )}
      </section>
      {report.failures.length === 0 ? "" : (
        <section class="card" aria-labelledby="failures-title">
          <h2 id="failures-title">What failed on one side alone</h2>
          <ul class="paths">
            {report.failures.map(({ count, example, side, tag }, at) => (
              <li key={at}>
                {side}: <strong>{tag}</strong> {plural(count, "time")}
                <span class="line dim">{example.message} (in {example.traceId})</span>
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  )
}
