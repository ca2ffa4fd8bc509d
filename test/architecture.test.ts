/** What may import what, as a table; and what no file of the project may say. */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { parseSync, Visitor } from "oxc-parser"

const root = path.resolve(import.meta.dirname, "..")

// ---------------------------------------------------------------- what may import what

/** Where a file of src belongs, and what a specifier outside of src is. */
type Kind =
  | "index"
  | "word"
  | "internal"
  | "http"
  | "surface"
  | "layer"
  | "vendor layer"
  | "flow"
  | "testing"
  | "check"
  | "bin"
  | "effect"
  | "effect unstable"
  | "node"
  | "driver"
  | "layout"

interface Rule {
  /** What it may import at run time. */
  readonly may: ReadonlyArray<Kind>
  /** What it may not even import as a type. */
  readonly never: ReadonlyArray<Kind>
}

const publicModules: ReadonlyArray<Kind> = ["index", "word", "surface"]

const table: Readonly<Record<Exclude<Kind, "effect" | "effect unstable" | "node" | "driver" | "layout">, Rule>> = {
  "index": { may: ["word"], never: ["internal", "http", "surface", "layer", "vendor layer", "flow", "testing", "bin"] },
  "word": {
    may: ["effect", "word", "internal"],
    never: ["index", "http", "surface", "layer", "vendor layer", "flow", "testing", "bin", "node", "driver"]
  },
  "internal": {
    may: ["effect", "word", "internal"],
    never: ["index", "http", "surface", "layer", "vendor layer", "flow", "testing", "bin", "node", "driver"]
  },
  // The rooms of FlowHttp. They are many, and each of them is about requests and answers: the parts of effect that the
  // surface is named for are theirs, and nobody else among the internals may use them or these rooms.
  "http": {
    may: ["effect", "effect unstable", "word", "internal", "http", "surface"],
    never: ["index", "layer", "vendor layer", "flow", "testing", "bin", "node", "driver"]
  },
  "surface": {
    may: ["effect", "effect unstable", "word", "internal", "http", "surface"],
    never: ["index", "vendor layer", "flow", "testing", "bin", "driver"]
  },
  "layer": {
    may: ["effect", "effect unstable", "node", "driver", "word", "surface", "layer", "vendor layer"],
    never: ["index", "internal", "http", "flow", "testing", "bin"]
  },
  "vendor layer": {
    may: ["effect", "effect unstable", "node", "driver", "word", "surface", "layer", "vendor layer"],
    never: ["index", "internal", "http", "flow", "testing", "bin"]
  },
  "flow": {
    may: ["effect", "effect unstable", "flow", ...publicModules],
    never: ["internal", "http", "vendor layer", "bin"]
  },
  "testing": {
    may: ["effect", "effect unstable", "testing", "layer", ...publicModules],
    never: ["internal", "http", "vendor layer", "bin"]
  },
  "check": {
    may: ["effect", "effect unstable", "node", "driver", "check", ...publicModules],
    never: ["internal", "http", "layer", "vendor layer", "flow", "testing", "bin"]
  },
  "bin": {
    may: [
      "effect",
      "effect unstable",
      "node",
      "driver",
      "layer",
      "vendor layer",
      "flow",
      "testing",
      "check",
      "bin",
      ...publicModules
    ],
    never: ["internal", "http"]
  }
}

/** The package that places the nodes of diagrams, and the one room that imports it. */
const layout = { package: "@dagrejs/dagre", room: "internal/diagram/layout.ts" } as const

/** Modules that are named for a part of effect that is not stable yet, each with the parts it is named for. */
const surfaces: Readonly<Record<string, ReadonlyArray<string>>> = {
  DurableFlow: ["workflow", "persistence"],
  FlowCli: ["cli", "process"],
  // Metrics are served as the text that Prometheus reads.
  FlowHttp: ["http", "http-api", "encoding", "observability"],
  Migration: ["sql"],
  Worker: ["persistence"]
}

/** Modules at effect's top that are not stable. */
const unstableAtTheTop = new Set(["Arbitrary", "ExecutionPlan", "Graph", "LayerMap", "PartitionedSemaphore"])

/** Cycles among run-time imports that are meant, as their files in order of the alphabet. */
const meantCycles: ReadonlyArray<ReadonlyArray<string>> = [
  // A walk visits a node that is a flow, and that flow is walked.
  ["internal/inner.ts", "internal/walk.ts"]
]

const kindOfFile = (file: string): Kind => {
  const [folder, rest] = file.split("/")
  if (rest === undefined) {
    const name = folder!.replace(/\.ts$/, "")
    return name === "index" ? "index" : name in surfaces ? "surface" : "word"
  }
  if (file.startsWith("internal/http/")) return "http"
  if (folder === "layers") return /(Postgres|Sqlite|Redis|Pg)/.test(rest) ? "vendor layer" : "layer"
  const kinds: Record<string, Kind> = {
    internal: "internal",
    flows: "flow",
    testing: "testing",
    check: "check",
    bin: "bin"
  }
  const kind = kinds[folder!]
  assert.isDefined(kind, `src/${file} lies in a folder that the table does not know`)
  return kind!
}

const kindOfPackage = (specifier: string): Kind => {
  if (specifier.startsWith("node:")) return "node"
  if (specifier === layout.package) return "layout"
  const [scope, first, ...rest] = specifier.split("/")
  if (scope !== "effect") return "driver"
  return rest.length === 0 && first !== undefined && /^[A-Z]/.test(first) && !unstableAtTheTop.has(first)
    ? "effect"
    : "effect unstable"
}

interface Import {
  readonly from: string
  readonly specifier: string
  /** The file of src it names; undefined for packages. */
  readonly file: string | undefined
  readonly kind: Kind
  readonly type: boolean
}

const filesOf = (folder: string): ReadonlyArray<string> =>
  fs.readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
    .map((file) => file.split(path.sep).join("/"))
    .filter((file) => file.endsWith(".ts"))
    .toSorted()

const importsOf = (from: string, text: string): ReadonlyArray<Import> => {
  const parsed = parseSync(from, text)
  assert.deepStrictEqual(parsed.errors, [], `${from} does not parse`)
  const imports: Array<Import> = []
  const add = (specifier: string, type: boolean) => {
    const file = specifier.startsWith(".") ? path.posix.join(path.posix.dirname(from), specifier) : undefined
    imports.push({
      from,
      specifier,
      file,
      kind: file === undefined ? kindOfPackage(specifier) : kindOfFile(file),
      type
    })
  }
  for (const node of parsed.program.body) {
    if (node.type === "ImportDeclaration") {
      add(
        node.source.value,
        node.importKind === "type" ||
          (node.specifiers.length > 0 &&
            node.specifiers.every((it) => it.type === "ImportSpecifier" && it.importKind === "type"))
      )
    } else if (node.type === "ExportAllDeclaration" || (node.type === "ExportNamedDeclaration" && node.source)) {
      add(node.source!.value, node.exportKind === "type")
    }
  }
  new Visitor({
    ImportExpression: (node) => {
      if (node.source.type === "Literal" && typeof node.source.value === "string") add(node.source.value, false)
    },
    TSImportType: (node) => add(node.source.value, true)
  }).visit(parsed.program)
  return imports
}

/** Groups of files that reach each other: Tarjan's strongly connected components, of more than one file. */
const cyclesOf = (edges: ReadonlyMap<string, ReadonlyArray<string>>): ReadonlyArray<ReadonlyArray<string>> => {
  const index = new Map<string, number>()
  const low = new Map<string, number>()
  const stack: Array<string> = []
  const cycles: Array<ReadonlyArray<string>> = []
  const visit = (file: string) => {
    index.set(file, index.size)
    low.set(file, index.get(file)!)
    stack.push(file)
    for (const next of edges.get(file) ?? []) {
      if (!index.has(next)) visit(next)
      if (stack.includes(next)) low.set(file, Math.min(low.get(file)!, low.get(next)!))
    }
    if (low.get(file) === index.get(file)) {
      const group = stack.splice(stack.indexOf(file))
      if (group.length > 1 || edges.get(file)?.includes(file)) cycles.push(group.toSorted())
    }
  }
  for (const file of edges.keys()) if (!index.has(file)) visit(file)
  return cycles.toSorted((a, b) => a[0]!.localeCompare(b[0]!))
}

const files = filesOf("src")
const texts = new Map(files.map((file) => [file, fs.readFileSync(path.join(root, "src", file), "utf8")]))
const imports = files.flatMap((file) => importsOf(file, texts.get(file)!))
const show = ({ from, specifier, type }: Import) => `src/${from} imports ${type ? "the type of " : ""}${specifier}`

describe("architecture", () => {
  it("reads the sources and sees their imports", () => {
    assert.isAtLeast(files.length, 15)
    assert.isAtLeast(imports.filter((it) => it.file !== undefined).length, 30)
    assert.isAtLeast(imports.filter((it) => it.type).length, 10)
    assert.isAtLeast(imports.filter((it) => !it.type && it.kind === "effect").length, 10)
    for (const it of imports) {
      if (it.file !== undefined) assert.isTrue(texts.has(it.file), `${show(it)}, which is no file`)
    }
  })

  it("tells run-time imports from those of types", () => {
    const seen = importsOf(
      "Some.ts",
      `import type * as A from "effect/A"
       import { type B } from "effect/B"
       import { type C, c } from "effect/C"
       import D from "effect/D"
       import "effect/E"
       export type { F } from "effect/F"
       export * as G from "effect/G"
       type H = import("effect/H").H
       const i = () => import("effect/I")`
    )
    assert.deepStrictEqual(
      Object.fromEntries(seen.map((it) => [it.specifier.slice(-1), it.type])),
      { A: true, B: true, C: false, D: false, E: false, F: true, G: false, H: true, I: false }
    )
  })

  it("finds a cycle", () => {
    assert.deepStrictEqual(
      cyclesOf(new Map([["a", ["b"]], ["b", ["c", "d"]], ["c", ["a"]], ["d", []], ["e", ["e"]]])),
      [["a", "b", "c"], ["e"]]
    )
  })

  for (const [kind, rule] of Object.entries(table)) {
    it(`${kind}: imports only what the table allows`, () => {
      const wrong = imports.filter((it) =>
        kindOfFile(it.from) === kind && it.kind !== "layout" &&
        (rule.never.includes(it.kind) || (!it.type && !rule.may.includes(it.kind)))
      )
      assert.deepStrictEqual(wrong.map((it) => `${show(it)} (${it.kind})`), [])
    })
  }

  it("one room imports the layout library, and importing the core does not reach it", () => {
    assert.deepStrictEqual(imports.filter((it) => it.kind === "layout").map((it) => it.from), [layout.room])
    const reachedFrom = (file: string) => {
      const reached = new Set([file])
      for (const from of reached) {
        for (const it of imports) if (it.from === from && !it.type && it.file !== undefined) reached.add(it.file)
      }
      return reached
    }
    assert.isTrue(reachedFrom("FlowDiagram.ts").has(layout.room))
    const core = reachedFrom("index.ts")
    assert.isAtLeast(core.size, 30)
    assert.isFalse(core.has(layout.room))
  })

  it("a surface imports no other unstable part of effect than the one it is named for", () => {
    const wrong = imports.filter((it) => {
      const parts = surfaces[kindOfFile(it.from) === "http" ? "FlowHttp" : it.from.replace(/\.ts$/, "")]
      return parts !== undefined && !it.type && it.kind === "effect unstable" &&
        !parts.includes(it.specifier.split("/")[1]!)
    })
    assert.deepStrictEqual(wrong.map(show), [])
  })

  it("the core imports the types of stable modules only", () => {
    const wrong = imports.filter((it) =>
      ["word", "internal"].includes(kindOfFile(it.from)) && it.kind === "effect unstable"
    )
    assert.deepStrictEqual(wrong.map(show), [])
  })

  it("effect is imported module by module, never as a whole", () => {
    const wrong = imports.filter((it) =>
      (it.specifier === "effect" || it.specifier.startsWith("effect/")) &&
      !/^effect\/(?:[a-z-]+\/)*[A-Z]\w*$/.test(it.specifier) &&
      // A switch for the whole process: the application's, and so the command line's.
      !(kindOfFile(it.from) === "bin" && it.specifier === "effect/schema/SchemaJITCompiler/enable")
    )
    assert.deepStrictEqual(wrong.map(show), [])
  })

  it("no cycles among run-time imports but those that are meant", () => {
    const edges = new Map(
      files.map((file) => [
        file,
        imports.flatMap((it) => it.from === file && !it.type && it.file !== undefined ? [it.file] : [])
      ])
    )
    assert.deepStrictEqual(cyclesOf(edges), meantCycles)
  })

  it("the core opens no span and no traced function", () => {
    const wrong: Array<string> = []
    let members = 0
    for (const [file, text] of texts) {
      if (!["word", "internal"].includes(kindOfFile(file))) continue
      new Visitor({
        MemberExpression: ({ object, property, start }) => {
          if (object.type !== "Identifier" || object.name !== "Effect" || property.type !== "Identifier") return
          members++
          if (["fn", "withSpan"].includes(property.name)) {
            wrong.push(`src/${file}:${text.slice(0, start).split("\n").length}: Effect.${property.name}`)
          }
        }
      }).visit(parseSync(file, text).program)
    }
    assert.isAtLeast(members, 20)
    assert.deepStrictEqual(wrong, [])
  })
})

// ---------------------------------------------------------------- what no file says

const ignored =
  /^(?:node_modules|dist|coverage|dashboard\/dist|examples\/data|package-lock\.json|LICENSE|\.git|\.doctest|\.typetest|\.lab)(?:$|\/)/

const publicFiles = (folder: string): ReadonlyArray<string> =>
  fs.readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const file = path.posix.join(folder, entry.name)
    if (ignored.test(file)) return []
    if (entry.isDirectory()) return publicFiles(file)
    return /\.(?:ts|mjs|js|json|jsonc|md|sh|ya?ml|sql|html|css)$/.test(file) || /^\.\w+\/[\w-]+$/.test(file)
      ? [file]
      : []
  }).toSorted()

/** Written in two halves, so that this file does not say what it forbids. */
const halves = (...words: ReadonlyArray<readonly [string, string]>) => words.map((it) => it.join(""))
const foreign = halves(["Fl", "oe"], ["Rook", "ery"], ["Open", "Sea"])

/** The chapter of the README for those who come from PenguiFlow may use its words. */
const withoutTable = (text: string) => text.replace(/^(#+) [^\n]*PenguiFlow\n[\s\S]*?(?=^#{1,2} |$(?![\s\S]))/gmi, "")

const complaintsIn = (file: string, text: string): ReadonlyArray<string> => {
  const lines = (forbidden: RegExp, it: string, what: string) =>
    it.split("\n").flatMap((line) => forbidden.test(line) ? [`${file}: ${what}: ${line.trim().slice(0, 120)}`] : [])
  return [
    ...(file === "CHANGELOG.md"
      ? []
      : lines(
        new RegExp(`\\b(?:${foreign.join("|")})`, "i"),
        withoutTable(text),
        "a word of another vocabulary"
      )),
    ...lines(/(?<![\w.~:/-])\/(?:home|root|work|Users)(?![\w-])/, text, "a path of one machine"),
    ...lines(/(?<![\w./-])shared\//, text, "a folder outside of the project"),
    ...lines(/\bregistry\.[\w-]+\.\w/, text, "the host of a registry")
  ]
}

describe("what the project says", () => {
  const all = publicFiles("")

  it("reads the project's files", () => {
    assert.isAtLeast(all.length, 30)
    for (const file of ["README.md", "package.json", ".ci/run", "src/index.ts", "test/architecture.test.ts"]) {
      assert.include(all, file)
    }
  })

  it("finds what it looks for", () => {
    const words = halves(
      ["Fl", "oe"],
      ["/ho", "me/me/project"],
      ["sha", "red/notes"],
      ["registry.", "example.org"]
    )
    assert.deepStrictEqual(words.map((word) => complaintsIn("some.md", `see ${word}`).length), [1, 1, 1, 1])
    const readme = `# A\n\n## Coming from PenguiFlow\n\n| ${words[0]} | edge |\n\n## Next\n`
    assert.deepStrictEqual(complaintsIn("README.md", readme), [])
    assert.lengthOf(complaintsIn("README.md", `${readme}\n${words[0]}`), 1)
    assert.deepStrictEqual(complaintsIn("some.md", "effect/workflow, node_modules/x-shared/y, a shared one"), [])
  })

  it("uses its own words, and names no place outside of it", () => {
    assert.deepStrictEqual(
      all.flatMap((file) => complaintsIn(file, fs.readFileSync(path.join(root, file), "utf8"))),
      []
    )
  })
})
