/** What a request is refused with: a status, and a body that says what and where in one line. Never a stack or the input. */
import * as Cause from "effect/Cause"
import * as Response from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"
import { type FlowError, type FlowErrorCode, isFlowError } from "../../FlowError.ts"
import { isJobError, type JobError, type JobErrorCode } from "../../JobError.ts"
import type { ReportsError } from "../../Migration.ts"
import { failedAt } from "../../Trace.ts"
import { TraceStoreError } from "../../TraceStore.ts"
import { oneLine } from "../cli/text.ts"
import type { FlowCodecs } from "../schemas.ts"
import { messageOf, tagOf } from "../text.ts"
import { jsonText } from "./json.ts"

/** The body of every refusal. */
export interface ErrorBody {
  /** One line. */
  readonly error: string
  /** Stays the same: a code of `FlowError` or `JobError`, one of this interface, or the `_tag` of a node's own error. */
  readonly code: string
  /** Where in the input, or which parameter. */
  readonly path?: string
  readonly traceId?: string
  readonly node?: string
  /** A node's own error as its schema encodes it, where it declares one. */
  readonly detail?: Schema.Json
}

/** The schema of {@link ErrorBody}. */
export const ErrorBody: Schema.Codec<ErrorBody> = Schema.Struct({
  error: Schema.String,
  code: Schema.String,
  path: Schema.optionalKey(Schema.String),
  traceId: Schema.optionalKey(Schema.String),
  node: Schema.optionalKey(Schema.String),
  detail: Schema.optionalKey(Schema.Json)
})

/** A request that is not answered with what it asked for. */
export class Refusal {
  readonly _tag = "Refusal"
  readonly status: number
  readonly body: ErrorBody
  readonly headers: Readonly<Record<string, string>>
  constructor(status: number, body: ErrorBody, headers: Readonly<Record<string, string>> = {}) {
    this.status = status
    this.body = body
    this.headers = headers
  }
}

/** A refusal in a code and one line. */
export const refusal = (status: number, code: string, error: string, more?: Partial<ErrorBody>): Refusal =>
  new Refusal(status, { error: oneLine(error), code, ...more })

/** The answer that a refusal is. */
export const toResponse = (refused: Refusal): Response.HttpServerResponse =>
  Response.text(jsonText(refused.body) ?? "{}", {
    status: refused.status,
    contentType: "application/json",
    headers: { "cache-control": "no-store", ...refused.headers }
  })

/** What of a trace is known where it failed. */
export interface Failed {
  readonly traceId: string
  readonly codecs: FlowCodecs
  /** Whether a node of this name gets the message itself. */
  readonly isIngress: (node: string) => boolean
}

/** The refusal that the failure of a trace is. */
export const ofTrace = (cause: Cause.Cause<unknown>, failed: Failed): Refusal => {
  if (Cause.hasInterruptsOnly(cause)) {
    return refusal(503, "INTERRUPTED", "The server stopped the trace before it ended", { traceId: failed.traceId })
  }
  const error = Cause.squash(cause)
  const node = (isFlowError(error) ? error.node : undefined) ?? failedAt(cause)?.node
  const where = { traceId: failed.traceId, ...(node === undefined ? {} : { node }) }
  if (isFlowError(error)) return ofFlowError(error, node, failed, where)
  if (Cause.hasDies(cause) && !Cause.hasFails(cause)) return died(where)
  const encoded = failed.codecs.encodeError(error)
  const detail = encoded._tag === "Success" ? { detail: encoded.value as Schema.Json } : {}
  return refusal(422, tagOf(error).slice(0, 200), messageOf(error), { ...where, ...detail })
}

/** The refusal that an error of a queue is. */
export const ofJob = (error: JobError): Refusal => {
  const { reason } = error
  const path = "path" in reason ? { path: reason.path } : "option" in reason ? { path: reason.option } : {}
  return new Refusal(
    jobStatus[error.code] ?? 500,
    { error: oneLine(error.message), code: error.code, ...path },
    reason._tag === "QueueFull" ? { "retry-after": String(Math.max(1, Math.ceil(reason.retryAfterMs / 1000))) } : {}
  )
}

/** The refusal that an error of a store of traces or reports is. */
export const ofStore = (error: TraceStoreError | ReportsError | FlowError): Refusal => {
  if (isFlowError(error)) return refusal(flowStatus[error.code], error.code, error.message)
  if (!(error instanceof TraceStoreError) || error.kind === "StoreFailed") {
    return refusal(503, "STORE_UNAVAILABLE", "The store does not answer: try again later")
  }
  return error.kind === "NotStored"
    ? refusal(404, "TRACE_NOT_FOUND", error.message)
    : refusal(409, storeCodes[error.kind], error.message)
}

/** The refusal that any failure of a handler is: nothing of an unknown one is told. */
export const ofUnknown = (error: unknown): Refusal =>
  error instanceof Refusal
    ? error
    : isJobError(error)
    ? ofJob(error)
    : refusal(500, "INTERNAL", "The server failed at this request: its log says why")

// ----------------------------------------------------------------------------------------------------------- internals

const flowStatus: { readonly [Code in FlowErrorCode]: number } = {
  NODE_TIMEOUT: 504,
  NODE_EXCEPTION: 500,
  INVALID_INPUT: 500,
  INVALID_OUTPUT: 500,
  INVALID_META: 400,
  DUPLICATE_TRACE: 409,
  TRACE_CANCELLED: 499,
  DEADLINE_EXCEEDED: 504,
  HOP_BUDGET_EXHAUSTED: 500,
  TOKEN_BUDGET_EXHAUSTED: 500,
  JOIN_INCOMPLETE: 500,
  NO_RESULT: 500,
  MANY_RESULTS: 500,
  SHUTTING_DOWN: 503
}

const jobStatus: { readonly [Code in JobErrorCode]?: number } = {
  INVALID_PAYLOAD: 400,
  PAYLOAD_TOO_LARGE: 413,
  PAYLOAD_TOO_DEEP: 400,
  INVALID_OPTIONS: 400,
  ID_CONFLICT: 409,
  QUEUE_FULL: 429,
  JOB_NOT_FOUND: 404,
  QUEUE_UNAVAILABLE: 503
}

const storeCodes = {
  NotRecorded: "INPUT_NOT_RECORDED",
  Concealed: "INPUT_CONCEALED",
  InputChanged: "INPUT_CHANGED"
} as const

const ofFlowError = (
  error: FlowError,
  node: string | undefined,
  failed: Failed,
  where: Partial<ErrorBody>
): Refusal => {
  switch (error.reason._tag) {
    case "NodeDied":
      return died(where)
    case "InvalidInput":
      // What a node in the middle refuses is not the caller's fault.
      return node === undefined || failed.isIngress(node)
        ? refusal(400, error.code, error.message, { ...where, ...pathIn(error.reason.issue) })
        : refusal(500, error.code, error.message, where)
    case "InvalidMeta":
      return refusal(400, error.code, error.message, { ...where, path: error.reason.key })
    default:
      return refusal(flowStatus[error.code], error.code, error.message, where)
  }
}

const died = (where: Partial<ErrorBody>): Refusal =>
  refusal(
    500,
    "NODE_EXCEPTION",
    `A node died of what it should not have met: the server's log or its traces say of what`,
    where
  )

/** The place that the words of a schema's issue name: `["items"][0]["id"]` as `items[0].id`. */
export const pathIn = (issue: string): { readonly path?: string } => {
  const [, found] = / at ((?:\["(?:[^"\\]|\\.)*"\]|\[\d+\])+)/.exec(` ${issue}`) ?? []
  if (found === undefined) return {}
  const path = found.replaceAll(/\["((?:[^"\\]|\\.)*)"\]/g, ".$1").replace(/^\./, "")
  return { path: path.slice(0, 200) }
}
