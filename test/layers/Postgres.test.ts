import { describe } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Postgres from "penguiflow/layers/Postgres"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { sqlClientSuite } from "./SqlClientSuite.ts"

describe.skipIf(!PostgresServer.available)("Postgres", () => {
  sqlClientSuite(
    "a real server",
    Layer.unwrap(Effect.map(PostgresServer.start(), (server) => Postgres.layer({ url: server.url })))
  )
})
