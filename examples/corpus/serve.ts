/** The dashboard beside the run: the flow over HTTP, its traces in memory. */
import { Data, Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import { spawn } from "node:child_process"
import * as FlowHttp from "penguiflow/FlowHttp"
import * as HttpServerNode from "penguiflow/layers/HttpServerNode"
import * as TraceStoreMemory from "penguiflow/layers/TraceStoreMemory"
import { flow } from "./flow.ts"

/** Nothing can be served there. */
export class NotServed extends Data.TaggedError("NotServed")<{ readonly message: string }> {}

/**
 * Serves the flow at a port of this machine. A runtime that is made under this layer is seen on the dashboard, and its
 * traces are kept.
 */
export const layer = (port: number) =>
  FlowHttp.layer([flow]).pipe(
    Layer.provideMerge(TraceStoreMemory.layer()),
    Layer.provideMerge(
      Layer.catchTag(HttpServerNode.layer({ port, grace: "2 seconds" }), "ServeError", ({ cause }) =>
        Layer.effect(HttpServer.HttpServer, new NotServed({ message: wordsOf(port, cause) })))
    )
  )

/** Where the dashboard is. */
export const url = HttpServer.HttpServer.useSync(({ address }) => HttpServer.formatAddress(address))

/** Opens the dashboard where there is somebody to look and a browser to look with; else the URL has to do. */
export const open = (url: string) =>
  Effect.sync(() => {
    if (!process.stdout.isTTY) return
    const program = process.platform === "darwin" ? "open" : "xdg-open"
    spawn(program, [url], { stdio: "ignore", detached: true }).once("error", () => {}).unref()
  })

const wordsOf = (port: number, cause: unknown) => {
  const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : "unknown reason"
  return code === "EADDRINUSE"
    ? `Port ${port} is taken by another program: choose another one by --port (0 takes a free one).`
    : `Port ${port} can't be used: ${code}.`
}
