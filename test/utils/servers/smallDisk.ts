/** A disk of a few megabytes that can be filled: a file system of its own in memory, gone after the test. */
import { Effect, type Scope } from "effect"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"

const mount = (path: string, megabytes: number): void => {
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "penguiflow", path], { stdio: "pipe" })
}
/** Lazily: whoever still has a file open there keeps it until then. */
const unmount = (path: string): void => {
  execFileSync("umount", ["-l", path], { stdio: "pipe" })
  Fs.rmdirSync(path)
}

/** False where this machine lets nobody mount: then its tests are skipped. */
export const available: boolean = (() => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false
  const path = Fs.mkdtempSync(Path.join(tmpdir(), "penguiflow-mount-"))
  try {
    mount(path, 1)
    unmount(path)
    return true
  } catch {
    Fs.rmSync(path, { recursive: true, force: true })
    return false
  }
})()

export interface SmallDisk {
  readonly path: string
  /** Takes all the room that is left. */
  readonly fill: Effect.Effect<void>
  readonly clear: Effect.Effect<void>
}

export const make = (options: {
  readonly megabytes: number
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined
}): Effect.Effect<SmallDisk, never, Scope.Scope> =>
  Effect.gen(function*() {
    const path = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const path = Fs.mkdtempSync(Path.join(tmpdir(), "penguiflow-disk-"))
        mount(path, options.megabytes)
        return path
      }),
      (path) => Effect.sync(() => unmount(path))
    )
    if (options.owner !== undefined) {
      const { gid, uid } = options.owner
      yield* Effect.sync(() => Fs.chownSync(path, uid, gid))
    }
    const filler = Path.join(path, "filler")
    return {
      path,
      fill: Effect.sync(() => {
        const page = Buffer.alloc(4096)
        const file = Fs.openSync(filler, "a")
        try {
          while (Fs.writeSync(file, page) > 0);
        } catch (error) {
          if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error
        } finally {
          Fs.closeSync(file)
        }
      }),
      clear: Effect.sync(() => Fs.rmSync(filler, { force: true }))
    }
  })
