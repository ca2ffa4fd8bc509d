/** How jobs end, in the words in which it is stored, and back. */
import type * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type * as Schema from "effect/Schema"
import { FlowError, type FlowErrorReason } from "../../FlowError.ts"
import { JobError, type JobErrorReason } from "../../JobError.ts"
import type { Failure, JobRecord } from "../../JobStore.ts"
import type { FlowCodecs } from "../schemas.ts"
import { cut, messageOf, tagOf } from "../text.ts"
import { failureOf } from "../trace.ts"
import { bytesOf, canonical, faultIn } from "./json.ts"

/** What a stored error may weigh: more of it is left out, its words stay. */
const maxDetail = 64 * 1024

const detailOf = (value: unknown): string | undefined => {
  if (value === undefined) return undefined
  if (faultIn(value, "error", { maxBytes: maxDetail, maxDepth: 64 }, true) !== undefined) return undefined
  const text = canonical(value)
  return bytesOf(text) > maxDetail ? undefined : text
}

/** JSON is text without NUL, and so is what a database takes. */
const clean = (text: string): string => cut(text.replaceAll("\0", "\uFFFD")).toWellFormed()

/** A reason of the runtime as JSON: of a defect, its words. */
const plainReason = (reason: FlowErrorReason): unknown =>
  reason._tag === "NodeDied" ? { _tag: reason._tag, defect: clean(messageOf(reason.defect)) } : reason

/** A failure that belongs to the job. */
export const jobFailure = (
  code: Failure["code"],
  message: string,
  reason: JobErrorReason,
  attempt: number
): Failure => ({ code, message: clean(message), node: undefined, attempt, detail: detailOf(reason), kind: "job" })

/** What a trace failed with, as it is stored; `node` is where, where the error itself does not know. */
export const failureIn = (error: unknown, node: string | undefined, codecs: FlowCodecs, attempt: number): Failure => {
  if (error instanceof FlowError) {
    return {
      code: error.code,
      message: clean(error.message),
      node: error.node,
      attempt,
      detail: detailOf(plainReason(error.reason)),
      kind: "flow"
    }
  }
  const encoded = codecs.encodeError(error)
  return {
    code: clean(tagOf(error)).slice(0, 255),
    message: clean(messageOf(error)),
    node,
    attempt,
    detail: encoded._tag === "Success" ? detailOf(encoded.value) : undefined,
    kind: "node"
  }
}

/** The error in a trace's exit. */
export const errorOf = (cause: Cause.Cause<unknown>): unknown => {
  const failure = failureOf(cause)
  return "error" in failure ? failure.error : failure.defect
}

/** The results of a trace as JSON text, or why they can't be stored. */
export const storeResults = (
  results: ReadonlyArray<unknown>,
  codecs: FlowCodecs,
  maxBytes: number
): Exit.Exit<string, string> => {
  const out: Array<string> = []
  let bytes = 2
  for (const result of results) {
    const encoded = codecs.encodeResult(result)
    if (encoded._tag === "Failure") {
      const reason = encoded.cause.reasons[0]
      return Exit.fail(reason?._tag === "Fail" ? reason.error : "it can't be encoded")
    }
    const fault = faultIn(encoded.value, "result", { maxBytes, maxDepth: 1000 }, true)
    if (fault?._tag === "NotJson") return Exit.fail(`it is not JSON at ${fault.path}: found ${fault.what}`)
    if (fault?._tag === "TooDeep") return Exit.fail(`it is nested too deep at ${fault.path.slice(0, 255)}`)
    const text = fault === undefined ? canonical(encoded.value ?? null) : ""
    bytes += bytesOf(text) + 1
    if (fault !== undefined || bytes > maxBytes) {
      return Exit.fail(`it has more than ${maxBytes} bytes: let the flow store it elsewhere and give its address`)
    }
    out.push(text)
  }
  return Exit.succeed(`[${out.join(",")}]`)
}

const parse = (text: string | undefined): unknown => {
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const traceOf = (record: JobRecord): string => `job-${record.id}`

/** A job's end as its caller sees it. */
export const exitOf = (record: JobRecord, codecs: FlowCodecs): Exit.Exit<unknown, unknown> => {
  if (record.state === "done") return one(record, codecs)
  const failure = record.failure
  const job = (reason: JobErrorReason, message: string) =>
    Exit.fail(new JobError({ jobId: record.id, reason, message }))
  if (record.state === "cancelled") {
    const reason = record.cancelReason
    return job({ _tag: "JobCancelled", reason }, failure?.message ?? cancelWords(reason))
  }
  if (failure === undefined) {
    return job({ _tag: "NodeFailed", tag: "unknown" }, "The job failed, and nothing is known of it")
  }
  const detail = parse(failure.detail)
  switch (failure.kind) {
    case "flow":
      return Exit.fail(
        new FlowError({
          flow: record.flow,
          traceId: traceOf(record),
          node: failure.node,
          attempt: undefined,
          reason: flowReason(detail, failure),
          message: failure.message
        })
      )
    case "node": {
      const decoded = detail === undefined ? undefined : codecs.decodeError(detail)
      return decoded?._tag === "Success"
        ? Exit.fail(decoded.value)
        : job({ _tag: "NodeFailed", tag: failure.code }, failure.message)
    }
    case "job":
      return job(
        (detail as JobErrorReason | undefined) ?? { _tag: "NodeFailed", tag: failure.code },
        failure.message
      )
  }
}

export const cancelWords = (reason: string | undefined): string =>
  reason === undefined ? "The job was cancelled" : `The job was cancelled: ${clean(reason)}`

const flowReason = (detail: unknown, failure: Failure): FlowErrorReason => {
  const reason = detail as FlowErrorReason | undefined
  if (reason === undefined) return { _tag: "NodeDied", defect: new Error(failure.message) }
  return reason._tag === "NodeDied" ? { _tag: "NodeDied", defect: new Error(String(reason.defect)) } : reason
}

const one = (record: JobRecord, codecs: FlowCodecs): Exit.Exit<unknown, unknown> => {
  const results = parse(record.results)
  const all: ReadonlyArray<unknown> = Array.isArray(results) ? results : []
  if (all.length === 1) {
    const decoded = codecs.decodeResult(all[0])
    if (decoded._tag === "Success") return decoded
    const reason = decoded.cause.reasons[0]
    const issue = reason?._tag === "Fail" ? reason.error : "it can't be decoded"
    return Exit.fail(
      new JobError({
        jobId: record.id,
        reason: { _tag: "UnstorableResult", issue },
        message: `The job succeeded, and its stored result does not fit the flow's schema any more: ${issue}`
      })
    )
  }
  const reason: FlowErrorReason = all.length === 0 ? { _tag: "NoResult" } : { _tag: "ManyResults", count: all.length }
  return Exit.fail(
    new FlowError({
      flow: record.flow,
      traceId: traceOf(record),
      node: undefined,
      attempt: undefined,
      reason,
      message: all.length === 0
        ? "The job succeeded and gave no result"
        : `The job succeeded and gave ${all.length} results: \`get\` returns them all`
    })
  )
}

/** JSON text that was written by this library. */
export const jsonOf = (text: string | undefined): Schema.Json | undefined => parse(text) as Schema.Json | undefined
