/**
 * A flow, drawn: as Mermaid, as DOT, and as SVG.
 *
 * Nodes and edges stand in declaration order, so that the same flow always gives the same text. Ingress nodes are rounded,
 * egress nodes have a double border, routers are diamonds with their cases on the edges, joins name their inputs on the
 * edges, loops lead back to themselves, and a subflow is a box around its nodes. Names are escaped: they may hold
 * anything.
 *
 * `Flow.toMermaid` and `Flow.toGraphViz` are the same two functions; {@link toSvg} alone needs a layout library, and
 * stands only here for that: the core does not load it.
 */
export { toGraphViz } from "./internal/diagram/dot.ts"
export { toMermaid } from "./internal/diagram/mermaid.ts"
export type { Options, ServiceName } from "./internal/diagram/options.ts"
export { toSvg } from "./internal/diagram/svg.ts"
