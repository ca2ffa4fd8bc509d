/** The flow and the layer that a module exports, found by their names or by being the only ones. */
import type * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as fs from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import * as Flow from "../Flow.ts"
import * as FlowCli from "../FlowCli.ts"

const Base: new(fields: { readonly message: string; readonly cause?: unknown }) =>
  & Cause.YieldableError
  & { readonly _tag: "CantLoad"; readonly message: string; readonly cause?: unknown } = Data.TaggedError("CantLoad")

/** What was asked for is not there. */
export class CantLoad extends Base {}

/** A flow and what its nodes need. What a module exports is typed by nobody. */
export interface Loaded {
  readonly flow: Flow.Flow<string, unknown, unknown, unknown, never, unknown>
  readonly layer: Layer.Layer<never, unknown>
}

/** Which of a module's exports are meant. */
export interface Names {
  readonly flow: string | undefined
  /** false: none is needed. */
  readonly layer: string | false | undefined
}

/**
 * Imports a module, which runs it. The flow is the export that is named; else the default export, or `flow` of it; else
 * the export `flow`; else the only flow there is. The layer is found in the same way, and may be missing.
 */
export const load = (file: string, names: Names): Effect.Effect<Loaded, CantLoad> =>
  Effect.flatMap(importModule(file), (exported) =>
    Effect.try({
      try: () => ({
        flow: pick(file, exported, { name: names.flow, what: "flow", is: isFlow }) ?? noFlow(file),
        layer: names.layer === false
          ? Layer.empty
          : pick(file, exported, { name: names.layer, what: "layer", is: isLayer }) ?? Layer.empty
      }),
      catch: (thrown) => thrown instanceof CantLoad ? thrown : new CantLoad({ message: messageOf(thrown) })
    }))

/** Flows of a module, with what their nodes need: those that are named, else all that it exports. */
export interface LoadedAll {
  readonly flows: ReadonlyArray<Loaded["flow"]>
  readonly layer: Loaded["layer"]
}

/** The same of several flows of a module: of those that are named, else of all that there are. */
export const loadAll = (
  file: string,
  names: { readonly flows: ReadonlyArray<string>; readonly layer: string | undefined }
): Effect.Effect<LoadedAll, CantLoad> =>
  Effect.flatMap(importModule(file), (exported) =>
    Effect.try({
      try: () => ({
        flows: names.flows.length === 0 ?
          allFlows(file, exported) :
          names.flows.map((name) => pick(file, exported, { name, what: "flow", is: isFlow }) ?? noFlow(file)),
        layer: pick(file, exported, { name: names.layer, what: "layer", is: isLayer }) ?? Layer.empty
      }),
      catch: (thrown) => thrown instanceof CantLoad ? thrown : new CantLoad({ message: messageOf(thrown) })
    }))

/** The same, for a command: what is wrong is one line on standard error, and the command ends with 2. */
export const loadOrEnd = (
  file: string,
  wanted: Names & { readonly debug: boolean }
): Effect.Effect<Loaded, FlowCli.Ended> => orEnd(load(file, wanted), wanted.debug)

/** What is wrong with a module as one line on standard error, after which the command ends with 2. */
export const orEnd = <A>(loading: Effect.Effect<A, CantLoad>, debug: boolean): Effect.Effect<A, FlowCli.Ended> =>
  Effect.catch(loading, ({ cause, message }) =>
    FlowCli.say(`✗ ${message}`).pipe(
      Effect.andThen(debug && cause !== undefined ? Console.error(cause) : Effect.void),
      Effect.andThen(new FlowCli.Ended({ code: 2 }))
    ))

// ----------------------------------------------------------------------------------------------------------- internals

type Exports = Readonly<Record<string, unknown>>

const importModule = (file: string): Effect.Effect<Exports, CantLoad> =>
  Effect.suspend(() => {
    const found = fs.statSync(file, { throwIfNoEntry: false })
    if (found === undefined) return Effect.fail(new CantLoad({ message: `${file}: there is no such file` }))
    if (!found.isFile()) return Effect.fail(new CantLoad({ message: `${file}: is no file: name a module` }))
    return Effect.tryPromise({
      try: async (): Promise<Exports> => {
        // Compiles schemas, for the whole process: only before any schema is used.
        await import("effect/schema/SchemaJITCompiler/enable")
        return await import(pathToFileURL(path.resolve(file)).href)
      },
      catch: (cause) => new CantLoad({ message: `${file}: can't be imported: ${messageOf(cause)}`, cause })
    })
  })

const messageOf = (cause: unknown): string => {
  try {
    return cause instanceof Error ? cause.message : String(cause)
  } catch {
    return "what it throws can't be read"
  }
}

const isFlow = (value: unknown): value is Loaded["flow"] => {
  if (typeof value !== "object" || value === null) return false
  try {
    Flow.toMermaid(value as Flow.Any)
    return true
  } catch {
    return false
  }
}

const isLayer = (value: unknown): value is Loaded["layer"] => Layer.isLayer(value)

interface Wanted<A> {
  readonly name: string | undefined
  readonly what: "flow" | "layer"
  readonly is: (value: unknown) => value is A
}

const pick = <A>(file: string, exported: Exports, { is, name, what }: Wanted<A>): A | undefined => {
  if (name !== undefined) {
    const named = exported[name]
    if (is(named)) return named
    const all = namesOf(exported, is)
    throw new CantLoad({
      message: `${file}: exports no ${what} "${name}"${all.length === 0 ? "" : `, but ${all.join(", ")}`}`
    })
  }
  const standard = exported["default"]
  if (is(standard)) return standard
  if (typeof standard === "object" && standard !== null && what in standard) {
    const inner: unknown = Reflect.get(standard, what)
    if (is(inner)) return inner
  }
  const own = exported[what]
  if (is(own)) return own
  const all = namesOf(exported, is)
  if (all.length > 1) {
    throw new CantLoad({
      message: `${file}: exports several ${what}s (${all.join(", ")}): choose one by --${what}`
    })
  }
  const value = all[0] === undefined ? undefined : exported[all[0]]
  return is(value) ? value : undefined
}

/** Of all the exports, and of a default export that holds one. */
const allFlows = (file: string, exported: Exports): ReadonlyArray<Loaded["flow"]> => {
  const named = namesOf(exported, isFlow).map((name) => exported[name]).filter(isFlow)
  return named.length > 0
    ? named
    : [pick(file, exported, { name: undefined, what: "flow", is: isFlow }) ?? noFlow(file)]
}

/** Exports that are such, each value once. */
const namesOf = (exported: Exports, is: (value: unknown) => boolean): ReadonlyArray<string> => {
  const seen = new Set<unknown>()
  return Object.entries(exported).flatMap(([name, value]) => {
    if (seen.has(value) || !is(value)) return []
    seen.add(value)
    return [name]
  })
}

const noFlow = (file: string): never => {
  throw new CantLoad({
    message: `${file}: exports no flow: export what Flow.make gives, of the same copy of penguiflow as this command's`
  })
}
