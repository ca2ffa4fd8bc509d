/**
 * `GET /api/events`: what happens, to whoever watches.
 *
 * Events may come by tens of thousands a second, and each of those who watch costs the flows a write for what it gets: so
 * everybody gets what has come a few times a second, all at the same time and the same bytes, and not more than anybody
 * can look at. What is beyond that is lost to them, and counted.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Response from "effect/http/HttpServerResponse"
import type * as Scope from "effect/Scope"
import type { Refusal } from "./errors.ts"
import type { Hosting } from "./hosting.ts"
import { jsonText } from "./json.ts"
import type { Said, Snapshot } from "./live.ts"
import type { Slot } from "./ring.ts"
import { event } from "./sse.ts"

/** Milliseconds from one time to the next. */
const every = 50
/** Events that go out each time: 5000 a second. */
const atOnce = 250

const toTheNextTime = Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.sleep(every - now % every))

/** What goes out to several readers at a time, written once. */
export class Pieces {
  readonly #known = new Map<string, Uint8Array>()
  readonly #encoder = new TextEncoder()

  of(key: string, write: () => string): Uint8Array {
    let piece = this.#known.get(key)
    if (piece === undefined) {
      // Readers of one time ask for the same; those of the next for others.
      if (this.#known.size >= 16) this.#known.clear()
      this.#known.set(key, piece = this.#encoder.encode(write()))
    }
    return piece
  }
}

/**
 * A snapshot and what follows it; where a client comes back and nothing of what it missed is gone, what it missed in the
 * place of the snapshot. `flow` leaves out what is of others.
 */
export const events = (
  hosting: Hosting,
  flow: string | undefined,
  lastId: string | undefined
): Effect.Effect<Response.HttpServerResponse, Refusal, Scope.Scope> => {
  const { boot, live, pieces, readers } = hosting
  const { ring } = live
  const idOf = (at: number) => `${boot}.${at}`
  return Effect.suspend(() => {
    const resumed = resumedAt(boot, lastId)
    let at = resumed !== undefined && ring.holds(resumed) ? resumed : undefined
    // Who comes back gets all that is there.
    let most = Infinity
    const next: Effect.Effect<string | Uint8Array | undefined> = Effect.suspend(() => {
      if (at === undefined) {
        return Effect.map(Clock.currentTimeMillis, (now) => {
          at = ring.last
          most = atOnce
          return event("snapshot", jsonText(of(live.snapshot(now), flow)) ?? "{}", idOf(at))
        })
      }
      const from = at
      return Effect.flatMap(Effect.andThen(ring.wait(from), most === Infinity ? Effect.void : toTheNextTime), () => {
        if (ring.last === from) return ring.ended ? Effect.undefined : next
        const { lost, slots } = ring.after(Math.max(from, ring.last - most), Infinity)
        const gone = Math.max(0, ring.last - most - from) + lost
        at = ring.last
        most = atOnce
        const piece = pieces.of(`${from} ${at} ${flow === undefined ? "" : `of ${flow}`}`, () => {
          const texts = gone === 0 ? [] : [event("lost", `{"count":${gone}}`, idOf(from + gone))]
          for (const slot of slots) texts.push(textOf(slot, flow, idOf) ?? "")
          return texts.join("")
        })
        return piece.length === 0 ? next : Effect.succeed(piece)
      })
    })
    return readers.answer({ next, watching: true })
  })
}

// ----------------------------------------------------------------------------------------------------------- internals

const resumedAt = (boot: string, lastId: string | undefined): number | undefined => {
  const [of, at] = lastId?.split(".") ?? []
  return of === boot && at !== undefined && /^\d{1,15}$/.test(at) ? Number(at) : undefined
}

const of = (snapshot: Snapshot, flow: string | undefined): Snapshot =>
  flow === undefined ? snapshot : {
    ...snapshot,
    flows: Object.fromEntries(Object.entries(snapshot.flows).filter(([name]) => name === flow)),
    recent: snapshot.recent.filter((it) => it.flow === flow),
    running: snapshot.running.filter((it) => it.flow === flow)
  }

const textOf = (
  { id, value }: Slot<Said>,
  flow: string | undefined,
  idOf: (at: number) => string
): string | undefined => {
  if (value._tag === "Lost") return event("lost", `{"count":${value.count}}`, idOf(id))
  if (flow !== undefined && value.event.flow !== flow) return undefined
  return event("event", jsonText(value.event) ?? "{}", idOf(id))
}
