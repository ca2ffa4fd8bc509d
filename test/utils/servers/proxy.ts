/** A TCP proxy that can go dark: bytes go nowhere, nobody is told, as behind a cut cable. */
import { Effect, type Scope } from "effect"
import * as Net from "node:net"

export interface Proxy {
  readonly port: number
  /** Swallows what both sides send from now on; new connections are accepted, and swallowed too. */
  readonly goDark: Effect.Effect<void>
  /** Swallows what is sent on the connections that are open now; new ones work. */
  readonly darkenOpen: Effect.Effect<void>
  /** New connections work again. Those that were in the dark stay there: what they missed is lost. */
  readonly light: Effect.Effect<void>
  /** Resets every open connection. */
  readonly reset: Effect.Effect<void>
  /** Resets every new connection. */
  readonly refuse: Effect.Effect<void>
  /** Resets a connection after that many bytes of the server's; undefined for never again. */
  readonly cutAfter: (bytes: number | undefined) => Effect.Effect<void>
  /** Holds everything back for so many milliseconds. */
  readonly delay: (ms: number) => Effect.Effect<void>
  /** New connections go to another port, as where a name or an address has moved. */
  readonly redirect: (target: number) => Effect.Effect<void>
  /** How many connections are open. */
  readonly open: Effect.Effect<number>
  /** How many connections there have been. */
  readonly total: Effect.Effect<number>
}

interface Pair {
  readonly client: Net.Socket
  readonly server: Net.Socket
  dark: boolean
}

/** Starts one in front of a port of this machine. */
export const start = (target: number): Effect.Effect<Proxy, never, Scope.Scope> =>
  Effect.gen(function*() {
    const pairs = new Set<Pair>()
    let mode: "light" | "dark" | "refuse" = "light"
    let limit: number | undefined
    let delay = 0
    let total = 0
    let port = target
    const listener = Net.createServer((client) => {
      total++
      client.on("error", () => {})
      if (mode === "refuse") return client.resetAndDestroy()
      const server = Net.connect({ host: "127.0.0.1", port, noDelay: true })
      const pair: Pair = { client, server, dark: mode === "dark" }
      pairs.add(pair)
      let bytes = 0
      const later = (f: () => void) => delay > 0 ? setTimeout(f, delay) : f()
      const both = (from: Net.Socket, to: Net.Socket) => {
        from.on("error", () => {})
        from.on("data", (chunk) => {
          if (pair.dark) return
          if (from === server && limit !== undefined) {
            bytes += chunk.length
            if (bytes > limit) {
              to.write(chunk.subarray(0, chunk.length - (bytes - limit)))
              client.resetAndDestroy()
              server.destroy()
              return
            }
          }
          later(() => to.writable && to.write(chunk))
        })
        from.on("end", () => pair.dark ? undefined : later(() => to.end()))
        from.on("close", () => {
          if (from === client || !pair.dark) {
            pairs.delete(pair)
            later(() => to.destroy())
          }
        })
      }
      both(client, server)
      both(server, client)
    })
    yield* Effect.acquireRelease(
      Effect.promise(() => new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve))),
      () =>
        Effect.promise(() =>
          new Promise<void>((resolve) => {
            for (const { client, server } of pairs) {
              client.destroy()
              server.destroy()
            }
            listener.close(() => resolve())
          })
        )
    )
    const address = listener.address()
    return {
      port: typeof address === "object" && address !== null ? address.port : 0,
      goDark: Effect.sync(() => {
        mode = "dark"
        for (const pair of pairs) pair.dark = true
      }),
      darkenOpen: Effect.sync(() => {
        for (const pair of pairs) pair.dark = true
      }),
      light: Effect.sync(() => {
        mode = "light"
      }),
      reset: Effect.sync(() => {
        for (const { client, server } of pairs) {
          client.resetAndDestroy()
          server.destroy()
        }
      }),
      refuse: Effect.sync(() => {
        mode = "refuse"
      }),
      cutAfter: (bytes) =>
        Effect.sync(() => {
          limit = bytes
        }),
      delay: (ms) =>
        Effect.sync(() => {
          delay = ms
        }),
      redirect: (target) =>
        Effect.sync(() => {
          port = target
        }),
      open: Effect.sync(() => pairs.size),
      total: Effect.sync(() => total)
    }
  })
