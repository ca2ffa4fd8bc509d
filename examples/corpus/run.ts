/** Runs every line of the input through the flow, some at a time, until all are done or somebody asks to stop. */
import { Cause, Effect, Exit, Option, Ref } from "effect"
import { randomUUID } from "node:crypto"
import { FlowRuntime } from "penguiflow"
import type { RawLine } from "./address.ts"
import { flow } from "./flow.ts"
import { Terminal } from "./terminal.ts"

/** One line that did not make it. */
export interface Failure {
  readonly line: number
  readonly node: string
  readonly message: string
}

/** What became of the input. */
export interface Summary {
  readonly total: number
  readonly stored: number
  readonly replaced: number
  readonly unchanged: number
  readonly failures: ReadonlyArray<Failure>
  readonly seconds: number
  /** The exit code that the interruption asks for, where there was one. */
  readonly interrupted: Option.Option<number>
}

export const runAll = Effect.fnUntraced(function*(
  lines: ReadonlyArray<RawLine>,
  options: { readonly concurrency: number; readonly interruption: Effect.Effect<number> }
) {
  const terminal = yield* Terminal
  const runtime = yield* FlowRuntime.make(flow, { maxInFlight: options.concurrency })
  const interrupted = yield* Ref.make(Option.none<number>())
  const run = randomUUID()
  const counts = { stored: 0, replaced: 0, unchanged: 0 }
  const failures: Array<Failure> = []
  const startedAt = performance.now()
  const seconds = () => (performance.now() - startedAt) / 1000

  // One fiber feeds the runtime, and closes it: `fetch` then ends once every accepted document has been accounted for.
  const feed = Effect.forEach(
    lines,
    (line) => runtime.emit(line, { traceId: `${run}/${line.line}`, meta: { line: line.line } }),
    { discard: true }
  )
  yield* options.interruption.pipe(
    Effect.tap((code) => Ref.set(interrupted, Option.some(code))),
    Effect.andThen(terminal.note("Stopping: what is open is finished, nothing new is begun. Again to end at once.")),
    Effect.forkScoped
  )
  yield* Effect.raceFirst(feed, options.interruption).pipe(
    Effect.andThen(runtime.shutdown({ grace: "1 minute" })),
    Effect.forkChild
  )

  const tell = () => {
    const done = counts.stored + counts.replaced + counts.unchanged + failures.length
    const speed = (done / Math.max(0.001, seconds())).toFixed(0)
    const failed = failures.length === 0 ? "" : `, ${failures.length} failed`
    return terminal.progress(`${done} of ${lines.length} documents, ${speed} a second${failed}`, done, lines.length)
  }
  const collect = Effect.gen(function*() {
    while (true) {
      const { exit, failedAt, meta } = yield* runtime.fetch
      if (Exit.isSuccess(exit)) {
        for (const { written } of exit.value) counts[written]++
      } else {
        const line = Number(meta["line"])
        failures.push({ line, node: failedAt?.node ?? flow.name, message: messageOf(line, exit.cause) })
      }
      yield* tell()
    }
  })
  yield* Effect.catchIf(collect, (error) => error.code === "SHUTTING_DOWN", () => Effect.void)

  return { ...counts, total: lines.length, failures, seconds: seconds(), interrupted: yield* Ref.get(interrupted) }
}, Effect.scoped)

/** Says which document it was, whoever failed. */
const messageOf = (line: number, cause: Cause.Cause<unknown>) => {
  const error = Cause.squash(cause)
  const message = error instanceof Error ? error.message : String(error)
  return message.startsWith("line ") ? message : `line ${line}: ${message}`
}
