/** What is told at the end: all of it read back from the database. */
import { Effect, Option } from "effect"
import { draw } from "./diagram.ts"
import { flow } from "./flow.ts"
import type { Summary } from "./run.ts"
import { Corpus } from "./services.ts"
import * as Store from "./store.ts"
import { Terminal } from "./terminal.ts"
import * as Topics from "./topics.ts"

/** How many failures are listed one by one. */
const listed = 20

export const report = Effect.fnUntraced(function*(summary: Summary, options: { readonly near: Option.Option<string> }) {
  const { bold, dim, print, red } = yield* Terminal
  const { embeddingId } = yield* Corpus
  const documents = yield* Store.all()
  const comparable = documents.filter((document) => document.embedding_id === embeddingId)

  yield* print(`\n${bold("The flow")}\n\n${draw(flow)}`)

  if (documents.length > 0) {
    yield* print(`\n${bold("Topics by century")} ${dim("(documents)")}\n\n${centuries(documents)}`)
  }

  const near = Option.match(options.near, {
    onNone: () => comparable.find((document) => document.id === "1863_abraham_lincoln_r") ?? comparable.at(-1),
    onSome: (id) => comparable.find((document) => document.id === id)
  })
  if (near !== undefined && comparable.length > 1) {
    yield* print(
      `\n${bold(`Nearest to ${near.id}`)} ${dim("(cosine of the embeddings)")}\n\n${neighbours(near, comparable)}`
    )
  } else if (near === undefined && Option.isSome(options.near)) {
    yield* print(`\nNo document "${options.near.value}" is stored, so there is nothing near it.`)
  }

  const done = summary.stored + summary.replaced + summary.unchanged + summary.failures.length
  yield* print(`\n${bold("This run")}\n\n${
    table([
      ["documents in the input", String(summary.total)],
      ["stored now", String(summary.stored)],
      ["replaced: other text or embeddings", String(summary.replaced)],
      ["found as they are, not stored twice", String(summary.unchanged)],
      ["failed", String(summary.failures.length)],
      ["in the database", String(documents.length)],
      ["seconds", summary.seconds.toFixed(1)],
      ["documents a second", (done / Math.max(0.001, summary.seconds)).toFixed(0)]
    ])
  }`)

  if (summary.failures.length > 0) {
    const lines = summary.failures.toSorted((a, b) => a.line - b.line)
    yield* print(`\n${bold("Failures")}\n`)
    for (const { message, node } of lines.slice(0, listed)) yield* print(`  ${red("✗")} ${message} ${dim(`[${node}]`)}`)
    if (lines.length > listed) yield* print(`  and ${lines.length - listed} more`)
  }
})

type Stored = {
  readonly id: string
  readonly year: number
  readonly author: string
  readonly topic: string
  readonly embedding: Uint8Array
}

const centuries = (documents: ReadonlyArray<Stored>): string => {
  const all = [...new Set(documents.map((document) => Math.ceil(document.year / 100)))].toSorted((a, b) => a - b)
  const count = (topic: string, century: number) =>
    documents.filter((document) => document.topic === topic && Math.ceil(document.year / 100) === century).length
  return table([
    ["topic", ...all.map((century) => `${century}${century === 21 ? "st" : "th"}`)],
    ...Topics.names.map((topic) => [topic, ...all.map((century) => String(count(topic, century) || "·"))])
  ])
}

const neighbours = (one: Stored, documents: ReadonlyArray<Stored>): string => {
  const vector = Store.fromBytes(one.embedding)
  const nearest = documents
    .filter((document) => document.id !== one.id)
    .map((document) => {
      const other = Store.fromBytes(document.embedding)
      return { document, cosine: vector.reduce((sum, x, i) => sum + x * (other[i] ?? 0), 0) }
    })
    .toSorted((a, b) => b.cosine - a.cosine)
    .slice(0, 5)
  return table(nearest.map(({ cosine, document }) => [
    `${document.year} ${document.author}`,
    cosine.toFixed(3),
    document.topic
  ]))
}

/** Columns with the widths that they need: text to the left, numbers to the right. */
const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const numeric = (text: string) => /^[\d.,·-]+(?:th|st)?$/.test(text)
  return rows.map((row) =>
    `  ${row.map((cell, i) => numeric(cell) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)).join("  ")}`
      .trimEnd()
  ).join("\n")
}
