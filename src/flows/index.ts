/** Flows to compose, or to copy: each a value, its nodes beside it, its services as layers. */
/** What a trace has cost is recorded on the way. */
export * as CostTracking from "./CostTracking.ts"
/** One text, or a batch, becomes vectors. */
export * as Embedding from "./Embedding.ts"
/** A text is checked, and gets its user's context and its embedding. */
export * as Enrichment from "./Enrichment.ts"
/** An item out of the database, described better by a language model. */
export * as ItemEnhancement from "./ItemEnhancement.ts"
/** How long a text may be. */
export * as Limits from "./Limits.ts"
/** A topic, then its dimensions, and the topic undone where they can't be had. */
export * as TopicCreation from "./TopicCreation.ts"
/** Where topics and their dimensions are kept. */
export * as Topics from "./Topics.ts"
/** A topic and its dimensions in one transaction. */
export * as TopicStaging from "./TopicStaging.ts"
