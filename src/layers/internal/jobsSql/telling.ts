/** Who is told of changes: listeners here at once or with the commit, other processes by `NOTIFY`, where there is one. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as SqlError from "effect/sql/SqlError"
import type * as Statement from "effect/sql/Statement"
import type * as JobStore from "../../../JobStore.ts"
import { atOnce } from "../atOnce.ts"
import type { Dialect } from "./dialect.ts"

export interface Telling {
  /** Listeners of this process. */
  readonly tell: (change: JobStore.Change) => void
  /** Tells when it is true: at once, or after the commit. */
  readonly tellLater: (change: JobStore.Change, word?: string) => Effect.Effect<void>
  /** A word for {@link Telling.notifyFor} and {@link Telling.tellLater}: who hears it by both ways is told once. */
  readonly newWord: () => string
  /** For a query's end: tells other processes as well, with the commit. */
  readonly notifyFor: (source: string, change: JobStore.Change, word: string) => Statement.Fragment
  /** The same query's `FROM`: what {@link Telling.notifyFor} adds is only evaluated where it is read. */
  readonly withTold: (source: string) => Statement.Fragment
  /** Tells other processes, with the commit. */
  readonly notify: (change: JobStore.Change) => Effect.Effect<void, SqlError.SqlError>
  /** A statement has failed: the connection that listens may be dead as well. */
  readonly rearm: () => void
  readonly watch: JobStore.JobStore["watch"]
}

/** What listens ends with the scope. */
export const makeTelling = (
  { client, inTransaction, isPg, sql, table }: Dialect,
  scope: Scope.Scope
): Telling => {
  const channel = `${table}_changes`
  const listeners = new Set<
    { readonly changes: ReadonlyArray<JobStore.Change>; readonly listener: (change: JobStore.Change) => void }
  >()
  const tell = (change: JobStore.Change) => {
    for (const it of listeners) if (it.changes.includes(change)) it.listener(change)
  }
  const own = `${globalThis.crypto.randomUUID()}/`
  let words = 0
  /** Words of this process that were heard by one of two ways. */
  const heardOnce = new Set<string>()
  const tellOnce = (change: JobStore.Change, word: string) => {
    if (!word.startsWith(own)) return tell(change)
    if (heardOnce.delete(word)) return
    // Where nothing comes by the other way, they would only become more.
    if (heardOnce.size > mostWords) heardOnce.clear()
    heardOnce.add(word)
    tell(change)
  }
  const tellLater = (change: JobStore.Change, word = "") =>
    Effect.flatMap(inTransaction, (inside) => {
      const telling = Effect.sync(() => tellOnce(change, word))
      return inside ? client.afterCommit(telling) : telling
    })
  const notifyFor = (source: string, change: JobStore.Change, word: string): Statement.Fragment =>
    isPg
      ? sql`, told AS (SELECT pg_notify(${channel}, ${`${change} `} || ${word}::text) FROM ${sql(source)} LIMIT 1)`
      : sql``
  const withTold = (source: string): Statement.Fragment =>
    isPg ? sql`${sql(source)} LEFT JOIN told ON true` : sql`${sql(source)}`
  const notify = (change: JobStore.Change) =>
    isPg ? Effect.asVoid(sql`SELECT pg_notify(${channel}, ${change})`) : Effect.void

  const listen = listening(client)
  let rearm: (() => void) | undefined
  const hear = (listen === undefined)
    ? undefined
    : Effect.gen(function*() {
      let pause = 250
      while (true) {
        const heard = Effect.scoped(Effect.gen(function*() {
          const queue = yield* listen(channel)
          pause = 250
          // Whatever was said while nobody listened.
          tell("ready")
          tell("cancel")
          while (true) {
            const { payload } = yield* Queue.take(queue)
            const [change, word = ""] = payload.split(" ")
            if (change === "ready" || change === "cancel" || change === "ended") tellOnce(change, word)
          }
        }))
        const again = Effect.callback<void>((resume) => {
          rearm = () => resume(Effect.void)
        })
        yield* Effect.exit(Effect.raceFirst(heard, again))
        yield* Effect.sleep(Duration.millis(pause))
        pause = Math.min(5000, pause * 2)
      }
    })
  let hearing = false
  return {
    tell,
    tellLater,
    newWord: () => `${own}${words++}`,
    notifyFor,
    withTold,
    notify,
    rearm: () => rearm?.(),
    watch: (changes, listener) =>
      Effect.gen(function*() {
        const it = { changes, listener }
        yield* Effect.acquireRelease(
          Effect.sync(() => listeners.add(it)),
          () => Effect.sync(() => listeners.delete(it))
        )
        if (hear !== undefined && !hearing && (changes.includes("ready") || changes.includes("cancel"))) {
          hearing = true
          yield* atOnce(Effect.forkIn(hear, scope))
        }
      })
  }
}

// ----------------------------------------------------------------------------------------------------------- internals

const mostWords = 1000

interface Listening {
  (
    channel: string
  ): Effect.Effect<Queue.Dequeue<{ readonly payload: string }, SqlError.SqlError>, SqlError.SqlError, Scope.Scope>
}

/** `LISTEN`, where the client can: that of `@effect/sql-pg` can. */
const listening = (client: object): Listening | undefined =>
  "listen" in client && typeof client.listen === "function" ? client.listen as Listening : undefined
