/**
 * What the definition of a flow alone tells: how often its nodes may be tried, how long a message may take at worst, and
 * what ought to be mended before the flow is deployed.
 *
 * Attempts and times are read off the policies' Schedules, stepped without sleeping: a jittered Schedule counts with its
 * longest delays, one that ends after a duration with failures that come as late as it lets them. A router's decision and
 * a join are taken to answer at once. The numbers bound what nodes do, not what they wait for: admission and permits come
 * on top. What services a node needs is in its type and nowhere else.
 *
 * Nothing bounds a node without a timeout, and `analyze` says so of every one, pure or not. `check` asks what may be waited
 * for: a node that is `"pure"`, not retried and without a timeout waits for nothing, and counts there as taking no time.
 */
import * as Duration from "effect/Duration"
import type { Any } from "./Flow.ts"
import { type Costs, costsOf, inOrder, successorsOf, waitsForNothing } from "./internal/analysis/costs.ts"
import { partsOf } from "./internal/analysis/parts.ts"
import { type Plan, planOf, type Step } from "./internal/plan.ts"

/** See {@link analyze}. */
export interface FlowAnalysis {
  readonly nodes: ReadonlyArray<{
    /** `inner/node` in a subflow. */
    readonly node: string
    /** Of one visit; Infinity where the Schedule never ends. */
    readonly maxAttempts: number
    /** Milliseconds that all its visits take at most; Infinity where an attempt has no timeout. */
    readonly worstCaseMs: number
    /** How many values may reach it in one trace: more than 1 below a fan-out whose branches meet again, or in a cycle. */
    readonly maxVisits: number
  }>
  /** Infinity where a node on the way, be it pure, has no timeout or no end to its retries. */
  readonly worstCaseMs: number
  readonly slowestWay: ReadonlyArray<string>
}

/** What a flow is used for, where {@link check} is to know. */
export interface CheckOptions {
  /** The time that callers give a message: `RunOptions.deadline`. */
  readonly deadline?: Duration.Input | undefined
  /** The time that a worker gives a job. */
  readonly jobTimeout?: Duration.Input | undefined
  /** Who runs it again after a crash: then every node may run twice, retried or not. */
  readonly usedBy?: "worker" | "durable" | undefined
}

/** A finding of {@link check}. */
export interface Finding {
  readonly rule: string
  readonly severity: "error" | "warning"
  readonly node: string | undefined
  /** What is wrong, and how to mend it. */
  readonly message: string
}

/**
 * What the definition alone tells: worst-case attempts and time per node and on the slowest way, or unbounded.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schedule, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * const ask = Node.make("ask", {
 *   input: Schema.Number,
 *   output: Schema.Number,
 *   policy: { timeout: "1 second", retry: Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 2 })) },
 *   run: (n) => Effect.succeed(n)
 * })
 * const analysis = Flow.analyze(Flow.make("asking", [ask.to()]))
 * analysis.nodes[0]?.maxAttempts // => 3
 * analysis.worstCaseMs // => 3200
 * ```
 */
export const analyze = (flow: Any): FlowAnalysis => {
  const { nodes, slowestWay, worstCaseMs } = costsOf(planOf(flow), { pureTakes: Infinity })
  return { nodes, slowestWay, worstCaseMs }
}

/** More values than this at one node is what nobody means. */
const manyVisits = 1000

/**
 * The "before deploying" list, answered for this flow.
 *
 * | rule | what it finds |
 * |---|---|
 * | `rerun-unknown`, `retried-unsafe` | nodes that may run again and do not say how, or say that they must not |
 * | `nothing-compensates` | a promise to compensate that nothing keeps |
 * | `uncompensated-write` | a write before another write, and nothing undoes the first when the second fails |
 * | `endless-retries` | a retry Schedule that does not end |
 * | `no-timeout` | a node on the slowest way without a timeout, unless it is pure |
 * | `unbounded-each` | a `forEach` without a timeout of the whole, unless its node is pure: how many items it gets is not in the definition |
 * | `fan-out` | branches that multiply: more than a thousand values at one node of one trace |
 * | `unconnected` | parts of the flow that no edge connects |
 * | `too-slow` | a worst case longer than the deadline or the job timeout given; pure nodes without a timeout take no time |
 *
 * See docs/checks.md for each.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schedule, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 *
 * const write = Node.make("write", {
 *   input: Schema.Number,
 *   output: Schema.Number,
 *   rerun: "unsafe",
 *   policy: { timeout: "1 second", retry: Schedule.recurs(2) },
 *   run: (n) => Effect.succeed(n)
 * })
 * const flow = Flow.make("writing", [write.to()])
 * Flow.check(flow).map((finding) => finding.rule) // => ["retried-unsafe"]
 * Flow.check(flow, { deadline: "2 seconds" }).map((finding) => finding.rule) // => ["too-slow", "retried-unsafe"]
 * ```
 */
export const check = (flow: Any, options: CheckOptions = {}): ReadonlyArray<Finding> => {
  const plan = planOf(flow)
  const analysis = costsOf(plan, { pureTakes: 0 })
  const way = new Set(analysis.slowestWay)
  const costs = new Map(analysis.nodes.map((node) => [node.node, node]))
  return [
    ...timeFindings(analysis, options),
    ...partFindings(plan),
    ...visit(plan, false, (step, retried) => [
      ...rerunFindings(step, retried, options.usedBy),
      ...writeFindings(step),
      ...(costs.get(step.name)?.maxAttempts === Infinity
        ? [finding("endless-retries", "error", step, "its retry Schedule never ends: bound it with Schedule.upTo")]
        : []),
      ...(step.kind === "each" && step.timeout === 0 && costs.get(step.name)?.worstCaseMs !== 0
        ? [
          finding(
            "unbounded-each",
            "warning",
            step,
            "how many items it gets is not in the definition: give the whole a timeout, `Node.withPolicy(Node.forEach(…), { timeout })`"
          )
        ]
        : []),
      ...(step.kind !== "router" && step.join < 0 && step.inner === undefined && step.timeout === 0 &&
          way.has(step.name) && !waitsForNothing(step)
        ? [finding("no-timeout", "warning", step, "it is on the slowest way and has no timeout: give its policy one")]
        : [])
    ]),
    ...fanOutFindings(plan, (step) => costs.get(step.name)?.maxVisits ?? 0)
  ]
}

const partFindings = (plan: Plan): ReadonlyArray<Finding> => {
  const parts = partsOf(plan)
  if (parts.length < 2) return []
  const named = parts.map((part) => part.map((step) => step.name).join(", ")).join(" | ")
  return [{
    rule: "unconnected",
    severity: "warning",
    node: undefined,
    message:
      `The flow is in ${parts.length} parts that no edge connects (${named}): each gets every message. If that is not meant, an edge is missing`
  }]
}

/** Every step, inner ones after the one that holds them, and whether something around it is retried. */
const visit = (
  plan: Plan,
  retried: boolean,
  f: (step: Step, retried: boolean) => ReadonlyArray<Finding>
): ReadonlyArray<Finding> =>
  plan.steps.flatMap((step) =>
    step.inner === undefined
      ? f(step, retried)
      : [...f(step, retried), ...visit(step.inner, retried || step.retry !== undefined, f)]
  )

const finding = (rule: string, severity: Finding["severity"], step: Step, message: string): Finding => ({
  rule,
  severity,
  node: step.name,
  message: `Node "${step.name}": ${message}`
})

const timeFindings = (costs: Costs, options: CheckOptions): ReadonlyArray<Finding> =>
  [["deadline", options.deadline] as const, ["job timeout", options.jobTimeout] as const].flatMap(([what, given]) => {
    if (given === undefined) return []
    const limit = Duration.toMillis(Duration.fromInputUnsafe(given))
    if (costs.worstCaseMs <= limit) return []
    const [worst, fix] = costs.worstCaseMs === Infinity
      ? [`has no bound, for ${reasonOf(costs)}`, fixOf(costs)]
      : [`takes ${costs.worstCaseMs} ms at worst`, "shorten timeouts and retries on it, or give it more time"]
    return [{
      rule: "too-slow",
      severity: "error" as const,
      node: undefined,
      message: `The slowest way, ${costs.slowestWay.join(" → ")}, ${worst}, and the ${what} is ${limit} ms: ${fix}`
    }]
  })

const listed = (names: ReadonlyArray<string>): string => {
  const quoted = names.map((name) => `"${name}"`)
  return quoted.length < 2 ? quoted.join() : `${quoted.slice(0, -1).join(", ")} and ${quoted.at(-1)}`
}

const reasonOf = ({ endless, untimed }: Costs): string =>
  [
    untimed.length === 0 ? [] : [`${listed(untimed)} ${untimed.length === 1 ? "has" : "have"} no timeout`],
    endless.length === 0 ? [] : [`the retries of ${listed(endless)} never end`]
  ].flat().join(", and ")

const fixOf = ({ endless, untimed }: Costs): string =>
  [
    untimed.length === 0 ? [] : [`give ${untimed.length === 1 ? "it" : "each of them"} a policy with a timeout`],
    endless.length === 0 ? [] : ["bound the retries with Schedule.upTo"]
  ].flat().join(", and ")

const rerunFindings = (step: Step, retried: boolean, usedBy: CheckOptions["usedBy"]): ReadonlyArray<Finding> => {
  const { rerun } = step.definition
  if (rerun === "compensated" && step.compensate === undefined) {
    return [finding("nothing-compensates", "error", step, "it says \"compensated\" and has no `compensate`")]
  }
  if (step.inner !== undefined || step.kind === "router" || step.join >= 0) return []
  const why = step.retry !== undefined
    ? "it is retried"
    : retried
    ? "what holds it is retried"
    : usedBy === "worker"
    ? "a worker may run it again"
    : usedBy === "durable"
    ? "a durable flow may run it again"
    : undefined
  if (why === undefined) return []
  if (rerun === undefined) {
    return [
      finding(
        "rerun-unknown",
        "warning",
        step,
        `${why} and does not say how it may be run again: declare \`rerun\``
      )
    ]
  }
  return rerun === "unsafe"
    ? [
      finding(
        "retried-unsafe",
        "error",
        step,
        `${why} and says that this is unsafe: make it idempotent, or take the retry away`
      )
    ]
    : []
}

/** Where branches have multiplied too often, and not again at what comes after it. */
const fanOutFindings = (plan: Plan, visitsOf: (step: Step) => number): ReadonlyArray<Finding> => {
  const told = new Set<Step>()
  const findings: Array<Finding> = []
  for (const step of plan.maxHops === undefined ? inOrder(plan) : plan.steps) {
    if (visitsOf(step) <= manyVisits) {
      if (step.inner !== undefined) findings.push(...fanOutFindings(step.inner, visitsOf))
      continue
    }
    if (!told.has(step)) {
      const message = `one trace may bring ${visitsOf(step)} values here: ` +
        (plan.maxHops === undefined ? "let branches meet in a Join before they divide again" : "lower `maxHops`")
      findings.push(finding("fan-out", "warning", step, message))
    }
    for (const next of successorsOf(step)) told.add(next)
  }
  return findings
}

const writes = (step: Step): boolean =>
  step.inner === undefined
    ? step.definition.rerun !== undefined && step.definition.rerun !== "pure"
    : step.inner.steps.some(writes)

const writeFindings = (step: Step): ReadonlyArray<Finding> => {
  if (step.inner !== undefined || step.compensate !== undefined || !writes(step)) return []
  // A node that says "compensated" is told of that already.
  if (step.definition.rerun === "compensated") return []
  const seen = new Set<Step>()
  const open = [...successorsOf(step)]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (seen.has(next) || next === step) continue
    seen.add(next)
    if (writes(next)) {
      return [
        finding(
          "uncompensated-write",
          "warning",
          step,
          `it writes, "${next.name}" after it writes, too, and when that fails nothing undoes the first: give it a \`compensate\``
        )
      ]
    }
    open.push(...successorsOf(next))
  }
  return []
}
