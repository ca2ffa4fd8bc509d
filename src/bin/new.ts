/** What `penguiflow new` does: copies the folder `template`, and writes a package.json with exact versions. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type * as Terminal from "effect/Terminal"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as FlowCli from "../FlowCli.ts"
import { refused } from "./answer.ts"
import type * as Commands from "./commands/new.ts"
import { codeOf } from "./places.ts"
import { isOld } from "./version.ts"

export const create = (asked: Commands.Asked): Effect.Effect<void, FlowCli.Ended, Stdio.Stdio | Terminal.Terminal> =>
  Effect.gen(function*() {
    const folder = path.resolve(asked.folder)
    const name = Option.getOrElse(asked.name, () => nameOf(path.basename(folder)))
    if (!named.test(name)) {
      return yield* refused(
        `${JSON.stringify(name.slice(0, 80))} is no name for a package: small letters, digits and -`
      )
    }
    const made = yield* Effect.try({
      try: () => makeIn(folder, asked.folder, packageOf(name, Option.getOrUndefined(asked.penguiflow))),
      catch: (cause) =>
        cause instanceof Refused
          ? cause.message
          : `${asked.folder}: can't be written: ${codeOf(cause) ?? "unknown reason"}`
    }).pipe(Effect.catch(refused))
    const there = path.resolve("") === folder ? "" : asked.folder
    const own = isOld
      ? [`This Node.js is ${process.versions.node}, which is too old: the project brings its own.`, ""]
      : []
    const enter = there === "" ? [] : [`cd ${/^[\w./-]+$/.test(there) ? there : JSON.stringify(there)}`]
    yield* FlowCli.print(Stream.make([
      `Made ${FlowCli.oneLine(asked.folder)}: ${made.join(", ")}`,
      "",
      ...own,
      "Next:",
      ...[...enter, "npm install", "npm test", "npm start"].map((step) => `  ${step}`),
      ""
    ].join("\n")))
  })

// ----------------------------------------------------------------------------------------------------------- internals

class Refused extends Error {}

const root = fileURLToPath(new URL("../../", import.meta.url))
const template = path.join(root, "template")

const named = /^(?:@[a-z\d][a-z\d._-]*\/)?[a-z\d][a-z\d._-]{0,200}$/

/** The nearest name that npm takes. */
const nameOf = (folder: string): string =>
  folder.toLowerCase().replaceAll(/[^a-z\d._-]+/g, "-").replaceAll(/^[^a-z\d]+|-+$/g, "").slice(0, 200) || "my-flow"

interface Own {
  readonly version: string
  readonly engines: { readonly node: string }
  readonly devDependencies: Readonly<Record<string, string>>
}

/** The versions are those that this package is built against and tested with. */
const packageOf = (name: string, penguiflow: string | undefined): string => {
  const own = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as Own
  const versions = (names: ReadonlyArray<string>) =>
    Object.fromEntries(names.map((name) => [name, own.devDependencies[name]]))
  return `${
    JSON.stringify(
      {
        name,
        version: "0.0.0",
        private: true,
        type: "module",
        scripts: {
          start: "penguiflow run src/index.ts --file messages.ndjson",
          test: "vitest run",
          check: "tsc -p . && penguiflow check src"
        },
        dependencies: {
          ...versions(["@effect/platform-node", "effect"]),
          penguiflow: penguiflow ?? own.version
        },
        devDependencies: versions([
          "@effect/vitest",
          "@types/node",
          ...(isOld ? ["node"] : []),
          "oxc-parser",
          "typescript",
          "vitest"
        ]),
        engines: own.engines,
        ...(isOld ? { allowScripts: { node: true } } : {})
      },
      null,
      2
    )
  }\n`
}

/** The files that were made. Where one can't be, what was made before is taken away again. */
const makeIn = (folder: string, shown: string, manifest: string): ReadonlyArray<string> => {
  const found = fs.statSync(folder, { throwIfNoEntry: false })
  if (found !== undefined && !found.isDirectory()) throw new Refused(`${shown}: is a file: name a folder`)
  if (found !== undefined && fs.readdirSync(folder).some((entry) => entry !== ".git")) {
    throw new Refused(`${shown}: is not empty: name another folder`)
  }
  const first = fs.mkdirSync(folder, { recursive: true })
  const made: Array<string> = []
  const write = (file: string, content: string | Buffer) => {
    const to = path.join(folder, file)
    fs.mkdirSync(path.dirname(to), { recursive: true })
    fs.writeFileSync(to, content)
    made.push(file)
  }
  try {
    write("package.json", manifest)
    for (const file of fs.readdirSync(template, { recursive: true, encoding: "utf8" }).toSorted()) {
      const from = path.join(template, file)
      // npm packs no .gitignore.
      if (fs.statSync(from).isFile()) write(file === "gitignore" ? ".gitignore" : file, fs.readFileSync(from))
    }
  } catch (cause) {
    for (const file of made) fs.rmSync(path.join(folder, file), { force: true })
    if (first !== undefined) fs.rmSync(first, { recursive: true, force: true })
    throw cause
  }
  return made
}
