/** The version of the package, read from beside it, and whether the Node.js that runs it is new enough. */
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

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)

/** Whether this Node.js is older than what the package needs: 22.19. */
export const isOld: boolean = major < 22 || major === 22 && minor < 19
