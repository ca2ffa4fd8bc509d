/** What the checker says, and the rules it says it by. */

/** A rule: what it finds, and where it is explained. */
export interface Rule {
  readonly id: string
  readonly severity: "error" | "warning"
  /** One sentence: what is wrong where it speaks. */
  readonly title: string
}

/** The ids of the rules. They are stable: suppressions name them. */
export type RuleId =
  | "client-in-run"
  | "module-state"
  | "meta-not-json"
  | "insert-not-idempotent"
  | "durable-nondeterminism"
  | "credential"
  | "syntax"
  | "suppression"
  | "unused-suppression"
  | FlowRuleId

/** The ids of what `Flow.check` finds. */
export type FlowRuleId =
  | "rerun-unknown"
  | "retried-unsafe"
  | "nothing-compensates"
  | "uncompensated-write"
  | "endless-retries"
  | "no-timeout"
  | "unbounded-each"
  | "fan-out"
  | "unconnected"
  | "too-slow"

const error = (title: string): Pick<Rule, "severity" | "title"> => ({ severity: "error", title })
const warning = (title: string): Pick<Rule, "severity" | "title"> => ({ severity: "warning", title })

/** The rules, by their ids. */
export const rules: Readonly<Record<RuleId, Pick<Rule, "severity" | "title">>> = {
  "client-in-run": error("A node makes a client of its own each time it runs"),
  "module-state": error("A node uses mutable state or a client of its module"),
  "meta-not-json": error("Something that is not JSON is on its way into a trace's meta"),
  "insert-not-idempotent": error("A node that may run again inserts without ON CONFLICT"),
  "durable-nondeterminism": error("A node of a durable flow asks the clock, chance or the environment"),
  "credential": error("A credential stands in the source"),
  "syntax": error("The file can't be parsed"),
  "suppression": error("A suppression gives no reason, or names no rule"),
  "unused-suppression": warning("A suppression suppresses nothing"),
  "rerun-unknown": warning("A node may run again and does not say how"),
  "retried-unsafe": error("A node may run again and says that this is unsafe"),
  "nothing-compensates": error("A node promises to compensate and can't"),
  "uncompensated-write": warning("A write stays when a later one fails"),
  "endless-retries": error("A retry Schedule never ends"),
  "no-timeout": warning("A node on the slowest way has no timeout"),
  "unbounded-each": warning("A forEach has no timeout of the whole"),
  "fan-out": warning("Branches multiply"),
  "unconnected": warning("A flow is in parts that no edge connects"),
  "too-slow": error("The worst case is longer than the time given")
}

/** Whether there is a rule of this id. */
export const isRule = (id: string): id is RuleId => Object.hasOwn(rules, id)

/** Where a rule is explained, within the package. */
export const docsOf = (rule: string): string => `docs/checks.md#${rule}`

/** Something that ought to be mended. */
export interface Finding {
  readonly rule: RuleId
  readonly severity: "error" | "warning"
  readonly file: string
  /** From 1. */
  readonly line: number
  /** From 1, in UTF-16 units. */
  readonly column: number
  /** What is wrong. Never holds the text of a literal. */
  readonly message: string
  /** How to mend it. */
  readonly fix: string
  /** Where the rule is explained. */
  readonly docs: string
}

/** A finding as a rule gives it: where it stands is an offset. */
export interface Found {
  readonly rule: RuleId
  readonly at: number
  readonly message: string
  readonly fix: string
}
