/**
 * Server-sent events: text that goes out as it comes, with ids, and a comment now and then so that both sides know that
 * the other one is there. Whoever does not read is let go.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Response from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Refusal, refusal } from "./errors.ts"

/** One event. `data` has no line ends: JSON has none. */
export const event = (name: string, data: string, id?: string): string =>
  `${id === undefined ? "" : `id: ${id}\n`}event: ${name}\ndata: ${data}\n\n`

/** The id that a client has seen last. */
export const lastEventId = ({ headers }: HttpServerRequest): string | undefined => headers["last-event-id"]

/** How readers are treated. */
export interface ReaderLimits {
  readonly heartbeat: Duration.Input
  /** How long a client may leave what was written to it unread. */
  readonly stallTimeout: Duration.Input
  readonly maxReaders: number
}

interface Reader {
  readonly fiber: Fiber.Fiber<unknown, unknown> | undefined
  /** Since when it has not come back for more; undefined while it waits for something to be said. */
  busySince: number | undefined
}

/** Those who read streams of events: how many, and whether they still do. */
export class Readers {
  readonly #limits: ReaderLimits
  readonly #readers = new Set<Reader>()
  #closing = false
  #wakeAll = new Set<() => void>()

  constructor(limits: ReaderLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#readers.size
  }

  /** Ends what only watches: the server is going. */
  close(): void {
    this.#closing = true
    for (const wake of this.#wakeAll) wake()
  }

  /** Interrupts readers that have not taken anything for too long. Runs for as long as the server does. */
  get sweep(): Effect.Effect<never> {
    const stall = Duration.toMillis(Duration.fromInputUnsafe(this.#limits.stallTimeout))
    return Effect.forever(Effect.delay(
      Effect.map(Clock.currentTimeMillis, (now) => {
        for (const { busySince, fiber } of this.#readers) {
          if (busySince !== undefined && now - busySince > stall) fiber?.interruptUnsafe()
        }
      }),
      Math.max(50, Math.min(1000, stall / 4))
    ))
  }

  /**
   * The answer that sends what `next` gives until it gives nothing. `next` may be interrupted while it waits; `left` runs
   * when the client has left, was let go, or everything was sent.
   */
  answer(options: {
    readonly next: Effect.Effect<string | Uint8Array | undefined>
    readonly left?: Effect.Effect<void> | undefined
    /** Whether it is only watching: such a reader is let go first when the server stops. */
    readonly watching: boolean
  }): Effect.Effect<Response.HttpServerResponse, Refusal, Scope.Scope> {
    return Effect.withFiber((fiber) => {
      if (this.#readers.size >= this.#limits.maxReaders) {
        return Effect.andThen(
          options.left ?? Effect.void,
          Effect.fail(refusal(429, "TOO_MANY_READERS", "Too many streams are open: close some, or try again later"))
        )
      }
      const reader: Reader = { fiber, busySince: undefined }
      this.#readers.add(reader)
      // Of the request and not of the stream: a client may leave before the stream is run.
      const leaving = Effect.addFinalizer(() => {
        this.#readers.delete(reader)
        return options.left ?? Effect.void
      })
      const encoder = new TextEncoder()
      const said = (text: string | Uint8Array) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          reader.busySince = now
          return text
        })
      const stopped = Effect.callback<undefined>((resume) => {
        if (this.#closing) return resume(Effect.undefined)
        const wake = () => resume(Effect.undefined)
        this.#wakeAll.add(wake)
        return Effect.sync(() => this.#wakeAll.delete(wake))
      })
      const next = Effect.timeoutOption(
        options.watching ? Effect.raceFirst(options.next, stopped) : options.next,
        this.#limits.heartbeat
      )
      const more = Effect.suspend(() => {
        reader.busySince = undefined
        return Effect.flatMap(
          next,
          (text) =>
            Option.isNone(text) ? said(": \n\n") : text.value === undefined ? Effect.undefined : said(text.value)
        )
      })
      // The first words at once: they carry the head of the answer.
      const texts = Stream.concat(
        Stream.succeed<string | Uint8Array>(": \n\n"),
        Stream.unfold(0, () => Effect.map(more, (text) => text === undefined ? undefined : [text, 0] as const))
      )
      return Effect.as(
        leaving,
        Response.stream(Stream.map(texts, (text) => typeof text === "string" ? encoder.encode(text) : text), {
          contentType: "text/event-stream",
          headers: { "cache-control": "no-store", "x-accel-buffering": "no" }
        })
      )
    })
  }
}
