/** A span's place in W3C's words: the `traceparent` header, which is how a span is told to other processes. */
import * as Tracer from "effect/Tracer"

export const traceparentOf = (span: Tracer.AnySpan): string =>
  `00-${span.traceId.padStart(32, "0")}-${span.spanId}-${span.sampled ? "01" : "00"}`

/** The span that a `traceparent` tells of; undefined where it is none. */
export const spanIn = (traceparent: unknown): Tracer.AnySpan | undefined => {
  if (typeof traceparent !== "string") return undefined
  const [, traceId, spanId, flags] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent) ?? []
  return traceId === undefined || spanId === undefined || flags === undefined
    ? undefined
    : Tracer.externalSpan({ traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 })
}
