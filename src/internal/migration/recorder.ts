/** Between requests and the store: what is noted waits here, so that nobody waits for a store. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import { messageOf } from "../text.ts"
import type { Entry, NewEntry, SkipReason } from "./entry.ts"
import type { Store } from "./memory.ts"

const capacity = 10_000
const batchSize = 256
const attempts = 3
const attemptTimeout = "10 seconds"
const pause = "1 second"
const closing = "5 seconds"

/** Notes entries synchronously and writes them in the background, in batches. Never throws, never waits. */
export class Recorder {
  readonly #migration: string
  readonly #store: Store<unknown>
  #buffer: Array<Entry> = []
  readonly #wake = Latch.makeUnsafe(false)
  /** Open while nothing is left to write. */
  readonly idle: Latch.Latch = Latch.makeUnsafe(true)
  /** Entries that no store has taken, and why. */
  lost = 0
  failure: string | undefined
  #untold = 0
  #prefix: string | undefined
  #ids = 0

  constructor(migration: string, store: Store<unknown>) {
    this.#migration = migration
    this.#store = store
  }

  #numbered(entry: NewEntry): Entry {
    this.#prefix ??= globalThis.crypto.randomUUID()
    return { ...entry, id: `${this.#prefix}-${String(this.#ids++).padStart(9, "0")}` }
  }

  add(entry: NewEntry): void {
    if (this.#buffer.length >= capacity) {
      this.#lose(1)
      return
    }
    this.#buffer.push(this.#numbered(entry))
    Latch.closeUnsafe(this.idle)
    Latch.openUnsafe(this.#wake)
  }

  /** Many requests that are skipped in a row are one entry. */
  skip(reason: SkipReason, at: number): void {
    const last = this.#buffer.at(-1)
    if (last?._tag === "Skipped" && last.reason === reason && at - last.at < 1000) {
      this.#buffer[this.#buffer.length - 1] = { ...last, count: last.count + 1 }
    } else this.add({ _tag: "Skipped", migration: this.#migration, at, reason, count: 1 })
  }

  #lose(count: number): void {
    this.lost += count
    this.#untold += count
  }

  #write(batch: ReadonlyArray<Entry>): Effect.Effect<boolean> {
    return Effect.suspend(() => this.#store.add(batch)).pipe(
      Effect.timeout(attemptTimeout),
      Effect.matchCause({
        onSuccess: () => true,
        onFailure: (cause) => {
          const [reason] = cause.reasons
          this.failure = messageOf(
            reason?._tag === "Fail" ? reason.error : reason?._tag === "Die" ? reason.defect : cause
          )
          return false
        }
      })
    )
  }

  #patiently(batch: ReadonlyArray<Entry>, attempts: number): Effect.Effect<boolean> {
    return Effect.gen({ self: this }, function*() {
      for (let attempt = 1; attempt <= attempts; attempt++) {
        if (attempt > 1) yield* Effect.sleep(pause)
        if (yield* this.#write(batch)) return true
      }
      return false
    })
  }

  #flush(attempts: number): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      while (this.#buffer.length > 0) {
        const batch = this.#buffer.splice(0, batchSize)
        const written = yield* Effect.onInterrupt(this.#patiently(batch, attempts), () =>
          Effect.sync(() => {
            // Interrupted half-way: the scope closes, and what is left is tried once more.
            this.#buffer.unshift(...batch)
          }))
        if (!written) this.#lose(batch.reduce((sum, entry) => sum + (entry._tag === "Skipped" ? entry.count : 1), 0))
        else if (this.#untold > 0) {
          const at = yield* Clock.currentTimeMillis
          const count = this.#untold
          this.#buffer.push(
            this.#numbered({ _tag: "Skipped", migration: this.#migration, at, reason: "lost", count })
          )
          this.#untold = 0
        }
      }
    })
  }

  /** Writes while its scope is open; then what is left, for 5 seconds at most. */
  get run(): Effect.Effect<void, never, Scope.Scope> {
    const loop = Effect.forever(Effect.andThen(
      this.#wake.await,
      Effect.andThen(
        Effect.suspend(() => {
          Latch.closeUnsafe(this.#wake)
          return this.#flush(attempts)
        }),
        Effect.sync(() => {
          if (this.#buffer.length === 0) Latch.openUnsafe(this.idle)
        })
      )
    ))
    return Effect.gen({ self: this }, function*() {
      // Detached, and so is the end: a store that can't be interrupted must not keep the scope open.
      const writing = yield* Effect.forkDetach(loop)
      yield* Effect.addFinalizer(() =>
        Effect.gen({ self: this }, function*() {
          writing.interruptUnsafe()
          const rest = yield* Effect.forkDetach(
            Effect.interruptible(Effect.andThen(Fiber.await(writing), this.#flush(1))),
            { startImmediately: true }
          )
          yield* Effect.interruptible(Effect.timeoutOption(Fiber.await(rest), closing))
          rest.interruptUnsafe()
        })
      )
    })
  }
}
