/** A Redis Sentinel that watches over a server of the tests, and promotes its replica; gone after the test. */
import { Effect, type Scope } from "effect"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import { accepts, ask, type Daemon, daemon, freePort, ordinaryUser, temporaryFolder } from "./process.ts"
import { command } from "./redis.ts"

export interface Sentinel extends Daemon {
  /** The port of the server that is the primary now. */
  readonly primary: Effect.Effect<number>
}

export const start = (primary: number): Effect.Effect<Sentinel, never, Scope.Scope> =>
  Effect.gen(function*() {
    const user = ordinaryUser("redis")
    const home = yield* temporaryFolder("sentinel", user)
    const port = yield* freePort
    const file = Path.join(home, "sentinel.conf")
    const lines = [
      `port ${port}`,
      "bind 127.0.0.1",
      `dir ${home}`,
      `sentinel monitor jobs 127.0.0.1 ${primary} 1`,
      "sentinel down-after-milliseconds jobs 500",
      "sentinel failover-timeout jobs 5000"
    ]
    yield* Effect.promise(async () => {
      await Fs.writeFile(file, `${lines.join("\n")}\n`)
      if (user !== undefined) await Fs.chown(file, user.uid, user.gid)
    })
    const server = yield* daemon({
      command: command ?? "redis-server",
      args: [file, "--sentinel"],
      user,
      cwd: home,
      port,
      ready: accepts(port),
      stopSignal: "SIGTERM"
    })
    return {
      ...server,
      primary: Effect.map(
        ask(port, "SENTINEL GET-MASTER-ADDR-BY-NAME jobs\r\n"),
        (answer) => Number(answer.split("\r\n")[4])
      )
    }
  })
