/** The report as text and as a page: in a real browser, where one is installed. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import * as Migration from "penguiflow/Migration"
import type { Page } from "playwright-core"
import * as Browser from "./utils/browser.ts"

const hostile = `<img src=x onerror="window.__xss=1"><script>window.__xss=1</script>'"&\`\u001b[31m`

/** A day of requests: 3 % wrong, one side failing now and then, the flow slower. */
const entries = (migration: string): ReadonlyArray<Migration.Entry> => {
  const begin = Date.UTC(2026, 0, 1)
  return Array.from({ length: 2000 }, (_, n): Migration.Entry => {
    const wrong = n % 33 === 0
    const failed = n % 150 === 1
    return {
      _tag: "Compared",
      id: String(n),
      migration,
      at: begin + n * 43_200,
      traceId: n === 0 ? hostile : `order-${n}`,
      result: failed ? "flowFailed" : wrong ? "mismatch" : "match",
      legacyMs: 8 + 6 * Math.abs(Math.sin(n)),
      flowMs: n % 20 === 0 ? 120 : 10 + 9 * Math.abs(Math.sin(n * 1.7)),
      ...(failed ? { flowError: { tag: "FlowError", message: hostile } } : {}),
      patch: wrong
        ? [{ op: "replace", path: n % 2 === 0 ? "/total" : "/items/0/price", value: n === 0 ? hostile : n }]
        : [],
      paths: wrong ? [n % 2 === 0 ? "/total" : "/items/*/price"] : []
    }
  })
}

const reportOf = (migration: string, all: ReadonlyArray<Migration.Entry>) =>
  Effect.gen(function*() {
    const store = Migration.memoryReports()
    yield* store.add(all)
    return yield* Effect.provideService(Migration.report(migration), Migration.Reports, store)
  })

const some = reportOf("orders", entries("orders"))
const none = reportOf(hostile, [])

describe("Migration.toText", () => {
  it.effect("is a table of at most 100 columns, without control characters", () =>
    Effect.gen(function*() {
      for (const report of [yield* some, yield* none]) {
        const text = Migration.toText(report)
        for (const line of text.split("\n")) {
          assert.isAtMost(line.length, 100)
          // oxlint-disable-next-line no-control-regex
          assert.notMatch(line, /[\u0000-\u001f\u007f]/)
        }
      }
    }))

  it.effect("says what the report says", () =>
    Effect.gen(function*() {
      const text = Migration.toText(yield* some)
      assert.match(text, /^Migration orders: hold$/m)
      assert.match(text, /^ {2}✗ the match rate is 96\.\d\d %/m)
      assert.match(text, /^ {2}requests compared +2000$/m)
      assert.match(text, /^ {2}legacy +\d+\.\d+ ms +\d+\.\d+ ms +\d+\.\d+ ms +1986$/m)
      assert.match(text, /^ {2}\d+ {2}\/total$/m)
      assert.match(text, /^ {6}order-66: replace \/total 66$/m)
      assert.match(Migration.toText(yield* none), /Nothing was compared yet/)
    }))
})

describe.skipIf(!Browser.available)("Migration.toHtml, in a browser", () => {
  const overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

  const seen = <A>(
    html: string,
    look: (page: Page, asked: ReadonlyArray<string>, said: ReadonlyArray<string>) => Promise<A>
  ) =>
    Effect.scoped(Effect.gen(function*() {
      const { asked, page, said } = yield* (yield* Browser.make).open(html, "html")
      return yield* Effect.promise(() => look(page, asked, said))
    }))

  it.live(
    "shows verdict, reasons, rate and both plots; loads nothing, runs nothing, complains of nothing",
    () =>
      Effect.gen(function*() {
        const report = yield* some
        yield* seen(Migration.toHtml(report), async (page, asked, said) => {
          assert.strictEqual(await page.title(), "Migration orders: hold")
          assert.strictEqual(await page.locator("#verdict").innerText(), "hold")
          assert.strictEqual(await page.locator("#reasons li").count(), report.verdict.reasons.length)
          assert.match(await page.locator("#rate").innerText(), /^96\.\d\d %, 95 % interval/)
          const [rate, latency] = [page.locator("svg").nth(0), page.locator("svg").nth(1)]
          assert.strictEqual(await rate.locator("circle").count(), report.overTime.length)
          for (const plot of [rate, latency]) {
            const box = await plot.boundingBox()
            assert.isAbove(box?.width ?? 0, 300)
            assert.isAbove(box?.height ?? 0, 80)
          }
          // Every mark lies inside of its plot.
          const outside = await page.evaluate(`
            [...document.querySelectorAll("svg")].flatMap((svg) => {
              const frame = svg.getBoundingClientRect()
              return [...svg.querySelectorAll("circle,polyline,polygon,rect,text")].filter((mark) => {
                const box = mark.getBoundingClientRect()
                return box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 ||
                  box.bottom > frame.bottom + 1
              }).map((mark) => mark.outerHTML)
            })
          `)
          assert.deepStrictEqual(outside, [])
          // What is hostile is text.
          assert.isUndefined(await page.evaluate(() => Reflect.get(globalThis, "__xss")))
          assert.strictEqual(await page.locator("img,script").count(), 0)
          assert.include(await page.locator("main").innerText(), "<img src=x onerror=")
          assert.strictEqual(asked.length, 1)
          assert.deepStrictEqual(said, [])
          // The one style sheet is let in by its digest: the page is styled.
          assert.strictEqual(
            await page.evaluate("getComputedStyle(document.querySelector('#verdict')).backgroundColor"),
            "rgb(180, 35, 24)"
          )
          assert.strictEqual(await page.evaluate(overflow), 0)
          if (process.env["SCREENSHOT"] !== undefined) {
            await page.screenshot({ path: process.env["SCREENSHOT"], fullPage: true })
          }
          await page.setViewportSize({ width: 360, height: 640 })
          assert.strictEqual(await page.evaluate(overflow), 0)
        })
      }),
    60_000
  )

  it.live("of nothing is a page, too", () =>
    Effect.gen(function*() {
      yield* seen(Migration.toHtml(yield* none), async (page, _, said) => {
        assert.include(await page.locator("main").innerText(), "nothing was compared yet")
        assert.isUndefined(await page.evaluate(() => Reflect.get(globalThis, "__xss")))
        assert.deepStrictEqual(said, [])
      })
    }), 60_000)
})

describe("Migration.toHtml", () => {
  it.effect("has no script, no link, no address, and names its style by the right digest", () =>
    Effect.gen(function*() {
      const html = Migration.toHtml(yield* some)
      assert.notMatch(html, /<(?:script|link|img|iframe|base|form)|<[^>]*\s(?:on\w+|style|src|href)=/i)
      assert.deepStrictEqual(html.match(/https?:\/\/[^"]+/g)?.filter((it) => it !== "http://www.w3.org/2000/svg"), [])
      const [, style] = /<style>([\s\S]*)<\/style>/.exec(html)!
      const digest = createHash("sha256").update(style!).digest("base64")
      assert.include(html, `default-src 'none'; style-src 'sha256-${digest}'`)
    }))
})
