/** Flows served on a port of loopback, and clients of every kind: polite ones by fetch, others by bare sockets. */
import { Effect, Layer, type Scope, Stream } from "effect"
import { HttpServer } from "effect/http"
import { connect, type Socket } from "node:net"
import type { Flow } from "penguiflow"
import * as FlowHttp from "penguiflow/FlowHttp"
import * as HttpServerNode from "penguiflow/layers/HttpServerNode"

/** Where a server listens. */
export interface Place {
  readonly base: string
  readonly port: number
}

/** Serves for as long as the scope is open; `under` is what the flows and the server need or may use. */
export const serving = <const Flows extends ReadonlyArray<Flow.Any>, A = never>(
  flows: Flows,
  options?: FlowHttp.Options & {
    readonly node?: HttpServerNode.Options
    /** What is made under the server's layer. */
    readonly above?: Layer.Layer<never, never, A>
  },
  under: Layer.Layer<A> = Layer.empty as unknown as Layer.Layer<A>
): Effect.Effect<Place, never, Scope.Scope | Exclude<Flows[number]["~services"], A | Scope.Scope>> =>
  Effect.map(
    Effect.flatMap(
      Layer.build(
        (options?.above ?? Layer.empty as Layer.Layer<never, never, A>).pipe(
          Layer.provideMerge(FlowHttp.layer(flows, options)),
          Layer.provide(under),
          Layer.provideMerge(HttpServerNode.layer({ port: 0, ...options?.node })),
          Layer.orDie
        )
      ),
      (context) => Effect.provideContext(HttpServer.HttpServer, context)
    ),
    ({ address }) => {
      const base = HttpServer.formatAddress(address)
      return { base, port: Number(new URL(base).port) }
    }
  ) as Effect.Effect<Place, never, Scope.Scope | Exclude<Flows[number]["~services"], A | Scope.Scope>>

/** JSON as it came over the wire: tests look into it and say what they expect. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Wire = any

/** What a request was answered with. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: Wire
}

/** A request by fetch. */
export const ask = (url: string, init?: RequestInit): Effect.Effect<Answer> =>
  Effect.promise(async (signal) => {
    const response = await fetch(url, { signal, ...init })
    const text = await response.text()
    let json: unknown
    try {
      json = JSON.parse(text)
    } catch {
      json = undefined
    }
    return { status: response.status, headers: response.headers, text, json }
  })

/** A message to a flow. */
export const post = (url: string, body: unknown, headers?: Record<string, string>): Effect.Effect<Answer> =>
  ask(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body)
  })

/** A bare connection: what is written to it, and all that came back. */
export interface Raw {
  readonly socket: Socket
  readonly write: (text: string | Uint8Array) => void
  /** What has come so far. */
  readonly received: () => string
  /** Resolves when the other side has closed. */
  readonly closed: Effect.Effect<string>
  /** Resolves once what has come includes a text; fails with what has come where the connection ends before. */
  readonly until: (text: string) => Effect.Effect<string>
  /** When the other side closed, on `performance.now`'s clock. */
  readonly closedAt: () => number | undefined
}

/** A bare connection, destroyed with the scope. */
export const raw = (port: number): Effect.Effect<Raw, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Raw>((resume) => {
      const socket = connect(port, "127.0.0.1")
      let received = ""
      let closedAt: number | undefined
      const waiting = new Set<() => void>()
      const wake = () => waiting.forEach((it) => it())
      socket.setEncoding("latin1")
      socket.on("data", (text) => {
        received += String(text)
        wake()
      })
      socket.on("error", () => {})
      socket.on("close", () => {
        closedAt = performance.now()
        wake()
      })
      const when = (done: () => boolean) =>
        Effect.callback<string>((resume) => {
          const check = () => {
            if (!done()) return false
            waiting.delete(check)
            resume(Effect.succeed(received))
            return true
          }
          if (!check()) waiting.add(check)
        })
      const raw: Raw = {
        socket,
        write: (text) => void socket.write(text),
        received: () => received,
        closedAt: () => closedAt,
        closed: when(() => closedAt !== undefined),
        until: (text) =>
          Effect.flatMap(
            when(() => closedAt !== undefined || received.includes(text)),
            (all) =>
              all.includes(text)
                ? Effect.succeed(all)
                : Effect.die(new Error(`closed before "${text}" came: ${all.slice(0, 500)}`))
          )
      }
      socket.once("connect", () => resume(Effect.succeed(raw)))
      socket.once("error", (error) => resume(Effect.die(error)))
    }),
    ({ socket }) => Effect.sync(() => void socket.destroy())
  )

/** The head of a request. */
export const head = (method: string, path: string, headers: ReadonlyArray<string> = []): string =>
  [`${method} ${path} HTTP/1.1`, "Host: localhost", ...headers, "", ""].join("\r\n")

/** An event of a stream. */
export interface Sent {
  readonly id: string | undefined
  readonly event: string
  readonly data: Wire
}

/** Reads a stream of events; leaving it closes the connection. */
export const sse = (url: string, init?: RequestInit): Stream.Stream<Sent> =>
  Stream.unwrap(Effect.gen(function*() {
    const controller = yield* Effect.acquireRelease(
      Effect.sync(() => new AbortController()),
      (it) => Effect.sync(() => it.abort())
    )
    const response = yield* Effect.promise(() => fetch(url, { ...init, signal: controller.signal }))
    if (response.status !== 200) {
      return Stream.die(new Error(`${response.status} ${yield* Effect.promise(() => response.text())}`))
    }
    return Stream.fromReadableStream({ evaluate: () => response.body!, onError: (error) => error }).pipe(
      Stream.orDie,
      Stream.decodeText,
      Stream.mapAccum(() => "", (rest, text) => {
        const blocks = (rest + text).split("\n\n")
        return [blocks.pop() ?? "", blocks]
      }),
      Stream.filter((block) => !block.startsWith(":")),
      Stream.map((block): Sent => {
        const field = (name: string) =>
          block.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
        return { id: field("id"), event: field("event") ?? "message", data: JSON.parse(field("data") ?? "null") }
      })
    )
  }))

/** Waits for a condition, a turn of the event loop at a time. */
export const eventually = (condition: () => boolean): Effect.Effect<void> =>
  Effect.promise(async () => {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2))
  })
