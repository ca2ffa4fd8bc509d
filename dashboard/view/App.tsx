/** The frame around the views: where one can go, whether the server is heard, and what is said aloud. */
import type { JSX } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import { type Route, routeOf, to } from "../model/route.ts"
import { type Store, useStore } from "../model/store.ts"
import { count, plural } from "../model/words.ts"
import { type Page, PageContext, usePage } from "./context.ts"
import { FlowView } from "./FlowView.tsx"
import { JobsView, JobView } from "./Jobs.tsx"
import { MigrationsView, MigrationView } from "./Migrations.tsx"
import { Empty, Glyph } from "./parts.tsx"
import { RunView } from "./RunForm.tsx"
import { Token } from "./Token.tsx"
import { TracesView } from "./TraceList.tsx"
import { TraceView } from "./TraceView.tsx"

interface Props {
  readonly page: Page
  /** Whether the server asks for a token. */
  readonly locked: Store<boolean>
  readonly words: Store<string>
  /** Whether the token opens the server. */
  readonly unlock: (token: string) => Promise<boolean>
}

export const App = ({ locked, page, unlock, words }: Props): JSX.Element => {
  const route = useRoute()
  const isLocked = useStore(locked, (it) => it)
  const main = useRef<HTMLElement>(null)
  const before = useRef<string>(undefined)
  const place = placeOf(route)
  // Whoever goes to another view by keyboard begins at its top, and hears what it is.
  useEffect(() => {
    document.title = `${titleOf(route)} · PenguiFlow`
    // At first, and where the address of the first flow is filled in, nobody went anywhere.
    if (before.current !== undefined && before.current !== placeOf(start)) {
      main.current?.focus({ preventScroll: true })
      scrollTo(0, 0)
    }
    before.current = place
  }, [place])
  return (
    <PageContext.Provider value={page}>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault()
          main.current?.focus()
        }}
      >
        Skip to the content
      </a>
      <Head route={route} />
      <main id="main" ref={main} tabIndex={-1} aria-label={titleOf(route)}>
        <View route={route} />
      </main>
      <p class="unseen" role="status" aria-live="polite">{useStore(words, (it) => it)}</p>
      {isLocked ? <Token unlock={unlock} /> : ""}
    </PageContext.Provider>
  )
}

const View = ({ route }: { readonly route: Route }): JSX.Element => {
  switch (route.view) {
    case "flow":
      return <FlowView flow={route.flow} node={route.node} />
    case "run":
      return <RunView key={route.flow} flow={route.flow} />
    case "traces":
      return <TracesView flow={route.flow} status={route.status} />
    case "trace":
      return <TraceView key={`${route.flow}\0${route.traceId}`} flow={route.flow} traceId={route.traceId} />
    case "jobs":
      return <JobsView state={route.state} />
    case "job":
      return <JobView key={route.id} id={route.id} />
    case "migrations":
      return <MigrationsView />
    case "migration":
      return <MigrationView key={route.name} name={route.name} />
    case "unknown":
      return (
        <Empty>
          <h1>Nothing is here</h1>
          <p>
            The address leads to no view. <a href="#/">Go to the flows.</a>
          </p>
        </Empty>
      )
  }
}

const Head = ({ route }: { readonly route: Route }): JSX.Element => {
  const features = useStore(usePage().list, (list) => list?.features)
  const at = sectionOf(route)
  const link = (section: string, href: string, words: string) => (
    <a href={href} aria-current={at === section ? "page" : undefined}>{words}</a>
  )
  return (
    <header class="head">
      <a class="brand" href="#/" aria-label="PenguiFlow, flows">
        <Mark />
        <span>PenguiFlow</span>
      </a>
      <nav aria-label="Views">
        {link("flows", "#/", "Flows")}
        {link("traces", to.traces(), "Traces")}
        {features?.jobs === true ? link("jobs", to.jobs(), "Jobs") : ""}
        {features?.migrations === true ? link("migrations", to.migrations(), "Migrations") : ""}
      </nav>
      <ConnectionState />
    </header>
  )
}

const Mark = (): JSX.Element => (
  <svg class="mark" viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" focusable="false">
    <path d="M6 12h5l3-6h3M11 12l3 6h3" />
    <circle cx="4.5" cy="12" r="2.5" />
    <circle cx="19" cy="6" r="2.5" />
    <circle cx="19" cy="18" r="2.5" />
  </svg>
)

const ConnectionState = (): JSX.Element => {
  const { clock, connection, live, say } = usePage()
  const state = useStore(connection, (it) => it)
  const lost = useStore(live, (it) => it.lost)
  useStore(clock, (now) => state._tag === "Waiting" ? now : 0)
  const told = useRef(state._tag)
  useEffect(() => {
    if (told.current === state._tag) return
    if (state._tag === "Waiting") say(`${state.why}. What is shown may be old.`)
    if (state._tag === "Live" && told.current !== "Connecting") say("Connected again")
    told.current = state._tag === "Connecting" && told.current === "Waiting" ? "Waiting" : state._tag
  }, [state])
  const [words, tone, glyph, hint] = state._tag === "Live"
    ? ["Live", "good", "succeeded", "Events come as they happen"]
    : state._tag === "Connecting"
    ? ["Connecting", "calm", "waiting", "Asking the server for its events"]
    : state._tag === "Locked"
    ? ["Locked", "warn", "cancelled", "The server asks for a token"]
    : [`Offline, next try in ${Math.max(0, Math.ceil((state.at - Date.now()) / 1000))} s`, "bad", "failed", state.why]
  return (
    <p class={`connection tone-${tone}`} title={hint}>
      <Glyph of={glyph} />
      <span>{words}</span>
      {lost > 0
        ? (
          <span class="dim" title="Events came too fast for this page; counts were asked for anew">
            {plural(lost, "event")} missed
          </span>
        )
        : ""}
    </p>
  )
}

/** Figures that many views begin with. */
export const Figures = (
  { figures }: { readonly figures: ReadonlyArray<readonly [label: string, value: number | string, tone?: string]> }
): JSX.Element => (
  <dl class="figures">
    {figures.map(([label, value, tone]) => (
      <div key={label} class={tone !== undefined && value !== 0 ? `tone-${tone}` : ""}>
        <dt>{label}</dt>
        <dd>{typeof value === "number" ? count(value) : value}</dd>
      </div>
    ))}
  </dl>
)

// ----------------------------------------------------------------------------------------------------------- internals

const useRoute = (): Route => {
  const [hash, set] = useState(location.hash)
  useEffect(() => {
    const look = () => set(location.hash)
    addEventListener("hashchange", look)
    // Somebody may have gone elsewhere between drawing and now.
    look()
    return () => removeEventListener("hashchange", look)
  }, [])
  return routeOf(hash)
}

const sectionOf = (route: Route): string =>
  route.view === "flow" || route.view === "run"
    ? "flows"
    : route.view === "trace"
    ? "traces"
    : route.view === "job"
    ? "jobs"
    : route.view === "migration"
    ? "migrations"
    : route.view

const titleOf = (route: Route): string => {
  switch (route.view) {
    case "flow":
      return route.flow ?? "Flows"
    case "run":
      return `Run ${route.flow}`
    case "traces":
      return "Traces"
    case "trace":
      return `Trace ${route.traceId}`
    case "jobs":
      return "Jobs"
    case "job":
      return `Job ${route.id}`
    case "migrations":
      return "Migrations"
    case "migration":
      return `Migration ${route.name}`
    case "unknown":
      return "Nothing is here"
  }
}

const start: Route = { view: "flow", flow: undefined, node: undefined }

/** What counts as going somewhere else: choosing a node or a filter stays where one is. */
const placeOf = (route: Route): string =>
  route.view === "traces" || route.view === "jobs" ? route.view : `${route.view} ${titleOf(route)}`
