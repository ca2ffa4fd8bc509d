/**
 * Examples that run: code fences marked `ts runnable` in README.md, docs and the JSDoc of src become tests.
 *
 * `expression // => value` at the end of a statement becomes an assertion, and so does `const x = expression // => value`.
 * Each source file gives one file in `.doctest`; `found.test.ts` there asserts that fences were found at all, so that a
 * search that finds nothing is a failed test.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { parseSync } from "oxc-parser"
import { filesBelow, lineAt, read, root } from "./lib.ts"

/** The least number of fences. */
const least = { "README.md": 1, src: 15 }

/** A fence that can't be made into a test becomes one that fails with this sentence. */
const fail = (sentence: string): never => {
  throw new Error(sentence)
}

interface Fence {
  readonly file: string
  readonly line: number
  readonly code: string
}

/** Fences are written after ` * ` in JSDoc: the margin of the opening line is cut from every line. */
export const fencesIn = (file: string, text: string): ReadonlyArray<Fence> => {
  const fences: Array<Fence> = []
  const lines = text.split("\n")
  for (let i = 0; i < lines.length; i++) {
    const opening = /^(\s*(?:\* ?)?\s*)(`{3,})ts runnable\s*$/.exec(lines[i]!)
    if (opening === null) continue
    const [, margin, ticks] = opening
    const code: Array<string> = []
    const from = i + 1
    for (i++; i < lines.length && lines[i]!.replace(/^\s*\*? ?/, "").trim() !== ticks; i++) {
      const line = lines[i]!
      code.push(line.startsWith(margin!) ? line.slice(margin!.length) : line.replace(/^\s*\* ?/, ""))
    }
    fences.push({ file, line: from, code: code.join("\n").replaceAll("*\\/", "*/") })
  }
  return fences
}

interface Import {
  readonly module: string
  readonly imported: string
  readonly local: string
  readonly type: boolean
}
interface Test {
  readonly fence: Fence
  readonly imports: ReadonlyArray<Import>
  readonly body: string
  readonly assertions: number
}

export const testOf = (fence: Fence): Test => {
  const { file, line, code } = fence
  const where = (offset: number) => `${file}:${line + lineAt(code, offset)}`
  const parsed = parseSync("fence.ts", code)
  for (const error of parsed.errors) {
    fail(`${where(error.labels[0]?.start ?? 0)}: ${error.message}`)
  }
  const imports: Array<Import> = []
  if (code.trim() === "") fail(`${file}:${line}: the fence is empty`)
  const edits: Array<{ readonly start: number; readonly end: number; readonly text: string }> = []
  for (const node of parsed.program.body) {
    if (node.type === "ImportDeclaration") {
      const module = node.source.value
      const type = node.importKind === "type"
      if (node.specifiers.length === 0) imports.push({ module, imported: "", local: "", type: false })
      for (const it of node.specifiers) {
        const imported = it.type === "ImportNamespaceSpecifier"
          ? "*"
          : it.type === "ImportDefaultSpecifier"
          ? "default"
          : it.imported.type === "Identifier"
          ? it.imported.name
          : it.imported.value
        imports.push({
          module,
          imported,
          local: it.local.name,
          type: type || (it.type === "ImportSpecifier" && it.importKind === "type")
        })
      }
      edits.push({ start: node.start, end: node.end, text: "" })
    } else if (node.type === "ExportNamedDeclaration" && node.declaration) {
      edits.push({ start: node.start, end: node.declaration.start, text: "" })
    }
  }
  let assertions = 0
  for (const comment of parsed.comments) {
    const expected = /^\s*=>\s*(.+?)\s*$/s.exec(comment.value)?.[1]
    if (expected === undefined) continue
    const owner = parsed.program.body.find((node) =>
      node.end <= comment.start && /^[ \t;]*$/.test(code.slice(node.end, comment.start))
    )
    if (owner?.type === "ExpressionStatement") {
      const expression = code.slice(owner.expression.start, owner.expression.end)
      edits.push({ start: owner.start, end: comment.end, text: `assert.deepStrictEqual(${expression}, ${expected})` })
    } else if (
      owner?.type === "VariableDeclaration" && owner.declarations.length === 1 &&
      owner.declarations[0]!.id.type === "Identifier"
    ) {
      const name = owner.declarations[0]!.id.name
      edits.push({ start: comment.start, end: comment.end, text: `\nassert.deepStrictEqual(${name}, ${expected})` })
    } else {
      return fail(`${where(comment.start)}: \`// => …\` follows neither an expression nor one declared name`)
    }
    assertions++
  }
  let body = code
  for (const edit of edits.toSorted((a, b) => b.start - a.start)) {
    body = body.slice(0, edit.start) + edit.text + body.slice(edit.end)
  }
  return { fence, imports, body: body.trim(), assertions }
}

const specifier = ({ imported, local, type }: Import) =>
  `${type ? "type " : ""}${imported === local ? local : `${imported} as ${local}`}`

/** One test file; imports are merged, a name that means two things in one source file is an error. */
export const render = (tests: ReadonlyArray<Test>): string => {
  const merged = new Map<string, Import>()
  for (const { fence, imports } of tests) {
    for (const it of imports) {
      const key = it.local === "" ? it.module : it.local
      const before = merged.get(key)
      if (before && (before.module !== it.module || before.imported !== it.imported)) {
        fail(`${fence.file}:${fence.line}: "${it.local}" is imported from two places in this file's examples`)
      }
      merged.set(key, before && !before.type ? before : it)
    }
  }
  const header = [...Map.groupBy(merged.values(), (it) => it.module)].flatMap(([module, its]) => {
    const named = its.filter((it) => it.imported !== "*" && it.imported !== "")
    return [
      ...its.filter((it) => it.imported === "").map(() => `import "${module}"`),
      ...its.filter((it) => it.imported === "*").map((it) =>
        `import ${it.type ? "type " : ""}* as ${it.local} from "${module}"`
      ),
      ...(named.length === 0 ? [] : [`import { ${named.map(specifier).join(", ")} } from "${module}"`])
    ]
  })
  const bodies = tests.map(({ body, fence }) =>
    `it(${JSON.stringify(`the example at ${fence.file}:${fence.line} runs`)}, async () => {\n${body}\n})`
  )
  return [`import { assert, it } from "vitest"`, ...header, "", ...bodies, ""].join("\n")
}

if (import.meta.main) {
  const folder = path.join(root, ".doctest")
  fs.rmSync(folder, { recursive: true, force: true })
  fs.mkdirSync(folder)
  const files = [
    ...(fs.existsSync(path.join(root, "README.md")) ? ["README.md"] : []),
    ...filesBelow("docs", ".md"),
    ...filesBelow("src", ".ts")
  ]
  const counts: Record<string, number> = {}
  let [fences, assertions] = [0, 0]
  for (const file of files) {
    const tests = fencesIn(file, read(file)).map((fence): Test => {
      try {
        return testOf(fence)
      } catch (error) {
        return { fence, imports: [], body: `throw new Error(${JSON.stringify(String(error))})`, assertions: 0 }
      }
    })
    counts[file] = tests.length
    if (tests.length === 0) continue
    fences += tests.length
    assertions += tests.reduce((sum, test) => sum + test.assertions, 0)
    fs.writeFileSync(path.join(folder, `${file.replaceAll(/[/.]/g, "_")}.test.ts`), render(tests))
  }
  const found = {
    "README.md": counts["README.md"] ?? 0,
    src: Object.entries(counts).reduce((sum, [file, n]) => file.startsWith("src") ? sum + n : sum, 0)
  }
  const checks = Object.entries(least).map(([place, n]) =>
    `it("${place} has at least ${n} runnable example${n === 1 ? "" : "s"}", () => {\n` +
    `  assert.isAtLeast(${found[place as keyof typeof found]}, ${n})\n})\n`
  )
  fs.writeFileSync(path.join(folder, "found.test.ts"), `import { assert, it } from "vitest"\n\n${checks.join("")}`)
  console.log(`${fences} runnable examples with ${assertions} assertions in ${files.length} files.`)
}
