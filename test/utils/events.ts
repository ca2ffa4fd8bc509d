/** What a runtime says while a test runs, as sentences that are easy to compare. */
import { Effect, Fiber, Stream } from "effect"
import type { FlowEvent, FlowRuntime } from "penguiflow"

/** `NodeStarted a 1`, `TraceSucceeded`. */
export const sentence = ({ _tag, attempt, node }: FlowEvent.FlowEvent): string =>
  _tag.startsWith("Trace") ? _tag : `${_tag} ${node} ${attempt}`

/**
 * Reads a runtime's events from now on. `ended` shuts the runtime down and gives all of them; `seen` is what was read so
 * far.
 */
export const record = <In, Out, E, Part>(runtime: FlowRuntime.FlowRuntime<In, Out, E, Part>) =>
  Effect.gen(function*() {
    const seen: Array<FlowEvent.FlowEvent> = []
    const reader = yield* runtime.events.pipe(
      Stream.runForEach((event) => Effect.sync(() => seen.push(event))),
      Effect.forkChild({ startImmediately: true })
    )
    const ended = Effect.gen(function*() {
      yield* runtime.shutdown()
      yield* Fiber.join(reader)
      return seen
    })
    return { seen, ended, sentences: Effect.map(ended, (events) => events.map(sentence)) }
  })

/** The sentences about nodes, without those about the trace. */
export const ofNodes = (sentences: ReadonlyArray<string>): ReadonlyArray<string> =>
  sentences.filter((line) => line.startsWith("Node"))
