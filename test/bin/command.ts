/** Commands as real processes: what they write, how they end, and what happens when somebody interferes. */
import { Effect } from "effect"
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { join } from "node:path"
import { firstOf } from "../utils/servers/process.ts"

const root = join(import.meta.dirname, "..", "..")

/** A file of the project. */
export const file = (...path: ReadonlyArray<string>): string => join(root, ...path)

/** How a command ended. */
export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
  /** Lines of standard output, read as JSON: fails where one is none. */
  readonly json: ReadonlyArray<unknown>
  /** Lines of standard error. */
  readonly said: ReadonlyArray<string>
  readonly ms: number
}

/** What happens to a command. */
export interface Circumstances {
  /** What is written to it; `open` leaves it open after that. Without it there is none. */
  readonly stdin?: string | { readonly open: string } | undefined
  /** Somebody else than who runs the tests. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined
  readonly env?: NodeJS.ProcessEnv | undefined
  readonly cwd?: string | undefined
  /** Standard output goes into this file. */
  readonly stdout?: string | undefined
  /** Called with all that standard error and output hold so far, whenever more has come. */
  readonly on?: ((soFar: { readonly out: string; readonly err: string }, child: ChildProcess) => void) | undefined
}

const environment = (): NodeJS.ProcessEnv => {
  const { FORCE_COLOR: _, ...env } = process.env
  return env
}

/** Runs a script of the project with these arguments. */
export const command = (
  script: string,
  args: ReadonlyArray<string>,
  circumstances: Circumstances = {}
): Effect.Effect<Ended> =>
  Effect.promise(() => {
    const { cwd, env, on, stdin, stdout, user } = circumstances
    const before = performance.now()
    const to = stdout === undefined ? "pipe" as const : openSync(stdout, "w")
    const child = spawn(process.execPath, ["--conditions=source", file(script), ...args], {
      cwd,
      stdio: [stdin === undefined ? "ignore" : "pipe", to, "pipe"],
      env: { ...environment(), ...env },
      ...user
    })
    let out = ""
    let err = ""
    child.stdout?.on("data", (chunk) => {
      out += chunk
      on?.({ out, err }, child)
    })
    child.stderr?.on("data", (chunk) => {
      err += chunk
      on?.({ out, err }, child)
    })
    // A command that ends without reading all of it is no error of the test.
    child.stdin?.on("error", () => {})
    if (typeof stdin === "object") child.stdin?.write(stdin.open)
    else child.stdin?.end(stdin)
    // A command that hangs fails its test, and does not outlive it.
    const late = setTimeout(() => child.kill("SIGKILL"), 20_000)
    return new Promise<Ended>((resolve) =>
      child.once("close", (code) => {
        clearTimeout(late)
        child.stdin?.destroy()
        if (typeof to === "number") closeSync(to)
        const lines = (text: string) => text.split("\n").filter((line) => line !== "")
        resolve({
          code,
          out,
          err,
          said: lines(err),
          ms: performance.now() - before,
          get json() {
            return lines(out).map((line) => JSON.parse(line) as unknown)
          }
        })
      })
    )
  })

/** Runs a command line of a shell, in which `$1` is a script of the project. */
export const shell = (line: string, script: string, env?: NodeJS.ProcessEnv): Effect.Effect<Ended> =>
  Effect.promise(() => {
    const before = performance.now()
    const child = spawn("bash", ["-c", line, "bash", file(script)], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...environment(), NODE: `${process.execPath} --conditions=source`, ...env }
    })
    let out = ""
    let err = ""
    child.stdout.on("data", (chunk) => out += chunk)
    child.stderr.on("data", (chunk) => err += chunk)
    const late = setTimeout(() => child.kill("SIGKILL"), 20_000)
    return new Promise<Ended>((resolve) =>
      child.once("close", (code) => {
        clearTimeout(late)
        const said = err.split("\n").filter((it) => it !== "")
        resolve({ code, out, err, said, json: [], ms: performance.now() - before })
      })
    )
  })

const python = firstOf("/usr/bin/python3", "/usr/local/bin/python3")

/** False where there is nothing to make a terminal with: then its tests are skipped. */
export const hasTerminal: boolean = python !== undefined

/** On a terminal of its own, with these keys typed ahead: what it wrote there, and its exit code at the end. */
export const onTerminal = (
  script: string,
  args: ReadonlyArray<string>,
  options: { readonly env?: Record<string, string> | undefined; readonly keys?: string | undefined } = {}
): Effect.Effect<string> =>
  Effect.sync(() => {
    const program = [
      "import os, pty, sys",
      "status = pty.spawn(sys.argv[1:])",
      "print('exit', os.waitstatus_to_exitcode(status))"
    ].join("\n")
    const { FORCE_COLOR: _, NO_COLOR: __, ...rest } = process.env
    return execFileSync(python!, ["-c", program, process.execPath, "--conditions=source", file(script), ...args], {
      encoding: "utf8",
      stdio: [options.keys === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      ...(options.keys === undefined ? {} : { input: options.keys }),
      timeout: 20_000,
      env: { ...rest, TERM: "xterm", ...options.env }
    })
  })
