/** Jobs: what waits, what runs, and the dead letters, each to be tried again, stopped or forgotten. */
import type { JSX } from "preact"
import { useEffect, useState } from "preact/hooks"
import { to } from "../model/route.ts"
import { useStore } from "../model/store.ts"
import { count, plural } from "../model/words.ts"
import type { Job, JobState } from "../wire/types.ts"
import { useAsk, useNow, usePage } from "./context.ts"
import { Action, Empty, JsonText, Problem, State, Time } from "./parts.tsx"

const states: ReadonlyArray<readonly [state: JobState, label: string]> = [
  ["queued", "Queued"],
  ["running", "Running"],
  ["done", "Done"],
  ["dead", "Dead letters"],
  ["cancelled", "Cancelled"]
]

/** On one page of the list. */
const perPage = 100

export const JobsView = ({ state }: { readonly state: string | undefined }): JSX.Element => {
  const { api } = usePage()
  // Where each page before this one began.
  const [pages, setPages] = useState<ReadonlyArray<number>>([])
  const after = pages.at(-1)
  const [asked, again] = useAsk(
    `${state} ${after}`,
    () => api.jobs({ state, after, limit: perPage }),
    3000
  )
  const list = asked._tag === "Asking" ? undefined : asked.value
  const go = (href: string, words: string, amount: number | undefined, current: boolean, bad = false) => (
    <a
      href={href}
      aria-current={current ? "page" : undefined}
      onClick={() => setPages([])}
    >
      {words}{" "}
      <span class={bad && amount !== undefined && amount > 0 ? "tone-bad number" : "dim number"}>
        {amount === undefined ? "–" : count(amount)}
      </span>
    </a>
  )
  const all = list === undefined ? undefined : Object.values(list.counts).reduce((sum, it) => sum + it, 0)
  return (
    <div class="content">
      <div class="title">
        <h1>Jobs</h1>
      </div>
      <nav class="tabs" aria-label="States of jobs">
        {go(to.jobs(), "All", all, state === undefined)}
        {states.map(([it, label]) => go(to.jobs(it), label, list?.counts[it], state === it, it === "dead"))}
      </nav>
      {asked._tag === "Failed" ? <Problem error={asked.error} title="The jobs can't be shown." /> : ""}
      <section class="card" aria-label="Jobs, in the order in which they came">
        {list === undefined
          ? (
            <Empty>
              <p>Asking the server…</p>
            </Empty>
          )
          : list.jobs.length === 0
          ? (
            <Empty>
              <p>
                {state === "dead"
                  ? "No dead letters: no job was given up."
                  : state === undefined
                  ? (
                    <>
                      No job is stored. <a href="#/">Run a flow as a job</a>, and it appears here.
                    </>
                  )
                  : `No job is ${state}.`}
              </p>
            </Empty>
          )
          : (
            <table class="jobs">
              <thead>
                <tr>
                  <th scope="col" class="col-state">State</th>
                  <th scope="col">Job</th>
                  <th scope="col" class="col-flow">Flow</th>
                  <th scope="col" class="col-tries number">Tries</th>
                  <th scope="col" class="col-time">Stored</th>
                  <th scope="col" class="col-act">
                    <span class="unseen">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>{list.jobs.map((job) => <Row key={job.id} job={job} again={again} />)}</tbody>
            </table>
          )}
        {pages.length > 0 || list?.jobs.length === perPage
          ? (
            <p class="buttons">
              <button
                type="button"
                class="button plain"
                disabled={pages.length === 0}
                onClick={() => setPages(pages.slice(0, -1))}
              >
                Earlier
              </button>
              <button
                type="button"
                class="button plain"
                disabled={list === undefined || list.jobs.length < perPage}
                onClick={() => {
                  const last = list?.jobs.at(-1)
                  if (last !== undefined) setPages([...pages, last.seq])
                }}
              >
                Later
              </button>
            </p>
          )
          : ""}
      </section>
    </div>
  )
}

interface OneJob {
  readonly job: Job
  readonly again: () => Promise<void>
}

const Row = ({ again, job }: OneJob): JSX.Element => (
  <tr>
    <td class="col-state">
      <State of={job.state} />
    </td>
    <th scope="row" class="col-trace">
      <a class="id" href={to.job(job.id)}>{job.id}</a>
      {job.failure === undefined || job.state === "done" ? "" : (
        <span class="line">
          {job.failure.node === undefined ? "" : <span class="dim">{job.failure.node}:{" "}</span>}
          <strong>{job.failure.code}</strong> <span class="dim">{job.failure.message.slice(0, 200)}</span>
        </span>
      )}
    </th>
    <td class="col-flow">
      <a href={to.flow(job.flow)}>{job.flow}</a>
    </td>
    <td class="col-tries number">{job.attempts} of {job.maxAttempts}</td>
    <td class="col-time">
      <Time at={job.enqueuedAt} />
    </td>
    <td class="col-act">
      <Actions key={stageOf(job)} job={job} again={again} />
    </td>
  </tr>
)

/** What an action said is said of the job as it was then: once it has gone on, it is said no more. */
const stageOf = ({ attempts, finishedAt, state }: Job): string => `${state} ${attempts} ${finishedAt}`

const Actions = ({ again, job }: OneJob): JSX.Element => {
  const { api } = usePage()
  const then = async (done: Promise<string>): Promise<string> => {
    const words = await done
    await again()
    return words
  }
  if (job.state === "queued" || job.state === "running") {
    return (
      <Action
        act={() =>
          then(api.cancelJob(job.id).then(({ cancelled }) => cancelled ? "Cancelled" : "It had ended already"))}
      >
        Cancel
      </Action>
    )
  }
  return (
    <>
      {job.state === "dead" || job.state === "cancelled"
        ? (
          <Action
            act={() =>
              then(
                api.retryJob(job.id).then(({ requeued }) => requeued > 0 ? "Queued again" : "It is not dead any more")
              )}
          >
            Retry
          </Action>
        )
        : ""}
      <Action
        kind="danger"
        sure="Really delete?"
        act={() => then(api.deleteJob(job.id).then(({ purged }) => purged > 0 ? "Deleted" : "It was gone already"))}
      >
        Delete
      </Action>
    </>
  )
}

/** Said of a job that nobody has taken for a while: no worker may be there. */
const WaitsForWorker = ({ job }: { readonly job: Job }): JSX.Element => {
  const now = useNow()
  return job.state === "queued" && now - job.runAt > 2000
    ? (
      <p role="status">
        It waits for a worker: <code class="unbroken">penguiflow serve --worker</code>, or{" "}
        <code class="unbroken">penguiflow worker</code>
      </p>
    )
    : <></>
}

/** A job that was stored a moment ago. */
export const StoredJob = ({ id }: { readonly id: string }): JSX.Element => {
  const { api } = usePage()
  const [over, setOver] = useState(false)
  const [asked] = useAsk(id, () => api.job(id), over ? 0 : 1000)
  const job = asked._tag === "Asking" ? undefined : asked.value
  const ended = job !== undefined && job.state !== "queued" && job.state !== "running"
  useEffect(() => setOver(ended), [ended])
  return (
    <>
      <p class="stored">
        <span>
          Stored as the job <a class="id" href={to.job(id)}>{id}</a>
        </span>
        {job === undefined ? "" : <State of={job.state} />}
      </p>
      {asked._tag === "Failed" ? <Problem error={asked.error} title="The job can't be shown." /> : ""}
      {job === undefined ? "" : <WaitsForWorker job={job} />}
      {job?.results === undefined ? "" : <JsonText label="Results" value={job.results} />}
    </>
  )
}

export const JobView = ({ id }: { readonly id: string }): JSX.Element => {
  const { api } = usePage()
  const keeps = useStore(usePage().list, (it) => it?.features.traces === true)
  const [asked, again] = useAsk(id, () => api.job(id), 2000)
  const job = asked._tag === "Asking" ? undefined : asked.value
  return (
    <div class="content">
      <div class="title">
        <h1>
          Job <span class="id">{id}</span>
        </h1>
        {job === undefined ? "" : <Actions key={stageOf(job)} job={job} again={again} />}
      </div>
      {asked._tag === "Failed" ? <Problem error={asked.error} title="The job can't be shown." /> : ""}
      {job === undefined ? "" : (
        <>
          <dl class="facts wide">
            <div>
              <dt>State</dt>
              <dd>
                <State of={job.state} />
              </dd>
            </div>
            <div>
              <dt>Flow</dt>
              <dd>
                <a href={to.flow(job.flow)}>{job.flow}</a>
              </dd>
            </div>
            <div>
              <dt>Tries</dt>
              <dd>{job.attempts} of {job.maxAttempts}</dd>
            </div>
            <div>
              <dt>Failed, died</dt>
              <dd>{job.failures}, {job.crashes}</dd>
            </div>
            <div>
              <dt>Stored</dt>
              <dd>
                <Time at={job.enqueuedAt} />
              </dd>
            </div>
            {job.startedAt === undefined || job.startedAt === null ? "" : (
              <div>
                <dt>Started</dt>
                <dd>
                  <Time at={job.startedAt} />
                </dd>
              </div>
            )}
            {job.finishedAt === undefined || job.finishedAt === null ? "" : (
              <div>
                <dt>Ended</dt>
                <dd>
                  <Time at={job.finishedAt} />
                </dd>
              </div>
            )}
            {job.headers.tenant === undefined ? "" : (
              <div>
                <dt>Tenant</dt>
                <dd>{job.headers.tenant}</dd>
              </div>
            )}
            <div>
              <dt>Trace</dt>
              <dd>
                {keeps || job.state === "running"
                  ? <a class="id" href={to.trace(job.flow, `job-${job.id}`)}>job-{job.id}</a>
                  : `job-${job.id}`}
              </dd>
            </div>
          </dl>
          <WaitsForWorker job={job} />
          {job.failure === undefined ? "" : (
            <section class="card why" aria-labelledby="why-title">
              <h2 id="why-title">
                {job.state === "dead" ? "Why it is dead" : "Its last failure"}
                {job.failure.node === undefined ? "" : (
                  <>
                    , at <a href={to.node(job.flow, job.failure.node)}>{job.failure.node}</a>
                  </>
                )}
                <span class="dim">try {job.failure.attempt}</span>
              </h2>
              <div class="error">
                <p>
                  <strong>{job.failure.code}</strong>
                </p>
                <pre class="message" tabIndex={0} aria-label="Message">{job.failure.message}</pre>
              </div>
            </section>
          )}
          <div class="halves">
            <section class="card" aria-label="Input">
              <h2>Input</h2>
              <JsonText label="Input" value={job.payload} />
            </section>
            <section class="card" aria-label="Results">
              <h2>Results</h2>
              {job.results === undefined
                ? <p class="dim">None yet.</p>
                : (
                  <>
                    <p class="dim">{plural(job.results.length, "result")}</p>
                    <JsonText label="Results" value={job.results} />
                  </>
                )}
            </section>
          </div>
        </>
      )}
    </div>
  )
}
