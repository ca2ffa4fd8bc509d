/** A bell: whoever waits is woken, and one that rings while nobody waits is heard by the next. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

export class Signal {
  #rung = false
  #resume: ((effect: Effect.Effect<void>) => void) | undefined

  /** Safe to call from anywhere, as often as one likes. */
  readonly ring = (): void => {
    const resume = this.#resume
    if (resume === undefined) this.#rung = true
    else {
      this.#resume = undefined
      resume(Effect.void)
    }
  }

  /** For one waiter at a time. */
  readonly wait: Effect.Effect<void> = Effect.callback<void>((resume) => {
    if (this.#rung) {
      this.#rung = false
      return resume(Effect.void)
    }
    this.#resume = resume
    return Effect.sync(() => {
      if (this.#resume === resume) this.#resume = undefined
    })
  })

  /** True when it rang in time. */
  waitFor(ms: number): Effect.Effect<boolean> {
    return Effect.map(Effect.timeoutOption(this.wait, Duration.millis(ms)), (rang) => rang._tag === "Some")
  }
}
