/** Effect's own diagnostics over the whole project. Without its plugin in tsconfig.json the checker looks at nothing and succeeds. */
import { fail, filesBelow, run } from "./lib.ts"

const { code, output } = run("effect-tsgo", [
  "diagnostics",
  "--project",
  "tsconfig.json",
  "--strict",
  "--format",
  "text"
])
const counted = /Checked (\d+) files out of (\d+) files/.exec(output)
const [checked, all] = [Number(counted?.[1] ?? 0), Number(counted?.[2] ?? 0)]
const expected = filesBelow("src", ".ts").length
process.stdout.write(output)
if (code !== 0) fail("effect-tsgo found something")
if (checked === 0 || checked < expected || checked !== all) {
  fail(`effect-tsgo checked ${checked} of ${all} files; src alone has ${expected}`)
}
