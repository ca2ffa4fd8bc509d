/** Commands that live until a signal ends them: how they begin, and that they end in time. */
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as FlowCli from "../FlowCli.ts"
import { refused, toStderr } from "./answer.ts"
import { wordsOf } from "./places.ts"

/** What is closed last is opened first: what flows need outlives what they are asked by. */
export interface Scopes {
  /** What the flows need: closed with all the time that is left. */
  readonly theirs: Scope.Scope
  /** Queues and stores: a connection that went dark is not waited for. */
  readonly own: Scope.Scope
}

/**
 * Starts, and then lives until a signal comes. `stop` is what is to be done first then, for `grace`; everything is over
 * within two seconds more. Ends the process with 0 after SIGTERM, and with 130 after SIGINT.
 */
export const living = <R>(
  grace: Duration.Duration,
  start: (scopes: Scopes) => Effect.Effect<void, FlowCli.Ended, R>,
  stop: Effect.Effect<void>
): Effect.Effect<void, FlowCli.Ended, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const [theirs, own] = [yield* Scope.make(), yield* Scope.make()]
      const lived = yield* Effect.exit(restore(Effect.andThen(start({ theirs, own }), Effect.never)))
      const ending = Effect.gen(function*() {
        yield* stop
        yield* within(Scope.close(own, Exit.void), Duration.seconds(1))
        yield* Scope.close(theirs, Exit.void)
      })
      yield* within(ending, Duration.sum(grace, patience))
      if (Exit.isSuccess(lived)) return
      if (FlowCli.signalOf(lived.cause) === "SIGTERM") yield* FlowCli.exitWith(0)
      return yield* Effect.failCause(lived.cause)
    })
  ).pipe(Effect.provideService(Logger.LogToStderr, true), Effect.provideService(Console.Console, toStderr))

/** What can't be built is one line, and ends the command with 2. */
export const built = <A, E, R>(
  what: string,
  layer: Layer.Layer<A, E, R>,
  scope: Scope.Scope,
  { debug, words = wordsOf }: {
    readonly debug: boolean
    readonly words?: ((error: unknown) => string) | undefined
  }
): Effect.Effect<Context.Context<A>, FlowCli.Ended, R> =>
  Effect.catchCause(Layer.buildWithScope(layer, scope), (cause) => {
    if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
    return Effect.andThen(
      debug ? Console.error(Cause.pretty(cause)) : Effect.void,
      refused(`${what}: ${words(Cause.squash(cause))}`)
    )
  })

// ----------------------------------------------------------------------------------------------------------- internals

/** A shutdown takes its grace and two seconds at most. */
const patience = Duration.millis(1900)

/** Waits for it so long, and leaves it to itself then: it may resist being interrupted. */
const within = (effect: Effect.Effect<void>, time: Duration.Duration): Effect.Effect<void> =>
  Effect.flatMap(
    Effect.forkDetach(effect, { startImmediately: true }),
    (fiber) => Effect.asVoid(Effect.timeoutOption(Fiber.await(fiber), time))
  )
