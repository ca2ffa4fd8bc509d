/** A private PostgreSQL server: its own folder and port, gone after the test. */
import { Effect, Redacted, type Scope } from "effect"
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import type { Network } from "./network.ts"
import { type Daemon, daemon, firstOf, freePort, ordinaryUser, temporaryFolder } from "./process.ts"

const folder = firstOf(
  ...[18, 17, 16, 15, 14].map((version) => `/usr/lib/postgresql/${version}/bin`),
  "/usr/local/pgsql/bin",
  "/opt/homebrew/bin"
)

/** False where PostgreSQL is not installed: then its tests are skipped. */
export const available: boolean = folder !== undefined && existsSync(Path.join(folder, "initdb"))

export interface PostgresServer extends Daemon {
  readonly port: number
  /** Of the superuser, who needs no password. */
  readonly url: Redacted.Redacted
  /** The same database for somebody else, or another one, or by another port. */
  readonly urlOf: (parts: {
    readonly user?: string | undefined
    readonly password?: string | undefined
    readonly database?: string | undefined
    readonly port?: number | undefined
  }) => Redacted.Redacted
  /** The folder of its files. */
  readonly data: string
  /** Where a certificate of its own lies; undefined without TLS. */
  readonly certificate: string | undefined
}

const run = (
  command: string,
  args: ReadonlyArray<string>,
  user: { readonly uid: number; readonly gid: number } | undefined
) =>
  Effect.promise(() =>
    new Promise<void>((resolve, reject) => {
      execFile(command, args, { ...user, cwd: "/" }, (error, stdout, stderr) => {
        if (error === null) resolve()
        else reject(new Error(`${command}: ${error.message}\n${stdout}${stderr}`))
      })
    })
  )

/**
 * Starts one. A user whose name begins with `guest` needs a password, everybody else is trusted.
 *
 * `settings` are lines of postgresql.conf; `tls` makes a certificate, which needs `openssl`.
 */
export const start = (options: {
  readonly settings?: Readonly<Record<string, string>> | undefined
  readonly tls?: boolean | undefined
  /** Where it runs, if not here. */
  readonly network?: Network | undefined
  /** What its processes have in their environment beside this one's. */
  readonly environment?: Readonly<Record<string, string>> | undefined
} = {}): Effect.Effect<PostgresServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const bin = folder ?? ""
    const user = ordinaryUser("postgres")
    const host = options.network?.host ?? "127.0.0.1"
    const home = yield* temporaryFolder("postgres", user)
    const data = Path.join(home, "data")
    const port = yield* freePort
    const flags = "-U postgres -A trust -E UTF8 --no-locale --no-sync --no-instructions".split(" ")
    yield* run(Path.join(bin, "initdb"), ["-D", data, ...flags], user)
    const certificate = Path.join(home, "server.crt")
    if (options.tls === true) {
      const request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split(" ")
      const names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
      const files = ["-keyout", Path.join(home, "server.key"), "-out", certificate]
      yield* run("openssl", [...request, ...names, ...files], user)
      yield* Effect.promise(() => Fs.chmod(Path.join(home, "server.key"), 0o600))
    }
    yield* Effect.promise(async () => {
      const settings = {
        listen_addresses: `'${host}'`,
        port: String(port),
        unix_socket_directories: "''",
        fsync: "off",
        ...(options.tls === true
          ? { ssl: "on", ssl_cert_file: `'${certificate}'`, ssl_key_file: `'${Path.join(home, "server.key")}'` }
          : {}),
        ...options.settings
      }
      const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`)
      await Fs.appendFile(Path.join(data, "postgresql.conf"), `\n${lines.join("\n")}\n`)
      await Fs.writeFile(
        Path.join(data, "pg_hba.conf"),
        "host all guest samenet scram-sha-256\nhost all all samenet trust\n"
      )
    })
    const ready = Effect.promise(() =>
      new Promise<boolean>((resolve) => {
        const args = ["-h", host, "-p", String(port), "-q"]
        // Exit 1: it is there, and refuses connections until it has recovered. A standby may do so for good.
        const there = (code: unknown) => code === 1 && existsSync(Path.join(data, "standby.signal"))
        execFile(Path.join(bin, "pg_isready"), args, (error) => resolve(error === null || there(error.code)))
      })
    )
    const [command = "", ...args] = [...options.network?.enter(user) ?? [], Path.join(bin, "postgres"), "-D", data]
    const server = yield* daemon({
      command,
      args,
      user: options.network === undefined ? user : undefined,
      cwd: home,
      port,
      ready,
      stopSignal: "SIGINT",
      environment: options.environment
    })
    const urlOf: PostgresServer["urlOf"] = (parts) => {
      const url = new URL(`postgres://${host}:${parts.port ?? port}/${parts.database ?? "postgres"}`)
      url.username = parts.user ?? "postgres"
      if (parts.password !== undefined) url.password = parts.password
      return Redacted.make(url.href)
    }
    return { ...server, data, port, url: urlOf({}), urlOf, certificate: options.tls === true ? certificate : undefined }
  })
