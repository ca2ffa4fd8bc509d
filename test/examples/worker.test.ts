/** The worker example: in one process, and in two of which one is killed. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Postgres from "../utils/servers/postgres.ts"

const example = join(import.meta.dirname, "..", "..", "examples", "30_worker.ts")

const run = (cwd: string, args: ReadonlyArray<string>, onOut?: (out: string) => void) =>
  Effect.promise(() =>
    new Promise<{ readonly code: number | null; readonly out: string }>((resolve) => {
      const child = spawn(process.execPath, ["--conditions=source", example, ...args], { cwd })
      let out = ""
      child.stdout.on("data", (chunk) => {
        out += chunk
        onOut?.(out)
      })
      child.stderr.on("data", (chunk) => out += chunk)
      child.once("close", (code) => resolve({ code, out }))
    })
  )

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "penguiflow-example-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

describe("examples/30_worker", () => {
  it.live("runs every document as a job, once, with an embedded database", () =>
    Effect.gen(function*() {
      const cwd = yield* folder
      const first = yield* run(cwd, ["--limit", "60"])
      assert.match(first.out, /60 jobs, 0 of them done before\n60 done, 0 failed, by 1 workers; 0 of them/)
      assert.strictEqual(first.code, 0)
      const again = yield* run(cwd, ["--limit", "60"])
      assert.match(again.out, /60 jobs, 60 of them done before\n60 done, 0 failed, by 1 workers; 0 of them/)
    }))

  it.live.skipIf(!Postgres.available)(
    "runs them in two processes over a server, and survives the death of one",
    () =>
      Effect.gen(function*() {
        const cwd = yield* folder
        const server = yield* Postgres.start()
        const database = ["--database", Redacted.value(server.url)]
        // A worker that is killed as soon as it takes jobs; the two that are started with the jobs finish them.
        const doomed = spawn(process.execPath, ["--conditions=source", example, "--worker", ...database], { cwd })
        doomed.stdout.once("data", () => setTimeout(() => doomed.kill("SIGKILL"), 1500))
        const { code, out } = yield* run(cwd, [...database, "--workers", "2", "--limit", "80"])
        doomed.kill("SIGKILL")
        assert.match(out, /80 jobs, 0 of them done before/)
        assert.match(out, /80 done, 0 failed, by [23] workers/)
        assert.strictEqual(code, 0)
      })
  )
})
