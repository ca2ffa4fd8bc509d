/**
 * A job queue in memory: it forgets everything with the process. For tests, and for development.
 *
 * It keeps every promise of `JobStore` but the first: what it accepts is not on any disk, and no other process sees it.
 * Time is Effect's clock, so that tests run it under `TestClock`.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as JobQueue from "../JobQueue.ts"
import * as JobStore from "../JobStore.ts"

/**
 * A queue that forgets.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as JobQueue from "penguiflow/JobQueue"
 * import * as JobQueueMemory from "penguiflow/layers/JobQueueMemory"
 *
 * const flow = Flow.make("echo", [
 *   Node.make("echo", { input: Schema.String, output: Schema.String, run: (text) => Effect.succeed(text) }).to()
 * ])
 * const program = Effect.gen(function*() {
 *   const queue = yield* JobQueue.JobQueue
 *   yield* queue.enqueue(flow, "hello", { id: "a" })
 *   yield* queue.enqueue(flow, "hello", { id: "a" })
 *   const error = yield* Effect.flip(queue.enqueue(flow, "goodbye", { id: "a" }))
 *   return [(yield* queue.counts).queued, error.code]
 * })
 * await Effect.runPromise(Effect.provide(program, JobQueueMemory.layer())) // => [1, "ID_CONFLICT"]
 * ```
 */
export const layer = (limits?: JobQueue.Limits): Layer.Layer<JobQueue.JobQueue> =>
  Layer.effect(JobQueue.JobQueue, Effect.suspend(() => JobQueue.make(makeStore(), limits)))

// ----------------------------------------------------------------------------------------------------------- internals

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

interface Row extends Mutable<JobStore.JobRecord> {
  token: number
  alone: boolean
  started: boolean
  leaseUntil: number
  /** In the order of its tenant; else it waits for its time, runs, or has ended. */
  ready: boolean
  cancelling: boolean
}

const before = (a: Row, b: Row): boolean => a.priority > b.priority || a.priority === b.priority && a.seq < b.seq

/** Where a row stands, or would stand, in the order. */
const placeOf = (rows: ReadonlyArray<Row>, row: Row): number => {
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (before(rows[middle]!, row)) low = middle + 1
    else high = middle
  }
  return low
}

/** The jobs of one flow that may start, by tenant. */
type Lanes = Map<string, Array<Row>>

/** A store in memory. */
export const makeStore = (): JobStore.JobStore => {
  const rows = new Map<string, Row>()
  const lanes = new Map<string, Lanes>()
  const delayed = new Set<Row>()
  const running = new Set<Row>()
  const listeners = new Set<(change: JobStore.Change) => void>()
  let seq = 0

  const tell = (change: JobStore.Change) => {
    for (const listener of listeners) listener(change)
  }
  /** The time of day when the store was first asked, and what has gone by since: a wall clock may be set. */
  let origin: number | undefined
  const at = <A>(f: (now: number) => A) =>
    Effect.clockWith((clock) =>
      Effect.sync(() => {
        const gone = Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
        origin ??= clock.currentTimeMillisUnsafe() - gone
        return f(origin + gone)
      })
    )

  const queue = (row: Row, runAt: number, now: number) => {
    row.state = "queued"
    row.runAt = runAt
    row.workerId = undefined
    if (runAt > now) delayed.add(row)
    else {
      row.ready = true
      const flow = lanes.get(row.flow) ?? new Map()
      lanes.set(row.flow, flow)
      const lane = flow.get(row.tenant) ?? []
      flow.set(row.tenant, lane)
      lane.splice(placeOf(lane, row), 0, row)
    }
    tell("ready")
  }
  const leave = (row: Row) => {
    delayed.delete(row)
    running.delete(row)
    if (!row.ready) return
    row.ready = false
    const lane = lanes.get(row.flow)?.get(row.tenant)
    if (lane === undefined) return
    lane.splice(placeOf(lane, row), 1)
    if (lane.length === 0) lanes.get(row.flow)?.delete(row.tenant)
  }
  const end = (row: Row, state: JobStore.JobState, now: number, failure?: JobStore.Failure) => {
    leave(row)
    row.state = state
    row.finishedAt = now
    if (failure !== undefined) row.failure = failure
    tell("ended")
  }
  const held = ({ id, token }: JobStore.Lease): Row | undefined => {
    const row = rows.get(id)
    return row !== undefined && row.state === "running" && row.token === token ? row : undefined
  }
  const runningOf = (tenant: string): number => {
    let count = 0
    for (const row of running) if (row.tenant === tenant) count++
    return count
  }
  const matches = (filter: JobStore.Filter) => {
    const ids = filter.ids === undefined ? undefined : new Set(filter.ids)
    return (row: Row) =>
      (ids === undefined || ids.has(row.id)) &&
      (filter.states === undefined || filter.states.includes(row.state)) &&
      (filter.flow === undefined || row.flow === filter.flow) &&
      (filter.tenant === undefined || row.tenant === filter.tenant) &&
      (filter.finishedBefore === undefined || row.finishedAt !== undefined && row.finishedAt < filter.finishedBefore) &&
      (filter.afterSeq === undefined || row.seq > filter.afterSeq)
  }
  const find = (filter: JobStore.Filter): Array<Row> => {
    const match = matches(filter)
    const found: Array<Row> = []
    const among = filter.ids === undefined ? rows.values() : filter.ids.flatMap((id) => rows.get(id) ?? [])
    for (const row of among) {
      if (found.length >= filter.limit) break
      if (match(row)) found.push(row)
    }
    return filter.ids === undefined ? found : found.sort((a, b) => a.seq - b.seq)
  }

  return {
    enqueue: (jobs, { maxLength, taker: wanted }) =>
      at((now) => {
        const taker = JobStore.mayBeTaken(jobs) ? wanted : undefined
        const answers = jobs.map((job): JobStore.Stored => {
          const known = rows.get(job.id)
          return known === undefined
            ? "created"
            : known.flow === job.flow && known.payload === job.payload
            ? "same"
            : "conflict"
        })
        if (answers.includes("conflict")) return answers
        const waiting = rows.size === 0 ? 0 : delayed.size + countReady(lanes)
        const fresh = jobs.filter((_, index) => answers[index] === "created")
        if (waiting + fresh.length > maxLength && fresh.length > 0) {
          return answers.map((answer) => answer === "created" ? "full" : answer)
        }
        for (const { delayMs, ...job } of fresh) {
          const row: Row = {
            ...job,
            seq: ++seq,
            state: "queued",
            failures: 0,
            crashes: 0,
            enqueuedAt: now,
            runAt: now,
            startedAt: undefined,
            finishedAt: undefined,
            workerId: undefined,
            results: undefined,
            failure: undefined,
            cancelReason: undefined,
            token: 0,
            alone: false,
            started: false,
            leaseUntil: 0,
            ready: false,
            cancelling: false
          }
          rows.set(job.id, row)
          if (taker === undefined) queue(row, now + delayMs, now)
          else {
            row.state = "running"
            row.token = 1
            row.started = true
            row.startedAt = now
            row.workerId = taker.workerId
            row.leaseUntil = now + taker.leaseMs
            running.add(row)
          }
        }
        return taker === undefined ? answers : answers.map((answer) => answer === "created" ? "taken" : answer)
      }),

    claim: (request) =>
      at((now) => {
        const claims: Array<Row> = []
        const left = new Map<string, number>()
        const tenants = new Set<string>()
        for (const flow of request.flows) for (const tenant of lanes.get(flow)?.keys() ?? []) tenants.add(tenant)
        const order = [...tenants]
          .filter((tenant) => tenant > request.after && !request.without.includes(tenant))
          .sort((a, b) => a < b ? -1 : 1)
          .slice(0, request.limit)
        const takers = order.map((tenant) => {
          left.set(tenant, request.tenantLimit === undefined ? Infinity : request.tenantLimit - runningOf(tenant))
          return { tenant, heads: request.flows.map((flow) => ({ lane: lanes.get(flow)?.get(tenant) ?? [], next: 0 })) }
        })
        for (let found = true; found && claims.length < request.limit;) {
          found = false
          for (const { heads, tenant } of takers) {
            if (claims.length >= request.limit || left.get(tenant)! <= 0) continue
            let best: (typeof heads)[number] | undefined
            for (const head of heads) {
              const row = head.lane[head.next]
              if (row !== undefined && (best === undefined || before(row, best.lane[best.next]!))) best = head
            }
            if (best === undefined) continue
            claims.push(best.lane[best.next++]!)
            left.set(tenant, left.get(tenant)! - 1)
            found = true
          }
        }
        return claims.map((row): JobStore.Claim => {
          leave(row)
          running.add(row)
          row.state = "running"
          row.token++
          row.alone = JobStore.suspect(row.crashes, row.maxAttempts)
          row.started = !row.alone
          row.startedAt = now
          row.workerId = request.workerId
          row.leaseUntil = now + request.leaseMs + (row.crashes > 0 ? JobStore.secondOwnerMs(request.leaseMs) : 0)
          return { ...row, waitedMs: Math.max(0, now - row.runAt) }
        })
      }),

    start: (lease) =>
      at((now) => {
        const row = held(lease)
        if (row === undefined) return false
        row.started = true
        row.startedAt = now
        return true
      }),

    renew: (leases, { leaseMs, stalledMs }) =>
      at((now) => {
        const lost: Array<JobStore.Lease> = []
        const cancelled: Array<JobStore.Lease & { readonly reason: string | undefined }> = []
        for (const lease of leases) {
          const row = held(lease)
          if (row === undefined) {
            lost.push(lease)
            const taken = rows.get(lease.id)
            if (stalledMs > 0 && taken?.state === "running" && taken.startedAt !== undefined) {
              taken.leaseUntil = Math.max(taken.leaseUntil, taken.startedAt + stalledMs + leaseMs)
            }
            continue
          }
          row.leaseUntil = Math.max(row.leaseUntil, now + leaseMs)
          if (row.cancelling) cancelled.push({ ...lease, reason: row.cancelReason })
        }
        return { lost, cancelled }
      }),

    settle: (settlements) =>
      at((now) =>
        settlements.map((settlement) => {
          const row = held(settlement)
          if (row === undefined) {
            const known = rows.get(settlement.id)
            return known !== undefined && known.token === settlement.token
          }
          switch (settlement._tag) {
            case "Done":
              row.results = settlement.results
              end(row, "done", now)
              break
            case "Retry":
              row.failures++
              row.failure = settlement.failure
              if (row.cancelling) end(row, "cancelled", now)
              else {
                leave(row)
                queue(row, now + settlement.delayMs, now)
              }
              break
            case "Dead":
              row.failures++
              end(row, "dead", now, settlement.failure)
              break
            case "Cancelled":
              end(row, "cancelled", now, settlement.failure)
              break
            case "Returned":
              if (row.cancelling) end(row, "cancelled", now)
              else {
                leave(row)
                queue(row, now + settlement.delayMs, now)
              }
          }
          return true
        })
      ),

    disown: (workerId, known) =>
      at((now) => {
        const own = [...running].filter((row) => row.workerId === workerId && !known.includes(row.id))
        for (const row of own) {
          leave(row)
          row.token++
          queue(row, now, now)
        }
        return own.length
      }),

    sweep: (flows) =>
      at((now) => {
        for (const row of delayed) {
          if (row.runAt > now) continue
          leave(row)
          queue(row, row.runAt, now)
        }
        const recovered: Array<string> = []
        const dead: Array<string> = []
        for (const row of running) {
          if (row.leaseUntil > now) continue
          leave(row)
          row.token++
          if (row.started) row.crashes++
          if (row.cancelling) end(row, "cancelled", now)
          else if (row.started && JobStore.condemned(row.crashes, row.maxAttempts, row.alone)) {
            end(row, "dead", now, JobStore.workerDied(row.crashes, row.failures + row.crashes))
            dead.push(row.id)
          } else {
            queue(row, now, now)
            recovered.push(row.id)
          }
        }
        let next = Infinity
        for (const row of delayed) next = Math.min(next, row.runAt)
        for (const row of running) next = Math.min(next, row.leaseUntil)
        return {
          recovered,
          dead,
          ready: flows.some((flow) => (lanes.get(flow)?.size ?? 0) > 0),
          nextMs: next === Infinity ? undefined : Math.max(0, next - now)
        }
      }),

    list: (filter) => Effect.sync(() => find(filter).map((row) => ({ ...row }))),

    ended: (ids) =>
      Effect.sync(() =>
        ids.filter((id) => {
          const state = rows.get(id)?.state
          return state !== "queued" && state !== "running"
        })
      ),

    cancel: (id, reason) =>
      at((now) => {
        const row = rows.get(id)
        if (row === undefined || row.state !== "queued" && row.state !== "running") return false
        if (row.cancelling) return true
        row.cancelReason = reason
        if (row.state === "queued") end(row, "cancelled", now)
        else {
          row.cancelling = true
          tell("cancel")
        }
        return true
      }),

    requeue: (filter) =>
      at((now) => {
        const found = find(filter)
        for (const row of found) {
          row.failures = row.crashes = 0
          row.cancelling = false
          row.alone = false
          row.cancelReason = row.finishedAt = row.startedAt = undefined
          queue(row, now, now)
        }
        return found.length
      }),

    purge: (filter) =>
      Effect.sync(() => {
        const found = find(filter)
        for (const row of found) {
          leave(row)
          rows.delete(row.id)
        }
        return found.length
      }),

    counts: Effect.sync(() => {
      const counts = { queued: 0, running: 0, done: 0, dead: 0, cancelled: 0 }
      for (const row of rows.values()) counts[row.state]++
      return counts
    }),

    watch: (changes, listener) =>
      Effect.asVoid(Effect.acquireRelease(
        Effect.sync(() => {
          const heard = (change: JobStore.Change) => {
            if (changes.includes(change)) listener(change)
          }
          listeners.add(heard)
          return heard
        }),
        (heard) => Effect.sync(() => listeners.delete(heard))
      ))
  }
}

const countReady = (lanes: ReadonlyMap<string, Lanes>): number => {
  let count = 0
  for (const flow of lanes.values()) for (const lane of flow.values()) count += lane.length
  return count
}
