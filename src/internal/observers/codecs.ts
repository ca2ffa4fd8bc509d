/** What goes into a flow and comes out of it, as it is kept: JSON, without its secrets. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import { concealed } from "../ast.ts"
import { type AnySchema, type Definition, NodeImpl } from "../definition.ts"
import { FlowImpl, graphOf } from "../graph.ts"
import { changeAll } from "../rewrite.ts"
import { codecsOf, ingressOf } from "../schemas.ts"
import { conceal } from "./conceal.ts"

type Side = (value: unknown) => Exit.Exit<unknown, string>

/** None of them throws; a failure is words that name the path and never the value. */
export interface KeptCodecs {
  readonly encodeInput: Side
  /** Of what {@link encodeInput} gave, by the schemas as they are now, and as long as nothing in it is concealed. */
  readonly decodeInput: Side
  readonly encodeResults: (results: ReadonlyArray<unknown>) => Exit.Exit<ReadonlyArray<unknown>, string>
  readonly encodeError: Side
}

const memo = new WeakMap<FlowImpl, KeptCodecs>()

export const keptCodecsOf = (flow: { readonly name: string }): KeptCodecs => {
  const graph = graphOf(flow)
  const known = memo.get(graph)
  if (known !== undefined) return known
  const made = makeCodecs(graph)
  memo.set(graph, made)
  return made
}

/** Whether anything in what was kept stands for a secret. */
export const isConcealed = (json: unknown): boolean =>
  json === concealed ||
  (typeof json === "object" && json !== null && Object.values(json).some(isConcealed))

// ----------------------------------------------------------------------------------------------------------- internals

const makeCodecs = (graph: FlowImpl): KeptCodecs => {
  const inputs = [...new Set(inputsOf(graph))]
  const outward = codecsOf(changeAll(graph, withoutSecrets))
  return {
    encodeInput: merged(inputs.map((ast) => codecsOf(giving(conceal(ast))).encodeResult)),
    decodeInput: merged(inputs.map((ast) => codecsOf(giving(ast)).decodeResult)),
    encodeResults: (values) => {
      const all: Array<unknown> = []
      for (const value of values) {
        const exit = outward.encodeResult(value)
        if (exit._tag === "Failure") return Exit.failCause(exit.cause)
        all.push(exit.value)
      }
      return Exit.succeed<ReadonlyArray<unknown>>(all)
    },
    encodeError: outward.encodeError
  }
}

const changed = (schema: AnySchema | undefined): AnySchema | undefined => {
  if (schema === undefined) return undefined
  const ast = conceal(schema.ast)
  return ast === schema.ast ? schema : { ast }
}

const withoutSecrets = (definition: Definition): Definition => {
  const { error, input, inputs, kind, output } = definition
  // What these hold is changed where it stands.
  if (kind === "flow" || kind === "each") return definition
  return {
    ...definition,
    input: changed(input),
    output: changed(output),
    error: changed(error),
    inputs: inputs === undefined
      ? undefined
      : Object.fromEntries(Object.entries(inputs).map(([name, schema]) => [name, changed(schema) ?? schema]))
  }
}

/** A flow that gives such a value: its codec of results is what is wanted, here of an input. */
const giving = (ast: SchemaAST.AST): FlowImpl =>
  new FlowImpl("kept", [
    new NodeImpl({ kind: "task", name: "kept", input: Schema.Unknown, output: { ast }, run: () => Effect.void }).to()
  ], {})

const inputsOf = (graph: FlowImpl): ReadonlyArray<SchemaAST.AST> => ingressOf(graph).flatMap(inputsOfNode)

const inputsOfNode = (definition: Definition): ReadonlyArray<SchemaAST.AST> => {
  if (definition.kind === "flow") return inputsOf(definition.flow as FlowImpl)
  if (definition.kind !== "each") return [definition.input?.ast ?? Schema.Unknown.ast]
  return inputsOfNode(definition.item!).map((ast) => listOf(ast))
}

const lists = new WeakMap<SchemaAST.AST, SchemaAST.AST>()

const listOf = (ast: SchemaAST.AST): SchemaAST.AST => {
  const list = lists.get(ast) ?? Schema.Array(Schema.make<Schema.Codec<unknown>>(ast)).ast
  lists.set(ast, list)
  return list
}

/** Several ingress nodes each get the message: what each makes of it is laid over the others. */
const merged = (sides: ReadonlyArray<Side>): Side => {
  if (sides.length === 1) return sides[0]!
  return (value) => {
    const all: Array<[string, unknown]> = []
    for (const side of sides) {
      const exit = side(value)
      if (exit._tag === "Failure") return exit
      if (!Predicate.isObject(exit.value)) return Exit.fail("several ingress nodes take it, each by another schema")
      all.push(...Object.entries(exit.value))
    }
    return Exit.succeed(Object.fromEntries(all))
  }
}
