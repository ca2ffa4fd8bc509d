/** What a worker did, or met with, in the past tense. */

interface OfJob {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly jobId: string
  readonly flow: string
  readonly tenant: string
  /** From 1. */
  readonly attempt: number
}
interface OfEnd extends OfJob {
  readonly durationMs: number
}

/** What a worker did, or met with. Nodes and traces have events of their own: `FlowObserver`. */
export type WorkerEvent =
  /** `waitedMs`: from when it might have started until it did. */
  | OfJob & { readonly _tag: "JobStarted"; readonly waitedMs: number }
  | OfEnd & { readonly _tag: "JobSucceeded" }
  /** It failed, and will be tried again after `delayMs`. */
  | OfEnd & {
    readonly _tag: "JobRetried"
    readonly delayMs: number
    readonly code: string
    readonly message: string
  }
  /** It failed, and will not be tried again. */
  | OfEnd & { readonly _tag: "JobDied"; readonly code: string; readonly message: string }
  | OfEnd & { readonly _tag: "JobCancelled" }
  /** It goes back to the queue as if it had not been tried: a shutdown, or a rate that is used up. */
  | OfEnd & { readonly _tag: "JobReturned"; readonly delayMs: number }
  /** Somebody else has the job, or may have it: it is interrupted here, and its outcome is not recorded. */
  | OfJob & { readonly _tag: "LeaseLost" }
  /** This worker found jobs whose workers were silent for longer than their leases. */
  | {
    readonly _tag: "LeasesExpired"
    readonly at: number
    readonly recovered: ReadonlyArray<string>
    readonly dead: ReadonlyArray<string>
  }
  | { readonly _tag: "QueueFailed"; readonly at: number; readonly operation: string; readonly message: string }
  | { readonly _tag: "QueueRecovered"; readonly at: number; readonly downMs: number; readonly failures: number }
