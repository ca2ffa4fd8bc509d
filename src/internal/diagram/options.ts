/** What a picture of a flow shows besides nodes and edges. */

/** A service as its class names it, or any other name. */
export type ServiceName = string | { readonly key: string }

/** What is drawn besides nodes and edges; by default nothing. */
export interface Options {
  /** What `Flow.analyze` tells of each node: attempts and time at worst. Default: false. */
  readonly costs?: boolean | undefined
  /**
   * How each node's runs are guarded: how often it may be tried (what can be known of a Schedule by stepping it), whether
   * some errors are not retried, the timeout of one attempt, how many traces may be inside, what is validated where that
   * is not both sides, and a loop's budget. Default: false.
   */
  readonly policies?: boolean | undefined
  /** The tags of the errors that each node declares a schema for; what it declares none for can't be known. Default: false. */
  readonly errors?: boolean | undefined
  /**
   * The services of each node, by the node's name (`inner/node` in a subflow). Which services a node needs is in its type
   * and nowhere at run time: what is given here is drawn as it is given. A name that no node has is a `RangeError`.
   */
  readonly services?: { readonly [node: string]: ReadonlyArray<ServiceName> } | undefined
}
