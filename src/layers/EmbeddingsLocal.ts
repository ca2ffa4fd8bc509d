/**
 * Embeddings that are computed here: hashed n-grams with TF-IDF weights. No network, no model file, no cost.
 *
 * **How a text becomes a vector**
 *
 * 1. The text is normalised (NFKC, lower case) and split into words: runs of letters and digits of any script.
 * 2. Its *features* are its words, its pairs of neighbouring words, and the pieces of three, four and five characters
 *    of each word with its borders marked, so that "govern", "governed" and "government" have much in common. A text
 *    without a word in it ("!?") is cut into pieces as it is.
 * 3. A feature that occurs `n` times weighs `(1 + ln n) · idf`, where `idf = ln((N + 1) / (df + ½))` if it occurs in `df`
 *    of the `N` texts of the corpus: what every text says counts nearly nothing. What fewer than two of them say can't
 *    bring any two together, and is left out as noise. Without a corpus `idf` is 1.
 * 4. Each feature is hashed (FNV-1a and a final mix, 32 bits): part of the hash says which of the `dimensions` numbers it
 *    adds to, one bit says whether it adds or subtracts, so that collisions cancel out on the average. Document
 *    frequencies are counted by hash, too.
 * 5. Words, pairs and pieces are each brought to length 1, and added in the proportion 1 : ¼ : ½, since a word brings
 *    many of the latter. The sum is brought to length 1: the cosine of two texts is the sum of the products of their
 *    numbers.
 *
 * The same text, corpus and dimensions give the same vector, on every machine and in every run. Vectors of different
 * corpora or dimensions can't be compared: keep them apart by {@link Embedder.id}.
 *
 * It measures *shared wording*, not meaning: "car" and "automobile" have nothing in common here. For search over a known
 * corpus, deduplication, tests and first runs it is enough; where meaning matters, a trained model is.
 *
 * A page takes about a millisecond, a speech of 8000 words about ten. It is computation: it takes the thread, but lets others run between two texts.
 */
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** What the vectors depend on. */
export interface Options {
  /** How many numbers a vector has; default 512. */
  readonly dimensions?: number | undefined
  /** The texts from which it is learnt which features are rare. Without them all count the same. */
  readonly corpus?: Iterable<string> | undefined
}

/** The method itself, without a service around it. */
export interface Embedder {
  /** Tells method, dimensions and corpus: vectors of different ids can't be compared. */
  readonly id: string
  readonly dimensions: number
  /** Undefined where there is nothing to embed: an empty text, or one of spaces. */
  readonly embed: (text: string) => Array<number> | undefined
}

/**
 * Learns from the corpus, and gives the function.
 *
 * @example
 * ```ts runnable
 * import * as EmbeddingsLocal from "penguiflow/layers/EmbeddingsLocal"
 *
 * const { embed } = EmbeddingsLocal.makeEmbedder({ dimensions: 256 })
 * const cosine = (a: string, b: string) => embed(a)!.reduce((sum, x, i) => sum + x * embed(b)![i]!, 0)
 * cosine("the state of the union", "the union of the states") > 0.6 // => true
 * cosine("the state of the union", "penguins swim in cold water") < 0.3 // => true
 * ```
 */
export const makeEmbedder = (options: Options = {}): Embedder => {
  const dimensions = options.dimensions ?? 512
  if (!Number.isInteger(dimensions) || dimensions < 1) {
    throw new RangeError(`EmbeddingsLocal: dimensions must be a whole number from 1 on, not ${dimensions}`)
  }
  const spell = makeSpeller()
  const frequencies = learn(options.corpus ?? [], spell)
  /** Adds up one kind of features, brings them to length 1, and gives the share of it. */
  const place = (
    counts: ReadonlyMap<number, number>,
    share: number,
    idf: (hash: number) => number,
    into: Float64Array
  ) => {
    const part = new Float64Array(dimensions)
    for (const [hash, n] of counts) {
      const weight = (1 + Math.log(n)) * idf(hash)
      // The top bit is the sign, the others the place: they must not depend on each other.
      part[(hash & 0x7fffffff) % dimensions]! += hash >>> 31 === 0 ? weight : -weight
    }
    const length = lengthOf(part)
    if (length > 0) { for (let i = 0; i < dimensions; i++) into[i]! += share * part[i]! / length }
  }
  const embedWith = (features: Features, idf: (hash: number) => number) => {
    const vector = new Float64Array(dimensions)
    place(features.words, 1, idf, vector)
    place(features.pairs, 1 / 4, idf, vector)
    place(features.pieces, 1 / 2, idf, vector)
    const length = lengthOf(vector)
    return length > 0 ? Array.from(vector, (x) => x / length) : undefined
  }
  return {
    id: `ngrams-1/${dimensions}/${frequencies.fingerprint}`,
    dimensions,
    embed: (text) => {
      const features = featuresOf(text, spell)
      // A text that has nothing in common with the corpus is weighed without it.
      return embedWith(features, frequencies.idf) ?? embedWith(features, () => 1)
    }
  }
}

/**
 * The method as an `EmbeddingModel`. The corpus is learnt once, when the layer is built.
 *
 * A text with nothing to embed fails with an `AiError` (`InvalidUserInputError`) that says which one it was.
 */
export const layer = (
  options?: Options
): Layer.Layer<EmbeddingModel.EmbeddingModel | EmbeddingModel.Dimensions> =>
  Layer.unwrap(
    Effect.map(Effect.sync(() => makeEmbedder(options)), layerEmbedder)
  )

/** The same from an embedder that is at hand already. */
export const layerEmbedder = (
  embedder: Embedder
): Layer.Layer<EmbeddingModel.EmbeddingModel | EmbeddingModel.Dimensions> =>
  Layer.merge(
    Layer.effect(
      EmbeddingModel.EmbeddingModel,
      EmbeddingModel.make({
        embedMany: ({ inputs }) =>
          Effect.map(
            Effect.forEach(inputs, (text, index) =>
              Effect.flatMap(Effect.yieldNow, () => {
                const vector = embedder.embed(text)
                return vector === undefined
                  ? Effect.fail(nothingToEmbed(index, inputs.length))
                  : Effect.succeed(vector)
              })),
            (results) => ({ results, usage: { inputTokens: undefined } })
          )
      })
    ),
    Layer.succeed(EmbeddingModel.Dimensions, embedder.dimensions)
  )

// ----------------------------------------------------------------------------------------------------------- internals

const nothingToEmbed = (index: number, count: number): AiError.AiError =>
  AiError.make({
    module: "EmbeddingsLocal",
    method: "embedMany",
    reason: new AiError.InvalidUserInputError({
      description: `${count === 1 ? "The text" : `Text ${index + 1} of ${count}`} is empty: there is nothing to embed.`
    })
  })

interface Features {
  readonly words: ReadonlyMap<number, number>
  readonly pairs: ReadonlyMap<number, number>
  readonly pieces: ReadonlyMap<number, number>
}
/** A word's own hash, and those of its pieces. */
interface Spelling {
  readonly word: number
  readonly pieces: ReadonlyArray<number>
}
type Speller = (word: string) => Spelling

const featuresOf = (text: string, spell: Speller): Features => {
  const words = new Map<number, number>()
  const pairs = new Map<number, number>()
  const pieces = new Map<number, number>()
  const found = new Map<Spelling, number>()
  let previous: Spelling | undefined
  const normal = text.normalize("NFKC").toLowerCase()
  for (const [word] of normal.matchAll(/[\p{L}\p{N}]+/gu)) {
    const spelling = spell(word)
    count(found, spelling, 1)
    if (previous !== undefined) count(pairs, mix(Math.imul(previous.word, 31) ^ spelling.word), 1)
    previous = spelling
  }
  if (previous === undefined) {
    for (const piece of spell(normal.trim()).pieces) count(pieces, piece, 1)
  }
  for (const [spelling, n] of found) {
    count(words, spelling.word, n)
    for (const piece of spelling.pieces) count(pieces, piece, n)
  }
  return { words, pairs, pieces }
}

const count = <K>(counts: Map<K, number>, key: K, n: number) => counts.set(key, (counts.get(key) ?? 0) + n)

/** Words come again and again: the first 100 000 are kept. */
const makeSpeller = (): Speller => {
  const known = new Map<string, Spelling>()
  return (word) => {
    const kept = known.get(word)
    if (kept !== undefined) return kept
    const pieces: Array<number> = []
    const bordered = Array.from(`<${word}>`)
    for (let size = 3; size <= 5 && word.length > 0; size++) {
      for (let i = 0; i + size <= bordered.length; i++) pieces.push(hash(`c${bordered.slice(i, i + size).join("")}`))
    }
    const spelling = { word: hash(`w${word}`), pieces }
    if (known.size < 100_000 && word.length < 64) known.set(word, spelling)
    return spelling
  }
}

/** Documents are counted in 2^20 places by hash: 4 MB whatever the corpus, and a collision only blurs a weight. */
const learn = (corpus: Iterable<string>, spell: Speller) => {
  const places = new Uint32Array(1 << 20)
  let texts = 0
  for (const text of corpus) {
    texts++
    const { pairs, pieces, words } = featuresOf(text, spell)
    for (const counts of [words, pairs, pieces]) {
      for (const key of counts.keys()) places[key >>> 12]!++
    }
  }
  let fingerprint = texts
  if (texts > 0) { for (const n of places) fingerprint = Math.imul(fingerprint ^ n, 0x01000193) }
  return {
    idf: (key: number) => {
      const df = places[key >>> 12]!
      return texts === 0 ? 1 : df < 2 ? 0 : Math.max(0, Math.log((texts + 1) / (df + 0.5)))
    },
    fingerprint: texts === 0 ? "plain" : (fingerprint >>> 0).toString(16).padStart(8, "0")
  }
}

const lengthOf = (vector: Float64Array): number => {
  let square = 0
  for (const x of vector) square += x * x
  return Math.sqrt(square)
}

/** FNV-1a over the text's UTF-16 units. */
const hash = (text: string): number => {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return mix(h)
}

/** Lets every bit depend on every other. */
const mix = (bits: number): number => {
  let h = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  // Signed: V8 keeps a 32-bit integer in a map without boxing it.
  return h ^ (h >>> 16)
}
