/**
 * An edge: "what this node gives, that node gets".
 *
 * Here live the types that `a.to(b)` is checked with, and the sentence a user reads in the editor where an edge does
 * not fit.
 */
import type * as Node from "./Node.ts"

/** Where an edge may end: a node, or one input of a join. */
export interface Target<in In> {
  readonly node: Node.Any
  readonly "~accepts": (_: In) => void
}

/** A target of whatever type. */
export type AnyTarget = { readonly node: Node.Any; readonly "~accepts": (_: never) => void }

/** What a target accepts. */
export type Accepts<T> = T extends { readonly "~accepts": (_: infer I) => void } ? I : never

type Keys<T> = T extends object ? keyof T & string : never
type Misfit<Out, In> = {
  [K in Keys<Out> & Keys<In>]: Out extends { readonly [P in K]: infer A }
    ? In extends { readonly [P in K]: infer B } ? [A] extends [B] ? never : K : never
    : never
}[Keys<Out> & Keys<In>]
type Needed<T> = T extends object ? { [K in keyof T & string]-?: {} extends Pick<T, K> ? never : K }[keyof T & string]
  : never

/** What is wrong with an edge, in words. */
export type Complaint<From extends string, Out, To extends string, In> = [Exclude<Needed<In>, Keys<Out>>] extends
  [never] ? [Misfit<Out, In>] extends [never] ? `✗ ${To} does not accept what ${From} gives`
  : `✗ ${To} accepts another type of "${Misfit<Out, In>}" than ${From} gives`
  : `✗ ${To} needs "${Exclude<Needed<In>, Keys<Out>>}", which ${From} does not give`

/** The target itself where it accepts what comes, else what is wrong. A join is no target, for its inputs are. */
export type Connect<From extends string, Out, T extends AnyTarget> = T extends { readonly "~inputs": string }
  ? `✗ the edge ${From} → ${T["node"]["name"]} names no input of the join: write ${T["node"]["name"]}.in.…`
  : [Out] extends [Accepts<T>] ? T
  : Complaint<From, Out, T["node"]["name"], Accepts<T>>

/** One row of the adjacency. `Fed` names the join inputs that its edges end in, as `join.input`. */
export interface Edges<out From extends Node.Any, out To extends Node.Any, out Fed extends string = never> {
  readonly from: From
  readonly "~to": To
  readonly "~fed": Fed
}

/** A row of whatever nodes. */
export type AnyEdges = Edges<Node.Any, Node.Any, string>

/** The join inputs that a target feeds. */
export type FedBy<T> = T extends { readonly "~fed": infer F extends string } ? F : never
