/** Nodes over numbers, for tests that are about something else than what a node computes. */
import { type Duration, Effect, Schema } from "effect"
import { Node, type Policy } from "penguiflow"

/** A node from a number to a number. */
export const number = <const Name extends string, E extends Policy.Tagged = never, R = never>(
  name: Name,
  run: (n: number, context: Node.NodeContext) => Effect.Effect<number, E, R>,
  policy?: Policy.Policy<Policy.Tagged>
) => Node.make(name, { input: Schema.Number, output: Schema.Number, policy, run })

/** Adds to its input, at once. */
export const add = <const Name extends string>(name: Name, amount: number) =>
  number(name, (n) => Effect.succeed(n + amount))

/** Gives its input after a while. */
export const late = <const Name extends string>(name: Name, duration: Duration.Input) =>
  number(name, (n) => Effect.as(Effect.sleep(duration), n))

/** Never ends by itself, and can be interrupted. */
export const never = <const Name extends string>(name: Name) => number(name, () => Effect.never)

/** The error that test nodes fail with. */
export class Bad extends Schema.TaggedError<Bad>()("Bad", { n: Schema.Number }) {}

/** Fails with {@link Bad}, at once. */
export const failing = <const Name extends string>(name: Name) => number(name, (n) => Effect.fail(new Bad({ n })))
