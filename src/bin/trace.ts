/** What `penguiflow trace` does. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import type * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type * as Terminal from "effect/Terminal"
import * as FlowCli from "../FlowCli.ts"
import * as TraceStoreSql from "../layers/TraceStoreSql.ts"
import * as TraceStore from "../TraceStore.ts"
import { answering, refused, toStderr, width } from "./answer.ts"
import type * as Commands from "./commands/trace.ts"
import { loadOrEnd } from "./exports.ts"
import * as Places from "./places.ts"
import { age, instant, lasting, record, table } from "./table.ts"
import { waterfall } from "./waterfall.ts"

type Answer = Effect.Effect<void, FlowCli.Ended, Stdio.Stdio | Terminal.Terminal>

export const list = (asked: Commands.Asked & Commands.Which): Answer =>
  withStore(asked, (store) =>
    Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      const found = pages(store, {
        flow: Option.getOrUndefined(asked.flow),
        tenant: Option.getOrUndefined(asked.tenant),
        status: Option.getOrUndefined(asked.status),
        from: Option.getOrUndefined(Option.map(asked.since, (since) => now - Duration.toMillis(since)))
      }, asked.limit)
      if (asked.json) return yield* FlowCli.print(Stream.map(found, (trace) => FlowCli.ndjson(trace) ?? ""))
      const rows = yield* Stream.runCollect(Stream.map(found, (trace) => rowOf(trace, now)))
      if (rows.length === 0) return yield* FlowCli.say("No trace matches.")
      const header = ["TRACE", "FLOW", "STATUS", "TENANT", "AGE", "TOOK", "REASON"]
      yield* FlowCli.print(Stream.make(table(header, rows, yield* width)))
      if (rows.length === asked.limit) yield* FlowCli.say("There may be more: --limit shows more at once.")
    }))

export const show = (
  asked: Commands.Asked & { readonly id: string; readonly flow: Option.Option<string> }
): Answer =>
  withStore(asked, (store) =>
    Effect.gen(function*() {
      const trace = yield* store.get(asked.id, { flow: Option.getOrUndefined(asked.flow) })
      if (trace === undefined) return yield* refused(`no trace has the id ${quoted(asked.id)}`)
      const events = yield* store.history(asked.id, { flow: trace.flow, limit: 100_000 })
      if (asked.json) return yield* FlowCli.print(Stream.make(FlowCli.ndjson({ trace, events }) ?? ""))
      const [wide, now] = [yield* width, yield* Clock.currentTimeMillis]
      const bars = waterfall(events, Math.min(wide, 120))
      yield* FlowCli.print(Stream.make(
        record(fieldsOf(trace, now), wide) + (bars.length === 0 ? "" : `\n${bars.join("\n")}\n`)
      ))
    }))

export const replay = (
  asked: Commands.Asked & {
    readonly module: string
    readonly id: string
    readonly flow: Option.Option<string>
    readonly layer: Option.Option<string>
  }
): Answer =>
  Effect.gen(function*() {
    const { flow, layer } = yield* loadOrEnd(asked.module, {
      flow: Option.getOrUndefined(asked.flow),
      layer: Option.getOrUndefined(asked.layer),
      debug: asked.debug
    })
    const place = yield* Effect.catch(
      Places.databaseOf(asked, { create: false }),
      ({ message }) => refused(message)
    )
    const store = TraceStoreSql.layerStore().pipe(Layer.provide(Places.sql(place)))
    const services = Layer.catchCause(layer, (cause) =>
      Layer.effectDiscard(
        Cause.hasInterruptsOnly(cause)
          ? Effect.interrupt
          : Effect.andThen(
            asked.debug ? Console.error(Cause.pretty(cause)) : Effect.void,
            refused(
              `the layer of the flow ${quoted(flow.name)} can't be built: ${Places.wordsOf(Cause.squash(cause))}`
            )
          )
      ))
    const told = yield* TraceStore.replay(flow, asked.id).pipe(
      Effect.provide(Layer.merge(services, store)),
      Effect.provideService(Console.Console, toStderr),
      Effect.provideService(Logger.LogToStderr, true)
    )
    yield* FlowCli.print(Stream.make(
      asked.json ? FlowCli.ndjson(told) ?? "" : record(comparedOf(told), yield* width)
    ))
    if (!told.same) return yield* new FlowCli.Ended({ code: 1 })
  }).pipe((answer) => answering(answer, { debug: asked.debug, logs: true }))

// ----------------------------------------------------------------------------------------------------------- internals

const readAtOnce = 500

const withStore = <E>(
  asked: Commands.Asked,
  f: (store: TraceStore.Service) => Effect.Effect<void, E, Stdio.Stdio | Terminal.Terminal>
): Answer =>
  answering(
    Effect.flatMap(
      Places.databaseOf(asked, { create: false }),
      (place) =>
        TraceStore.TraceStore.use(f).pipe(
          Effect.provide(TraceStoreSql.layerStore().pipe(Layer.provide(Places.sql(place))))
        )
    ),
    asked
  )

const pages = (
  store: TraceStore.Service,
  filter: TraceStore.Filter,
  limit: number
): Stream.Stream<TraceStore.Summary, TraceStore.TraceStoreError> =>
  Stream.flattenIterable(
    Stream.paginate({ after: filter.after, left: limit }, ({ after, left }) =>
      Effect.map(store.list({ ...filter, after, limit: Math.min(left, readAtOnce) }), (traces) => {
        const rest = left - traces.length
        const last = traces.at(-1)
        const more = last !== undefined && rest > 0 && traces.length === readAtOnce
        return [[traces], more ? Option.some({ after: last, left: rest }) : Option.none()]
      }))
  )

const quoted = (text: string): string => JSON.stringify(text.slice(0, 80))

const reasonOf = ({ error, node, reason }: Pick<TraceStore.Summary, "error" | "node" | "reason">): string => {
  const words = error === undefined
    ? reason ?? ""
    : `${error.tag}${error.code === undefined ? "" : ` (${error.code})`}: ${error.message}`
  return words === "" || node === undefined ? words : `${words} (node ${quoted(node)})`
}

const rowOf = (trace: TraceStore.Summary, now: number): ReadonlyArray<string> => [
  trace.traceId,
  trace.flow,
  trace.status,
  trace.tenant ?? "",
  age(trace.at, now),
  trace.durationMs === undefined ? "" : lasting(trace.durationMs),
  reasonOf(trace)
]

const pretty = (value: unknown): string => {
  try {
    return JSON.stringify(value, null, 2) ?? ""
  } catch {
    return "it is nested too deep to be shown"
  }
}

const keptOf = (kept: TraceStore.Kept | undefined): string =>
  kept === undefined
    ? "not recorded"
    : kept._tag === "Kept"
    ? pretty(kept.json)
    : `left out: ${kept.reason}`

const fieldsOf = (
  trace: TraceStore.Stored,
  now: number
): ReadonlyArray<readonly [string, string | undefined]> => [
  ["trace", trace.traceId],
  ["flow", trace.flow],
  ["status", trace.status],
  ["tenant", trace.tenant],
  ["began", instant(trace.at, now)],
  ["took", trace.durationMs === undefined ? undefined : lasting(trace.durationMs)],
  ["runs", trace.runs > 1 ? `${trace.runs}, of which the last is shown` : undefined],
  ["reason", reasonOf(trace) === "" ? undefined : reasonOf(trace)],
  ["input", keptOf(trace.input)],
  ["outcome", trace.status === "running" && trace.outcome === undefined ? undefined : keptOf(trace.outcome)]
]

const endOf = (ended: TraceStore.Ended): string => {
  const kept = ended.outcome === undefined ? "" : `\n${keptOf(ended.outcome)}`
  const why = reasonOf({ error: ended.error, node: ended.node, reason: undefined })
  return `${ended.status}${why === "" ? "" : `: ${why}`}${kept}`
}

const comparedOf = (told: TraceStore.Replay): ReadonlyArray<readonly [string, string | undefined]> => [
  ["replay", told.same ? "the same outcome by the same way" : "different"],
  ["outcome", told.outcome.same ? "the same" : "different"],
  ["stored", endOf(told.outcome.stored)],
  ["now", told.outcome.same ? undefined : endOf(told.outcome.now)],
  ["way", told.path.same ? "the same" : "different"],
  ["missing", told.path.missing.length === 0 ? undefined : told.path.missing.join("\n")],
  ["added", told.path.added.length === 0 ? undefined : told.path.added.join("\n")]
]
