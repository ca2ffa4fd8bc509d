/** Asks for the token, where the server wants one. */
import type { JSX } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"

export const Token = ({ unlock }: { readonly unlock: (token: string) => void }): JSX.Element => {
  const dialog = useRef<HTMLDialogElement>(null)
  const [token, set] = useState("")
  useEffect(() => dialog.current?.showModal(), [])
  return (
    <dialog ref={dialog} class="token" aria-labelledby="token-title" onCancel={(event) => event.preventDefault()}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          if (token.trim() !== "") unlock(token.trim())
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
          aria-describedby="token-hint"
          value={token}
          onInput={(event) => set(event.currentTarget.value)}
          autofocus
        />
        <button type="submit" class="button main">Unlock</button>
      </form>
    </dialog>
  )
}
