/** `GET /api/events`: what happens, to whoever watches. */
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

/** Events that go out in one piece. */
const atOnce = 256

/**
 * A snapshot and what follows it; where a client comes back and nothing of what it missed is gone, what it missed in the
 * place of the snapshot. `flow` leaves out what is of others.
 */
export const events = (
  hosting: Hosting,
  flow: string | undefined,
  lastId: string | undefined
): Effect.Effect<Response.HttpServerResponse, Refusal, Scope.Scope> => {
  const { boot, live, readers } = hosting
  const { ring } = live
  const idOf = (at: number) => `${boot}.${at}`
  return Effect.suspend(() => {
    let at = resumedAt(boot, lastId)
    let snapshotDue = at === undefined || !ring.holds(at)
    const next: Effect.Effect<string | undefined> = Effect.suspend(() => {
      if (snapshotDue) {
        return Effect.map(Clock.currentTimeMillis, (now) => {
          snapshotDue = false
          at = ring.last
          return event("snapshot", jsonText(of(live.snapshot(now), flow)) ?? "{}", idOf(at))
        })
      }
      const from = at ?? 0
      return Effect.flatMap(ring.wait(from), () => {
        const { lost, slots } = ring.after(from, atOnce)
        const last = slots.at(-1)
        if (last === undefined) return Effect.undefined
        at = last.id
        const texts = lost === 0 ? [] : [event("lost", `{"count":${lost}}`, idOf(from + lost))]
        for (const slot of slots) {
          const text = textOf(slot, flow, idOf)
          if (text !== undefined) texts.push(text)
        }
        return texts.length === 0 ? next : Effect.succeed(texts.join(""))
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
    recent: snapshot.recent.filter((it) => it.flow === flow)
  }

const textOf = (
  { id, value }: Slot<Said>,
  flow: string | undefined,
  idOf: (at: number) => string
): string | undefined => {
  if (value._tag === "Lost") return event("lost", `{"count":${value.count}}`, idOf(id))
  if (flow !== undefined && value.event.flow !== flow) return undefined
  // Written once for all who read it.
  return event("event", value.text ??= jsonText(value.event) ?? "{}", idOf(id))
}
