/** Endpoints of jobs. */
import * as Effect from "effect/Effect"
import type * as Response from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import type * as JobQueue from "../../JobQueue.ts"
import { json } from "./answers.ts"
import { ofJob, type Refusal, refusal } from "./errors.ts"
import { noQueue } from "./flows.ts"
import type { Hosting } from "./hosting.ts"

type Answer = Effect.Effect<Response.HttpServerResponse, Refusal>

/** `GET /api/jobs` */
export const list = (hosting: Hosting, filter: JobQueue.JobFilter): Answer =>
  withQueue(hosting, (queue) =>
    Effect.flatMap(
      Effect.mapError(
        Effect.all({
          jobs: queue.list({ ...filter, limit: Math.min(filter.limit ?? 100, 1000) }),
          counts: queue.counts
        }),
        ofJob
      ),
      (answer) => json(answer)
    ))

/** `GET /api/jobs/:id` */
export const get = (hosting: Hosting, id: string): Answer =>
  withQueue(hosting, (queue) =>
    Effect.flatMap(Effect.mapError(queue.get(id), ofJob), (job) =>
      job === undefined
        ? Effect.fail(refusal(404, "JOB_NOT_FOUND", "No job has this id: it was never enqueued, or was purged"))
        : json(job)))

/** `POST /api/jobs/:id/cancel` */
export const cancel = (hosting: Hosting, id: string): Answer =>
  withQueue(
    hosting,
    (queue) => Effect.flatMap(Effect.mapError(queue.cancel(id), ofJob), (cancelled) => json({ cancelled }))
  )

/** `POST /api/jobs/:id/retry` */
export const retry = (hosting: Hosting, id: string): Answer =>
  withQueue(
    hosting,
    (queue) => Effect.flatMap(Effect.mapError(queue.requeue(id), ofJob), (requeued) => json({ requeued }))
  )

/** `DELETE /api/jobs/:id` */
export const purge = (hosting: Hosting, id: string): Answer =>
  withQueue(hosting, (queue) => Effect.flatMap(Effect.mapError(queue.purge(id), ofJob), (purged) => json({ purged })))

// ----------------------------------------------------------------------------------------------------------- internals

const withQueue = ({ queue }: Hosting, use: (queue: JobQueue.Service) => Answer): Answer =>
  Option.isNone(queue) ? Effect.fail(noQueue) : use(queue.value)
