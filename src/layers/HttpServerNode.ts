/**
 * An HTTP server on Node that holds against clients who mean ill or are slow.
 *
 * | what | default | and then |
 * |---|---|---|
 * | address | `127.0.0.1:3000` | |
 * | connections at once | 1024 | closed at once |
 * | time for a request's head | 10 seconds | 408, closed |
 * | time for a whole request | 25 seconds | 408, closed |
 * | size of a request's head | 16 KiB | 431, closed |
 * | time between requests | 5 seconds | closed |
| time in which a client takes nothing of an answer that is complete | 30 seconds | closed |
 * | time for requests under way when it ends | 20 seconds | closed |
 *
 * Two lengths, a length and chunks, or what is no HTTP at all: 400, and closed. What answers is in `FlowHttp`, or whatever
 * else is served on effect's `HttpServer`.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpServer from "effect/http/HttpServer"
import type * as HttpServerError from "effect/http/HttpServerError"
import * as Layer from "effect/Layer"
import * as Http from "node:http"
import type { Socket } from "node:net"

/** How the server is bound and bounded. */
export interface Options {
  /** Default 3000; 0 takes a free one. */
  readonly port?: number | undefined
  /** Default `127.0.0.1`. */
  readonly host?: string | undefined
  readonly maxConnections?: number | undefined
  readonly headersTimeout?: Duration.Input | undefined
  readonly requestTimeout?: Duration.Input | undefined
  readonly keepAliveTimeout?: Duration.Input | undefined
  /** How long a client may take nothing of an answer that is complete. A stream is whoever's business sends it. */
  readonly writeTimeout?: Duration.Input | undefined
  /** Bytes. */
  readonly maxHeaderSize?: number | undefined
  /** How long requests under way may take to end when the layer does. */
  readonly grace?: Duration.Input | undefined
}

/**
 * effect's `HttpServer`, hardened. Fails where the port is taken.
 *
 * @example
 * ```ts runnable
 * import { Effect, Layer, Schema } from "effect"
 * import { HttpServer } from "effect/http"
 * import { Flow, Node } from "penguiflow"
 * import * as FlowHttp from "penguiflow/FlowHttp"
 * import * as HttpServerNode from "penguiflow/layers/HttpServerNode"
 *
 * const flow = Flow.make("upper", [
 *   Node.make("upper", {
 *     input: Schema.String,
 *     output: Schema.String,
 *     run: (text) => Effect.succeed(text.toUpperCase())
 *   }).to()
 * ])
 * const live = FlowHttp.layer([flow]).pipe(Layer.provideMerge(HttpServerNode.layer({ port: 0 })))
 * const program = Effect.gen(function*() {
 *   const { address } = yield* HttpServer.HttpServer
 *   const response = yield* Effect.promise(() =>
 *     fetch(`${HttpServer.formatAddress(address)}/api/flows/upper/run?traceId=one`, {
 *       method: "POST",
 *       headers: { "content-type": "application/json" },
 *       body: JSON.stringify("penguin")
 *     })
 *   )
 *   return yield* Effect.promise(() => response.json())
 * })
 * await Effect.runPromise(Effect.provide(program, live)) // => { traceId: "one", results: ["PENGUIN"] }
 * ```
 */
export const layer = (
  options: Options = {}
): Layer.Layer<HttpServer.HttpServer, HttpServerError.ServeError> =>
  Layer.unwrap(Effect.sync(() => {
    const headersTimeout = millis(options.headersTimeout, 10_000)
    const requestTimeout = millis(options.requestTimeout, 25_000)
    const grace = millis(options.grace, 20_000)
    const server = new Server({
      headersTimeout: Math.min(headersTimeout, requestTimeout),
      requestTimeout,
      keepAliveTimeout: millis(options.keepAliveTimeout, 5000),
      // How often Node looks for those that took too long.
      connectionsCheckingInterval: Math.max(100, Math.min(2000, headersTimeout / 4, requestTimeout / 4)),
      maxHeaderSize: options.maxHeaderSize ?? 16 * 1024,
      requireHostHeader: true,
      insecureHTTPParser: false
    }, millis(options.writeTimeout, 30_000))
    server.maxConnections = options.maxConnections ?? 1024
    return NodeHttpServer.layerServer(() => server, {
      port: options.port ?? 3000,
      host: options.host ?? "127.0.0.1",
      gracefulShutdownTimeout: grace
    })
  }))

// ----------------------------------------------------------------------------------------------------------- internals

const millis = (input: Duration.Input | undefined, otherwise: number): number =>
  input === undefined ? otherwise : Duration.toMillis(Duration.fromInputUnsafe(input))

/** Closes as soon as no request is under way: who sends none, or never ends one, holds nothing up. */
class Server extends Http.Server {
  #underWay = 0
  #closing = false

  constructor(options: Http.ServerOptions, writeTimeout: number) {
    super(options)
    this.on("request", (_, response) => {
      this.#underWay++
      // Node sees by itself whether anything is written meanwhile, and sets the time anew for the next request.
      response.once("prefinish", () => response.socket?.setTimeout(writeTimeout))
      if (this.#closing) response.setHeader("connection", "close")
      response.once("close", () => {
        this.#underWay--
        this.#tidy()
      })
    })
    this.on("clientError", (error: Error & { readonly code?: string }, socket: Socket) => refuse(error.code, socket))
  }

  override close(done?: (error?: Error) => void): this {
    this.#closing = true
    super.close(done)
    this.#tidy()
    return this
  }

  #tidy(): void {
    if (this.#closing && this.#underWay === 0) this.closeAllConnections()
  }
}

/** What can't be read is answered in a few words, and never with what was sent. */
const refuse = (code: string | undefined, socket: Socket): void => {
  if (code === "ECONNRESET" || !socket.writable) {
    socket.destroy()
    return
  }
  const [status, reason, body] = code === "HPE_HEADER_OVERFLOW"
    ? [431, "Request Header Fields Too Large", {
      error: "The head of the request is too large",
      code: "HEAD_TOO_LARGE"
    }]
    : code === "ERR_HTTP_REQUEST_TIMEOUT"
    ? [408, "Request Timeout", { error: "The request took too long to come", code: "REQUEST_TIMEOUT" }]
    : [400, "Bad Request", { error: "This is no HTTP request that can be read", code: "INVALID_REQUEST" }]
  const text = JSON.stringify(body)
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`
  )
  // Whoever goes on sending does not keep it open.
  setTimeout(() => socket.destroy(), 500).unref()
}
