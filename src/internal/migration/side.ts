/** Which side a request takes: the mode as it is now, and a key's place in the canary. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as SubscriptionRef from "effect/SubscriptionRef"

/** A value that may change while requests run. */
export type Live<A> = A | SubscriptionRef.SubscriptionRef<A> | Effect.Effect<A, unknown>

/**
 * Reads a live value, once per request. One that can't be read, or is none, is what it was the last time: a mistake in a
 * configuration changes nothing and is told once.
 */
export const reader = <A>(
  live: Live<A>,
  is: (value: unknown) => value is A,
  first: A,
  what: string
): Effect.Effect<A> => {
  let last = first
  let told: string | undefined
  const take = (value: unknown): Effect.Effect<A> => {
    if (is(value)) {
      last = value
      told = undefined
      return Effect.succeed(value)
    }
    return refuse(`${typeof value === "string" ? JSON.stringify(value.slice(0, 40)) : typeof value}`)
  }
  const refuse = (why: string): Effect.Effect<A> => {
    if (told === why) return Effect.succeed(last)
    told = why
    return Effect.as(Effect.logWarning(`${what} can't be read, and stays ${String(last)}: ${why}`), last)
  }
  if (SubscriptionRef.isSubscriptionRef(live)) return Effect.suspend(() => take(SubscriptionRef.getUnsafe(live)))
  if (!Effect.isEffect(live)) return take(live)
  return Effect.flatMap(Effect.exit(live), (exit) =>
    Exit.isSuccess(exit)
      ? take(exit.value)
      : Exit.hasInterrupts(exit)
      ? Effect.interrupt
      : refuse("it fails to be read"))
}

/**
 * A key's place from 0 to 1, the same in every process and version. A canary of share `s` takes the places below `s`:
 * whoever is in it stays in it while the share grows.
 */
export const placeOf = (migration: string, key: string): number => {
  // FNV-1a over UTF-16 units, then the last step of MurmurHash3, which spreads keys that differ in their end alone.
  let hash = 0x811c9dc5
  const text = `${migration}\u0000${key}`
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ hash >>> 16, 0x85ebca6b)
  hash = Math.imul(hash ^ hash >>> 13, 0xc2b2ae35)
  return ((hash ^ hash >>> 16) >>> 0) / 2 ** 32
}
