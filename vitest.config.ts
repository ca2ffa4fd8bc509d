import { join } from "node:path"
import { defineConfig } from "vitest/config"
import ClosingLine from "./tools/reporter.ts"

// The tests start hundreds of processes, each of which would strip the types of all sources anew.
process.env["NODE_COMPILE_CACHE"] = join(import.meta.dirname, "node_modules/.cache/node")

const conditions = ["source", "node", "import", "module", "default"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: ["source", "node", "import", "default"] } },
  test: {
    include: ["test/**/*.test.ts", "template/test/*.test.ts", ".doctest/**/*.test.ts"],
    exclude: ["node_modules", "dist"],
    pool: "forks",
    maxWorkers: 2,
    execArgv: ["--expose-gc", "--conditions=source"],
    // Ends what hangs. No test says by it how fast anything is: loaded machines are slow.
    testTimeout: 120_000,
    hookTimeout: 30_000,
    passWithNoTests: false,
    reporters: ["default", new ClosingLine()]
  }
})
