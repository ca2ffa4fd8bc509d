/** A trace store in memory: it forgets with its process. For tests, first runs, and a look at what happens now. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { FlowEvent } from "../FlowEvent.ts"
import * as TraceStore from "../TraceStore.ts"

/** How much is kept. */
export interface Options extends TraceStore.Options {
  /** How many traces; default 1000. */
  readonly maxTraces?: number | undefined
  /** How many events of all of them together; default 100 000. Beyond it the oldest traces are removed. */
  readonly maxEvents?: number | undefined
}

/** A store, and the observer that fills it with the events of every runtime under it. */
export const layer = (options?: Options): Layer.Layer<TraceStore.TraceStore> =>
  Layer.provideMerge(TraceStore.layerObserver, layerStore(options))

/** The store alone. */
export const layerStore = (options: Options = {}): Layer.Layer<TraceStore.TraceStore> => {
  const maxTraces = options.maxTraces ?? 1000
  return Layer.effect(
    TraceStore.TraceStore,
    Effect.suspend(() =>
      TraceStore.make(new Memory(maxTraces, options.maxEvents ?? 100_000), { ...options, maxTraces })
    )
  )
}

// ----------------------------------------------------------------------------------------------------------- internals

interface Entry {
  known: TraceStore.Change
  events: Array<FlowEvent>
}

const keyOf = ({ flow, traceId }: { readonly flow: string; readonly traceId: string }): string => `${flow}\0${traceId}`

/** The last first. */
const order = (a: TraceStore.Change, b: Pick<TraceStore.Change, "at" | "flow" | "traceId">): number =>
  b.at - a.at ||
  (a.flow < b.flow ? -1 : a.flow > b.flow ? 1 : a.traceId < b.traceId ? -1 : a.traceId > b.traceId ? 1 : 0)

class Memory implements TraceStore.Backend {
  readonly #maxTraces: number
  readonly #maxEvents: number
  readonly #entries = new Map<string, Entry>()
  #events = 0

  constructor(maxTraces: number, maxEvents: number) {
    this.#maxTraces = maxTraces
    this.#maxEvents = maxEvents
  }

  readonly write: TraceStore.Backend["write"] = ({ changes, events }) =>
    Effect.sync(() => {
      for (const change of changes) {
        const entry = this.#entries.get(keyOf(change))
        if (entry === undefined) this.#entries.set(keyOf(change), { known: change, events: [] })
        else entry.known = TraceStore.applied(entry.known, change)
      }
      for (const event of events) this.#entries.get(keyOf(event))?.events.push(event)
      this.#events += events.length
      this.#bound()
    })

  #bound(): void {
    if (this.#entries.size <= this.#maxTraces && this.#events <= this.#maxEvents) return
    for (const { known } of [...this.#entries.values()].toSorted((a, b) => a.known.at - b.known.at)) {
      if (this.#entries.size <= Math.max(1, this.#maxTraces) && this.#events <= this.#maxEvents) return
      // Of the one trace that is more than the bound by itself, the beginning goes.
      if (this.#entries.size === 1) this.#cut(keyOf(known))
      else this.#remove(keyOf(known))
    }
  }

  #cut(key: string): void {
    const entry = this.#entries.get(key)
    if (entry !== undefined) this.#events -= entry.events.splice(0, entry.events.length - this.#maxEvents).length
  }

  #remove(key: string): void {
    this.#events -= this.#entries.get(key)?.events.length ?? 0
    this.#entries.delete(key)
  }

  /** Those of which there is an event, and that are meant; the last first. */
  #matching(matches: (known: TraceStore.Change) => boolean): ReadonlyArray<Entry> {
    return [...this.#entries.values()]
      .filter(({ known }) => known.events > 0 && matches(known))
      .toSorted((a, b) => order(a.known, b.known))
  }

  readonly history: TraceStore.Backend["history"] = (traceId, flow, limit) =>
    Effect.sync(() =>
      this.#matching((known) => known.traceId === traceId && (flow === undefined || known.flow === flow))
        .toReversed()
        .flatMap(({ events }) => events)
        .slice(0, limit)
    )

  readonly get: TraceStore.Backend["get"] = (traceId, flow) =>
    Effect.sync(() =>
      this.#matching((known) => known.traceId === traceId && (flow === undefined || known.flow === flow))[0]?.known
    )

  readonly list: TraceStore.Backend["list"] = ({ after, flow, from, limit, status, tenant, until }) =>
    Effect.sync(() =>
      this.#matching((known) =>
        (flow === undefined || known.flow === flow) &&
        (tenant === undefined || known.tenant === tenant) &&
        (status === undefined || (known.status ?? "running") === status) &&
        (from === undefined || known.at >= from) &&
        (until === undefined || known.at < until) &&
        (after === undefined || order(known, after) > 0)
      ).slice(0, limit).map(({ known }) => known)
    )

  readonly prune: TraceStore.Backend["prune"] = (before, maxTraces) =>
    Effect.sync(() => {
      const size = this.#entries.size
      const newest = [...this.#entries.values()].toSorted((a, b) => order(a.known, b.known))
      newest.forEach(({ known }, at) => {
        if (before !== undefined && known.at < before || maxTraces !== undefined && at >= maxTraces) {
          this.#remove(keyOf(known))
        }
      })
      return size - this.#entries.size
    })
}
