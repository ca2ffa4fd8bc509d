/** What `penguiflow worker` does: it lives until a signal ends it, and ends in time, whatever the queue does. */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as FlowCli from "../FlowCli.ts"
import { JobQueue, type Service as JobQueueService } from "../JobQueue.ts"
import * as Worker from "../Worker.ts"
import { refused } from "./answer.ts"
import type * as Commands from "./commands/worker.ts"
import { loadAll, type Loaded, orEnd } from "./exports.ts"
import { built, living, type Scopes } from "./living.ts"
import * as Places from "./places.ts"
import { count, lasting } from "./table.ts"

/** Flows of several modules, with what all of them need. */
export interface Program {
  readonly flows: ReadonlyArray<Loaded["flow"]>
  readonly layer: Loaded["layer"]
  /** What is to be said where no module exports a layer: easily forgotten, and of no matter to flows that need nothing. */
  readonly notice: string
}

/** The flows of all modules: one worker takes the jobs of them all. */
export const programOf: (
  asked: Pick<Commands.Asked, "modules" | "flow" | "layer" | "debug">
) => Effect.Effect<Program, FlowCli.Ended> = Effect.fnUntraced(function*(asked) {
  const flows = new Map<string, Loaded["flow"]>()
  let layer: Loaded["layer"] = Layer.empty
  let layers = false
  for (const module of asked.modules) {
    const names = { flows: asked.flow, layer: Option.getOrUndefined(asked.layer) }
    const loaded = yield* orEnd(loadAll(module, names), asked.debug)
    for (const flow of loaded.flows) {
      const other = flows.get(flow.name)
      if (other !== undefined && other !== flow) {
        return yield* refused(`${module}: two flows are called ${JSON.stringify(flow.name)}: rename one, or say --flow`)
      }
      flows.set(flow.name, flow)
    }
    layers ||= loaded.layer !== Layer.empty
    layer = Layer.merge(layer, loaded.layer)
  }
  const notice = layers ? "" : `No layer is exported by ${asked.modules.join(", ")}: nodes get no services.`
  const program: Program = { flows: [...flows.values()], layer, notice }
  return program
})

/** What a worker is told. */
export const optionsOf = (asked: Commands.Working, name: string): Worker.Options => ({
  name,
  concurrency: asked.concurrency,
  lease: asked.lease,
  jobTimeout: Option.getOrUndefined(asked.jobTimeout),
  grace: asked.grace,
  tenantConcurrency: Option.getOrUndefined(asked.tenantConcurrency)
})

/** Tells of each job that ended, in the log, until the worker has shut down. What the queue does, it tells itself. */
const telling = (worker: Worker.Service): Effect.Effect<void> =>
  Stream.runForEach(worker.events, (event) => {
    switch (event._tag) {
      case "JobStarted":
        return Effect.logDebug(`job ${event.jobId} of ${event.flow} began, try ${event.attempt}`)
      case "JobSucceeded":
        return Effect.logInfo(`job ${event.jobId} of ${event.flow} is done after ${lasting(event.durationMs)}`)
      case "JobRetried":
        return Effect.logWarning(
          `job ${event.jobId} of ${event.flow} failed, try ${event.attempt}, and is tried again in ${
            lasting(event.delayMs)
          }: ${event.code}: ${FlowCli.oneLine(event.message)}`
        )
      case "JobDied":
        return Effect.logError(
          `job ${event.jobId} of ${event.flow} is dead, try ${event.attempt}: ${event.code}: ${
            FlowCli.oneLine(event.message)
          }`
        )
      case "JobCancelled":
        return Effect.logInfo(`job ${event.jobId} of ${event.flow} was cancelled`)
      case "JobReturned":
        return Effect.logInfo(`job ${event.jobId} of ${event.flow} goes back to the queue`)
      case "LeaseLost":
        return Effect.logWarning(`job ${event.jobId} of ${event.flow} was lost: another worker has it, or may have it`)
      // What the worker tells itself.
      case "LeasesExpired":
      case "QueueFailed":
      case "QueueRecovered":
        return Effect.void
    }
  })

/** A worker, and the fiber that tells of its jobs. */
export interface Held {
  readonly worker: Worker.Service
  readonly telling: Fiber.Fiber<void>
}

/** Tells of a worker's jobs for as long as the scope lives: also while the worker shuts down. */
export const told = (worker: Worker.Service, scope: Scope.Scope): Effect.Effect<Held> =>
  Effect.map(Effect.forkIn(telling(worker), scope, { startImmediately: true }), (telling) => ({ worker, telling }))

/** Takes no more jobs, and tells what became of those that ran. */
export const shutDown = (held: Held | undefined, grace: Duration.Duration): Effect.Effect<void> =>
  held === undefined ? Effect.void : Effect.gen(function*() {
    const { abandoned, drained, returned } = yield* held.worker.shutdown({ grace })
    // A log that takes no more lines is no reason to stay.
    yield* Effect.timeoutOption(Fiber.await(held.telling), "200 millis")
    yield* FlowCli.say(
      `Shut down: ${count(drained, "job")} ended, ${returned.length} returned to the queue, ${abandoned.length} ` +
        "left to their leases."
    )
  })

/** A queue that will never take a program as old as this one is said so; one that is away is waited for. */
export const usable = (queue: JobQueueService): Effect.Effect<void, FlowCli.Ended> =>
  Effect.catch(
    Effect.asVoid(queue.get("-")),
    ({ message, reason }) =>
      reason._tag === "QueueUnavailable" && reason.refused === true
        ? refused(`the queue can't be used: ${FlowCli.oneLine(message)}`)
        : Effect.void
  )

/** Where traces are kept, if they are to be: beside the jobs. */
const tracesOf = (
  asked: Commands.Asked,
  place: Places.Place,
  waiting: (why: string) => Effect.Effect<void>
): Layer.Layer<never, unknown> => {
  if (!asked.traces || place._tag === "Redis") return Layer.empty
  return Layer.unwrap(Effect.map(
    Effect.promise(() => import("../layers/TraceStoreSql.ts")),
    (it) => it.layer().pipe(Layer.provide(Places.sql(place, waiting)))
  ))
}

/** Runs until a signal comes. */
export const worker = (asked: Commands.Asked): Effect.Effect<void, FlowCli.Ended> =>
  Effect.suspend(() => {
    let held: Held | undefined
    const start = Effect.fnUntraced(function*({ own, theirs }: Scopes) {
      const program = yield* programOf(asked)
      const place = yield* Effect.catch(Places.queueOf(asked, { create: true }), ({ message }) => refused(message))
      const services = yield* built("the layer of the flows can't be built", program.layer, theirs, asked)
      const waiting = (why: string) => FlowCli.say(`The queue is not there yet, trying again: ${why}`)
      const queue = yield* built("the queue can't be used", Places.queue(place, asked.queue, waiting), own, asked)
      yield* usable(Context.get(queue, JobQueue))
      const traces = yield* built("traces can't be kept", tracesOf(asked, place, waiting), own, asked)
      const taking = yield* Worker.make(program.flows, optionsOf(asked, asked.name)).pipe(
        Effect.provideContext(Context.mergeAll(services, queue, traces) as Context.Context<JobQueue>),
        Scope.provide(own)
      )
      const names = program.flows.map((flow) => flow.name).join(", ")
      yield* FlowCli.say(`${taking.id} takes jobs of ${names} from ${place.shown}, ${asked.concurrency} at once.`)
      if (program.notice !== "") yield* FlowCli.say(program.notice)
      held = yield* told(taking, own)
    })
    return living(asked.grace, start, Effect.suspend(() => shutDown(held, asked.grace)))
  })
