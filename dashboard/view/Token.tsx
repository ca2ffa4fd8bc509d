/** Asks for the token, where the server wants one. */
import type { JSX } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import { errorOf } from "./context.ts"

export const Token = ({ unlock }: { readonly unlock: (token: string) => Promise<boolean> }): JSX.Element => {
  const dialog = useRef<HTMLDialogElement>(null)
  const [token, set] = useState("")
  const [refused, setRefused] = useState<string>()
  const submit = async () => {
    if (token.trim() === "") return setRefused("Fill in the token.")
    setRefused(undefined)
    try {
      if (!await unlock(token.trim())) setRefused("The server refuses this token.")
    } catch (error) {
      setRefused(`${errorOf(error).message}: try again.`)
    }
  }
  useEffect(() => dialog.current?.showModal(), [])
  return (
    <dialog ref={dialog} class="token" aria-labelledby="token-title" onCancel={(event) => event.preventDefault()}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          void submit()
        }}
      >
        <h2 id="token-title">This server asks for a token</h2>
        <p id="token-hint">
          It is the one that the server was started with. It stays in this tab, and is forgotten when the tab is closed.
        </p>
        <label for="token">Token</label>
        <input
          id="token"
          type="password"
          autocomplete="off"
          spellcheck={false}
          aria-describedby="token-hint token-problem"
          aria-invalid={refused !== undefined}
          value={token}
          onInput={(event) => set(event.currentTarget.value)}
          autofocus
        />
        <p class="hint tone-bad" role="alert" id="token-problem">{refused ?? ""}</p>
        <button type="submit" class="button main">Unlock</button>
      </form>
    </dialog>
  )
}
