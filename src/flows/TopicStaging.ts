/**
 * Topic staging: a topic and its dimensions in one transaction, then a look at whether all of it is there.
 *
 * `stage → validate`. The transaction commits when `stage` ends and rolls back when it fails, is interrupted or dies: no
 * topic without its dimensions is ever seen. `validate` reads by another connection, what anybody would see.
 *
 * `stage` is `"transactional"`: a second run, with the same idempotency key, finds the topic and adds what is missing,
 * which is nothing. `validate` is `"pure"`.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SqlError from "effect/sql/SqlError"
import * as Flow from "../Flow.ts"
import * as Node from "../Node.ts"
import { patient } from "./Patience.ts"
import { Dimensions, Topics } from "./Topics.ts"

/** The topic to be. Whose it is is said by the trace's `headers.tenant`. */
export interface Request {
  readonly topic: string
  readonly dimensions: Dimensions
}
export const Request: Schema.Codec<Request> = Schema.Struct({ topic: Schema.NonEmptyString, dimensions: Dimensions })

/** The topic that is. */
export interface Staged {
  readonly topicId: number
  readonly dimensions: Dimensions
}
export const Staged: Schema.Codec<Staged> = Schema.Struct({ topicId: Schema.Int, dimensions: Dimensions })

/** All of it is there. */
export interface Validated {
  readonly topicId: number
  readonly valid: true
}
export const Validated: Schema.Codec<Validated> = Schema.Struct({ topicId: Schema.Int, valid: Schema.Literal(true) })

const InconsistentBase: Schema.Class<
  Inconsistent,
  Schema.TaggedStruct<"Inconsistent", {
    readonly topicId: typeof Schema.Int
    readonly expected: typeof Schema.Int
    readonly actual: typeof Schema.Int
  }>,
  Cause.YieldableError
> = Schema.TaggedError<Inconsistent>()("Inconsistent", {
  topicId: Schema.Int,
  expected: Schema.Int,
  actual: Schema.Int
})

/** The topic has another number of dimensions than were staged: somebody else was at it. */
export class Inconsistent extends InconsistentBase {
  override get message(): string {
    return `topic ${this.topicId} has ${this.actual} dimensions where ${this.expected} were staged: find out who changes it`
  }
}

/** Writes topic and dimensions. */
export const stage: Node.Node<"stage", Request, Staged, SqlError.SqlError, Topics> = Node.make("stage", {
  input: Request,
  output: Staged,
  error: SqlError.SqlError,
  rerun: "transactional",
  policy: patient,
  description: "writes a topic and its dimensions in one transaction",
  run: Effect.fnUntraced(function*({ dimensions, topic }, { headers, idempotencyKey }) {
    const topics = yield* Topics
    const topicId = yield* topics.transaction(Effect.tap(
      topics.create({ request: idempotencyKey, tenant: headers.tenant, name: topic }),
      (id) => topics.addDimensions(id, dimensions)
    ))
    return { topicId, dimensions }
  })
})

/** Counts what is there. */
export const validate: Node.Node<"validate", Staged, Validated, Inconsistent | SqlError.SqlError, Topics> = Node.make(
  "validate",
  {
    input: Staged,
    output: Validated,
    error: Schema.Union([Inconsistent, SqlError.SqlError]),
    rerun: "pure",
    policy: patient,
    description: "looks whether all dimensions are there",
    run: Effect.fnUntraced(function*({ dimensions, topicId }) {
      const topics = yield* Topics
      const actual = yield* topics.countDimensions(topicId)
      if (actual === dimensions.length) return { topicId, valid: true as const }
      return yield* new Inconsistent({ topicId, expected: dimensions.length, actual })
    })
  }
)

/**
 * The flow.
 *
 * @example
 * ```ts runnable
 * import { Effect } from "effect"
 * import { Flow } from "penguiflow"
 * import * as Topics from "penguiflow/flows/Topics"
 * import * as TopicStaging from "penguiflow/flows/TopicStaging"
 *
 * const program = Flow.run(TopicStaging.flow, { topic: "birds", dimensions: ["size", "colour"] })
 * await Effect.runPromise(Effect.provide(program, Topics.layerTest())) // => { topicId: 1, valid: true }
 * ```
 */
export const flow: Flow.Flow<"topic staging", Request, Validated, Inconsistent | SqlError.SqlError, Topics> = Flow.make(
  "topic staging",
  [stage.to(validate)]
)
