/**
 * Checks at node boundaries: the type side of a schema, structurally.
 *
 * What compiles runs: a class schema accepts any value that has its fields, nested ones too, because the type of an edge
 * says no more than that. An instance of the class is taken at its word, as Effect itself does.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { canRecur, constructorKey } from "./ast.ts"
import type { AnySchema } from "./definition.ts"
import { cut, messageOf } from "./text.ts"

/** One side of a node, compiled. */
export interface Check {
  readonly is: (value: unknown) => boolean
  /** What does not fit and where; never the value itself. */
  readonly explain: (value: unknown) => string
}

const isConstructed = (ast: SchemaAST.Declaration): ((value: unknown) => boolean) | undefined => {
  const describe: unknown = ast.annotations?.[constructorKey]
  if (typeof describe !== "function") return undefined
  const descriptor: { readonly isConstructed?: unknown } | undefined = describe(ast.typeParameters)
  const is = descriptor?.isConstructed
  return typeof is === "function" ? (value) => is(value) === true : undefined
}

const memo = new WeakMap<SchemaAST.AST, SchemaAST.AST>()

/** A type-side AST in which every class accepts its fields as well as its instances. */
const structural = (ast: SchemaAST.AST): SchemaAST.AST => {
  const known = memo.get(ast)
  if (known !== undefined) return known
  const made = structuralOf(ast)
  memo.set(ast, made)
  return made
}

const structuralOf = (ast: SchemaAST.AST): SchemaAST.AST => {
  const fields = SchemaAST.isDeclaration(ast) ? ast.typeParameters[0] : undefined
  if (SchemaAST.isDeclaration(ast) && fields !== undefined && isConstructed(ast) !== undefined) {
    return new SchemaAST.Union(
      [bare(ast), structural(SchemaAST.toType(fields))],
      undefined,
      undefined,
      ast.checks,
      undefined,
      ast.context
    )
  }
  return canRecur(ast) ? ast.recur(structural) : ast
}

/** The class itself, its checks and its place in a struct left to what stands around it. */
const bare = (ast: SchemaAST.Declaration): SchemaAST.Declaration =>
  ast.checks === undefined && ast.context === undefined
    ? ast
    : new SchemaAST.Declaration(ast.typeParameters, ast.run, ast.annotations)

/** An AST without the instances, for messages that name the field and not the class. */
const explainer = (ast: SchemaAST.AST): SchemaAST.AST => {
  const fields = SchemaAST.isDeclaration(ast) ? ast.typeParameters[0] : undefined
  return SchemaAST.isDeclaration(ast) && fields !== undefined && isConstructed(ast) !== undefined
    ? explainer(SchemaAST.toType(fields))
    : canRecur(ast)
    ? ast.recur(explainer)
    : ast
}

const make = (ast: SchemaAST.AST): Check | undefined => {
  const type = SchemaAST.toType(ast)
  if (SchemaAST.isUnknown(type) || SchemaAST.isAny(type)) return undefined
  const guard = Schema.is(Schema.make(structural(type)))
  const isInstance = SchemaAST.isDeclaration(type) && type.checks === undefined ? isConstructed(type) : undefined
  let explain: ((value: unknown) => Exit.Exit<unknown, Schema.SchemaError>) | undefined
  return {
    is: (value) => {
      try {
        return isInstance !== undefined && isInstance(value) || guard(value)
      } catch {
        // A value that can't be read, or is nested deeper than the stack, does not fit: `explain` says why.
        return false
      }
    },
    explain: (value) => {
      try {
        explain ??= Schema.decodeUnknownExit(Schema.make<Schema.Codec<unknown>>(explainer(type)))
        const exit = explain(value)
        if (Exit.isSuccess(exit)) return `Expected ${nameOf(type)}`
        const reason = exit.cause.reasons[0]
        return reason?._tag === "Fail"
          ? oneLine(reason.error.message)
          : unreadable(reason?._tag === "Die" ? reason.defect : undefined)
      } catch (defect) {
        return unreadable(defect)
      }
    }
  }
}

const unreadable = (defect: unknown): string => {
  const origin = rootOf(defect)
  return origin instanceof RangeError
    ? `nested too deep to be read (${messageOf(origin)})`
    : `can't be read: ${messageOf(origin)}`
}

/** What a chain of causes begins with; chains may be cycles. */
const rootOf = (defect: unknown): unknown => {
  let root = defect
  for (let depth = 0; depth < 8 && root instanceof Error && root.cause !== undefined; depth++) {
    root = Cause.isCause(root.cause) ? Cause.squash(root.cause) : root.cause
  }
  return root
}

const oneLine = (message: string): string => cut(message.replaceAll(/\s*\n\s*/g, " "))

const nameOf = (ast: SchemaAST.AST): string => SchemaAST.resolveIdentifier(ast) ?? ast._tag

const checks = new WeakMap<SchemaAST.AST, { readonly check: Check | undefined }>()

/** The check of a schema, compiled once per schema; undefined where the schema accepts everything. */
export const checkOf = (schema: AnySchema | undefined): Check | undefined => {
  if (schema === undefined) return undefined
  const known = checks.get(schema.ast)
  if (known !== undefined) return known.check
  const check = make(schema.ast)
  checks.set(schema.ast, { check })
  return check
}
