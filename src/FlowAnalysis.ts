/** What the definition of a flow alone tells. */
import type { Any } from "./Flow.ts"
export interface FlowAnalysis {
  readonly nodes: ReadonlyArray<{ readonly node: string; readonly maxAttempts: number; readonly worstCaseMs: number }>
  readonly worstCaseMs: number
  readonly slowestWay: ReadonlyArray<string>
}
export interface Finding {
  readonly rule: string
  readonly severity: "error" | "warning"
  readonly node: string | undefined
  readonly message: string
}
export const analyze = (_flow: Any): FlowAnalysis => ({ nodes: [], worstCaseMs: 0, slowestWay: [] })
export const check = (_flow: Any): ReadonlyArray<Finding> => []
