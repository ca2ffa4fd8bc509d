/** Entries in memory: as many as it holds, the oldest forgotten. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Entry, Range } from "./entry.ts"

/** What a store of reports can do; `E` is what it fails with. */
export interface Store<out E> {
  readonly add: (entries: ReadonlyArray<Entry>) => Effect.Effect<void, E>
  readonly read: (migration: string, range: Range) => Stream.Stream<Entry, E>
}

export const memoryStore = (capacity: number): Store<never> => {
  const entries: Array<Entry> = []
  // Dropping from the front of an array costs its length: done once per quarter of it.
  const slack = Math.max(1, Math.floor(capacity / 4))
  return {
    add: (more) =>
      Effect.sync(() => {
        for (const entry of more) entries.push(entry)
        if (entries.length > capacity + slack) entries.splice(0, entries.length - capacity)
      }),
    read: (migration, { from = -Infinity, to = Infinity }) =>
      Stream.suspend(() =>
        Stream.fromIterable(
          entries.slice(-capacity).filter((entry) => entry.migration === migration && entry.at >= from && entry.at < to)
        )
      )
  }
}
