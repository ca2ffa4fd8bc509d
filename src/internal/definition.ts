/** What a node is made of, once its types have done their work: plain data that the plan is compiled from. */
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as SchemaAST from "effect/SchemaAST"
import type * as Stream from "effect/Stream"
import type { NodeContext } from "../Node.ts"
import type { Policy } from "../Policy.ts"

/** A schema as the engine needs it. */
export interface AnySchema {
  readonly ast: SchemaAST.AST
}

/** A layer whose types were checked where it was given. */
export type AnyLayer = Layer.Layer<never, unknown, unknown>

/** What `Node.stream` needs of its context beside what users see. */
export type StreamContext<Part> = NodeContext & {
  readonly collect: <A, E, R>(
    parts: Stream.Stream<Part, E, R>,
    collect: (parts: ReadonlyArray<Part>) => A
  ) => Effect.Effect<A, E, R>
}

export type Kind = "task" | "loop" | "each" | "flow" | "router" | "join" | "collect"

export interface Definition {
  readonly kind: Kind
  readonly name: string
  readonly input?: AnySchema | undefined
  readonly output?: AnySchema | undefined
  readonly error?: AnySchema | undefined
  readonly part?: AnySchema | undefined
  readonly policy?: Policy<never> | undefined
  readonly rerun?: string | undefined
  readonly description?: string | undefined
  /** Innermost first. */
  readonly layers?: ReadonlyArray<AnyLayer> | undefined
  /** `task` and `loop`. */
  readonly run?: ((input: never, context: never) => Effect.Effect<unknown, unknown, unknown>) | undefined
  readonly compensate?: ((output: never, context: never) => Effect.Effect<void, never, unknown>) | undefined
  /** `loop`. */
  readonly maxHops?: number | undefined
  readonly budget?: number | undefined
  readonly onExhausted?: ((state: never) => unknown) | undefined
  /** `each`. */
  readonly item?: Definition | undefined
  readonly concurrency?: number | undefined
  /** `flow`: the inner flow, an `internal/graph.ts` FlowImpl. */
  readonly flow?: unknown
  /** `router`. */
  readonly cases?: ReadonlyArray<string> | undefined
  readonly decide?: ((input: never, context: never) => unknown) | undefined
  /** `join`. */
  readonly inputs?: { readonly [name: string]: AnySchema } | undefined
  /** `collect`. */
  readonly count?: number | undefined
}

/** The run-time value behind every node, router and join. */
export class NodeImpl {
  readonly name: string
  readonly definition: Definition
  /** The inputs of a join, as targets. */
  readonly in: { readonly [input: string]: TargetImpl } | undefined

  constructor(definition: Definition) {
    this.name = definition.name
    this.definition = definition
    this.in = definition.kind === "join" ? inputsOf(this, definition) : undefined
  }

  get node(): this {
    return this
  }

  to(...targets: ReadonlyArray<unknown>): Row {
    return this.definition.kind === "router" && targets.length === 1 && !isTarget(targets[0])
      ? { from: this, targets: casesOf(targets[0]) }
      : { from: this, targets: targets.map((target) => ({ target, on: undefined })) }
  }

  toString(): string {
    return `Node(${this.name})`
  }
}

const inputsOf = (node: NodeImpl, definition: Definition): { readonly [input: string]: TargetImpl } => {
  const out: { [input: string]: TargetImpl } = Object.create(null)
  for (const input of Object.keys(definition.inputs ?? {})) out[input] = { node, input }
  return out
}

const casesOf = (targets: unknown): Array<RowTarget> =>
  typeof targets === "object" && targets !== null
    ? Object.entries(targets).map(([on, target]) => ({ target, on }))
    : []

/** Where an edge ends: a node is a target itself, and so is each input of a join. */
export interface TargetImpl {
  readonly node: NodeImpl
  readonly input?: string | undefined
}

/** One edge of a row. `target` is unchecked: rows may come from code that the compiler did not see. */
export interface RowTarget {
  readonly target: unknown
  /** The router's case. */
  readonly on: string | undefined
}

/** One row of an adjacency. */
export interface Row {
  readonly from: NodeImpl
  readonly targets: ReadonlyArray<RowTarget>
}

export const isTarget = (u: unknown): u is TargetImpl =>
  u instanceof NodeImpl || typeof u === "object" && u !== null && "node" in u && u.node instanceof NodeImpl

/** A node of the type that the caller's signature has computed. The one place where types meet values. */
export const nodeOf = <N>(definition: Definition): N => new NodeImpl(definition) as N

/** What a public node is made of. */
export const definitionOf = (node: { readonly name: string }): Definition => {
  if (node instanceof NodeImpl) return node.definition
  throw new TypeError(`"${String(node?.name)}" is no node: nodes are made by Node.make and the like`)
}
