/**
 * Closes a test run with one line of its own: `N passed, N failed, N skipped`.
 *
 * A file that could not be loaded and an error outside of any test count as failed. Skipped tests are named. A run of no
 * tests fails.
 */
import * as fs from "node:fs"
import type { Reporter, SerializedError, TestModule } from "vitest/node"

export default class ClosingLine implements Reporter {
  #line = "0 passed, 1 failed, 0 skipped"
  #failed = true

  constructor() {
    // Last of all, so that nothing that is printed while the run ends comes after it.
    process.on("exit", () => {
      if (this.#failed && (process.exitCode ?? 0) === 0) process.exitCode = 1
      fs.writeSync(1, `${this.#line}\n`)
    })
  }

  onTestRunEnd(modules: ReadonlyArray<TestModule>, unhandled: ReadonlyArray<SerializedError>): void {
    let [passed, failed] = [0, unhandled.length]
    const skipped: Array<string> = []
    for (const module of modules) {
      if (module.errors().length > 0) failed++
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) failed++
      for (const test of module.children.allTests()) {
        const state = test.result().state
        if (state === "passed") passed++
        else if (state === "failed") failed++
        else skipped.push(`${module.relativeModuleId} > ${test.fullName}`)
      }
    }
    for (const name of skipped) process.stdout.write(`skipped: ${name}\n`)
    if (passed + failed === 0) process.stdout.write("no test ran\n")
    this.#failed = failed > 0 || passed === 0
    this.#line = `${passed} passed, ${failed} failed, ${skipped.length} skipped`
  }
}
