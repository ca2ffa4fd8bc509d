/** Runs what comes from a source through a flow, and tells what became of it. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type * as Terminal from "effect/Terminal"
import type { Flow } from "../../Flow.ts"
import { type FlowError, isFlowError } from "../../FlowError.ts"
import * as FlowRuntime from "../../FlowRuntime.ts"
import { failedAt } from "../../Trace.ts"
import { planOf } from "../plan.ts"
import { codecsOf, type FlowCodecs } from "../schemas.ts"
import { messageOf, tagOf } from "../text.ts"
import { parse } from "./json.ts"
import type { Raw } from "./messages.ts"
import { isWriteFailed, makeOutput, type Output } from "./output.ts"
import { type EncodePart, encodePartOf } from "./parts.ts"
import { type Source, sourceOf, type Wanted } from "./source.ts"
import { ndjson } from "./text.ts"

/** What a command that runs a flow is asked for. */
export interface Asked extends Wanted {
  readonly concurrency: number
  readonly stream: boolean
  readonly deadline: Option.Option<Duration.Duration>
  readonly tenant: Option.Option<string>
  readonly debug: boolean
}

/** Messages were run, and some failed. */
const someFailed = 1
/** No message was run. */
const nothingRun = 2

/** Fails with the exit code, after everything has been said. */
export const execute = <In, Out, E, R, Part, Provided, LE, LR>(
  flow: Flow<string, In, Out, E, R, Part>,
  layer: Layer.Layer<Provided, LE, LR>,
  asked: Asked
): Effect.Effect<
  void,
  number,
  Exclude<Exclude<R, Provided>, Scope.Scope> | LR | FileSystem.FileSystem | Stdio.Stdio | Terminal.Terminal
> =>
  Effect.gen(function*() {
    const out = yield* makeOutput
    const source = yield* Effect.catch(sourceOf(asked), (words) => refuse(out, words))
    const counts = { admitted: 0, succeeded: 0, failed: 0 }
    const ready = yield* Deferred.make<Started<In, Out, E, Part>>()
    yield* Effect.scopedWith((scope) =>
      // Built when the first message fits: what can't be run needs no database.
      Effect.flatMap(
        Effect.cached(Effect.tap(start(flow, layer, asked, out, scope), (it) => Deferred.succeed(ready, it))),
        (runtime) =>
          runAll({
            asked,
            out,
            source,
            runtime,
            ready,
            flow: flow.name,
            decode: codecsOf(flow).decodeInput,
            encode: codecsOf(flow).encodeResult,
            encodePart: encodePartOf(planOf(flow)),
            counts
          }, scope)
      )
    ).pipe(
      Effect.provideService(Console.Console, out.console),
      Effect.provideService(Logger.LogToStderr, true),
      Effect.catchDefect((defect) =>
        out.say(`✗ ${messageOf(defect)}`).pipe(
          Effect.andThen(asked.debug ? out.explain(stackOf(defect)) : Effect.void),
          Effect.andThen(Effect.fail(someFailed))
        )
      ),
      // After the scope: what was open has been stopped by then.
      Effect.onInterrupt(() => {
        const done = counts.succeeded + counts.failed
        return out.say(`Interrupted: ${messages(done)} done, ${Math.max(0, counts.admitted - done)} stopped.`)
      }),
      Effect.ensuring(out.clear)
    )
  })

// ----------------------------------------------------------------------------------------------------------- internals

interface Running<In, Out, E, Part, N> {
  readonly flow: string
  readonly asked: Asked
  readonly out: Output
  readonly source: Source
  readonly runtime: Effect.Effect<Started<In, Out, E, Part>, number, N>
  /** Done once there is one. */
  readonly ready: Deferred.Deferred<Started<In, Out, E, Part>>
  readonly decode: FlowCodecs["decodeInput"]
  readonly encode: FlowCodecs["encodeResult"]
  readonly encodePart: EncodePart
  /** Messages: taken by the flow, ended well, ended badly or not taken. */
  readonly counts: { admitted: number; succeeded: number; failed: number }
}

interface Started<In, Out, E, Part> {
  readonly runtime: FlowRuntime.FlowRuntime<In, Out, E, Part>
  /** Runs a message to its outcome. */
  readonly run: (input: In, options: FlowRuntime.RunOptions) => Effect.Effect<FlowRuntime.Outcome<Out, E>, FlowError>
}

const refuse = (out: Output, words: string): Effect.Effect<never, number> =>
  Effect.andThen(out.say(`✗ ${words}`), Effect.fail(nothingRun))

const start = Effect.fnUntraced(function*<In, Out, E, R, Part, Provided, LE, LR>(
  flow: Flow<string, In, Out, E, R, Part>,
  layer: Layer.Layer<Provided, LE, LR>,
  asked: Asked,
  out: Output,
  scope: Scope.Scope
) {
  const built = yield* Effect.exit(Layer.buildWithScope(layer, scope))
  if (Exit.isFailure(built)) {
    if (Cause.hasInterruptsOnly(built.cause)) return yield* Effect.interrupt
    if (asked.debug) yield* out.explain(causesOf(built.cause))
    const words = messageOf(Cause.squash(built.cause))
    return yield* refuse(out, `the layer of the flow "${flow.name}" can't be built: ${words}`)
  }
  const runtime = yield* FlowRuntime.make(flow, { maxInFlight: asked.concurrency }).pipe(
    Effect.provideContext(built.value),
    Scope.provide(scope)
  )
  return yield* started(runtime, scope)
})

/** Outcomes come in whatever order; each is handed to whoever waits for it. */
const started = <In, Out, E, Part>(
  runtime: FlowRuntime.FlowRuntime<In, Out, E, Part>,
  scope: Scope.Scope
): Effect.Effect<Started<In, Out, E, Part>> => {
  const waiting = new Map<string, Deferred.Deferred<FlowRuntime.Outcome<Out, E>>>()
  const prefix = globalThis.crypto.randomUUID()
  let count = 0
  const collect = runtime.fetch.pipe(
    Effect.tap((outcome) =>
      Effect.sync(() => {
        const waiter = waiting.get(outcome.traceId)
        waiting.delete(outcome.traceId)
        if (waiter !== undefined) Deferred.doneUnsafe(waiter, Exit.succeed(outcome))
      })
    ),
    Effect.forever,
    Effect.ignore
  )
  return Effect.as(Effect.forkIn(collect, scope), {
    runtime,
    run: (input, options) =>
      Effect.suspend(() => {
        const traceId = `${prefix}-${++count}`
        const outcome = Deferred.makeUnsafe<FlowRuntime.Outcome<Out, E>>()
        waiting.set(traceId, outcome)
        return Effect.andThen(runtime.emit(input, { ...options, traceId }), Deferred.await(outcome))
      })
  })
}

const runAll = <In, Out, E, Part, N>(running: Running<In, Out, E, Part, N>, scope: Scope.Scope) =>
  Effect.gen(function*() {
    const { asked, counts, out, source } = running
    const { concurrency, stream } = asked
    const lines = stream
      ? Stream.flatMap(source.messages, (raw) => streamOne(running, raw), { concurrency })
      : Stream.flattenIterable(Stream.mapEffect(source.messages, (raw) => runOne(running, raw), { concurrency }))
    const began = yield* Clock.currentTimeMillis
    if (out.live) yield* Effect.forkIn(showProgress(running, began), scope)
    yield* out.results(lines).pipe(
      Effect.catch((error) =>
        isWriteFailed(error)
          // Whoever read the results has seen enough.
          ? error.closed ? Effect.void : Effect.andThen(out.say(`✗ ${error.message}`), Effect.fail(someFailed))
          : typeof error === "number"
          ? Effect.fail(error)
          : Effect.andThen(out.say(`✗ ${error}`), Effect.fail(counts.admitted > 0 ? someFailed : nothingRun))
      )
    )
    const total = counts.succeeded + counts.failed
    if (total === 0 && !source.mayBeEmpty) return yield* refuse(out, `${source.name}: holds no message`)
    if (counts.failed === 0) return
    if (total > 1) yield* out.say(`${counts.failed} of ${messages(total)} failed.`)
    return yield* Effect.fail(counts.admitted > 0 ? someFailed : nothingRun)
  })

const messages = (count: number): string => `${count} message${count === 1 ? "" : "s"}`

const placeOf = ({ source }: { readonly source: Source }, raw: Raw): string =>
  raw.line === undefined ? source.name : `${source.name}:${raw.line}`

/** A message that fits, or nothing, after what is wrong with it has been said. */
const read = <In, Out, E, Part, N>(
  running: Running<In, Out, E, Part, N>,
  raw: Raw
): Effect.Effect<Option.Option<In>> =>
  Effect.suspend(() => {
    const place = placeOf(running, raw)
    const rejected = (words: string) => {
      running.counts.failed++
      return Effect.as(running.out.say(`✗ ${words}`), Option.none<In>())
    }
    if (raw._tag === "Fault") return rejected(`${place}: ${raw.what}`)
    const parsed = parse(raw.text)
    if (parsed._tag === "NotJson") {
      const at = raw.line === undefined ? `${place}:${parsed.line}:${parsed.column}` : `${place}:${parsed.column}`
      return rejected(`${at}: is not JSON: ${parsed.expected} was expected here`)
    }
    const decoded = running.decode(parsed.value)
    if (Exit.isFailure(decoded)) {
      return rejected(`${place}: does not fit the input of the flow "${running.flow}": ${wordsOf(decoded)}`)
    }
    // The flow's own schema has decoded it.
    return Effect.succeedSome(decoded.value as In)
  })

const wordsOf = (exit: Exit.Failure<unknown, string>): string => messageOf(Cause.squash(exit.cause))

const optionsOf = ({ deadline, tenant }: Asked): FlowRuntime.RunOptions => ({
  deadline: Option.getOrUndefined(deadline),
  headers: Option.isSome(tenant) ? { tenant: tenant.value } : undefined
})

/** The lines that one message gives; none where it failed, after that has been said. */
const runOne = <In, Out, E, Part, N>(
  running: Running<In, Out, E, Part, N>,
  raw: Raw
): Effect.Effect<ReadonlyArray<string>, number, N> =>
  Effect.flatMap(read(running, raw), (input) => {
    if (Option.isNone(input)) return Effect.succeed([])
    return Effect.flatMap(running.runtime, ({ run }) => {
      running.counts.admitted++
      return Effect.matchCauseEffect(run(input.value, optionsOf(running.asked)), {
        onFailure: (cause) => failed(running, raw, cause),
        onSuccess: ({ exit }) => {
          if (Exit.isFailure(exit)) return failed(running, raw, exit.cause)
          const lines: Array<string> = []
          for (const value of exit.value) {
            const line = lineOf(running.encode(value), (encoded) => encoded)
            if ("words" in line) return unwritable(running, raw, line.words)
            lines.push(line.text)
          }
          running.counts.succeeded++
          return Effect.succeed(lines)
        }
      })
    })
  })

/** The lines of one message as they come. */
const streamOne = <In, Out, E, Part, N>(
  running: Running<In, Out, E, Part, N>,
  raw: Raw
): Stream.Stream<string, number, N> =>
  Stream.unwrap(Effect.map(read(running, raw), (input) => {
    if (Option.isNone(input)) return Stream.empty
    const { counts } = running
    const place = raw.line === undefined ? {} : { line: raw.line }
    return Stream.unwrap(Effect.map(running.runtime, ({ runtime }) => {
      counts.admitted++
      let bad = false
      return runtime.stream(input.value, optionsOf(running.asked)).pipe(
        Stream.mapEffect((item) => {
          const encoded = item._tag === "Part"
            ? running.encodePart(item.node, item.value)
            : running.encode(item.value)
          const line = lineOf(encoded, (value) => ({ ...place, ...item, value }))
          if ("text" in line) return Effect.succeed([line.text])
          if (bad) return Effect.succeed([])
          bad = true
          return unwritable(running, raw, line.words)
        }),
        Stream.flattenIterable,
        Stream.onEnd(Effect.sync(() => {
          if (!bad) counts.succeeded++
        })),
        Stream.catchCause((cause) => Stream.fromEffectDrain(bad ? Effect.void : failed(running, raw, cause)))
      )
    }))
  }))

type Line = { readonly text: string } | { readonly words: string }

const lineOf = (encoded: Exit.Exit<unknown, string>, wrap: (encoded: unknown) => unknown): Line => {
  if (Exit.isFailure(encoded)) return { words: wordsOf(encoded) }
  const text = ndjson(wrap(encoded.value))
  return text === undefined ? { words: "it is nested too deep" } : { text }
}

const unwritable = <In, Out, E, Part, N>(running: Running<In, Out, E, Part, N>, raw: Raw, words: string) => {
  running.counts.failed++
  return Effect.as(
    running.out.say(
      `✗ ${placeOf(running, raw)}: a result of the flow "${running.flow}" can't be written as JSON: ${words}`
    ),
    []
  )
}

const failed = <In, Out, E, Part, N>(
  running: Running<In, Out, E, Part, N>,
  raw: Raw,
  cause: Cause.Cause<unknown>
): Effect.Effect<ReadonlyArray<string>> => {
  if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
  running.counts.failed++
  const error = Cause.squash(cause)
  const node = failedAt(cause)?.node
  const said = isFlowError(error)
    ? `${messageOf(error)} (${error.code})`
    : `${tagOf(error)}: ${messageOf(error)}${node === undefined ? "" : ` (node "${node}")`}`
  return running.out.say(`✗ ${placeOf(running, raw)}: ${said}`).pipe(
    Effect.andThen(running.asked.debug ? running.out.explain(causesOf(cause)) : Effect.void),
    Effect.as([])
  )
}

/** Causes and stacks, for those who asked for them. */
const causesOf = (cause: Cause.Cause<unknown>): string => {
  try {
    const error = Cause.squash(cause)
    const inner = isFlowError(error) && error.reason._tag === "NodeDied" ? `\n${stackOf(error.reason.defect)}` : ""
    return Cause.pretty(cause) + inner
  } catch {
    return "a cause that can't be read: reading it throws"
  }
}

const stackOf = (defect: unknown): string =>
  defect instanceof Error ? defect.stack ?? defect.message : messageOf(defect)

/** On a terminal: how many messages are done, and which node was begun last. */
const showProgress = <In, Out, E, Part, N>(
  { counts, out, ready, source }: Running<In, Out, E, Part, N>,
  began: number
): Effect.Effect<void> => {
  let node = ""
  const watch = Effect.flatMap(
    Deferred.await(ready),
    ({ runtime }) =>
      Stream.runForEach(runtime.events, (event) =>
        Effect.sync(() => {
          if (event._tag === "NodeStarted") node = `, ${event.node}${event.attempt > 1 ? ` (${event.attempt})` : ""}`
        }))
  )
  const show = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const seconds = (now - began) / 1000
    const done = counts.succeeded + counts.failed
    const many = source.lines() ? `${messages(done)} done, ${counts.failed} failed` : source.name
    return out.progress(`${many}, ${seconds.toFixed(1)} s${node}`)
  })
  return Effect.all([Effect.ignore(watch), Effect.forever(Effect.delay(show, "200 millis"))], {
    concurrency: 2,
    discard: true
  })
}
