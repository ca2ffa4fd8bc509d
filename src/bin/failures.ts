/** Tells in the log of traces that failed: whoever asked over HTTP is told less than what a log may hold. */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as FlowCli from "../FlowCli.ts"
import type { FlowEvent, TraceFailed } from "../FlowEvent.ts"
import * as FlowObserver from "../FlowObserver.ts"

export const layer: Layer.Layer<never> = FlowObserver.layer({
  name: "penguiflow/serve/failures",
  observe: (events) => Effect.forEach(events.filter(isTold), told, { discard: true })
})

/** Of jobs the worker tells. */
const isTold = (event: FlowEvent): event is TraceFailed =>
  event._tag === "TraceFailed" && !event.traceId.startsWith("job-")

const told = ({ error, flow, node, traceId }: TraceFailed): Effect.Effect<void> => {
  const where = node === undefined ? "" : ` at ${FlowCli.oneLine(node)}`
  const line = `trace ${FlowCli.oneLine(traceId)} of ${FlowCli.oneLine(flow)} failed${where}: ${
    error.code ?? error.tag
  }: ${FlowCli.oneLine(error.message)}`
  return error.code === "NODE_EXCEPTION" ? Effect.logError(line) : Effect.logWarning(line)
}
