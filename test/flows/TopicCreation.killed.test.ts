/** A process that is killed between the two steps, and what becomes of the topic. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Topics from "penguiflow/flows/Topics"
import * as Sqlite from "penguiflow/layers/Sqlite"

/** Runs the process until it ends, or, once it has said `until`, kills it. */
const run = (filename: string, how: string, until?: string) =>
  Effect.promise(async () => {
    const script = path.join(import.meta.dirname, "processes/create.ts")
    const child = spawn(process.execPath, ["--conditions=source", "--no-warnings", script, filename, how])
    let out = ""
    child.stderr.on("data", (chunk) => out += chunk)
    child.stdout.on("data", (chunk) => {
      out += chunk
      if (until !== undefined && out.includes(until)) child.kill("SIGKILL")
    })
    const [code, signal] = await once(child, "close")
    return { code, signal, out }
  })

const held = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  return {
    topics: (yield* sql<{ readonly request: string }>`SELECT request FROM topics`).map((row) => row.request),
    dimensions: (yield* sql<{ readonly name: string }>`SELECT name FROM dimensions`).map((row) => row.name),
    // As the module's documentation has it.
    unfinished: (yield* sql<{ readonly request: string }>`
      SELECT id, request FROM topics WHERE id NOT IN (SELECT topic_id FROM dimensions)`).map((row) => row.request)
  }
})

describe("topic creation, killed between its steps", () => {
  const afterKill = (then: string) =>
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "penguiflow-killed-"))),
        (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
      )
      const filename = path.join(folder, "topics.db")
      const look = <A, E>(effect: Effect.Effect<A, E, SqlClient.SqlClient>) =>
        Effect.provide(effect, Sqlite.layer({ filename }), { local: true })
      yield* look(Topics.tables)
      const killed = yield* run(filename, "stop", "between")
      assert.strictEqual(killed.signal, "SIGKILL", killed.out)
      const left = yield* look(held)
      const again = yield* run(filename, then)
      return { left, again, after: yield* look(held) }
    })

  const key = "topic creation/job-1/create"

  it.live("leaves the topic and no dimensions; the same trace, delivered again, completes it", () =>
    Effect.gen(function*() {
      const { after, again, left } = yield* afterKill("go")
      assert.deepStrictEqual(left, { topics: [key], dimensions: [], unfinished: [key] })
      assert.strictEqual(again.out, "Success\n")
      assert.deepStrictEqual(after, { topics: [key], dimensions: ["size"], unfinished: [] })
    }))

  it.live("and where its dimensions are not accepted then, undoes the topic that the dead process made", () =>
    Effect.gen(function*() {
      const { after, again, left } = yield* afterKill("reject")
      assert.deepStrictEqual(left.topics, [key])
      assert.strictEqual(again.out, "Failure\n")
      assert.deepStrictEqual(after, { topics: [], dimensions: [], unfinished: [] })
    }))
})
