/** The terminal: colours where they are wanted, a progress line that stays out of pipes, Ctrl-C as an event. */
import { Context, Deferred, Effect, Layer } from "effect"

/** What the terminal can do, and how it is written to. */
export class Terminal extends Context.Service<Terminal, {
  /** A line of the result, on stdout. */
  readonly print: (text: string) => Effect.Effect<void>
  /** A line about the work, on stderr. */
  readonly note: (text: string) => Effect.Effect<void>
  /** Shows how far it is: in place on a terminal, else a line now and then. */
  readonly progress: (text: string, done: number, total: number) => Effect.Effect<void>
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
}>()("examples/corpus/Terminal") {}

export const layer = Layer.sync(Terminal, () => {
  const plain = (process.env["NO_COLOR"] ?? "") !== "" || process.env["TERM"] === "dumb"
  const colour = (code: number) => (text: string) =>
    plain || !process.stdout.isTTY ? text : `\u001b[${code}m${text}\u001b[0m`
  const live = process.stderr.isTTY && process.env["TERM"] !== "dumb"
  let shown = false
  let tenth = 0
  const clear = () => {
    if (shown) process.stderr.write("\r\u001b[K")
    shown = false
  }
  return Terminal.of({
    bold: colour(1),
    dim: colour(2),
    red: colour(31),
    print: (text) =>
      Effect.sync(() => {
        clear()
        process.stdout.write(`${text}\n`)
      }),
    note: (text) =>
      Effect.sync(() => {
        clear()
        process.stderr.write(`${text}\n`)
      }),
    progress: (text, done, total) =>
      Effect.sync(() => {
        if (live) {
          process.stderr.write(`\r\u001b[K${text.slice(0, (process.stderr.columns || 80) - 1)}`)
          shown = true
        } else if (Math.floor(10 * done / Math.max(1, total)) > tenth) {
          tenth = Math.floor(10 * done / Math.max(1, total))
          process.stderr.write(`${text}\n`)
        }
      })
  })
})

/**
 * Done at the first Ctrl-C (or SIGTERM), with its exit code. The second ends the process at once: what was committed is
 * safe, what was not is gone. Signals within half a second are one: npm sends on what the terminal sent already.
 */
export const interruption = Effect.gen(function*() {
  const asked = yield* Deferred.make<number>()
  let at: number | undefined
  const on = (signal: NodeJS.Signals) => {
    const code = signal === "SIGTERM" ? 143 : 130
    if (at === undefined) {
      at = performance.now()
      Deferred.doneUnsafe(asked, Effect.succeed(code))
    } else if (performance.now() - at > 500) {
      process.stderr.write("\nEnded at once.\n")
      process.exit(code)
    }
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("SIGINT", on).on("SIGTERM", on)),
    () => Effect.sync(() => process.off("SIGINT", on).off("SIGTERM", on))
  )
  return asked
})
