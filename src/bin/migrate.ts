/** What `penguiflow migrate` does. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type * as Terminal from "effect/Terminal"
import * as fs from "node:fs"
import * as FlowCli from "../FlowCli.ts"
import * as MigrationReportsSql from "../layers/MigrationReportsSql.ts"
import * as Migration from "../Migration.ts"
import { answering, refused } from "./answer.ts"
import type * as Commands from "./commands/migrate.ts"
import * as Places from "./places.ts"

export const report = (asked: Commands.Asked): Effect.Effect<void, FlowCli.Ended, Stdio.Stdio | Terminal.Terminal> =>
  answering(
    Effect.gen(function*() {
      const place = yield* Places.databaseOf(asked, { create: false })
      const now = yield* Clock.currentTimeMillis
      const found = yield* Effect.provide(
        Migration.report(asked.name, {
          from: Option.getOrUndefined(Option.map(asked.since, (since) => now - Duration.toMillis(since))),
          matchRate: Option.getOrUndefined(asked.matchRate),
          latencyRatio: Option.getOrUndefined(asked.latencyRatio),
          compared: Option.getOrUndefined(asked.compared)
        }),
        MigrationReportsSql.layer.pipe(Layer.provide(Places.sql(place)))
      )
      if (found.to === 0) {
        return yield* refused(
          `nothing is known of a migration ${JSON.stringify(asked.name.slice(0, 80))}${
            Option.isSome(asked.since) ? " in this time" : ""
          }: is it the right name and database?`
        )
      }
      const text = asked.format === "html"
        ? Migration.toHtml(found)
        : asked.format === "json"
        ? FlowCli.ndjson(found) ?? ""
        : `${Migration.toText(found)}\n`
      if (Option.isNone(asked.out)) return yield* FlowCli.print(Stream.make(text))
      const file = asked.out.value
      yield* Effect.try({
        try: () => fs.writeFileSync(file, text),
        catch: (cause) => `${file}: can't be written: ${Places.codeOf(cause) ?? "unknown reason"}`
      }).pipe(
        Effect.catch((words) => Effect.andThen(FlowCli.say(`✗ ${words}`), Effect.fail(new FlowCli.Ended({ code: 1 }))))
      )
    }),
    asked
  )
