/** What a node's `run` gets besides its input: one small object per attempt, its parts made when they are asked for. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Headers, Meta } from "../Trace.ts"
import { takeMeta } from "./json.ts"
import type { Step } from "./plan.ts"
import type { Trace } from "./trace.ts"
import type { Walk } from "./walk.ts"
import * as Way from "./way.ts"

export class VisitContext {
  readonly #trace: Trace
  readonly #step: Step
  readonly #a: number
  readonly #b: number
  readonly attempt: number

  constructor(trace: Trace, step: Step, attempt: number, a: number, b: number) {
    this.#trace = trace
    this.#step = step
    this.attempt = attempt
    this.#a = a
    this.#b = b
  }

  get traceId(): string {
    return this.#trace.traceId
  }
  get flow(): string {
    return this.#trace.supervisor.plan.name
  }
  get headers(): Headers {
    return this.#trace.headers
  }
  get meta(): Meta {
    return this.#trace.meta
  }
  get deadline(): number | undefined {
    return this.#trace.deadline
  }
  get node(): string {
    return this.#step.name
  }
  get idempotencyKey(): string {
    const visit = `${segment(this.flow)}/${segment(this.traceId)}/${place(this.#step.name)}`
    return this.#step.once ? visit : `${visit}@${Way.show(this.#a, this.#b)}`
  }
  get emit(): (part: unknown) => Effect.Effect<void> {
    return (part) => this.#trace.sendPart(this.#step, this.attempt, part)
  }
  get annotate(): (key: string, value: unknown) => Effect.Effect<void> {
    return (key, value) =>
      Effect.suspend(() => {
        const taken = takeMeta({ [key]: value })
        if ("key" in taken) {
          return Effect.die(
            new TypeError(
              `node "${this.#step.name}" annotates "${taken.key}" with a value that is not JSON: what has a life of its own is a service, provided by a Layer`
            )
          )
        }
        this.#trace.annotate(taken.meta)
        return Effect.void
      })
  }
  /** For `Node.stream`: sends each part and gives what `collect` makes of all. */
  get collect(): <Part, A, E, R>(
    parts: Stream.Stream<Part, E, R>,
    collect: (parts: ReadonlyArray<Part>) => A
  ) => Effect.Effect<A, E, R> {
    return <Part, A, E, R>(parts: Stream.Stream<Part, E, R>, collect: (parts: ReadonlyArray<Part>) => A) =>
      Effect.suspend(() => {
        const all: Array<Part> = []
        const send = Stream.runForEachArray(parts, (batch) => {
          for (const part of batch) all.push(part)
          return this.#trace.sendParts(this.#step, this.attempt, batch)
        })
        return Effect.map(send, () => collect(all))
      })
  }
}

// Two keys are equal only where all of their parts are: what divides them is in none of them as itself.
const segment = (text: string): string => text.replaceAll(/[%/]/g, percent)
const place = (node: string): string => node.replaceAll(/[%@#]/g, percent)
const percent = (char: string): string => `%${char.charCodeAt(0).toString(16).toUpperCase()}`

/** What a loop's step gets. */
export class HopContext extends VisitContext {
  readonly hop: number
  readonly #walk: Walk

  constructor(walk: Walk, hop: number) {
    super(walk.trace, walk.step, walk.attempt, walk.a, walk.b)
    this.hop = hop
    this.#walk = walk
  }

  override get idempotencyKey(): string {
    return `${super.idempotencyKey}#${this.hop}`
  }
  get spend(): (amount: number) => Effect.Effect<void> {
    return (amount) =>
      Effect.suspend(() => {
        // A sum that is not a number would be below every budget.
        if (!Number.isFinite(amount)) {
          return Effect.die(new RangeError(`loop "${this.node}" spends ${amount}: an amount is a finite number`))
        }
        this.#walk.spent += amount
        return Effect.void
      })
  }
}
