/**
 * Flows over HTTP: run, streamed, enqueued, watched, and documented.
 *
 * See docs/http.md for the interface.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import type * as HttpServer from "effect/http/HttpServer"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { Any } from "./Flow.ts"
import { bearerCheck, checkOf } from "./internal/http/auth.ts"
import { type Client, makeClient } from "./internal/http/client.ts"
import { serve } from "./internal/http/serve.ts"
import { type Options, settingsOf } from "./internal/http/settings.ts"

export { type CallOptions, type Client, FlowHttpError, type JobOptions } from "./internal/http/client.ts"
export type { Options } from "./internal/http/settings.ts"

const RefusedBase: new(fields: {
  readonly message: string
}) => Cause.YieldableError & { readonly _tag: "ServeRefused"; readonly message: string } = Data.TaggedError(
  "ServeRefused"
)

/** Why flows are not served. */
export class ServeRefused extends RefusedBase {}

const AuthBase: Context.ServiceClass<Auth, "penguiflow/FlowHttp/Auth", {
  readonly check: (request: HttpServerRequest) => Effect.Effect<boolean>
}> = Context.Service<Auth, { readonly check: (request: HttpServerRequest) => Effect.Effect<boolean> }>()(
  "penguiflow/FlowHttp/Auth"
)

/**
 * Who may ask. Where it is in the context, every request but those for `/`, `/assets/…`, `/healthz` and `/readyz` is put
 * to it before anything else of it is read; one that it does not let through is answered with 401.
 */
export class Auth extends AuthBase {}

/**
 * Lets through whoever sends `Authorization: Bearer …` with this token, or with one of these. Compared in a time that does
 * not depend on how much of it is right.
 *
 * A token without a character is a mistake, and a defect of the layer.
 */
export const bearer = (
  tokens: Redacted.Redacted | ReadonlyArray<Redacted.Redacted>
): Layer.Layer<Auth> =>
  Layer.sync(Auth, () => {
    const all = Redacted.isRedacted(tokens) ? [tokens] : tokens
    return { check: bearerCheck(all.map((token) => Redacted.value(token))) }
  })

/**
 * Serves flows on the `HttpServer` in the context.
 *
 * The flows run in runtimes of their own, made here, with the services from here. What else is in the context is served
 * as well: a `JobQueue`, a `TraceStore` (which then records inputs and outcomes), `Migration.Reports`, and {@link Auth}.
 *
 * Fails where an address that others can reach would be served without `Auth`, unless `allowUnauthenticated` says so, and
 * where two flows have one name.
 *
 * Runtimes under this layer are watched as well: a `Worker` of the same flows, for one, is seen at work.
 *
 * When the layer ends, `/readyz` says so first; then new work is refused and those who watch are let go, the server waits
 * for requests under way as long as it is told to, and whatever is left is interrupted.
 */
export const layer = <const Flows extends ReadonlyArray<Any>>(
  flows: Flows,
  options?: Options
): Layer.Layer<
  never,
  ServeRefused,
  HttpServer.HttpServer | Exclude<Flows[number]["~services"], Scope.Scope>
> =>
  Layer.effectContext(
    Effect.gen(function*() {
      const auth = yield* Effect.serviceOption(Auth)
      return yield* Effect.mapError(
        serve(flows, settingsOf(options ?? {}), Option.isNone(auth) ? undefined : checkOf(auth.value.check)),
        (why) => new ServeRefused({ message: `The flows are not served: ${why}` })
      )
    })
    // What the flows need is not seen by a program that does not know their types; the layer's type asks for it.
  ) as Layer.Layer<never, ServeRefused, HttpServer.HttpServer | Exclude<Flows[number]["~services"], Scope.Scope>>

/**
 * A client of flows that are served elsewhere: the same flows, as values, say what is sent and what comes back.
 *
 * `baseUrl` is the server's: `http://127.0.0.1:3000`.
 *
 * @example
 * ```ts runnable
 * import { Effect, Layer, Schema } from "effect"
 * import { FetchHttpClient, HttpServer } from "effect/http"
 * import { Flow, Node } from "penguiflow"
 * import * as FlowHttp from "penguiflow/FlowHttp"
 * import * as HttpServerNode from "penguiflow/layers/HttpServerNode"
 *
 * class Empty extends Schema.TaggedError<Empty>()("Empty", { at: Schema.DateFromString }) {}
 * const parse = Node.make("parse", {
 *   input: Schema.String,
 *   output: Schema.DateFromString,
 *   error: Empty,
 *   run: (text) => text === "" ? Effect.fail(new Empty({ at: new Date(0) })) : Effect.succeed(new Date(text))
 * })
 * const flow = Flow.make("dates", [parse.to()])
 *
 * const program = Effect.gen(function*() {
 *   const { address } = yield* HttpServer.HttpServer
 *   const client = yield* FlowHttp.client({ baseUrl: HttpServer.formatAddress(address) })
 *   const date = yield* client.run(flow, "2026-11-25T00:00:00Z")
 *   const error = yield* Effect.flip(client.run(flow, ""))
 *   return [date.getUTCFullYear(), error._tag === "Empty" && error.at.getTime()]
 * })
 * const live = Layer.merge(
 *   FlowHttp.layer([flow]).pipe(Layer.provideMerge(HttpServerNode.layer({ port: 0 }))),
 *   FetchHttpClient.layer
 * )
 * await Effect.runPromise(Effect.provide(program, live)) // => [2026, 0]
 * ```
 */
export const client = (options: {
  readonly baseUrl: string
  readonly token?: Redacted.Redacted | undefined
}): Effect.Effect<Client, never, HttpClient.HttpClient> =>
  makeClient(options.baseUrl, options.token && Redacted.value(options.token))
