/** The version of the package, read from beside it. */
import * as fs from "node:fs"

interface Package {
  readonly version: string
}

const read = (): string => {
  try {
    const file = new URL("../../package.json", import.meta.url)
    return (JSON.parse(fs.readFileSync(file, "utf8")) as Package).version
  } catch {
    return "0.0.0"
  }
}

export const version: string = read()
