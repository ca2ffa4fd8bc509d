/**
 * The old enrichment, as such code looks after ten years: state of the module, a connection opened once and never closed,
 * retries by hand, errors as texts. It does the same as `corpus/flow.ts`, but for a bug and a slow path that nobody knows
 * of.
 */
import { DatabaseSync } from "node:sqlite"
import { setTimeout } from "node:timers/promises"
import type { RawLine } from "../corpus/address.ts"
import * as Topics from "../corpus/topics.ts"

let DB: DatabaseSync | undefined
let BASELINE: Topics.Scores = {}
let CALLS = 0

/** For the tests and for the report: what is wrong with it, and whether that has been mended. */
export const planted = {
  bug: true,
  /** One document in 33 gets the topic that comes second: 3 %. */
  isWrong: (line: number): boolean => line % 33 === 0,
  /** Documents of more words than this are split once for each topic, as somebody once thought they had to be. */
  slowAbove: 15_000
}

export const init = (filename: string, baseline: Topics.Scores): void => {
  DB = new DatabaseSync(filename)
  DB.exec("CREATE TABLE IF NOT EXISTS enriched (id TEXT PRIMARY KEY, topic TEXT NOT NULL, words INTEGER NOT NULL)")
  BASELINE = baseline
  CALLS = 0
}

export const close = (): void => DB?.close()

const withRetries = async <A>(action: (attempt: number) => A): Promise<A> => {
  for (let i = 0;; i++) {
    try {
      return action(i)
    } catch (error) {
      if (i === 3) throw error
      await setTimeout(10 * 2 ** i)
    }
  }
}

export const enrich = async (raw: RawLine) => {
  const call = ++CALLS
  let address
  try {
    address = JSON.parse(raw.text)
  } catch {
    throw new Error(`line ${raw.line}: is not JSON`)
  }
  if (typeof address.id !== "string" || typeof address.text !== "string") {
    throw new Error(`line ${raw.line}: is no address`)
  }
  const { scores, words } = Topics.score(address.text)
  if (words > planted.slowAbove) await setTimeout(40)
  const ranked = Topics.names.toSorted((a, b) => lift(scores, b) - lift(scores, a))
  const topic = planted.bug && planted.isWrong(raw.line) ? ranked[1]! : ranked[0]!
  const written = await withRetries((attempt) => {
    // Every seventh call meets a lock, which nobody has ever found out why.
    if (call % 7 === 0 && attempt === 0) throw new Error("SQLITE_BUSY")
    const found = DB!.prepare("SELECT topic FROM enriched WHERE id = ?").get(address.id)
    DB!.prepare("INSERT OR REPLACE INTO enriched (id, topic, words) VALUES (?, ?, ?)").run(address.id, topic, words)
    return found === undefined ? "stored" as const : "unchanged" as const
  })
  return { id: address.id as string, written, topic }
}

const lift = (scores: Topics.Scores, name: string): number => (scores[name] ?? 0) / Math.max(0.1, BASELINE[name] ?? 0)
