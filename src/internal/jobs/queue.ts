/** A queue as its callers see it, on whatever store: values become text here, and text values. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { JobError } from "../../JobError.ts"
import type { EnqueueOptions, Job, JobFailure, JobFilter, Limits, Service } from "../../JobQueue.ts"
import type { Filter, JobRecord, JobState, JobStore, NewJob, Stored } from "../../JobStore.ts"
import type { Meta } from "../../Trace.ts"
import { codecsOf, type FlowCodecs } from "../schemas.ts"
import { enqueueIn } from "./handing.ts"
import { newId } from "./newId.ts"
import { isId, limitsOf, newJob } from "./options.ts"
import { exitOf, jsonOf } from "./outcome.ts"
import { Signal } from "./signal.ts"

type AnyFlow = { readonly name: string }
type Answer = Exit.Exit<JobRecord, JobError>

/** Milliseconds between looks at awaited jobs: the first, and the most. */
const firstLook = 20
const longestLook = 1000
/** Awaited jobs that are asked for in one query. */
const looksAtOnce = 500
/** Milliseconds that the store may fail until those who wait hear of it. */
const patience = 30_000

const notFound = (id: string): JobError =>
  new JobError({
    jobId: id,
    reason: { _tag: "JobNotFound" },
    message: "No job has this id: it was never enqueued, or was purged"
  })

export const makeQueue: (store: JobStore, limits: Limits) => Effect.Effect<Service, never, Scope.Scope> = Effect
  .fnUntraced(
    function*(store: JobStore, given: Limits) {
      const limits = limitsOf(given)
      const flows = new Map<string, FlowCodecs>()
      const codecsFor = (flow: AnyFlow): FlowCodecs => {
        const codecs = codecsOf(flow)
        flows.set(flow.name, codecs)
        return codecs
      }
      const watched = yield* watchEnds(store)

      const enqueueMany = (flow: AnyFlow, jobs: ReadonlyArray<EnqueueOptions & { readonly input: unknown }>) =>
        Effect.contextWith((caller: Context.Context<never>): Effect.Effect<ReadonlyArray<string>, JobError> => {
          const codecs = codecsFor(flow)
          const span = Context.getOrUndefined(caller, Tracer.ParentSpan)
          const made: Array<NewJob> = []
          for (const job of jobs) {
            const exit = newJob(flow.name, codecs, job.input, job, limits, newId, span)
            if (exit._tag === "Failure") return Effect.failCause(exit.cause)
            made.push(exit.value)
          }
          const ids = made.map((job) => job.id)
          if (made.length === 0) return Exit.succeed(ids)
          const twin = twinIn(made)
          if (twin !== undefined) return Exit.fail(conflict(twin))
          const each = [...new Map(made.map((job) => [job.id, job])).values()]
          return Effect.flatMap(enqueueIn(store, each, limits.maxLength), (stored) => {
            const refused = stored.findIndex((answer) => answer === "conflict" || answer === "full")
            return refused < 0 ? Exit.succeed(ids) : Exit.fail(refusal(stored[refused]!, each[refused]!, limits))
          })
        })

      const list = (filter: JobFilter, limit: number): Effect.Effect<ReadonlyArray<JobRecord>, JobError> =>
        Effect.flatMap(toFilter(filter, limit), store.list)

      const awaitJob = (flow: AnyFlow | undefined, id: string) =>
        Effect.suspend(() => {
          const codecs = flow === undefined ? undefined : codecsFor(flow)
          return isId(id)
            ? Effect.flatMap(watched(id), (record): Exit.Exit<unknown, unknown> => {
              const known = codecs ?? flows.get(record.flow)
              return known === undefined ? Exit.fail(unknownFlow(record)) : exitOf(record, known)
            })
            : Exit.fail(notFound(String(id).slice(0, 255)))
        })

      const service = {
        enqueue: (flow: AnyFlow, input: unknown, options?: EnqueueOptions) =>
          Effect.map(enqueueMany(flow, [{ ...options, input }]), (ids) => ids[0]!),
        enqueueMany,
        get: (id: string) =>
          isId(id)
            ? Effect.map(store.list({ ids: [id], limit: 1 }), (records) => records[0] && toJob(records[0]))
            : Effect.undefined,
        await: (flowOrId: AnyFlow | string, id?: string) =>
          typeof flowOrId === "string" ? awaitJob(undefined, flowOrId) : awaitJob(flowOrId, id ?? ""),
        list: (filter?: JobFilter) => Effect.map(list(filter ?? {}, 100), (records) => records.map(toJob)),
        deadLetters: (filter?: JobFilter) =>
          Effect.map(list({ ...filter, state: "dead" }, 100), (records) => records.map(toJob)),
        cancel: (id: string, reason?: string) =>
          isId(id)
            ? store.cancel(id, reason?.slice(0, 1024).replaceAll("\0", "").toWellFormed())
            : Effect.succeed(false),
        requeue: (which: string | JobFilter) =>
          Effect.flatMap(
            toFilter(whichOf(which), 10_000),
            (filter) => store.requeue({ ...filter, states: only(filter.states, ["dead", "cancelled"]) })
          ),
        purge: (which: string | JobFilter) =>
          Effect.flatMap(toFilter(whichOf(which), 10_000), (filter) =>
            store.purge({
              ...filter,
              states: only(
                filter.states,
                filter.ids !== undefined || filter.states !== undefined
                  ? ["queued", "done", "dead", "cancelled"]
                  : ["done", "dead", "cancelled"]
              )
            })),
        counts: store.counts,
        store,
        limits
      }
      return service as unknown as Service
    }
  )

// ---------------------------------------------------------------- refusals

/** Two jobs of one call that have one id and differ. */
const twinIn = (jobs: ReadonlyArray<NewJob>): NewJob | undefined => {
  if (jobs.length === 1) return undefined
  const seen = new Map<string, string>()
  return jobs.find((job) => {
    const payload = seen.get(job.id)
    seen.set(job.id, job.payload)
    return payload !== undefined && payload !== job.payload
  })
}

const conflict = (job: NewJob): JobError =>
  new JobError({
    jobId: job.id,
    reason: { _tag: "IdConflict", flow: job.flow },
    message: "A job with this id exists and has another input or another flow: give this one an id of its own"
  })

const refusal = (stored: Stored, job: NewJob, limits: Required<Limits>): JobError =>
  stored === "conflict"
    ? conflict(job)
    : new JobError({
      jobId: job.id,
      reason: { _tag: "QueueFull", limit: limits.maxLength ?? 0, retryAfterMs: 1000 },
      message: `${limits.maxLength} jobs wait already: try again later, or start more workers. Nothing was stored.`
    })

const unknownFlow = (record: JobRecord): JobError =>
  new JobError({
    jobId: record.id,
    reason: { _tag: "UnknownFlow", flow: record.flow },
    message: `The job has ended, and its flow "${record.flow}" is not known to this queue: write \`await(flow, id)\``
  })

// ---------------------------------------------------------------- records and filters

const toJob = (record: JobRecord): Job => ({
  id: record.id,
  flow: record.flow,
  state: record.state,
  headers: {
    tenant: record.tenant,
    priority: record.priority,
    ...(record.topic === undefined ? undefined : { topic: record.topic })
  },
  meta: (jsonOf(record.meta) ?? {}) as Meta,
  payload: jsonOf(record.payload) ?? null,
  attempts: record.failures + record.crashes +
    (record.state === "running" || record.state === "done" ? 1 : 0),
  failures: record.failures,
  crashes: record.crashes,
  maxAttempts: record.maxAttempts,
  timeoutMs: record.timeoutMs,
  enqueuedAt: record.enqueuedAt,
  runAt: record.runAt,
  startedAt: record.startedAt,
  finishedAt: record.finishedAt,
  workerId: record.workerId,
  results: record.results === undefined ? undefined : jsonOf(record.results) as ReadonlyArray<Schema.Json> | undefined,
  failure: record.failure && toFailure(record.failure),
  cancelReason: record.cancelReason,
  seq: record.seq
})

const toFailure = (failure: NonNullable<JobRecord["failure"]>): JobFailure => ({
  code: failure.code,
  message: failure.message,
  node: failure.node,
  attempt: failure.attempt,
  error: failure.kind === "node" ? jsonOf(failure.detail) : undefined
})

const whichOf = (which: string | JobFilter): JobFilter => typeof which === "string" ? { id: which } : which

const only = (
  given: ReadonlyArray<JobState> | undefined,
  allowed: ReadonlyArray<JobState>
): ReadonlyArray<JobState> => given === undefined ? allowed : given.filter((state) => allowed.includes(state))

const toFilter = (filter: JobFilter, limit: number): Effect.Effect<Filter> =>
  Effect.clockWith((clock) => {
    const age = filter.olderThan === undefined ? undefined : Duration.fromInput(filter.olderThan)
    const ids = filter.id === undefined ? undefined : typeof filter.id === "string" ? [filter.id] : filter.id
    return Effect.succeed({
      ids: ids?.filter(isId),
      states: typeof filter.state === "string" ? [filter.state] : filter.state,
      flow: filter.flow,
      tenant: filter.tenant,
      finishedBefore: age === undefined
        ? undefined
        : age._tag === "Some"
        ? clock.currentTimeMillisUnsafe() - Duration.toMillis(age.value)
        : 0,
      afterSeq: filter.after,
      limit: Math.max(0, Math.min(Math.floor(filter.limit ?? limit) || 0, 100_000))
    })
  })

// ---------------------------------------------------------------- waiting for ends

const ended = (record: JobRecord): boolean => record.state !== "queued" && record.state !== "running"

/** One fiber looks for all who wait, with one query for many, and sleeps while nobody does. */
const watchEnds: (
  store: JobStore
) => Effect.Effect<(id: string) => Effect.Effect<JobRecord, JobError>, never, Scope.Scope> = Effect.fnUntraced(
  function*(store: JobStore) {
    const waiting = new Map<string, Set<(answer: Answer) => void>>()
    const bell = new Signal()
    const answer = (id: string, exit: Answer) => {
      const waiters = waiting.get(id)
      waiting.delete(id)
      for (const waiter of waiters ?? []) waiter(exit)
    }
    const look = Effect.fnUntraced(function*() {
      const ids = [...waiting.keys()]
      for (let i = 0; i < ids.length; i += looksAtOnce) {
        const ends = yield* store.ended(ids.slice(i, i + looksAtOnce))
        if (ends.length === 0) continue
        const records = new Map((yield* store.list({ ids: ends, limit: ends.length })).map((it) => [it.id, it]))
        for (const id of ends) {
          const record = records.get(id)
          if (record === undefined) answer(id, Exit.fail(notFound(id)))
          else if (ended(record)) answer(id, Exit.succeed(record))
        }
      }
    })
    const poll = Effect.gen(function*() {
      let pause = firstLook
      let failing = 0
      while (true) {
        if (waiting.size === 0) {
          yield* bell.wait
          pause = firstLook
        }
        const exit = yield* Effect.exit(look())
        failing = exit._tag === "Success" ? 0 : failing + pause
        if (exit._tag === "Failure" && failing > patience) {
          const reason = exit.cause.reasons[0]
          for (const id of waiting.keys()) {
            answer(id, Exit.fail(reason?._tag === "Fail" ? reason.error : notFound(id)))
          }
        }
        if (waiting.size === 0) continue
        pause = (yield* bell.waitFor(pause)) ? firstLook : Math.min(longestLook, pause * 1.5)
      }
    })
    yield* store.watch(["ended"], () => {
      if (waiting.size > 0) bell.ring()
    })
    yield* Effect.forkScoped(Effect.provideService(poll, References.TracerEnabled, false))
    return (id) =>
      Effect.callback<JobRecord, JobError>((resume) => {
        const waiters = waiting.get(id) ?? new Set()
        waiting.set(id, waiters.add(resume))
        bell.ring()
        return Effect.sync(() => {
          waiters.delete(resume)
          if (waiters.size === 0 && waiting.get(id) === waiters) waiting.delete(id)
        })
      })
  }
)
