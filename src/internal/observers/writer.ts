/**
 * The writer: takes what is noted at once, and hands it to a store in batches, from a fiber of its own. Whoever notes
 * waits for nothing; what the store does not take is tried again, and then lost and counted.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Schedule from "effect/Schedule"
import type { FlowEvent } from "../../FlowEvent.ts"
import { messageOf } from "../text.ts"
import { type Change, keptEvent, keyOf, noChange, type Payload, withEvent } from "./changes.ts"
import { kept } from "./ids.ts"

/** What went into a trace and came out of it, encoded only when it is written. */
export interface Recorded {
  readonly flow: string
  readonly traceId: string
  readonly payload: () => Payload
}

/** What is written at once. */
export interface Batch {
  /** In the order in which they happened. */
  readonly events: ReadonlyArray<FlowEvent>
  /** One for each trace that the events, or what was recorded, belong to. */
  readonly changes: ReadonlyArray<Change>
}

export interface WriterOptions {
  readonly write: (batch: Batch) => Effect.Effect<void, unknown>
  readonly capacity: number
  readonly batchSize: number
  readonly redact: ((event: FlowEvent) => FlowEvent | undefined) | undefined
}

/** Five tries within about three seconds. */
const retries = Schedule.max([Schedule.exponential("100 millis"), Schedule.recurs(5)])

export class Writer {
  readonly #options: WriterOptions
  readonly #work = Latch.makeUnsafe(false)
  #notes: Array<FlowEvent | Recorded> = []
  #lost = 0
  /** How many were ever taken, and how many of them are written or given up. */
  #taken = 0
  #done = 0
  #complained = false
  #waiting: Array<{ readonly until: number; readonly resume: () => void }> = []

  constructor(options: WriterOptions) {
    this.#options = options
  }

  /** How many events and records were not kept. */
  get lost(): number {
    return this.#lost
  }

  lose(count: number): void {
    this.#lost += count
  }

  note(notes: ReadonlyArray<FlowEvent | Recorded>): void {
    const room = this.#options.capacity - this.#notes.length
    const taken = Math.max(0, Math.min(room, notes.length))
    for (let i = 0; i < taken; i++) this.#notes.push(notes[i]!)
    this.#taken += taken
    this.lose(notes.length - taken)
    if (this.#notes.length > 0) this.#work.openUnsafe()
  }

  /** Writes until it is interrupted. */
  readonly run: Effect.Effect<never> = Effect.forever(Effect.suspend(() => {
    if (this.#notes.length === 0) {
      this.#work.closeUnsafe()
      return this.#work.await
    }
    const notes = this.#notes.splice(0, this.#options.batchSize)
    return Effect.ensuring(
      Effect.flatMap(Clock.currentTimeMillis, (now) => this.#write(notes, now)),
      Effect.sync(() => this.#finish(notes.length))
    )
  }))

  #finish(count: number): void {
    this.#done += count
    const over = this.#waiting.filter(({ until }) => until <= this.#done)
    this.#waiting = this.#waiting.filter(({ until }) => until > this.#done)
    for (const { resume } of over) resume()
  }

  /** Waits until all that was noted so far is written or given up. */
  readonly flush: Effect.Effect<void> = Effect.suspend(() =>
    this.#done >= this.#taken
      ? Effect.void
      : Effect.callback<void>((resume) => {
        const waiter = { until: this.#taken, resume: () => resume(Effect.void) }
        this.#waiting.push(waiter)
        return Effect.sync(() => {
          this.#waiting = this.#waiting.filter((other) => other !== waiter)
        })
      })
  )

  #write(notes: ReadonlyArray<FlowEvent | Recorded>, now: number): Effect.Effect<void> {
    return Effect.suspend(() => this.#options.write(batchOf(notes, now, this.#options.redact))).pipe(
      Effect.retry(retries),
      Effect.onInterrupt(() => Effect.sync(() => this.lose(notes.length))),
      Effect.matchCauseEffect({
        onSuccess: () =>
          Effect.sync(() => {
            this.#complained = false
          }),
        onFailure: (cause) => {
          this.lose(notes.length)
          if (this.#complained) return Effect.void
          this.#complained = true
          const [reason] = cause.reasons
          const why = reason?._tag === "Fail" ? reason.error : reason?._tag === "Die" ? reason.defect : "interrupted"
          return Effect.logWarning(
            `The trace store takes nothing, which is not reported again until it does: ${messageOf(why)}`
          )
        }
      })
    )
  }

  /** Ends the fiber that writes, once all is written or so much time has passed. What is left then is lost. */
  close(fiber: Fiber.Fiber<never>, within: number): Effect.Effect<void> {
    return Effect.flatMap(Effect.timeoutOption(this.flush, within), () =>
      Effect.flatMap(Fiber.interrupt(fiber), () => {
        const left = this.#notes.length
        this.lose(left)
        this.#notes = []
        this.#finish(left)
        return left === 0
          ? Effect.void
          : Effect.logWarning(`The trace store was too slow to take the last ${left} events: they are lost`)
      }))
  }
}

const batchOf = (
  notes: ReadonlyArray<FlowEvent | Recorded>,
  now: number,
  redact: ((event: FlowEvent) => FlowEvent | undefined) | undefined
): Batch => {
  const events: Array<FlowEvent> = []
  const changes = new Map<string, Change>()
  for (const note of notes) {
    if ("payload" in note) {
      const of = { flow: kept(note.flow), traceId: kept(note.traceId) }
      const change = changes.get(keyOf(of)) ?? noChange(of.flow, of.traceId, now)
      changes.set(keyOf(of), { ...change, payload: note.payload() })
      continue
    }
    const shown = redact === undefined ? note : redact(note)
    if (shown === undefined) continue
    const event = keptEvent(shown)
    events.push(event)
    const key = keyOf(event)
    changes.set(key, withEvent(changes.get(key) ?? noChange(event.flow, event.traceId, event.at), event))
  }
  return { events, changes: [...changes.values()] }
}
