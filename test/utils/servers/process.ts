/** What the servers of the tests have in common: a free port, a temporary folder, an ordinary user, a sure end. */
import { Effect, type Scope } from "effect"
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import * as Fs from "node:fs/promises"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import * as Path from "node:path"

/** The first of these files that is there. */
export const firstOf = (...paths: ReadonlyArray<string>): string | undefined => paths.find((path) => existsSync(path))

/** Servers refuse to run as root: then they run as this user. */
export const ordinaryUser = (name: string): { readonly uid: number; readonly gid: number } | undefined => {
  if (process.getuid?.() !== 0) return undefined
  for (const user of [name, "nobody"]) {
    try {
      const id = (flag: string) => Number(execFileSync("id", [flag, user], { encoding: "utf8", stdio: "pipe" }))
      return { uid: id("-u"), gid: id("-g") }
    } catch {
      // No such user: the next one.
    }
  }
  return undefined
}

/** A port that nobody listens on. */
export const freePort: Effect.Effect<number> = Effect.promise(() =>
  new Promise<number>((resolve, reject) => {
    const server = Net.createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })
)

/** A folder that is gone after the test. */
export const temporaryFolder = (
  name: string,
  owner?: { readonly uid: number; readonly gid: number } | undefined
): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const path = await Fs.mkdtemp(Path.join(tmpdir(), `penguiflow-${name}-`))
      if (owner !== undefined) await Fs.chown(path, owner.uid, owner.gid)
      return path
    }),
    (path) => Effect.promise(() => Fs.rm(path, { recursive: true, force: true, maxRetries: 5 }))
  )

/** A server process that can be stopped, killed, frozen and started again. */
export interface Daemon {
  readonly start: Effect.Effect<void>
  /** Asks it to end, and waits until it has. */
  readonly stop: Effect.Effect<void>
  /** kill -9, and waits until it is gone. */
  readonly kill: Effect.Effect<void>
  /** Frozen: the kernel still accepts connections and bytes, nobody answers. */
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  /** Where everything of it lies; gone with it. */
  readonly folder: string
  /** All it has written to its output so far. */
  readonly output: Effect.Effect<string>
}

export const daemon = (options: {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly user: { readonly uid: number; readonly gid: number } | undefined
  readonly cwd: string
  readonly port: number
  readonly ready: Effect.Effect<boolean>
  readonly stopSignal: NodeJS.Signals
  /** Beside what this process has. */
  readonly environment?: Readonly<Record<string, string>> | undefined
}): Effect.Effect<Daemon, never, Scope.Scope> =>
  Effect.gen(function*() {
    let child: ChildProcess | undefined
    let output = ""
    const gone = (server: ChildProcess) => server.exitCode !== null || server.signalCode !== null
    /** To the whole group: a server's helpers must not outlive it. */
    const signal = (server: ChildProcess, name: NodeJS.Signals) => {
      try {
        if (server.pid !== undefined) process.kill(-server.pid, name)
      } catch {
        // It has ended already.
      }
    }
    const end = (name: NodeJS.Signals) =>
      Effect.promise(async () => {
        const server = child
        child = undefined
        if (server === undefined) return
        if (!gone(server)) {
          const closed = new Promise((resolve) => server.once("exit", resolve))
          signal(server, "SIGCONT")
          if (name === "SIGKILL") {
            // Children may have a process group of their own, and would hold the port a moment longer.
            const children = childrenOf(server.pid)
            signal(server, name)
            for (const pid of children) killQuietly(pid)
          } else server.kill(name)
          const late = setTimeout(() => signal(server, "SIGKILL"), 8_000)
          await closed
          clearTimeout(late)
        }
        signal(server, "SIGKILL")
        for (let i = 0; i < 200 && await connects(options.port); i++) {
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
      })
    const start = Effect.gen(function*() {
      if (child !== undefined) return
      output = ""
      const server = spawn(options.command, options.args, {
        cwd: options.cwd,
        detached: true,
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, ...options.environment },
        ...options.user
      })
      child = server
      server.stdout.on("data", (chunk) => output += chunk)
      server.stderr.on("data", (chunk) => output += chunk)
      const until = Date.now() + 20_000
      while (!(yield* options.ready)) {
        if (gone(server) || Date.now() > until) {
          signal(server, "SIGKILL")
          return yield* Effect.die(new Error(`${options.command} did not start:\n${output}`))
        }
        yield* pause(25)
      }
    })
    // Where the test's own process ends without its finalizers, the server ends with it.
    const last = () => child === undefined ? undefined : signal(child, "SIGKILL")
    yield* Effect.acquireRelease(
      Effect.sync(() => process.once("exit", last)),
      () => Effect.sync(() => process.removeListener("exit", last))
    )
    yield* Effect.acquireRelease(start, () => end("SIGKILL"))
    return {
      start,
      stop: end(options.stopSignal),
      kill: end("SIGKILL"),
      pause: Effect.sync(() => child === undefined ? undefined : signal(child, "SIGSTOP")),
      resume: Effect.sync(() => child === undefined ? undefined : signal(child, "SIGCONT")),
      folder: options.cwd,
      output: Effect.sync(() => output)
    }
  })

const childrenOf = (pid: number | undefined): ReadonlyArray<number> => {
  try {
    const list = execFileSync("ps", ["-o", "pid=", "--ppid", String(pid)], { encoding: "utf8", stdio: "pipe" })
    return list.split("\n").map(Number).filter((child) => child > 0)
  } catch {
    return []
  }
}

const killQuietly = (pid: number) => {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It has ended already.
  }
}

/** Real time, whatever clock the test has. */
export const pause = (ms: number): Effect.Effect<void> =>
  Effect.promise(() => new Promise((resolve) => setTimeout(resolve, ms)))

/** Asks again and again, in real time, until it is so; after 10 seconds it is not. */
export const eventually = <E, R>(condition: Effect.Effect<boolean, E, R>, ms = 10_000): Effect.Effect<boolean, E, R> =>
  Effect.suspend(() => {
    const until = performance.now() + ms
    const again: Effect.Effect<boolean, E, R> = Effect.filterOrElse(
      condition,
      (is) => is || performance.now() > until,
      () => Effect.andThen(pause(20), again)
    )
    return again
  })

/** How long it took, in real milliseconds. */
export const timed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<readonly [A, number], E, R> =>
  Effect.suspend(() => {
    const before = performance.now()
    return Effect.map(effect, (value) => [value, performance.now() - before] as const)
  })

/** Whether somebody accepts connections there. */
export const accepts = (port: number): Effect.Effect<boolean> => Effect.promise(() => connects(port))

const connects = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = Net.connect({ host: "127.0.0.1", port })
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", () => resolve(false))
  })

/** What a connection answers, or what became of it. Where silence is expected, it is not waited for long. */
export const ask = (port: number, text: string, ms = 5000): Effect.Effect<string> =>
  Effect.promise(() =>
    new Promise<string>((resolve) => {
      const socket = Net.connect({ host: "127.0.0.1", port }, () => socket.write(text))
      const end = (what: string) => {
        clearTimeout(timer)
        socket.destroy()
        resolve(what)
      }
      const timer = setTimeout(() => end("silence"), ms)
      socket.on("data", (chunk) => end(String(chunk)))
      socket.on("error", () => end("reset"))
      socket.on("close", () => end("closed"))
    })
  )
