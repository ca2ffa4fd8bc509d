/** The stream of events: read for as long as the page is open, taken up again where it broke off. */
import type { Said } from "../model/live.ts"
import { type Api, ApiError } from "./api.ts"
import { type Message, messagesOf } from "./sse.ts"
import type { FlowEvent, Snapshot } from "./types.ts"

export type Connection =
  | { readonly _tag: "Connecting" }
  | { readonly _tag: "Live" }
  /** Tries again at `at`. */
  | { readonly _tag: "Waiting"; readonly at: number; readonly why: string }
  /** Waits for a token. */
  | { readonly _tag: "Locked" }

/** The server says something at least every 15 s. */
const silence = 40_000
const delays = { first: 500, most: 15_000 } as const
/** After events were lost, counts are asked for anew, but not more often than this. */
const anewEvery = 5000

export interface Feed {
  /** Tries at once: a token was entered, or the network is back. */
  readonly wake: () => void
  readonly stop: () => void
}

export const startFeed = (
  api: Pick<Api, "events">,
  said: (what: ReadonlyArray<Said>) => void,
  connection: (state: Connection) => void
): Feed => {
  let stopped = false
  let lastId = ""
  let failures = 0
  let wake = () => {}
  // Somebody may call between an answer and the wait that follows it.
  let called = false
  let current: AbortController | undefined
  let anewAt = 0
  let missed = false

  const rest = (ms: number): Promise<void> =>
    new Promise<void>((resolve) => {
      if (called) return resolve()
      const timer = ms === Infinity ? undefined : setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  const read = async (): Promise<void> => {
    const abort = current = new AbortController()
    let heardAt = Date.now()
    const watch = setInterval(() => {
      if (missed && Date.now() > anewAt) {
        missed = false
        anewAt = Date.now() + anewEvery
        lastId = ""
        abort.abort()
      }
      if (Date.now() - heardAt > silence) abort.abort()
    }, 500)
    try {
      const answer = await api.events(lastId, abort.signal)
      connection({ _tag: "Live" })
      const heard = () => {
        heardAt = Date.now()
        failures = 0
      }
      for await (const messages of messagesOf(answer, lastId, heard)) {
        lastId = messages.at(-1)!.id
        const what = messages.flatMap(saidIn)
        said(what)
        if (what.some(({ _tag }) => _tag === "Lost")) missed = true
      }
    } finally {
      clearInterval(watch)
    }
  }

  const run = async (): Promise<void> => {
    while (!stopped) {
      called = false
      let why = "The server ended the stream"
      try {
        await read()
      } catch (error) {
        if (error instanceof ApiError) why = error.message
        if (error instanceof ApiError && error.status === 401) {
          connection({ _tag: "Locked" })
          await rest(Infinity)
          continue
        } // A connection that breaks off is taken up where it was; what can't be read is not asked for again.
        else if (!(error instanceof ApiError || error instanceof TypeError || error instanceof DOMException)) {
          lastId = ""
        }
      }
      if (stopped) return
      const ms = Math.min(delays.most, delays.first * 2 ** failures++) * (0.75 + Math.random() / 2)
      if (failures > 1) connection({ _tag: "Waiting", at: Date.now() + ms, why })
      await rest(ms)
      if (failures > 1) connection({ _tag: "Connecting" })
    }
  }
  void run()
  return {
    wake: () => {
      called = true
      wake()
    },
    stop: () => {
      stopped = true
      current?.abort()
      wake()
    }
  }
}

/** A message of a kind that this page does not know is passed over: the server may be newer. */
export const saidIn = ({ data, event }: Message): ReadonlyArray<Said> => {
  switch (event) {
    case "snapshot":
      return [{ _tag: "Snapshot", snapshot: JSON.parse(data) as Snapshot, now: Date.now() }]
    case "event":
      return [{ _tag: "Event", event: JSON.parse(data) as FlowEvent }]
    case "lost":
      return [{ _tag: "Lost", count: (JSON.parse(data) as { readonly count: number }).count }]
    default:
      return []
  }
}
