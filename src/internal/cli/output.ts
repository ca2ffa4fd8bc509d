/** Where a command writes: results to standard output, all else to standard error, and a line of progress that gives way. */
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { PlatformError } from "effect/PlatformError"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import { fit, oneLine, printable } from "./text.ts"

/** How a command writes. */
export interface Output {
  /** Whether somebody watches standard error. */
  readonly live: boolean
  /** A line on standard error, whatever the text is made of. */
  readonly say: (text: string) => Effect.Effect<void>
  /** Several lines on standard error: causes and stacks. */
  readonly explain: (text: string) => Effect.Effect<void>
  /** Shows how far it is, in place; nothing where nobody watches. */
  readonly progress: (text: string) => Effect.Effect<void>
  /** Takes the line of progress away. */
  readonly clear: Effect.Effect<void>
  /** For what runs inside: its console writes to standard error. */
  readonly console: Console.Console
  /** Writes lines of results until there are no more. */
  readonly results: <E, R>(lines: Stream.Stream<string, E, R>) => Effect.Effect<void, E | WriteFailed, R>
}

/** Standard output takes no more; `closed` where its reader has left, and there is nobody to tell. */
export class WriteFailed {
  readonly _tag = "WriteFailed"
  readonly closed: boolean
  readonly message: string
  constructor(error: PlatformError) {
    const cause = error.reason.cause
    const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : "unknown reason"
    this.closed = code === "EPIPE" || code === "ERR_STREAM_DESTROYED" || code === "ERR_STREAM_WRITE_AFTER_END"
    this.message = `standard output can't be written to: ${code}`
  }
}

/** Whether a failure is that of standard output. */
export const isWriteFailed = (u: unknown): u is WriteFailed => u instanceof WriteFailed

const erase = "\r\u001b[K"

const variable = (name: string): Effect.Effect<string | undefined> =>
  Effect.map(Effect.option(Config.String(name)), Option.getOrUndefined)

/** How wide the terminal is, as far as anybody knows. */
export const columns: Effect.Effect<number, never, Terminal.Terminal> = Effect.gen(function*() {
  const shown = yield* (yield* Terminal.Terminal).columns
  const said = Number(yield* variable("COLUMNS"))
  return shown > 0 ? shown : said > 0 ? said : 80
})

export const makeOutput: Effect.Effect<Output, never, Stdio.Stdio | Terminal.Terminal> = Effect.gen(function*() {
  const stdio = yield* Stdio.Stdio
  const width = yield* columns
  const outer = yield* Console.Console
  const live = (yield* stdio.stderrIsTerminal) && (yield* variable("TERM")) !== "dumb"
  let shown = false
  const taken = (): string => {
    const before = shown ? erase : ""
    shown = false
    return before
  }
  // Whoever read standard error may have left: that stops nothing.
  const write = (text: string) => Effect.ignore(Stream.run(Stream.make(text), stdio.stderr()))
  const clear = Effect.suspend(() => shown ? write(taken()) : Effect.void)
  const error = (...args: ReadonlyArray<unknown>): void => {
    const before = taken()
    if (before === "") outer.error(...args)
    else if (typeof args[0] === "string") outer.error(before + args[0], ...args.slice(1))
    else outer.error(before, ...args)
  }
  const console: Console.Console = Object.assign(Object.create(outer) as Console.Console, {
    log: error,
    info: error,
    debug: error,
    warn: error,
    error
  })
  return {
    live,
    clear,
    console,
    say: (text) => Effect.sync(() => error("%s", oneLine(text))),
    explain: (text) => Effect.sync(() => error("%s", printable(text))),
    progress: (text) =>
      live
        ? Effect.suspend(() => {
          shown = true
          return write(erase + fit(oneLine(text), width))
        })
        : Effect.void,
    results: (lines) =>
      Stream.run(Stream.tap(lines, () => clear), Sink.mapError(stdio.stdout(), (cause) => new WriteFailed(cause)))
  }
})
