/** A value that views watch: each is drawn again when the part that it chose is another one. */
import { useEffect, useRef, useState } from "preact/hooks"

export interface Store<A> {
  readonly get: () => A
  readonly set: (value: A) => void
  readonly subscribe: (listener: () => void) => () => void
}

export const makeStore = <A>(first: A): Store<A> => {
  let value = first
  const listeners = new Set<() => void>()
  return {
    get: () => value,
    set: (next) => {
      if (Object.is(next, value)) return
      value = next
      for (const listener of listeners) listener()
    },
    subscribe: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    }
  }
}

export const useStore = <A, B>(store: Store<A>, choose: (value: A) => B): B => {
  const [, draw] = useState(0)
  const chosen = choose(store.get())
  const last = useRef({ choose, chosen })
  last.current = { choose, chosen }
  useEffect(() => {
    const look = () => {
      if (!Object.is(last.current.choose(store.get()), last.current.chosen)) draw((times) => times + 1)
    }
    // What changed between drawing and now.
    look()
    return store.subscribe(look)
  }, [store])
  return chosen
}
