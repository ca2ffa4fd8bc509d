/** What callers say of a job, checked: the one place where a job's limits stand. */
import * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import type { AnySpan } from "effect/Tracer"
import { JobError, type JobErrorReason } from "../../JobError.ts"
import type { EnqueueOptions, Limits } from "../../JobQueue.ts"
import type { NewJob } from "../../JobStore.ts"
import type { FlowCodecs } from "../schemas.ts"
import { traceparentOf } from "../traceparent.ts"
import { bytesOf, canonical, type Fault, faultIn } from "./json.ts"

/** Bytes of an id, a tenant, a topic. */
const maxName = 255
const maxMeta = 16 * 1024
const maxAttempts = 5
/** Milliseconds of a hundred years: later than that is a mistake. */
const longest = 100 * 365 * 24 * 3600 * 1000

export const limitsOf = (limits: Limits): Required<{ readonly [K in keyof Limits]: number }> => ({
  maxPayload: limits.maxPayload ?? 1024 * 1024,
  maxDepth: Math.min(limits.maxDepth ?? 64, 1000),
  maxResult: limits.maxResult ?? 1024 * 1024,
  maxLength: Math.min(limits.maxLength ?? 1_000_000, 100_000_000)
})

type Checked<A> = Exit.Exit<A, JobError>

const fail = (jobId: string | undefined, reason: JobErrorReason, message: string): Exit.Exit<never, JobError> =>
  Exit.fail(new JobError({ jobId, reason, message }))

const badOption = (jobId: string | undefined, option: string, issue: string) =>
  fail(jobId, { _tag: "InvalidOptions", option, issue }, `The job's ${option} can't be taken: ${issue}`)

/** Why a text can't be an id, a tenant or a topic; undefined where it can. */
const badName = (name: unknown): string | undefined =>
  typeof name !== "string"
    ? "it is no text"
    : name === ""
    ? "it is empty"
    : name.length > maxName || bytesOf(name) > maxName
    ? `it is longer than ${maxName} bytes`
    : name.includes("\0")
    ? "it has a NUL character in it"
    : name.isWellFormed()
    ? undefined
    : "it has half of a surrogate pair in it"

/** Whether a text may be asked for as an id: one that is none belongs to no job. */
export const isId = (id: unknown): id is string => badName(id) === undefined

const millisOf = (input: Duration.Input, least: number): number | undefined => {
  const duration = Duration.fromInput(input)
  const millis = duration._tag === "Some" ? Duration.toMillis(duration.value) : Number.NaN
  return millis >= least && millis <= longest ? Math.round(millis) : undefined
}

const faulty = (id: string, fault: Fault, limits: { readonly maxDepth: number; readonly maxPayload: number }) => {
  switch (fault._tag) {
    case "TooLarge":
      return fail(
        id,
        { _tag: "PayloadTooLarge", bytes: fault.bytes, limit: limits.maxPayload },
        `The payload has more than ${limits.maxPayload} bytes: store it elsewhere and give the job its address`
      )
    case "TooDeep":
      return fail(
        id,
        { _tag: "PayloadTooDeep", path: fault.path.slice(0, 1024), limit: limits.maxDepth },
        `The payload is nested more than ${limits.maxDepth} levels deep, or holds itself`
      )
    case "NotJson":
      return fail(
        id,
        { _tag: "InvalidPayload", path: fault.path.slice(0, 1024), issue: `expected JSON, found ${fault.what}` },
        `The payload is not JSON at ${
          fault.path.slice(0, 1024)
        }, where it has ${fault.what}: let the schema of the flow's input encode it`
      )
  }
}

/** A job to be stored, or what is wrong with it. */
export const newJob = (
  flow: string,
  codecs: FlowCodecs,
  input: unknown,
  options: EnqueueOptions,
  limits: { readonly maxDepth: number; readonly maxPayload: number },
  makeId: () => string,
  span: AnySpan | undefined
): Checked<NewJob> => {
  const id = options.id ?? makeId()
  const issue = badName(id)
  if (issue !== undefined) return badOption(undefined, "id", issue)
  const { headers } = options
  const tenant = headers?.tenant ?? "default"
  const topic = headers?.topic
  const noTenant = badName(tenant)
  if (noTenant !== undefined) return badOption(id, "headers.tenant", noTenant)
  const noTopic = topic === undefined ? undefined : badName(topic)
  if (noTopic !== undefined) return badOption(id, "headers.topic", noTopic)
  const priority = options.priority ?? headers?.priority ?? 0
  if (!Number.isSafeInteger(priority) || Math.abs(priority) > 1_000_000) {
    return badOption(id, "priority", "it takes a whole number from -1 000 000 to 1 000 000")
  }
  const attempts = options.maxAttempts ?? maxAttempts
  if (!Number.isSafeInteger(attempts) || attempts < 1 || attempts > 1_000_000) {
    return badOption(id, "maxAttempts", "it takes a whole number from 1 to 1 000 000")
  }
  const delayMs = options.delay === undefined ? 0 : millisOf(options.delay, 0)
  if (delayMs === undefined) return badOption(id, "delay", "it takes a duration from 0 to a hundred years")
  const timeoutMs = options.timeout === undefined ? undefined : millisOf(options.timeout, 1)
  if (options.timeout !== undefined && timeoutMs === undefined) {
    return badOption(id, "timeout", "it takes a duration above 0")
  }
  const meta = options.meta ?? undefined
  const noMeta = meta === undefined ? undefined : faultIn(meta, "meta", { maxBytes: maxMeta, maxDepth: 64 }, true)
  if (noMeta !== undefined) {
    return noMeta._tag === "TooLarge"
      ? badOption(id, "meta", `it has more than ${maxMeta} bytes`)
      : badOption(
        id,
        noMeta.path.slice(0, 255),
        "it is not JSON: what has a life of its own is a service, provided by a Layer"
      )
  }
  // Before the schema looks at it: no schema is asked to walk what is too large, too deep or endless.
  const walk = { maxBytes: limits.maxPayload, maxDepth: limits.maxDepth }
  const heavy = faultIn(input, "payload", walk, false)
  if (heavy !== undefined) return faulty(id, heavy, limits)
  const encoded = codecs.encodeInput(input)
  if (encoded._tag === "Failure") {
    const reason = encoded.cause.reasons[0]
    const words = reason?._tag === "Fail" ? reason.error : "it can't be encoded"
    return fail(
      id,
      { _tag: "InvalidPayload", path: pathIn(words), issue: words },
      `The payload does not fit what the flow "${flow}" takes: ${words}`
    )
  }
  const fault = faultIn(encoded.value, "payload", walk, true)
  if (fault !== undefined) return faulty(id, fault, limits)
  if (encoded.value === undefined) return faulty(id, { _tag: "NotJson", path: "payload", what: "undefined" }, limits)
  const payload = canonical(encoded.value)
  const bytes = bytesOf(payload)
  if (bytes > limits.maxPayload) return faulty(id, { _tag: "TooLarge", bytes }, limits)
  return Exit.succeed({
    id,
    flow,
    payload,
    tenant,
    topic,
    priority,
    meta: span !== undefined
      ? canonical({ traceparent: traceparentOf(span), ...meta })
      : meta === undefined
      ? "{}"
      : canonical(meta),
    delayMs,
    maxAttempts: attempts,
    timeoutMs
  })
}

/** `Expected number at ["a"][0]` tells of `payload["a"][0]`. */
const pathIn = (words: string): string => {
  const at = /\bat ((?:\[[^\]]*\])+)/.exec(words)
  return `payload${at?.[1] ?? ""}`.slice(0, 1024)
}
