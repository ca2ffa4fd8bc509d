/** What the nodes need beside the database: knowledge of the whole corpus, learnt once before the first document. */
import { Context, Effect, Layer, Result } from "effect"
import * as EmbeddingsLocal from "penguiflow/layers/EmbeddingsLocal"
import { type Address, decode, type RawLine } from "./address.ts"
import * as Topics from "./topics.ts"

/** Who gave addresses, when, and how many: the context that a document is stored with. */
export interface AuthorFacts {
  readonly name: string
  readonly party: string
  readonly firstYear: number
  readonly lastYear: number
  readonly addresses: number
}

/** The corpus as a whole. */
export class Corpus extends Context.Service<Corpus, {
  /** Vectors of different ids can't be compared. */
  readonly embeddingId: string
  readonly authors: ReadonlyArray<AuthorFacts>
  /** What the corpus is about anyway, so that a document's own topic stands out. */
  readonly baseline: Topics.Scores
  /** An id belongs to the line that has it first. */
  readonly lineOf: (id: string) => number | undefined
}>()("examples/corpus/Corpus") {}

/** Learns from the lines that can be read, and gives the embeddings with it; the others are the flow's to report. */
export const layer = (lines: ReadonlyArray<RawLine>) =>
  Layer.unwrap(Effect.sync(() => {
    const lineOf = new Map<string, number>()
    const addresses: Array<Address> = []
    for (const line of lines) {
      const address = decode(line)
      if (Result.isFailure(address) || lineOf.has(address.success.id)) continue
      lineOf.set(address.success.id, line.line)
      addresses.push(address.success)
    }
    const embedder = EmbeddingsLocal.makeEmbedder({ corpus: addresses.map((address) => address.text) })
    const corpus = Corpus.of({
      embeddingId: embedder.id,
      authors: factsOf(addresses),
      baseline: Topics.mean(addresses.map((address) => Topics.score(address.text).scores)),
      lineOf: (id) => lineOf.get(id)
    })
    return Layer.merge(EmbeddingsLocal.layerEmbedder(embedder), Layer.succeed(Corpus, corpus))
  }))

const factsOf = (addresses: ReadonlyArray<Address>): ReadonlyArray<AuthorFacts> => {
  const byName = new Map<string, AuthorFacts>()
  for (const { name, party, year } of addresses) {
    const known = byName.get(name)
    byName.set(name, {
      name,
      party,
      firstYear: Math.min(year, known?.firstYear ?? year),
      lastYear: Math.max(year, known?.lastYear ?? year),
      addresses: (known?.addresses ?? 0) + 1
    })
  }
  return [...byName.values()]
}
