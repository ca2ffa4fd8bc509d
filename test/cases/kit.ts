/** What the tests of faults and load share: flows whose types are not the point, children, heaps and clocks. */
import { Cause, Effect, Exit, Schema } from "effect"
import { spawn } from "node:child_process"
import { Flow, type FlowError, type FlowEvent, FlowObserver, Node, type Policy } from "penguiflow"

/** The error that nodes fail with. */
export class Oops extends Schema.TaggedError<Oops>()("Oops", { n: Schema.Number }) {}

/** A number node whose name is known at run time only. */
export const node = <E extends Policy.Tagged = never, R = never>(
  name: string,
  run: (n: number, context: Node.NodeContext) => Effect.Effect<number, E, R>,
  options?: {
    readonly policy?: Policy.Policy<Policy.Tagged>
    readonly compensate?: (output: number) => Effect.Effect<void>
  }
) => Node.make(name, { input: Schema.Number, output: Schema.Number, run, ...options })

/** Answers at once, in the step after, or in a turn of the event loop of its own. */
export const kinds = {
  "at once": (n: number) => Effect.succeed(n),
  "in a sync effect": (n: number) => Effect.sync(() => n),
  "after a yield": (n: number) => Effect.as(Effect.yieldNow, n)
}

/** A flow from rows that the compiler need not see: big ones, and wrong ones. */
export const flowOf = <E = never, In = number, Out = number>(
  rows: ReadonlyArray<unknown>,
  options?: { readonly maxHops?: number }
): Flow.Flow<"f", In, Out, E> => Flow.make("f", rows as never, options) as unknown as Flow.Flow<"f", In, Out, E>

/** The code or tag that an exit failed with, `ok`, or `defect`. */
export const endOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  const reason = exit.cause.reasons[0]
  if (reason === undefined || !Cause.isFailReason(reason)) return reason?._tag === "Interrupt" ? "interrupt" : "defect"
  const error = reason.error as Partial<FlowError.FlowError>
  return error.code ?? error._tag ?? "?"
}

/** The faults that `Flow.make` finds in rows. */
export const faultsOf = (
  rows: ReadonlyArray<unknown>,
  options?: { readonly maxHops?: number }
): ReadonlyArray<string> => {
  try {
    flowOf(rows, options)
  } catch (error) {
    return (error as FlowError.FlowDefinitionError).faults
  }
  return []
}

/** An observer that keeps what it sees. */
export const watching = () => {
  const seen: Array<FlowEvent.FlowEvent> = []
  return {
    seen,
    layer: FlowObserver.layer({
      name: "watching",
      observe: (events) => Effect.sync(() => events.forEach((event) => seen.push(event)))
    })
  }
}

/** Turns of the event loop: whoever was ready has run. */
export const settle = (turns = 3): Effect.Effect<void> =>
  Effect.promise(async () => {
    for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve))
  })

/** Milliseconds of real time that a synchronous body takes. */
export const clocked = <A>(body: () => A): { readonly value: A; readonly ms: number } => {
  const from = performance.now()
  const value = body()
  return { value, ms: performance.now() - from }
}

/** The effect with the real time that it took. */
export const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const from = performance.now()
    return Effect.map(effect, (value) => ({ value, ms: performance.now() - from }))
  })

export const median = (numbers: ReadonlyArray<number>): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!

/** Small numbers that look random and are the same in every run. */
export const randomOf = (seed: number) => {
  let state = seed >>> 0
  return (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

export interface Ended {
  /** Null where it had to be killed. */
  readonly code: number | null
  readonly out: string
}

/** Another process, with the sources as they are; killed if it takes longer than it may. */
export const child = (args: ReadonlyArray<string>, patience = 20_000): Promise<Ended> =>
  new Promise((resolve) => {
    const running = spawn(process.execPath, ["--conditions=source", "--expose-gc", ...args], {
      cwd: new URL("../..", import.meta.url),
      stdio: ["ignore", "pipe", "pipe"]
    })
    let out = ""
    running.stdout.on("data", (text) => out += text)
    running.stderr.on("data", (text) => out += text)
    const timer = setTimeout(() => running.kill("SIGKILL"), patience)
    running.on("close", (code) => {
      clearTimeout(timer)
      resolve({ code, out })
    })
  })

/** A program of a few lines in a process of its own. */
export const program = (code: string, patience?: number): Promise<Ended> =>
  child([
    "--input-type=module",
    "-e",
    `import { Effect, Schema } from "effect"
     import { Flow, FlowRuntime, Node } from "penguiflow"
     const node = (name, run) => Node.make(name, { input: Schema.Number, output: Schema.Number, run })
     ${code}`
  ], patience)
