/**
 * One process of the benchmark: `child.ts '{"what":"speed","jit":true,…}'`; prints its report as JSON, its progress as
 * sentences on the other channel.
 *
 * The JIT is a switch that has to be set before the first schema is made: hence the imports at run time.
 */
import type { Plan, Row } from "./rounds.ts"

/** What a child is told. */
export interface Task {
  readonly what: "speed" | "memory"
  readonly jit: boolean
  readonly filter: string
  readonly plan: Plan
}

/** What a child answers. */
export interface Report {
  readonly rows: ReadonlyArray<Row>
  readonly checkNs: number
}

const task: Task = JSON.parse(process.argv[2]!)
if (globalThis.gc === undefined) throw new Error("run with --expose-gc")
if (task.jit) await import("effect/schema/SchemaJITCompiler/enable")

const Effect = await import("effect/Effect")
const { cases } = await import("./cases.ts")
const { checkNs, measure } = await import("./rounds.ts")
const { parked } = await import("./parked.ts")

const label = `${task.what}, schema JIT ${task.jit ? "on" : "off"}`
const progress = (sentence: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${label}: ${sentence}`)
}
const chosen = (name: string): boolean => name.toLowerCase().includes(task.filter.toLowerCase())

const program = task.what === "memory"
  ? parked(chosen, 3)
  : Effect.flatMap(cases, (all) => measure(all, chosen, task.plan, progress))
const rows: ReadonlyArray<Row> = await Effect.runPromise(Effect.scoped(program))
if (process.stderr.isTTY) process.stderr.write("\r\u001b[K")
const report: Report = { rows, checkNs: checkNs() }
console.log(JSON.stringify(report))
