/** Small parts that all views are made of. */
import type { ComponentChildren, JSX } from "preact"
import { useState } from "preact/hooks"
import { ago, durationIn, exact } from "../model/words.ts"
import { adviceFor, type ApiError } from "../wire/api.ts"
import type { ErrorInfo } from "../wire/types.ts"
import { errorOf, useNow, usePage } from "./context.ts"

/** How long ago; the instant itself on hover, and while what it stands in has the focus. */
export const Time = ({ at }: { readonly at: number }): JSX.Element => {
  const now = useNow()
  const instant = exact(at)
  return (
    <time class="time" dateTime={Number.isFinite(at) ? new Date(at).toISOString() : ""} data-exact={instant}>
      {ago(at, now)}
      <span class="unseen">, {instant}</span>
    </time>
  )
}

export const Duration = ({ ms }: { readonly ms: number | undefined }): JSX.Element => (
  <span class="number">{ms === undefined ? "–" : durationIn(ms)}</span>
)

const glyphs: Readonly<Record<string, string>> = {
  // A triangle, a tick, a cross, a bar, two arrows, a clock, a ring.
  running: "M5 3l8 5-8 5z",
  succeeded: "M3 8.5l3.2 3.2L13 4.6",
  failed: "M4 4l8 8M12 4l-8 8",
  cancelled: "M3.5 8h9",
  retrying: "M12.6 6.2A5 5 0 0 0 3.8 5M3.4 9.8A5 5 0 0 0 12.2 11M12.8 3v3.4H9.4M3.2 13V9.6h3.4",
  waiting: "M8 4.2V8l2.6 1.8M8 2.2a5.8 5.8 0 1 0 .01 0"
}

const looks: Readonly<Record<string, readonly [glyph: string, tone: string]>> = {
  running: ["running", "busy"],
  succeeded: ["succeeded", "good"],
  done: ["succeeded", "good"],
  promote: ["succeeded", "good"],
  failed: ["failed", "bad"],
  dead: ["failed", "bad"],
  hold: ["cancelled", "warn"],
  "timed out": ["failed", "bad"],
  "left behind": ["failed", "bad"],
  failing: ["failed", "bad"],
  retrying: ["retrying", "warn"],
  undone: ["retrying", "warn"],
  cancelled: ["cancelled", "calm"],
  interrupted: ["cancelled", "calm"],
  unknown: ["cancelled", "calm"],
  queued: ["waiting", "calm"]
}

export const Glyph = ({ of }: { readonly of: string }): JSX.Element => (
  <svg class="glyph" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" focusable="false">
    <path d={glyphs[of] ?? glyphs["cancelled"]!} />
  </svg>
)

/** A state: a shape, a colour, and the word. */
export const State = (
  { of, children }: { readonly of: string; readonly children?: ComponentChildren }
): JSX.Element => {
  const [glyph, tone] = looks[of] ?? looks["unknown"]!
  return (
    <span class={`state tone-${tone}`}>
      <Glyph of={glyph} />
      <span>{children ?? of}</span>
    </span>
  )
}

/** What failed, and what to do about it. */
export const Problem = (
  { error, title, trace }: {
    readonly error: ApiError
    readonly title: string
    /** Where its trace is shown. */
    readonly trace?: string | undefined
  }
): JSX.Element => {
  const advice = adviceFor(error)
  return (
    <div class="problem">
      <p>
        <strong>{title}</strong> {error.message}
      </p>
      <p class="dim">
        {advice === undefined ? "" : `${advice} `}
        <code>{error.code}</code>
        {error.path === undefined ? "" : (
          <>
            {" "}
            at <code>{error.path}</code>
          </>
        )}
        {error.node === undefined ? "" : (
          <>
            {" "}
            in <code>{error.node}</code>
          </>
        )}
        {trace === undefined ? "" : (
          <>
            {" · "}
            <a href={trace}>See its trace</a>
          </>
        )}
      </p>
    </div>
  )
}

export const ErrorText = ({ error }: { readonly error: ErrorInfo }): JSX.Element => (
  <div class="error">
    <p>
      <strong>{error.tag}</strong>
      {error.code === undefined ? "" : <code>{error.code}</code>}
    </p>
    <pre class="message" tabIndex={0} aria-label="Message">{error.message}</pre>
  </div>
)

export const Empty = ({ children }: { readonly children: ComponentChildren }): JSX.Element => (
  <div class="empty">{children}</div>
)

/** JSON as text, cut where it is too long to be read anyway. */
export const JsonText = ({ label, value }: { readonly label: string; readonly value: unknown }): JSX.Element => {
  const text = JSON.stringify(value, null, 2) ?? "nothing"
  return (
    <pre class="json" tabIndex={0} aria-label={label}>
      {text.length > 20_000 ? `${text.slice(0, 20_000)}…\n(${text.length - 20_000} characters more)` : text}
    </pre>
  )
}

/**
 * A button that does something at the server: busy while it does, then says how it went. With `sure`, a second press is
 * asked for.
 */
export const Action = (
  { act, busy, children, kind, sure }: {
    readonly act: () => Promise<string>
    readonly children: string
    /** What it says while it does. */
    readonly busy?: string
    readonly kind?: "main" | "danger" | "plain"
    readonly sure?: string
  }
): JSX.Element => {
  const { say } = usePage()
  const [state, set] = useState<"ready" | "asked" | "busy">("ready")
  const [outcome, setOutcome] = useState<{ readonly bad: boolean; readonly words: string }>()
  const press = async () => {
    if (sure !== undefined && state === "ready") return set("asked")
    set("busy")
    setOutcome(undefined)
    try {
      const words = await act()
      setOutcome({ bad: false, words })
      say(words)
    } catch (error) {
      const failed = errorOf(error)
      const words = [failed.message, adviceFor(failed)].filter((it) => it !== undefined).join(". ")
      setOutcome({ bad: true, words })
      say(words)
    }
    set("ready")
  }
  return (
    <span class="action">
      <button
        type="button"
        class={`button ${kind ?? "plain"} ${state === "asked" ? "sure" : ""}`}
        aria-disabled={state === "busy"}
        onClick={() => state === "busy" ? undefined : void press()}
        onBlur={() => set((before) => before === "asked" ? "ready" : before)}
      >
        {state === "asked" ? sure : state === "busy" ? busy ?? children : children}
      </button>
      {outcome === undefined ? "" : <span class={outcome.bad ? "tone-bad" : "dim"}>{outcome.words}</span>}
    </span>
  )
}
