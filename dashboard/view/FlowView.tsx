/** The flows, and one of them: its diagram, its nodes, why one of them fails, and its last traces. */
import type { JSX } from "preact"
import { useEffect } from "preact/hooks"
import { type FlowLive, isFailing, perSecond } from "../model/live.ts"
import { routeOf, to } from "../model/route.ts"
import { useStore } from "../model/store.ts"
import { count, plural } from "../model/words.ts"
import type { FlowInfo } from "../wire/types.ts"
import { Figures } from "./App.tsx"
import { useNow, usePage } from "./context.ts"
import { Diagram } from "./Diagram.tsx"
import { NodeDetails, NodeTable } from "./Nodes.tsx"
import { Empty, State } from "./parts.tsx"
import { TraceTable } from "./TraceList.tsx"

export const FlowView = (
  { flow, node }: { readonly flow: string | undefined; readonly node: string | undefined }
): JSX.Element => {
  const { list } = usePage()
  const flows = useStore(list, (it) => it?.flows)
  const name = flow ?? flows?.[0]?.name
  const info = flows?.find((it) => it.name === name)
  // The address says which flow it is, also where nobody has chosen one.
  useEffect(() => {
    const here = routeOf(location.hash)
    // Somebody may have gone elsewhere meanwhile.
    if (name !== undefined && here.view === "flow" && here.flow === undefined) location.replace(to.flow(name))
  }, [flow, name])
  if (flows === undefined) {
    return (
      <Empty>
        <p>Asking the server for its flows…</p>
      </Empty>
    )
  }
  return (
    <div class="columns">
      <FlowList flows={flows} chosen={info?.name} />
      {info === undefined
        ? (
          <Empty>
            <h1>{name === undefined ? "There are no flows" : "There is no such flow"}</h1>
            <p>
              {name === undefined
                ? "Start the server with at least one: penguiflow serve your-flow.ts"
                : `The server has no flow "${name}". Choose one of the list.`}
            </p>
          </Empty>
        )
        : <OneFlow key={info.name} info={info} node={node} />}
    </div>
  )
}

const FlowList = (
  { chosen, flows }: { readonly flows: ReadonlyArray<FlowInfo>; readonly chosen: string | undefined }
): JSX.Element => (
  <nav class="flows" aria-label="Flows">
    <ul>
      {flows.map(({ name }) => <FlowItem key={name} name={name} chosen={name === chosen} />)}
    </ul>
  </nav>
)

const FlowItem = ({ chosen, name }: { readonly name: string; readonly chosen: boolean }): JSX.Element => {
  const live = useStore(usePage().live, (it) => it.flows[name])
  const now = useNow()
  const nodes = Object.values(live?.nodes ?? {})
  const failing = nodes.filter((node) => isFailing(node, now)).length
  const retrying = nodes.filter((node) => node.retrying > 0).length
  return (
    <li>
      <a href={to.flow(name)} aria-current={chosen ? "page" : undefined}>
        <span class="name" title={name}>{name}</span>
        <Spark flow={live} now={now} />
        <span class="dim">
          {count(live?.open ?? 0)} open
          {live === undefined ? "" : <>, {perSecond(live.rate, now).toFixed(1)}/s</>}
        </span>
        <span class="marks">
          {failing > 0 ? <State of="failing">{failing} failing</State> : ""}
          {retrying > 0 ? <State of="retrying">{retrying} retrying</State> : ""}
        </span>
      </a>
    </li>
  )
}

/** Traces that ended in each of the last 60 seconds; below, in another colour, those that failed. */
const Spark = ({ flow, now }: { readonly flow: FlowLive | undefined; readonly now: number }): JSX.Element => {
  if (flow === undefined) return <svg class="spark" viewBox="0 0 120 18" aria-hidden="true" />
  const gone = Math.max(0, Math.floor(now / 1000) - flow.rate.second)
  const most = Math.max(4, ...flow.rate.ended)
  const bars = (counts: ReadonlyArray<number>) =>
    counts.slice(gone).map((it, at) => it === 0 ? "" : `M${at * 2 + 0.5} 18v${-(it / most * 17).toFixed(1)}`).join("")
  return (
    <svg class="spark" viewBox="0 0 120 18" preserveAspectRatio="none" aria-hidden="true" focusable="false">
      <path class="base" d="M0 17.5h120" />
      <path d={bars(flow.rate.ended)} />
      <path class="bad" d={bars(flow.rate.failed)} />
    </svg>
  )
}

const OneFlow = ({ info, node }: { readonly info: FlowInfo; readonly node: string | undefined }): JSX.Element => {
  const { live } = usePage()
  const flow = useStore(live, (it) => it.flows[info.name])
  const now = useNow()
  return (
    <div class="content">
      <div class="title">
        <h1>{info.name}</h1>
        <a class="button main" href={to.run(info.name)}>Run…</a>
      </div>
      <Figures
        figures={[
          ["In flight", flow?.open ?? 0, "busy"],
          ["Per second", flow === undefined ? "0.0" : perSecond(flow.rate, now).toFixed(1)],
          ["Succeeded", flow?.succeeded ?? 0],
          ["Failed", flow?.failed ?? 0, "bad"],
          ["Cancelled", flow?.cancelled ?? 0]
        ]}
      />
      <section aria-labelledby="diagram-title" class="card">
        <h2 id="diagram-title" class="unseen">Diagram</h2>
        <Diagram info={info} live={flow} chosen={node} />
      </section>
      <div class="halves">
        <section aria-labelledby="nodes-title" class="card">
          <h2 id="nodes-title">
            Nodes <span class="dim">{plural(info.nodes.length, "node")}, counted since the server began</span>
          </h2>
          <NodeTable info={info} live={flow} chosen={node} />
        </section>
        <section aria-labelledby="node-title" class="card" id="node">
          <NodeDetails flow={info.name} node={node} counts={node === undefined ? undefined : flow?.nodes[node]} />
        </section>
      </div>
      <section aria-labelledby="traces-title" class="card">
        <h2>
          <span id="traces-title">Traces of this flow</span>{" "}
          <a class="more" href={to.traces({ flow: info.name })}>all</a>
        </h2>
        <TraceTable flow={info.name} status={undefined} most={12} />
      </section>
    </div>
  )
}
