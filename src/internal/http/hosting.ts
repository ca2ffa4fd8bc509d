/** What the handlers of one server share. */
import type * as Context from "effect/Context"
import type * as Option from "effect/Option"
import type * as JobQueue from "../../JobQueue.ts"
import type * as Migration from "../../Migration.ts"
import type * as TraceStore from "../../TraceStore.ts"
import type { Pieces } from "./events.ts"
import type { Live } from "./live.ts"
import type { Running } from "./running.ts"
import type { Settings } from "./settings.ts"
import type { Readers } from "./sse.ts"
import type { Streams } from "./streams.ts"

/** Where a server is between its start and its end. */
export type Phase = "starting" | "ready" | "draining" | "stopping"

/** One server. */
export interface Hosting {
  readonly settings: Settings
  readonly flows: ReadonlyMap<string, Running>
  readonly live: Live
  /** The observer that tells `live` of what happens. */
  readonly watching: Context.Context<never>
  readonly pieces: Pieces
  readonly readers: Readers
  readonly streams: Streams
  readonly queue: Option.Option<JobQueue.Service>
  readonly store: Option.Option<TraceStore.Service>
  readonly reports: Option.Option<Migration.ReportsStore>
  /** Tells ids of this server's events from those of an earlier one. */
  readonly boot: string
  phase: Phase
}
