/** A command as the main program of a process: signals, exit codes, and that what was written gets out. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constVoid } from "effect/Function"
import * as Runtime from "effect/Runtime"

/** The signals that are heard. */
export type Signal = "SIGINT" | "SIGTERM"

interface Output {
  readonly writable: boolean
  on(event: "error", listener: () => void): unknown
  write(text: string, done?: () => void): unknown
}

interface Process {
  readonly stdout: Output
  readonly stderr: Output
  on(signal: Signal, listener: (signal: Signal) => void): unknown
  exit(code: number): unknown
}

/** Goes with the interruption that a signal is. */
const SignalKey = Context.Service<Signal>("penguiflow/FlowCli/Signal")

/** Which signal a program was interrupted by; undefined where it was none. */
export const signalOf = <E>(cause: Cause.Cause<E>): Signal | undefined =>
  Context.getOrUndefined(Cause.annotations(cause), SignalKey)

/** What a program has to say of its exit code, whatever interrupts it. */
const Ending = Context.Reference<{ code: number | undefined }>("penguiflow/FlowCli/Ending", {
  defaultValue: () => ({ code: undefined })
})

/** Says how the process is to end after a signal, if nothing ends it sooner. */
export const exitWith = (code: number): Effect.Effect<void> =>
  Effect.flatMap(Ending, (ending) => Effect.sync(() => void (ending.code = code)))

/** Runs a program to its end, and the process with it. */
export const main = (process: Process): <A, E>(effect: Effect.Effect<A, E>) => void => {
  const ending: { code: number | undefined } = { code: undefined }
  const run = Runtime.makeRunMain(({ fiber, teardown }) => {
    let first: { readonly code: number; readonly at: number } | undefined
    const onSignal = (signal: Signal): void => {
      const code = signal === "SIGTERM" ? 143 : 130
      const now = globalThis.performance.now()
      if (first === undefined) {
        first = { code, at: now }
        process.stderr.write("Stopping. Once more ends it at once.\n")
        fiber.interruptUnsafe(undefined, Context.make(SignalKey, signal))
      } else if (first.code !== code || now - first.at > sameSignal) process.exit(code)
    }
    process.on("SIGINT", onSignal)
    process.on("SIGTERM", onSignal)
    // Whoever reads may leave. What that means is decided where it is written.
    process.stdout.on("error", constVoid)
    process.stderr.on("error", constVoid)
    fiber.addObserver((exit) => {
      teardown(exit, (code) => {
        const last = first !== undefined && Exit.hasInterrupts(exit) ? ending.code ?? first.code : code
        const end = () => process.exit(last)
        if (first !== undefined) globalThis.setTimeout(end, patience)
        flush(process.stdout, () => flush(process.stderr, end))
      })
    })
  })
  return (effect) => run(Effect.provideService(effect, Ending, ending))
}

// ----------------------------------------------------------------------------------------------------------- internals

/** Signals of one name within so many milliseconds are one: a terminal sends it, and npm sends it on. */
const sameSignal = 100
/** After a signal, so many milliseconds for what was written to get out: nobody may be reading. */
const patience = 1000

/** Calls back when everything before has been written, or never will be. */
const flush = (output: Output, done: () => void): void => {
  if (output.writable) output.write("", done)
  else done()
}
