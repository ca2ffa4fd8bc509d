/** The ready-made flows on a real database, whichever it is. A backend's test file calls it with a layer. */
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { Flow, FlowRuntime, Node } from "penguiflow"
import * as FlowRewrite from "penguiflow/FlowRewrite"
import * as CostTracking from "penguiflow/flows/CostTracking"
import * as Embedding from "penguiflow/flows/Embedding"
import * as Enrichment from "penguiflow/flows/Enrichment"
import * as ItemEnhancement from "penguiflow/flows/ItemEnhancement"
import * as Limits from "penguiflow/flows/Limits"
import * as TopicCreation from "penguiflow/flows/TopicCreation"
import * as Topics from "penguiflow/flows/Topics"
import * as TopicStaging from "penguiflow/flows/TopicStaging"
import * as EmbeddingsTest from "penguiflow/layers/EmbeddingsTest"
import * as UsageSql from "penguiflow/layers/UsageSql"
import * as FlowTest from "penguiflow/testing/FlowTest"
import * as Idempotency from "penguiflow/testing/Idempotency"
import * as Usage from "penguiflow/Usage"
import * as Services from "./services.ts"

const services = Layer.mergeAll(
  Enrichment.layer,
  ItemEnhancement.layer,
  UsageSql.layer,
  TopicCreation.layerRules.pipe(Layer.provideMerge(Topics.layer)),
  EmbeddingsTest.layer,
  Limits.layerTest(100),
  Services.loudModel
).pipe(Layer.provideMerge(Services.tables))

/** What the database holds of one trace. */
const held = (traceId: string) =>
  SqlClient.SqlClient.use((sql) =>
    Effect.map(
      sql<{ readonly topic: string; readonly tenant: string; readonly dimension: string | null }>`
        SELECT t.name AS topic, t.tenant AS tenant, d.name AS dimension FROM topics t
        LEFT JOIN dimensions d ON d.topic_id = t.id WHERE t.request LIKE ${`%/${traceId}/%`} ORDER BY d.name`,
      (rows) => rows.map((row) => `${row.tenant}:${row.topic}:${row.dimension}`)
    )
  )

const noOrphans = SqlClient.SqlClient.use((sql) =>
  Effect.map(
    sql`SELECT * FROM dimensions WHERE topic_id NOT IN (SELECT id FROM topics)`,
    (rows) => assert.deepStrictEqual([...rows], [])
  )
)

/** A service with its calls counted; what it does is the real one's. */
const watchedTopics = Effect.gen(function*() {
  const topics = yield* Topics.Topics
  const calls: Array<string> = []
  const watched = Topics.Topics.of({
    ...topics,
    create: (topic) => (calls.push("create"), topics.create(topic)),
    remove: (topicId) => (calls.push("remove"), topics.remove(topicId))
  })
  return { calls, watched }
})

const request = { topic: "birds", dimensions: ["colour", "size"] }

/** `live`: a database over the network, where a test clock can't tell waiting for an answer from waiting for time. */
export const flowsSuite = <E>(
  backend: string,
  database: Layer.Layer<SqlClient.SqlClient, E>,
  options: { readonly live: boolean }
) =>
  layer(Layer.provideMerge(services, database), { excludeTestServices: options.live })(`flows on ${backend}`, (it) => {
    // ------------------------------------------------------------------------------------------- validate → enrich

    it.effect("enrichment finds the user's context, and the embedding, by fresh services", () =>
      Effect.gen(function*() {
        const { outcome, path } = yield* FlowTest.run(Enrichment.flow, { userId: 7, text: "hello" })
        const [result] = yield* outcome.exit
        assert.deepStrictEqual({ ...result, embedding: result?.embedding.length }, {
          userId: 7,
          text: "hello",
          context: "likes birds",
          embedding: 1536
        })
        assert.deepStrictEqual(path.map((it) => it.node), ["validate", "enrich"])
      }))

    it.effect("enrichment knows no user that is not in the table", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Flow.run(Enrichment.flow, { userId: 8, text: "hello" }))
        assert.strictEqual(error._tag, "UnknownUser")
        assert.match(error.message, /no user 8/)
      }))

    it.effect("enrichment, embedding and item enhancement are pure: they leave nothing in the database", () =>
      Effect.gen(function*() {
        const reports = [
          yield* Idempotency.check(Enrichment.flow, { userId: 7, text: "hello" }),
          yield* Idempotency.check(ItemEnhancement.flow, { itemId: 3 }),
          yield* Idempotency.check(Embedding.one, { text: "hello" }),
          yield* Idempotency.check(Embedding.batch, { texts: ["a", "b"] })
        ]
        assert.deepStrictEqual(reports.map((report) => report.faults), [[], [], [], []])
        assert.deepStrictEqual(reports.map((report) => report.runs.length), [4, 3, 3, 3])
        for (const { tables } of reports) assert.includeMembers([...tables], ["users", "items", "topics", "dimensions"])
      }))

    // ------------------------------------------------------------------------------ database and language model

    it.effect("item enhancement reads the item and gives what the model made of it", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* Flow.run(ItemEnhancement.flow, { itemId: 3 }), { itemId: 3, enhanced: "A BIRD" })
        const error = yield* Effect.flip(Flow.run(ItemEnhancement.flow, { itemId: 4 }))
        assert.strictEqual(error._tag, "UnknownItem")
      }))

    // ------------------------------------------------------------------------------------------------- track cost

    const spent = { text: "an answer", tokenCount: 42 }
    const meta = { user_id: "user-456", start_time: 1_700_000_000_000 }

    it.effect("cost tracking records who, how many tokens and how long, and lets the result pass", () =>
      Effect.gen(function*() {
        if (!options.live) yield* TestClock.setTime(meta.start_time + 1500)
        const result = yield* Flow.run(CostTracking.flow, spent, {
          traceId: "cost-1",
          headers: { tenant: "acme" },
          meta
        })
        assert.deepStrictEqual(result, spent)
        const [record, ...more] = yield* Usage.Usage.use((usage) => usage.list({ traceId: "cost-1" }))
        assert.deepStrictEqual(more, [])
        const { at, durationMs, ...rest } = record!
        assert.deepStrictEqual(rest, {
          key: "cost tracking/cost-1/track_cost",
          userId: "user-456",
          tenant: "acme",
          flow: "cost tracking",
          node: "track_cost",
          traceId: "cost-1",
          tokens: 42
        })
        assert.strictEqual(durationMs, at - meta.start_time)
        if (!options.live) assert.strictEqual(durationMs, 1500)
      }))

    it.effect("cost tracking holds what `rerun` says: nobody is billed twice for what is retried or redelivered", () =>
      Effect.gen(function*() {
        const report = yield* Idempotency.check(CostTracking.flow, spent, { traceId: "cost-check", meta })
        assert.deepStrictEqual(report.faults, [])
        assert.deepStrictEqual(report.runs[0]?.differences.map((it) => [it.table, it.added.length]), [
          ["penguiflow_usage", 1]
        ])
        const totals = yield* Usage.Usage.use((usage) => usage.totals({ traceId: "cost-check" }))
        assert.deepStrictEqual([totals.records, totals.tokens], [1, 42])
      }))

    // ------------------------------------------------------------------------- topic and dimensions, one transaction

    it.effect("topic staging writes topic and dimensions for the trace's tenant, and finds them consistent", () =>
      Effect.gen(function*() {
        const result = yield* FlowTest.run(TopicStaging.flow, request, {
          traceId: "stage-1",
          headers: { tenant: "acme" }
        })
        const [validated] = yield* result.outcome.exit
        assert.strictEqual(validated?.valid, true)
        assert.deepStrictEqual(yield* held("stage-1"), ["acme:birds:colour", "acme:birds:size"])
      }))

    it.effect("topic staging holds what `rerun` says: transactional, then pure", () =>
      Effect.gen(function*() {
        const report = yield* Idempotency.check(TopicStaging.flow, request, { traceId: "stage-check" })
        assert.deepStrictEqual(report.faults, [])
        assert.deepStrictEqual(report.runs.map((run) => run.node ?? run.run), ["once", "again", "stage", "validate"])
        assert.deepStrictEqual(report.runs[0]?.differences.map((it) => [it.table, it.added.length]), [
          ["dimensions", 2],
          ["topics", 1]
        ])
      }))

    it.effect("topic staging leaves no topic without dimensions: failed, dead, interrupted", () =>
      Effect.gen(function*() {
        const topics = yield* Topics.Topics
        const broken = (fault: Effect.Effect<void>) =>
          Effect.provideService(
            FlowTest.run(TopicStaging.flow, request, { traceId: "stage-broken", deadline: "200 millis" }),
            Topics.Topics,
            Topics.Topics.of({
              ...topics,
              addDimensions: (id) => Effect.andThen(topics.addDimensions(id, ["colour"]), fault)
            })
          )
        for (const fault of [Effect.die("a bug"), Effect.interrupt, Effect.never]) {
          const { outcome } = yield* broken(fault)
          assert.isTrue(Exit.isFailure(outcome.exit))
          assert.deepStrictEqual(yield* held("stage-broken"), [])
        }
      }))

    it.effect("topic staging says so where somebody took a dimension away between the two nodes", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const thief = Node.make("thief", {
          input: TopicStaging.Staged,
          output: TopicStaging.Staged,
          run: (staged) =>
            Effect.as(
              sql`DELETE FROM dimensions WHERE topic_id = ${staged.topicId} AND name = ${"size"}`,
              staged
            )
        })
        const flow = Flow.make("watched", [TopicStaging.stage.to(thief), thief.to(TopicStaging.validate)])
        const error = yield* Effect.flip(Flow.run(flow, request))
        assert.isTrue(error._tag === "Inconsistent" && error.expected === 2 && error.actual === 1)
      }))

    it.effect("a dimension that is named twice is refused before anything is written", () =>
      Effect.gen(function*() {
        const twice = { topic: "birds", dimensions: ["size", "size"] }
        const errors = [
          yield* Effect.flip(Flow.run(TopicStaging.flow, twice, { traceId: "twice" })),
          yield* Effect.flip(Flow.run(TopicCreation.flow, twice, { traceId: "twice" }))
        ]
        for (const error of errors) {
          assert.isTrue(error._tag === "FlowError" && error.code === "INVALID_INPUT")
          assert.match(error.message, /each dimension once/)
        }
        assert.deepStrictEqual(yield* held("twice"), [])
      }))

    // ------------------------------------------------------------------------- topic, dimensions, and compensation

    it.effect("topic creation makes both, and its compensation does not run", () =>
      Effect.gen(function*() {
        const { calls, watched } = yield* watchedTopics
        const cleaned: Array<string> = []
        const result = yield* FlowTest.run(TopicCreation.flow, request, { traceId: "create-1" }).pipe(
          Effect.provideService(Topics.Topics, watched),
          Effect.provideService(TopicCreation.ExternalCleanup, (id) => Effect.sync(() => void cleaned.push(id)))
        )
        const [completed] = yield* result.outcome.exit
        assert.strictEqual(completed?.status, "success")
        assert.deepStrictEqual(yield* held("create-1"), ["default:birds:colour", "default:birds:size"])
        assert.deepStrictEqual([result.compensated, calls, cleaned], [[], ["create"], []])
      }))

    it.effect("topic creation tries four times, then nothing is left and the topic was undone once, by trace id", () =>
      Effect.gen(function*() {
        const { calls, watched } = yield* watchedTopics
        const cleaned: Array<string> = []
        const seen: Array<number> = []
        const topics = yield* Topics.Topics
        const rules = TopicCreation.DimensionRules.of({
          // Asked inside the transaction, where its rows are seen; outside of it they never are.
          accept: (topicId) => Effect.map(topics.countDimensions(topicId), (count) => (seen.push(count), false))
        })
        const outside: Array<string> = []
        const looking = FlowRewrite.around(
          TopicCreation.flow,
          "enhance",
          (run) => Effect.andThen(Effect.map(held("create-2"), (rows) => outside.push(rows.join())), run)
        )
        const result = yield* FlowTest.run(looking, request, { traceId: "create-2" }).pipe(
          Effect.provideService(Topics.Topics, watched),
          Effect.provideService(TopicCreation.DimensionRules, rules),
          Effect.provideService(TopicCreation.ExternalCleanup, (id) => Effect.sync(() => void cleaned.push(id)))
        )
        const error = yield* Effect.flip(result.outcome.exit)
        assert.strictEqual(error._tag, "DimensionsRejected")
        assert.strictEqual(FlowTest.attempts(result, "create"), 1)
        assert.strictEqual(FlowTest.attempts(result, "enhance"), 4)
        assert.deepStrictEqual(seen, [2, 2, 2, 2])
        const alone = "default:birds:null"
        assert.deepStrictEqual(outside, [alone, alone, alone, alone], "no attempt left anything to the next one")
        assert.deepStrictEqual(yield* held("create-2"), [])
        yield* noOrphans
        assert.deepStrictEqual(result.compensated, ["create"])
        assert.deepStrictEqual(calls, ["create", "remove"])
        assert.deepStrictEqual(cleaned, ["create-2"])
        assert.isAtLeast(result.outcome.durationMs, 50 + 100 + 200 - 2)
      }))

    it.effect("topic creation undoes nothing where a later attempt succeeds", () =>
      Effect.gen(function*() {
        const { calls, watched } = yield* watchedTopics
        const flow = FlowTest.failing(TopicCreation.flow, "enhance", {
          times: 3,
          error: new TopicCreation.DimensionsRejected({ topicId: 0, count: 0 }),
          at: "end"
        })
        const result = yield* FlowTest.run(flow, request, { traceId: "create-3" }).pipe(
          Effect.provideService(Topics.Topics, watched)
        )
        assert.isTrue(Exit.isSuccess(result.outcome.exit))
        assert.strictEqual(FlowTest.attempts(result, "enhance"), 4)
        assert.deepStrictEqual(calls, ["create"])
        assert.lengthOf(yield* held("create-3"), 2)
      }))

    it.effect("topic creation is undone once where its trace is cancelled between the steps, or misses its deadline", () =>
      Effect.gen(function*() {
        const { calls, watched } = yield* watchedTopics
        const cleaned: Array<string> = []
        yield* Effect.gen(function*() {
          const flow = FlowTest.hanging(TopicCreation.flow, "enhance")
          const late = yield* FlowTest.run(flow, request, { traceId: "create-4", deadline: "100 millis" })
          assert.deepStrictEqual(late.compensated, ["create"])
          const runtime = yield* FlowRuntime.make(FlowTest.replace(flow, "enhance", () => Effect.never))
          yield* runtime.emit(request, { traceId: "create-5" })
          while ((yield* held("create-5")).length === 0) yield* Effect.yieldNow
          assert.isTrue(yield* runtime.cancel("create-5", "enough"))
        }).pipe(
          Effect.scoped,
          Effect.provideService(Topics.Topics, watched),
          Effect.provideService(TopicCreation.ExternalCleanup, (id) => Effect.sync(() => void cleaned.push(id)))
        )
        assert.deepStrictEqual([...(yield* held("create-4")), ...(yield* held("create-5"))], [])
        assert.deepStrictEqual(calls, ["create", "remove", "create", "remove"])
        assert.deepStrictEqual(cleaned, ["create-4", "create-5"])
      }))

    it.effect("topic creation holds what `rerun` says: compensated, then transactional", () =>
      Effect.gen(function*() {
        const report = yield* Idempotency.check(TopicCreation.flow, request, { traceId: "create-check" })
        assert.deepStrictEqual(report.faults, [])
        assert.deepStrictEqual(
          report.runs.map((run) => [run.node ?? run.run, run.differences.length, Exit.isSuccess(run.exit)]),
          [
            ["once", 2, true],
            ["again", 0, true],
            ["create", 0, true],
            ["enhance", 0, true],
            ["undone", 0, false]
          ]
        )
      }))

    // ------------------------------------------------------------------------------------------------- composition

    it.effect("each flow is a node of another flow, and what it does is undone with that one", () =>
      Effect.gen(function*() {
        const start = Node.make("start", {
          input: Schema.String,
          output: TopicCreation.Request,
          rerun: "pure",
          run: (topic) => Effect.succeed({ topic, dimensions: ["size"] })
        })
        const creation = Node.fromFlow(TopicCreation.flow)
        const item = Node.make("item", {
          input: TopicCreation.Completed,
          output: ItemEnhancement.Request,
          rerun: "pure",
          run: () => Effect.succeed({ itemId: 3 })
        })
        const enhancement = Node.fromFlow(ItemEnhancement.flow)
        const text = Node.make("text", {
          input: ItemEnhancement.Processed,
          output: Enrichment.Request,
          rerun: "pure",
          run: ({ enhanced }) => Effect.succeed({ userId: 7, text: enhanced })
        })
        const enrichment = Node.fromFlow(Enrichment.flow)
        const flow = Flow.make("whole", [
          start.to(creation, Node.named(Node.fromFlow(TopicStaging.flow), "staging")),
          creation.to(item),
          item.to(enhancement),
          enhancement.to(text),
          text.to(enrichment),
          enrichment.to(Node.fromFlow(Embedding.one))
        ])
        const result = yield* FlowTest.run(flow, "birds", { traceId: "whole-1" })
        assert.lengthOf(yield* result.outcome.exit, 2)
        assert.deepStrictEqual(yield* held("whole-1"), ["default:birds:size", "default:birds:size"])
        const failing = FlowTest.failing(flow, "enrichment/enrich", {
          times: Infinity,
          error: new Enrichment.UnknownUser({ userId: 7 })
        })
        const failed = yield* FlowTest.run(failing, "birds", { traceId: "whole-2" })
        assert.deepStrictEqual(failed.compensated, ["topic creation/create"])
        // The staged one is meant to stay, but its branch may have been stopped by the other's failure: all or nothing.
        assert.include(["", "default:birds:size"], (yield* held("whole-2")).join())
      }))
  })
