/** A real browser, where one is installed: pages are looked at as they are drawn. */
import { Effect, type Scope } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { type BrowserContext, chromium, type Page } from "playwright-core"

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium"

/** Whether there is a browser: `CHROMIUM`, or where Debian puts it. */
export const available = fs.existsSync(executablePath)

/** What a page has asked for and said since it was opened. */
export interface Seen {
  readonly page: Page
  readonly asked: ReadonlyArray<string>
  readonly said: ReadonlyArray<string>
  /** The value of an expression in the page. */
  readonly evaluate: (expression: string) => Effect.Effect<unknown>
}

export interface Browser {
  /** Opens a text as a file with this ending. */
  readonly open: (text: string, ending: string) => Effect.Effect<Seen>
}

/** The browser, with what it writes in this folder; whoever started it closes it and removes the folder. */
export const launch = (folder: string): Promise<BrowserContext> =>
  chromium.launchPersistentContext(path.join(folder, "profile"), {
    executablePath,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync"
    ]
  })

/** A browser that is gone, with all that it wrote, when the scope closes. */
export const make: Effect.Effect<Browser, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.promise(async (): Promise<{ readonly context: BrowserContext; readonly folder: string }> => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), "penguiflow-browser-"))
      const context = await launch(folder)
      return { context, folder }
    }),
    ({ context, folder }) =>
      Effect.promise(async () => {
        await context.close()
        fs.rmSync(folder, { recursive: true, force: true })
      })
  ),
  ({ context, folder }): Browser => {
    let files = 0
    return {
      open: (text, ending) =>
        Effect.promise(async () => {
          const file = path.join(folder, `page${files++}.${ending}`)
          fs.writeFileSync(file, text)
          const page = await context.newPage()
          const asked: Array<string> = []
          const said: Array<string> = []
          page.on("request", (request) => asked.push(request.url()))
          page.on("console", (message) => said.push(message.text()))
          page.on("pageerror", (error) => said.push(error.message))
          await page.goto(`file://${file}`)
          const evaluate = (expression: string) => Effect.promise((): Promise<unknown> => page.evaluate(expression))
          return { page, asked, said, evaluate }
        })
    }
  }
)
