/** The migration behind HTTP: callers see one endpoint, whichever side answers. */
import { NodeHttpServer } from "@effect/platform-node"
import { Context, Effect, Layer, Schema, SubscriptionRef } from "effect"
import { HttpRouter } from "effect/http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema
} from "effect/http-api"
import { createServer } from "node:http"
import * as Migration from "penguiflow/Migration"
import { RawLine } from "../corpus/address.ts"
import { Enriched, type make, type Switch } from "./migration.ts"

export class Rejected extends Schema.TaggedError<Rejected>()("Rejected", { reason: Schema.String }, {
  httpApiStatus: 422
}) {}
export class NoReport extends Schema.TaggedError<NoReport>()("NoReport", { reason: Schema.String }, {
  httpApiStatus: 503
}) {}

const Html = Schema.String.pipe(HttpApiSchema.asText({ contentType: "text/html; charset=utf-8" }))

export const Api = HttpApi.make("enrichment").add(
  HttpApiGroup.make("enrichment")
    .add(HttpApiEndpoint.post("enrich", "/enrich", { payload: RawLine, success: Enriched, error: Rejected }))
    .add(HttpApiEndpoint.put("switch", "/mode", {
      payload: Schema.Struct({
        mode: Migration.Mode,
        share: Schema.optionalKey(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })))
      }),
      success: HttpApiSchema.NoContent
    }))
    .add(HttpApiEndpoint.get("report", "/report", { success: Migration.Report, error: NoReport }))
    .add(HttpApiEndpoint.get("page", "/report.html", { success: Html, error: NoReport }))
).middleware(HttpApiMiddleware.ProblemDetails)

/** The running migration, and what it is switched by. */
export class Enrichment extends Context.Service<Enrichment, {
  readonly migration: Effect.Success<ReturnType<typeof make>>
  readonly settings: Switch
}>()("examples/migration/Enrichment") {}

/** What must hold before the switch. The flow may take longer: it embeds, which the old one never did. */
export const thresholds: Migration.Thresholds = { matchRate: 0.98, latencyRatio: 25 }

const handlers = HttpApiBuilder.group(Api, "enrichment", (handlers) =>
  handlers.handleAll({
    enrich: ({ payload }) =>
      Effect.gen(function*() {
        const { migration } = yield* Enrichment
        return yield* migration.run(payload, { traceId: `line-${payload.line}` })
      }).pipe(Effect.catch((error) => new Rejected({ reason: messageOf(error) }))),
    switch: ({ payload }) =>
      Effect.gen(function*() {
        const { settings } = yield* Enrichment
        if (payload.share !== undefined) yield* SubscriptionRef.set(settings.share, payload.share)
        yield* SubscriptionRef.set(settings.mode, payload.mode)
      }),
    report: () => reportOf,
    page: () => Effect.map(reportOf, Migration.toHtml)
  }))

const reportOf = Effect.flatMap(
  Enrichment,
  ({ migration }) => Effect.mapError(migration.report(thresholds), (error) => new NoReport({ reason: error.message }))
)

const messageOf = (error: unknown): string => error instanceof Error ? error.message : "it can't be enriched"

/** Serves on this port of this machine, or on any that is free for 0. */
export const serve = (port: number) =>
  HttpRouter.serve(
    HttpApiBuilder.layer(Api).pipe(
      Layer.provide(handlers),
      Layer.provide(HttpApiMiddleware.layerProblemDetails({ includeDetails: true }))
    ),
    { disableLogger: true, disableListenLog: true }
  ).pipe(Layer.provideMerge(NodeHttpServer.layer(() => createServer(), { host: "127.0.0.1", port })))
