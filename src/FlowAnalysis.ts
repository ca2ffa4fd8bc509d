/**
 * What the definition of a flow alone tells: how often its nodes may be tried, how long a message may take at worst, and
 * what ought to be mended before the flow is deployed.
 *
 * Attempts and times are read off the policies' Schedules, stepped without sleeping; a jittered Schedule counts with its
 * longest delays. A router's decision and a join are taken to answer at once. The numbers bound what nodes do, not what
 * they wait for: admission and permits come on top.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type { Any } from "./Flow.ts"
import { FlowError } from "./FlowError.ts"
import { type Plan, planOf, type Step } from "./internal/plan.ts"

/** See {@link analyze}. */
export interface FlowAnalysis {
  readonly nodes: ReadonlyArray<{
    /** `inner/node` in a subflow. */
    readonly node: string
    /** Of one visit; Infinity where the Schedule never ends. */
    readonly maxAttempts: number
    /** Milliseconds that one visit takes at most; Infinity where an attempt has no timeout. */
    readonly worstCaseMs: number
  }>
  /** Infinity where a node on the way has no timeout or no end to its retries. */
  readonly worstCaseMs: number
  readonly slowestWay: ReadonlyArray<string>
}

/** A finding of {@link check}. */
export interface Finding {
  readonly rule: string
  readonly severity: "error" | "warning"
  readonly node: string | undefined
  /** What is wrong, and how to mend it. */
  readonly message: string
}

/** A Schedule that has not ended after so many steps counts as endless. */
const maxSteps = 10_000

interface Retries {
  readonly attempts: number
  readonly delayMs: number
}

/** The longest delays that a jittered Schedule can choose. */
const slowest = {
  nextDoubleUnsafe: () => 1 - Number.EPSILON,
  nextIntUnsafe: () => Number.MAX_SAFE_INTEGER
}

const retriesOf = (step: Step): Retries => {
  if (step.retry === undefined) return { attempts: 1, delayMs: 0 }
  const attemptMs = step.timeout
  const error = new FlowError({
    flow: "",
    traceId: "",
    node: step.name,
    attempt: 1,
    message: "",
    reason: { _tag: "NodeTimedOut", timeoutMs: attemptMs }
  })
  const stepping = Effect.gen(function*() {
    const next = yield* Schedule.toStep(step.retry!)
    let now = attemptMs
    let delayMs = 0
    for (let attempts = 1; attempts <= maxSteps; attempts++) {
      const answer = yield* Effect.exit(next(now, error))
      if (answer._tag === "Failure") return { attempts, delayMs }
      const delay = Duration.toMillis(answer.value[1])
      delayMs += delay
      now += delay + attemptMs
    }
    return { attempts: Infinity, delayMs: Infinity }
  })
  const exit = Effect.runSyncExit(Effect.provideService(stepping, Random.Random, slowest))
  // A Schedule that needs time of its own, or fails, promises nothing.
  return Exit.isSuccess(exit) ? exit.value : { attempts: Infinity, delayMs: Infinity }
}

type Cost = FlowAnalysis["nodes"][number]

/** 0 × Infinity is 0 here: what never runs takes no time. */
const times = (n: number, ms: number): number => n === 0 || ms === 0 ? 0 : n * ms

interface Costs {
  readonly own: Cost
  readonly inner: ReadonlyArray<Cost>
}

const costOf = (step: Step, visits: number): Costs => {
  if (step.kind === "router" || step.kind === "join" || step.kind === "collect") {
    return { own: { node: step.name, maxAttempts: 1, worstCaseMs: 0 }, inner: [] }
  }
  const { attempts, delayMs } = retriesOf(step)
  const inner = step.inner === undefined ? undefined : analyzePlan(step.inner)
  // How many items a forEach gets is not in the definition.
  const insideMs = inner === undefined
    ? Infinity
    : step.kind === "each"
    ? times(Infinity, inner.worstCaseMs)
    : inner.worstCaseMs
  const attemptMs = step.timeout > 0 ? Math.min(step.timeout, insideMs) : insideMs
  const hops = step.kind === "loop" ? step.definition.maxHops! : 1
  return {
    own: {
      node: step.name,
      maxAttempts: attempts,
      worstCaseMs: times(visits * hops, times(attempts, attemptMs) + delayMs)
    },
    inner: step.kind === "flow" ? inner!.nodes : []
  }
}

/** The sum of a way, endless nodes counted apart: of two endless ways the one with more of them is slower. */
interface Length {
  readonly endless: number
  readonly ms: number
}
const longer = (a: Length, b: Length): boolean => a.endless > b.endless || a.endless === b.endless && a.ms > b.ms

const analyzePlan = (plan: Plan): FlowAnalysis => {
  const costs = new Map(plan.steps.map((step) => [step, costOf(step, plan.maxHops ?? 1)]))
  const nodes = [...costs.values()].flatMap(({ inner, own }) => [own, ...inner])
  const msOf = (step: Step): number => costs.get(step)!.own.worstCaseMs
  if (plan.maxHops !== undefined) {
    // In a cycle every node may be on the way, each as often as it may be visited.
    const worstCaseMs = plan.steps.reduce((sum, step) => sum + msOf(step), 0)
    return { nodes, worstCaseMs, slowestWay: plan.steps.map((step) => step.name) }
  }
  const best = new Map<Step, { readonly length: Length; readonly before: Step | undefined }>()
  let end: Step | undefined
  for (const step of inOrder(plan)) {
    const so = best.get(step)
    const ms = msOf(step)
    const length: Length = {
      endless: (so?.length.endless ?? 0) + (ms === Infinity ? 1 : 0),
      ms: (so?.length.ms ?? 0) + (ms === Infinity ? 0 : ms)
    }
    best.set(step, { length, before: so?.before })
    if (end === undefined || longer(length, best.get(end)!.length)) end = step
    for (const next of successorsOf(step)) {
      const known = best.get(next)
      if (known === undefined || longer(length, known.length)) best.set(next, { length, before: step })
    }
  }
  const slowestWay: Array<string> = []
  for (let step = end; step !== undefined; step = best.get(step)!.before) slowestWay.unshift(step.name)
  const length = end === undefined ? { endless: 0, ms: 0 } : best.get(end)!.length
  return { nodes, worstCaseMs: length.endless > 0 ? Infinity : length.ms, slowestWay }
}

const successorsOf = (step: Step): ReadonlyArray<Step> =>
  [...step.targets, ...[...step.cases.values()].flat()].map((target) => target.step)

/** The steps of a plan without cycles, each after all that lead to it. */
const inOrder = (plan: Plan): ReadonlyArray<Step> => {
  const open = new Map(plan.steps.map((step) => [step, 0]))
  for (const step of plan.steps) {
    for (const next of successorsOf(step)) open.set(next, open.get(next)! + 1)
  }
  const ordered = plan.steps.filter((step) => open.get(step) === 0)
  for (let at = 0; at < ordered.length; at++) {
    for (const next of successorsOf(ordered[at]!)) {
      const left = open.get(next)! - 1
      open.set(next, left)
      if (left === 0) ordered.push(next)
    }
  }
  return ordered
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
export const analyze = (flow: Any): FlowAnalysis => analyzePlan(planOf(flow))

/**
 * The "before deploying" list, answered for this flow: nodes that are retried and do not say how they may be run again,
 * retries without an end, ways without a timeout, promises to compensate that nothing keeps.
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
 * Flow.check(Flow.make("writing", [write.to()])).map((finding) => finding.rule) // => ["retried-unsafe"]
 * ```
 */
export const check = (flow: Any): ReadonlyArray<Finding> => {
  const plan = planOf(flow)
  const analysis = analyze(flow)
  const way = new Set(analysis.slowestWay)
  return stepsOf(plan).flatMap((step) => [
    ...rerunFindings(step),
    ...(step.retry !== undefined && retriesOf(step).attempts === Infinity
      ? [finding("endless-retries", "error", step, "its retry Schedule never ends: bound it with Schedule.upTo")]
      : []),
    ...(step.kind !== "router" && step.join < 0 && step.inner === undefined && step.timeout === 0 && way.has(step.name)
      ? [finding("no-timeout", "warning", step, "it is on the slowest way and has no timeout: give its policy one")]
      : [])
  ])
}

const stepsOf = (plan: Plan): ReadonlyArray<Step> =>
  plan.steps.flatMap((step) => step.inner === undefined ? [step] : [step, ...stepsOf(step.inner)])

const finding = (rule: string, severity: Finding["severity"], step: Step, message: string): Finding => ({
  rule,
  severity,
  node: step.name,
  message: `Node "${step.name}": ${message}`
})

const rerunFindings = (step: Step): ReadonlyArray<Finding> => {
  const { rerun } = step.definition
  if (rerun === "compensated" && step.compensate === undefined) {
    return [finding("nothing-compensates", "error", step, "it says \"compensated\" and has no `compensate`")]
  }
  if (step.retry === undefined || step.inner !== undefined) return []
  if (rerun === undefined) {
    return [
      finding(
        "rerun-unknown",
        "warning",
        step,
        "it is retried and does not say how it may be run again: declare `rerun`"
      )
    ]
  }
  return rerun === "unsafe"
    ? [
      finding(
        "retried-unsafe",
        "error",
        step,
        "it is retried and says that this is unsafe: make it idempotent, or take the retry away"
      )
    ]
    : []
}
