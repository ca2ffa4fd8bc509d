import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import * as JobQueue from "penguiflow/JobQueue"
import { accepts, temporaryFolder } from "../utils/servers/process.ts"
import * as RedisServer from "../utils/servers/redis.ts"
import { type Circumstances, command, type Ended } from "./command.ts"
import * as Queues from "./queues.ts"

const binary = "src/bin/penguiflow.ts"
const module = "test/bin/modules/orders.ts"

const serve = (args: ReadonlyArray<string>, circumstances?: Circumstances) =>
  command(binary, ["serve", ...args], circumstances)

interface Serving {
  readonly signal: (name: NodeJS.Signals) => void
  /** Once standard error holds this. */
  readonly told: (words: string) => Promise<void>
}

/** Asks a server while it is there, and ends it by a signal then. */
const whileServing = <A>(
  args: ReadonlyArray<string>,
  ask: (url: string, process: Serving) => Promise<A>,
  options: { readonly env?: NodeJS.ProcessEnv; readonly signal?: NodeJS.Signals } = {}
): Effect.Effect<{ readonly ended: Ended; readonly answer: A | undefined }> =>
  Effect.suspend(() => {
    let asked: Promise<A | undefined> | undefined
    let said = ""
    const told = async (words: string) => {
      while (!said.includes(words)) await new Promise((resolve) => setTimeout(resolve, 10))
    }
    return Effect.flatMap(
      serve([module, "--port", "0", ...args], {
        env: options.env,
        on: ({ err, out }, child) => {
          said = err
          const url = /^(http\S+)\n/.exec(out)?.[1]
          if (url === undefined || asked !== undefined) return
          let sent = false
          const signal = (name: NodeJS.Signals) => {
            if (!sent) child.kill(name)
            sent = true
          }
          asked = ask(url, { signal, told }).finally(() => signal(options.signal ?? "SIGTERM"))
        }
      }),
      (ended) => Effect.map(Effect.promise(async () => asked), (answer) => ({ ended, answer }))
    )
  })

const post = async (url: string, body: unknown, headers: Record<string, string> = {}) => {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body)
  })
  return { status: response.status, json: await response.json() as Record<string, unknown> }
}

const get = async (url: string, headers: Record<string, string> = {}) => {
  const response = await fetch(url, { headers })
  return { status: response.status, text: await response.text() }
}

describe("penguiflow serve", () => {
  it.live("serves the flows of a module, runs their jobs, and shows them; all of it in memory", () =>
    Effect.gen(function*() {
      const { answer, ended } = yield* whileServing(["--worker"], async (url) => {
        const run = await post(`${url}/api/flows/orders/run`, { item: "ice" })
        const { id } = (await post(`${url}/api/flows/orders/jobs`, { item: "snow" })).json
        let job = ""
        for (let i = 0; i < 200 && !job.includes("\"done\""); i++) {
          await new Promise((resolve) => setTimeout(resolve, 20))
          job = (await get(`${url}/api/jobs/${String(id)}`)).text
        }
        const traces = JSON.parse((await get(`${url}/api/traces?flow=orders`)).text) as { traces: Array<unknown> }
        // The first event of the stream: what the dashboard begins with.
        const events = await fetch(`${url}/api/events`)
        const reader = events.body!.getReader()
        const first = new TextDecoder().decode((await reader.read()).value)
        await reader.cancel()
        const page = await get(`${url}/`)
        const metrics = (await get(`${url}/metrics`)).text.split("\n")
        return { url, run, job, traces: traces.traces.length, first, page: page.status, metrics }
      })
      assert.deepStrictEqual(answer!.run.json["results"], ["ice shipped"])
      assert.include(answer!.job, "snow shipped")
      assert.strictEqual(answer!.traces, 2)
      // Both traces, that of the job too.
      assert.match(answer!.first, /"orders":\{"open":0,"started":2,"succeeded":2/)
      assert.strictEqual(answer!.page, 200)
      assert.include(answer!.metrics, "penguiflow_traces_ended_total{flow=\"orders\",outcome=\"succeeded\"} 2")
      assert.include(answer!.metrics, "penguiflow_job_wait_seconds_count{flow=\"orders\"} 1")
      assert.deepStrictEqual([ended.code, ended.out], [0, `${answer!.url}\n`])
      assert.strictEqual(
        ended.said[0],
        "Serving notes, orders, and running jobs. Jobs and traces are in memory, and gone at the end: --database keeps them. Ctrl-C ends it."
      )
      assert.strictEqual(ended.said[1], `No layer is exported by ${module}: nodes get no services.`)
    }))

  it.live("keeps jobs and traces where the command line or the environment says", () =>
    Effect.scoped(Effect.gen(function*() {
      const { flags, layer } = yield* Queues.sqlite
      const { ended } = yield* whileServing(flags, async (url) => {
        await post(`${url}/api/flows/orders/run?traceId=one`, { item: "ice" })
        await post(`${url}/api/flows/orders/jobs?id=later`, { item: "snow" })
      }, { signal: "SIGINT" })
      assert.strictEqual(ended.code, 130)
      assert.include(ended.said[0]!, `Jobs and traces are in ${flags[1]}.`)
      const queue = JobQueue.JobQueue.use((queue) => queue.get("later"))
      assert.strictEqual((yield* Effect.provide(queue, layer))?.state, "queued")
      const shown = yield* command(binary, ["trace", "show", "one", ...flags])
      assert.match(shown.out, /^outcome +\[\n +"ice shipped"$/m)
      if (RedisServer.available) {
        const redis = yield* Queues.redis
        const env = { PENGUIFLOW_REDIS_URL: redis.flags[1], PENGUIFLOW_DATABASE_URL: flags[1] }
        const both = yield* whileServing([], (url) => post(`${url}/api/flows/orders/jobs?id=there`, { item: "x" }), {
          env
        })
        assert.include(both.ended.said[0]!, `Jobs are in ${redis.flags[1]}, traces in ${flags[1]}.`)
        const there = yield* Effect.provide(JobQueue.JobQueue.use((queue) => queue.get("there")), redis.layer)
        assert.strictEqual(there?.state, "queued")
      }
    })))

  it.live("asks for the token of the environment or of a file, and never prints it", () =>
    Effect.scoped(Effect.gen(function*() {
      const folder = yield* temporaryFolder("token")
      const file = join(folder, "token")
      writeFileSync(file, "from-a-file\n")
      const asking = (token: string) => async (url: string) => [
        (await get(`${url}/api/flows`)).status,
        (await get(`${url}/api/flows`, { authorization: "Bearer wrong" })).status,
        (await get(`${url}/api/flows`, { authorization: `Bearer ${token}` })).status
      ]
      const env = { PENGUIFLOW_TOKEN: "from-the-environment" }
      const [one, other] = yield* Effect.all([
        whileServing([], asking("from-the-environment"), { env }),
        whileServing(
          ["--token-file", file, "--host", "0.0.0.0", "--allow-host", "127.0.0.1"],
          (url) => asking("from-a-file")(url.replace("0.0.0.0", "127.0.0.1")),
          { env }
        )
      ], { concurrency: 2 })
      for (const { answer, ended } of [one, other]) {
        assert.deepStrictEqual([answer, ended.code], [[401, 401, 200], 0])
        assert.include(ended.said[0]!, ", with a token.")
        assert.notMatch(ended.err + ended.out, /from-/)
      }
    })))

  it.live("a port that is taken, an address for others without a token, and wrong tokens are one line", () =>
    Effect.scoped(Effect.gen(function*() {
      const port = yield* Effect.acquireRelease(
        Effect.promise(() =>
          new Promise<ReturnType<typeof createServer>>((resolve) => {
            const server = createServer().listen(0, "127.0.0.1", () => resolve(server))
          })
        ),
        (server) => Effect.promise(() => new Promise((resolve) => server.close(resolve)))
      ).pipe(Effect.map((server) => (server.address() as { readonly port: number }).port))
      const [taken, open, elsewhere, empty, spaced, missing, wrong] = yield* Effect.all([
        serve([module, "--port", String(port)]),
        serve([module, "--port", "0", "--host", "0.0.0.0"]),
        serve([module, "--port", "0", "--host", "192.0.2.1"]),
        serve([module], { env: { PENGUIFLOW_TOKEN: " " } }),
        serve([module], { env: { PENGUIFLOW_TOKEN: "two words" } }),
        serve([module, "--token-file", "nowhere"]),
        serve([module, "--port", "70000"])
      ], { concurrency: 2 })
      for (const { code, err, out, said } of [taken, open, elsewhere, empty, spaced, missing, wrong]) {
        assert.deepStrictEqual([code, out, said.length], [2, "", 1], err)
      }
      assert.deepStrictEqual([taken, open, elsewhere, empty, spaced, missing, wrong].map(({ said }) => said[0]), [
        `✗ can't serve: port ${port} of 127.0.0.1 is taken by another program: end it, or choose another one by --port (0 takes a free one)`,
        "✗ can't serve: others can reach 0.0.0.0: set PENGUIFLOW_TOKEN or give --token-file, or say --allow-unauthenticated",
        "✗ can't serve: 192.0.2.1 is no address of this machine: choose one by --host",
        "✗ PENGUIFLOW_TOKEN: holds no token: give it one, or take it away",
        "✗ PENGUIFLOW_TOKEN: holds a token with white space in it, which no request can bear",
        "✗ nowhere: can't be read: ENOENT",
        "✗ Invalid value for --port: \"70000\". Expected a port from 0 to 65535; 0 takes a free one. See penguiflow serve --help"
      ])
    })))

  it.live("a signal lets what is under way end, and frees the port", () =>
    Effect.gen(function*() {
      const { answer, ended } = yield* whileServing(["--grace", "10 seconds"], async (url, { signal, told }) => {
        const running = post(`${url}/api/flows/orders/run`, { item: "ice", wait: 800 })
        await told("shipping ice")
        signal("SIGTERM")
        return { url, run: await running }
      })
      assert.deepStrictEqual(answer!.run.json["results"], ["ice shipped late"])
      assert.strictEqual(ended.code, 0)
      assert.isFalse(yield* accepts(Number(new URL(answer!.url).port)))
    }))
})
