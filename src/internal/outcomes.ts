/** The outcomes of emitted traces, from when they stand until they are fetched. Each keeps its trace's place. */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as MutableList from "effect/MutableList"
import { FlowError } from "../FlowError.ts"
import type { Outcome } from "../FlowRuntime.ts"
import type { Trace, TraceExit } from "./trace.ts"

type AnyOutcome = Outcome<unknown, unknown>

export class Outcomes {
  readonly #flow: string
  readonly #clock: Clock.Clock
  readonly #release: () => void
  readonly #ready = MutableList.make<AnyOutcome>()
  readonly #fetchers = new Set<(outcome: Effect.Effect<AnyOutcome, FlowError>) => void>()
  #state: "Open" | "Draining" | "Closed" = "Open"
  /** Emitted traces whose outcome does not stand yet. */
  #expected = 0

  constructor(flow: string, clock: Clock.Clock, release: () => void) {
    this.#flow = flow
    this.#clock = clock
    this.#release = release
  }

  expect(): void {
    this.#expected++
  }

  deliver(trace: Trace, exit: TraceExit): void {
    this.#expected--
    // One that never got a place was not accepted: its emitter hears of it, and nobody fetches it.
    if (trace.taken) this.#hand(trace, this.#outcomeOf(trace, exit))
    if (this.#state === "Draining") this.drain()
  }

  #outcomeOf(trace: Trace, exit: TraceExit): AnyOutcome {
    const { headers, meta, traceId } = trace
    const { failedAt, startedAt } = trace
    return {
      traceId,
      headers,
      meta,
      startedAt,
      durationMs: this.#clock.currentTimeMillisUnsafe() - startedAt,
      exit,
      failedAt: exit._tag === "Success" ? undefined : failedAt
    }
  }

  #hand(trace: Trace, outcome: AnyOutcome): void {
    const [fetcher] = this.#fetchers
    if (fetcher === undefined) {
      MutableList.append(this.#ready, outcome)
      return
    }
    this.#fetchers.delete(fetcher)
    if (trace.admitted) this.#release()
    fetcher(Exit.succeed(outcome))
  }

  /** The next outcome. It leaves only in the step that gives it to its fetcher, so that no interruption loses it. */
  readonly fetch: Effect.Effect<AnyOutcome, FlowError> = Effect.suspend(() => {
    const outcome = MutableList.take(this.#ready)
    if (outcome !== MutableList.Empty) {
      this.#release()
      return Exit.succeed(outcome)
    }
    if (this.#nothingLeft) return Exit.fail(this.#shutDown())
    return Effect.callback<AnyOutcome, FlowError>((resume) => {
      this.#fetchers.add(resume)
      return Effect.sync(() => {
        this.#fetchers.delete(resume)
      })
    })
  })

  get #nothingLeft(): boolean {
    return this.#state === "Closed" || this.#state === "Draining" && this.#expected === 0
  }

  /** No more will be expected: once the last stands, whoever still waits is released. */
  drain(): void {
    this.#state = "Draining"
    if (!this.#nothingLeft) return
    const fetchers = [...this.#fetchers]
    this.#fetchers.clear()
    for (const fetcher of fetchers) fetcher(Exit.fail(this.#shutDown()))
  }

  close(): void {
    this.drain()
    this.#state = "Closed"
  }

  #shutDown(): FlowError {
    return new FlowError({
      flow: this.#flow,
      traceId: "",
      node: undefined,
      attempt: undefined,
      reason: { _tag: "ShuttingDown" },
      message: "The runtime has shut down and every outcome has been fetched"
    })
  }
}
