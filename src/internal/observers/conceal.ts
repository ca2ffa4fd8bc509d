/** Schemas whose secrets leave as a word: what is `Redacted`, and what an annotation says is secret. */
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { canRecur, concealed, inPlaceOf, isRedacted } from "../ast.ts"

/** Says of a schema, or of a key, that its values are not to be kept. */
export const secretKey = "penguiflow/secret"

const word: SchemaAST.AST = Schema.String.pipe(
  Schema.decodeTo(
    Schema.Unknown,
    SchemaTransformation.transform<unknown, string>({ decode: (text) => text, encode: () => concealed })
  )
).ast

const isSecret = (ast: SchemaAST.AST): boolean => {
  // An annotation stands at the last check where there are checks, and beside the schema where it is the key's.
  const notes = [ast.annotations, ast.checks?.at(-1)?.annotations, ast.context?.annotations]
  return notes.some((annotations) => annotations?.[secretKey] === true) || isRedacted(ast)
}

const concealedOf = new WeakMap<SchemaAST.AST, SchemaAST.AST>()

/** The same schema where nothing in it is secret; the same answer for the same schema. */
export const conceal = (ast: SchemaAST.AST): SchemaAST.AST => {
  const known = concealedOf.get(ast)
  if (known !== undefined) return known
  const made = isSecret(ast) ? inPlaceOf(ast, word) : canRecur(ast) ? ast.recur(conceal) : ast
  concealedOf.set(ast, made)
  return made
}
