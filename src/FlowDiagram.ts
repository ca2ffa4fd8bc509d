/** A flow, drawn: as Mermaid and as DOT. */
import type { Any } from "./Flow.ts"
export const toMermaid = (flow: Any): string => flow.name
export const toGraphViz = (flow: Any): string => flow.name
