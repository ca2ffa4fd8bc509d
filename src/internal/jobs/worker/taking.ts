/** Taking jobs: as many as there are places for, of each tenant in turn, and those of workers that fell silent. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { JobError } from "../../../JobError.ts"
import { type Claim, tenantsAtOnce } from "../../../JobStore.ts"
import { forever } from "./asking.ts"
import { lose } from "./leasing.ts"
import { begin, pump, stop } from "./running.ts"
import type { Running, WorkerState } from "./state.ts"

/** Jobs that take a millisecond at most are claimed ahead: as many as are done in so many, up to so many. */
const aheadMs = 10
const mostAhead = 1000
/** How long they wait where none of those that run ends. */
const patientMs = 100
/** Jobs in one claim: while they run, the store looks for the next. */
const mostAtOnce = 500

/** The loop that claims. */
export const taking = (worker: WorkerState): Effect.Effect<void> => {
  const { asking, store } = worker
  const { concurrency, id, lease, poll, tenantConcurrency } = worker.settings
  let after = ""
  let sweepAt = -Infinity
  /** Claims in a row that brought nothing. */
  let vain = 0
  const claim = (limit: number) =>
    asking.ask(
      "claim",
      store.claim({
        workerId: id,
        flows: worker.flows,
        limit,
        leaseMs: lease,
        after,
        without: overTheirRate(worker),
        tenantLimit: tenantConcurrency
      })
    )
  const step = Effect.gen(function*() {
    if (worker.phase !== "Running") return yield* worker.taking.wait
    giveBack(worker)
    const held = heldIn(worker)
    if (held !== undefined) return yield* startHeld(worker, held)
    if (placesFree(worker) <= 0) {
      pump(worker)
      return yield* worker.taking.wait
    }
    if (worker.lostClaim) {
      // What is being stored for it may be there by now, and is not to be given back.
      if (worker.promised > 0) return yield* worker.taking.wait
      const back = yield* asking.ask("disown", store.disown(id, [...worker.jobs.keys()]))
      worker.lostClaim = false
      worker.mayWait ||= back > 0
    }
    if (worker.now() >= sweepAt) {
      const swept = yield* asking.ask("sweep", store.sweep(worker.flows))
      // Jitter: many workers are not to ask at once.
      sweepAt = worker.now() + Math.min(poll * (0.8 + Math.random() * 0.4), Math.max(10, swept.nextMs ?? Infinity))
      if (swept.recovered.length > 0 || swept.dead.length > 0) yield* tookBack(worker, swept.recovered, swept.dead)
      worker.mayWait ||= swept.ready
    }
    const limit = atOnce(worker, placesFree(worker))
    if (worker.mayWait && limit > 0) {
      worker.mayWait = false
      const asked = worker.now()
      worker.claiming = true
      // Few of them begin sooner than the next are asked for.
      const few = worker.ahead.length <= concurrency
      if (few) pump(worker)
      const exit = yield* few ? Effect.exit(claim(limit)) : meanwhile(worker, claim(limit))
      worker.claiming = false
      if (exit._tag === "Failure") {
        worker.emptied.ring()
        worker.lostClaim = true
        worker.mayWait = true
        return yield* Effect.failCause(exit.cause)
      }
      const claims = exit.value
      const came = worker.nowExactly()
      for (const one of claims) take(worker, one, asked, came)
      if (claims.length <= concurrency) pump(worker)
      if (worker.jobs.size === 0) worker.emptied.ring()
      vain = claims.length === 0 ? vain + 1 : 0
      const wrapped = after !== "" && claims.length < limit
      // The turn is over: a tenant that got two has seen all others in between, and so has a claim with room left.
      const tenants = new Set(claims.map(({ tenant }) => tenant)).size
      const someLeft = claims.length === limit || tenantConcurrency !== undefined || tenants > tenantsAtOnce / 2
      const allSeen = tenants < claims.length && tenants < tenantsAtOnce || !someLeft
      after = wrapped || allSeen ? "" : lastTenant(claims, after)
      worker.mayWait ||= wrapped || claims.length === limit || claims.length > concurrency
      if (worker.mayWait && placesFree(worker) > 0 || claims.some(({ alone }) => alone)) return
    }
    pump(worker)
    yield* worker.taking.waitFor(Math.max(1, Math.min(sweepAt - worker.now(), poll)))
    if (worker.mayWait && vain > fewVain) yield* Effect.sleep(Duration.millis(Math.random() * hesitation(vain, poll)))
  })
  return forever(worker, step, worker.taking)
}

// ----------------------------------------------------------------------------------------------------------- internals

/**
 * One job wakes everybody, and a hundred workers would ask for it at once. Who came too late again and again waits for a
 * random time: the first of many is still quick, and what it takes the others do not ask for.
 */
const hesitation = (vain: number, poll: number): number => Math.min(poll / 2, 5 * 2 ** Math.min(vain, 16))
const fewVain = 3

/** Places that nobody has, and that nothing that is suspected of killing its process keeps empty. */
export const placesFree = (worker: WorkerState): number => {
  const { concurrency } = worker.settings
  for (const job of worker.jobs.values()) if (job.stage === "Held" || job.claim.alone) return 0
  const places = concurrency + placesAhead(worker)
  // Outcomes that wait for the store take room too, or a store that only reads would let them pile up.
  const free = Math.min(places - worker.busy - worker.promised - worker.ahead.length, 2 * places - worker.jobs.size)
  // Ahead, jobs are claimed by the hundred or not at all.
  return places > concurrency && free < places / 4 && worker.jobs.size > 0 ? 0 : free
}

/** All places are taken by jobs that take longer than those before them: what was claimed ahead would wait for their end. */
const isStuck = (worker: WorkerState, forMs: number): boolean =>
  worker.busy >= worker.settings.concurrency && worker.nowExactly() - worker.movedAt > forMs

/** What was claimed ahead and does not get on goes back: another worker may be idle. */
const giveBack = (worker: WorkerState): void => {
  if (worker.ahead.length === 0 || !isStuck(worker, patientMs)) return
  for (const job of worker.ahead.splice(0)) if (job.stage === "Waiting") stop(worker, job, { _tag: "Shutdown" })
}

const placesAhead = (worker: WorkerState): number => {
  const { pace, settings } = worker
  return pace > 1 || isStuck(worker, aheadMs)
    ? 0
    : Math.min(mostAhead, Math.floor(settings.concurrency * aheadMs / Math.max(0.1, pace)))
}

const atOnce = ({ settings }: WorkerState, free: number): number =>
  free <= settings.concurrency ? free : Math.min(free, Math.max(settings.concurrency, mostAtOnce))

/** What the last claim brought begins while the store answers to this one. */
const meanwhile = <A>(worker: WorkerState, claim: Effect.Effect<A, JobError>): Effect.Effect<Exit.Exit<A, JobError>> =>
  Effect.flatMap(Effect.forkChild(claim, { startImmediately: true }), (claiming) => {
    pump(worker)
    return Fiber.await(claiming)
  })

/** Tenants that are over their rate. */
const overTheirRate = (worker: WorkerState): ReadonlyArray<string> => {
  if (worker.limited.size === 0) return []
  const now = worker.now()
  for (const [tenant, until] of worker.limited) if (until <= now) worker.limited.delete(tenant)
  return [...worker.limited.keys()]
}

const tookBack = (
  worker: WorkerState,
  recovered: ReadonlyArray<string>,
  dead: ReadonlyArray<string>
): Effect.Effect<void> => {
  worker.publish({ _tag: "LeasesExpired", at: worker.clock.currentTimeMillisUnsafe(), recovered, dead })
  const all = recovered.length + dead.length
  return Effect.logWarning(
    `worker ${worker.settings.id}: ${all} ${
      all === 1 ? "job" : "jobs"
    } of silent workers taken back, ${dead.length} of them dead`
  )
}

/** A claim has come. */
export const take = (worker: WorkerState, claim: Claim, asked: number, came: number): Running => {
  const known = worker.jobs.get(claim.id)
  const job: Running = {
    claim,
    stage: claim.alone ? "Held" : "Waiting",
    stop: undefined,
    renewedAt: asked,
    startedAt: came,
    timer: undefined
  }
  if (known !== undefined) lose(worker, known)
  worker.jobs.set(claim.id, job)
  // Not in this step: the job begins first.
  if (worker.jobs.size === 1) queueMicrotask(worker.renewing.ring)
  if (worker.phase !== "Running") stop(worker, job, { _tag: "Shutdown" })
  else if (job.stage === "Waiting") worker.ahead.push(job)
  return job
}

/** A suspect runs with nobody beside it: once all others have ended, and none is about to come. */
const heldIn = (worker: WorkerState): Running | undefined => {
  if (worker.promised > 0) return undefined
  let held: Running | undefined
  for (const job of worker.jobs.values()) {
    if (job.stage === "Running" || job.stage === "Waiting") return undefined
    if (job.stage === "Held") held ??= job
  }
  return held
}

const startHeld = (worker: WorkerState, held: Running): Effect.Effect<void, JobError> =>
  Effect.map(worker.asking.ask("start", worker.store.start(held.claim)), (began) => {
    if (held.stage !== "Held") return
    if (began) begin(worker, held)
    else lose(worker, held)
  })

/** Of the first job of each tenant, the tenant that comes last in order: the next claim begins after it. */
const lastTenant = (claims: ReadonlyArray<Claim>, after: string): string => {
  let last = after
  for (const { tenant } of claims) if (tenant > last) last = tenant
  return last
}
