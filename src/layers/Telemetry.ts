/**
 * Telemetry as others read it: OTLP to a collector, and Prometheus' text.
 *
 * Both are effect's own (`effect/observability`), with the observers that fill them.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import type * as HttpClient from "effect/http/HttpClient"
import type * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Otlp from "effect/observability/Otlp"
import type * as OtlpExporter from "effect/observability/OtlpExporter"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as MetricsObserver from "./MetricsObserver.ts"
import * as SpanObserver from "./SpanObserver.ts"

/** Where telemetry is sent, and as what. */
export interface OtlpOptions {
  /** Of the collector, `/v1/traces`, `/v1/metrics` and `/v1/logs` are added: `http://127.0.0.1:4318`. */
  readonly baseUrl: string
  readonly serviceName: string
  readonly serviceVersion?: string | undefined
  /** Sent with every request: a token, for one. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Default `"json"`. */
  readonly encoding?: "json" | "protobuf" | undefined
  /** How often what has gathered is sent; default: logs each second, spans every 5 and metrics every 10 seconds. */
  readonly exportInterval?: Duration.Input | undefined
  /** How long the layer's end waits for the last of it; default 3 seconds. */
  readonly shutdownTimeout?: Duration.Input | undefined
  readonly metrics?: MetricsObserver.Options | undefined
  readonly spans?: SpanObserver.Options | undefined
}

/**
 * Sends spans, metrics and logs of what runs under it to an OpenTelemetry collector, by fetch.
 *
 * What is sent is whatever effect knows of, and of flows what `SpanObserver` and `MetricsObserver` make. A collector that
 * fails or is not there costs the flows nothing: what can't be sent in three tries is dropped, and for a minute nothing
 * is gathered. The layer's end sends the rest, within `shutdownTimeout`. `OtlpExporter.Flusher` sends at once.
 */
export const layerOtlp = (options: OtlpOptions): Layer.Layer<OtlpExporter.Flusher> =>
  Layer.provide(layerOtlpNoClient(options), FetchHttpClient.layer)

/** The same by an `HttpClient` of one's own: with a proxy, a certificate, or for a test. */
export const layerOtlpNoClient = (
  options: OtlpOptions
): Layer.Layer<OtlpExporter.Flusher, never, HttpClient.HttpClient> => {
  const { baseUrl, exportInterval, headers, serviceName, serviceVersion, shutdownTimeout } = options
  const otlp = (options.encoding === "protobuf" ? Otlp.layerProtobuf : Otlp.layerJson)({
    baseUrl,
    resource: { serviceName, serviceVersion },
    headers,
    shutdownTimeout,
    tracerExportInterval: exportInterval,
    metricsExportInterval: exportInterval,
    loggerExportInterval: exportInterval
  })
  // Observers above the exporters: they end first, so that the spans they end are still sent.
  return Layer.provideMerge(
    Layer.merge(SpanObserver.layer(options.spans), MetricsObserver.layer(options.metrics)),
    otlp
  )
}

/** What `/metrics` gives. */
export interface PrometheusOptions extends PrometheusMetrics.FormatOptions {
  /** Default `/metrics`. */
  readonly path?: HttpRouter.PathInput | undefined
  readonly metrics?: MetricsObserver.Options | undefined
}

/**
 * A route of an `HttpRouter` that gives all metrics as Prometheus' text, and the observer that counts flows.
 *
 * Runtimes must be made under the layer to be counted. It asks for no credentials: what else the router stands behind
 * is what guards it.
 */
export const layerPrometheus = (options?: PrometheusOptions): Layer.Layer<never, never, HttpRouter.HttpRouter> => {
  const { metrics, ...http } = options ?? {}
  return Layer.merge(MetricsObserver.layer(metrics), PrometheusMetrics.layerHttp(http))
}

/** All metrics as Prometheus' text, version 0.0.4. */
export const prometheus = (options?: PrometheusMetrics.FormatOptions): Effect.Effect<string> =>
  PrometheusMetrics.format(options)
