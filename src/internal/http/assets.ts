/** The dashboard: four texts in memory. No path of a request reaches a file. */
import * as Effect from "effect/Effect"
import * as Response from "effect/http/HttpServerResponse"
import * as Predicate from "effect/Predicate"

/** What the page may do: load from here, and nothing inline. */
export const pagePolicy = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"

/** The page, its script, its style and its icon. */
export interface Assets {
  readonly page: Response.HttpServerResponse
  readonly script: Response.HttpServerResponse
  readonly style: Response.HttpServerResponse
  readonly icon: Response.HttpServerResponse
}

/** The assets as they were built; a page that says what to do where they were not. */
export const assets: Effect.Effect<Assets> = Effect.map(
  // By a name that the compiler does not follow: where nothing is built there is nothing to follow.
  Effect.promise(() => import(built).catch(() => undefined) as Promise<unknown>),
  (module) => {
    const text = (name: string): string | undefined =>
      Predicate.hasProperty(module, name) && typeof module[name] === "string" ? module[name] : undefined
    return {
      page: asset(text("html") ?? notBuilt, "text/html; charset=utf-8"),
      script: asset(text("js") ?? "", "text/javascript; charset=utf-8"),
      style: asset(text("css") ?? "", "text/css; charset=utf-8"),
      icon: asset(text("icon") ?? "", "image/svg+xml; charset=utf-8")
    }
  }
)

// ----------------------------------------------------------------------------------------------------------- internals

const built = "#dashboard"

const asset = (text: string, contentType: string): Response.HttpServerResponse =>
  Response.text(text, {
    contentType,
    headers: { "content-security-policy": pagePolicy, "cache-control": "no-cache" }
  })

const notBuilt = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>PenguiFlow</title></head>
<body><h1>PenguiFlow</h1>
<p>The dashboard is not built: run <code>npm run build</code>. The interface is there all the same:
<a href="/api/flows">/api/flows</a>, <a href="/docs">/docs</a>.</p></body>
</html>
`
