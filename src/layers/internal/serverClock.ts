/**
 * A server's clock, held against one that only goes forward: whether it was set, and by how much.
 *
 * Leases and delays are instants of the server's clock. Where that is set forward, all leases seem to have ended, those of
 * healthy workers too; where it is set back, those of dead workers last as much longer. Who sees it puts that right, before
 * any job is taken back.
 */
import * as Effect from "effect/Effect"

/** Less than this may as well be drift since the last look, and harms no lease. */
const tolerance = 200
/** What an answer may take before a server that judges by {@link ServerClock.expect} asks back. */
const usual = 500
/** By then a healthy worker has renewed its leases: it does so every two seconds, and waits four for the answer. */
const renewedWithin = 6000

export class ServerClock {
  /** How far the server's clock is ahead of this process's monotonic one: at least, at most. */
  #ahead: readonly [number, number] | undefined
  #set = 0
  #leaseMs = 0

  /** A worker of this process takes leases of that length. */
  leases(ms: number): void {
    this.#leaseMs = Math.max(this.#leaseMs, ms)
  }

  /** What a lease gets that the clock's setting has made senseless: as much as it takes to find out who is alive. */
  get graceMs(): number {
    return Math.max(this.#leaseMs, renewedWithin)
  }

  /**
   * The server said `at`, at some moment between `asked` and `answered` of the monotonic clock. By how many milliseconds
   * its clock was set since the first look, until {@link ServerClock.righted}: below 0 for back, 0 for not at all.
   */
  look(asked: number, at: number, answered: number): number {
    const [least, most] = [at - answered, at - asked]
    const before = this.#ahead
    if (before === undefined || least > before[1] || most < before[0]) {
      this.#ahead = [least, most]
      if (before !== undefined) {
        const step = least > before[1] ? least - before[1] : most - before[0]
        if (Math.abs(step) >= tolerance) this.#set += step
      }
    } else this.#ahead = [Math.max(least, before[0]), Math.min(most, before[1])]
    return this.#set
  }

  /** What the server's clock says, as long as nobody sets it, when it gets to what is asked now; undefined at first. */
  expect(asked: number): { readonly least: number; readonly most: number } | undefined {
    if (this.#ahead === undefined) return undefined
    const [least, most] = this.#ahead
    return { least: Math.floor(asked + least - tolerance), most: Math.ceil(asked + most + usual) }
  }

  /** As {@link ServerClock.look}, just now; what a step has made senseless is put right, and told. Whether there was one. */
  check<E>(
    asked: number,
    at: number,
    right: (step: number, graceMs: number) => Effect.Effect<unknown, E>
  ): Effect.Effect<boolean, E> {
    const step = Math.round(this.look(asked, at, performance.now()))
    if (step === 0) return Effect.succeed(false)
    return Effect.andThen(
      right(step, Math.round(this.graceMs)),
      Effect.suspend(() => {
        this.righted()
        return Effect.as(Effect.logWarning(`the job queue's ${this.words(step)}`), true)
      })
    )
  }

  /** What is to be said of such a step. */
  words(step: number): string {
    const seconds = Math.round(Math.abs(step) / 100) / 10
    const how = step > 0 ? `forward by ${seconds} s, or this machine slept` : `back by ${seconds} s`
    return `clock was set ${how}: healthy workers keep their jobs, those of others are taken back after ${
      Math.round(this.graceMs / 100) / 10
    } s`
  }

  /** What its setting has made senseless is put right. */
  righted(): void {
    this.#set = 0
  }
}
