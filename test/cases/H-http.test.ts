/** Chapter H: bad requests, slow and vanishing clients, wrong origins, smuggling, and the server's end, over real sockets. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Redacted, Schema, Scope, Stream } from "effect"
import { connect } from "node:net"
import { Flow, Node } from "penguiflow"
import * as FlowHttp from "penguiflow/FlowHttp"
import { ask, eventually, head, type Place, post, raw, serving, sse, type Wire } from "../utils/http.ts"

const text = Flow.make("text", [
  Node.make("measure", {
    input: Schema.Struct({ text: Schema.String }),
    output: Schema.Number,
    run: ({ text }) => Effect.succeed(text.length)
  }).to()
])
const good = { text: "good" }

/** A flow that waits until it is let go, and tells what became of each of its traces. */
const waiting = () => {
  const state = { running: 0, stopped: 0, ended: 0, let: Deferred.makeUnsafe<void>() }
  const flow = Flow.make("waiting", [
    Node.make("wait", {
      input: Schema.Number,
      output: Schema.Number,
      run: (n) =>
        Effect.acquireRelease(
          Effect.sync(() => void state.running++),
          () => Effect.sync(() => void state.ended++)
        ).pipe(
          Effect.andThen(Deferred.await(state.let)),
          Effect.as(n),
          Effect.onInterrupt(() => Effect.sync(() => state.stopped++))
        )
    }).to()
  ])
  return { state, flow }
}

/** A flow that sends parts of a kilobyte for as long as somebody takes them. */
const endless = () => {
  const state = { sent: 0, stopped: 0 }
  const flow = Flow.make("endless", [
    Node.stream("drip", {
      input: Schema.Null,
      part: Schema.String,
      output: Schema.Number,
      run: () =>
        Stream.fromEffectRepeat(Effect.sync(() => {
          state.sent++
          return "x".repeat(1024)
        })).pipe(Stream.rechunk(1), Stream.ensuring(Effect.sync(() => state.stopped++))),
      collect: (parts) => parts.length
    }).to()
  ])
  return { state, flow }
}

const json = ["Content-Type: application/json"]
const bodyOf = (answer: string): Wire => JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4))
const run = (place: Place) => `${place.base}/api/flows/text/run`

/** Milliseconds within which so many of a hundred good requests, one after another, were answered. */
const latencies = (place: Place, count: number): Effect.Effect<ReadonlyArray<number>> =>
  Effect.gen(function*() {
    const all: Array<number> = []
    for (let i = 0; i < count; i++) {
      const from = performance.now()
      const { status } = yield* post(run(place), good)
      assert.strictEqual(status, 200)
      all.push(performance.now() - from)
    }
    return all.toSorted((a, b) => a - b)
  })

describe("H. HTTP serving", () => {
  it.live("100. what is no JSON, of the wrong shape or of another type is refused with code and path, and not repeated", () =>
    Effect.gen(function*() {
      const place = yield* serving([text])
      const secret = "hunter2"
      const cases: ReadonlyArray<readonly [string, Record<string, string>, number, string, string | undefined]> = [
        [`{"text":"${secret}"`, {}, 400, "INVALID_JSON", "1:18"],
        [``, {}, 400, "INVALID_JSON", "1:1"],
        [`{"text":["${secret}"]}`, {}, 400, "INVALID_INPUT", "text"],
        [`"${secret}"`, {}, 400, "INVALID_INPUT", undefined],
        [`null`, {}, 400, "INVALID_INPUT", undefined],
        [`{"text":"a"}`, { "content-type": "text/plain" }, 415, "UNSUPPORTED_MEDIA_TYPE", "content-type"],
        [
          `text=a`,
          { "content-type": "application/x-www-form-urlencoded" },
          415,
          "UNSUPPORTED_MEDIA_TYPE",
          "content-type"
        ],
        [`{"text":"a"}`, { "content-encoding": "gzip" }, 415, "UNSUPPORTED_ENCODING", "content-encoding"],
        ["[".repeat(200_000), {}, 400, "INVALID_JSON", "1:200001"],
        [`{"text":{"__proto__":{"polluted":1}},"__proto__":{"polluted":1}}`, {}, 400, "INVALID_INPUT", "text"]
      ]
      for (const [body, headers, status, code, path] of cases) {
        const answer = yield* post(run(place), body, headers)
        assert.deepStrictEqual(
          [answer.status, answer.json?.code, answer.json?.path],
          [status, code, path],
          body.slice(0, 40)
        )
        assert.notInclude(answer.text, secret)
        assert.notMatch(answer.text, /\.ts:|\bat .*\(|node_modules/)
        assert.isAtMost(answer.text.length, 400)
      }
      assert.isUndefined(({} as { polluted?: number }).polluted)
      const bytes = yield* ask(run(place), {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: new Uint8Array([0x7b, 0xff, 0xfe])
      })
      assert.deepStrictEqual([bytes.status, bytes.json.code], [400, "INVALID_JSON"])
      assert.strictEqual((yield* post(run(place), good)).status, 200)
    }).pipe(Effect.scoped))

  it.live("101. a body that is too large is refused before it is taken in, with and without a length", () =>
    Effect.gen(function*() {
      const place = yield* serving([text])
      const size = 200 * 1024 * 1024
      // Once before anything is measured: what is loaded for it is loaded.
      yield* post(run(place), "x".repeat(2 * 1024 * 1024))
      globalThis.gc?.()
      // Bodies are bytes outside of the heap: what is kept of them shows there, whatever the collector is at.
      const before = process.memoryUsage()
      let peak = 0
      const watch = setInterval(() => peak = Math.max(peak, process.memoryUsage().external), 2)
      const piece = Buffer.alloc(64 * 1024, 0x20)
      const told = yield* raw(place.port)
      told.write(head("POST", "/api/flows/text/run", [...json, `Content-Length: ${size}`]))
      const untold = yield* raw(place.port)
      untold.write(head("POST", "/api/flows/text/run", [...json, "Transfer-Encoding: chunked"]))
      let sent = 0
      // As long as the other side takes it, up to the whole of it.
      for (
        const [socket, chunk] of [[told.socket, piece], [
          untold.socket,
          Buffer.concat([Buffer.from("10000\r\n"), piece, Buffer.from("\r\n")])
        ]] as const
      ) {
        yield* Effect.promise(async () => {
          for (let left = size; left > 0 && !socket.destroyed && socket.writable; left -= piece.length) {
            sent += piece.length
            if (!socket.write(chunk)) {
              await new Promise<void>((resolve) => {
                socket.once("drain", resolve)
                socket.once("close", () => resolve())
              })
            }
          }
        })
      }
      for (const client of [told, untold]) {
        const answer = yield* client.closed
        assert.include(answer, "HTTP/1.1 413")
        assert.strictEqual(bodyOf(answer).code, "BODY_TOO_LARGE")
        assert.match(answer, /connection: close/i)
      }
      clearInterval(watch)
      globalThis.gc?.()
      assert.isBelow(sent, 2 * size)
      assert.isBelow(peak - before.external, 5 * 1024 * 1024)
      assert.isBelow(process.memoryUsage().rss - before.rss, 50 * 1024 * 1024)
      assert.strictEqual((yield* post(run(place), good)).status, 200)
    }).pipe(Effect.scoped))

  it.live("102. slow heads and slow bodies hold nobody up, and are closed in time", () =>
    Effect.gen(function*() {
      const place = yield* serving([text], {
        bodyTimeout: "1 second",
        node: { headersTimeout: "1 second", requestTimeout: "2 seconds" }
      })
      yield* latencies(place, 20)
      const alone = yield* latencies(place, 100)
      const slow = yield* Effect.forEach(Array.from({ length: 400 }), (_, index) =>
        Effect.map(raw(place.port), (client) => {
          client.write(
            index < 300
              ? "POST /api/flows/text/run HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
              : head("POST", "/api/flows/text/run", [...json, "Content-Length: 1000"]) + "{"
          )
          return client
        }))
      const drip = setInterval(() =>
        slow.forEach(({ socket }) =>
          socket.writable && socket.write("x")
        ), 100)
      const from = performance.now()
      const among = yield* latencies(place, 100)
      // Of the same machine at the same time: what is slow besides is slow in both.
      assert.isBelow(among[50]!, 5 * alone[50]! + 5, "milliseconds, the median while 400 slow clients are connected")
      const ends = yield* Effect.forEach(slow, ({ closed }, index) =>
        Effect.map(closed, (answer) => `${index < 300 ? "head" : "body"} ${answer.slice(0, 12)}`))
      assert.deepStrictEqual([...new Set(ends)], ["head HTTP/1.1 408", "body HTTP/1.1 408"])
      clearInterval(drip)
      assert.isBelow(performance.now() - from, 10_000)
    }).pipe(Effect.scoped))

  it.live("102. a client that takes nothing of a large answer is closed", () =>
    Effect.gen(function*() {
      const large = Flow.make("large", [
        Node.make("large", {
          input: Schema.Null,
          output: Schema.String,
          run: () => Effect.succeed("x".repeat(32 * 1024 * 1024))
        }).to()
      ])
      const place = yield* serving([large, text], { node: { writeTimeout: "1 second" } })
      const client = yield* raw(place.port)
      client.socket.pause()
      client.write(head("POST", "/api/flows/large/run", [...json, "Content-Length: 4"]) + "null")
      yield* Effect.promise(async () => {
        // Only writing tells a paused client that the other side has gone.
        while (!client.socket.destroyed) {
          await new Promise((resolve) => setTimeout(resolve, 50))
          client.socket.write("x")
        }
      })
      const slowly = yield* raw(place.port)
      slowly.write(head("POST", "/api/flows/large/run", [...json, "Content-Length: 4", "Connection: close"]) + "null")
      // Takes some of it now and then, for longer than that altogether.
      const taking = setInterval(() => {
        slowly.socket.resume()
        setTimeout(() => slowly.socket.pause(), 5)
      }, 60)
      const whole = yield* slowly.closed
      clearInterval(taking)
      assert.isAbove(whole.length, 32 * 1024 * 1024)
      // The connection is as good as before where the next request takes longer than that.
      assert.strictEqual((yield* post(run(place), good)).status, 200)
    }).pipe(Effect.scoped))

  it.live("102. connections beyond the most are closed, and others are answered", () =>
    Effect.gen(function*() {
      const place = yield* serving([text], { node: { maxConnections: 10 } })
      const held = yield* Effect.forEach(Array.from({ length: 10 }), () => raw(place.port))
      const beyond = yield* raw(place.port)
      assert.strictEqual(yield* beyond.closed, "")
      held[0]!.write(head("GET", "/healthz"))
      assert.include(yield* held[0]!.until("}"), `{"status":"ok"}`)
    }).pipe(Effect.scoped))

  it.live("103. two hundred clients that vanish, politely or not, leave nothing running", () =>
    Effect.gen(function*() {
      const { flow, state } = waiting()
      const place = yield* serving([flow], { maxInFlight: 500 })
      const clients = yield* Effect.forEach(Array.from({ length: 200 }), () =>
        Effect.map(raw(place.port), (client) => {
          client.write(head("POST", "/api/flows/waiting/stream", [...json, "Content-Length: 1"]) + "1")
          return client
        }))
      yield* eventually(() => state.running === 200)
      clients.forEach(({ socket }, index) => index % 2 === 0 ? socket.resetAndDestroy() : socket.end())
      yield* eventually(() => state.stopped === 200)
      yield* eventually(() => state.ended === 200)
      const [snapshot] = yield* Stream.runCollect(Stream.take(sse(`${place.base}/api/events`), 1)).pipe(
        Effect.repeat({ until: ([it]) => it?.data.flows.waiting.open === 0, times: 1000 })
      )
      assert.strictEqual(snapshot?.data.flows.waiting.cancelled, 200)
      assert.strictEqual(snapshot?.data.flows.waiting.nodes.wait.running, 0)
    }).pipe(Effect.scoped))

  it.live("103. a client that never reads fills a bounded buffer, and is then let go", () =>
    Effect.gen(function*() {
      const { flow, state } = endless()
      const place = yield* serving([flow], { stallTimeout: "500 millis", streamBuffer: 64 })
      const client = yield* raw(place.port)
      client.socket.pause()
      client.write(head("POST", "/api/flows/endless/stream", [...json, "Content-Length: 4"]) + "null")
      yield* eventually(() => state.stopped === 1)
      // What the kernel takes for a connection, and the little that is kept here.
      assert.isBelow(state.sent, 20_000)
      client.socket.resume()
      yield* client.closed
      assert.notInclude(client.received(), "event: done")
    }).pipe(Effect.scoped))

  it.live("103. a slow client gets everything, however large: the trace waits for it", () =>
    Effect.gen(function*() {
      const size = 512 * 1024
      const large = Flow.make("large", [
        Node.stream("large", {
          input: Schema.Null,
          part: Schema.String,
          output: Schema.Number,
          run: () => Stream.range(1, 40).pipe(Stream.map(() => "x".repeat(size)), Stream.rechunk(1)),
          collect: (parts) => parts.length
        }).to()
      ])
      const place = yield* serving([large])
      const sent = yield* Stream.runCollect(
        sse(`${place.base}/api/flows/large/stream`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: "null"
        }).pipe(
          Stream.mapEffect(({ data, event }) => Effect.as(Effect.sleep("5 millis"), [event, data.value?.length]))
        )
      )
      assert.deepStrictEqual(sent, [
        ...Array.from({ length: 40 }, () => ["part", size]),
        ["result", undefined],
        ["done", undefined]
      ])
    }).pipe(Effect.scoped))

  it.live("103. one that only watches and never reads slows nothing, and is let go", () =>
    Effect.gen(function*() {
      const place = yield* serving([text], { stallTimeout: "500 millis", eventBuffer: 128 })
      const client = yield* raw(place.port)
      client.socket.pause()
      client.write(head("GET", "/api/events"))
      const asked = yield* Effect.forkChild(Effect.forever(post(`${run(place)}?tenant=${"t".repeat(8000)}`, good)))
      client.socket.once("close", () => {})
      yield* Effect.promise(async () => {
        // Only writing tells a paused client that the other side has gone.
        while (!client.socket.destroyed) {
          await new Promise((resolve) => setTimeout(resolve, 50))
          client.socket.write("x")
        }
      })
      yield* Fiber.interrupt(asked)
    }).pipe(Effect.scoped))

  it.live("104. a request that is aborted cancels its trace; one that is detached goes on", () =>
    Effect.gen(function*() {
      const { flow, state } = waiting()
      const place = yield* serving([flow])
      const send = (path: string) =>
        Effect.map(raw(place.port), (client) => {
          client.write(head("POST", path, [...json, "Content-Length: 1"]) + "1")
          return client
        })
      const one = yield* send("/api/flows/waiting/run")
      yield* eventually(() => state.running === 1)
      one.socket.destroy()
      yield* eventually(() => state.ended === 1)
      assert.strictEqual(state.stopped, 1)
      const two = yield* send("/api/flows/waiting/stream?detach=true&traceId=d")
      yield* eventually(() => state.running === 2)
      two.socket.destroy()
      yield* Deferred.succeed(state.let, undefined)
      const rest = yield* Stream.runCollect(sse(`${place.base}/api/streams/d`))
      assert.deepStrictEqual(rest.map(({ event }) => event), ["result", "done"])
      assert.strictEqual(state.stopped, 1)
    }).pipe(Effect.scoped))

  it.live("105. without the right token nothing of the body is read", () =>
    Effect.gen(function*() {
      const place = yield* serving([text], {}, FlowHttp.bearer(Redacted.make("token")))
      for (
        const authorization of [[], ["Authorization: Bearer "], ["Authorization: Bearer tokem"], [
          "Authorization: Bearer token,"
        ]]
      ) {
        const client = yield* raw(place.port)
        // The body never comes.
        client.write(head("POST", "/api/flows/text/run", [...json, ...authorization, "Content-Length: 1000"]))
        const answer = yield* client.closed
        assert.include(answer, "HTTP/1.1 401")
        assert.strictEqual(bodyOf(answer).code, "UNAUTHORIZED")
      }
      const long = yield* raw(place.port)
      long.write(head("POST", "/api/flows/text/run", [`Authorization: Bearer ${"a".repeat(1024 * 1024)}`]))
      assert.include(yield* long.closed, "HTTP/1.1 431")
    }).pipe(Effect.scoped))

  it.live("106. no path reaches anything but the three assets", () =>
    Effect.gen(function*() {
      const place = yield* serving([text])
      const paths = [
        "/assets/../package.json",
        "/assets/%2e%2e/package.json",
        "/assets/%2e%2e%2fpackage.json",
        "/assets/..%2fpackage.json",
        "/assets/..\\package.json",
        "/assets/..%5cpackage.json",
        "/assets//app.js",
        "//assets/app.js",
        "//etc/passwd",
        "/assets/app.js%00.html",
        "/assets/%00",
        "/assets/",
        "/assets",
        "/etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..",
        "/assets/app.js/",
        "/ASSETS/app.js",
        "/%"
      ]
      for (const path of paths) {
        const client = yield* raw(place.port)
        client.write(head("GET", path, ["Connection: close"]))
        const answer = yield* client.closed
        assert.match(answer, /^HTTP\/1\.1 (?:404|400)/, path)
        assert.notInclude(answer, "root:")
        assert.notInclude(answer, `"dependencies"`)
      }
      const client = yield* raw(place.port)
      client.write(head("GET", "/assets/app.js", ["Connection: close"]))
      const answer = yield* client.closed
      assert.include(answer, "HTTP/1.1 200")
      assert.include(answer, "content-security-policy: default-src 'self'; base-uri 'none'")
    }).pipe(Effect.scoped))

  it.live("108. another host, origin or site is refused, on reading and on writing", () =>
    Effect.gen(function*() {
      const place = yield* serving([text], { origins: ["https://ours.example"] })
      const send = (method: string, headers: ReadonlyArray<string>, path = "/api/flows/text/run") =>
        Effect.gen(function*() {
          const client = yield* raw(place.port)
          const body = method === "POST" ? JSON.stringify(good) : ""
          const lines = [`${method} ${path} HTTP/1.1`, ...headers, ...json, "Connection: close"]
          client.write([...lines, `Content-Length: ${body.length}`, "", body].join("\r\n"))
          const answer = yield* client.closed
          return `${answer.slice(9, 12)} ${bodyOf(answer).code ?? ""}`.trim()
        })
      const host = `Host: 127.0.0.1:${place.port}`
      const cases: ReadonlyArray<readonly [string, string, ReadonlyArray<string>]> = [
        ["200", "POST", [host]],
        ["200", "POST", ["Host: localhost"]],
        ["200", "POST", ["Host: [::1]:99"]],
        ["200", "POST", [host, `Origin: http://127.0.0.1:${place.port}`]],
        ["200", "POST", [host, "Origin: https://ours.example", "Sec-Fetch-Site: cross-site"]],
        ["200", "POST", [host, "Sec-Fetch-Site: same-origin"]],
        ["403 FOREIGN_HOST", "POST", ["Host: evil.example"]],
        ["403 FOREIGN_HOST", "POST", ["Host: localhost.evil.example"]],
        ["403 FOREIGN_HOST", "POST", ["Host: evil.example:80@127.0.0.1"]],
        ["403 FOREIGN_ORIGIN", "POST", [host, "Origin: https://evil.example"]],
        ["403 FOREIGN_ORIGIN", "POST", [host, "Origin: null"]],
        ["403 FOREIGN_ORIGIN", "POST", [host, "Origin: http://127.0.0.1:1"]],
        ["403 FOREIGN_ORIGIN", "POST", [host, "Sec-Fetch-Site: cross-site"]],
        ["403 FOREIGN_ORIGIN", "POST", [host, "Sec-Fetch-Site: same-site"]]
      ]
      for (const [expected, method, headers] of cases) {
        assert.strictEqual(yield* send(method, headers), expected, headers.join(", "))
      }
      assert.strictEqual(yield* send("GET", ["Host: evil.example"], "/api/flows"), "403 FOREIGN_HOST")
      const asked = (origin: string) =>
        ask(run(place), { method: "OPTIONS", headers: { origin, "access-control-request-method": "POST" } })
      const ours = yield* asked("https://ours.example")
      assert.deepStrictEqual([ours.status, ours.headers.get("access-control-allow-origin")], [
        204,
        "https://ours.example"
      ])
      const theirs = yield* asked("https://evil.example")
      assert.deepStrictEqual([theirs.status, theirs.headers.get("access-control-allow-origin")], [403, null])
      assert.strictEqual(yield* send("GET", ["Host: 10.1.2.3:8080"], "/healthz"), "200")
    }).pipe(Effect.scoped))

  it.live("109. two lengths, a length and chunks, no host, or no HTTP at all: 400; a head of 64 KB: 431", () =>
    Effect.gen(function*() {
      const place = yield* serving([text])
      const start = "POST /api/flows/text/run HTTP/1.1\r\n"
      const smuggled = "GET /api/flows HTTP/1.1\r\nHost: localhost\r\n\r\n"
      const cases: ReadonlyArray<readonly [string, string]> = [
        [
          "400",
          `${start}Host: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`
        ],
        ["400", `${start}Host: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef${smuggled}`],
        ["400", `${start}Host: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${smuggled}`],
        ["400", `${start}Host: localhost\r\nContent-Length: +5\r\n\r\nabcde`],
        ["400", `${start}Content-Length: 2\r\n\r\n{}`],
        ["400", `${start}Host: localhost\r\nContent-Length : 5\r\n\r\nabcde`],
        ["400", "\u0016\u0003\u0001 no http\r\n\r\n"],
        ["431", `${start}Host: localhost\r\nX: ${"a".repeat(64 * 1024)}\r\n\r\n`]
      ]
      for (const [status, request] of cases) {
        const client = yield* raw(place.port)
        client.write(request)
        const answer = yield* client.closed
        assert.strictEqual(answer.slice(9, 12), status, request.slice(0, 100))
        assert.lengthOf(answer.match(/HTTP\/1\.1 \d/g) ?? [], 1, "one answer, and nothing of what was smuggled")
      }
      const method = yield* raw(place.port)
      method.write(head("BREW", "/api/flows", ["Connection: close"]))
      assert.match(yield* method.closed, /^HTTP\/1\.1 (?:400|405)/)
      const other = yield* raw(place.port)
      other.write(head("PATCH", "/api/flows/text/run", ["Connection: close"]))
      assert.match(yield* other.closed, /^HTTP\/1\.1 405[^]*allow: POST\r\n/i)
    }).pipe(Effect.scoped))

  it.live("110. at its end it says so first, lets requests end, refuses new ones, and frees the port", () =>
    Effect.gen(function*() {
      const { flow, state } = waiting()
      const scope = yield* Scope.make()
      const place = yield* Scope.provide(
        serving([flow], { drainDelay: "200 millis", node: { grace: "10 seconds" } }),
        scope
      )
      const under = yield* Effect.forkChild(post(`${place.base}/api/flows/waiting/run`, 1))
      yield* eventually(() => state.running === 1)
      const watching = yield* Effect.forkChild(Stream.runDrain(sse(`${place.base}/api/events`)))
      const idle = yield* raw(place.port)
      idle.write(head("GET", "/readyz"))
      assert.include(yield* idle.until("}"), `{"status":"ready"}`)
      const slow = yield* raw(place.port)
      slow.write("POST / HTTP/1.1\r\nHost: loc")
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      const draining = yield* ask(`${place.base}/readyz`).pipe(
        Effect.repeat({ until: ({ status }) => status === 503, times: 1000 })
      )
      assert.deepStrictEqual(draining.json, { status: "draining" })
      yield* Fiber.join(watching)
      // Refused by the server that stops, or by nobody who listens any more.
      const late = yield* Effect.promise(async () => {
        while (true) {
          try {
            const { status } = await fetch(`${place.base}/api/flows/waiting/run`, {
              method: "POST",
              headers: { "content-type": "application/json" },
              body: "2",
              signal: AbortSignal.timeout(50)
            })
            if (status === 503) return "refused"
          } catch (error) {
            const cause = (error as { readonly cause?: { readonly code?: string } }).cause
            if (cause?.code === "ECONNREFUSED") return "refused"
          }
        }
      })
      assert.strictEqual(late, "refused")
      yield* idle.closed
      yield* Deferred.succeed(state.let, undefined)
      assert.deepStrictEqual((yield* Fiber.join(under)).json.results, [1])
      const from = performance.now()
      yield* Fiber.join(closing)
      // Neither the slow client nor the idle one was waited for.
      assert.isBelow(performance.now() - from, 3000)
      yield* slow.closed
      const again = yield* Effect.promise(() =>
        new Promise<string>((resolve) => {
          const socket = connect(place.port, "127.0.0.1")
          socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "?"))
          socket.once("connect", () => resolve("connected"))
        })
      )
      assert.strictEqual(again, "ECONNREFUSED")
    }).pipe(Effect.scoped))

  it.live("110. what does not end in time is interrupted, and its finalizers run", () =>
    Effect.gen(function*() {
      const { flow, state } = waiting()
      const scope = yield* Scope.make()
      const place = yield* Scope.provide(serving([flow], { node: { grace: "100 millis" } }), scope)
      const client = yield* raw(place.port)
      client.write(head("POST", "/api/flows/waiting/run", [...json, "Content-Length: 1"]) + "1")
      yield* eventually(() => state.running === 1)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual([state.stopped, state.ended], [1, 1])
      assert.include(yield* client.closed, "HTTP/1.1 503")
    }).pipe(Effect.scoped))

  it.live("111. ids that hold line ends or escapes stay data", () =>
    Effect.gen(function*() {
      const place = yield* serving([text])
      const id = "a\r\nid: 9\nevent: forged\u001b[2J"
      const { text: answered } = yield* post(`${run(place)}?traceId=${encodeURIComponent(id)}`, good)
      assert.deepStrictEqual(JSON.parse(answered).traceId, id)
      for (const control of ["\r", "\n", "\u001b"]) assert.notInclude(answered, control)
      const sent = yield* Stream.runCollect(
        sse(`${place.base}/api/flows/text/stream?traceId=${encodeURIComponent(id)}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(good)
        })
      )
      assert.deepStrictEqual(sent.map(({ event, id }) => [id, event]), [["1", "result"], ["2", "done"]])
      assert.strictEqual(sent[1]?.data.traceId, id)
      const { status } = yield* post(`${run(place)}?traceId=`, good)
      assert.strictEqual(status, 400)
    }).pipe(Effect.scoped))
})
