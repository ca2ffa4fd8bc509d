/** What a module exports, looked for by code that is loaded then. */
import * as Effect from "effect/Effect"
import type * as FlowCli from "../../FlowCli.ts"
import type { Loaded, Names } from "../exports.ts"

/** The flow of a module and its layer. What is wrong is one line on standard error, and the command ends with 2. */
export const load = (
  file: string,
  wanted: Names & { readonly debug: boolean }
): Effect.Effect<Loaded, FlowCli.Ended> =>
  Effect.flatMap(Effect.promise(() => import("../exports.ts")), ({ loadOrEnd }) => loadOrEnd(file, wanted))
