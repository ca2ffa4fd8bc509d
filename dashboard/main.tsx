/** The page begins: stores, the stream of events, a clock, and the views. */
import { render } from "preact"
import { makeBatcher } from "./model/batcher.ts"
import { nothing, reduce, type Said } from "./model/live.ts"
import { makeStore } from "./model/store.ts"
import { App } from "./view/App.tsx"
import type { Page } from "./view/context.ts"
import { Api, ApiError, type Tokens } from "./wire/api.ts"
import { type Connection, startFeed } from "./wire/feed.ts"
import type { FlowList } from "./wire/types.ts"

const place = "penguiflow.token"

/** Storage may be refused: then the token lives as long as the page. */
const tokens: Tokens = (() => {
  let held: string | undefined
  try {
    held = sessionStorage.getItem(place) ?? undefined
  } catch {
    // It is asked for again.
  }
  return {
    get: () => held,
    set: (token) => {
      held = token
      try {
        if (token === undefined) sessionStorage.removeItem(place)
        else sessionStorage.setItem(place, token)
      } catch {
        // As above.
      }
    }
  }
})()

const live = makeStore(nothing)
const connection = makeStore<Connection>({ _tag: "Connecting" })
const list = makeStore<FlowList | undefined>(undefined)
const clock = makeStore(Date.now())
const locked = makeStore(false)
const words = makeStore("")

const api = new Api(tokens, () => locked.set(true))

const take = makeBatcher<Said>((batch) => live.set(reduce(live.get(), batch)), {
  now: () => performance.now(),
  hidden: () => document.hidden,
  frame: (run) => requestAnimationFrame(run),
  later: (run, ms) => setTimeout(run, ms)
})

const tick = () => clock.set(Date.now() + live.get().skew)
setInterval(tick, 1000)
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return
  tick()
  feed.wake()
})
addEventListener("online", () => feed.wake())

const askForFlows = async (): Promise<void> => {
  try {
    list.set(await api.flows())
  } catch {
    // The stream says that the server does not answer, and this is asked again once it does.
  }
}

const feed = startFeed(api, take, (state) => {
  const before = connection.get()
  if (before._tag === state._tag && state._tag === "Live") return
  connection.set(state)
  // A server that comes back may have other flows.
  if (state._tag === "Live") void askForFlows()
})

const page: Page = {
  api,
  live,
  connection,
  list,
  clock,
  say: (said) => {
    // The same words again are said again.
    words.set(words.get() === said ? `${said}\u00A0` : said)
  }
}

const unlock = async (token: string): Promise<boolean> => {
  tokens.set(token)
  try {
    list.set(await api.flows())
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      tokens.set(undefined)
      return false
    }
    throw error
  }
  locked.set(false)
  feed.wake()
  return true
}

const root = document.getElementById("page")
if (root !== null) {
  root.replaceChildren()
  render(<App page={page} locked={locked} words={words} unlock={unlock} />, root)
}
