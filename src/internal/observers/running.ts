/** A runtime whose messages are recorded where somebody keeps traces. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Flow } from "../../Flow.ts"
import * as FlowRuntime from "../../FlowRuntime.ts"
import * as TraceStore from "../../TraceStore.ts"

/** As `TraceStore.runtime` where a `TraceStore` is in the context, else as `FlowRuntime.make`. */
export const recordedWhereKept = <In, Out, E, R, Part>(
  flow: Flow<string, In, Out, E, R, Part>,
  options: FlowRuntime.Options
): Effect.Effect<FlowRuntime.FlowRuntime<In, Out, E, Part>, never, R | Scope.Scope> =>
  Effect.flatMap(Effect.serviceOption(TraceStore.TraceStore), (store) =>
    store._tag === "None"
      ? FlowRuntime.make(flow, options)
      : Effect.provideService(TraceStore.runtime(flow, options), TraceStore.TraceStore, store.value))
