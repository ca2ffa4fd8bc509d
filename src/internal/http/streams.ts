/**
 * Streamed traces: what they send goes through a bounded ring. Where a client reads along, the trace waits for it; one that
 * is detached goes on without readers, and who comes back goes on reading where it was.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Exit } from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Response from "effect/http/HttpServerResponse"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { FlowError } from "../../FlowError.ts"
import type { Item, RunOptions } from "../../FlowRuntime.ts"
import { ofTrace, type Refusal, refusal } from "./errors.ts"
import { jsonText } from "./json.ts"
import { Ring } from "./ring.ts"
import type { Running } from "./running.ts"
import { event, type Readers } from "./sse.ts"

/** How much of a stream is kept. */
export interface StreamLimits {
  readonly streamBuffer: number
  readonly streamRetention: Duration.Input
  readonly maxDetached: number
}

/** What was sent of a stream, as the text of events; its id in the ring is the event's. */
type Sent = { readonly name: string; readonly data: string }

/** Of one stream, in UTF-16 units: parts may be large. */
const mostText = 4 * 1024 * 1024
/** Events that go out in one piece. */
const atOnce = 64

class Session {
  readonly ring: Ring<Sent>
  /** What the client that the trace waits for has taken; undefined where it waits for nobody. */
  #read: number | undefined
  #room: (() => void) | undefined
  readonly #most: number

  constructor(most: number, attached: boolean) {
    this.#most = most
    // Where the trace waits nothing may be lost: it waits for room before it sends, and what was taken is let go.
    this.ring = new Ring(attached ? Infinity : most, attached ? Infinity : mostText, ({ data }) => data.length)
    this.#read = attached ? 0 : undefined
  }

  /** Waits while the client is too far behind. */
  send(name: string, data: string): Effect.Effect<void> {
    const push = () => this.ring.push({ name, data })
    const room = this.#read === undefined || (this.ring.last - this.#read < this.#most && this.ring.size < mostText)
    if (room) return Effect.sync(push)
    return Effect.callback<void>((resume) => {
      this.#room = () => resume(Effect.void)
      return Effect.sync(() => {
        this.#room = undefined
      })
    }).pipe(Effect.andThen(Effect.sync(push)))
  }

  /** What follows an id, as text, once there is something; undefined at the end. */
  next(from: { at: number }): Effect.Effect<string | undefined> {
    return Effect.map(Effect.suspend(() => this.ring.wait(from.at)), () => {
      const { lost, slots } = this.ring.after(from.at, atOnce)
      const last = slots.at(-1)
      if (last === undefined) return undefined
      from.at = last.id
      if (this.#read !== undefined) {
        this.#read = last.id
        this.ring.forget(last.id)
        const room = this.#room
        this.#room = undefined
        room?.()
      }
      const gone = lost === 0 ? "" : event("lost", `{"count":${lost}}`)
      return gone + slots.map(({ id, value }) => event(value.name, value.data, String(id))).join("")
    })
  }
}

/** All streams of a server. */
export class Streams {
  readonly #limits: StreamLimits
  readonly #readers: Readers
  readonly #scope: Scope.Scope
  readonly #detached = new Map<string, Session>()

  constructor(limits: StreamLimits, readers: Readers, scope: Scope.Scope) {
    this.#limits = limits
    this.#readers = readers
    this.#scope = scope
  }

  /** Starts a message and answers with what it sends. */
  readonly start = (
    running: Running,
    input: unknown,
    options: RunOptions & { readonly traceId: string },
    detach: boolean
  ): Effect.Effect<Response.HttpServerResponse, Refusal, Scope.Scope> =>
    Effect.suspend(() => {
      const { traceId } = options
      if (detach) {
        const known = this.#detached.get(traceId)
        if (known !== undefined && !known.ring.ended) return Effect.fail(duplicate(traceId))
        if (known === undefined && this.#detached.size >= this.#limits.maxDetached && !this.#makeRoom()) {
          return Effect.fail(full)
        }
      }
      const session = new Session(this.#limits.streamBuffer, !detach)
      if (detach) this.#detached.set(traceId, session)
      const trace = this.#run(running, input, options, session, detach)
      // Nothing between its beginning and the promise that it ends with the request.
      return Effect.uninterruptible(Effect.flatMap(
        Effect.forkIn(Effect.interruptible(trace), this.#scope),
        (fiber) =>
          this.#readers.answer({
            next: session.next({ at: 0 }),
            watching: false,
            left: detach ? undefined : Effect.asVoid(Fiber.interrupt(fiber))
          })
      ))
    })

  /** Goes on where a client was. */
  readonly resume = (
    traceId: string,
    lastId: string | undefined
  ): Effect.Effect<Response.HttpServerResponse, Refusal, Scope.Scope> =>
    Effect.suspend(() => {
      const session = this.#detached.get(traceId)
      if (session === undefined) {
        return Effect.fail(
          refusal(404, "STREAM_NOT_FOUND", "No detached stream has this id: it was not begun here, or ended long ago")
        )
      }
      const at = lastId !== undefined && /^\d{1,15}$/.test(lastId) ? Math.min(Number(lastId), session.ring.last) : 0
      return this.#readers.answer({ next: session.next({ at }), watching: false })
    })

  /** Forgets the oldest of those that have ended. */
  #makeRoom(): boolean {
    for (const [traceId, { ring }] of this.#detached) {
      if (ring.ended) return this.#detached.delete(traceId)
    }
    return false
  }

  #run(
    running: Running,
    input: unknown,
    options: RunOptions & { readonly traceId: string },
    session: Session,
    detach: boolean
  ): Effect.Effect<void> {
    const { traceId } = options
    return Effect.gen({ self: this }, function*() {
      const began = yield* Clock.currentTimeMillis
      const exit = yield* Effect.exit(Stream.runForEach(running.runtime.stream(input, options), (item) => {
        const said = textOf(running, item)
        return typeof said === "string" ? session.send(item._tag.toLowerCase(), said) : Effect.fail(said)
      }))
      const durationMs = (yield* Clock.currentTimeMillis) - began
      const [name, data] = endOf(running, traceId, exit, durationMs)
      session.ring.push({ name, data })
    }).pipe(
      Effect.ensuring(Effect.sync(() => session.ring.end())),
      Effect.andThen(
        detach
          ? Effect.delay(
            Effect.sync(() => {
              if (this.#detached.get(traceId) === session) this.#detached.delete(traceId)
            }),
            this.#limits.streamRetention
          )
          : Effect.void
      )
    )
  }
}

// ----------------------------------------------------------------------------------------------------------- internals

const duplicate = (traceId: string): Refusal =>
  refusal(409, "DUPLICATE_TRACE", "A detached stream with this id is open: resume it, or take another id", { traceId })

const full = refusal(429, "TOO_MANY_STREAMS", "Too many detached streams are open: try again later")

class Unwritable {
  readonly _tag = "Unwritable"
  readonly node: string
  readonly words: string
  constructor(node: string, words: string) {
    this.node = node
    this.words = words
  }
}

const textOf = (running: Running, item: Item<unknown, unknown>): string | Unwritable => {
  const encoded = item._tag === "Part"
    ? running.encodePart(item.node, item.value)
    : running.codecs.encodeResult(item.value)
  if (encoded._tag === "Failure") return new Unwritable(item.node, "it does not fit its schema")
  const { _tag, ...rest } = item
  const text = jsonText({ ...rest, value: encoded.value ?? null })
  return text ?? new Unwritable(item.node, "it is nested too deep")
}

const endOf = (
  running: Running,
  traceId: string,
  exit: Exit<void, unknown>,
  durationMs: number
): readonly [name: string, data: string] => {
  if (exit._tag === "Success") return ["done", jsonText({ traceId, durationMs })!]
  const error = Cause.squash(exit.cause)
  const refused = error instanceof Unwritable
    ? refusal(500, "UNWRITABLE_RESULT", `What the node gave can't be written as JSON: ${error.words}`, {
      traceId,
      node: error.node
    })
    : ofTrace(exit.cause as Cause.Cause<FlowError>, { ...running, traceId })
  return ["error", jsonText(refused.body) ?? "{}"]
}
