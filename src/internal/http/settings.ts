/** The options of a server, with their defaults. */
import type * as Duration from "effect/Duration"
import type { BodyLimits } from "./body.ts"
import type { RunningOptions } from "./running.ts"
import type { ReaderLimits } from "./sse.ts"
import type { StreamLimits } from "./streams.ts"

/** How flows are served. */
export interface Options {
  /** Shown in `GET /api/flows` and in the OpenAPI document. */
  readonly version?: string | undefined
  /** Of a request, in bytes; default 1 MiB. What is larger is refused before it is taken in. */
  readonly maxBody?: number | undefined
  /** How long a body may take to come; default 15 seconds. */
  readonly bodyTimeout?: Duration.Input | undefined
  /** The longest that a trace may take which is asked for here, whatever the request says; default 10 minutes. */
  readonly maxDeadline?: Duration.Input | undefined
  /** Of each flow: traces that run at once, and traces that wait for that; beyond them 429. Default 64 and 256. */
  readonly maxInFlight?: number | undefined
  readonly maxWaiting?: number | undefined
  /** See `FlowRuntime.Options`. */
  readonly interruptGrace?: Duration.Input | undefined
  /** How often a stream says that it is still there; default 15 seconds. */
  readonly heartbeat?: Duration.Input | undefined
  /** How long the reader of a stream may take nothing before it is let go; default 30 seconds. */
  readonly stallTimeout?: Duration.Input | undefined
  /** Streams that are read at once; beyond them 429. Default 512. */
  readonly maxReaders?: number | undefined
  /** Events that are kept for readers that come back; default 4096. */
  readonly eventBuffer?: number | undefined
  /** Of a stream, parts and results that are kept: for a slow reader, and for one that comes back. Default 1024. */
  readonly streamBuffer?: number | undefined
  /** How long a detached stream can be resumed after its end; default 1 minute. */
  readonly streamRetention?: Duration.Input | undefined
  /** Detached streams that are kept at once, the oldest that have ended giving way; beyond them 429. Default 256. */
  readonly maxDetached?: number | undefined
  /** Serves addresses that others can reach although there is no `Auth`. Default false. */
  readonly allowUnauthenticated?: boolean | undefined
  /**
   * Names, without a port, that a request's `Host` may have besides those of this machine; `"any"` checks none. Default:
   * none besides, and any where there is `Auth` and the address is not loopback.
   */
  readonly hosts?: "any" | ReadonlyArray<string> | undefined
  /** Origins of pages elsewhere that may send requests and read answers: `["https://example.org"]`. Default none. */
  readonly origins?: ReadonlyArray<string> | undefined
  /** Names of migrations whose reports are served, where a `Migration.Reports` is there. Default none. */
  readonly migrations?: ReadonlyArray<string> | undefined
  /** Between saying "draining" at `/readyz` and refusing new work, for those who look there; default 0. */
  readonly drainDelay?: Duration.Input | undefined
}

/** The same, all of it. */
export interface Settings extends BodyLimits, RunningOptions, ReaderLimits, StreamLimits {
  readonly version: string | undefined
  readonly maxDeadline: Duration.Input
  readonly eventBuffer: number
  readonly allowUnauthenticated: boolean
  readonly hosts: Options["hosts"]
  readonly origins: ReadonlyArray<string>
  readonly migrations: ReadonlyArray<string>
  readonly drainDelay: Duration.Input
}

export const settingsOf = (options: Options): Settings => ({
  version: options.version,
  maxBody: options.maxBody ?? 1024 * 1024,
  bodyTimeout: options.bodyTimeout ?? "15 seconds",
  maxDeadline: options.maxDeadline ?? "10 minutes",
  maxInFlight: options.maxInFlight ?? 64,
  maxWaiting: options.maxWaiting ?? 256,
  interruptGrace: options.interruptGrace,
  heartbeat: options.heartbeat ?? "15 seconds",
  stallTimeout: options.stallTimeout ?? "30 seconds",
  maxReaders: options.maxReaders ?? 512,
  eventBuffer: options.eventBuffer ?? 4096,
  streamBuffer: options.streamBuffer ?? 1024,
  streamRetention: options.streamRetention ?? "1 minute",
  maxDetached: options.maxDetached ?? 256,
  allowUnauthenticated: options.allowUnauthenticated ?? false,
  hosts: options.hosts,
  origins: options.origins ?? [],
  migrations: options.migrations ?? [],
  drainDelay: options.drainDelay ?? 0
})
