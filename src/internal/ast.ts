/** What schemas are made of, as far as several rooms change it: where Effect has no public name for it, it is named here. */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"

/** The part of a class schema's AST that tells its instances from others. Effect keeps it under this annotation. */
export const constructorKey = "~constructor"

/** What stands in the place of a secret. */
export const concealed = "<redacted>"

type Recursive = { recur(f: (ast: SchemaAST.AST) => SchemaAST.AST): SchemaAST.AST }

/** Whether it has parts that can be changed. */
export const canRecur = (ast: SchemaAST.AST): ast is SchemaAST.AST & Recursive => "recur" in ast

/** Whether it is `Schema.Redacted` of something. */
export const isRedacted = (ast: SchemaAST.AST): boolean => {
  const representation: unknown = SchemaAST.isDeclaration(ast) ? ast.annotations?.["representation"] : undefined
  return Predicate.isObject(representation) && representation["id"] === "effect/schema/Redacted"
}

/** The other, as optional as the one in whose place it stands. */
export const inPlaceOf = (ast: SchemaAST.AST, other: SchemaAST.AST): SchemaAST.AST =>
  ast.context?.isOptional === true ? Schema.optionalKey(Schema.make<Schema.Codec<unknown>>(other)).ast : other
