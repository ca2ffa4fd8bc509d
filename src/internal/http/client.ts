/** A client of served flows: inputs encoded, results and errors decoded, by the flows' own schemas. */
import type * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import type * as Exit from "effect/Exit"
import type * as HttpClient from "effect/http/HttpClient"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Flow } from "../../Flow.ts"
import type { Item } from "../../FlowRuntime.ts"
import type { JobId } from "../../JobQueue.ts"
import { decodePartOf } from "../cli/parts.ts"
import { planOf } from "../plan.ts"
import { codecsOf } from "../schemas.ts"
import { type Requests, requestsTo } from "./api.ts"
import { ErrorBody } from "./errors.ts"

interface Fields {
  readonly message: string
  /** Of the answer; 0 where there was none. */
  readonly status: number
  readonly code: string
  readonly path: string | undefined
  readonly traceId: string | undefined
  readonly node: string | undefined
  readonly cause?: unknown
}

const Base: new(fields: Fields) => Cause.YieldableError & { readonly _tag: "FlowHttpError" } & Fields = Data
  .TaggedError(
    "FlowHttpError"
  )

/**
 * Why a request failed that is no node's own error: what the server refused it with, or that there was no answer
 * (`NO_ANSWER`), or none that can be read (`UNREADABLE_ANSWER`).
 */
export class FlowHttpError extends Base {}

/** What a caller says of one message. */
export interface CallOptions {
  readonly traceId?: string | undefined
  readonly tenant?: string | undefined
  readonly topic?: string | undefined
  /** Kept by the server, which has a longest one of its own. */
  readonly deadline?: Duration.Input | undefined
}

/** What a caller says of one job. */
export interface JobOptions {
  readonly id?: string | undefined
  readonly tenant?: string | undefined
  readonly topic?: string | undefined
  readonly delay?: Duration.Input | undefined
  readonly priority?: number | undefined
  readonly maxAttempts?: number | undefined
  readonly timeout?: Duration.Input | undefined
}

type AnyFlow<In, Out, E, Part = unknown> = Flow<string, In, Out, E, unknown, Part>

/** Flows that run elsewhere. A node's own error is itself again where its node declares a schema for it. */
export interface Client {
  /** The message's one result; fails with `NO_RESULT` or `MANY_RESULTS` where it is not one. Leaving cancels the trace. */
  run<In, Out, E>(
    flow: AnyFlow<In, Out, E>,
    input: NoInfer<In>,
    options?: CallOptions
  ): Effect.Effect<Out, E | FlowHttpError>
  /** Every result. */
  runAll<In, Out, E>(
    flow: AnyFlow<In, Out, E>,
    input: NoInfer<In>,
    options?: CallOptions
  ): Effect.Effect<ReadonlyArray<Out>, E | FlowHttpError>
  /** Parts and results as they come. Leaving cancels the trace. */
  stream<In, Out, E, Part>(
    flow: AnyFlow<In, Out, E, Part>,
    input: NoInfer<In>,
    options?: CallOptions
  ): Stream.Stream<Item<Part, Out>, E | FlowHttpError>
  /** Returns once the job is stored. */
  enqueue<In, Out, E>(
    flow: AnyFlow<In, Out, E>,
    input: NoInfer<In>,
    options?: JobOptions
  ): Effect.Effect<JobId<Out, E>, FlowHttpError>
  /** True when the trace was open; returns once its finalizers have run. */
  cancel(traceId: string, options?: { readonly flow?: string | undefined }): Effect.Effect<boolean, FlowHttpError>
}

/** A client of a server. */
export const makeClient = (
  baseUrl: string,
  token: string | undefined
): Effect.Effect<Client, never, HttpClient.HttpClient> =>
  Effect.map(requestsTo(baseUrl, token), (requests) => clientOf(requests))

// ----------------------------------------------------------------------------------------------------------- internals

const clientOf = (requests: Requests): Client => {
  const runAll = <In, Out, E>(flow: AnyFlow<In, Out, E>, input: NoInfer<In>, options?: CallOptions) =>
    Effect.gen(function*() {
      const body = yield* encoded(flow, input)
      const answer = yield* answered(flow, requests.run(flow.name, askedOf(options), body))
      const results: Array<unknown> = []
      const { decodeResult } = codecsOf(flow)
      for (const result of listIn(answer, "results")) results.push(yield* decoded(decodeResult(result)))
      return results as ReadonlyArray<Out>
    })
  return {
    runAll,
    run: <In, Out, E>(flow: AnyFlow<In, Out, E>, input: NoInfer<In>, options?: CallOptions) =>
      Effect.flatMap(runAll(flow, input, options), (results) =>
        results.length === 1
          ? Effect.succeed(results[0]!)
          : Effect.fail(
            results.length === 0
              ? failure(200, "NO_RESULT", "The trace succeeded and gave no result")
              : failure(
                200,
                "MANY_RESULTS",
                `The trace succeeded and gave ${results.length} results: \`runAll\` returns them all`
              )
          )),
    stream: <In, Out, E, Part>(flow: AnyFlow<In, Out, E, Part>, input: NoInfer<In>, options?: CallOptions) =>
      streamed<Out, E, Part>(flow, encoded(flow, input), (body) => requests.stream(flow.name, askedOf(options), body)),
    enqueue: <In, Out, E>(flow: AnyFlow<In, Out, E>, input: NoInfer<In>, options: JobOptions = {}) =>
      Effect.gen(function*() {
        const body = yield* encoded(flow, input)
        const { delay, timeout, ...rest } = options
        const asked = { ...rest, delay: millis(delay), timeout: millis(timeout) }
        const answer = yield* answered<never>(undefined, requests.enqueue(flow.name, asked, body))
        return (Predicate.hasProperty(answer, "id") ? String(answer.id) : "") as JobId<Out, E>
      }),
    cancel: (traceId, options) =>
      Effect.map(
        answered<never>(undefined, requests.cancel(traceId, options?.flow)),
        (answer) => Predicate.hasProperty(answer, "cancelled") && answer.cancelled === true
      )
  }
}

const failure = (status: number, code: string, message: string, cause?: unknown): FlowHttpError =>
  new FlowHttpError({ message, status, code, path: undefined, traceId: undefined, node: undefined, cause })

const millis = (input: Duration.Input | undefined): number | undefined =>
  input === undefined ? undefined : Duration.toMillis(Duration.fromInputUnsafe(input))

const askedOf = (options: CallOptions = {}) => ({ ...options, deadline: millis(options.deadline) })

const wordsOf = (exit: Exit.Failure<unknown, string>): string => {
  const [reason] = exit.cause.reasons
  return reason?._tag === "Fail" ? reason.error : "its schema can't be applied"
}

const encoded = (flow: { readonly name: string }, input: unknown): Effect.Effect<Schema.Json, FlowHttpError> => {
  const exit = codecsOf(flow).encodeInput(input)
  return exit._tag === "Success"
    // What the schema encodes must be JSON; the request fails where it is not.
    ? Effect.succeed(exit.value as Schema.Json)
    : Effect.fail(
      failure(0, "INVALID_INPUT", `The input does not fit the flow "${flow.name}", and was not sent: ${wordsOf(exit)}`)
    )
}

const decoded = (exit: Exit.Exit<unknown, string>): Effect.Effect<unknown, FlowHttpError> =>
  exit._tag === "Success"
    ? Effect.succeed(exit.value)
    : Effect.fail(
      failure(200, "UNREADABLE_ANSWER", `A result is not what the flow gives here, as it may there: ${wordsOf(exit)}`)
    )

const listIn = (answer: unknown, key: string): ReadonlyArray<unknown> =>
  Predicate.hasProperty(answer, key) && Array.isArray(answer[key]) ? answer[key] : []

const noAnswer = (cause: unknown): FlowHttpError =>
  failure(0, "NO_ANSWER", "The server did not answer: is it there, and is the address right?", cause)

/** The body of an answer that went well; what went wrong as the error that it is. */
const answered = <E>(
  flow: AnyFlow<never, unknown, E> | undefined,
  request: Effect.Effect<HttpClientResponse, unknown>
): Effect.Effect<unknown, E | FlowHttpError> =>
  Effect.flatMap(Effect.mapError(request, noAnswer), (response) => {
    const body = Effect.mapError(response.json, (cause) =>
      failure(response.status, "UNREADABLE_ANSWER", `The answer, ${response.status}, is not JSON`, cause))
    return response.status < 300
      ? body
      : Effect.flatMap(body, (said) =>
        Effect.fail(errorOf<E>(flow, response.status, said)))
  })

const isErrorBody = Schema.is(ErrorBody)

const errorOf = <E>(flow: { readonly name: string } | undefined, status: number, said: unknown): E | FlowHttpError => {
  if (!isErrorBody(said)) {
    return failure(status, "UNREADABLE_ANSWER", `The answer, ${status}, says nothing that is known`)
  }
  if (flow !== undefined && said.detail !== undefined) {
    const own = codecsOf(flow).decodeError(said.detail)
    // The flow's own schemas of errors have decoded it.
    if (own._tag === "Success") return own.value as E
  }
  const { code, error, node, path, traceId } = said
  return new FlowHttpError({ message: error, status, code, path, traceId, node })
}

const streamed = <Out, E, Part>(
  flow: AnyFlow<never, Out, E, Part>,
  input: Effect.Effect<Schema.Json, FlowHttpError>,
  request: (body: Schema.Json) => Effect.Effect<HttpClientResponse, unknown>
): Stream.Stream<Item<Part, Out>, E | FlowHttpError> =>
  Stream.unwrap(Effect.gen(function*() {
    const response = yield* Effect.mapError(request(yield* input), noAnswer)
    if (response.status !== 200) yield* answered<E>(flow, Effect.succeed(response))
    const { decodeResult } = codecsOf(flow)
    const decodePart = decodePartOf(planOf(flow))
    let ended = false
    const items = response.stream.pipe(
      Stream.decodeText,
      Stream.pipeThroughChannel(Sse.decode({ maxEventSize: 64 * 1024 * 1024 })),
      Stream.mapError(noAnswer),
      Stream.mapEffect((event) => {
        const said = jsonOf(event.data)
        switch (event.event) {
          case "part":
            return itemOf<Part, Out>("Part", said, (value, node) => decodePart(node, value))
          case "result":
            return itemOf<Part, Out>("Result", said, decodeResult)
          case "error":
            return Effect.fail(errorOf<E>(flow, 200, said))
          default:
            ended ||= event.event === "done"
            return Effect.succeed([])
        }
      }),
      Stream.flattenIterable
    )
    // A connection that breaks ends like any other: only the last event says that nothing is missing.
    return Stream.concat(
      items,
      Stream.suspend(() => ended ? Stream.empty : Stream.fail(noAnswer(new Error("the stream broke off"))))
    )
  }))

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const itemOf = <Part, Out>(
  tag: Item<Part, Out>["_tag"],
  said: unknown,
  decode: (value: unknown, node: string) => Exit.Exit<unknown, string>
): Effect.Effect<ReadonlyArray<Item<Part, Out>>, FlowHttpError> => {
  const node = Predicate.hasProperty(said, "node") ? String(said.node) : ""
  const value = Predicate.hasProperty(said, "value") ? said.value : undefined
  // The codec of the flow, or of the node's parts, says what the value is.
  return Effect.map(
    decoded(decode(value, node)),
    (it) => [{ ...said as object, _tag: tag, value: it } as Item<Part, Out>]
  )
}
