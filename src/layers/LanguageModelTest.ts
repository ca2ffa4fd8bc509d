/**
 * A language model for tests: it answers what a script says, at once, and remembers what it was asked.
 *
 * An answer is a text, a call of tools, a failure, or a function of what was asked. In a stream a text comes word by
 * word. Asked once more than the script has answers, it fails with an `InvalidUserInputError` that says so.
 */
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"

/** One answer. A function gets the text of what was asked, and how many times it was asked before. */
export type Answer =
  | string
  | {
    readonly text?: string | undefined
    readonly tools?:
      | ReadonlyArray<{ readonly name: string; readonly params: unknown; readonly id?: string | undefined }>
      | undefined
    /** What it is said to have cost; default: the number of words in and out. */
    readonly tokens?: { readonly input: number; readonly output: number } | undefined
  }
  | AiError.AiErrorReason
  | ((asked: string, nth: number) => Exclude<Answer, (...args: never) => unknown>)

/** What stands behind {@link Transcript}. */
export interface Service {
  /** The text of everything that was asked, in order. */
  readonly asked: Effect.Effect<ReadonlyArray<string>>
}

const TranscriptBase: Context.ServiceClass<Transcript, "penguiflow/layers/LanguageModelTest/Transcript", Service> =
  Context.Service<Transcript, Service>()("penguiflow/layers/LanguageModelTest/Transcript")

/** What the model was asked. */
export class Transcript extends TranscriptBase {}

/**
 * A model that goes through a script; a function alone answers for ever.
 *
 * @example
 * ```ts runnable
 * import { Effect } from "effect"
 * import { LanguageModel } from "effect/ai"
 * import * as LanguageModelTest from "penguiflow/layers/LanguageModelTest"
 *
 * const program = Effect.gen(function*() {
 *   const first = yield* LanguageModel.generateText({ prompt: "Where do penguins swim?" })
 *   const second = yield* LanguageModel.generateText({ prompt: "Say it again" })
 *   const asked = yield* LanguageModelTest.Transcript.use((transcript) => transcript.asked)
 *   return [first.text, second.text, asked[1]]
 * })
 * const Model = LanguageModelTest.layer(["In the sea.", (asked) => `You said: ${asked}`])
 * await Effect.runPromise(Effect.provide(program, Model)) // => ["In the sea.", "You said: Say it again", "Say it again"]
 * ```
 */
export const layer = (
  script: ReadonlyArray<Answer> | Extract<Answer, (...args: never) => unknown>
): Layer.Layer<LanguageModel.LanguageModel | Transcript> =>
  Layer.effectContext(Effect.gen(function*() {
    const asked: Array<string> = []
    const next = (options: LanguageModel.ProviderOptions, method: string) =>
      Effect.suspend(() => {
        const text = textOf(options)
        const nth = asked.push(text) - 1
        const answer = typeof script === "function" ? script : script[nth]
        const found = typeof answer === "function" ? answer(text, nth) : answer
        if (found === undefined) {
          const reason = new AiError.InvalidUserInputError({
            description: `the script has ${script.length} answers, and this is request ${nth + 1}`
          })
          return Effect.fail(AiError.make({ module, method, reason }))
        }
        if (AiError.isAiErrorReason(found)) return Effect.fail(AiError.make({ module, method, reason: found }))
        const { text: said, tokens, tools } = typeof found === "string" ? { text: found } : { ...empty, ...found }
        return Effect.succeed({
          text: said ?? "",
          calls: (tools ?? []).map((tool, i): Response.ToolCallPartEncoded => ({
            type: "tool-call",
            id: tool.id ?? `call-${nth}-${i}`,
            name: tool.name,
            params: tool.params
          })),
          finish: finish(tokens ?? { input: words(text), output: words(said ?? "") }, (tools ?? []).length > 0)
        })
      })
    const model = yield* LanguageModel.make({
      generateText: (options) =>
        Effect.map(next(options, "generateText"), ({ calls, finish, text }): Array<Response.PartEncoded> => [
          ...(text === "" ? [] : [{ type: "text" as const, text }]),
          ...calls,
          finish
        ]),
      streamText: (options) =>
        Stream.unwrap(Effect.map(next(options, "streamText"), ({ calls, finish, text }) => {
          const deltas = (text.match(/\S+\s*|\s+/g) ?? []).map((delta): Response.StreamPartEncoded => ({
            type: "text-delta",
            id: "0",
            delta
          }))
          const parts: ReadonlyArray<Response.StreamPartEncoded> = [
            ...(deltas.length === 0
              ? []
              : [{ type: "text-start" as const, id: "0" }, ...deltas, { type: "text-end" as const, id: "0" }]),
            ...calls,
            finish
          ]
          return Stream.fromIterable(parts)
        }))
    })
    return Context.make(LanguageModel.LanguageModel, model).pipe(
      Context.add(Transcript, { asked: Effect.sync(() => [...asked]) })
    )
  }))

// ----------------------------------------------------------------------------------------------------------- internals

const module = "LanguageModelTest"
const empty = { text: undefined, tools: undefined, tokens: undefined }

const words = (text: string): number => text.split(/\s+/).filter((word) => word !== "").length

const textOf = (options: LanguageModel.ProviderOptions): string =>
  options.prompt.content.map((message) =>
    typeof message.content === "string"
      ? message.content
      : message.content.map((part) =>
        part.type === "text" ? part.text : part.type === "tool-result" ? JSON.stringify(part.result) : ""
      ).filter((text) => text !== "").join("\n")
  ).join("\n")

const finish = (
  tokens: { readonly input: number; readonly output: number },
  callsTools: boolean
): Response.FinishPartEncoded => ({
  type: "finish",
  reason: callsTools ? "tool-calls" : "stop",
  usage: {
    inputTokens: { total: tokens.input, uncached: tokens.input, cacheRead: undefined, cacheWrite: undefined },
    outputTokens: { total: tokens.output, text: tokens.output, reasoning: undefined }
  },
  response: undefined
})
