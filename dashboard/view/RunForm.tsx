/** Runs a flow: a form made from its input's schema, or JSON; now, or as a job. */
import type { JSX } from "preact"
import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import {
  type Draft,
  draftFrom,
  entered,
  expectedIn,
  initial,
  parseJson,
  type Problem as Mistake
} from "../form/draft.ts"
import { type Json, readerOf } from "../form/field.ts"
import { to } from "../model/route.ts"
import { useStore } from "../model/store.ts"
import { plural } from "../model/words.ts"
import type { FlowInfo } from "../wire/types.ts"
import { errorOf, usePage } from "./context.ts"
import { FieldInput, idOf } from "./FieldInput.tsx"
import { StoredJob } from "./Jobs.tsx"
import { Empty, Problem } from "./parts.tsx"
import { idle, RunResult, type RunState, useRun } from "./RunResult.tsx"

export const RunView = ({ flow }: { readonly flow: string }): JSX.Element => {
  const info = useStore(usePage().list, (it) => it?.flows.find(({ name }) => name === flow))
  const known = useStore(usePage().list, (it) => it !== undefined)
  return (
    <div class="content">
      <div class="title">
        <h1>
          Run <a href={to.flow(flow)}>{flow}</a>
        </h1>
      </div>
      {info !== undefined
        ? <Form info={info} />
        : (
          <Empty>
            <p>{known ? "The server has no such flow." : "Asking the server for its flows…"}</p>
          </Empty>
        )}
    </div>
  )
}

interface Options {
  readonly traceId: string
  readonly tenant: string
  readonly deadline: string
}

const Form = ({ info }: { readonly info: FlowInfo }): JSX.Element => {
  const { api, say } = usePage()
  const reader = useMemo(() => readerOf(info.input ?? {}), [JSON.stringify(info.input)])
  const [draft, setDraft] = useState<Draft>(() => initial(reader, reader.root))
  const [json, setJson] = useState<string>()
  const [mistakes, setMistakes] = useState<ReadonlyArray<Mistake>>([])
  const [note, setNote] = useState<string>()
  const [options, setOptions] = useState<Options>({ traceId: "", tenant: "", deadline: "" })
  const [state, run] = useRun(info.name)
  const [queued, setQueued] = useState<RunState>(idle)
  const form = useRef<HTMLFormElement>(null)
  const summary = useRef<HTMLDivElement>(null)
  const result = useRef<HTMLElement>(null)
  const asJson = json !== undefined

  // What the server refuses in the input is shown where it was entered.
  const refused = state._tag === "Refused" ? state.error : queued._tag === "Refused" ? queued.error : undefined
  const shown = useMemo(
    () =>
      refused?.path === undefined
        ? mistakes
        : [...mistakes, { path: refused.path, message: expectedIn(refused.message) }],
    [mistakes, refused]
  )
  useEffect(() => {
    if (mistakes.length > 0) summary.current?.focus()
  }, [mistakes])

  const read = (): { readonly value: Json } | undefined => {
    if (json !== undefined) {
      const parsed = parseJson(json)
      setMistakes("value" in parsed ? [] : [{ path: "", message: parsed.problem }])
      return "value" in parsed ? parsed : undefined
    }
    const { problems, value } = entered(reader, draft)
    setMistakes(problems)
    return value === undefined ? undefined : { value }
  }
  const start = () => {
    const input = read()
    if (input === undefined) return
    setQueued(idle)
    void run(input.value, options)
    result.current?.scrollIntoView({ block: "nearest" })
  }
  const enqueue = async () => {
    const input = read()
    if (input === undefined) return
    try {
      const { id } = await api.enqueue(info.name, input.value, { id: options.traceId, tenant: options.tenant })
      setQueued({ _tag: "Queued", id })
      say(`Stored as the job ${id}`)
    } catch (error) {
      setQueued({ _tag: "Refused", error: errorOf(error), traceId: undefined })
    }
  }
  const toJson = () => {
    setJson(JSON.stringify(entered(reader, draft).partial, null, 2))
    setMistakes([])
    setNote(undefined)
  }
  const toForm = () => {
    const parsed = parseJson(json ?? "")
    const next = "value" in parsed ? draftFrom(reader, reader.root, parsed.value) : undefined
    if (next === undefined) {
      return setNote(
        "value" in parsed
          ? "The form has no place for something in this JSON: it can be run as it is."
          : parsed.problem
      )
    }
    setDraft(next)
    setJson(undefined)
    setMistakes([])
    setNote(undefined)
  }
  const option = (name: keyof Options, label: string, hint: string) => (
    <div class="field text">
      <label for={`option-${name}`}>{label}</label>
      <input
        id={`option-${name}`}
        type="text"
        autocomplete="off"
        placeholder={hint}
        value={options[name]}
        onInput={(event) => setOptions({ ...options, [name]: event.currentTarget.value })}
      />
    </div>
  )
  return (
    <div class="halves">
      <form
        ref={form}
        class="card run"
        aria-labelledby="input-title"
        noValidate
        onSubmit={(event) => {
          event.preventDefault()
          start()
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            event.preventDefault()
            start()
          }
        }}
      >
        <h2 id="input-title">
          Input{" "}
          <button type="button" class="button plain small" onClick={asJson ? toForm : toJson}>
            {asJson ? "As a form" : "As JSON"}
          </button>
        </h2>
        {note === undefined ? "" : <p role="status" class="hint">{note}</p>}
        <div ref={summary} tabIndex={-1} class="summary">
          {mistakes.length === 0 ? "" : (
            <>
              <p class="tone-bad">
                <strong>{plural(mistakes.length, "thing")} to correct</strong>
              </p>
              <ul>
                {mistakes.map(({ message, path }, at) => (
                  <li key={at}>
                    <a
                      href={`#${idOf(path)}`}
                      onClick={(event) => {
                        event.preventDefault()
                        document.getElementById(asJson ? "json" : idOf(path))?.focus()
                      }}
                    >
                      {path === "" ? "the input" : path}
                    </a>: {message}
                  </li>
                ))}
              </ul>
            </>
          )}
        </div>
        {asJson
          ? (
            <div class="field json">
              <label for="json">JSON</label>
              <textarea
                id="json"
                class="code"
                rows={14}
                spellcheck={false}
                value={json}
                onInput={(event) => setJson(event.currentTarget.value)}
              />
            </div>
          )
          : (
            <FieldInput
              reader={reader}
              schema={reader.root}
              draft={draft}
              change={setDraft}
              path={[]}
              label="Input"
              required
              problems={shown}
            />
          )}
        <details>
          <summary>Options</summary>
          {option("traceId", "Id", "made anew")}
          {option("tenant", "Tenant", "default")}
          {option("deadline", "Deadline in ms", "the server's")}
        </details>
        <p class="buttons">
          <button type="submit" class="button main" aria-disabled={state._tag === "Running"}>Run</button>
          {info.jobs
            ? <button type="button" class="button plain" onClick={() => void enqueue()}>Store as a job</button>
            : ""}
          <span class="dim">Ctrl+Enter runs, too</span>
        </p>
      </form>
      <section ref={result} class="card stick" aria-labelledby="result-title">
        <h2 id="result-title">Result</h2>
        {queued._tag === "Queued"
          ? <StoredJob key={queued.id} id={queued.id} />
          : queued._tag === "Refused"
          ? <Problem error={queued.error} title="The job was not stored." />
          : <RunResult flow={info.name} state={state} />}
      </section>
    </div>
  )
}
