import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { ordinaryUser, temporaryFolder } from "../utils/servers/process.ts"
import { type Circumstances, command } from "./command.ts"

const create = (args: ReadonlyArray<string>, circumstances?: Circumstances) =>
  command("src/bin/penguiflow.ts", ["new", ...args], circumstances)

const manifestIn = (folder: string) =>
  JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    readonly name: string
    readonly dependencies: Readonly<Record<string, string>>
  }

// What it makes is installed, tested and run in test/package.test.ts, from the packed package.
describe("penguiflow new", () => {
  it.effect("makes a project in a folder that is not there, or that is empty but for its history", () =>
    Effect.gen(function*() {
      const cwd = yield* temporaryFolder("new")
      mkdirSync(join(cwd, "here", ".git"), { recursive: true })
      const [deep, here] = yield* Effect.all([
        create(["a/b/Tales of Ice!", "--penguiflow", "file:../penguiflow.tgz", "--yes"], { cwd }),
        create([".", "--name", "@shop/orders"], { cwd: join(cwd, "here") })
      ], { concurrency: 2 })
      for (const { code, err } of [deep, here]) assert.deepStrictEqual([code, err], [0, ""])
      assert.include(deep.out, "  cd \"a/b/Tales of Ice!\"\n  npm install\n  npm test\n  npm start\n")
      assert.notInclude(here.out, "cd ")
      const made = join(cwd, "a/b/Tales of Ice!")
      assert.deepStrictEqual(readdirSync(made).toSorted(), [
        ".gitignore",
        "README.md",
        "messages.ndjson",
        "package.json",
        "src",
        "test",
        "tsconfig.json"
      ])
      assert.strictEqual(manifestIn(made).name, "tales-of-ice")
      assert.strictEqual(manifestIn(made).dependencies["penguiflow"], "file:../penguiflow.tgz")
      assert.strictEqual(manifestIn(join(cwd, "here")).name, "@shop/orders")
    }))

  it.effect("refuses what is not empty, no folder, no name, or may not be written to, and changes nothing", () =>
    Effect.gen(function*() {
      const user = ordinaryUser("nobody")
      const cwd = yield* temporaryFolder("new", user)
      mkdirSync(join(cwd, "full"))
      writeFileSync(join(cwd, "full", "mine"), "")
      writeFileSync(join(cwd, "file"), "")
      mkdirSync(join(cwd, "closed"))
      chmodSync(join(cwd, "closed"), 0o555)
      const [full, file, name, closed, none] = yield* Effect.all([
        create(["full"], { cwd }),
        create(["file"], { cwd }),
        create(["x", "--name", "No Name"], { cwd }),
        create(["closed/x"], { cwd, user }),
        create([], { cwd })
      ], { concurrency: 2 })
      for (const { code, out } of [full, file, name, closed, none]) assert.deepStrictEqual([code, out], [2, ""])
      assert.deepStrictEqual([full, file, name, closed, none].map(({ said }) => said), [
        ["✗ full: is not empty: name another folder"],
        ["✗ file: is a file: name a folder"],
        ["✗ \"No Name\" is no name for a package: small letters, digits and -"],
        ["✗ closed/x: can't be written: EACCES"],
        ["✗ Missing required argument: folder. See penguiflow new --help"]
      ])
      assert.deepStrictEqual(readdirSync(join(cwd, "full")), ["mine"])
      assert.isFalse(existsSync(join(cwd, "x")))
    }))
})
