/**
 * A flow, drawn: as Mermaid, as DOT, and as SVG.
 *
 * Nodes and edges stand in declaration order, so that the same flow always gives the same text, byte for byte. Routers are
 * diamonds with their cases on the edges, joins are hexagons with the names of their inputs on the edges, loops lead back
 * to themselves, and a subflow is a frame around its nodes. Names are escaped: they may hold anything.
 *
 * | | messages enter | results leave | laid out by |
 * |---|---|---|---|
 * | {@link toMermaid} | rounded node; a circle before a router or join | node with a double border; a double circle | Mermaid, which by default refuses more than 500 edges or 50 000 characters |
 * | {@link toGraphViz} | rounded node | node with a double border | Graphviz |
 * | {@link toSvg} | a dot before the node | a ring after the node | this library |
 *
 * What else is drawn is asked for by {@link Options}: policies, costs, declared errors, services. `Flow.toMermaid` and
 * `Flow.toGraphViz` are the same two functions; `toSvg` alone needs a layout library, and stands only here for that: the
 * core does not load it.
 */
export { toGraphViz } from "./internal/diagram/dot.ts"
export { toMermaid } from "./internal/diagram/mermaid.ts"
export type { Options, ServiceName } from "./internal/diagram/options.ts"
export { toSvg } from "./internal/diagram/svg.ts"
