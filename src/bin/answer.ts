/** How commands that look into a store answer, and what they say where they can't. */
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import * as FlowCli from "../FlowCli.ts"
import { wordsOf } from "./places.ts"

/** One line on standard error, and exit code 2: nothing was done. */
export const refused = (words: string): Effect.Effect<never, FlowCli.Ended> =>
  Effect.andThen(FlowCli.say(`✗ ${words}`), Effect.fail(new FlowCli.Ended({ code: 2 })))

/** What nodes print goes where everything else does: standard output holds results. */
export const toStderr: Console.Console = Object.assign(Object.create(globalThis.console) as Console.Console, {
  log: (...args: ReadonlyArray<unknown>) => globalThis.console.error(...args),
  info: (...args: ReadonlyArray<unknown>) => globalThis.console.error(...args),
  debug: (...args: ReadonlyArray<unknown>) => globalThis.console.error(...args)
})

/**
 * Whatever fails is one line and exit code 2; what stands behind it is shown with `debug`. What layers log is left out
 * without it, unless `logs` are wanted: it would be the same words again.
 */
export const answering = <E, R>(
  answer: Effect.Effect<void, E, R>,
  { debug, logs }: { readonly debug: boolean; readonly logs?: boolean | undefined }
): Effect.Effect<void, FlowCli.Ended, R> =>
  Effect.catchCause(
    debug || logs === true ? answer : Effect.provideService(answer, References.MinimumLogLevel, "None"),
    (cause): Effect.Effect<never, FlowCli.Ended> => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
      const error = Cause.squash(cause)
      if (error instanceof FlowCli.Ended) return Effect.fail(error)
      return Effect.andThen(debug ? Console.error(Cause.pretty(cause)) : Effect.void, refused(wordsOf(error)))
    }
  )

/** How wide lines may be: as wide as the terminal, without end where there is none. */
export const width: Effect.Effect<number, never, Stdio.Stdio | Terminal.Terminal> = Effect.flatMap(
  Stdio.Stdio.use(({ stdoutIsTerminal }) => stdoutIsTerminal),
  (watched) => watched ? FlowCli.columns : Effect.succeed(Infinity)
)
