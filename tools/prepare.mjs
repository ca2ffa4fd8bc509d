// Builds dist after an installation, so that the package can be imported by its own name, dashboard included. Where the
// compiler or the bundler is not installed there is nothing to build with; where something does not compile,
// `npm run check` and `npm run build` say so.
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const tsc = fileURLToPath(new URL("../node_modules/.bin/tsc", import.meta.url))
if (existsSync(tsc)) {
  const done = spawnSync(tsc, ["-p", "tsconfig.build.json", "--noEmitOnError", "false"], { cwd: root, stdio: "ignore" })
  if (done.status !== 0) console.warn("prepare: src does not compile; see `npm run build`")
}

// Whatever Node runs npm, the project's own runs TypeScript.
const node = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url))
if (existsSync(node) && existsSync(fileURLToPath(new URL("../node_modules/rolldown", import.meta.url)))) {
  const done = spawnSync(node, ["tools/dashboard.ts"], { cwd: root, stdio: "ignore" })
  if (done.status !== 0) console.warn("prepare: the dashboard can't be bundled; see `npm run build`")
}
