/**
 * Bundles `dashboard` to `dist/dashboard/assets.js`: a module of four texts, the page, its script, style and icon. Without
 * any import of the project, so that it also runs right after an installation.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { gzipSync } from "node:zlib"
import { rolldown } from "rolldown"

const root = path.resolve(import.meta.dirname, "..")
const sources = path.join(root, "dashboard")

/** Where the bundle goes, and how large its texts are, in bytes. */
export interface Bundled {
  readonly file: string
  readonly sizes: Readonly<Record<"html" | "js" | "css" | "icon", { readonly plain: number; readonly gzip: number }>>
}

export const bundle = async (file: string = path.join(root, "dist/dashboard/assets.js")): Promise<Bundled> => {
  const build = await rolldown({
    input: path.join(sources, "main.tsx"),
    tsconfig: path.join(sources, "tsconfig.json"),
    platform: "browser",
    // Marks that tell a bundler what it may leave out: this is the last one.
    transform: { jsx: { pure: false } },
    logLevel: "warn"
  })
  const { output: [script, ...others] } = await build.generate({ format: "esm", minify: true })
  await build.close()
  if (others.length > 0) throw new Error(`The dashboard is to be one script, and not ${others.length + 1} files`)
  const styles = fs.readdirSync(path.join(sources, "style")).filter((it) => it.endsWith(".css")).toSorted()
  const texts = {
    html: fs.readFileSync(path.join(sources, "index.html"), "utf8"),
    js: script.code,
    icon: fs.readFileSync(path.join(sources, "icon.svg"), "utf8"),
    css: styles.map((it) => smaller(fs.readFileSync(path.join(sources, "style", it), "utf8"))).join("\n")
  }
  const lines = Object.entries(texts).map(([name, text]) => `export const ${name} = ${JSON.stringify(text)}\n`)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  // Whole or not at all: tests and a build may do this at the same time.
  const part = `${file}.${process.pid}`
  fs.writeFileSync(part, lines.join(""))
  fs.renameSync(part, file)
  const sizeOf = (text: string) => ({ plain: Buffer.byteLength(text), gzip: gzipSync(text).length })
  return {
    file,
    sizes: { html: sizeOf(texts.html), js: sizeOf(texts.js), css: sizeOf(texts.css), icon: sizeOf(texts.icon) }
  }
}

/** Without comments and indentation: the style has neither in its values. */
const smaller = (css: string): string =>
  css.replaceAll(/\/\*[\s\S]*?\*\//g, "").split("\n").map((line) => line.trim()).filter((line) => line !== "").join(
    "\n"
  )

/** For people. */
export const sizesOf = ({ sizes }: Bundled): string =>
  Object.entries(sizes).map(([name, { gzip, plain }]) =>
    `${name} ${(plain / 1024).toFixed(1)} kB, ${(gzip / 1024).toFixed(1)} kB gzipped`
  ).join("; ")

if (import.meta.main) console.log(`Bundled the dashboard: ${sizesOf(await bundle())}.`)
