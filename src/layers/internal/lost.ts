/** What an observer does about events that it was too slow for: they are counted, and said. */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"

const lost: Metric.Counter<number> = Metric.counter("penguiflow_events_lost_total", {
  description: "Events that an observer was too slow for",
  incremental: true
})

/** For `FlowObserver.onLost`. */
export const countLost = (observer: string): (count: number) => Effect.Effect<void> => {
  const metric = Metric.withAttributes(lost, { observer })
  return (count) =>
    Effect.andThen(
      Metric.update(metric, count),
      Effect.logWarning(`Observer "${observer}" is slow: ${count} events were lost`)
    )
}
