/** A bell: whoever waits is woken, and one that rings while nobody waits is heard by the next. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { after } from "../after.ts"

export class Signal {
  #rung = false
  #wake: (() => void) | undefined

  /** Safe to call from anywhere, as often as one likes. */
  readonly ring = (): void => {
    const wake = this.#wake
    if (wake === undefined) this.#rung = true
    else {
      this.#wake = undefined
      wake()
    }
  }

  /** For one waiter at a time. */
  readonly wait: Effect.Effect<void> = Effect.callback<void>((resume) => {
    const deaf = this.#hear(() => resume(Effect.void))
    return deaf === undefined ? undefined : Effect.sync(deaf)
  })

  /** True when it rang in time. */
  waitFor(ms: number): Effect.Effect<boolean> {
    return Effect.contextWith((context: Context.Context<never>) =>
      Effect.callback<boolean>((resume) => {
        let inTime: (() => void) | undefined
        const deaf = this.#hear(() => {
          inTime?.()
          resume(Effect.succeed(true))
        })
        if (deaf === undefined) return
        const awake = inTime = after(context, ms, () => {
          deaf()
          resume(Effect.succeed(false))
        })
        return Effect.sync(() => {
          deaf()
          awake()
        })
      })
    )
  }

  /** Calls back when it rings, at once where it has; returns how to stop that. */
  #hear(wake: () => void): (() => void) | undefined {
    if (this.#rung) {
      this.#rung = false
      return void wake()
    }
    this.#wake = wake
    return () => {
      if (this.#wake === wake) this.#wake = undefined
    }
  }
}
