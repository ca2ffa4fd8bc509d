/** One trace: how it ended and why, its way through the nodes, what went in and came out, and what may be done with it. */
import type { JSX } from "preact"
import { useEffect, useMemo, useState } from "preact/hooks"
import { keyOf, type TraceRow } from "../model/live.ts"
import { to } from "../model/route.ts"
import { useStore } from "../model/store.ts"
import { waterfallOf } from "../model/waterfall.ts"
import { exact, plural } from "../model/words.ts"
import type { FlowEvent, Replay, Stored } from "../wire/types.ts"
import { useAsk, useNow, usePage } from "./context.ts"
import { Action, Duration, Empty, ErrorText, JsonText, Problem, State, Time } from "./parts.tsx"
import { cancelTrace } from "./TraceList.tsx"
import { WaterfallTable } from "./Waterfall.tsx"

export const TraceView = ({ flow, traceId }: { readonly flow: string; readonly traceId: string }): JSX.Element => {
  const page = usePage()
  const { api } = page
  const now = useNow()
  const key = keyOf(flow, traceId)
  const features = useStore(page.list, (it) => it?.features)
  const keeps = features?.traces === true
  const isOpen = useStore(page.live, (it) => it.open.has(key))
  const row = useStore(page.live, (it) => it.ended.find((it) => it.flow === flow && it.traceId === traceId))
  // Events of others come all the time: of this trace there are more only when their number changes.
  const heard = useStore(
    page.live,
    (it) => it.events.reduce((sum, event) => isOf(event, flow, traceId) ? sum + 1 : sum, 0)
  )
  const own = useMemo(
    () => page.live.get().events.filter((event) => isOf(event, flow, traceId)),
    [heard, flow, traceId]
  )
  const [asked, again] = useAsk(
    `${keeps} ${key}`,
    async () => keeps ? await api.trace(flow, traceId) : undefined,
    keeps && (isOpen || row === undefined) ? 2000 : 0
  )
  // The store writes what it heard a moment later.
  useEffect(() => {
    if (!keeps) return
    const timers = [50, 400, 1500].map((ms) => setTimeout(() => void again(), ms))
    return () => timers.forEach(clearTimeout)
  }, [row?.at, keeps])
  const detail = asked._tag === "Asking" ? undefined : asked.value
  const events = detail !== undefined && detail.events.length >= own.length ? detail.events : own
  const trace = shownOf(detail?.trace, row, isOpen)
  const waterfall = useMemo(() => waterfallOf(events, trace.status === "running" ? now : 0), [
    events,
    trace.status === "running" ? now : 0
  ])
  const isKnown = events.length > 0 || detail !== undefined || isOpen || row !== undefined

  if (!isKnown) {
    return (
      <div class="content">
        <h1>
          Trace <span class="id">{traceId}</span>
        </h1>
        {asked._tag === "Asking"
          ? (
            <Empty>
              <p>Asking the server…</p>
            </Empty>
          )
          : asked._tag === "Failed"
          ? <Problem error={asked.error} title="The trace can't be shown." />
          : (
            <Empty>
              <p>
                This page has not seen the trace, and the server keeps none: provide a trace store there, or look at
                traces that end while the page is open.
              </p>
            </Empty>
          )}
      </div>
    )
  }
  return (
    <div class="content">
      <div class="title">
        <h1>
          Trace <span class="id">{traceId}</span>
        </h1>
        {trace.status === "running"
          ? (
            <Action kind="danger" busy="Cancelling…" act={async () => (await cancelTrace(api, flow, traceId)).words}>
              Cancel
            </Action>
          )
          : ""}
      </div>
      <dl class="facts wide">
        <div>
          <dt>Status</dt>
          <dd>
            <State of={trace.status} />
          </dd>
        </div>
        <div>
          <dt>Flow</dt>
          <dd>
            <a href={to.flow(flow)}>{flow}</a>
          </dd>
        </div>
        <div>
          <dt>Began</dt>
          <dd>{events.length === 0 ? "–" : <Time at={waterfall.began} />}</dd>
        </div>
        <div>
          <dt>Took</dt>
          <dd>
            <Duration ms={trace.durationMs ?? (events.length === 0 ? undefined : waterfall.total)} />
          </dd>
        </div>
        <div>
          <dt>Attempts</dt>
          <dd>{waterfall.bars.filter((bar) => bar.end !== "undone").length}</dd>
        </div>
        {detail?.trace.tenant === undefined ? "" : (
          <div>
            <dt>Tenant</dt>
            <dd>{detail.trace.tenant}</dd>
          </div>
        )}
        {(detail?.trace.runs ?? 1) > 1
          ? (
            <div>
              <dt>Runs</dt>
              <dd>{detail!.trace.runs}, the last one is shown</dd>
            </div>
          )
          : ""}
      </dl>
      {trace.error === undefined ? "" : (
        <section class="card why" aria-labelledby="why-title">
          <h2 id="why-title">
            Why it failed{trace.node === undefined ? "" : (
              <>
                , at <a href={to.node(flow, trace.node)}>{trace.node}</a>
              </>
            )}
            {(trace.attempt ?? 1) > 1 ? <span class="dim">attempt {trace.attempt}</span> : ""}
          </h2>
          <ErrorText error={trace.error} />
        </section>
      )}
      {trace.reason === undefined ? "" : <p>Cancelled: {trace.reason}</p>}
      <section class="card" aria-labelledby="way-title">
        <h2 id="way-title">Nodes and attempts</h2>
        {waterfall.bars.length === 0
          ? (
            <Empty>
              <p>No event of a node is known of this trace.</p>
            </Empty>
          )
          : <WaterfallTable flow={flow} waterfall={waterfall} />}
      </section>
      {keeps ? <Payloads trace={detail?.trace} /> : ""}
      {features?.replay === true && trace.status !== "running" ? <ReplaySection flow={flow} traceId={traceId} /> : ""}
      <details class="card">
        <summary>{plural(events.length, "event")}</summary>
        <ol class="events">
          {events.slice(-500).map((event, at) => (
            <li key={at}>
              <span class="number dim" title={exact(event.at)}>+{Math.max(0, event.at - waterfall.began)} ms</span>{" "}
              {event._tag}
              {event.node === undefined ? "" : ` ${event.node}`}
              {event.attempt === undefined || event.attempt === 1 ? "" : ` (attempt ${event.attempt})`}
            </li>
          ))}
        </ol>
      </details>
    </div>
  )
}

const Payloads = ({ trace }: { readonly trace: Stored | undefined }): JSX.Element => {
  const show = (label: string, kept: Stored["input"]) => (
    <section class="card" aria-label={label}>
      <h2>{label}</h2>
      {kept === undefined
        ? <p class="dim">Not recorded.</p>
        : kept._tag === "Omitted"
        ? <p class="dim">Not recorded: {kept.reason}</p>
        : <JsonText label={label} value={kept.json} />}
    </section>
  )
  return (
    <div class="halves">
      {show("Input", trace?.input)}
      {show("Outcome", trace?.outcome)}
    </div>
  )
}

const ReplaySection = ({ flow, traceId }: { readonly flow: string; readonly traceId: string }): JSX.Element => {
  const { api } = usePage()
  const [replay, set] = useState<Replay>()
  const act = async () => {
    const done = await api.replay(flow, traceId)
    set(done)
    return done.same ? "The same outcome on the same way" : "It went another way this time"
  }
  const outcomeIn = ({ error, outcome, status }: Replay["outcome"]["now"]): unknown =>
    outcome?._tag === "Kept" ? outcome.json : error === undefined ? status : { error }
  return (
    <section class="card" aria-labelledby="replay-title">
      <h2 id="replay-title">Replay</h2>
      <p class="dim">Runs the recorded input on the flow of today, for real, and compares outcome and way.</p>
      <Action act={act}>Replay</Action>
      {replay === undefined ? "" : (
        <>
          <dl class="facts wide">
            <div>
              <dt>Outcome</dt>
              <dd>
                <State of={replay.outcome.same ? "succeeded" : "failed"}>
                  {replay.outcome.same ? "the same" : "another"}
                </State>
              </dd>
            </div>
            <div>
              <dt>Way</dt>
              <dd>
                <State of={replay.path.same ? "succeeded" : "failed"}>
                  {replay.path.same ? "the same" : "another"}
                </State>
              </dd>
            </div>
            <div>
              <dt>Its trace</dt>
              <dd>
                <a class="id" href={to.trace(flow, replay.traceId)}>{replay.traceId}</a>
              </dd>
            </div>
          </dl>
          {replay.path.same ? "" : (
            <ul class="differences">
              {replay.path.missing.map((it, at) => (
                <li key={`m${at}`}>
                  − {it} <span class="dim">(then, not now)</span>
                </li>
              ))}
              {replay.path.added.map((it, at) => (
                <li key={`a${at}`}>
                  + {it} <span class="dim">(now, not then)</span>
                </li>
              ))}
            </ul>
          )}
          {replay.outcome.same ? "" : (
            <div class="halves">
              <div>
                <h3>Then</h3>
                <JsonText label="Outcome then" value={outcomeIn(replay.outcome.stored)} />
              </div>
              <div>
                <h3>Now</h3>
                <JsonText label="Outcome now" value={outcomeIn(replay.outcome.now)} />
              </div>
            </div>
          )}
        </>
      )}
    </section>
  )
}

// ----------------------------------------------------------------------------------------------------------- internals

const isOf = (event: FlowEvent, flow: string, traceId: string): boolean =>
  event.traceId === traceId && event.flow === flow

type Shown = Pick<Stored, "status" | "durationMs" | "error" | "reason" | "node" | "attempt">

/** What this page has heard is newer than what the store has written. */
const shownOf = (stored: Stored | undefined, row: TraceRow | undefined, isOpen: boolean): Shown => {
  if (isOpen) return { ...nothingKnown, status: "running" }
  if (stored !== undefined && stored.status !== "running") return stored
  return row === undefined ? stored ?? nothingKnown : { ...nothingKnown, ...row }
}

const nothingKnown: Shown = {
  status: "running",
  durationMs: undefined,
  error: undefined,
  reason: undefined,
  node: undefined,
  attempt: undefined
}
