/** Stopping a fiber whose work may have to be undone. */
import type * as Fiber from "effect/Fiber"

/** How long one waits at most before looking again, in milliseconds. */
const longest = 10

/**
 * Interrupts a fiber where that loses nothing it has done: not within a region that can't be interrupted, whose value
 * Effect would throw away at the region's end, and not within a step of its own. Where it is at rest, at once.
 *
 * Whether a fiber is in such a region is not part of its public type. Where a fiber does not say, it is interrupted.
 */
export const interruptAtRest = (fiber: Fiber.Fiber<unknown, unknown>, by: number): void => {
  const look = (wait: number): void => {
    if (fiber.pollUnsafe() !== undefined) return
    if (isBusy(fiber)) setTimeout(look, wait, Math.min(longest, wait * 2 + 1))
    else fiber.interruptUnsafe(by)
  }
  look(0)
}

const isBusy = (fiber: object): boolean =>
  Reflect.get(fiber, "_running") === true || Reflect.get(fiber, "interruptible") === false
