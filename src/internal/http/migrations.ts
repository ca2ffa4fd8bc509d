/** Endpoints of migrations: their reports. */
import * as Effect from "effect/Effect"
import type * as Response from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Migration from "../../Migration.ts"
import { json } from "./answers.ts"
import { ofStore, type Refusal, refusal } from "./errors.ts"
import type { Hosting } from "./hosting.ts"

type Answer = Effect.Effect<Response.HttpServerResponse, Refusal>

/** `GET /api/migrations` */
export const list = ({ reports, settings }: Hosting): Answer =>
  json({ migrations: Option.isSome(reports) ? settings.migrations : [] })

/** `GET /api/migrations/:name` */
export const report = ({ reports, settings }: Hosting, name: string): Answer =>
  Option.isNone(reports) || !settings.migrations.includes(name)
    ? Effect.fail(
      refusal(404, "MIGRATION_NOT_FOUND", "No migration of this name is served: name it in `migrations`, with a store")
    )
    : Migration.report(name).pipe(
      Effect.provideService(Migration.Reports, reports.value),
      Effect.mapError(ofStore),
      Effect.flatMap((found) =>
        Effect.flatMap(Effect.orDie(Schema.encodeEffect(Migration.Report)(found)), (it) => json(it))
      )
    )
