/** A flow as text, for the terminal: chains in a line, branches one below the other until they meet. */
import { Flow } from "penguiflow"

type Graph = ReadonlyMap<string, ReadonlyArray<string>>

export const draw = (flow: Flow.Any): string => {
  const graph = read(Flow.toMermaid(flow))
  const targets = new Set([...graph.values()].flat())
  return [...graph.keys()].filter((node) => !targets.has(node)).flatMap((node) => from(graph, node)).join("\n")
}

/** Names and edges of a Mermaid flowchart. */
const read = (mermaid: string): Graph => {
  const names = new Map<string, string>()
  const edges = new Map<string, Array<string>>()
  for (const line of mermaid.split("\n")) {
    const node = /^\s*(\w+)\s*[[({>/\\]+"?([^"\])}]+)"?[\])}/\\]+\s*$/.exec(line)
    if (node?.[1] !== undefined && node[2] !== undefined) {
      names.set(node[1], node[2])
      edges.set(node[2], [])
    }
  }
  for (const line of mermaid.split("\n")) {
    const edge = /^\s*(\w+)\s*[-.=]+(?:.*?[-.=]+)?>\s*(?:\|[^|]*\|\s*)?(\w+)\s*$/.exec(line)
    const [source, target] = [names.get(edge?.[1] ?? ""), names.get(edge?.[2] ?? "")]
    if (source !== undefined && target !== undefined) edges.get(source)?.push(target)
  }
  return edges
}

const from = (graph: Graph, start: string): Array<string> => {
  const { next, text } = chain(graph, start)
  if (next.length === 0) return [text]
  const meet = meetingPoint(graph, next)
  const branches = next.map((node) => node === meet ? "" : branch(graph, node, meet))
  const width = Math.max(...branches.map((line) => line.length)) + 2
  const indent = " ".repeat(text.length + 1)
  const middle = Math.floor((branches.length - 1) / 2)
  const rest = meet === undefined ? [] : from(graph, meet)
  const lines = branches.map((line, i) => {
    const head = i === middle ? `${text} ` : indent
    const [open, close] = i === 0
      ? ["┌", "┐"]
      : i === branches.length - 1
      ? ["└", "┘"]
      : i === middle
      ? ["┼", "┼"]
      : ["├", "┤"]
    const stem = i === middle ? i === 0 ? "┬" : "┼" : open
    const end = i === middle ? i === 0 ? "┬" : "┼" : close
    const body = line === "" ? "─".repeat(width) : ` ${line} ${"─".repeat(width - line.length - 2)}`
    if (meet === undefined) return `${head}${stem}─${line === "" ? "" : ` ${line}`}`
    return `${head}${stem}─${body}─${end}${i === middle ? `─ ${rest[0] ?? ""}` : ""}`
  })
  const below = (lines[middle] ?? "").length - (rest[0] ?? "").length
  return [...lines, ...rest.slice(1).map((line) => " ".repeat(below) + line)]
}

/** As far as it goes without a choice. */
const chain = (graph: Graph, start: string, until?: string) => {
  let text = start
  let next = graph.get(start) ?? []
  const sources = (node: string) => [...graph.values()].filter((targets) => targets.includes(node)).length
  while (next.length === 1 && next[0] !== undefined && next[0] !== until && sources(next[0]) === 1) {
    text += ` ── ${next[0]}`
    next = graph.get(next[0]) ?? []
  }
  return { text, next }
}

/** One branch on one line; what branches again inside of it is named, not drawn. */
const branch = (graph: Graph, start: string, meet: string | undefined): string => {
  const { next, text } = chain(graph, start, meet)
  const further = next.filter((node) => node !== meet)
  return further.length === 0 ? text : `${text} ── (${further.join(", ")})`
}

/** The first node that every branch leads to. */
const meetingPoint = (graph: Graph, branches: ReadonlyArray<string>): string | undefined => {
  if (branches.length === 1) return branches[0]
  const reached = branches.map((node) => [...reach(graph, node)])
  return reached[0]?.find((node) => reached.every((nodes) => nodes.includes(node)))
}

const reach = (graph: Graph, start: string): Set<string> => {
  const seen = new Set([start])
  for (const node of seen) for (const target of graph.get(node) ?? []) seen.add(target)
  return seen
}
