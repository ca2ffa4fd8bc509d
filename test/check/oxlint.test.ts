/** The plugin, in the linter itself. */
import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import plugin from "penguiflow/check/oxlint"
import { clean, wrong } from "./snippets.ts"

const root = path.resolve(import.meta.dirname, "../..")

describe("the plugin of oxlint", () => {
  it("finds in the linter what the command finds, where it finds it", () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "penguiflow-oxlint-"))
    try {
      fs.writeFileSync(
        path.join(folder, ".oxlintrc.json"),
        JSON.stringify({
          jsPlugins: [path.join(root, "src/check/oxlint.ts")],
          categories: { correctness: "off" },
          rules: Object.fromEntries(Object.keys(plugin.rules).map((id) => [`penguiflow/${id}`, "error"]))
        })
      )
      fs.writeFileSync(path.join(folder, "bad.ts"), wrong[0]!.source)
      fs.writeFileSync(path.join(folder, "good.ts"), clean[0]!.source)
      const { NODE_OPTIONS: _, ...env } = process.env
      const done = spawnSync(
        process.execPath,
        ["--conditions=source", path.join(root, "node_modules/oxlint/bin/oxlint"), "--format", "json"],
        { cwd: folder, encoding: "utf8", env }
      )
      assert.strictEqual(done.status, 1, done.stdout + done.stderr)
      const { diagnostics } = JSON.parse(done.stdout) as {
        readonly diagnostics: ReadonlyArray<{
          readonly code: string
          readonly filename: string
          readonly labels: ReadonlyArray<{ readonly span: { readonly line: number } }>
        }>
      }
      assert.deepStrictEqual(
        diagnostics.map(({ code, filename, labels }) => ({ code, filename, line: labels[0]?.span.line })),
        [{ code: "penguiflow(client-in-run)", filename: "bad.ts", line: 6 }]
      )
    } finally {
      fs.rmSync(folder, { recursive: true, force: true })
    }
  })
})
