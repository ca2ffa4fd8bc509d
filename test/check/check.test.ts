import { assert, describe, it } from "@effect/vitest"
import * as path from "node:path"
import * as parser from "oxc-parser"
import * as Check from "penguiflow/check/check"
import { clean, files, wrong } from "./snippets.ts"

const checker = Check.make(parser, {
  read: (file) => files[file],
  resolve: (source, from) => source.startsWith("./") ? path.posix.join(path.posix.dirname(from), source) : undefined
})
const check = (source: string) => checker.check("/snippets/snippet.ts", source)

/** What the marks in a source say must be found, and where. */
const marked = (source: string): ReadonlyArray<string> =>
  source.split("\n").flatMap((line, at) => [...line.matchAll(/⟵ ([\w-]+)/g)].map(([, rule]) => `${at + 1} ${rule}`))

const found = (source: string): ReadonlyArray<string> => check(source).map(({ line, rule }) => `${line} ${rule}`)

describe("check", () => {
  it("has 20 snippets with mistakes and 20 without", () => {
    assert.lengthOf(wrong, 20)
    assert.lengthOf(clean, 20)
    for (const { source, title } of wrong) assert.isAbove(marked(source).length, 0, title)
  })

  for (const { source, title } of wrong) {
    it(`finds what is marked and nothing else: ${title}`, () => {
      // A mark must not change what it marks.
      const unmarked = source.replaceAll(/ (?:\/\/ )?⟵ [\w-]+/g, "")
      assert.deepStrictEqual(found(unmarked).toSorted(), marked(source).toSorted())
    })
  }

  for (const { source, title } of clean) {
    it(`finds nothing: ${title}`, () => assert.deepStrictEqual(found(source), []))
  }

  it("every finding says what is wrong, how to mend it and where to read on, and no secret", () => {
    const findings = wrong.flatMap(({ source }) => check(source))
    assert.isAtLeast(findings.length, 30)
    for (const { column, docs, fix, line, message, rule } of findings) {
      assert.isAbove(message.length, 20)
      assert.isAbove(fix.length, 10)
      assert.strictEqual(docs, `docs/checks.md#${rule}`)
      assert.isAtLeast(Math.min(line, column), 1)
      assert.notMatch(JSON.stringify([message, fix]), /hunter2|s3cr3t|abcdefghijklmnop/)
    }
    // Every rule for sources has been met, but for syntax, below.
    assert.deepStrictEqual([...new Set(findings.map(({ rule }) => rule))].toSorted(), [
      "client-in-run",
      "credential",
      "durable-nondeterminism",
      "insert-not-idempotent",
      "meta-not-json",
      "module-state",
      "suppression",
      "unused-suppression"
    ])
  })

  it("a file that does not parse is a finding, at its line", () => {
    const [finding, ...more] = check("const a = 1\nconst b = = 2\n")
    assert.deepStrictEqual([finding?.rule, finding?.line, more.length], ["syntax", 2, 0])
  })

  it("survives what is no source: nothing, bytes, a megabyte of brackets", () => {
    for (const source of ["", "\u0000\u0001\ufffd", "[".repeat(5000), `${"a.".repeat(20_000)}b`, "`${`${`"]) {
      assert.isAtMost(check(source).length, 1)
    }
  })

  it("files that import each other are read once", () => {
    const texts: Record<string, string> = {
      "/a.ts": `import { b } from "./b.ts"\nexport const a = b`,
      "/b.ts": `import { a } from "./a.ts"\nexport const b = a`
    }
    let reads = 0
    const circular = Check.make(parser, {
      read: (file) => (reads++, texts[file]),
      resolve: (source) => source.replace("./", "/")
    })
    const source =
      `import { Node } from "penguiflow"\nimport { a } from "./a.ts"\nNode.make("n", { policy: a, run: () => a })`
    assert.deepStrictEqual(circular.check("/main.ts", source), [])
    assert.strictEqual(reads, 2)
  })

  it("sees nodes in factories and in rows, services made of flows, texts put together", () => {
    const source = `import { Flow, Node } from "penguiflow"
import * as DurableFlow from "penguiflow/DurableFlow"
import * as Worker from "penguiflow/Worker"
export const flowOf = (pool) => {
  const write = Node.make("write", { run: () => pool.query("INSERT INTO a " + "VALUES (1)") })
  const flow = Flow.make("f", [write.to(Node.make("inline", { run: () => Date.now() }))])
  return DurableFlow.make(flow)
}
const fine = Node.make("fine", { run: (pool) => pool.query("INSERT INTO a VALUES (1) " + "ON CONFLICT DO NOTHING") })
const clause = (sql, onConflict) => sql\`INSERT INTO a VALUES (1) \${onConflict}\`
const also = Node.make("also", { run: (sql) => clause(sql, 1) })
const inner = Flow.make("inner", [fine.to(also)])
const outer = Flow.make("outer", [Node.fromFlow(inner).to()])
export class Job extends Worker.Service()("app/Job", outer) {}
const unsafe = Node.make("unsafe", { run: (pool) => pool.query("INSERT INTO b VALUES (1)") })
const holding = Node.fromFlow(Flow.make("holding", [unsafe.to()]))
export class Other extends Worker.Service()("app/Other", Flow.make("other", [holding.to()])) {}`
    assert.deepStrictEqual(found(source), [
      "5 insert-not-idempotent",
      "6 durable-nondeterminism",
      "15 insert-not-idempotent"
    ])
  })

  it("sees what is put into a meta afterwards, and parameters that say their type", () => {
    const source = `import { Flow } from "penguiflow"
import { Pool } from "pg"
export const a = (message, session) => { message.meta["session"] = new Pool(); message.meta.user = session.user }
export const b = (db: Pool, user: string) => Flow.run(flow, 1, { meta: { db, user } })
export const c = (user: string) => Flow.run(flow, 1, { meta: { user } })
export const d = (sql: SqlClient.SqlClient) => { const meta = { sql }; return Flow.run(flow, 1, { meta }) }`
    assert.deepStrictEqual(found(source), ["3 meta-not-json", "4 meta-not-json", "6 meta-not-json"])
  })

  it("knows the words however they are imported", () => {
    const body = `make("a", { run: () => new Pool() })`
    for (
      const [imports, call] of [
        [`import { Node } from "penguiflow"`, "Node."],
        [`import { Node as N } from "penguiflow"`, "N."],
        [`import * as Node from "penguiflow/Node"`, "Node."],
        [`import { make } from "penguiflow/Node"`, ""],
        [`import * as P from "../Node.ts"`, "P."]
      ]
    ) {
      assert.lengthOf(check(`${imports}\nimport { Pool } from "pg"\n${call}${body}`), 1, imports)
    }
    assert.deepStrictEqual(check(`import { Node } from "other"\nimport { Pool } from "pg"\nNode.${body}`), [])
  })
})
