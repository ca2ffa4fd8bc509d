/** What `penguiflow jobs` does. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import * as FlowCli from "../FlowCli.ts"
import * as JobQueue from "../JobQueue.ts"
import type { JobState } from "../JobStore.ts"
import { answering, refused, width } from "./answer.ts"
import type * as Commands from "./commands/jobs.ts"
import * as Places from "./places.ts"
import { age, count, instant, lasting, record, table } from "./table.ts"

type Answer = Effect.Effect<void, FlowCli.Ended, Stdio.Stdio | Terminal.Terminal>

export const list = (
  asked: Commands.Asked & Commands.Which & { readonly limit: number; readonly after: Option.Option<number> }
): Answer =>
  withQueue(asked, (queue) =>
    Effect.gen(function*() {
      const found = pages(queue, filterOf(asked, asked.state), asked.limit, Option.getOrElse(asked.after, () => 0))
      if (asked.json) return yield* FlowCli.print(Stream.map(found, lineOf))
      const now = yield* Clock.currentTimeMillis
      let last: JobQueue.Job | undefined
      const rows = yield* Stream.runCollect(Stream.map(found, (job) => {
        last = job
        return rowOf(job, now)
      }))
      if (rows.length === 0) return yield* FlowCli.say("No job matches.")
      yield* FlowCli.print(
        Stream.make(table(["ID", "STATE", "FLOW", "TENANT", "TRIES", "AGE", "REASON"], rows, yield* width))
      )
      if (rows.length === asked.limit && last !== undefined) {
        yield* FlowCli.say(`There may be more: --after ${last.seq} goes on, --limit shows more at once.`)
      }
    }))

export const counts = (asked: Commands.Asked): Answer =>
  withQueue(asked, (queue) =>
    Effect.gen(function*() {
      const found = yield* queue.counts
      const text = asked.json
        ? FlowCli.ndjson(found) ?? ""
        : record(Object.entries(found).map(([state, n]) => [state, String(n)]), yield* width)
      yield* FlowCli.print(Stream.make(text))
    }))

export const show = (asked: Commands.Asked & { readonly id: string }): Answer =>
  withQueue(asked, (queue) =>
    Effect.gen(function*() {
      const job = yield* queue.get(asked.id)
      if (job === undefined) return yield* refused(`no job has the id ${quoted(asked.id)}`)
      if (asked.json) return yield* FlowCli.print(Stream.make(lineOf(job)))
      const now = yield* Clock.currentTimeMillis
      // What is no JSON any more is shown as the text that it is.
      const [stored] = yield* queue.store.list({ ids: [job.id], limit: 1 })
      yield* FlowCli.print(Stream.make(record(fieldsOf(job, stored?.payload, now), yield* width)))
    }))

export const retry = (asked: Commands.Action): Answer =>
  act(asked, {
    verb: "retry",
    done: "retried",
    states: ["dead"],
    allowed: ["dead", "cancelled"],
    one: (queue, id) => Effect.map(queue.requeue(id), (n) => n > 0),
    many: (queue, filter) => queue.requeue(filter),
    why: (job) => `is ${job.state}: only dead and cancelled jobs are tried again`
  })

export const cancel = (asked: Commands.Action & { readonly reason: Option.Option<string> }): Answer => {
  const reason = Option.getOrUndefined(asked.reason)
  return act(asked, {
    verb: "cancel",
    done: "cancelled",
    states: ["queued", "running"],
    allowed: ["queued", "running"],
    one: (queue, id) => queue.cancel(id, reason),
    many: undefined,
    why: (job) => `has ended already: it is ${job.state}`
  })
}

export const purge = (asked: Commands.Action): Answer =>
  act(asked, {
    verb: "purge",
    done: "purged",
    states: ["done", "dead", "cancelled"],
    allowed: ["queued", "done", "dead", "cancelled"],
    one: (queue, id) => Effect.map(queue.purge(id), (n) => n > 0),
    many: (queue, filter) => queue.purge(filter),
    why: () => "is running: cancel it first"
  })

// ----------------------------------------------------------------------------------------------------------- internals

/** So many jobs are read, or changed, at a time: each may hold a megabyte. */
const readAtOnce = 50
const changedAtOnce = 1000
/** Whoever is asked sees how many it is about, up to so many. */
const counted = 1000

const withQueue = <E>(
  asked: Commands.Asked,
  f: (queue: JobQueue.Service) => Effect.Effect<void, E, Stdio.Stdio | Terminal.Terminal>
): Answer =>
  answering(
    Effect.flatMap(
      Places.queueOf(asked, { create: false }),
      (place) => JobQueue.JobQueue.use(f).pipe(Effect.provide(Places.queue(place, asked.queue)))
    ),
    asked
  )

const filterOf = (asked: Commands.Which, state: ReadonlyArray<JobState>): JobQueue.JobFilter => ({
  state: state.length === 0 ? undefined : state,
  flow: Option.getOrUndefined(asked.flow),
  tenant: Option.getOrUndefined(asked.tenant),
  olderThan: Option.getOrUndefined(asked.olderThan)
})

/** Jobs as they come, few of them in memory. */
const pages = (
  queue: JobQueue.Service,
  filter: JobQueue.JobFilter,
  limit: number,
  after: number
): Stream.Stream<JobQueue.Job, unknown> =>
  Stream.flattenIterable(
    Stream.paginate({ after, left: limit }, ({ after, left }) =>
      Effect.map(queue.list({ ...filter, after, limit: Math.min(left, readAtOnce) }), (jobs) => {
        const rest = left - jobs.length
        const last = jobs.at(-1)
        const more = last !== undefined && rest > 0 && jobs.length === readAtOnce
        return [[jobs], more ? Option.some({ after: last.seq, left: rest }) : Option.none()]
      }))
  )

const lineOf = (job: JobQueue.Job): string =>
  FlowCli.ndjson(job) ?? FlowCli.ndjson({ ...job, payload: null, results: null }) ?? ""

const reasonOf = ({ cancelReason, failure, state }: JobQueue.Job): string =>
  failure === undefined || (state === "cancelled" && cancelReason !== undefined)
    ? cancelReason ?? ""
    : `${failure.code}: ${failure.message}${failure.node === undefined ? "" : ` (node ${quoted(failure.node)})`}`

const rowOf = (job: JobQueue.Job, now: number): ReadonlyArray<string> => [
  job.id,
  job.state,
  job.flow,
  job.headers.tenant,
  `${job.attempts}/${job.maxAttempts}`,
  age(job.enqueuedAt, now),
  job.state === "done" ? "" : reasonOf(job)
]

const quoted = (text: string): string => JSON.stringify(text.slice(0, 80))

const pretty = (value: unknown): string => {
  try {
    return JSON.stringify(value, null, 2)
  } catch {
    return "it is nested too deep to be shown"
  }
}

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const fieldsOf = (
  job: JobQueue.Job,
  payload: string | undefined,
  now: number
): ReadonlyArray<readonly [string, string | undefined]> => {
  const { failure } = job
  const at = (time: number | undefined) => time === undefined ? undefined : instant(time, now)
  return [
    ["id", job.id],
    ["flow", job.flow],
    ["state", job.state],
    ["tenant", job.headers.tenant],
    ["topic", job.headers.topic],
    ["priority", String(job.headers.priority ?? 0)],
    ["tries", `${job.attempts} of ${job.maxAttempts}: ${job.failures} failed, ${job.crashes} died with their worker`],
    ["timeout", job.timeoutMs === undefined ? undefined : lasting(job.timeoutMs)],
    ["enqueued", at(job.enqueuedAt)],
    ["not before", job.state === "queued" && job.runAt > now ? at(job.runAt) : undefined],
    ["started", at(job.startedAt)],
    ["finished", at(job.finishedAt)],
    ["worker", job.workerId],
    ["cancelled", job.cancelReason],
    [
      job.state === "dead" ? "dead of" : "failed by",
      failure === undefined
        ? undefined
        : `${failure.code}, try ${failure.attempt}${
          failure.node === undefined ? "" : `, node ${quoted(failure.node)}`
        }\n${failure.message}${failure.error === undefined ? "" : `\n${pretty(failure.error)}`}`
    ],
    ["meta", Object.keys(job.meta).length === 0 ? undefined : pretty(job.meta)],
    ["payload", payload === undefined || isJson(payload) ? pretty(job.payload) : `${payload}\n(this is no JSON)`],
    ["results", job.results === undefined ? undefined : pretty(job.results)]
  ]
}

interface Doing {
  readonly verb: string
  readonly done: string
  /** Which a filter means that names no state. */
  readonly states: ReadonlyArray<JobState>
  readonly allowed: ReadonlyArray<JobState>
  readonly one: (queue: JobQueue.Service, id: string) => Effect.Effect<boolean, unknown>
  /** How many; undefined where it goes one by one. */
  readonly many: ((queue: JobQueue.Service, filter: JobQueue.JobFilter) => Effect.Effect<number, unknown>) | undefined
  /** Why one was not in a state for it. */
  readonly why: (job: JobQueue.Job) => string
}

const act = (asked: Commands.Action, doing: Doing): Answer => {
  const filtered = asked.state.length > 0 || Option.isSome(asked.flow) || Option.isSome(asked.tenant) ||
    Option.isSome(asked.olderThan)
  if (asked.ids.length > 0) {
    return filtered || Option.isSome(asked.limit)
      ? refused(`jobs are named by id and by a filter: give one of them`)
      : withQueue(asked, (queue) => byId(queue, asked, doing))
  }
  if (!filtered) return refused(`which jobs? Name their ids, or say --state, --flow, --tenant or --older-than`)
  const wrong = asked.state.find((state) => !doing.allowed.includes(state))
  if (wrong !== undefined) return refused(`${wrong} jobs can't be ${doing.done}: only ${doing.allowed.join(", ")} ones`)
  return withQueue(asked, (queue) => byFilter(queue, asked, doing))
}

const byId = Effect.fnUntraced(function*(queue: JobQueue.Service, asked: Commands.Action, doing: Doing) {
  let missed = 0
  const lines = Stream.mapEffect(
    Stream.fromIterable(new Set(asked.ids)),
    Effect.fnUntraced(function*(id: string) {
      const done = yield* doing.one(queue, id)
      if (!done) {
        missed++
        const job = yield* queue.get(id)
        yield* FlowCli.say(
          job === undefined ? `✗ no job has the id ${quoted(id)}` : `✗ ${quoted(id)} ${doing.why(job)}`
        )
      }
      return asked.json
        ? FlowCli.ndjson({ id, [doing.done]: done }) ?? ""
        : done
        ? `${FlowCli.oneLine(id)} ${doing.done}\n`
        : ""
    })
  )
  yield* FlowCli.print(Stream.filter(lines, (line) => line !== ""))
  if (missed > 0) return yield* new FlowCli.Ended({ code: 1 })
})

const byFilter = Effect.fnUntraced(function*(queue: JobQueue.Service, asked: Commands.Action, doing: Doing) {
  const filter = filterOf(asked, asked.state.length > 0 ? asked.state : doing.states)
  const limit = Option.getOrElse(asked.limit, () => Infinity)
  if (!asked.yes && !(yield* confirmed(queue, filter, limit, doing.verb))) {
    return yield* new FlowCli.Ended({ code: 1 })
  }
  let total = 0
  const { many } = doing
  if (many === undefined) {
    yield* Stream.runForEach(pages(queue, filter, limit, 0), (job) =>
      Effect.map(doing.one(queue, job.id), (done) => {
        if (done) total++
      }))
  } else {
    while (total < limit) {
      const batch = Math.min(limit - total, changedAtOnce)
      const done = yield* many(queue, { ...filter, limit: batch })
      total += done
      if (done < batch) break
    }
  }
  yield* FlowCli.print(Stream.make(
    asked.json ? FlowCli.ndjson({ [doing.done]: total }) ?? "" : `${count(total, "job")} ${doing.done}\n`
  ))
})

/** Asks at a terminal, how many it is about. Where there is none, what is meant for all must be said. */
const confirmed = Effect.fnUntraced(function*(
  queue: JobQueue.Service,
  filter: JobQueue.JobFilter,
  limit: number,
  verb: string
) {
  const asking = yield* Stdio.Stdio.use(({ stdinIsTerminal }) => stdinIsTerminal)
  if (!asking) return yield* refused(`there is no terminal to ask at: say --yes to ${verb} all that match`)
  const found = yield* Stream.runCount(pages(queue, filter, Math.min(limit, counted), 0))
  if (found === 0) {
    yield* FlowCli.say("No job matches.")
    return false
  }
  const least = found === counted && limit > counted ? "At least " : ""
  yield* FlowCli.say(`${least}${count(found, "job")}. Type yes to ${verb}.`)
  const answer = yield* Terminal.Terminal.use((terminal) => terminal.readLine).pipe(Effect.orElseSucceed(() => ""))
  if (/^y(?:es)?$/i.test(answer.trim())) return true
  yield* FlowCli.say("Nothing was done.")
  return false
})
