/** Traces as they run and end. */
import { Component, type JSX } from "preact"
import { useMemo, useRef, useState } from "preact/hooks"
import { keyOf, type Live, type TraceRow } from "../model/live.ts"
import { to } from "../model/route.ts"
import { useStore } from "../model/store.ts"
import { plural } from "../model/words.ts"
import type { ApiError } from "../wire/api.ts"
import { errorOf, useAsk, useNow, usePage } from "./context.ts"
import { Action, Duration, Empty, Problem, State, Time } from "./parts.tsx"

interface Which {
  readonly flow: string | undefined
  readonly status: string | undefined
}

export const TracesView = ({ flow, status }: Which): JSX.Element => {
  const { api, list, live } = usePage()
  const flows = useStore(list, (it) => it?.flows)
  const [id, setId] = useState("")
  const [missing, setMissing] = useState<ApiError>()
  const open = async (traceId: string) => {
    setMissing(undefined)
    const { ended, open } = live.get()
    const seen = [...ended, ...open.values()].find((it) => it.traceId === traceId && it.flow === (flow ?? it.flow))
    try {
      location.hash = to.trace(seen?.flow ?? (await api.trace(flow, traceId)).trace.flow, traceId)
    } catch (error) {
      setMissing(errorOf(error))
    }
  }
  const go = (filter: { readonly flow?: string | undefined; readonly status?: string | undefined }) => {
    location.hash = to.traces({ flow, status, ...filter })
  }
  return (
    <div class="content">
      <div class="title">
        <h1>Traces</h1>
      </div>
      <div class="filters">
        <form
          class="filter"
          role="search"
          onSubmit={(event) => {
            event.preventDefault()
            if (id.trim() !== "") void open(id.trim())
          }}
        >
          <label>
            Flow
            <select value={flow ?? ""} onChange={(event) => go({ flow: event.currentTarget.value })}>
              <option value="">all</option>
              {flows?.map(({ name }) => <option key={name} value={name}>{name}</option>)}
            </select>
          </label>
          <label>
            Status
            <select value={status ?? ""} onChange={(event) => go({ status: event.currentTarget.value })}>
              <option value="">all</option>
              {["running", "succeeded", "failed", "cancelled"].map((it) => <option key={it} value={it}>{it}</option>)}
            </select>
          </label>
          <label class="grow">
            Trace id
            <input type="text" value={id} onInput={(event) => setId(event.currentTarget.value)} spellcheck={false} />
          </label>
          <button type="submit" class="button plain" disabled={id.trim() === ""}>Open</button>
        </form>
      </div>
      {missing === undefined ? "" : (
        <div role="alert">
          <Problem error={missing} title="The trace can't be opened." />
        </div>
      )}
      <section class="card" aria-label="Traces, the newest first">
        <TraceTable flow={flow} status={status} most={100} />
      </section>
    </div>
  )
}

/**
 * Those that run, then those that ended, the newest first; those that this page has not seen, of the store. Rows hold still while they are pointed at or have the focus, or
 * as long as they are asked to.
 */
export const TraceTable = (
  { flow, most, status }: Which & { readonly most: number }
): JSX.Element => {
  const page = usePage()
  const [paused, setPaused] = useState(false)
  const [pointed, setPointed] = useState(false)
  const hold = paused || pointed
  const held = useRef<Live>(undefined)
  if (!hold) held.current = undefined
  else held.current ??= page.live.get()
  const live = useStore(page.live, (it) => held.current ?? it)
  const newer = useStore(
    page.live,
    (it) => held.current === undefined ? 0 : endedIn(it, flow) - endedIn(held.current, flow)
  )
  const keeps = useStore(page.list, (it) => it?.features.traces === true)
  const [kept] = useAsk(
    `${keeps} ${flow} ${status}`,
    async () => keeps ? (await page.api.traces({ flow, status, limit: most })).traces : [],
    keeps ? 10_000 : 0
  )
  const earlier = kept._tag === "Asking" ? undefined : kept.value
  const before = useMemo(() => (earlier ?? []).map((it): TraceRow => ({ ...it, at: it.endedAt ?? it.at })), [earlier])
  const rows = useMemo(() => rowsOf(live, before, { flow, status }, most), [live, before, flow, status, most])
  return (
    <>
      <p class="hold">
        <button type="button" class="button plain small" aria-pressed={paused} onClick={() => setPaused(!paused)}>
          Hold
        </button>
        <span class="dim">
          {hold
            ? `Held still, ${plural(Math.max(0, newer), "trace")} ended since`
            : "Rows hold still while you point at them"}
        </span>
      </p>
      {kept._tag === "Failed" ? <Problem error={kept.error} title="Earlier traces can't be shown." /> : ""}
      {rows.length === 0
        ? (
          <Empty>
            <p>
              {status === undefined ? "No trace was seen yet." : `No trace of the status "${status}" was seen yet.`}
              {" "}
              {flow === undefined ? "Run a flow, and it appears here." : <a href={to.run(flow)}>Run the flow.</a>}
            </p>
          </Empty>
        )
        : (
          <table class="traces">
            <thead>
              <tr>
                <th scope="col" class="col-state">Status</th>
                <th scope="col">Trace</th>
                {flow === undefined ? <th scope="col" class="col-flow">Flow</th> : ""}
                <th scope="col" class="col-time">When</th>
                <th scope="col" class="col-took number">Took</th>
                <th scope="col" class="col-act">
                  <span class="unseen">Action</span>
                </th>
              </tr>
            </thead>
            <tbody
              onPointerEnter={(event) => setPointed(event.pointerType === "mouse")}
              onPointerLeave={() => setPointed(false)}
              onFocusIn={() => setPointed(true)}
              onFocusOut={() => setPointed(false)}
            >
              {rows.map((row) => (
                <Row key={`${row.status} ${keyOf(row.flow, row.traceId)}`} row={row} withFlow={flow === undefined} />
              ))}
            </tbody>
          </table>
        )}
    </>
  )
}

interface RowProps {
  readonly row: TraceRow
  readonly withFlow: boolean
}

/** What a row shows does not change: it is drawn once, and not with each batch of events. */
class Row extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    const { row, withFlow } = this.props
    return next.withFlow !== withFlow ||
      (next.row !== row && (next.row.at !== row.at || next.row.status !== row.status))
  }

  override render(): JSX.Element {
    return <Cells {...this.props} />
  }
}

const Cells = ({ row, withFlow }: RowProps): JSX.Element => {
  const { api, live } = usePage()
  const link = useRef<HTMLAnchorElement>(null)
  const [cancelledAt, setCancelledAt] = useState(-Infinity)
  // Rows that are held still say so, too; a run of this id that begins later is another one.
  const cancelled = row.status === "running" && row.at <= cancelledAt
  const running = row.status === "running" && !cancelled
  const cancel = async () => {
    const { cancelled, words } = await cancelTrace(api, row.flow, row.traceId)
    if (cancelled) {
      // The button goes, and the focus must not go with it: rows would be held until it comes back.
      if (link.current?.closest("tr")?.contains(document.activeElement) === true) link.current.focus()
      setCancelledAt(Math.max(row.at, Date.now() + live.get().skew))
    }
    return words
  }
  return (
    <tr>
      <td class="col-state">
        <State of={cancelled ? "cancelled" : row.status} />
      </td>
      <th scope="row" class="col-trace">
        <a ref={link} class="id" href={to.trace(row.flow, row.traceId)}>{row.traceId}</a>
        {row.error === undefined
          ? row.reason === undefined ? "" : <span class="line dim">{row.reason}</span>
          : (
            <span class="line">
              {row.node === undefined ? "" : <span class="dim">{row.node}:{" "}</span>}
              <strong>{row.error.tag}</strong> <span class="dim">{row.error.message.slice(0, 200)}</span>
            </span>
          )}
      </th>
      {withFlow
        ? (
          <td class="col-flow">
            <a href={to.flow(row.flow)}>{row.flow}</a>
          </td>
        )
        : ""}
      <td class="col-time">
        <Time at={row.at} />
      </td>
      <td class="col-took">
        {running ? <Elapsed since={row.at} /> : <Duration ms={cancelled ? cancelledAt - row.at : row.durationMs} />}
      </td>
      <td class="col-act">
        {running
          ? <Action busy="Cancelling…" act={cancel}>Cancel</Action>
          : ""}
      </td>
    </tr>
  )
}

const Elapsed = ({ since }: { readonly since: number }): JSX.Element => <Duration ms={Math.max(0, useNow() - since)} />

export const cancelTrace = async (
  api: { readonly cancelTrace: (flow: string, id: string) => Promise<{ readonly cancelled: boolean }> },
  flow: string,
  traceId: string
): Promise<{ readonly cancelled: boolean; readonly words: string }> => {
  const { cancelled } = await api.cancelTrace(flow, traceId)
  return { cancelled, words: cancelled ? "Cancelled" : "It had ended already" }
}

// ----------------------------------------------------------------------------------------------------------- internals

const endedIn = (live: Live, flow: string | undefined): number =>
  Object.entries(live.flows).reduce(
    (sum, [name, it]) => flow === undefined || name === flow ? sum + it.succeeded + it.failed + it.cancelled : sum,
    0
  )

/** The oldest of those that run stand first: they are the ones to worry about. */
const rowsOf = (
  live: Live,
  stored: ReadonlyArray<TraceRow>,
  { flow, status }: Which,
  most: number
): ReadonlyArray<TraceRow> => {
  const isMeant = (row: { readonly flow: string; readonly status: string }) =>
    (flow === undefined || row.flow === flow) && (status === undefined || row.status === status)
  const seen = new Set<string>()
  const take = (row: TraceRow): boolean => {
    const key = keyOf(row.flow, row.traceId)
    if (seen.has(key)) return false
    seen.add(key)
    return isMeant(row)
  }
  const ended = live.ended.filter(take)
  const runningSeen: Array<TraceRow> = []
  for (const { at, flow, traceId } of live.open.values()) {
    const row: TraceRow = { flow, traceId, status: "running", at }
    if (take(row)) runningSeen.push(row)
  }
  const others = stored.filter(take)
  const running = [...runningSeen, ...others.filter((row) => row.status === "running")].sort((a, b) => a.at - b.at)
  const rest = [...ended, ...others.filter((row) => row.status !== "running")].sort((a, b) => b.at - a.at)
  return [...running.slice(0, status === "running" ? most : Math.ceil(most / 3)), ...rest].slice(0, most)
}
