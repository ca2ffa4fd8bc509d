/** A runtime whose messages are recorded: what went in and came out, noted when a message has ended. */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { type FlowError, isFlowError } from "../../FlowError.ts"
import type { FlowRuntime, Item, RunOptions } from "../../FlowRuntime.ts"
import type { Kept } from "./changes.ts"
import { type KeptCodecs, keptCodecsOf } from "./codecs.ts"
import type { Recorded } from "./writer.ts"

/** See `TraceStore.RecordOptions`. */
export interface RecordOptions {
  readonly inputs?: boolean | undefined
  readonly outcomes?: boolean | undefined
  readonly maxSize?: number | undefined
}

export interface Recorder {
  readonly outcomeOf: (exit: Exit.Exit<ReadonlyArray<unknown>, unknown>) => Kept
  readonly record: (
    traceId: string,
    input: unknown,
    exit: Exit.Exit<ReadonlyArray<unknown>, unknown>
  ) => Effect.Effect<void>
}

export const makeRecorder = (
  flow: { readonly name: string },
  { inputs = true, maxSize = 262_144, outcomes = true }: RecordOptions,
  note: (notes: ReadonlyArray<Recorded>) => Effect.Effect<void>
): Recorder => {
  const outcomeOf: Recorder["outcomeOf"] = (exit) => outcomeFrom(keptCodecsOf(flow), exit, maxSize)
  return {
    outcomeOf,
    record: (traceId, input, exit) =>
      inputs || outcomes
        ? note([{
          flow: flow.name,
          traceId,
          payload: () => ({
            input: inputs ? keptOf(keptCodecsOf(flow).encodeInput(input), maxSize) : undefined,
            outcome: outcomes ? outcomeOf(exit) : undefined
          })
        }])
        : Effect.void
  }
}

/** So many results of a stream are kept for the record; a record of more would be too large anyway. */
const maxStreamed = 10_000

/** The same runtime, recorded. */
export const recorded = <In, Out, E, Part>(
  runtime: FlowRuntime<In, Out, E, Part>,
  { record }: Recorder
): FlowRuntime<In, Out, E, Part> => {
  const prefix = globalThis.crypto.randomUUID()
  let ids = 0
  const named = (options: RunOptions | undefined): RunOptions & { readonly traceId: string } => ({
    ...options,
    traceId: options?.traceId ?? `${prefix}-${(ids++).toString(36)}`
  })
  const around = <A>(
    options: RunOptions | undefined,
    input: In,
    run: (options: RunOptions) => Effect.Effect<A, E | FlowError>,
    results: (value: A) => ReadonlyArray<unknown>
  ): Effect.Effect<A, E | FlowError> =>
    Effect.suspend(() => {
      const own = named(options)
      return Effect.onExit(run(own), (exit) =>
        wasRefused(exit) ? Effect.void : record(own.traceId, input, Exit.map(exit, results)))
    })
  /** What was emitted and is not fetched, by trace id and in order: an id is free again before its outcome is fetched. */
  const emitted = new Map<string, Array<{ readonly input: In }>>()
  const forget = (traceId: string, sent: { readonly input: In }): void => {
    const left = (emitted.get(traceId) ?? []).filter((other) => other !== sent)
    if (left.length === 0) emitted.delete(traceId)
    else emitted.set(traceId, left)
  }
  return {
    ...runtime,
    run: (input, options) => around(options, input, (own) => runtime.run(input, own), (value) => [value]),
    runAll: (input, options) => around(options, input, (own) => runtime.runAll(input, own), (values) => values),
    stream: (input, options) =>
      Stream.suspend(() => {
        const own = named(options)
        const results: Array<unknown> = []
        const streaming: Stream.Stream<Item<Part, Out>, E | FlowError> = runtime.stream(input, own)
        return streaming.pipe(
          Stream.tap((item) =>
            Effect.sync(() => {
              if (item._tag === "Result" && results.length < maxStreamed) results.push(item.value)
            })
          ),
          Stream.onExit((exit) =>
            wasRefused(exit) ? Effect.void : record(own.traceId, input, Exit.map(exit, () => results))
          )
        )
      }),
    emit: (input, options) =>
      Effect.suspend(() => {
        const own = named(options)
        const sent = { input }
        emitted.set(own.traceId, [...emitted.get(own.traceId) ?? [], sent])
        return Effect.onExit(
          runtime.emit(input, own),
          (exit) => Effect.sync(() => exit._tag === "Failure" && forget(own.traceId, sent))
        )
      }),
    fetch: Effect.tap(runtime.fetch, ({ exit, traceId }) =>
      Effect.suspend(() => {
        const [sent] = emitted.get(traceId) ?? []
        if (sent === undefined) return Effect.void
        forget(traceId, sent)
        return record(traceId, sent.input, exit)
      }))
  }
}

// ----------------------------------------------------------------------------------------------------------- internals

/** Whether it never became a trace: then what is stored under its id is somebody else's, or nothing. */
const wasRefused = (exit: Exit.Exit<unknown, unknown>): boolean => {
  const error = exit._tag === "Failure" ? failureIn(exit.cause) : undefined
  return isFlowError(error) && (error.reason._tag === "DuplicateTrace" || error.reason._tag === "InvalidMeta")
}

const failureIn = (cause: Cause.Cause<unknown>): unknown => {
  const [reason] = cause.reasons
  return reason?._tag === "Fail" ? reason.error : undefined
}

const keptOf = (exit: Exit.Exit<unknown, string>, maxSize: number): Kept => {
  if (exit._tag === "Failure") {
    const why = failureIn(exit.cause)
    return omitted(typeof why === "string" ? why : "it can't be encoded")
  }
  try {
    const text = JSON.stringify(exit.value) ?? "null"
    // Parsed anew: what is kept must not change with what it was made of.
    return text.length <= maxSize
      ? { _tag: "Kept", json: JSON.parse(text) as unknown }
      : omitted(`it is ${text.length} characters long as JSON, and ${maxSize} are kept`)
  } catch {
    return omitted("it is not JSON")
  }
}

const omitted = (reason: string): Kept => ({ _tag: "Omitted", reason })

const outcomeFrom = (
  codecs: KeptCodecs,
  exit: Exit.Exit<ReadonlyArray<unknown>, unknown>,
  maxSize: number
): Kept => {
  if (exit._tag === "Success") return keptOf(codecs.encodeResults(exit.value), maxSize)
  const error = failureIn(exit.cause)
  if (error === undefined) return omitted("it was interrupted")
  if (isFlowError(error)) return omitted(`it failed with ${error.code}`)
  const encoded = codecs.encodeError(error)
  return keptOf(Exit.map(encoded, (json) => ({ error: json })), maxSize)
}
