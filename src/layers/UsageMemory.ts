/** Usage in memory: it forgets with its process, and grows with every record. For tests and first runs. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Usage from "../Usage.ts"

/** Records in memory, empty at first. */
export const layer: Layer.Layer<Usage.Usage> = Layer.effect(
  Usage.Usage,
  Effect.sync(() => {
    const records = new Map<string, Usage.UsageRecord>()
    const matching = (filter: Usage.Filter | undefined): Array<Usage.UsageRecord> =>
      [...records.values()].filter((record) =>
        (filter?.userId === undefined || record.userId === filter.userId) &&
        (filter?.tenant === undefined || record.tenant === filter.tenant) &&
        (filter?.traceId === undefined || record.traceId === filter.traceId) &&
        (filter?.from === undefined || record.at >= filter.from) &&
        (filter?.until === undefined || record.at < filter.until)
      )
    return Usage.Usage.of({
      record: (record) =>
        Effect.map(Usage.check(record), () => {
          if (records.has(record.key)) return false
          records.set(record.key, { ...record })
          return true
        }),
      totals: (filter) =>
        Effect.sync(() => {
          const found = matching(filter)
          return {
            records: found.length,
            tokens: found.reduce((sum, record) => sum + record.tokens, 0),
            durationMs: found.reduce((sum, record) => sum + record.durationMs, 0)
          }
        }),
      list: (filter) => Effect.sync(() => matching(filter).sort((a, b) => a.at - b.at || (a.key < b.key ? -1 : 1)))
    })
  })
)
