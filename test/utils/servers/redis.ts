/** A private Redis server: its own folder and port, gone after the test. */
import { Effect, type Scope } from "effect"
import { ask, type Daemon, daemon, firstOf, freePort, ordinaryUser, temporaryFolder } from "./process.ts"

export const command: string | undefined = firstOf(
  "/usr/bin/redis-server",
  "/usr/local/bin/redis-server",
  "/opt/homebrew/bin/redis-server"
)

/** False where Redis is not installed: then its tests are skipped. */
export const available: boolean = command !== undefined

export interface RedisServer extends Daemon {
  readonly port: number
  readonly url: string
}

/** Starts one. With `durable`, what it has acknowledged is there again after `kill` and `start`. */
export const start = (
  options: {
    readonly durable?: boolean | undefined
    /** More of its settings, as on its command line. */
    readonly settings?: ReadonlyArray<string> | undefined
    /** What it has in its environment beside this process's. */
    readonly environment?: Readonly<Record<string, string>> | undefined
  } = {}
): Effect.Effect<RedisServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const user = ordinaryUser("redis")
    const home = yield* temporaryFolder("redis", user)
    const port = yield* freePort
    const server = yield* daemon({
      command: command ?? "redis-server",
      args: [
        ...`--port ${port} --bind 127.0.0.1 --daemonize no`.split(" "),
        "--dir",
        home,
        "--save",
        "",
        ...(options.durable === true ? ["--appendonly", "yes", "--appendfsync", "always"] : []),
        ...(options.settings ?? [])
      ],
      user,
      cwd: home,
      port,
      // It accepts connections while it still loads what it has on disk.
      ready: Effect.map(ask(port, "PING\r\n"), (answer) => answer === "+PONG\r\n"),
      stopSignal: "SIGTERM",
      environment: options.environment
    })
    return { ...server, port, url: `redis://127.0.0.1:${port}` }
  })
