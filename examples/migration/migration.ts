/** The migration: the old enrichment and the flow, side by side. */
import { Effect, Layer, Schema, SubscriptionRef } from "effect"
import { FlowError } from "penguiflow"
import * as Sqlite from "penguiflow/layers/Sqlite"
import * as Migration from "penguiflow/Migration"
import { flow } from "../corpus/flow.ts"
import { Corpus } from "../corpus/services.ts"
import * as Store from "../corpus/store.ts"
import * as Legacy from "./legacy.ts"

/** What both can be set to while they run. */
export interface Switch {
  readonly mode: SubscriptionRef.SubscriptionRef<Migration.Mode>
  readonly share: SubscriptionRef.SubscriptionRef<number>
}

export const makeSwitch = Effect.gen(function*(): Effect.fn.Return<Switch> {
  return {
    mode: yield* SubscriptionRef.make<Migration.Mode>("shadow"),
    share: yield* SubscriptionRef.make(0.25)
  }
})

/**
 * As a shadow the flow writes into a database of its own: not one row is written twice. Whether a document was there
 * before is told by each database for itself, so that it says nothing about the enrichment: it is not compared.
 */
export const make = ({ mode, share }: Switch, shadowDatabase: string) =>
  Migration.make("enrichment", {
    legacy: Legacy.enrich,
    flow,
    mode,
    share,
    shadow: {
      layer: Store.layer.pipe(Layer.provideMerge(Sqlite.layer({ filename: shadowDatabase }))),
      timeout: "20 seconds",
      // The flow does more than the old one and takes longer: so many may wait for it before requests go uncompared.
      maxConcurrent: 300
    },
    compare: {
      ignore: ["/written"],
      // The old one has texts for errors: that both refuse a document is all that can be asked.
      errors: () => true
    },
    // A database that is busy is no reason to send a caller away as long as there is the old one.
    fallback: (error) =>
      error._tag === "SqlError" || error instanceof FlowError.FlowError && error.code === "NODE_TIMEOUT"
  })

/** What legacy needs to know of the corpus. */
export const initLegacy = (filename: string) =>
  Effect.acquireRelease(
    Corpus.useSync(({ baseline }) => Legacy.init(filename, baseline)),
    () => Effect.sync(() => Legacy.close())
  )

/** What the enrichment answers. */
export const Enriched = Schema.Struct({ id: Schema.String, written: Store.Written, topic: Schema.String })
