/** Where a document of the package is, as a user sees it from a folder. */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

/**
 * Turns `docs/checks.md#rule` into what can be opened from a folder: the file in the nearest `node_modules`, else that of
 * the package itself where the folder holds it. Else it is named by its package: a path of the machine helps no other one.
 */
export const docsFrom = (folder: string): (document: string) => string => {
  const found = placeFrom(path.resolve(folder))
  return (document) => found === undefined ? `${document} of penguiflow` : `${found}${document}`
}

/** What stands before `docs/`; undefined where the folder knows of no copy. */
const placeFrom = (folder: string): string | undefined => {
  for (let at = folder;; at = path.dirname(at)) {
    const place = path.join(at, "node_modules/penguiflow")
    if (fs.existsSync(path.join(place, "docs/checks.md"))) return slashes(`${path.relative(folder, place)}/`)
    if (path.dirname(at) === at) break
  }
  const own = path.relative(fs.realpathSync(folder), fileURLToPath(new URL("../..", import.meta.url)))
  return own.startsWith("..") || path.isAbsolute(own) ? undefined : slashes(own === "" ? "" : `${own}/`)
}

const slashes = (name: string): string => name.replaceAll("\\", "/")
