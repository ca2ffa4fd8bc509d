/** The intake: a message is checked, named, and given the services and the caller's context that its trace runs in. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import type * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import { FlowError, type FlowErrorReason } from "../FlowError.ts"
import type { RunOptions } from "../FlowRuntime.ts"
import type { Headers, Meta } from "../Trace.ts"
import { takeMeta } from "./json.ts"
import type { Supervisor } from "./supervisor.ts"
import { cut } from "./text.ts"
import { Info, Trace } from "./trace.ts"

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** Frozen, as all headers are: nobody can make one trace another's. */
const defaultHeaders: Headers = Object.freeze({ tenant: "default", priority: 0 })
const noMeta: Meta = Object.freeze({})

export class Intake {
  readonly #supervisor: Supervisor
  readonly #context: Context.Context<never>
  #ids = 0
  #idPrefix: string | undefined
  #caller: Context.Context<never> | undefined
  #callerContext: Context.Context<never> | undefined

  constructor(supervisor: Supervisor, context: Context.Context<never>) {
    this.#supervisor = supervisor
    this.#context = context
  }

  /** A message becomes a trace, or is refused. */
  take(
    input: unknown,
    options: RunOptions | undefined,
    caller: AnyFiber,
    parent: Trace | undefined,
    emitted: boolean
  ): Trace | FlowError {
    const traceId = options?.traceId ?? this.#nextId()
    if (!this.#supervisor.takesFrom(parent)) {
      return this.#refuse(
        traceId,
        { _tag: "ShuttingDown" },
        "The runtime is shutting down and takes no more messages"
      )
    }
    if (this.#supervisor.isOpen(traceId)) {
      return this.#refuse(
        traceId,
        { _tag: "DuplicateTrace" },
        `A trace with the id "${cut(traceId)}" is open: choose another id, or wait until it has ended`
      )
    }
    const taken = options?.meta === undefined ? { meta: noMeta } : takeMeta(options.meta)
    if ("key" in taken) {
      return this.#refuse(
        traceId,
        { _tag: "InvalidMeta", key: taken.key },
        `The meta has at "${
          cut(taken.key)
        }" what is not JSON: a connection, a lock or a client is a service, provided by a Layer`
      )
    }
    const headers = options?.headers === undefined ? defaultHeaders : headersOf(options.headers)
    const flow = this.#supervisor.plan.name
    const info = new Info(traceId, flow, headers, taken.meta, this.#deadlineOf(options?.deadline))
    return new Trace(this.#supervisor, info, input, this.#contextFor(caller), parent, emitted)
  }

  #refuse(traceId: string, reason: FlowErrorReason, message: string): FlowError {
    const flow = this.#supervisor.plan.name
    return new FlowError({ flow, traceId, node: undefined, attempt: undefined, reason, message })
  }

  /** A random UUID, from the second message on with a count behind it. */
  #nextId(): string {
    const prefix = this.#idPrefix ??= globalThis.crypto.randomUUID()
    const id = this.#ids === 0 ? prefix : `${prefix}-${this.#ids.toString(36)}`
    this.#ids++
    // A caller may have chosen the same.
    return this.#supervisor.isOpen(id) ? this.#nextId() : id
  }

  #deadlineOf(deadline: Duration.Input | undefined): number | undefined {
    if (deadline === undefined) return undefined
    const now = this.#supervisor.clock.currentTimeMillisUnsafe()
    const left = Duration.fromInput(deadline)
    if (left._tag === "None") return now
    const millis = Duration.toMillis(left.value)
    return millis === Infinity ? undefined : Number.isNaN(millis) ? now : now + millis
  }

  /** The runtime's services with the caller's span and log annotations, merged once per caller. */
  #contextFor(caller: AnyFiber): Context.Context<never> {
    if (caller.context === this.#caller) return this.#callerContext!
    this.#caller = caller.context
    return this.#callerContext = this.#mergeCaller(caller.context)
  }

  #mergeCaller(caller: Context.Context<never>): Context.Context<never> {
    if (caller === this.#context) return caller
    let context = this.#context
    const span = Context.getOrUndefined(caller, Tracer.ParentSpan)
    if (span !== undefined) context = Context.add(context, Tracer.ParentSpan, span)
    const annotations = Context.get(caller, References.CurrentLogAnnotations)
    if (Object.keys(annotations).length > 0) {
      context = Context.add(context, References.CurrentLogAnnotations, annotations)
    }
    return context
  }
}

const headersOf = (given: Partial<Headers>): Headers =>
  Object.freeze({
    tenant: given.tenant ?? defaultHeaders.tenant,
    priority: given.priority ?? defaultHeaders.priority,
    ...(given.topic === undefined ? undefined : { topic: given.topic })
  })
