/** The dashboard in a real browser, against the real server: what a person does with it. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import type { BrowserContext, Page, Request } from "playwright-core"
import { count } from "../../dashboard/model/words.ts"
import { type Message, messagesOf } from "../../dashboard/wire/sse.ts"
import type { Snapshot } from "../../dashboard/wire/types.ts"
import { bundle } from "../../tools/dashboard.ts"
import * as Browser from "../utils/browser.ts"
import { addressOf, hostile, order, site } from "./site.ts"

const images = process.env["SCREENSHOTS"]

let browser: BrowserContext
const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "penguiflow-dashboard-"))

interface Look {
  readonly page: Page
  readonly base: string
  /** What the page complained of, and what it asked of other machines. */
  readonly said: Array<string>
  readonly elsewhere: Array<string>
}

interface Options {
  readonly token?: string
  readonly tidy?: boolean
  readonly bare?: boolean
  readonly idle?: boolean
  readonly width?: number
  readonly dark?: boolean
  /** What the page may complain of. */
  readonly expected?: RegExp
}

/** A page at a site of its own; whatever the test does, it complains of nothing and runs nothing that it was given. */
const looking = (look: (it: Look) => Promise<void>, options: Options = {}) =>
  Effect.scoped(
    Effect.gen(function*() {
      const base = yield* addressOf
      const page = yield* Effect.acquireRelease(
        Effect.promise(() => browser.newPage()),
        (page) => Effect.promise(() => page.close())
      )
      const said: Array<string> = []
      const elsewhere: Array<string> = []
      page.on("console", (message) => said.push(message.text()))
      page.on("pageerror", (error) => said.push(error.message))
      page.on("request", (request) => {
        if (!request.url().startsWith(base)) elsewhere.push(request.url())
      })
      yield* Effect.promise(async () => {
        await page.setViewportSize({ width: options.width ?? 1280, height: 860 })
        await page.emulateMedia({ colorScheme: options.dark === true ? "dark" : "light", reducedMotion: "reduce" })
        await page.goto(base)
        await look({ page, base, said, elsewhere })
        assert.isUndefined(await page.evaluate("window.__xss"))
        assert.deepStrictEqual(elsewhere, [])
        assert.deepStrictEqual(said.filter((line) => !options.expected?.test(line)), [])
        assert.isAtMost(await page.evaluate(overflow), 0, "the page is wider than its window")
      })
    }).pipe(
      Effect.provide(
        site({
          ...(options.token === undefined ? {} : { token: options.token }),
          tidy: options.tidy === true,
          bare: options.bare === true,
          idle: options.idle === true
        })
      )
    )
  )

const overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

const post = (base: string, path: string, body: unknown) =>
  fetch(base + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body)
  })
const running = async (base: string, input: unknown, traceId: string, flow = "orders") =>
  (await post(base, `/api/flows/${encodeURIComponent(flow)}/stream?detach=true&traceId=${traceId}`, input)).body
    ?.cancel()
const ended = async (base: string, input: unknown, traceId: string, flow = "orders") =>
  (await post(base, `/api/flows/${encodeURIComponent(flow)}/run?traceId=${traceId}`, input)).text()

/** How many traces of a flow succeeded, as the server's snapshot says. */
const succeededIn = async (base: string, flow: string): Promise<number> => {
  const answer = await fetch(`${base}/api/events`)
  for await (const messages of messagesOf(answer)) {
    const [{ data }] = messages as readonly [Message]
    return (JSON.parse(data) as Snapshot).flows[flow]!.succeeded
  }
  return 0
}

const nodeOf = (page: Page, name: string) => page.locator(`g.node[data-node="${name}"]`)
const live = async (page: Page) => {
  await page.getByText("Live", { exact: true }).waitFor()
  // The address of the first flow is filled in.
  await page.waitForURL(/#\/./)
}

/** The form of the boxes' flow, with two light ones. */
const filledIn = async (page: Page, base: string) => {
  await live(page)
  await page.goto(`${base}/#/flows/box/run`)
  await page.getByLabel("boxes").fill("2")
  await page.getByLabel("weight").fill("1")
}

/** The same, stored as a job: the region that tells how it goes on. */
const stored = async (page: Page, base: string) => {
  await filledIn(page, base)
  await page.getByRole("button", { name: "Store as a job" }).click()
  return page.getByRole("region", { name: "Result" })
}

describe.skipIf(!Browser.available)("the dashboard", { timeout: 90_000 }, () => {
  beforeAll(async () => {
    await bundle()
    browser = await Browser.launch(folder)
  })

  afterAll(async () => {
    await browser?.close()
    Fs.rmSync(folder, { recursive: true, force: true })
  })

  it.live("shows what runs, marks it in the diagram and cancels it", () =>
    looking(async ({ base, page }) => {
      await live(page)
      await running(base, order("Pingu", "slow"), "slow-one")
      const pay = page.locator(`g.node.is-running[data-node="pay"]`)
      await pay.waitFor()
      assert.strictEqual(await pay.getAttribute("aria-label"), "pay: 1 running")
      assert.strictEqual(await pay.locator(".badge-running text").textContent(), "1")
      const row = page.getByRole("row").filter({ hasText: "slow-one" })
      await row.getByText("running").waitFor()
      await row.getByRole("link", { name: "slow-one" }).click()
      await page.getByRole("heading", { name: "Trace slow-one" }).waitFor()
      // The bar of what still runs is there, and grows.
      await page.locator(".bar.end-running").waitFor()
      await page.getByRole("button", { name: "Cancel" }).click()
      await page.locator("dd").getByText("cancelled").waitFor()
      await page.getByText("Cancelled: cancelled from the dashboard").waitFor()
      await page.getByRole("link", { name: "Flows", exact: true }).click()
      await page.locator(`g.node[data-node="pay"]:not(.is-running)`).waitFor()
    }))

  for (const bare of [false, true]) {
    it.live(`a flow's page has the traces that began or ended before it was opened, ${bare ? "seen" : "kept"}`, () =>
      looking(async ({ base, page }) => {
        await live(page)
        await ended(base, order("Pingu"), "before")
        await running(base, order("Pingu", "slow"), "still-runs")
        await page.goto(`${base}/#/flows/orders`)
        const rows = page.getByRole("region", { name: "Traces of this flow" }).locator("tbody tr")
        await rows.filter({ hasText: "still-runs" }).getByText("running").waitFor()
        // More than the server remembers has ended since.
        await Promise.all(Array.from({ length: 210 }, (_, n) => ended(base, 1, `other-${n}`, "fast")))
        await page.reload()
        await rows.filter({ hasText: "still-runs" }).getByText("running").waitFor()
        if (!bare) await rows.filter({ hasText: "before" }).getByText("succeeded").waitFor()
        assert.deepStrictEqual(
          (await rows.locator(".id").allInnerTexts()).slice(0, 2),
          bare ? ["still-runs"] : ["still-runs", "before"]
        )
        await page.getByRole("link", { name: "still-runs" }).click()
        await page.getByRole("button", { name: "Cancel" }).click()
        await page.locator("dd").getByText("cancelled").waitFor()
      }, { bare }))
  }

  it.live("shows a node that fails, and why, as text and in the diagram", () =>
    looking(async ({ base, page }) => {
      await live(page)
      await ended(base, order("Robby", "declined"), "declined-one")
      const pay = page.locator(`g.node.is-failing[data-node="pay"]`)
      await pay.waitFor()
      await page.locator(`g[aria-label="pay: failing: Declined"]`).waitFor()
      await pay.locator(".shape").click()
      await page.waitForURL("**/#/flows/orders/nodes/pay")
      const why = page.getByRole("region", { name: "pay", exact: true })
      await why.getByText("The bank declined the payment of Robby: limit exceeded").waitFor()
      await why.getByRole("link", { name: "declined-one" }).click()
      await page.getByRole("heading", { name: "Why it failed, at pay" }).waitFor()
    }))

  it.live("the waterfall has every attempt, the pauses between them, and what was undone", () =>
    looking(async ({ base, page }) => {
      await live(page)
      await ended(base, order("Robby", "declined"), "three-tries")
      await page.getByRole("link", { name: "Traces", exact: true }).click()
      await page.getByLabel("Trace id").fill("nowhere")
      await page.keyboard.press("Enter")
      await page.getByText("The trace can't be opened.").waitFor()
      await page.getByLabel("Trace id").fill("three-tries")
      await page.keyboard.press("Enter")
      await page.waitForURL("**/#/traces/orders/three-tries")
      const rows = page.locator("table.waterfall tbody tr")
      await rows.filter({ hasText: "undone" }).waitFor()
      const texts = await rows.evaluateAll((all) =>
        all.map((row) => [...row.children].slice(0, 2).map((it) => it.textContent))
      )
      const pays = texts.filter(([node]) => node?.startsWith("pay"))
      assert.deepStrictEqual(pays.map(([, end]) => end), ["failed", "failed", "failed"])
      assert.match(pays[2]![0]!, /^payattempt 3Declined/)
      assert.strictEqual(await rows.locator(".wait").count(), 2)
      assert.deepStrictEqual(
        texts.map(([node, end]) => `${node} ${end}`).filter((it) => !it.startsWith("pay")),
        [
          "receive succeeded",
          "stock succeeded",
          "pricing succeeded",
          "pricing/lookup succeeded",
          "pricing/discount succeeded",
          "ready succeeded",
          "reserve succeeded",
          "reserve undone"
        ]
      )
      // Bars lie within the plot, in the order in which attempts began.
      const lefts = await rows.locator(".bar").evaluateAll((bars) =>
        bars.map((bar) => {
          const [box, track] = [bar.getBoundingClientRect(), bar.parentElement!.getBoundingClientRect()]
          return [box.left - track.left, track.right + 4 - box.right]
        })
      )
      assert.isTrue(lefts.every(([left, right]) => left! >= -1 && right! >= 0), JSON.stringify(lefts))
      await page.getByRole("button", { name: "Replay" }).click()
      await page.getByRole("region", { name: "Replay" }).getByText("The same outcome on the same way").waitFor()
    }, { expected: /status of 404/ }))

  it.live("runs a flow by the form made from its schema", () =>
    looking(async ({ page }) => {
      await live(page)
      await page.getByRole("link", { name: "Run…" }).click()
      // What is missing is said, where it is missing.
      await page.getByRole("button", { name: "Run", exact: true }).click()
      await page.getByText("2 things to correct").waitFor()
      await page.getByRole("link", { name: "customer", exact: true }).click()
      assert.strictEqual(await page.evaluate("document.activeElement.id"), "in-customer")
      assert.strictEqual(await page.locator("#in-customer").getAttribute("aria-invalid"), "true")
      await page.keyboard.type("Pinga")
      await page.getByRole("button", { name: "Add to items" }).click()
      await page.getByLabel("sku").fill("herring")
      await page.getByLabel("quantity").fill("3")
      await page.getByLabel("Kind of payment").selectOption("Invoice")
      await page.getByLabel("days").fill("30")
      await page.getByLabel("delivery").selectOption("express")
      await page.getByRole("button", { name: "Run", exact: true }).click()
      const result = page.getByRole("region", { name: "Result of courier" })
      await result.waitFor()
      assert.deepStrictEqual(JSON.parse(await result.locator("pre").innerText()), {
        customer: "Pinga",
        parcels: 1,
        by: "courier"
      })
      // The same input as JSON, and back.
      await page.getByRole("button", { name: "As JSON" }).click()
      const json = page.getByLabel("JSON", { exact: true })
      assert.deepStrictEqual(JSON.parse(await json.inputValue()), {
        customer: "Pinga",
        items: [{ sku: "herring", quantity: 3 }],
        payment: { _tag: "Invoice", days: 30 },
        delivery: "express"
      })
      await json.fill(`{"customer": 7}`)
      await page.keyboard.press("Control+Enter")
      await page.getByText("The run was refused.").waitFor()
      await page.getByText("Correct the input and run it again.").waitFor()
    }, { expected: /status of 400/ }))

  it.live("shows what a run sends as it comes, and lets it be cancelled", () =>
    looking(async ({ base, page }) => {
      await live(page)
      await page.goto(`${base}/#/flows/support/run`)
      await page.getByLabel("question").fill(`why ${hostile}`)
      await page.getByLabel("words").fill("200")
      await page.getByRole("button", { name: "Run", exact: true }).click()
      await page.getByText(/^\d\d parts/).waitFor()
      assert.include(await page.getByLabel("Parts").innerText(), "<img src=x onerror=")
      await page.getByRole("button", { name: "Cancel" }).click()
      const result = page.getByRole("region", { name: "Result" })
      await result.getByText("Cancelled: cancelled from the dashboard").waitFor()
      await result.locator(".state").getByText("cancelled").waitFor()
      assert.strictEqual(await result.locator(".problem").count(), 0)
    }))

  it.live("a row says that its trace is being cancelled, and that it was, also while rows hold still", () =>
    looking(async ({ base, page }) => {
      await live(page)
      await running(base, order("Pingu", "slow"), "to-cancel")
      await page.goto(`${base}/#/traces`)
      const row = page.getByRole("row").filter({ hasText: "to-cancel" })
      const go = Promise.withResolvers<void>()
      await page.route("**/cancel*", async (route) => {
        await go.promise
        await route.continue()
      })
      await row.getByRole("button", { name: "Cancel" }).click()
      assert.strictEqual(await row.getByRole("button", { name: "Cancelling…" }).getAttribute("aria-disabled"), "true")
      go.resolve()
      await row.locator(".state").getByText("cancelled").waitFor()
      await page.getByText("Held still, 1 trace ended since").waitFor()
      assert.strictEqual(await row.getByRole("button").count(), 0)
      // And nothing is held for longer than it is pointed at.
      await page.mouse.move(5, 5)
      await page.getByText("Rows hold still while you point at them").waitFor()
      await row.getByText("cancelled from the dashboard").waitFor()
    }))

  it.live("a form says the limits of numbers, and under a field what was expected of it", () =>
    looking(async ({ base, page }) => {
      await live(page)
      await page.goto(`${base}/#/flows/box/run`)
      const boxes = page.getByLabel("boxes")
      assert.strictEqual(await boxes.getAttribute("placeholder"), "greater than 0")
      assert.strictEqual(await page.getByLabel("weight").getAttribute("placeholder"), "greater than 0, at most 30")
      await page.locator("summary").click()
      assert.strictEqual(await page.getByLabel("Tenant").getAttribute("placeholder"), "default")
      await boxes.fill("0")
      await page.getByLabel("weight").fill("1")
      await page.getByRole("button", { name: "Run", exact: true }).click()
      await page.getByText("Greater than 0", { exact: true }).waitFor()
      await boxes.fill("1")
      await page.getByLabel("cares").fill("many")
      await page.getByRole("button", { name: "Run", exact: true }).click()
      const problem = page.locator(".problem")
      await problem.waitFor()
      assert.match(await problem.innerText(), /INVALID_INPUT at cares$/)
      assert.match(await page.locator("#in-cares-problem").innerText(), /^Expected a string matching[^:]*$/)
    }, { expected: /status of 400/ }))

  it.live("lines that are sent stay lines, and a run that fails leads to its trace", () =>
    looking(async ({ base, page }) => {
      await filledIn(page, base)
      const run = page.getByRole("button", { name: "Run", exact: true })
      await run.click()
      await page.getByRole("region", { name: "Result of pack" }).waitFor()
      assert.strictEqual(await page.getByLabel("Parts").innerText(), "box 1 of 2 is packed\nbox 2 of 2 is packed")
      await page.getByLabel("boxes").fill("14")
      await run.click()
      await page.getByText("The server's log and the trace say more.").waitFor()
      await page.getByLabel("boxes").fill("13")
      await run.click()
      await page.getByText("No place is left").waitFor()
      assert.strictEqual(await page.getByText("The server's log").count(), 0)
      await page.getByRole("link", { name: "See its trace" }).click()
      await page.getByRole("heading", { name: "Why it failed, at pack" }).waitFor()
    }))

  it.live("a job that was stored says how it goes on", () =>
    looking(async ({ base, page }) => {
      const result = await stored(page, base)
      await result.locator(".state").getByText("done").waitFor()
      assert.strictEqual(await result.getByLabel("Results").innerText(), "[\n  2\n]")
    }))

  it.live("a job that nobody takes says that it waits for a worker", () =>
    looking(async ({ base, page }) => {
      const result = await stored(page, base)
      await result.locator(".state").getByText("queued").waitFor()
      const why = "It waits for a worker: penguiflow serve --worker, or penguiflow worker"
      await result.getByText(why).waitFor()
      await result.getByRole("link").click()
      await page.getByRole("heading", { level: 1, name: "Job" }).waitFor()
      await page.getByText(why).waitFor()
    }, { idle: true }))

  it.live("what was said of a job is not said once it has gone on", () =>
    looking(async ({ base, page }) => {
      await post(base, "/api/flows/box/jobs?id=full&maxAttempts=1", { boxes: 13, weight: 1 })
      await page.goto(`${base}/#/jobs/full`)
      await page.locator("dd").getByText("dead").waitFor()
      // So fast that the page may see it dead before and dead after.
      const died = page.locator("time").last()
      const before = await died.getAttribute("datetime")
      await page.getByRole("button", { name: "Retry" }).click()
      while (await died.getAttribute("datetime") === before) await page.waitForResponse("**/api/jobs/full")
      await page.locator("dd").getByText("dead").waitFor()
      assert.strictEqual(await page.locator("main").getByText("Queued again").count(), 0)
    }))

  it.live("names, words and errors that mean ill stay words", () =>
    looking(async ({ base, page }) => {
      await live(page)
      await ended(base, `${hostile}`, encodeURIComponent(hostile), hostile)
      await page.getByRole("navigation", { name: "Flows" }).getByText(hostile).click()
      await page.getByRole("heading", { level: 1, name: hostile }).waitFor()
      const node = page.locator("g.node.is-failing")
      await node.waitFor()
      assert.strictEqual(await node.getAttribute("data-node"), hostile)
      await node.locator(".shape").click()
      await page.locator("pre.message").getByText(`${hostile} ${hostile}`).waitFor()
      await page.locator("#node").getByRole("link", { name: hostile, exact: true }).click()
      await page.getByRole("heading", { name: `Trace ${hostile}` }).waitFor()
      await page.locator(".waterfall").getByText(hostile).first().waitFor()
      await page.locator("summary").click()
      await page.goto(`${base}/#/migrations/checkout`)
      await page.getByText(`${hostile} (in order-7)`).waitFor()
      assert.strictEqual(await page.locator("img, iframe, #page script, [style*='url']").count(), 0)
    }))

  it.live("goes where the address says, also when it changes while the page begins", () =>
    looking(async ({ page }) => {
      await live(page)
      // After the first drawing, and before anything is done after it.
      await page.addInitScript(`
        location.hash = "#/"
        document.addEventListener("DOMContentLoaded", () => {
          if (document.querySelector("#page main") !== null) location.hash = "#/jobs?state=dead"
        })
      `)
      await page.reload()
      await page.getByText("No dead letters: no job was given up.").waitFor()
      assert.match(page.url(), /#\/jobs\?state=dead$/)
    }))

  it.live("an answer that was overtaken by a later one is not shown", () =>
    looking(async ({ base, page }) => {
      await page.goto(`${base}/#/jobs`)
      await page.getByText("No job is stored.").waitFor()
      let held: Request | undefined
      await page.route("**/api/jobs?*", async (route) => {
        if (held !== undefined) return route.continue()
        held = route.request()
        const answer = await route.fetch()
        const stored = await post(base, "/api/flows/orders/jobs?id=later", order("Pingu"))
        assert.strictEqual(stored.status, 202)
        await page.getByRole("link", { name: "later", exact: true }).waitFor()
        await route.fulfill({ response: answer })
      })
      const late = await page.waitForEvent("requestfinished", (request) => request === held)
      assert.notInclude(await (await late.response())!.text(), "later")
      await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
      assert.strictEqual(await page.getByRole("link", { name: "later", exact: true }).count(), 1)
    }))

  it.live("jobs: dead letters are tried again and deleted", () =>
    looking(async ({ base, page }) => {
      await post(base, "/api/flows/orders/jobs?id=good", order("Pingu"))
      await post(base, "/api/flows/orders/jobs?id=bad&maxAttempts=1", order("Pingu", "declined"))
      await page.goto(`${base}/#/jobs?state=dead`)
      const row = page.getByRole("row").filter({ has: page.getByRole("link", { name: "bad", exact: true }) })
      await row.getByText("limit exceeded").waitFor()
      await row.getByRole("button", { name: "Retry" }).click()
      await row.waitFor({ state: "detached" })
      // It fails again.
      await row.getByText("limit exceeded").waitFor()
      await row.getByRole("link", { name: "bad", exact: true }).click()
      await page.getByRole("heading", { name: "Why it is dead" }).waitFor()
      await page.getByRole("button", { name: "Delete" }).click()
      await page.getByRole("button", { name: "Really delete?" }).click()
      await page.getByText("The job can't be shown.").waitFor()
      await page.goto(`${base}/#/jobs`)
      await page.getByRole("link", { name: "Done 1" }).click()
      await page.getByRole("link", { name: "good", exact: true }).waitFor()
      assert.strictEqual(await page.getByRole("link", { name: "bad", exact: true }).count(), 0)
    }, { expected: /status of 404/ }))

  it.live("without a store and a queue offers neither, and shows the traces that it saw itself", () =>
    looking(async ({ base, page }) => {
      await live(page)
      await ended(base, order("Robby", "flaky"), "seen")
      assert.deepStrictEqual(await page.getByRole("navigation", { name: "Views" }).getByRole("link").allInnerTexts(), [
        "Flows",
        "Traces"
      ])
      await page.getByRole("link", { name: "seen", exact: true }).click()
      await page.locator("table.waterfall").getByText("attempt 3").waitFor()
      assert.strictEqual(await page.getByRole("button", { name: "Replay" }).count(), 0)
      await page.goto(`${base}/#/traces/orders/never`)
      await page.getByText("This page has not seen the trace, and the server keeps none").waitFor()
      await page.goto(`${base}/#/flows/orders/run`)
      await page.getByRole("button", { name: "Run", exact: true }).waitFor()
      assert.strictEqual(await page.getByRole("button", { name: "Store as a job" }).count(), 0)
    }, { bare: true }))

  it.live("asks for the token, keeps it in the tab, and goes on", () =>
    looking(async ({ base, page }) => {
      const dialog = page.getByRole("dialog", { name: "This server asks for a token" })
      await dialog.waitFor()
      await dialog.getByLabel("Token").fill("wrong")
      await page.keyboard.press("Enter")
      await dialog.getByText("The server refuses this token.").waitFor()
      await page.getByText("Locked").waitFor()
      await dialog.getByLabel("Token").fill("a-token-that-nobody-guesses")
      await page.keyboard.press("Enter")
      await live(page)
      await nodeOf(page, "pay").waitFor()
      await page.goto(`${base}/#/jobs`)
      await page.getByText("No job is stored.").waitFor()
      await page.reload()
      await live(page)
      assert.strictEqual(await dialog.count(), 0)
      assert.deepStrictEqual(await page.evaluate("[localStorage.length, document.cookie]"), [0, ""])
    }, { token: "a-token-that-nobody-guesses", expected: /status of 401/ }))

  it.live("can be used with a keyboard alone", () =>
    looking(async ({ base, page }) => {
      await live(page)
      await ended(base, order("Robby", "declined"), "by-keys")
      await page.locator(`g[aria-label="pay: failing: Declined"]`).waitFor()
      const focused = () =>
        page.evaluate<string>(
          "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent).slice(0, 40)"
        )
      await page.keyboard.press("Tab")
      assert.match(await focused(), /^Skip to the content/)
      await page.keyboard.press("Enter")
      assert.strictEqual(await page.evaluate("document.activeElement.id"), "main")
      // To the diagram: one stop, from where arrows go on.
      for (let n = 0; n < 20 && !(await focused()).startsWith("receive"); n++) await page.keyboard.press("Tab")
      const way = ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight"]
      for (const key of way) {
        if ((await focused()).startsWith("pay")) break
        await page.keyboard.press(key)
      }
      assert.strictEqual(await focused(), "pay: failing: Declined")
      const outline = await page.evaluate(
        "getComputedStyle(document.activeElement.querySelector('.shape')).strokeWidth"
      )
      assert.strictEqual(outline, "3.2px")
      await page.keyboard.press("Enter")
      await page.locator("#node-title:focus").waitFor()
      for (let n = 0; n < 6 && await focused() !== "by-keys"; n++) await page.keyboard.press("Tab")
      await page.keyboard.press("Enter")
      await page.getByRole("heading", { name: "Trace by-keys" }).waitFor()
      assert.strictEqual(await page.evaluate("document.activeElement.id"), "main")
      assert.match(await page.title(), /^Trace by-keys · PenguiFlow$/)
    }))

  it.live("has roles and names for those who do not see it", () =>
    looking(async ({ base, page }) => {
      await live(page)
      await ended(base, order("Robby", "declined"), "heard")
      await page.locator(`g[aria-label="pay: failing: Declined"]`).waitFor()
      const tree = await page.locator("body").ariaSnapshot()
      for (
        const part of [
          "- banner:",
          `- navigation "Views":`,
          `- navigation "Flows":`,
          `- main "orders":`,
          `- heading "orders" [level=1]`,
          `- region "Diagram":`,
          `group "Diagram of orders: arrow keys go from node to node, Enter says more"`,
          `link "pay: failing: Declined"`,
          `- columnheader "Errors"`,
          `- rowheader "pay":`,
          "- status"
        ]
      ) {
        assert.include(tree, part)
      }
      // Each control has a name, and each id is there once.
      const nameless = await page.evaluate(`
        [...document.querySelectorAll("a, button, input, select, textarea, [role=link], pre[tabindex]")].filter((it) =>
          !(it.getAttribute("aria-label") || it.textContent.trim() || it.labels?.length)).map((it) => it.outerHTML)
      `)
      assert.deepStrictEqual(nameless, [])
      const twice = await page.evaluate(`
        [...document.querySelectorAll("[id]")].map((it) => it.id).filter((id, at, all) => all.indexOf(id) !== at)
      `)
      assert.deepStrictEqual(twice, [])
    }))

  for (const dark of [false, true]) {
    it.live(`is legible on ${dark ? "dark" : "light"}: every text has a contrast of 4.5 to 1 at least`, () =>
      looking(async ({ base, page }) => {
        await live(page)
        await Promise.all([
          ended(base, order("Pingu"), "fine"),
          ended(base, order("Robby", "declined"), "bad"),
          running(base, order("Lena", "slow"), "slow")
        ])
        for (
          const view of [
            "#/flows/orders/nodes/pay",
            "#/traces",
            "#/traces/orders/bad",
            "#/flows/orders/run",
            "#/jobs",
            "#/migrations/checkout"
          ]
        ) {
          await page.goto(`${base}/${view}`)
          await page.locator("main h1").waitFor()
          await page.locator(".card").first().waitFor()
          assert.deepStrictEqual(await page.evaluate(faint), [], view)
        }
        await page.goto(`${base}/#/flows/box/run`)
        await page.getByLabel("boxes").fill("13")
        await page.getByLabel("weight").fill("1")
        await page.getByRole("button", { name: "Run", exact: true }).click()
        await page.getByRole("link", { name: "See its trace" }).waitFor()
        assert.deepStrictEqual(await page.evaluate(faint), [], "a run that failed")
        await page.goto(`${base}/#/traces/orders/slow`)
        await page.getByRole("button", { name: "Cancel" }).click()
      }, { dark }))
  }

  it.live("fits a phone of 360 pixels", () =>
    looking(async ({ base, page }) => {
      await live(page)
      await ended(base, order("Robby", "declined"), "bad-with-a-rather-long-name-0123456789abcdef")
      await post(base, "/api/flows/orders/jobs?id=bad&maxAttempts=1", order("Pingu", "declined"))
      for (
        const view of [
          "#/flows/orders/nodes/pay",
          "#/traces",
          "#/traces/orders/bad-with-a-rather-long-name-0123456789abcdef",
          "#/flows/orders/run",
          "#/jobs",
          "#/jobs/bad",
          "#/migrations/checkout"
        ]
      ) {
        await page.goto(`${base}/${view}`)
        await page.locator("main h1").waitFor()
        await page.locator(".card").first().waitFor()
        assert.isAtMost(await page.evaluate(overflow), 0, view)
        // What can be pressed can be hit.
        const small = await page.evaluate(`
          [...document.querySelectorAll("button, .button, nav a")].filter((it) => it.getBoundingClientRect().height < 24)
            .map((it) => it.textContent)
        `)
        assert.deepStrictEqual(small, [], view)
      }
    }, { width: 360 }))

  it.live("says that the server is gone, and goes on when it is back", () =>
    looking(async ({ page }) => {
      await live(page)
      await page.route("**/api/**", (route) => route.abort())
      await page.reload()
      await page.getByText(/^Offline, next try in \d+ s$/).waitFor()
      await page.unroute("**/api/**")
      await page.evaluate("dispatchEvent(new Event('online'))")
      await live(page)
      await nodeOf(page, "pay").waitFor()
    }, { expected: /ERR_FAILED/ }))

  for (const view of ["#/flows/fast", "#/traces"]) {
    it.live(`stays small and answers at 500 events a second, at ${view}`, () =>
      looking(async ({ base, page }) => {
        await live(page)
        await page.goto(`${base}/${view}`)
        const session = await page.context().newCDPSession(page)
        await session.send("HeapProfiler.enable")
        const heap = async () => {
          await session.send("HeapProfiler.collectGarbage")
          return (await session.send("Runtime.getHeapUsage")).usedSize
        }
        await page.evaluate(`
        window.long = []
        new PerformanceObserver((list) => { for (const it of list.getEntries()) window.long.push(it.duration) })
          .observe({ entryTypes: ["longtask"] })
      `)
        const seconds = Number(process.env["LOAD_SECONDS"] ?? 8)
        const begin = Date.now()
        let sent = 0
        let early = 0
        const answers: Array<Promise<unknown>> = []
        while (Date.now() - begin < seconds * 1000) {
          // 63 messages of 8 events a second.
          for (; sent < (Date.now() - begin) / 1000 * 63; sent++) answers.push(ended(base, 1, `load-${sent}`, "fast"))
          await new Promise((resolve) => setTimeout(resolve, 20))
          if (early === 0 && Date.now() - begin > 5000) early = await heap()
        }
        await Promise.all(answers)
        // The page has counted as the server has.
        const counted = await succeededIn(base, "fast")
        assert.isAbove(counted, 0.9 * sent)
        await page.goto(`${base}/#/flows/fast`)
        await page.locator(".figures").getByText(count(counted), { exact: true }).waitFor()
        await page.goto(`${base}/${view}`)
        const late = await heap()
        const long = await page.evaluate<ReadonlyArray<number>>("window.long")
        if (process.env["LOAD_SECONDS"] !== undefined) {
          console.log(
            `${sent * 8} events in ${seconds} s; heap ${(early / 1e6).toFixed(2)} MB after 5 s, ${
              (late / 1e6).toFixed(2)
            } MB at the end; ` +
              `${long.length} tasks longer than 50 ms, the longest ${Math.max(0, ...long).toFixed(0)} ms`
          )
        }
        // What is kept of the last 5000 events is the same however long it goes on.
        assert.isBelow(late - early, 1.5e6)
        assert.isBelow(await page.locator("*").count(), 2500)
      }))
  }

  // `SCREENSHOTS=docs/images` takes the documentation's pictures anew. Nothing is checked by it, so that it is no test else.
  const photographed = images === undefined ? undefined : it.live
  photographed?.(
    "is photographed",
    () =>
      Effect.forEach([false, true], (dark) =>
        looking(async ({ base, page }) => {
          await live(page)
          const names = ["Pingu", "Pinga", "Robby", "Grandpa", "Lena", "Bajoo", "Pongi"]
          const shoot = (name: string, height: number) =>
            page.setViewportSize({ width: 1280, height })
              .then(() => page.waitForTimeout(300))
              .then(() => page.screenshot({ path: Path.join(images!, `${name}.png`) }))
          const work: Array<Promise<unknown>> = []
          for (let n = 0; n < 60; n++) {
            const trial = n % 20 === 7
              ? "slow" as const
              : n % 11 === 3
              ? "declined" as const
              : n % 5 === 2
              ? "flaky" as const
              : undefined
            const id = `order-${1000 + n}`
            work.push(
              trial === "slow"
                ? running(base, order(names[n % 7]!, trial), id)
                : ended(base, order(names[n % 7]!, trial), id)
            )
            if (n % 9 === 0) {
              work.push(ended(base, { question: "why do penguins not freeze", words: 20 }, `question-${n}`, "support"))
            }
            await page.waitForTimeout(120)
          }
          await nodeOf(page, "pay").locator(".shape").click()
          await page.mouse.move(640, 70)
          await page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
          await shoot(dark ? "dashboard-dark" : "dashboard-light", 900)
          await Promise.all(work)
          if (!dark) {
            await page.goto(`${base}/#/traces/orders/order-1014`)
            await page.locator(".waterfall").getByText("undone").waitFor()
            await shoot("dashboard-trace", 880)
          }
        }, { dark, tidy: true }), { discard: true })
  )
})

/** Texts whose colour is too near to what is behind them. */
const faint = `(() => {
  const numbers = (colour) => {
    const canvas = faintCanvas.getContext("2d", { willReadFrequently: true })
    canvas.clearRect(0, 0, 1, 1)
    canvas.fillStyle = colour
    canvas.fillRect(0, 0, 1, 1)
    return [...canvas.getImageData(0, 0, 1, 1).data]
  }
  const faintCanvas = document.createElement("canvas")
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((it) => it / 255).map((it) => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4)
    return 0.2126 * x + 0.7152 * y + 0.0722 * z
  }
  const groundOf = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const shape = at.matches("g.node, g.badge, g.edge, g.cluster") ? at.querySelector(":scope > .shape, :scope > rect") : null
      const colour = numbers(shape === null ? getComputedStyle(at).backgroundColor : getComputedStyle(shape).fill)
      if (colour[3] === 255) return colour
    }
    return [255, 255, 255, 255]
  }
  const found = []
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement
    if (walk.currentNode.data.trim() === "" || element.closest(".unseen, option, title, desc, [aria-disabled=true], [disabled]")) continue
    const box = element.getBoundingClientRect()
    if (box.width < 2 || box.height < 2) continue
    const style = getComputedStyle(element)
    const words = numbers(element.closest("svg") === null ? style.color : style.fill)
    if (words[3] === 0) continue
    const [a, b] = [light(words), light(groundOf(element))]
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    if (contrast < 4.5) found.push(contrast.toFixed(2) + " " + element.className + " " + walk.currentNode.data.slice(0, 40))
  }
  return [...new Set(found)]
})()`
