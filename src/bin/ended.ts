/** How a command ends the process: with a code, and nothing more said about it. */
import type * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Runtime from "effect/Runtime"

const Base: new(fields: { readonly code: number }) =>
  & Cause.YieldableError
  & { readonly _tag: "Ended"; readonly code: number } = Data.TaggedError("Ended")

/** The process ends with this code. */
export class Ended extends Base {
  constructor(fields: { readonly code: number }) {
    super(fields)
    Object.assign(this, { [Runtime.errorExitCode]: fields.code, [Runtime.errorReported]: false })
  }
}
