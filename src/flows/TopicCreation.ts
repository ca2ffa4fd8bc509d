/**
 * Topic creation: a topic, then its dimensions, and the topic undone where its dimensions can't be had.
 *
 * `create → enhance`. Between the two steps the topic is committed and seen by everybody; that is what tells this flow
 * from `TopicStaging`, where a transaction keeps it hidden. `enhance` writes in a transaction of its own,
 * asks {@link DimensionRules} inside it, and is tried four times at most. What is left behind:
 *
 * | what happens | topic | dimensions | compensation |
 * |---|---|---|---|
 * | all goes well | there | all | does not run |
 * | an attempt fails | there | none: rolled back | does not run yet |
 * | the fourth attempt fails | gone | none | once, with the trace's id |
 * | a later node of an outer flow fails | gone | gone | once |
 * | the trace is cancelled or misses its deadline | gone | none | once |
 * | the process is killed between the steps | there | none | never: nobody is left to run it |
 *
 * The last row heals itself where the message is delivered again under the same trace id, by a job queue for one:
 * `create` finds its topic by the idempotency key, and `enhance` goes on; if it fails, the topic is undone as usual. Where
 * nobody delivers it again, the topic stays; the traces it may have come from are in its `request`:
 *
 * ```sql
 * SELECT id, request FROM topics WHERE id NOT IN (SELECT topic_id FROM dimensions)
 * ```
 *
 * `create` is `"compensated"`, `enhance` is `"transactional"`.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as SqlError from "effect/sql/SqlError"
import * as Flow from "../Flow.ts"
import * as Node from "../Node.ts"
import { isRetryable, patient } from "./Patience.ts"
import { Dimensions, Topics } from "./Topics.ts"

/** The topic to be. Whose it is is said by the trace's `headers.tenant`. */
export interface Request {
  readonly topic: string
  readonly dimensions: Dimensions
}
export const Request: Schema.Codec<Request> = Schema.Struct({ topic: Schema.NonEmptyString, dimensions: Dimensions })

/** A topic that has no dimensions yet, and those that it shall have. */
export interface Created {
  readonly topicId: number
  readonly topic: string
  readonly dimensions: Dimensions
}
export const Created: Schema.Codec<Created> = Schema.Struct({
  topicId: Schema.Int,
  topic: Schema.String,
  dimensions: Dimensions
})

/** All of it is there. */
export interface Completed {
  readonly topicId: number
  readonly status: "success"
}
export const Completed: Schema.Codec<Completed> = Schema.Struct({
  topicId: Schema.Int,
  status: Schema.Literal("success")
})

interface Rules {
  /** Asked within the transaction that has written them. */
  readonly accept: (topicId: number, dimensions: Dimensions) => Effect.Effect<boolean, SqlError.SqlError>
}

const RulesBase: Context.ServiceClass<DimensionRules, "penguiflow/flows/TopicCreation/DimensionRules", Rules> = Context
  .Service<DimensionRules, Rules>()("penguiflow/flows/TopicCreation/DimensionRules")

/** What dimensions must be like. */
export class DimensionRules extends RulesBase {}

/** At least one, and as many in the database as were asked for. */
export const layerRules: Layer.Layer<DimensionRules, never, Topics> = Layer.effect(
  DimensionRules,
  Topics.useSync((topics) =>
    DimensionRules.of({
      accept: (topicId, dimensions) =>
        Effect.map(topics.countDimensions(topicId), (count) => count > 0 && count === dimensions.length)
    })
  )
)

/** What the test says of them. */
export const layerRulesTest = (accept: Rules["accept"]): Layer.Layer<DimensionRules> =>
  Layer.succeed(DimensionRules, DimensionRules.of({ accept }))

/**
 * What else is to be cleaned up when a topic is undone, outside of the database: files, a search index. Gets the id of
 * the trace that failed. Default: nothing. What it can't do it must say itself; it has no error.
 */
export const ExternalCleanup: Context.Reference<(traceId: string) => Effect.Effect<void>> = Context.Reference(
  "penguiflow/flows/TopicCreation/ExternalCleanup",
  { defaultValue: (): (traceId: string) => Effect.Effect<void> => () => Effect.void }
)

const RejectedBase: Schema.Class<
  DimensionsRejected,
  Schema.TaggedStruct<"DimensionsRejected", { readonly topicId: typeof Schema.Int; readonly count: typeof Schema.Int }>,
  Cause.YieldableError
> = Schema.TaggedError<DimensionsRejected>()("DimensionsRejected", { topicId: Schema.Int, count: Schema.Int })

/** The rules don't accept the dimensions; none of them was kept. */
export class DimensionsRejected extends RejectedBase {
  override get message(): string {
    const { count, topicId } = this
    return `the rules did not accept topic ${topicId} with ${count} dimension${
      count === 1 ? "" : "s"
    }, and none was kept: ask with others`
  }
}

/** Makes the topic; undone by removing it with its dimensions, and cleaning up outside. */
export const create: Node.Node<"create", Request, Created, SqlError.SqlError, Topics> = Node.make("create", {
  input: Request,
  output: Created,
  error: SqlError.SqlError,
  rerun: "compensated",
  policy: patient,
  description: "makes a topic",
  run: Effect.fnUntraced(function*({ dimensions, topic }, { headers, idempotencyKey }) {
    const topics = yield* Topics
    const topicId = yield* topics.create({ request: idempotencyKey, tenant: headers.tenant, name: topic })
    return { topicId, topic, dimensions }
  }),
  compensate: Effect.fnUntraced(function*({ topicId }, { traceId }) {
    const topics = yield* Topics
    const cleanup = yield* ExternalCleanup
    // A database that is gone for good is a defect, which the trace's NodeCompensated event tells.
    yield* topics.remove(topicId).pipe(
      Effect.retry({ schedule: Schedule.exponential("100 millis"), times: 3, while: isRetryable }),
      Effect.orDie
    )
    yield* cleanup(traceId)
  })
})

/** What `enhance` fails with. */
export type EnhanceFailure = DimensionsRejected | SqlError.SqlError

/** Writes the dimensions, all or none; four attempts, 50, 100 and 200 milliseconds apart. */
export const enhance: Node.Node<"enhance", Created, Completed, EnhanceFailure, Topics | DimensionRules> = Node.make(
  "enhance",
  {
    input: Created,
    output: Completed,
    error: Schema.Union([DimensionsRejected, SqlError.SqlError]),
    rerun: "transactional",
    policy: { timeout: "1 minute", retry: Schedule.exponential("50 millis").pipe(Schedule.upTo({ times: 3 })) },
    description: "writes a topic's dimensions in one transaction",
    run: Effect.fnUntraced(function*({ dimensions, topicId }) {
      const topics = yield* Topics
      const rules = yield* DimensionRules
      yield* topics.transaction(Effect.gen(function*() {
        yield* topics.addDimensions(topicId, dimensions)
        if (!(yield* rules.accept(topicId, dimensions))) {
          return yield* new DimensionsRejected({ topicId, count: dimensions.length })
        }
      }))
      return { topicId, status: "success" as const }
    })
  }
)

/**
 * The flow.
 *
 * @example
 * ```ts runnable
 * import { Effect, Layer } from "effect"
 * import { Flow } from "penguiflow"
 * import * as TopicCreation from "penguiflow/flows/TopicCreation"
 * import * as Topics from "penguiflow/flows/Topics"
 *
 * const undone: Array<string> = []
 * const services = Layer.mergeAll(
 *   Topics.layerTest(),
 *   TopicCreation.layerRulesTest(() => Effect.succeed(false)),
 *   Layer.succeed(TopicCreation.ExternalCleanup, (traceId) => Effect.sync(() => { undone.push(traceId) }))
 * )
 * const program = Flow.run(TopicCreation.flow, { topic: "birds", dimensions: ["size"] }, { traceId: "t-1" })
 * const error = await Effect.runPromise(Effect.flip(Effect.provide(program, services)))
 * error._tag // => "DimensionsRejected"
 * undone // => ["t-1"]
 * ```
 */
export const flow: Flow.Flow<"topic creation", Request, Completed, EnhanceFailure, Topics | DimensionRules> = Flow.make(
  "topic creation",
  [create.to(enhance)]
)
