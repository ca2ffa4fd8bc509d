/** Metrics, as tests compare them. */
import { Effect, Layer, Metric } from "effect"

/** A registry of its own, so that tests count only their own. */
export const registry: Layer.Layer<never> = Layer.sync(Metric.MetricRegistry, () => new Map())

/** What the registry of here holds: `name label=value …`, and a number, or of a histogram what is made of it. */
export const numbers = <A>(
  histogram: (state: { readonly count: number; readonly sum: number }) => A
): Effect.Effect<Record<string, number | A>> =>
  Effect.map(Metric.snapshot, (snapshot) => {
    const all: Record<string, number | A> = {}
    for (const metric of snapshot) {
      const labels = Object.entries(metric.attributes ?? {})
        .filter(([key]) => key !== "unit" && key !== "time_unit")
        .map(([key, value]) => ` ${key}=${value}`)
        .join("")
      const name = metric.id.replace("penguiflow_", "") + labels
      if (metric.type === "Counter") all[name] = Number(metric.state.count)
      if (metric.type === "Gauge") all[name] = Number(metric.state.value)
      if (metric.type === "Histogram") all[name] = histogram(metric.state)
    }
    return all
  })
