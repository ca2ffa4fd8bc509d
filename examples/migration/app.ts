/** What the migration runs on: three databases, the corpus, and a client of its own endpoint. */
import { Effect, Layer } from "effect"
import { HttpClient, HttpClientRequest, HttpServer } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import { join } from "node:path"
import * as MigrationReportsSql from "penguiflow/layers/MigrationReportsSql"
import * as Sqlite from "penguiflow/layers/Sqlite"
import type { RawLine } from "../corpus/address.ts"
import * as Services from "../corpus/services.ts"
import * as Store from "../corpus/store.ts"
import { Api, Enrichment } from "./http.ts"
import { initLegacy, make, makeSwitch } from "./migration.ts"

/** The databases: the flow's own, with the reports in it; the shadow's and the old one's are made beside it. */
export const live = (databases: string, lines: ReadonlyArray<RawLine>) =>
  Layer.merge(Store.layer, MigrationReportsSql.layer).pipe(
    Layer.provideMerge(Layer.merge(Services.layer(lines), Sqlite.layer({ filename: join(databases, "flow.sqlite") })))
  )

/** Both sides, ready to be called. */
export const enrichment = (databases: string) =>
  Layer.effect(
    Enrichment,
    Effect.gen(function*() {
      yield* initLegacy(join(databases, "legacy.sqlite"))
      const settings = yield* makeSwitch
      const migration = yield* make(settings, join(databases, "shadow.sqlite"))
      return Enrichment.of({ migration, settings })
    })
  )

/** A client of the server that runs here. */
export const clientOf = Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  const port = address._tag === "UnixPathAddress" ? 0 : address.port
  return yield* HttpApiClient.make(Api, {
    transformClient: HttpClient.mapRequest(HttpClientRequest.prependUrl(`http://127.0.0.1:${port}`))
  })
})
