/** Pictures of flows, looked at in a real browser, where one is installed. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { createRequire } from "node:module"
import { Flow } from "penguiflow"
import * as FlowDiagram from "penguiflow/FlowDiagram"
import { widthOf } from "../src/internal/diagram/text.ts"
import * as Browser from "./utils/browser.ts"
import * as diagrams from "./utils/diagrams.ts"

const everything: FlowDiagram.Options = { costs: true, policies: true, errors: true }

/** What is wrong with the picture that a page shows, in words; and how much there was to look at. Runs in the page. */
const inspect = `(() => {
  const wrong = []
  const svg = document.documentElement
  const box = (it) => { const { x, y, width, height } = it.getBBox(); return { x, y, width, height, r: x + width, b: y + height } }
  const apart = (a, b) => a.r <= b.x + 0.1 || b.r <= a.x + 0.1 || a.b <= b.y + 0.1 || b.b <= a.y + 0.1
  const within = (a, b) => a.x >= b.x - 0.1 && a.y >= b.y - 0.1 && a.r <= b.r + 0.1 && a.b <= b.b + 0.1
  const all = (selector) => [...svg.querySelectorAll(selector)]
  const named = (it) => it.dataset.node ?? it.dataset.flow ?? it.dataset.from + " to " + it.dataset.to
  const nodes = all("g.node").map((it) => ({ it, name: it.dataset.node, shape: it.querySelector(".shape"), box: box(it.querySelector(".shape")) }))
  const tabs = all("rect.tab").map((it) => ({ it, of: named(it.parentNode), box: box(it) }))
  const clusters = all("g.cluster").map((it) => ({ it, name: it.dataset.flow, box: box(it.querySelector(".shape")) }))

  for (const { it, name, shape } of nodes) for (const text of it.querySelectorAll("text")) {
    const { x, y, r, b } = box(text)
    for (const [cx, cy] of [[x, y], [r, y], [x, b], [r, b]]) {
      if (!shape.isPointInFill(new DOMPoint(cx, cy))) { wrong.push("words overflow " + name + ": " + text.textContent); break }
    }
  }
  for (const { it, of, box: tab } of tabs) {
    const words = box(it.parentNode.querySelector("text"))
    if (!within(words, tab)) wrong.push("words overflow the tab of " + of + ": " + JSON.stringify([words, tab]))
    for (const node of nodes) if (!apart(tab, node.box)) wrong.push("the tab of " + of + " lies on " + node.name)
  }
  nodes.forEach((a, at) => nodes.slice(at + 1).forEach((b) => { if (!apart(a.box, b.box)) wrong.push(a.name + " lies on " + b.name) }))
  tabs.forEach((a, at) => tabs.slice(at + 1).forEach((b) => { if (!apart(a.box, b.box)) wrong.push("the tab of " + a.of + " lies on that of " + b.of) }))
  for (const { box: cluster, name } of clusters) {
    for (const node of nodes) {
      if (node.name.startsWith(name + "/")) { if (!within(node.box, cluster)) wrong.push(node.name + " is not in its cluster") }
      else if (!apart(node.box, cluster)) wrong.push(node.name + " lies in the cluster " + name)
    }
    for (const other of clusters) {
      if (other.name === name) continue
      if (other.name.startsWith(name + "/")) { if (!within(other.box, cluster)) wrong.push(other.name + " is not in its cluster") }
      else if (!name.startsWith(other.name + "/") && !apart(other.box, cluster)) wrong.push(other.name + " lies on the cluster " + name)
    }
  }
  for (const edge of all("g.edge")) {
    const name = named(edge)
    const [from, to] = [edge.dataset.from, edge.dataset.to].map((end) => nodes.find((node) => node.name === end))
    if (!from || !to) { wrong.push(name + " has an end that is no node"); continue }
    const line = edge.querySelector(".line")
    const length = line.getTotalLength()
    const touches = (point, { box, shape }) =>
      [[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]].some(([dx, dy]) => shape.isPointInFill(new DOMPoint(point.x + dx, point.y + dy)))
    if (!touches(line.getPointAtLength(0), from)) wrong.push(name + " does not start at its node")
    const [, x, y] = /^M(\\S+) ([^L]+)L/.exec(edge.querySelector(".arrow").getAttribute("d"))
    if (!touches({ x: Number(x), y: Number(y) }, to)) wrong.push(name + " does not end at its node")
    const tip = box(edge.querySelector(".arrow"))
    const end = line.getPointAtLength(length)
    if (end.x < tip.x - 0.1 || end.x > tip.r + 0.1 || end.y < tip.y - 0.1 || end.y > tip.b + 0.1) wrong.push(name + " has its head elsewhere")
    const steps = Math.ceil(length / 4)
    for (let at = 1; at < steps; at++) {
      const { x, y } = line.getPointAtLength(length * at / steps)
      const hit = nodes.find(({ box, shape }) => x > box.x + 1 && x < box.r - 1 && y > box.y + 1 && y < box.b - 1 && shape.isPointInFill(new DOMPoint(x, y)))
      if (hit) { wrong.push(name + " goes through " + hit.name); break }
    }
  }
  const view = svg.viewBox.baseVal
  for (const it of all("rect,path,circle,text")) {
    if (!within(box(it), { x: 0, y: 0, r: view.width, b: view.height })) wrong.push("outside: " + it.outerHTML.slice(0, 200))
  }
  return { wrong, nodes: nodes.length, edges: all("g.edge").length, clusters: clusters.length }
})()`

/** How many nodes, edges and subflows a flow has. */
const countsOf = (flow: Flow.Any): ReadonlyArray<number> => {
  const lines = Flow.toGraphViz(flow).split("\n")
  return [/^ *n\d+ \[/, /^ *n\d+ -> n\d+/, /^ *subgraph/].map((kind) => lines.filter((line) => kind.test(line)).length)
}

interface Inspected {
  readonly wrong: ReadonlyArray<string>
  readonly nodes: number
  readonly edges: number
  readonly clusters: number
}

describe.skipIf(!Browser.available)("FlowDiagram.toSvg, in a browser", () => {
  it.live(
    "no words overflow, no nodes overlap, edges meet their nodes and no others, clusters hold theirs",
    () =>
      Effect.gen(function*() {
        const browser = yield* Browser.make
        for (const [name, flow] of Object.entries(diagrams.flows)) {
          for (const options of name === "long" || name === "wide" ? [{}] : [{}, everything]) {
            const { asked, evaluate, page, said } = yield* browser.open(FlowDiagram.toSvg(flow, options), "svg")
            const found = (yield* evaluate(inspect)) as Inspected
            assert.deepStrictEqual(found.wrong, [], name)
            assert.deepStrictEqual([found.nodes, found.edges, found.clusters], countsOf(flow), name)
            assert.deepStrictEqual([asked.length, said], [1, []], name)
            yield* Effect.promise(() => page.close())
          }
        }
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "no character is wider than is thought without a browser, but those that are said to be uncertain",
    () =>
      Effect.gen(function*() {
        const { evaluate } = yield* (yield* Browser.make).open(FlowDiagram.toSvg(diagrams.trip), "svg")
        // Beyond, all but emoji and the writing of East Asia is uncertain.
        const last = 0x3200
        const widths = (yield* evaluate(`(() => {
          const canvas = new OffscreenCanvas(1, 1).getContext("2d")
          canvas.font = "600 100px system-ui, sans-serif"
          return Array.from({ length: ${last} }, (_, n) => canvas.measureText(String.fromCodePoint(n)).width)
        })()`)) as ReadonlyArray<number>
        const wider = widths.flatMap((width, point) => {
          const character = String.fromCodePoint(point)
          if (point < 32 || !character.isWellFormed()) return []
          const thought = widthOf(character, 100)
          return thought.certain && width > thought.width
            ? [`U+${point.toString(16)}: ${width} > ${thought.width}`]
            : []
        })
        assert.isAbove(widths.at(65)!, 50)
        assert.deepStrictEqual(wider, [])
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "a name is whole in the title, and never markup: nothing is run, nothing is loaded",
    () =>
      Effect.gen(function*() {
        const browser = yield* Browser.make
        const svg = FlowDiagram.toSvg(diagrams.hostile)
        const inPage = "<!doctype html><meta charset=utf-8><meta http-equiv=Content-Security-Policy " +
          `content="default-src 'none'"><body>${svg}`
        for (const [text, ending] of [[svg, "svg"], [inPage, "html"]] as const) {
          const { asked, evaluate, said } = yield* browser.open(text, ending)
          const found = (yield* evaluate(`({
            xss: globalThis.__xss,
            elements: [...new Set([...document.querySelector("svg").querySelectorAll("*")].map((it) => it.localName))].sort(),
            names: [...document.querySelectorAll("g.node")].map((it) => it.dataset.node),
            titles: [...document.querySelectorAll("g.node > title")].map((it) => it.textContent)
          })`)) as {
            readonly xss: unknown
            readonly elements: ReadonlyArray<string>
            readonly names: ReadonlyArray<string>
            readonly titles: ReadonlyArray<string>
          }
          assert.isUndefined(found.xss)
          assert.deepStrictEqual(found.elements, ["circle", "desc", "g", "path", "rect", "text", "title"])
          assert.include(found.titles, "W".repeat(300))
          for (const name of diagrams.hostileNames.filter((name) => !name.startsWith("\u0000"))) {
            assert.include(found.names, name)
          }
          assert.deepStrictEqual([asked.length, said], [1, []])
        }
      }).pipe(Effect.scoped),
    60_000
  )
})

const shown = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.map((name) =>
    name.startsWith("\u0000") || name.startsWith("\u202e") || name.trim() === "" ? "" : name.replaceAll(/\s+/g, " ")
  )
    .filter((name) => name !== "")

describe.skipIf(!Browser.available)("FlowDiagram.toMermaid, drawn by Mermaid in a browser", () => {
  const library = fs.readFileSync(createRequire(import.meta.url).resolve("@mermaid-js/tiny"), "utf8")

  it.live(
    "has all nodes, edges and subflows, and every name as it is, whatever it holds",
    () =>
      Effect.gen(function*() {
        const browser = yield* Browser.make
        const page = "<!doctype html><meta charset=utf-8><body></body>"
        const { asked, evaluate, page: opened, said } = yield* browser.open(page, "html")
        yield* Effect.promise(() => opened.addScriptTag({ content: library }))
        for (const [name, flow] of Object.entries(diagrams.flows)) {
          const text = JSON.stringify(FlowDiagram.toMermaid(flow, everything))
          const found = (yield* evaluate(`(async () => {
          mermaid.initialize({ startOnLoad: false, securityLevel: "strict" })
          document.body.innerHTML = (await mermaid.render("drawn", ${text})).svg
          const texts = (selector) => [...document.querySelectorAll(selector)].map((it) => it.textContent.trim())
          return {
            xss: globalThis.__xss,
            nodes: texts("g.node"),
            edges: document.querySelectorAll("path.flowchart-link").length,
            labels: texts("g.edgeLabel").filter((label) => label !== ""),
            clusters: texts("g.cluster").length
          }
        })()`)) as {
            readonly xss: unknown
            readonly nodes: ReadonlyArray<string>
            readonly edges: number
            readonly labels: ReadonlyArray<string>
            readonly clusters: number
          }
          // Where messages enter at a router, or leave at a join, a circle without words says so.
          const marks = found.nodes.filter((words) => words === "").length
          assert.deepStrictEqual(
            [found.nodes.length - marks, found.edges - marks, found.clusters],
            countsOf(flow),
            name
          )
          assert.isUndefined(found.xss)
          if (name === "all") {
            assert.deepStrictEqual(found.labels, ["low", "high", "a", "b", "again, at most 3 hops"])
          }
          if (name === "hostile") {
            for (const it of shown(diagrams.hostileNames)) {
              assert.isTrue(found.nodes.some((words) => words.replaceAll("\u2060", "").startsWith(it)), it)
            }
          }
        }
        assert.deepStrictEqual([asked.length, said], [1, []])
      }).pipe(Effect.scoped),
    120_000
  )
})

const graphviz = spawnSync("dot", ["-V"]).status === 0

describe.skipIf(!graphviz)("FlowDiagram.toGraphViz, drawn by Graphviz", () => {
  it("has all nodes, edges and subflows, and every name as it is, whatever it holds", () => {
    for (const [name, flow] of Object.entries(diagrams.flows)) {
      const drawn = spawnSync("dot", ["-Tsvg"], { input: FlowDiagram.toGraphViz(flow, everything), encoding: "utf8" })
      assert.deepStrictEqual([drawn.status, drawn.stderr], [0, ""], name)
      const count = (kind: string) => drawn.stdout.split(`class="${kind}"`).length - 1
      assert.deepStrictEqual([count("node"), count("edge"), count("cluster")], countsOf(flow), name)
      if (name !== "hostile") continue
      const words = [...drawn.stdout.matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map((match) =>
        match[1]!.replaceAll(/&#(\d+);/g, (_, point) => String.fromCodePoint(Number(point)))
          .replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", "\"").replaceAll("&amp;", "&")
      )
      for (const it of shown(diagrams.hostileNames)) assert.include(words, it)
    }
  })
})
