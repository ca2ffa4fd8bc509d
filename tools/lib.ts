/** What the gates share: running a program, and stopping with a sentence. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

export const root: string = path.resolve(import.meta.dirname, "..")

export const fail = (sentence: string): never => {
  console.error(`✗ ${sentence}`)
  process.exit(1)
}

export interface Ran {
  readonly code: number
  readonly output: string
}

/** A program of `node_modules/.bin`, run to its end; its output is returned, not shown. */
export const run = (bin: string, args: ReadonlyArray<string>): Ran => {
  const file = path.join(root, "node_modules", ".bin", bin)
  const done = spawnSync(file, args, { cwd: root, encoding: "utf8", maxBuffer: 256 * 1024 * 1024 })
  if (done.error) return fail(`${bin} could not be started: ${done.error.message}`)
  return { code: done.status ?? 1, output: done.stdout + done.stderr }
}

/** Files below a folder of the project with this ending, as paths relative to the root, sorted. */
export const filesBelow = (folder: string, ending: string): ReadonlyArray<string> => {
  const base = path.join(root, folder)
  if (!fs.existsSync(base)) return []
  return fs.readdirSync(base, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
    .filter((file) => !file.split(path.sep).includes("node_modules"))
    .toSorted()
}

export const read = (file: string): string => fs.readFileSync(path.join(root, file), "utf8")

/** The number of the line, from 1, in which an offset lies. */
export const lineAt = (text: string, offset: number): number => text.slice(0, offset).split("\n").length
