import { assert, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { rules } from "penguiflow/check/check"

it("docs/checks.md has a chapter for each rule, where findings lead, and for no other", () => {
  const text = fs.readFileSync(path.resolve(import.meta.dirname, "../../docs/checks.md"), "utf8")
  const chapters = [...text.matchAll(/^## (\S+)\n\n_(Error|Warning)\._/gm)]
  assert.deepStrictEqual(
    Object.fromEntries(chapters.map(([, id, severity]) => [id, severity!.toLowerCase()])),
    Object.fromEntries(Object.entries(rules).map(([id, { severity }]) => [id, severity]))
  )
})
