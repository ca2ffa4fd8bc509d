/**
 * A worker, at work: it takes jobs, runs each as a trace, keeps their leases, and records how they ended.
 *
 * Three loops: one takes, one renews, one records. Each survives whatever the store does; none waits for another. A job's
 * way through the rooms: `taking` (or `receiving`) → `running` → `judging` → `recording`, with `leasing` beside it, and `leaving` at the
 * worker's end. All of them work on one `state`, and ask the store by way of `asking`.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Change, JobStore } from "../../JobStore.ts"
import type { WorkerEvent } from "../../WorkerEvent.ts"
import type { Receiver } from "./handing.ts"
import { renewing } from "./worker/leasing.ts"
import { drain, type Drained, mayCome } from "./worker/leaving.ts"
import { receiving } from "./worker/receiving.ts"
import { recording } from "./worker/recording.ts"
import { type Phase, type Runner, type Settings, WorkerState } from "./worker/state.ts"
import { taking } from "./worker/taking.ts"

export type { Runner, Settings } from "./worker/state.ts"

export interface WorkerCore {
  /** Each to be run in a fiber of its own. */
  readonly loops: ReadonlyArray<Effect.Effect<void>>
  /** For what is enqueued in this process. */
  readonly receiver: Receiver
  readonly phase: () => Phase
  /** Jobs it holds. */
  readonly size: () => number
  /** Whether the store answered last time. */
  readonly available: () => boolean
  /** Wakes the loops: somebody else changed something. */
  readonly changed: (change: Change) => void
  /** Again: the same answer. */
  readonly shutdown: (grace: number) => Effect.Effect<Drained>
}

export const makeCore = (
  store: JobStore,
  runners: ReadonlyMap<string, Runner>,
  settings: Settings,
  context: Context.Context<never>,
  publish: (event: WorkerEvent) => void,
  heard: () => boolean
): WorkerCore => {
  const worker = new WorkerState(store, runners, settings, context, publish, heard)
  let ending: Fiber.Fiber<Drained> | undefined
  return {
    loops: [taking(worker), renewing(worker), recording(worker)],
    receiver: receiving(worker),
    phase: () => worker.phase,
    size: () => worker.jobs.size,
    available: () => worker.asking.available,
    changed: (change) => {
      if (change === "ready") {
        worker.mayWait = true
        worker.taking.ring()
      } else if (change === "cancel" && (worker.jobs.size > 0 || mayCome(worker))) {
        worker.cancelAsked = true
        worker.renewing.ring()
      }
    },
    shutdown: (grace) =>
      Effect.suspend(() => {
        ending ??= Effect.runForkWith(context)(drain(worker, grace))
        return Fiber.join(ending)
      })
  }
}
