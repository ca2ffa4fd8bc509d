/** Compiles `src` to `dist`, afresh, so that nothing stays of files that are gone; then bundles the dashboard there. */
import * as fs from "node:fs"
import * as path from "node:path"
import { bundle, sizesOf } from "./dashboard.ts"
import { fail, filesBelow, root, run } from "./lib.ts"

fs.rmSync(path.join(root, "dist"), { recursive: true, force: true })
const { code, output } = run("tsc", ["-p", "tsconfig.build.json"])
process.stdout.write(output)
if (code !== 0) fail("src does not compile")
const sources = filesBelow("src", ".ts").length
const [js, types] = [filesBelow("dist", ".js").length, filesBelow("dist", ".d.ts").length]
if (sources === 0 || js !== sources || types !== sources) {
  fail(`src has ${sources} files, but ${js} .js and ${types} .d.ts were built`)
}
console.log(`Built ${js} modules.`)
console.log(`Bundled the dashboard: ${sizesOf(await bundle())}.`)
