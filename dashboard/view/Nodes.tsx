/** The nodes of a flow as a table, and one of them: what it does now, and why it fails. */
import type { JSX } from "preact"
import { useEffect, useRef } from "preact/hooks"
import { type FlowLive, isFailing } from "../model/live.ts"
import { to } from "../model/route.ts"
import { count } from "../model/words.ts"
import type { FlowInfo, NodeCounts } from "../wire/types.ts"
import { useNow } from "./context.ts"
import { Empty, ErrorText, State, Time } from "./parts.tsx"

/** What a node is doing, the worst first. */
export const statesOf = (
  counts: NodeCounts | undefined,
  now: number
): ReadonlyArray<"failing" | "retrying" | "running"> =>
  counts === undefined ? [] : [
    ...(isFailing(counts, now) ? ["failing" as const] : []),
    ...(counts.retrying > 0 ? ["retrying" as const] : []),
    ...(counts.running > 0 ? ["running" as const] : [])
  ]

/** The same in words. */
export const wordsOf = (counts: NodeCounts | undefined, now: number): string => {
  if (counts === undefined) return "nothing seen yet"
  const words = [
    ...(counts.running > 0 ? [`${counts.running} running`] : []),
    ...(counts.retrying > 0 ? [`${counts.retrying} retrying`] : []),
    ...(isFailing(counts, now) ? [`failing: ${counts.lastError?.tag ?? "an error"}`] : [])
  ]
  return words.length === 0 ? "idle" : words.join(", ")
}

export const NodeTable = (
  { chosen, info, live }: {
    readonly info: FlowInfo
    readonly live: FlowLive | undefined
    readonly chosen: string | undefined
  }
): JSX.Element => {
  const now = useNow()
  return (
    <div class="scroll">
      <table class="nodes">
        <thead>
          <tr>
            <th scope="col">Node</th>
            <th scope="col">State</th>
            <th scope="col" class="number">Running</th>
            <th scope="col" class="number col-more">Retrying</th>
            <th scope="col" class="number col-more">Succeeded</th>
            <th scope="col" class="number" title="Attempts that failed or took too long">Errors</th>
          </tr>
        </thead>
        <tbody>
          {info.nodes.map(({ kind, name }) => {
            const counts = live?.nodes[name]
            const [worst] = statesOf(counts, now)
            return (
              <tr key={name} class={name === chosen ? "chosen" : ""}>
                <th scope="row">
                  <a href={to.node(info.name, name)} aria-current={name === chosen ? "true" : undefined}>{name}</a>
                  {kind === "node" || kind === "task" ? "" : (
                    <>
                      {" "}
                      <span class="dim kind">{kind}</span>
                    </>
                  )}
                </th>
                <td>{worst === undefined ? <span class="dim">idle</span> : <State of={worst} />}</td>
                <td class="number">{count(counts?.running ?? 0)}</td>
                <td class="number col-more">{count(counts?.retrying ?? 0)}</td>
                <td class="number col-more">{count(counts?.succeeded ?? 0)}</td>
                <td class="number">{count((counts?.errored ?? 0) + (counts?.timedOut ?? 0))}</td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}

export const NodeDetails = (
  { counts, flow, node }: {
    readonly flow: string
    readonly node: string | undefined
    readonly counts: NodeCounts | undefined
  }
): JSX.Element => {
  const now = useNow()
  const title = useRef<HTMLElement>(null)
  const before = useRef(node)
  // Whoever chose a node reads on at what is known of it.
  useEffect(() => {
    if (node !== undefined && node !== before.current) title.current?.focus({ preventScroll: false })
    before.current = node
  }, [node])
  if (node === undefined) {
    return (
      <>
        <h2 id="node-title">Why</h2>
        <Empty>
          <p>Choose a node, in the diagram or in the table, to see what it does and why it fails.</p>
        </Empty>
      </>
    )
  }
  const error = counts?.lastError
  const states = statesOf(counts, now)
  return (
    <>
      <h2>
        <span id="node-title" ref={title} tabIndex={-1}>{node}</span>{" "}
        <a class="more" href={to.flow(flow)} aria-label={`Close ${node}`}>close</a>
      </h2>
      <p class="states">
        {states.length === 0
          ? <span class="dim">{wordsOf(counts, now)}</span>
          : states.map((state) => (
            <State key={state} of={state}>
              {state === "failing" ? state : `${counts?.[state] ?? 0} ${state}`}
            </State>
          ))}
      </p>
      <dl class="facts">
        <div>
          <dt>Succeeded</dt>
          <dd>{count(counts?.succeeded ?? 0)}</dd>
        </div>
        <div>
          <dt>Attempts that failed</dt>
          <dd>{count(counts?.errored ?? 0)}</dd>
        </div>
        <div>
          <dt>Attempts that took too long</dt>
          <dd>{count(counts?.timedOut ?? 0)}</dd>
        </div>
        <div>
          <dt>Visits given up</dt>
          <dd>{count(counts?.failed ?? 0)}</dd>
        </div>
      </dl>
      {error === undefined
        ? <p class="dim">No error was seen since the server began.</p>
        : (
          <>
            <h3>
              Last error <Time at={error.at} />
            </h3>
            <ErrorText error={{ tag: error.tag, code: error.code, message: error.message }} />
            <p>
              in the trace <a class="id" href={to.trace(flow, error.traceId)}>{error.traceId}</a>
            </p>
          </>
        )}
    </>
  )
}
