/** A job store in Redis: values go in and come out of a script as JSON. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redis from "effect/persistence/Redis"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { type JobError, unavailable } from "../../JobError.ts"
import * as JobStore from "../../JobStore.ts"
import { atOnce } from "./atOnce.ts"
import { type Operation, scriptOf } from "./jobsRedis/operations.ts"
import { ServerClock } from "./serverClock.ts"

export interface Settings {
  readonly prefix: string
  readonly queryMs: number
}

type Fields = Readonly<Record<string, string | undefined>>

/** A store on a client. Its subscription ends with the scope. */
export const makeStore: (
  redis: Redis.Redis["Service"],
  settings: Settings
) => Effect.Effect<JobStore.JobStore, never, Scope.Scope> = Effect.fnUntraced(
  function*(redis: Redis.Redis["Service"], { prefix, queryMs }: Settings) {
    const scope = yield* Effect.scope
    const evaluate = evaluating(redis, prefix)
    const channel = `${prefix}:changes`

    const listeners = new Set<
      { readonly changes: ReadonlyArray<JobStore.Change>; readonly listener: (change: JobStore.Change) => void }
    >()
    const tell = (change: JobStore.Change) => {
      for (const it of listeners) if (it.changes.includes(change)) it.listener(change)
    }

    const run = <A>(
      name: Operation,
      args: unknown,
      read: (answer: unknown) => A,
      after?: Effect.Effect<unknown, Redis.RedisError>
    ): Effect.Effect<A, JobError> =>
      JobStore.bounded(
        name,
        queryMs,
        Effect.map(
          Effect.mapError(
            Effect.suspend(() => evaluate(name, JSON.stringify(args), after)),
            (error) => failed(name, error)
          ),
          (text) => read(JSON.parse(text))
        )
      )

    // A subscription that broke is made anew; what was said meanwhile is found by asking.
    const hear = Effect.gen(function*() {
      let pause = 250
      while (true) {
        yield* Effect.exit(Effect.scoped(Effect.gen(function*() {
          const queue = yield* redis.subscribe(channel)
          tell("ready")
          tell("cancel")
          while (true) {
            const { message } = yield* Queue.take(queue)
            pause = 250
            if (message === "ready" || message === "cancel") tell(message)
          }
        })))
        yield* Effect.sleep(Duration.millis(pause))
        pause = Math.min(5000, pause * 2)
      }
    })
    let hearing = false

    const [died, diedCrashes, diedAttempt] = diedText()
    const ending = <A>(effect: Effect.Effect<A, JobError>) => Effect.tap(effect, () => Effect.sync(() => tell("ended")))
    const filterOf = (filter: JobStore.Filter) => ({
      ...filter,
      ids: filter.ids === undefined ? undefined : filter.ids.length === 0 ? [""] : filter.ids,
      states: filter.states?.flatMap((state) => state === "queued" ? ["ready", "delayed"] : [state]),
      finishedBefore: filter.finishedBefore === undefined ? undefined : Math.floor(filter.finishedBefore)
    })
    const clock = new ServerClock()
    /** Does nothing where the server's clock says another time than is expected: it may have been set. */
    const sweep = (flows: ReadonlyArray<string>, expected: ReturnType<ServerClock["expect"]>) =>
      run("sweep", { flows, died, diedCrashes, diedAttempt, ...expected }, (answer) => {
        const { at, dead, doubted, nextMs, ready, recovered } = answer as {
          readonly at: number
          readonly doubted?: boolean
          readonly dead?: unknown
          readonly nextMs?: number
          readonly ready?: boolean
          readonly recovered?: unknown
        }
        return {
          at,
          doubted: doubted === true,
          recovered: listOf<string>(recovered),
          dead: listOf<string>(dead),
          ready: ready === true,
          nextMs
        }
      })
    const nothing = (filter: JobStore.Filter) => filter.states?.length === 0

    return {
      endsWithin: queryMs,
      enqueue: (jobs, { maxLength, taker: given }) => {
        const taker = JobStore.mayBeTaken(jobs) ? given : undefined
        return run(
          "enqueue",
          { jobs, maxLength, taker },
          (answer) => answer as ReadonlyArray<JobStore.Stored>,
          taker === undefined ? redis.send("PUBLISH", channel, "ready") : undefined
        )
      },
      claim: (request) => {
        clock.leases(request.leaseMs)
        return run(
          "claim",
          { ...request, secondMs: JobStore.secondOwnerMs(request.leaseMs) },
          (answer) => listOf<Fields>(answer).map(toClaim)
        )
      },
      start: ({ id, token }) => run("start", { id, token }, (answer) => answer === true),
      renew: (leases, { leaseMs, stalledMs }) =>
        run("renew", { leases: leases.map(({ id, token }) => ({ id, token })), leaseMs, stalledMs }, (answer) => {
          const { cancelled, lost } = answer as { readonly cancelled: unknown; readonly lost: unknown }
          return {
            lost: listOf<JobStore.Lease>(lost),
            cancelled: listOf<JobStore.Lease & { readonly reason?: string }>(cancelled).map((it) => ({
              id: it.id,
              token: it.token,
              reason: it.reason
            }))
          }
        }),
      settle: (settlements) =>
        ending(run(
          "settle",
          {
            settlements: settlements.map((it) => ({
              id: it.id,
              token: it.token,
              _tag: it._tag,
              ...("results" in it ? { results: it.results } : undefined),
              ...("delayMs" in it ? { delayMs: it.delayMs } : undefined),
              ...("failure" in it ? { failure: JSON.stringify(it.failure) } : undefined)
            }))
          },
          (answer) => listOf<boolean>(answer)
        )),
      disown: (workerId, known) => run("disown", { workerId, known }, Number),
      sweep: (flows) =>
        JobStore.bounded(
          "sweep",
          queryMs,
          Effect.gen(function*() {
            const asked = performance.now()
            const swept = yield* sweep(flows, clock.expect(asked))
            yield* clock.check(asked, swept.at, (step, graceMs) => run("right", { step, graceMs }, () => undefined))
            return swept.doubted ? yield* sweep(flows, undefined) : swept
          })
        ),
      list: (filter) =>
        nothing(filter)
          ? Effect.succeed([])
          : run("list", filterOf(filter), (answer) => listOf<Fields>(answer).map(toRecord)),
      ended: (ids) => run("ended", { ids }, (answer) => listOf<string>(answer)),
      cancel: (id, reason) => ending(run("cancel", { id, reason }, (answer) => answer === true)),
      requeue: (filter) => nothing(filter) ? Effect.succeed(0) : run("requeue", filterOf(filter), Number),
      purge: (filter) => nothing(filter) ? Effect.succeed(0) : run("purge", filterOf(filter), Number),
      counts: run("counts", {}, (answer) => {
        const of = answer as Readonly<Record<string, number>>
        const n = (state: string) => Number(of[state] ?? 0)
        return {
          queued: n("ready") + n("delayed"),
          running: n("running"),
          done: n("done"),
          dead: n("dead"),
          cancelled: n("cancelled")
        }
      }),
      watch: (changes, listener) =>
        Effect.gen(function*() {
          const it = { changes, listener }
          yield* Effect.acquireRelease(
            Effect.sync(() => listeners.add(it)),
            () => Effect.sync(() => listeners.delete(it))
          )
          if (!hearing && (changes.includes("ready") || changes.includes("cancel"))) {
            hearing = true
            yield* atOnce(Effect.forkIn(hear, scope))
          }
        })
    }
  }
)

// ----------------------------------------------------------------------------------------------------------- internals

/** Scripts go by the names that Redis gives them: `Redis.eval` would look each up anew, each time. */
const evaluating = (redis: Redis.Redis["Service"], prefix: string) => {
  const names = new Map<Operation, string>()
  const send = (name: string, args: string, after: Effect.Effect<unknown, Redis.RedisError> | undefined) => {
    const evaluated = redis.send<string>("EVALSHA", name, "1", prefix, args)
    return after === undefined ? evaluated : followed(evaluated, after)
  }
  const load = (
    operation: Operation,
    ...rest: readonly [string, Effect.Effect<unknown, Redis.RedisError> | undefined]
  ) =>
    Effect.flatMap(redis.send<string>("SCRIPT", "LOAD", scriptOf(operation)), (name) => {
      names.set(operation, name)
      return send(name, ...rest)
    })
  return (
    operation: Operation,
    args: string,
    after?: Effect.Effect<unknown, Redis.RedisError>
  ): Effect.Effect<string, Redis.RedisError> => {
    const name = names.get(operation)
    return name === undefined ? load(operation, args, after) : Effect.catchIf(
      send(name, args, after),
      (error) => String(error.cause).includes("NOSCRIPT"),
      () => load(operation, args, after)
    )
  }
}

/**
 * Sends the second right after the first, and does not wait for it. Redis answers to clients in the opposite order of that
 * in which it has something for them: who listens for the second hears it before the first is answered, not after.
 */
const followed = <A, E>(first: Effect.Effect<A, E>, second: Effect.Effect<unknown, E>): Effect.Effect<A, E> =>
  Effect.suspend(() => {
    queueMicrotask(() => void Effect.runFork(Effect.ignore(second)))
    return first
  })

/** What Redis answers in words was not carried out; where it did not answer, nobody knows. */
const failed = (name: string, error: Redis.RedisError): JobError => {
  const cause: unknown = error.cause
  const words = cause instanceof Error ? cause.message : String(cause)
  const said =
    /^(?:OOM|READONLY|NOREPLICAS|NOAUTH|NOPERM|LOADING|MISCONF|BUSY|MOVED|ASK|TRYAGAIN|CROSSSLOT|CLUSTERDOWN|MASTERDOWN|WRONGTYPE|ERR)\b/
      .test(words)
  return unavailable(
    name,
    error,
    said ? "no" : "unknown",
    `The job queue's Redis fails at "${name}": ${words.slice(0, 1000)}`,
    /^(?:ERR|WRONGTYPE)\b/.test(words) && !/\b(?:OOM|READONLY|MISCONF|NOREPLICAS|max number)\b/.test(words)
  )
}

/** An empty table of Lua's is an object to JSON. */
const listOf = <A>(answer: unknown): ReadonlyArray<A> => Array.isArray(answer) ? answer : []

const numberOf = (text: string | undefined): number | undefined => text === undefined ? undefined : Number(text)

const jobOf = (row: Fields) => ({
  id: row["id"] ?? "",
  flow: row["flow"] ?? "",
  payload: row["payload"] ?? "",
  tenant: row["tenant"] ?? "",
  topic: row["topic"],
  priority: Number(row["priority"]),
  meta: row["meta"] ?? "{}",
  maxAttempts: Number(row["max_attempts"]),
  timeoutMs: numberOf(row["timeout_ms"]),
  failures: Number(row["failures"]),
  crashes: Number(row["crashes"])
})

const toClaim = (row: Fields): JobStore.Claim => ({
  ...jobOf(row),
  token: Number(row["token"]),
  waitedMs: Math.max(0, Number(row["waited_ms"])),
  alone: row["alone"] === "1"
})

const toRecord = (row: Fields): JobStore.JobRecord => ({
  ...jobOf(row),
  seq: Number(row["seq"]),
  state: row["state"] === "ready" || row["state"] === "delayed" ? "queued" : row["state"] as JobStore.JobState,
  enqueuedAt: Number(row["enqueued_at"]),
  runAt: Number(row["run_at"]),
  startedAt: numberOf(row["started_at"]),
  finishedAt: numberOf(row["finished_at"]),
  workerId: row["worker_id"],
  results: row["results"],
  failure: JobStore.readFailure(row["failure"]),
  cancelReason: row["cancel_reason"]
})

/** What is recorded of a job whose workers died of it, with numbers in it that the server replaces. */
const diedText = (): readonly [string, string, string] => {
  const crashes = 987_654_321
  const attempt = 123_456_789
  return [JSON.stringify(JobStore.workerDied(crashes, attempt)), String(crashes), String(attempt)]
}
