/** Where a module's export is made: through the modules that only pass it on. */
import type { Files } from "./check.ts"
import type { Parser } from "./syntax.ts"

/** A place in a file. */
export interface Origin {
  readonly file: string
  /** An offset: the export that declares it. */
  readonly at: number
  /** Whether the file has it of its own; false where the way ends at a package, or at a file that can't be read. */
  readonly own: boolean
}

/** How far a way through re-exports is followed: modules may pass things on in a circle. */
const maxSteps = 16

/** Follows an export to the file that declares it; undefined where the file exports no such name. */
export const originOf = (parser: Parser, files: Files): (file: string, name: string) => Origin | undefined => {
  const follow = (file: string, name: string, left: number): Origin | undefined => {
    const text = files.read(file)
    if (text === undefined || left === 0) return undefined
    const { staticExports, staticImports } = parser.parseSync(file, text).module
    const onwards = (source: string, imported: string, at: number): Origin => {
      const next = files.resolve(source, file)
      return (next === undefined ? undefined : follow(next, imported, left - 1)) ?? { file, at, own: false }
    }
    const entries = staticExports.flatMap((it) => it.entries)
    for (const { exportName, importName, localName, moduleRequest, start } of entries) {
      if ((exportName.kind === "Default" ? "default" : exportName.name) !== name) continue
      if (moduleRequest === null) {
        // `export default name` of what was imported under that name.
        const imported = staticImports.flatMap((it) =>
          it.entries.map((entry) => ({ ...entry, from: it.moduleRequest.value }))
        )
          .find((entry) => entry.localName.value === localName.name)
        if (imported === undefined) return { file, at: localName.start ?? start, own: true }
        return imported.importName.kind === "NamespaceObject"
          ? { file, at: start, own: false }
          : onwards(imported.from, imported.importName.name ?? "default", start)
      }
      return importName.kind === "Name" && importName.name !== null
        ? onwards(moduleRequest.value, importName.name, start)
        : { file, at: start, own: false }
    }
    for (const { importName, moduleRequest, start } of entries) {
      if (importName.kind !== "AllButDefault" || moduleRequest === null || name === "default") continue
      const found = onwards(moduleRequest.value, name, start)
      if (found.file !== file) return found
    }
    return undefined
  }
  return (file, name) => follow(file, name, maxSteps)
}
