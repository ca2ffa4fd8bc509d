/** Lint and format; `--fix` repairs what can be repaired. Both tools succeed on no files at all, so the files are counted. */
import { fail, filesBelow, run } from "./lib.ts"

const fix = process.argv.includes("--fix")
const least = filesBelow("src", ".ts").length + filesBelow("tools", ".ts").length

const lint = run("oxlint", fix ? ["--fix"] : [])
process.stdout.write(lint.output)
const linted = Number(/ on (\d+) files? /.exec(lint.output)?.[1] ?? 0)
if (linted < least) fail(`oxlint looked at ${linted} files, but src and tools alone have ${least}`)

const paths = run("dprint", ["output-file-paths"]).output.trim().split("\n").filter((line) => line !== "")
if (paths.length < least) fail(`dprint looked at ${paths.length} files, but src and tools alone have ${least}`)
const format = run("dprint", fix ? ["fmt"] : ["check"])
process.stdout.write(format.output)

if (lint.code !== 0) fail("oxlint found something")
if (format.code !== 0) fail("files are not formatted: npm run lint-fix")
console.log(`Linted ${linted} files, looked at the format of ${paths.length}.`)
