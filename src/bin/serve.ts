/** What `penguiflow serve` does. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type * as Terminal from "effect/Terminal"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as FlowCli from "../FlowCli.ts"
import * as FlowHttp from "../FlowHttp.ts"
import { JobQueue } from "../JobQueue.ts"
import * as HttpServerNode from "../layers/HttpServerNode.ts"
import * as JobMetrics from "../layers/JobMetrics.ts"
import * as JobQueueMemory from "../layers/JobQueueMemory.ts"
import * as MetricsObserver from "../layers/MetricsObserver.ts"
import * as MigrationReportsMemory from "../layers/MigrationReportsMemory.ts"
import * as MigrationReportsSql from "../layers/MigrationReportsSql.ts"
import * as TraceStoreMemory from "../layers/TraceStoreMemory.ts"
import * as TraceStoreSql from "../layers/TraceStoreSql.ts"
import * as Migration from "../Migration.ts"
import { TraceStore } from "../TraceStore.ts"
import * as Worker from "../Worker.ts"
import { refused } from "./answer.ts"
import type * as Commands from "./commands/serve.ts"
import * as Failures from "./failures.ts"
import { built, living, type Scopes } from "./living.ts"
import * as Places from "./places.ts"
import { version } from "./version.ts"
import { type Held, optionsOf, programOf, shutDown, told, usable } from "./worker.ts"

/** Serves until a signal comes. */
export const serve = (
  asked: Commands.Asked
): Effect.Effect<void, FlowCli.Ended, Stdio.Stdio | Terminal.Terminal> =>
  Effect.suspend(() => {
    let served: Scope.Closeable | undefined
    let held: Held | undefined
    const start = Effect.fnUntraced(function*({ own, theirs }: Scopes) {
      const token = yield* tokenOf(asked)
      const program = yield* programOf(asked)
      const places = yield* placesOf(asked)
      const services = yield* built("the layer of the flows can't be built", program.layer, theirs, asked)
      const stores = yield* built("the stores can't be used", storesOf(asked, places, services), own, asked)
      const counting = yield* Layer.buildWithScope(Layer.merge(MetricsObserver.layer(), Failures.layer), own)
      const context = Context.merge(Context.merge(counting, services), stores) as Context.Context<JobQueue>
      served = yield* Scope.make()
      const auth = token === undefined ? Layer.empty : FlowHttp.bearer(token)
      const http = FlowHttp.layer(program.flows, {
        version,
        allowUnauthenticated: asked.allowUnauthenticated,
        ...(asked.allowHost.length === 0 ? {} : { hosts: asked.allowHost }),
        origins: asked.allowOrigin,
        migrations: asked.migration
      }).pipe(
        Layer.provide(auth),
        Layer.provideMerge(HttpServerNode.layer({ port: asked.port, host: asked.host, grace: asked.grace }))
      )
      const server = yield* built("can't serve", http, served, { ...asked, words: wordsOf(asked) }).pipe(
        Effect.provideContext(context)
      )
      if (asked.worker) {
        yield* usable(Context.get(context, JobQueue))
        // Under the server, so that its dashboard sees the jobs run.
        const taking = yield* Worker.make(program.flows, optionsOf(asked, "serve")).pipe(
          Effect.provideContext(Context.merge(context, server)),
          Scope.provide(own)
        )
        held = yield* told(taking, own)
        yield* Layer.buildWithScope(JobMetrics.layer(), own).pipe(
          Effect.provideContext(Context.add(context, Worker.Worker, taking))
        )
      }
      const url = HttpServer.formatAddress(Context.get(server, HttpServer.HttpServer).address)
      const names = program.flows.map((flow) => flow.name).join(", ")
      yield* FlowCli.say(
        `Serving ${names}${token === undefined ? "" : ", with a token"}${asked.worker ? ", and running jobs" : ""}. ` +
          `${placed(places)} Ctrl-C ends it.`
      )
      if (program.notice !== "") yield* FlowCli.say(program.notice)
      yield* FlowCli.print(Stream.make(`${url}\n`))
      if (asked.open) yield* openBrowser(url)
    })
    const stop = Effect.suspend(() =>
      Effect.all([
        served === undefined ? Effect.void : Scope.close(served, Exit.void),
        shutDown(held, asked.grace)
      ], { concurrency: 2, discard: true })
    )
    return living(asked.grace, start, stop)
  })

// ----------------------------------------------------------------------------------------------------------- internals

/** Where jobs, and where traces and reports are; in memory where it is not said. */
interface Kept {
  readonly queue: Places.Place | undefined
  readonly database: Places.Database | undefined
}

const placesOf = (asked: Commands.Asked): Effect.Effect<Kept, FlowCli.Ended> =>
  Effect.gen(function*() {
    const database = yield* Places.given(asked.database, "PENGUIFLOW_DATABASE_URL", (said) =>
      Places.database(said, { create: true }))
    const redis = yield* Places.given(asked.redis, "PENGUIFLOW_REDIS_URL", Places.redis)
    return { queue: redis ?? database, database }
  }).pipe(Effect.catch(({ message }) =>
    refused(message)
  ))

const placed = ({ database, queue }: Kept): string => {
  if (queue === undefined) return "Jobs and traces are in memory, and gone at the end: --database keeps them."
  if (database === undefined) return `Jobs are in ${queue.shown}, traces in memory.`
  return queue === database
    ? `Jobs and traces are in ${database.shown}.`
    : `Jobs are in ${queue.shown}, traces in ${database.shown}.`
}

type Stores = Layer.Layer<never, unknown>

/** What the module's layer gives itself is used where the command line says nothing else. */
const storesOf = (asked: Commands.Asked, { database, queue }: Kept, services: Context.Context<never>): Stores => {
  const waiting = (why: string) => FlowCli.say(`The database is not there yet, trying again: ${why}`)
  const has = (key: Context.Key<never, unknown>) => Option.isSome(Context.getOption(services, key))
  const sql = database === undefined ? undefined : Places.sql(database, waiting)
  const jobs: Stores = queue === undefined
    ? has(JobQueue as never) ? Layer.empty : JobQueueMemory.layer()
    : queue === database && sql !== undefined
    ? Places.queueIn(Option.getOrUndefined(asked.queue)).pipe(Layer.provide(sql))
    : Places.queue(queue, asked.queue, waiting)
  if (sql === undefined) {
    const traces: Stores = has(TraceStore as never) ? Layer.empty : TraceStoreMemory.layer()
    const reports: Stores = has(Migration.Reports as never) ? Layer.empty : MigrationReportsMemory.layer()
    return Layer.mergeAll(jobs, traces, reports)
  }
  return Layer.mergeAll(
    jobs,
    TraceStoreSql.layer().pipe(Layer.provide(sql)),
    MigrationReportsSql.layer.pipe(Layer.provide(sql))
  )
}

const tokenOf = (asked: Commands.Asked): Effect.Effect<Redacted.Redacted | undefined, FlowCli.Ended> =>
  Effect.suspend(() => {
    const file = Option.getOrUndefined(asked.tokenFile)
    if (file === undefined) {
      const token = process.env["PENGUIFLOW_TOKEN"]
      return token === undefined ? Effect.succeed(undefined) : tokenIn(token, "PENGUIFLOW_TOKEN")
    }
    try {
      return tokenIn(fs.readFileSync(file, "utf8"), file)
    } catch (cause) {
      return refused(`${file}: can't be read: ${Places.codeOf(cause) ?? "unknown reason"}`)
    }
  })

const tokenIn = (text: string, where: string): Effect.Effect<Redacted.Redacted, FlowCli.Ended> => {
  const token = text.trim()
  if (token === "") return refused(`${where}: holds no token: give it one, or take it away`)
  return /\s/.test(token)
    ? refused(`${where}: holds a token with white space in it, which no request can bear`)
    : Effect.succeed(Redacted.make(token))
}

/** Why nothing is served, in terms of the command line. */
const wordsOf = ({ host, port }: Commands.Asked) => (error: unknown): string => {
  if (error instanceof FlowHttp.ServeRefused && /others can reach/.test(error.message)) {
    return `others can reach ${host}: set PENGUIFLOW_TOKEN or give --token-file, or say --allow-unauthenticated`
  }
  switch (Places.codeOf(error)) {
    case "EADDRINUSE":
      return `port ${port} of ${host} is taken by another program: end it, or choose another one by --port (0 takes a free one)`
    case "EACCES":
      return `port ${port} is not for everybody: choose one from 1024 on by --port`
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `${host} is no address of this machine: choose one by --host`
    default:
      return Places.wordsOf(error)
  }
}

const openers: Readonly<Partial<Record<NodeJS.Platform, readonly [string, ...ReadonlyArray<string>]>>> = {
  darwin: ["open"],
  win32: ["cmd", "/c", "start", "\"\""]
}

/** Where there is no browser, whoever asked reads the URL. */
const openBrowser = (url: string): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const [program, ...args] = openers[process.platform] ?? ["xdg-open"]
    const child = spawn(program, [...args, url], { stdio: "ignore", detached: true })
    child.once("error", () => resume(FlowCli.say(`No browser could be opened: open ${url} yourself.`)))
    child.once("spawn", () => {
      child.unref()
      resume(Effect.void)
    })
  })
