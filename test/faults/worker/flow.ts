/** The flow of the fault tests: each job does one thing, once, and may do what no job should. */
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { appendFileSync } from "node:fs"
import { Flow, Node } from "penguiflow"

export const Task = Schema.Struct({
  /** `work` takes `ms`; the others end, block or exhaust the process. */
  kind: Schema.Literals(["work", "kill", "exit", "block", "overflow", "throw"]),
  ms: Schema.Number
})

/** One line for each begin and end of a run: what the harness judges by, whatever the database does. */
export interface Line {
  readonly what: "begin" | "end"
  readonly job: string
  readonly pid: number
  readonly attempt: number
  readonly at: number
}

const spin = (ms: number) => {
  const until = performance.now() + ms
  while (performance.now() < until);
}

const deep = (n: number): number => 1 + deep(n + 1)

export const flowOf = (ledger: string) => {
  const write = (line: Omit<Line, "pid" | "at">) =>
    Effect.sync(() => appendFileSync(ledger, `${JSON.stringify({ ...line, pid: process.pid, at: Date.now() })}\n`))
  const only = Node.make("only", {
    input: Task,
    output: Schema.Number,
    run: ({ kind, ms }, { idempotencyKey, meta }) =>
      Effect.gen(function*() {
        const job = String(meta["jobId"])
        const attempt = Number(meta["attempt"])
        yield* write({ what: "begin", job, attempt })
        if (kind === "kill") process.kill(process.pid, "SIGKILL")
        if (kind === "exit") process.exit(7)
        if (kind === "overflow") deep(0)
        if (kind === "throw") throw new Error("poison")
        if (kind === "block") spin(ms)
        else yield* Effect.sleep(ms)
        const sql = yield* SqlClient.SqlClient
        yield* Effect.orDie(
          sql`INSERT INTO effects (key, job) VALUES (${idempotencyKey}, ${job}) ON CONFLICT DO NOTHING`
        )
        return attempt
      }).pipe(
        Effect.ensuring(
          Effect.suspend(() => write({ what: "end", job: String(meta["jobId"]), attempt: Number(meta["attempt"]) }))
        )
      )
  })
  return Flow.make("tasks", [only.to()])
}
