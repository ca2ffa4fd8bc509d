/** A clock that is set while a server runs: `libfaketime`, preloaded into its processes. What they measure by is left alone. */
import { Effect, type Scope } from "effect"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { firstOf, temporaryFolder } from "./process.ts"

const library = firstOf(
  ...["x86_64", "aarch64"].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`),
  "/usr/lib64/faketime/libfaketime.so.1",
  "/usr/lib/faketime/libfaketime.so.1"
)

const environment = (file: string): Record<string, string> => ({
  LD_PRELOAD: library ?? "",
  FAKETIME_TIMESTAMP_FILE: file,
  FAKETIME_NO_CACHE: "1",
  FAKETIME_DONT_FAKE_MONOTONIC: "1",
  DONT_FAKE_MONOTONIC: "1",
  FAKETIME_DISABLE_SHM: "1"
})

/** False where it is not installed, or does not work: then its tests are skipped. */
export const available: boolean = (() => {
  if (library === undefined) return false
  try {
    const env = { ...process.env, LD_PRELOAD: library, FAKETIME: "-1000d" }
    const seconds = Number(execFileSync("date", ["+%s"], { env, encoding: "utf8", stdio: "pipe" }))
    return Math.abs(Date.now() / 1000 - 86_400_000 - seconds) < 60
  } catch {
    return false
  }
})()

export interface FakeTime {
  /** Of the processes whose clock it is. */
  readonly environment: Readonly<Record<string, string>>
  /** Where it is kept. */
  readonly folder: string
  /** Sets it so many seconds ahead of the true one, or behind it. */
  readonly set: (seconds: number) => Effect.Effect<void>
}

export const make: Effect.Effect<FakeTime, never, Scope.Scope> = Effect.gen(function*() {
  const folder = yield* temporaryFolder("clock")
  yield* Effect.sync(() => Fs.chmodSync(folder, 0o755))
  const set = setIn(folder)
  yield* set(0)
  return { environment: environment(fileIn(folder)), folder, set }
})

/** {@link FakeTime.set}, for who is told the folder only. */
export const setIn = (folder: string): FakeTime["set"] => (seconds) =>
  Effect.sync(() => {
    const file = fileIn(folder)
    // At once: half a number would be another time.
    Fs.writeFileSync(`${file}.new`, `${seconds < 0 ? "" : "+"}${seconds}\n`)
    Fs.renameSync(`${file}.new`, file)
  })

const fileIn = (folder: string): string => Path.join(folder, "offset")
