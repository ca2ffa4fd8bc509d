/**
 * `npm run bench`: a flow against the same work written by hand.
 *
 * Speed is measured in one process with the schema JIT on, then in a second one with it off; memory in a third.
 */
import { spawn } from "node:child_process"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import type { Report, Task } from "./child.ts"
import type { Plan } from "./rounds.ts"
import { type Result, table } from "./table.ts"

const help = `npm run bench -- [options]

Measures flows against hand-written Effect code that does the same work (bench/byHand.ts), and prints a table of ratios:
the median of the rounds, with what a tenth of them stayed below and above. What misses its bar is marked MISSED; the
exit code stays 0.

  --filter TEXT   only cases whose name has this text
  --rounds N      rounds over all cases (default 31; with --quick 9)
  --quick         fewer rounds, a shorter warm-up, and nothing with the schema JIT off
  --json          the figures as JSON
  --help          this text`

const refuse = (sentence: string): never => {
  console.error(`${sentence}\n\n${help}`)
  process.exit(2)
}

const given = () => {
  try {
    return parseArgs({
      options: {
        filter: { type: "string", default: "" },
        rounds: { type: "string" },
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false }
      }
    }).values
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error))
  }
}

const options = given()
if (options.help) {
  console.log(help)
  process.exit(0)
}
const rounds = options.rounds === undefined ? (options.quick ? 9 : 31) : Number(options.rounds)
if (!Number.isInteger(rounds) || rounds < 1) refuse(`--rounds takes a whole number from 1, not "${options.rounds}"`)

const plan: Plan = options.quick
  ? { rounds, sampleMs: 20, warmUpPasses: 3, warmUpMs: 40 }
  : { rounds, sampleMs: 25, warmUpPasses: 5, warmUpMs: 80 }

/** One process, and what it reports. */
const reportOf = (what: Task["what"], jit: boolean): Promise<Report> => {
  const task: Task = { what, jit, filter: options.filter, plan }
  const child = spawn(
    process.execPath,
    ["--conditions=source", "--expose-gc", path.join(import.meta.dirname, "child.ts"), JSON.stringify(task)],
    { stdio: ["ignore", "pipe", "inherit"] }
  )
  return new Promise((resolve, reject) => {
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text
    })
    child.on("error", reject)
    child.on("close", (code) => {
      if (code === 0) resolve(JSON.parse(output))
      else reject(new Error(`the process that measures ${what} ended with ${code}`))
    })
  })
}

const withJit = await reportOf("speed", true)
const withoutJit = options.quick ? undefined : await reportOf("speed", false)
const memory = await reportOf("memory", true)
const results = [...withJit.rows, ...memory.rows].map((row): Result => ({
  ...row,
  met: row.bar === undefined ? undefined : (row.held === "ours" ? row.ours : row.ratio) <= row.bar,
  withoutJit: withoutJit?.rows.find(({ name }) => name === row.name)?.ratio
}))
if (results.length === 0) refuse(`no case has "${options.filter}" in its name`)

const checks = { on: withJit.checkNs, off: withoutJit?.checkNs }

if (options.json) {
  const { node, v8 } = process.versions
  console.log(JSON.stringify({ node, v8, cpu: os.cpus()[0]?.model, plan, checkNs: checks, results }, undefined, 2))
} else {
  const missed = results.filter(({ met }) => met === false).length
  const held = results.filter(({ met }) => met !== undefined).length
  console.log(
    `Node ${process.versions.node}, ${os.cpus().length} × ${os.cpus()[0]?.model}. One message after another, CPU time,`,
    `medians of ${rounds} rounds.`
  )
  console.log(
    `Schema JIT on: a check of the record takes ${checks.on.toFixed(0)} ns.`,
    checks.off === undefined
      ? "\n"
      : `The last column is the ratio with it off: ${checks.off.toFixed(0)} ns.\n`
  )
  console.log(table(results))
  console.log(`\n${held - missed} of ${held} within their bar, ${missed} MISSED.`)
}
