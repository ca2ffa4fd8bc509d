/** The example that serves: started as a user starts it, asked, watched and stopped. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { spawn } from "node:child_process"
import { join } from "node:path"
import { ask, post, sse } from "../utils/http.ts"

const root = join(import.meta.dirname, "..", "..")

/** The example on a free port, and where it says it serves; killed with the scope where it still runs. */
const started = (args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  Effect.acquireRelease(
    Effect.callback<
      { readonly base: string; readonly stop: Effect.Effect<number | null>; readonly out: () => string },
      string
    >((resume) => {
      const child = spawn(process.execPath, ["--conditions=source", "examples/60_http.ts", "--port", "0", ...args], {
        cwd: root,
        env: { ...process.env, ...env }
      })
      let out = ""
      const ended = new Promise<number | null>((resolve) => child.once("close", resolve))
      const stop = Effect.promise(() => {
        child.kill("SIGTERM")
        return ended
      })
      const said = (chunk: unknown) => {
        out += String(chunk)
        const [, base] = /Serving "words" at (\S+)/.exec(out) ?? []
        if (base !== undefined) resume(Effect.succeed({ base, stop, out: () => out }))
      }
      child.stdout.on("data", said)
      child.stderr.on("data", said)
      void ended.then((code) => resume(Effect.fail(`ended with ${code}: ${out}`)))
    }),
    ({ stop }) => stop
  )

describe("examples/60_http", () => {
  it.live("runs, streams, enqueues and shows what happened, until it is told to stop", () =>
    Effect.gen(function*() {
      const { base, stop } = yield* started([])
      const flow = `${base}/api/flows/words`
      const text = { text: "Three small words" }
      const ran = yield* post(`${flow}/run`, text)
      assert.deepStrictEqual(ran.json.results, [{ count: 3, longest: "three" }])
      const none = yield* post(`${flow}/run`, { text: "1 2 3" })
      assert.deepStrictEqual([none.status, none.json.code], [422, "NoWords"])
      const sent = yield* Stream.runCollect(sse(`${flow}/stream`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(text)
      }))
      assert.deepStrictEqual(
        sent.filter(({ event }) => event === "part").map(({ data }) => data.value),
        ["three", "small", "words"]
      )
      yield* post(`${flow}/jobs?id=one`, text)
      const job = yield* ask(`${base}/api/jobs/one`).pipe(
        Effect.repeat({ until: ({ json }) => json.state === "done", times: 10_000 })
      )
      assert.deepStrictEqual(job.json.results, [{ count: 3, longest: "three" }])
      const traces = yield* ask(`${base}/api/traces?flow=words`).pipe(
        Effect.repeat({ until: ({ json }) => json.traces.length === 4, times: 10_000 })
      )
      assert.include(traces.json.traces.map((it: { readonly traceId: string }) => it.traceId), "job-one")
      assert.include((yield* ask(`${base}/metrics`)).text, "penguiflow_traces_ended_total")
      assert.include([130, 143], yield* stop)
    }).pipe(Effect.scoped))

  it.live("asks for the token that it is given, and serves others only with one", () =>
    Effect.gen(function*() {
      const refused = yield* Effect.flip(started(["--host", "0.0.0.0"]))
      assert.include(refused, "ServeRefused")
      const { base } = yield* started(["--host", "0.0.0.0"], { TOKEN: "noot" })
      const url = `${base.replace("0.0.0.0", "127.0.0.1")}/api/flows`
      assert.strictEqual((yield* ask(url)).status, 401)
      assert.strictEqual((yield* ask(url, { headers: { authorization: "Bearer noot" } })).status, 200)
    }).pipe(Effect.scoped))
})
