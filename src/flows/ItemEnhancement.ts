/**
 * Item enhancement: an item out of the database, described better by a language model.
 *
 * What a registry of services is elsewhere is a Layer here: {@link Items} and the `LanguageModel` are named by the node's
 * type, and a flow can't be run before both are provided. The prompt is a service with a default ({@link Prompt}).
 *
 * The node is `"pure"`: it reads and asks, and leaves nothing behind but the model's bill.
 */
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import * as SqlError from "effect/sql/SqlError"
import * as Flow from "../Flow.ts"
import * as Node from "../Node.ts"
import { patient } from "./Patience.ts"

/** Which item. */
export interface Request {
  readonly itemId: number
}
export const Request: Schema.Codec<Request> = Schema.Struct({ itemId: Schema.Int })

/** The item's better description. */
export interface Processed {
  readonly itemId: number
  readonly enhanced: string
}
export const Processed: Schema.Codec<Processed> = Schema.Struct({ itemId: Schema.Int, enhanced: Schema.String })

/** An item. */
export interface Item {
  readonly id: number
  readonly description: string
}

interface Store {
  readonly find: (itemId: number) => Effect.Effect<Option.Option<Item>, SqlError.SqlError>
}

const Base: Context.ServiceClass<Items, "penguiflow/flows/ItemEnhancement/Items", Store> = Context.Service<
  Items,
  Store
>()("penguiflow/flows/ItemEnhancement/Items")

/** Where items come from. */
export class Items extends Base {}

/** Out of the table `items`. */
export const layer: Layer.Layer<Items, never, SqlClient.SqlClient> = Layer.effect(
  Items,
  SqlClient.SqlClient.useSync((sql) =>
    Items.of({
      find: (itemId) =>
        Effect.map(
          sql<Item>`SELECT id, description FROM items WHERE id = ${itemId}`,
          ([row]) => Option.fromNullishOr(row)
        )
    })
  )
)

/** The test's own items: a description by id. */
export const layerTest = (descriptions: Readonly<Record<number, string>>): Layer.Layer<Items> =>
  Layer.succeed(
    Items,
    Items.of({
      find: (id) =>
        Effect.succeed(
          Option.map(Option.fromNullishOr(descriptions[id]), (description) => ({ id, description }))
        )
    })
  )

/** A migration that makes the table. */
export const tables: Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient> = SqlClient.SqlClient.use((sql) =>
  Effect.asVoid(sql`CREATE TABLE items (id INTEGER PRIMARY KEY, description TEXT NOT NULL)`)
)

/** What the model is asked about an item. */
export const Prompt: Context.Reference<(item: Item) => string> = Context.Reference(
  "penguiflow/flows/ItemEnhancement/Prompt",
  {
    defaultValue: () => (item: Item) =>
      `Rewrite this description so that it is clear and complete. Answer with the description alone.\n\n${item.description}`
  }
)

const UnknownBase: Schema.Class<
  UnknownItem,
  Schema.TaggedStruct<"UnknownItem", { readonly itemId: typeof Schema.Int }>,
  Cause.YieldableError
> = Schema.TaggedError<UnknownItem>()("UnknownItem", { itemId: Schema.Int })

/** There is no such item. */
export class UnknownItem extends UnknownBase {
  override get message(): string {
    return `there is no item ${this.itemId}: create it, or ask for another`
  }
}

/** What can go wrong. */
export type Failure = UnknownItem | SqlError.SqlError | AiError.AiError
/** What it needs. */
export type Services = Items | LanguageModel.LanguageModel

/** Finds the item and asks the model. The database is left before the model is asked, which may take its time. */
export const process: Node.Node<"process", Request, Processed, Failure, Services> = Node.make("process", {
  input: Request,
  output: Processed,
  error: Schema.Union([UnknownItem, SqlError.SqlError, AiError.AiError]),
  rerun: "pure",
  policy: patient,
  description: "an item's description, rewritten by a language model",
  run: Effect.fnUntraced(function*({ itemId }) {
    const items = yield* Items
    const item = yield* items.find(itemId)
    if (Option.isNone(item)) return yield* new UnknownItem({ itemId })
    const prompt = yield* Prompt
    const { text } = yield* LanguageModel.generateText({ prompt: prompt(item.value) })
    return { itemId, enhanced: text }
  })
})

/** The flow. */
export const flow: Flow.Flow<"item enhancement", Request, Processed, Failure, Services> = Flow.make(
  "item enhancement",
  [process.to()]
)
