/** The ready-made flows, and the idempotency check that watches them, on a real PostgreSQL. */
import { describe } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Postgres from "penguiflow/layers/Postgres"
import { idempotencySuite } from "../testing/IdempotencySuite.ts"
import * as PostgresServer from "../utils/servers/postgres.ts"
import { flowsSuite } from "./FlowsSuite.ts"

describe.skipIf(!PostgresServer.available)("PostgreSQL", () => {
  const database = (schema: string) =>
    Layer.unwrap(Effect.map(PostgresServer.start(), (server) => Postgres.layer({ url: server.url, schema })))
  flowsSuite("PostgreSQL", database("flows"), { live: true })
  idempotencySuite("PostgreSQL", database("checks"), { live: true })
})
