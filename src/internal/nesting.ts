/**
 * How deep work may nest on one stack.
 *
 * A fiber that starts, ends or interrupts another does so inside its own step, so that branches within branches, subflows
 * and runs within runs would nest as deep as the flow does. Every so many levels one waits for a fresh stack.
 */
import * as Effect from "effect/Effect"

const levels = 32

/** Whether this level waits for a fresh stack. Two in a row, since some ways down take two levels at a time. */
export const isDeep = (depth: number): boolean => depth % levels >= levels - 2

/** The effect, on a fresh stack where the level asks for one. */
export const onFreshStack = <A, E, R>(deep: boolean, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  deep ? Effect.andThen(Effect.yieldNow, effect) : effect

/** Stopping what is below, on a fresh stack on the way down and on the way up. */
export const stopOnFreshStack = (deep: boolean, stop: Effect.Effect<void>): Effect.Effect<void> =>
  deep ? Effect.andThen(Effect.yieldNow, Effect.andThen(stop, Effect.yieldNow)) : stop
