/** A private PgBouncer in transaction mode, in front of a server of the tests; gone after the test. */
import { Effect, type Scope } from "effect"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import { accepts, type Daemon, daemon, firstOf, freePort, ordinaryUser, temporaryFolder } from "./process.ts"

const command = firstOf(
  "/usr/sbin/pgbouncer",
  "/usr/bin/pgbouncer",
  "/usr/local/bin/pgbouncer",
  "/opt/homebrew/bin/pgbouncer"
)

/** False where PgBouncer is not installed: then its tests are skipped. */
export const available: boolean = command !== undefined

export interface PgBouncer extends Daemon {
  readonly port: number
}

/** Each client's transaction gets one of `poolSize` connections of the server, and gives it back at its end. */
export const start = (options: {
  readonly target: number
  readonly poolSize: number
}): Effect.Effect<PgBouncer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const user = ordinaryUser("postgres")
    const home = yield* temporaryFolder("pgbouncer", user)
    const port = yield* freePort
    const file = Path.join(home, "pgbouncer.ini")
    const settings = {
      listen_addr: "127.0.0.1",
      listen_port: port,
      unix_socket_dir: "",
      auth_type: "any",
      pool_mode: "transaction",
      default_pool_size: options.poolSize,
      max_client_conn: 200
    }
    const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`)
    const database = `* = host=127.0.0.1 port=${options.target} user=postgres`
    yield* Effect.promise(() => Fs.writeFile(file, `[databases]\n${database}\n\n[pgbouncer]\n${lines.join("\n")}\n`))
    const server = yield* daemon({
      command: command ?? "pgbouncer",
      args: [file],
      user,
      cwd: home,
      port,
      ready: accepts(port),
      stopSignal: "SIGINT"
    })
    return { ...server, port }
  })
