// Builds dist after an installation, so that the package can be imported by its own name. Where the compiler is not
// installed there is nothing to build with; where src does not compile, `npm run check` and `npm run build` say so.
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const tsc = fileURLToPath(new URL("../node_modules/.bin/tsc", import.meta.url))
if (existsSync(tsc)) {
  const done = spawnSync(tsc, ["-p", "tsconfig.build.json", "--noEmitOnError", "false"], { cwd: root, stdio: "ignore" })
  if (done.status !== 0) console.warn("prepare: src does not compile; see `npm run build`")
}
