/**
 * What an address is about, by counting: each topic has a list of word beginnings, and a topic's *score* in a text is how
 * many words of a thousand begin with one of them. An address's *topic* is the one that stands out most against the
 * whole corpus: score divided by the corpus's own score. Simple, explainable, and good enough to see the centuries change.
 */
export const topics = {
  "war and peace": "war wars army armies navy naval soldier troops militia battle enem armed defen arms peace conflict",
  "foreign affairs": "treaty treaties foreign nations minist negotiat envoy embass britain france spain mexico china " +
    "japan alli soviet diploma consul",
  "money and taxes": "treasury debt tax tariff revenue currency gold silver bank dollar budget deficit expenditure " +
    "appropriation coin bond notes inflation",
  "work and trade": "labor worker wage job employ unemploy industr manufactur business commerce trade market union " +
    "corporation railroad farm agricultur",
  "land and settlement": "land territor settle frontier tribe indian mine mining river harbor canal emigra west " +
    "boundary survey reservation",
  "law and government": "constitution law court judge judic amend elect vote veto state states legislat senate " +
    "union reconstruct secession",
  "family, health and schools":
    "health school educat teach college student children child famil medic hospital doctor " +
    "insurance welfare social poverty",
  "rights and freedom": "slave freedom free freedmen liberty rights civil equal discriminat citizen race racial " +
    "negro women human democra"
} as const

/** In a fixed order. */
export const names: ReadonlyArray<string> = Object.keys(topics)

const patterns = Object.entries(topics).map(([name, words]) => ({
  name,
  pattern: new RegExp(`^(?:${words.split(" ").join("|")})`)
}))

/** Words of a thousand, by topic. */
export type Scores = Readonly<Record<string, number>>

/** How many words a text has, and how it scores. */
export const score = (text: string): { readonly words: number; readonly scores: Scores } => {
  const counts = new Map(names.map((name) => [name, 0]))
  let words = 0
  for (const [word] of text.toLowerCase().matchAll(/\p{L}+/gu)) {
    words++
    for (const name of topicsOf(word)) counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return {
    words,
    scores: Object.fromEntries(names.map((name) => [name, 1000 * (counts.get(name) ?? 0) / Math.max(1, words)]))
  }
}

/** The mean of many scores: what the corpus is about anyway. */
export const mean = (all: ReadonlyArray<Scores>): Scores =>
  Object.fromEntries(names.map((name) => [
    name,
    all.reduce((sum, scores) => sum + (scores[name] ?? 0), 0) / Math.max(1, all.length)
  ]))

/** The topic that stands out most against the corpus. */
export const topicOf = (scores: Scores, corpus: Scores): string =>
  names.reduce(
    (best, name) => liftOf(scores, corpus, name) > liftOf(scores, corpus, best) ? name : best,
    names[0] ?? ""
  )

const liftOf = (scores: Scores, corpus: Scores, name: string) => (scores[name] ?? 0) / Math.max(0.1, corpus[name] ?? 0)

const known = new Map<string, ReadonlyArray<string>>()
const topicsOf = (word: string): ReadonlyArray<string> => {
  const kept = known.get(word)
  if (kept !== undefined) return kept
  const found = patterns.filter(({ pattern }) => pattern.test(word)).map(({ name }) => name)
  known.set(word, found)
  return found
}
