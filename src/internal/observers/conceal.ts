/** Schemas whose secrets leave as a word: what is `Redacted`, and what an annotation says is secret. */
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaTransformation from "effect/SchemaTransformation"

/** Says of a schema, or of a key, that its values are not to be kept. */
export const secretKey = "penguiflow/secret"

/** What stands in the place of a secret. */
export const concealed = "<redacted>"

const word: SchemaAST.AST = Schema.String.pipe(
  Schema.decodeTo(
    Schema.Unknown,
    SchemaTransformation.transform<unknown, string>({ decode: (text) => text, encode: () => concealed })
  )
).ast

type Recursive = { recur(f: (ast: SchemaAST.AST) => SchemaAST.AST): SchemaAST.AST }
const canRecur = (ast: SchemaAST.AST): ast is SchemaAST.AST & Recursive => "recur" in ast

const isRecord = (u: unknown): u is Record<string, unknown> => typeof u === "object" && u !== null

const isSecret = (ast: SchemaAST.AST): boolean => {
  // An annotation stands at the last check where there are checks, and beside the schema where it is the key's.
  const notes = [ast.annotations, ast.checks?.at(-1)?.annotations, ast.context?.annotations]
  if (notes.some((annotations) => annotations?.[secretKey] === true)) return true
  const representation: unknown = SchemaAST.isDeclaration(ast) ? ast.annotations?.["representation"] : undefined
  return isRecord(representation) && representation["id"] === "effect/schema/Redacted"
}

const inPlaceOf = (ast: SchemaAST.AST, other: SchemaAST.AST): SchemaAST.AST =>
  ast.context?.isOptional === true ? Schema.optionalKey(Schema.make<Schema.Codec<unknown>>(other)).ast : other

const concealedOf = new WeakMap<SchemaAST.AST, SchemaAST.AST>()

/** The same schema where nothing in it is secret; the same answer for the same schema. */
export const conceal = (ast: SchemaAST.AST): SchemaAST.AST => {
  const known = concealedOf.get(ast)
  if (known !== undefined) return known
  const made = isSecret(ast) ? inPlaceOf(ast, word) : canRecur(ast) ? ast.recur(conceal) : ast
  concealedOf.set(ast, made)
  return made
}
