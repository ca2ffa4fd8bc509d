/** One server: what is shared by its requests, what each passes, and the order in which it ends. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpApiError from "effect/http-api/HttpApiError"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import { isHttpServerError } from "effect/http/HttpServerError"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Response from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Any } from "../../Flow.ts"
import * as FlowObserver from "../../FlowObserver.ts"
import * as JobQueue from "../../JobQueue.ts"
import * as Migration from "../../Migration.ts"
import * as TraceStore from "../../TraceStore.ts"
import { ofUnknown, Refusal, refusal, toResponse } from "./errors.ts"
import { Pieces } from "./events.ts"
import { type Check, guard, type GuardOptions, headersOfAll, loopbackNames, preflight, sharedWith } from "./guards.ts"
import type { Hosting } from "./hosting.ts"
import { Live } from "./live.ts"
import { methodsOf, routes } from "./routes.ts"
import { type Running, start } from "./running.ts"
import type { Settings } from "./settings.ts"
import { Readers } from "./sse.ts"
import { Streams } from "./streams.ts"

/**
 * Serves flows on the server in the context, for as long as the scope is open. Fails with words where it must not. Gives
 * what it watches its own runtimes with, for others.
 */
export const serve = (
  flows: ReadonlyArray<Any>,
  settings: Settings,
  auth: Check | undefined
): Effect.Effect<Context.Context<never>, string, HttpServer.HttpServer | Scope.Scope> =>
  Effect.gen(function*() {
    const server = yield* HttpServer.HttpServer
    const address = HttpServer.formatAddress(server.address)
    const fault = faultOf(flows, settings, auth, address)
    if (fault !== undefined) return yield* Effect.fail(fault)
    const hosting = yield* host(flows, settings)
    const router = yield* Effect.provideService(HttpRouter.make, HttpRouter.RouterConfig, {
      caseSensitive: true,
      ignoreDuplicateSlashes: false,
      ignoreTrailingSlash: false,
      maxParamLength: 4096
    })
    yield* Layer.build(
      Layer.provide(routes(hosting, auth !== undefined), Layer.succeed(HttpRouter.HttpRouter, router))
    )
    yield* server.serve(handled(router, {
      hosts: hostsOf(settings, auth, address),
      origins: new Set(settings.origins.map((origin) => origin.toLowerCase())),
      auth
    }))
    hosting.phase = "ready"
    // Added last, so run first: whoever looks sees that the server goes before it goes.
    yield* Effect.addFinalizer(() => drain(hosting))
    return hosting.watching
  })

// ----------------------------------------------------------------------------------------------------------- internals

const host = Effect.fnUntraced(function*(flows: ReadonlyArray<Any>, settings: Settings) {
  const scope = yield* Effect.scope
  const live = new Live(settings.eventBuffer)
  const watching = yield* Layer.build(FlowObserver.layer({
    name: "penguiflow/FlowHttp",
    observe: (events) => Effect.sync(() => live.take(events)),
    onLost: (count) => Effect.sync(() => live.lose(count))
  }))
  const running = new Map<string, Running>()
  for (const flow of flows) {
    const started = yield* Effect.provideContext(start(flow, settings), watching)
    running.set(flow.name, started)
    live.know(flow.name, started.nodes.map(({ name }) => name))
  }
  const readers = new Readers(settings)
  yield* Effect.forkScoped(readers.sweep)
  const began = yield* Clock.currentTimeMillis
  const hosting: Hosting = {
    settings,
    flows: running,
    live,
    watching,
    pieces: new Pieces(),
    readers,
    streams: new Streams(settings, readers, scope),
    queue: yield* Effect.serviceOption(JobQueue.JobQueue),
    store: yield* Effect.serviceOption(TraceStore.TraceStore),
    reports: yield* Effect.serviceOption(Migration.Reports),
    boot: `${began.toString(36)}${globalThis.crypto.randomUUID().slice(0, 8)}`,
    phase: "starting"
  }
  return hosting
})

const drain = (hosting: Hosting): Effect.Effect<void> =>
  Effect.gen(function*() {
    hosting.phase = "draining"
    const delay = Duration.fromInputUnsafe(hosting.settings.drainDelay)
    if (Duration.toMillis(delay) > 0) yield* Effect.sleep(delay)
    hosting.phase = "stopping"
    hosting.readers.close()
  })

const isLoopback = (address: string): boolean =>
  /^https?:\/\/(?:127\.\d+\.\d+\.\d+|localhost|\[::1\]|\[::ffff:127\.[\d.]+\])(?::\d+)?\/?$/.test(address) ||
  // A socket in the file system: whoever may open it.
  !/^https?:/.test(address)

const faultOf = (
  flows: ReadonlyArray<Any>,
  { allowUnauthenticated }: Settings,
  auth: Check | undefined,
  address: string
): string | undefined => {
  const names = flows.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) return `two flows are named "${twice}": a path must say which one is meant`
  return auth === undefined && !allowUnauthenticated && !isLoopback(address)
    ? `others can reach ${address}, and there is no FlowHttp.Auth: provide FlowHttp.bearer, bind to 127.0.0.1, or say ` +
      "`allowUnauthenticated: true`"
    : undefined
}

const hostsOf = (
  { hosts }: Settings,
  auth: Check | undefined,
  address: string
): GuardOptions["hosts"] => {
  if (hosts === "any" || (hosts === undefined && auth !== undefined && !isLoopback(address))) return undefined
  const [, bound] = /^https?:\/\/(.*?)(?::\d+)?\/?$/.exec(address) ?? []
  return new Set(
    [...loopbackNames, ...(bound === undefined ? [] : [bound]), ...(hosts ?? [])].map((it) => it.toLowerCase())
  )
}

const handled = (
  router: HttpRouter.HttpRouter,
  options: GuardOptions
): Effect.Effect<Response.HttpServerResponse, never, HttpServerRequest | Scope.Scope> => {
  const app = router.asHttpEffect()
  return Effect.contextWith((context: Context.Context<HttpServerRequest>) => {
    const request = Context.get(context, HttpServerRequest)
    const [path] = request.url.split("?", 1)
    const asked = preflight(request, options.origins)
    const answer = asked === undefined
      ? Effect.andThen(guard(request, path!, options), app)
      : Effect.succeed(asked)
    return answer.pipe(
      Effect.catchCause((cause) => refused(cause, request, path!)),
      Effect.map((response) => {
        const all = Response.setHeaders(response, { ...headersOfAll, ...sharedWith(request, options.origins) })
        return "content-security-policy" in response.headers
          ? all
          : Response.setHeader(all, "content-security-policy", "default-src 'none'; frame-ancestors 'none'")
      })
    )
  })
}

const refused = (
  cause: Cause.Cause<unknown>,
  request: HttpServerRequest,
  path: string
): Effect.Effect<Response.HttpServerResponse> => {
  // The client has left, or the server stops: the server's own answers.
  if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
  const error = Cause.squash(cause)
  if (error instanceof Refusal) return Effect.succeed(toResponse(error))
  if (isHttpServerError(error)) return Effect.succeed(toResponse(unanswered(error.reason._tag, request, path)))
  if (HttpApiError.HttpApiSchemaError.is(error) && (error.kind === "Query" || error.kind === "Params")) {
    return Effect.succeed(toResponse(unfit(error.cause.message)))
  }
  return Effect.as(
    Effect.logError(`A request failed: ${request.method} ${path.slice(0, 200)}`, cause),
    toResponse(ofUnknown(error))
  )
}

const unanswered = (tag: string, request: HttpServerRequest, path: string): Refusal => {
  if (tag !== "RouteNotFound") return refusal(400, "INVALID_REQUEST", "The request can't be read")
  const methods = methodsOf(path)
  return methods.length === 0
    ? refusal(404, "NOT_FOUND", "There is nothing here: GET /openapi.json lists what there is")
    : new Refusal(
      405,
      { error: `This is answered to ${methods.join(", ")} only`, code: "METHOD_NOT_ALLOWED" },
      { allow: methods.join(", ") }
    )
}

/** The name of the parameter, and nothing of what it was given. */
const unfit = (words: string): Refusal => {
  const [, name] = /\["(\w+)"\]/.exec(words) ?? []
  return refusal(
    400,
    "INVALID_REQUEST",
    name === undefined
      ? "A parameter of the request is not what it takes: GET /openapi.json says what"
      : `The parameter "${name}" is not what it takes: GET /openapi.json says what`,
    name === undefined ? {} : { path: name }
  )
}
