/** What every view reaches. */
import { createContext } from "preact"
import { useContext, useEffect, useRef, useState } from "preact/hooks"
import type { Live } from "../model/live.ts"
import { type Store, useStore } from "../model/store.ts"
import { type Api, ApiError } from "../wire/api.ts"
import type { Connection } from "../wire/feed.ts"
import type { FlowList } from "../wire/types.ts"

export interface Page {
  readonly api: Api
  readonly live: Store<Live>
  readonly connection: Store<Connection>
  readonly list: Store<FlowList | undefined>
  /** The server's time, once a second. */
  readonly clock: Store<number>
  /** Says something to those who listen instead of looking; sparingly. */
  readonly say: (words: string) => void
}

export const PageContext = createContext<Page | undefined>(undefined)

export const usePage = (): Page => {
  const page = useContext(PageContext)
  if (page === undefined) throw new Error("There is no page around this view")
  return page
}

export const useNow = (): number => useStore(usePage().clock, (now) => now)

/** An answer that is asked for again when its key is another one, and every so often. */
export type Asked<A> =
  | { readonly _tag: "Asking" }
  | { readonly _tag: "Failed"; readonly error: ApiError; readonly value: A | undefined }
  | { readonly _tag: "Got"; readonly value: A }

export const errorOf = (error: unknown): ApiError =>
  error instanceof ApiError
    ? error
    : new ApiError(0, { error: error instanceof Error ? error.message : "Something failed", code: "PAGE" })

/** `every`: in milliseconds, while the page is seen; 0 for never. */
export const useAsk = <A>(
  key: string,
  ask: () => Promise<A>,
  every: number = 0
): readonly [Asked<A>, () => Promise<void>] => {
  const [asked, set] = useState<{ readonly key: string; readonly state: Asked<A> }>({ key, state: { _tag: "Asking" } })
  const latest = useRef({ key, ask })
  latest.current = { key, ask }
  const times = useRef({ asked: 0, shown: 0 })
  const again = useRef(async (): Promise<void> => {
    const { ask, key } = latest.current
    const nth = ++times.current.asked
    // An answer to what is no longer asked, or one that a later question has overtaken, is passed over.
    const isLate = () => {
      if (latest.current.key !== key || nth < times.current.shown) return true
      times.current.shown = nth
      return false
    }
    try {
      const value = await ask()
      if (!isLate()) set({ key, state: { _tag: "Got", value } })
    } catch (error) {
      if (isLate()) return
      set((before) => ({
        key,
        state: {
          _tag: "Failed",
          error: errorOf(error),
          value: before.key === key && before.state._tag !== "Asking" ? before.state.value : undefined
        }
      }))
    }
  })
  const cutOff = useStore(usePage().connection, ({ _tag }) => _tag === "Waiting" || _tag === "Locked")
  const before = useRef(cutOff)
  useEffect(() => {
    void again.current()
    if (every === 0) return
    const timer = setInterval(() => {
      if (!document.hidden) void again.current()
    }, every)
    return () => clearInterval(timer)
  }, [key, every])
  // The server is back, or a token was entered.
  useEffect(() => {
    if (before.current && !cutOff) void again.current()
    before.current = cutOff
  }, [cutOff])
  return [asked.key === key ? asked.state : { _tag: "Asking" }, again.current]
}
