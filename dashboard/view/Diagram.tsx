/** The server's drawing of a flow, made live: what runs, fails and retries is marked at its node. */
import type { JSX } from "preact"
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks"
import type { FlowLive } from "../model/live.ts"
import { to } from "../model/route.ts"
import { count } from "../model/words.ts"
import type { FlowInfo, NodeCounts } from "../wire/types.ts"
import { useAsk, useNow, usePage } from "./context.ts"
import { statesOf, wordsOf } from "./Nodes.tsx"
import { Problem, State } from "./parts.tsx"
import { namespace, svgIn } from "./svg.ts"

export const Diagram = (
  { chosen, info, live }: {
    readonly info: FlowInfo
    readonly live: FlowLive | undefined
    readonly chosen: string | undefined
  }
): JSX.Element => {
  const { api } = usePage()
  const now = useNow()
  const [text] = useAsk(info.name, () => api.diagram(info.name))
  const place = useRef<HTMLDivElement>(null)
  const [nodes, setNodes] = useState<ReadonlyMap<string, DrawnNode>>(new Map())
  const drawing = text._tag === "Got" ? text.value : undefined

  useLayoutEffect(() => {
    if (drawing === undefined || place.current === null) return
    const svg = svgIn(drawing)
    if (svg === undefined) return
    svg.setAttribute("role", "group")
    svg.setAttribute("aria-label", `Diagram of ${info.name}: arrow keys go from node to node, Enter says more`)
    // As wide as there is room, but no smaller than can be read: then it scrolls.
    const { height, width } = svg.viewBox.baseVal
    svg.style.aspectRatio = `${width} / ${height}`
    svg.style.maxWidth = `${width}px`
    svg.style.minWidth = `${Math.round(width * 0.62)}px`
    place.current.replaceChildren(svg)
    setNodes(drawnIn(svg))
  }, [drawing])

  useEffect(() => {
    for (const [name, node] of nodes) node.show(live?.nodes[name], now, name === chosen)
  }, [nodes, live, Math.floor(now / 5000), chosen])

  const go = (name: string) => {
    location.hash = to.node(info.name, name)
  }
  return (
    <>
      <div
        class="diagram"
        ref={place}
        onClick={(event) => {
          const name = nodeAround(event.target)
          if (name !== undefined) go(name)
        }}
        onKeyDown={(event) => {
          const name = nodeAround(event.target)
          if (name === undefined) return
          if (event.key === "Enter" || event.key === " ") {
            event.preventDefault()
            return go(name)
          }
          const next = neighbour(nodes, name, event.key)
          if (next === undefined) return
          event.preventDefault()
          focusOn(nodes, next)
        }}
      />
      {text._tag === "Failed" ? <Problem error={text.error} title="The diagram can't be drawn." /> : ""}
      <p class="legend dim">
        <State of="running">running now</State>
        <State of="retrying">waits for another attempt</State>
        <State of="failing">an error within 5 minutes</State>
      </p>
    </>
  )
}

// ----------------------------------------------------------------------------------------------------------- internals

interface DrawnNode {
  readonly element: SVGGElement
  readonly x: number
  readonly y: number
  readonly show: (counts: NodeCounts | undefined, now: number, chosen: boolean) => void
}

const nodeAround = (target: EventTarget | null): string | undefined =>
  target instanceof Element ? target.closest("g.node")?.getAttribute("data-node") ?? undefined : undefined

const drawnIn = (svg: SVGSVGElement): ReadonlyMap<string, DrawnNode> => {
  const drawn = new Map<string, DrawnNode>()
  for (const element of svg.querySelectorAll<SVGGElement>("g.node[data-node]")) {
    const name = element.getAttribute("data-node") ?? ""
    element.setAttribute("role", "link")
    // One stop for the Tab key; arrow keys go on from there.
    element.setAttribute("tabindex", drawn.size === 0 ? "0" : "-1")
    drawn.set(name, liveNode(element, name))
  }
  return drawn
}

const liveNode = (element: SVGGElement, name: string): DrawnNode => {
  const shape = element.querySelector<SVGGraphicsElement>(".shape") ?? element
  const box = shape.getBBox()
  const badges = document.createElementNS(namespace, "g")
  badges.setAttribute("class", "badges")
  badges.setAttribute("aria-hidden", "true")
  element.append(badges)
  // A native hint would cover what is beside the node.
  const title = element.querySelector("title")
  const described = title?.textContent ?? name
  let shown = ""
  return {
    element,
    x: box.x + box.width / 2,
    y: box.y + box.height / 2,
    show: (counts, now, chosen) => {
      const states = statesOf(counts, now)
      const words = wordsOf(counts, now)
      const errors = (counts?.errored ?? 0) + (counts?.timedOut ?? 0)
      const next = `${states.join()} ${words} ${errors} ${chosen}`
      if (next === shown) return
      shown = next
      for (const state of ["running", "failing", "retrying"] as const) {
        element.classList.toggle(`is-${state}`, states.includes(state))
      }
      element.classList.toggle("is-chosen", chosen)
      element.setAttribute("aria-label", `${name}: ${words}`)
      if (title !== null) title.textContent = `${described}\n${words}`
      let right = box.x + box.width + 6
      badges.replaceChildren(...states.map((state) => {
        const amount = state === "failing" ? errors : counts?.[state] ?? 0
        const badge = badgeOf(state, amount, right, box.y)
        right -= badge.width + 3
        return badge.element
      }))
    }
  }
}

const marks = {
  running: "M-3-4l7 4-7 4z",
  failing: "M-3-3l6 6M3-3l-6 6",
  retrying: "M3.4-1.6a3.6 3.6 0 1 0 .2 2.6M3.8-4.4v3h-3"
}

/** A pill at the upper right corner of a node: a sign and a count. */
const badgeOf = (
  state: keyof typeof marks,
  amount: number,
  right: number,
  y: number
): { readonly element: SVGGElement; readonly width: number } => {
  const words = amount > 999 ? `${Math.floor(amount / 1000)}k` : count(amount)
  const width = 22 + words.length * 6.6
  const make = (name: string, attributes: Readonly<Record<string, string | number>>): SVGElement => {
    const element = document.createElementNS(namespace, name)
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value))
    return element
  }
  const element = document.createElementNS(namespace, "g")
  element.setAttribute("class", `badge badge-${state}`)
  element.setAttribute("transform", `translate(${right - width} ${y - 9})`)
  const text = make("text", { x: 16.5, y: 12.6, "font-size": 11, "font-weight": 600 })
  text.textContent = words
  element.append(
    make("rect", { width, height: 17, rx: 8.5 }),
    make("path", { d: marks[state], transform: "translate(9.5 8.5)" }),
    text
  )
  return { element, width }
}

/** The nearest node in the direction of an arrow key; the first and the last for Home and End. */
const neighbour = (nodes: ReadonlyMap<string, DrawnNode>, from: string, key: string): string | undefined => {
  const names = [...nodes.keys()]
  if (key === "Home") return names[0]
  if (key === "End") return names.at(-1)
  const [along, across, sign] = key === "ArrowRight"
    ? ["x", "y", 1] as const
    : key === "ArrowLeft"
    ? ["x", "y", -1] as const
    : key === "ArrowDown"
    ? ["y", "x", 1] as const
    : key === "ArrowUp"
    ? ["y", "x", -1] as const
    : []
  const here = nodes.get(from)
  if (along === undefined || here === undefined) return undefined
  let best: string | undefined
  let least = Infinity
  for (const [name, node] of nodes) {
    const ahead = (node[along] - here[along]) * sign
    if (ahead < 4) continue
    const far = ahead + 2 * Math.abs(node[across] - here[across])
    if (far < least) [best, least] = [name, far]
  }
  return best
}

const focusOn = (nodes: ReadonlyMap<string, DrawnNode>, name: string): void => {
  for (const [other, { element }] of nodes) element.setAttribute("tabindex", other === name ? "0" : "-1")
  nodes.get(name)?.element.focus()
}
