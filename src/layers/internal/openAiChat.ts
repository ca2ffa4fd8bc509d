/** Effect's prompts and answers in the words of OpenAI's chat completions, and back. */
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as OpenAiStructuredOutput from "effect/ai/OpenAiStructuredOutput"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import * as Base64 from "effect/encoding/Base64"
import { count, field } from "./openAi.ts"

/** Something that this API has no word for. */
export class Unsupported extends Error {}
/** The model will not answer that. */
export class Refused extends Error {}
/** An answer that does not keep to the API. */
export class Malformed extends Error {}

/** The body of a request, without model and parameters. Throws {@link Unsupported}. */
export const toRequest = (options: LanguageModel.ProviderOptions): Record<string, unknown> => ({
  messages: options.prompt.content.flatMap(toMessages),
  ...(options.tools.length === 0 ? {} : {
    tools: options.tools.map(toTool),
    tool_choice: toChoice(options.toolChoice)
  }),
  ...(options.responseFormat.type === "text" ? {} : {
    response_format: {
      type: "json_schema",
      json_schema: {
        name: options.responseFormat.objectName,
        strict: true,
        schema: OpenAiStructuredOutput.toCodecOpenAI(options.responseFormat.schema).jsonSchema
      }
    }
  })
})

/** The parts of a whole answer. Throws {@link Malformed} and {@link Refused}. */
export const fromCompletion = (json: unknown): Array<Response.PartEncoded> => {
  const choice: unknown = Reflect.get(Object(field(json, "choices")), 0)
  const message = field(choice, "message")
  if (typeof message !== "object" || message === null) {
    throw new Malformed("the answer has no choices[0].message. Check baseUrl: it may not be that of a chat API")
  }
  const refusal = field(message, "refusal")
  if (typeof refusal === "string" && refusal !== "") throw new Refused(refusal)
  const content = field(message, "content")
  if (content !== null && content !== undefined && typeof content !== "string") {
    throw new Malformed("choices[0].message.content is not text")
  }
  const calls = field(message, "tool_calls")
  const parts: Array<Response.PartEncoded> = []
  if (typeof content === "string" && content !== "") parts.push({ type: "text", text: content })
  for (const call of Array.isArray(calls) ? calls : []) {
    parts.push(
      toCall(field(call, "id"), field(field(call, "function"), "name"), field(field(call, "function"), "arguments"))
    )
  }
  return [...metadataOf(json), ...parts, finish(field(choice, "finish_reason"), field(json, "usage"))]
}

/** Collects the events of a stream. */
export interface ChatStream {
  /** What one event adds; `error` where the server says that it can't go on. */
  readonly take: (
    data: string
  ) => { readonly parts: ReadonlyArray<Response.StreamPartEncoded>; readonly error: string | undefined }
  /** Whether the server has said that this is all. */
  readonly isComplete: () => boolean
  /** What is known only at the end: tool calls, the reason, the usage. */
  readonly end: () => ReadonlyArray<Response.StreamPartEncoded>
}

/** For one stream. */
export const makeStream = (): ChatStream => {
  const id = "0"
  const calls = new Map<number, { id: unknown; name: string; args: string }>()
  let begun = false
  let text = false
  let refusal = ""
  let reason: unknown
  let usage: unknown
  let done = false
  return {
    take: (data) => {
      if (data === "[DONE]") {
        done = true
        return { parts: [], error: undefined }
      }
      let json: unknown
      try {
        json = JSON.parse(data)
      } catch {
        throw new Malformed("an event of the stream is not JSON")
      }
      const failure = field(json, "error")
      if (failure !== undefined && failure !== null) {
        const said = field(failure, "message") ?? failure
        return { parts: [], error: typeof said === "string" ? said : "it does not say why" }
      }
      const parts: Array<Response.StreamPartEncoded> = begun ? [] : metadataOf(json)
      begun = true
      usage = field(json, "usage") ?? usage
      const choice: unknown = Reflect.get(Object(field(json, "choices")), 0)
      reason = field(choice, "finish_reason") ?? reason
      const delta = field(choice, "delta")
      const content = field(delta, "content")
      const refused = field(delta, "refusal")
      if (typeof refused === "string") refusal += refused
      if (typeof content === "string" && content !== "") {
        if (!text) parts.push({ type: "text-start", id })
        text = true
        parts.push({ type: "text-delta", id, delta: content })
      }
      const more = field(delta, "tool_calls")
      for (const [i, call] of (Array.isArray(more) ? more : []).entries()) {
        const index = count(field(call, "index")) ?? i
        const known = calls.get(index) ?? { id: undefined, name: "", args: "" }
        const name = field(field(call, "function"), "name")
        const args = field(field(call, "function"), "arguments")
        calls.set(index, {
          id: field(call, "id") ?? known.id,
          name: known.name + (typeof name === "string" ? name : ""),
          args: known.args + (typeof args === "string" ? args : "")
        })
      }
      return { parts, error: undefined }
    },
    isComplete: () => done || (reason !== undefined && reason !== null),
    end: () => {
      if (refusal !== "") throw new Refused(refusal)
      const parts: Array<Response.StreamPartEncoded> = text ? [{ type: "text-end", id }] : []
      for (const [, call] of [...calls].toSorted(([a], [b]) => a - b)) parts.push(toCall(call.id, call.name, call.args))
      return [...parts, finish(reason, usage)]
    }
  }
}

// ----------------------------------------------------------------------------------------------------------- internals

const toMessages = (message: Prompt.Message): ReadonlyArray<Record<string, unknown>> => {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }]
    case "user": {
      const parts = message.content.map((part) =>
        part.type === "text"
          ? { type: "text", text: part.text }
          : { type: "image_url", image_url: { url: toUrl(part) } }
      )
      const isText = message.content.every((part) => part.type === "text")
      return [{
        role: "user",
        content: isText ? message.content.map((part) => part.type === "text" ? part.text : "").join("") : parts
      }]
    }
    case "assistant": {
      const text = message.content.map((part) => part.type === "text" ? part.text : "").join("")
      const calls = message.content.flatMap((part) =>
        part.type !== "tool-call" ? [] : [{
          id: part.id,
          type: "function",
          function: { name: part.name, arguments: JSON.stringify(part.params ?? {}) }
        }]
      )
      return [{
        role: "assistant",
        content: text === "" && calls.length > 0 ? null : text,
        ...(calls.length === 0 ? {} : { tool_calls: calls })
      }]
    }
    case "tool":
      return message.content.flatMap((part) =>
        part.type !== "tool-result" ? [] : [{
          role: "tool",
          tool_call_id: part.id,
          content: part.modelOutput !== undefined
            ? Prompt.toolModelOutputToText(part.modelOutput)
            : typeof part.result === "string"
            ? part.result
            : JSON.stringify(part.result ?? null)
        }]
      )
  }
}

const toUrl = (part: Prompt.FilePart): string => {
  if (!part.mediaType.startsWith("image/")) {
    throw new Unsupported(`a file of type ${part.mediaType} can't be sent to this API: only text and images can`)
  }
  if (part.data instanceof URL) return part.data.href
  if (typeof part.data !== "string") return `data:${part.mediaType};base64,${Base64.encode(part.data)}`
  return /^(https?|data):/.test(part.data) ? part.data : `data:${part.mediaType};base64,${part.data}`
}

const toTool = (tool: Tool.Any): Record<string, unknown> => {
  if (Tool.isProviderDefined(tool)) {
    throw new Unsupported(`the tool ${tool.name} is one of a provider's own, which this API does not have`)
  }
  const description = Tool.getDescription(tool)
  const strict = Tool.getStrictMode(tool)
  return {
    type: "function",
    function: {
      name: tool.name,
      ...(description === undefined ? {} : { description }),
      parameters: Tool.getJsonSchema(tool, { transformer: OpenAiStructuredOutput.toCodecOpenAI }),
      ...(strict === undefined ? {} : { strict })
    }
  }
}

const toChoice = (choice: LanguageModel.ToolChoice<string>): unknown =>
  typeof choice === "string"
    ? choice
    : "tool" in choice
    ? { type: "function", function: { name: choice.tool } }
    : choice.mode ?? "auto"

const toCall = (id: unknown, name: unknown, args: unknown): Response.ToolCallPartEncoded => {
  if (typeof name !== "string" || name === "") throw new Malformed("a tool call has no name")
  if (typeof id !== "string" || id === "") throw new Malformed(`the call of the tool ${name} has no id`)
  try {
    const params: unknown = args === "" || args === undefined || args === null
      ? {}
      : Tool.unsafeSecureJsonParse(String(args))
    return { type: "tool-call", id, name, params }
  } catch {
    throw new Malformed(`the arguments for the tool ${name} are not JSON`)
  }
}

const metadataOf = (json: unknown): Array<Response.ResponseMetadataPartEncoded> => {
  const [id, model] = [field(json, "id"), field(json, "model")]
  return [{
    type: "response-metadata",
    ...(typeof id === "string" ? { id } : {}),
    ...(typeof model === "string" ? { modelId: model } : {})
  }]
}

const reasons: Readonly<Record<string, Response.FinishReason>> = {
  stop: "stop",
  length: "length",
  content_filter: "content-filter",
  tool_calls: "tool-calls",
  function_call: "tool-calls"
}

const finish = (reason: unknown, usage: unknown): Response.FinishPartEncoded => {
  const [input, output] = [count(field(usage, "prompt_tokens")), count(field(usage, "completion_tokens"))]
  const cached = count(field(field(usage, "prompt_tokens_details"), "cached_tokens"))
  const reasoning = count(field(field(usage, "completion_tokens_details"), "reasoning_tokens"))
  return {
    type: "finish",
    reason: typeof reason === "string" ? reasons[reason] ?? "other" : "unknown",
    usage: {
      inputTokens: {
        total: input,
        cacheRead: cached,
        cacheWrite: undefined,
        uncached: input === undefined ? undefined : input - Math.min(cached ?? 0, input)
      },
      outputTokens: {
        total: output,
        reasoning,
        text: output === undefined ? undefined : output - Math.min(reasoning ?? 0, output)
      }
    },
    response: undefined
  }
}
