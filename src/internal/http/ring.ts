/** The last of what was said, numbered: whoever reads goes on where they were, as long as that is still there. */
import * as Effect from "effect/Effect"

/** What is in a ring. */
export interface Slot<A> {
  /** Counted from 1. */
  readonly id: number
  readonly value: A
}

/** What a reader gets. */
export interface Read<A> {
  readonly slots: ReadonlyArray<Slot<A>>
  /** How many were gone before they were read. */
  readonly lost: number
}

/** Bounded by a number of values, and by their size together. */
export class Ring<A> {
  readonly #capacity: number
  readonly #maxSize: number
  readonly #sizeOf: (value: A) => number
  #slots: Array<Slot<A>> = []
  /** The first slot of `#slots` that is still there: shifting an array for each value costs its length. */
  #head = 0
  #size = 0
  #last = 0
  #ended = false
  #waiting = new Set<() => void>()

  constructor(capacity: number, maxSize: number = Infinity, sizeOf: (value: A) => number = () => 0) {
    this.#capacity = capacity
    this.#maxSize = maxSize
    this.#sizeOf = sizeOf
  }

  /** The id of the last value; 0 where there was none. */
  get last(): number {
    return this.#last
  }

  get ended(): boolean {
    return this.#ended
  }

  push(value: A): void {
    if (this.#ended) return
    this.#slots.push({ id: ++this.#last, value })
    this.#size += this.#sizeOf(value)
    while (
      this.#slots.length - this.#head > this.#capacity ||
      (this.#size > this.#maxSize && this.#slots.length - this.#head > 1)
    ) {
      this.#size -= this.#sizeOf(this.#slots[this.#head]!.value)
      this.#head++
    }
    this.#compact()
    this.#wake()
  }

  /** Lets go of what nobody will ask for again: all up to an id. */
  forget(id: number): void {
    while (this.#head < this.#slots.length && this.#slots[this.#head]!.id <= id) {
      this.#size -= this.#sizeOf(this.#slots[this.#head]!.value)
      this.#head++
    }
    this.#compact()
  }

  /** Of all that is there, together. */
  get size(): number {
    return this.#size
  }

  end(): void {
    this.#ended = true
    this.#wake()
  }

  /** Whether a reader that has read up to this id has lost nothing yet. */
  holds(after: number): boolean {
    return after <= this.#last && after >= this.#last - (this.#slots.length - this.#head)
  }

  /** What comes after an id, at most so many. */
  after(id: number, most: number): Read<A> {
    const count = this.#slots.length - this.#head
    const first = this.#last - count + 1
    const from = Math.max(first, id + 1)
    const at = this.#head + from - first
    return { slots: this.#slots.slice(at, at + most), lost: from - id - 1 }
  }

  /** Waits until there is something after an id, or nothing will follow. */
  wait(id: number): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (this.#last > id || this.#ended) return resume(Effect.void)
      const wake = () => resume(Effect.void)
      this.#waiting.add(wake)
      return Effect.sync(() => this.#waiting.delete(wake))
    })
  }

  /** Once most of the array is gone: copying costs what has been pushed since the last time. */
  #compact(): void {
    if (this.#head < 64 || this.#head < this.#slots.length / 2) return
    this.#slots = this.#slots.slice(this.#head)
    this.#head = 0
  }

  #wake(): void {
    if (this.#waiting.size === 0) return
    const waiting = this.#waiting
    this.#waiting = new Set()
    for (const wake of waiting) wake()
  }
}
