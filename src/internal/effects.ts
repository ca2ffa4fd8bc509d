/** Effects whose types have done their work. */
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** What a walk hands to its fiber. */
export type AnyEffect = Effect.Effect<unknown, unknown>

/** Whether an effect is an answer already. The tag is looked at first: most effects have none. */
export const answered = (effect: AnyEffect): effect is Exit.Exit<unknown, unknown> => {
  const tag: unknown = (effect as { readonly _tag?: unknown })._tag
  return (tag === "Success" || tag === "Failure") && Exit.isExit(effect)
}
