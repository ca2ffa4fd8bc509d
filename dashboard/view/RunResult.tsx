/** A run that was started here: what it sends, how it ends. */
import type { JSX } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import { makeBatcher } from "../model/batcher.ts"
import { textOfParts } from "../model/parts.ts"
import { to } from "../model/route.ts"
import { plural } from "../model/words.ts"
import { ApiError, isErrorBody } from "../wire/api.ts"
import { type Message, messagesOf } from "../wire/sse.ts"
import { errorOf, usePage } from "./context.ts"
import { Action, Duration, Empty, JsonText, Problem, State } from "./parts.tsx"
import { cancelTrace } from "./TraceList.tsx"

interface Sent {
  readonly node: string
  readonly value: unknown
}

interface Under {
  readonly traceId: string
  readonly parts: ReadonlyArray<Sent>
  readonly results: ReadonlyArray<Sent>
  /** All that came, also what is no longer kept. */
  readonly counts: { readonly parts: number; readonly results: number }
}

export type RunState =
  | { readonly _tag: "Idle" }
  | ({ readonly _tag: "Running" } & Under)
  | ({ readonly _tag: "Done"; readonly durationMs: number | undefined } & Under)
  | ({ readonly _tag: "Failed"; readonly error: ApiError } & Under)
  /** It did not begin. */
  | { readonly _tag: "Refused"; readonly error: ApiError; readonly traceId: string | undefined }
  | { readonly _tag: "Queued"; readonly id: string }

export const idle: RunState = { _tag: "Idle" }

/** What is kept of what a run sends. */
const most = 200

interface Options {
  readonly traceId: string
  readonly tenant: string
  readonly deadline: string
}

export const useRun = (flow: string): readonly [RunState, (input: unknown, options: Options) => Promise<void>] => {
  const { api, say } = usePage()
  const [state, set] = useState<RunState>(idle)
  const current = useRef<AbortController>(undefined)
  useEffect(() => () => current.current?.abort(), [])
  const run = async (input: unknown, options: Options): Promise<void> => {
    if (current.current !== undefined) return
    const abort = current.current = new AbortController()
    const traceId = options.traceId === "" ? newId() : options.traceId
    let under: Under = { traceId, parts: [], results: [], counts: { parts: 0, results: 0 } }
    let ended = false
    const draw = makeBatcher<unknown>(() => ended ? undefined : set({ _tag: "Running", ...under }), {
      now: () => performance.now(),
      hidden: () => document.hidden,
      frame: (run) => requestAnimationFrame(run),
      later: (run, ms) => setTimeout(run, ms)
    })
    set({ _tag: "Running", ...under })
    try {
      const answer = await api.stream(flow, input, { ...options, traceId }, abort.signal)
      let last: ReturnType<typeof endOf> | undefined
      for await (const messages of messagesOf(answer)) {
        under = messages.reduce(received, under)
        const end = messages.find(({ event }) => event === "done" || event === "error")
        if (end !== undefined) {
          last = endOf(end, under)
          break
        }
        draw(messages)
      }
      last ??= {
        _tag: "Failed",
        error: new ApiError(0, { error: "The server left before the run ended", code: "CUT_OFF" }),
        ...under
      }
      ended = true
      set(last)
      say(`The run ${last._tag === "Done" ? "succeeded" : wasCancelled(last.error) ? "was cancelled" : "failed"}`)
    } catch (error) {
      if (abort.signal.aborted) return
      set({ _tag: "Refused", error: errorOf(error), traceId })
      say("The run was refused")
    } finally {
      current.current = undefined
    }
  }
  return [state, run]
}

export const RunResult = ({ flow, state }: { readonly flow: string; readonly state: RunState }): JSX.Element => {
  const { api } = usePage()
  if (state._tag === "Idle" || state._tag === "Queued") {
    return (
      <Empty>
        <p>Fill in the input and press Run: what the flow sends appears here as it comes.</p>
      </Empty>
    )
  }
  if (state._tag === "Refused") return <Problem error={state.error} title="The run was refused." />
  const { counts, parts, results, traceId } = state
  return (
    <>
      <div class="title">
        <State
          of={state._tag === "Running"
            ? "running"
            : state._tag === "Done"
            ? "succeeded"
            : wasCancelled(state.error)
            ? "cancelled"
            : "failed"}
        />
        <a class="id" href={to.trace(flow, traceId)}>{traceId}</a>
        {state._tag === "Done" ? <Duration ms={state.durationMs} /> : ""}
        {state._tag === "Running"
          ? (
            <Action kind="danger" busy="Cancelling…" act={async () => (await cancelTrace(api, flow, traceId)).words}>
              Cancel
            </Action>
          )
          : ""}
      </div>
      {state._tag !== "Failed"
        ? ""
        : wasCancelled(state.error)
        ? <p>{`Cancelled${reasonIn(state.error)}`}</p>
        : <Problem error={state.error} title="The run failed." trace={to.trace(flow, traceId)} />}
      {counts.parts === 0 ? "" : (
        <>
          <h3>
            {plural(counts.parts, "part")}
            {counts.parts > parts.length ? <span class="dim">, the last {parts.length}</span> : ""}
          </h3>
          <pre class="json" tabIndex={0} aria-label="Parts">
            {textOfParts(parts.map(({ value }) => value))}
          </pre>
        </>
      )}
      {results.map(({ node, value }, at) => (
        <section key={at} aria-label={`Result of ${node}`}>
          <h3>{node}</h3>
          <JsonText label={`Result of ${node}`} value={value} />
        </section>
      ))}
      {counts.results > results.length
        ? <p class="dim">{plural(counts.results - results.length, "result")} more came before these.</p>
        : ""}
      {state._tag === "Done" && counts.results === 0 ? <p class="dim">It gave no result.</p> : ""}
      {state._tag === "Running" ? <p class="dim">The run goes on when you leave this page.</p> : ""}
    </>
  )
}

// ----------------------------------------------------------------------------------------------------------- internals

const wasCancelled = ({ code, status }: ApiError): boolean => status === 499 || code === "TRACE_CANCELLED"

/** `: why`, where somebody said it. */
const reasonIn = ({ message }: ApiError): string => /^The trace was cancelled(: [^]+)$/.exec(message)?.[1] ?? "."

/** Random also where the page is not of a secure origin. */
const newId = (): string => {
  const bytes = crypto.getRandomValues(new Uint8Array(12))
  return `run-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`
}

const received = (under: Under, { data, event }: Message): Under => {
  if (event === "part") {
    return {
      ...under,
      parts: [...under.parts, JSON.parse(data) as Sent].slice(-most),
      counts: { ...under.counts, parts: under.counts.parts + 1 }
    }
  }
  return event === "result"
    ? {
      ...under,
      results: [...under.results, JSON.parse(data) as Sent].slice(-most),
      counts: { ...under.counts, results: under.counts.results + 1 }
    }
    : under
}

const endOf = (
  { data, event }: Message,
  under: Under
): Extract<RunState, { readonly _tag: "Done" | "Failed" }> => {
  const body: unknown = JSON.parse(data)
  if (event === "done") {
    const durationMs = typeof body === "object" && body !== null && "durationMs" in body &&
        typeof body.durationMs === "number"
      ? body.durationMs
      : undefined
    return { _tag: "Done", durationMs, ...under }
  }
  return {
    _tag: "Failed",
    error: new ApiError(
      500,
      isErrorBody(body) ? body : { error: "The run failed, and the server does not say why", code: "UNKNOWN" }
    ),
    ...under
  }
}
