/**
 * What goes into a flow and comes out of it, as codecs: for everything that stores it or sends it.
 *
 * Input is encoded as its schema says, and what that gives must be JSON. Results and errors are encoded by the canonical
 * JSON codec of their schemas, so that any schema can be stored; what is `Redacted` leaves as the word `<redacted>`, and
 * comes back as that word, redacted.
 */
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { canRecur, concealed, constructorKey, inPlaceOf, isRedacted } from "./ast.ts"
import type { AnySchema, Definition, NodeImpl } from "./definition.ts"
import { type FlowImpl, graphOf } from "./graph.ts"

/** The codecs of a flow. None of them throws; a failure is words that name the path and never the value. */
export interface FlowCodecs {
  readonly encodeInput: (input: unknown) => Exit.Exit<unknown, string>
  readonly decodeInput: (encoded: unknown) => Exit.Exit<unknown, string>
  readonly encodeResult: (result: unknown) => Exit.Exit<unknown, string>
  readonly decodeResult: (encoded: unknown) => Exit.Exit<unknown, string>
  /** Fails where no node of the flow declares such an error. */
  readonly encodeError: (error: unknown) => Exit.Exit<unknown, string>
  readonly decodeError: (encoded: unknown) => Exit.Exit<unknown, string>
}

/** The codecs of a flow; built at the first call. */
export const codecsOf = (flow: { readonly name: string }): FlowCodecs => {
  const graph = graphOf(flow)
  const known = memo.get(graph)
  if (known !== undefined) return known
  const made = makeCodecs(graph)
  memo.set(graph, made)
  return made
}

const memo = new WeakMap<FlowImpl, FlowCodecs>()

/** What a flow takes and gives, as JSON Schema of what stands in a body; undefined where a schema has none. */
export const jsonSchemasOf = (
  flow: { readonly name: string }
): { readonly input: JsonSchema | undefined; readonly result: JsonSchema | undefined } => {
  const graph = graphOf(flow)
  const inputs = distinct(ingressOf(graph).map(inputOf)).map(jsonSchemaOf)
  return {
    input: inputs.length === 1 ? inputs[0] : inputs.some((it) => it === undefined) ? undefined : { allOf: inputs },
    result: jsonSchemaOf(structural(union(distinct(outputsOf(graph)))))
  }
}

/** A JSON Schema of the draft 2020-12, with what it refers to in its `$defs`. */
export type JsonSchema = Readonly<Record<string, unknown>>

// ----------------------------------------------------------------------------------------------------------- internals

const jsonSchemaOf = (ast: SchemaAST.AST): JsonSchema | undefined => {
  try {
    const { definitions, schema } = Schema.toJsonSchemaDocument(Schema.make<Codec>(ast))
    return Object.keys(definitions).length === 0 ? schema : { ...schema, $defs: definitions }
  } catch {
    return undefined
  }
}

type Codec = Schema.Codec<unknown>
type Side = (value: unknown) => Exit.Exit<unknown, string>

const makeCodecs = (graph: FlowImpl): FlowCodecs => {
  const inputs = distinct(ingressOf(graph).map(inputOf))
  const output = union(distinct(outputsOf(graph)))
  const errors = distinct(errorsOf(graph))
  return {
    encodeInput: merged(inputs.map((ast) => side((codec) => Schema.encodeUnknownExit(codec), classless(ast)))),
    decodeInput: merged(inputs.map((ast) => side((codec) => Schema.decodeUnknownExit(codec), ast))),
    encodeResult: json((codec) => Schema.encodeUnknownExit(codec), structural(output)),
    decodeResult: json((codec) => Schema.decodeUnknownExit(codec), concealing(output)),
    encodeError: errors.length === 0
      ? undeclared
      : json((codec) => Schema.encodeUnknownExit(codec), structural(union(errors))),
    decodeError: errors.length === 0
      ? undeclared
      : json((codec) => Schema.decodeUnknownExit(codec), concealing(union(errors)))
  }
}

const undeclared: Side = () => Exit.fail("no node of the flow declares an error schema")

const wordsOf = (exit: Exit.Exit<unknown, Schema.SchemaError>): string => {
  const reason = exit._tag === "Failure" ? exit.cause.reasons[0] : undefined
  return reason?._tag === "Fail"
    ? reason.error.message.replaceAll(/\s*\n\s*/g, " ")
    : "its schema can't be applied here: it needs a service, takes time, or throws"
}

const guarded = (make: () => (value: unknown) => Exit.Exit<unknown, Schema.SchemaError>): Side => {
  let run: ((value: unknown) => Exit.Exit<unknown, Schema.SchemaError>) | undefined
  return (value) => {
    try {
      run ??= make()
      const exit = run(value)
      return exit._tag === "Success" ? Exit.succeed(exit.value) : Exit.fail(wordsOf(exit))
    } catch {
      return Exit.fail("its schema can't be applied: it throws")
    }
  }
}

type Direction = (codec: Codec) => (value: unknown) => Exit.Exit<unknown, Schema.SchemaError>

const side = (direction: Direction, ast: SchemaAST.AST): Side => guarded(() => direction(Schema.make<Codec>(ast)))

const json = (direction: Direction, ast: SchemaAST.AST): Side =>
  guarded(() => direction(Schema.make<Codec>(Schema.toCodecJson(Schema.make<Codec>(ast)).ast)))

/** Several ingress nodes each get the message: what each makes of it is laid over the others. */
const merged = (sides: ReadonlyArray<Side>): Side => {
  if (sides.length === 1) return sides[0]!
  return (value) => {
    let all: Record<string, unknown> | undefined
    for (const one of sides) {
      const exit = one(value)
      if (exit._tag === "Failure" || !Predicate.isObject(exit.value)) return exit
      all = all === undefined ? exit.value : { ...all, ...exit.value }
    }
    return Exit.succeed(all)
  }
}

// ---------------------------------------------------------------- the schemas of a graph

const anything: SchemaAST.AST = Schema.Unknown.ast

const distinct = (asts: ReadonlyArray<SchemaAST.AST>): ReadonlyArray<SchemaAST.AST> => [...new Set(asts)]

const union = (asts: ReadonlyArray<SchemaAST.AST>): SchemaAST.AST =>
  asts.length === 1
    ? asts[0]!
    : asts.length === 0
    ? anything
    : Schema.Union(asts.map((ast) => Schema.make<Codec>(ast))).ast

const list = (ast: SchemaAST.AST): SchemaAST.AST => Schema.Array(Schema.make<Codec>(ast)).ast

const astOf = (schema: AnySchema | undefined): SchemaAST.AST => schema?.ast ?? anything

/** The nodes that get the message. */
export const ingressOf = (graph: FlowImpl): ReadonlyArray<Definition> => {
  const targeted = new Set(graph.edges.map((edge) => edge.to))
  return graph.nodes.filter((node) => !targeted.has(node)).map((node) => node.definition)
}

const inputOf = (definition: Definition): SchemaAST.AST => {
  switch (definition.kind) {
    case "each":
      return list(inputOf(definition.item!))
    case "flow": {
      const inner = distinct(ingressOf(definition.flow as FlowImpl).map(inputOf))
      return inner.length === 1 ? inner[0]! : anything
    }
    default:
      return astOf(definition.input)
  }
}

const outputsOf = (graph: FlowImpl): ReadonlyArray<SchemaAST.AST> => {
  const left = new Set<NodeImpl>(graph.edges.map((edge) => edge.from))
  return graph.nodes.filter((node) => !left.has(node)).flatMap((node) => outputOf(node.definition))
}

const outputOf = (definition: Definition): ReadonlyArray<SchemaAST.AST> => {
  switch (definition.kind) {
    case "each":
      return [list(union(distinct(outputOf(definition.item!))))]
    case "flow":
      return outputsOf(definition.flow as FlowImpl)
    case "collect":
      return [list(astOf(definition.input))]
    case "join":
      return [
        Schema.Struct(
          Object.fromEntries(
            Object.entries(definition.inputs ?? {}).map(([name, schema]) => [name, Schema.make<Codec>(schema.ast)])
          )
        ).ast
      ]
    default:
      return [astOf(definition.output)]
  }
}

const errorsOf = (graph: FlowImpl): ReadonlyArray<SchemaAST.AST> =>
  graph.nodes.flatMap((node) => errorOf(node.definition))

const errorOf = (definition: Definition): ReadonlyArray<SchemaAST.AST> =>
  definition.kind === "each"
    ? errorOf(definition.item!)
    : definition.kind === "flow"
    ? errorsOf(definition.flow as FlowImpl)
    : definition.error === undefined
    ? []
    : [definition.error.ast]

// ---------------------------------------------------------------- schemas, changed

const isClass = (ast: SchemaAST.AST): ast is SchemaAST.Declaration =>
  SchemaAST.isDeclaration(ast) && ast.typeParameters.length > 0 &&
  typeof ast.annotations?.[constructorKey] === "function"

const secret: SchemaAST.AST = Schema.String.pipe(
  Schema.decodeTo(
    Schema.Redacted(Schema.Unknown),
    SchemaTransformation.transform<Redacted.Redacted<unknown>, string>({
      decode: (text) => Redacted.make<unknown>(text),
      encode: () => concealed
    })
  )
).ast

/** Classes encode whatever has their fields. */
const classless = (ast: SchemaAST.AST): SchemaAST.AST =>
  isClass(ast) ? inPlaceOf(ast, classless(ast.typeParameters[0]!)) : canRecur(ast) ? ast.recur(classless) : ast

/** The same, and secrets leave as a word. */
const structural = (ast: SchemaAST.AST): SchemaAST.AST =>
  isRedacted(ast)
    ? inPlaceOf(ast, secret)
    : isClass(ast)
    ? inPlaceOf(ast, structural(ast.typeParameters[0]!))
    : canRecur(ast)
    ? ast.recur(structural)
    : ast

/** Secrets come back as the word they left as. */
const concealing = (ast: SchemaAST.AST): SchemaAST.AST =>
  isRedacted(ast) ? inPlaceOf(ast, secret) : canRecur(ast) ? ast.recur(concealing) : ast
