/** What answers have cost whom: who asks, and since when, travels in the trace's meta; a second delivery bills nobody twice. */
import { Console, Effect, Layer } from "effect"
import { Flow } from "penguiflow"
import * as CostTracking from "penguiflow/flows/CostTracking"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as UsageSql from "penguiflow/layers/UsageSql"
import * as Usage from "penguiflow/Usage"

const services = UsageSql.layer.pipe(Layer.provide(Sqlite.layer({ filename: ":memory:" })))

const answer = (id: string, user_id: string, tokenCount: number) =>
  Flow.run(CostTracking.flow, { text: "an answer", tokenCount }, {
    traceId: id,
    meta: { user_id, start_time: Date.now() }
  })

const program = Effect.gen(function*() {
  yield* answer("a", "user-456", 10)
  yield* answer("b", "user-456", 20)
  yield* answer("c", "user-123", 12)
  // Delivered again: the same trace, the same key.
  yield* answer("b", "user-456", 20)
  const usage = yield* Usage.Usage
  for (const userId of ["user-123", "user-456"]) {
    const { records, tokens } = yield* usage.totals({ userId })
    yield* Console.log(`${userId} used ${tokens} tokens by ${records} answer${records === 1 ? "" : "s"}`)
  }
})

await Effect.runPromise(Effect.provide(program, services))
