/** Sources for the checker: half of them with one or more mistakes, each marked by `⟵ rule` on its line, half clean. */

export interface Snippet {
  readonly title: string
  readonly source: string
}

const head = `import { Effect, Schema, Schedule } from "effect"\nimport { Flow, Node } from "penguiflow"\n`
const io = `input: Schema.Number, output: Schema.Number,`

/** Written in two halves, so that nobody's scanner finds them here. */
const key = ["sk-proj-", "abcdefghijklmnop1234"].join("")
const awsKey = ["AKIA", "IOSFODNN7EXAMPLQ"].join("")

export const wrong: ReadonlyArray<Snippet> = [
  {
    title: "a pool made in run",
    source: `${head}import { Pool } from "pg"
export const a = Node.make("a", { ${io}
  run: (n) => Effect.promise(async () => {
    const pool = new Pool() // ⟵ client-in-run
    return (await pool.query("SELECT 1")).rowCount ?? n
  })
})`
  },
  {
    title: "an OpenAI client made in a generator",
    source: `${head}import OpenAI from "openai"
export const a = Node.make("a", { ${io}
  run: Effect.fn(function*(n) {
    const openai = new OpenAI() // ⟵ client-in-run
    yield* Effect.promise(() => openai.models.list())
    return n
  })
})`
  },
  {
    title: "createClient in a function that run calls",
    source: `${head}import { createClient } from "redis"
const remember = async (n: number) => {
  const client = await createClient().connect() // ⟵ client-in-run
  await client.set("n", n)
  return n
}
export const a = Node.make("a", { ${io} run: (n) => Effect.promise(() => remember(n)) })`
  },
  {
    title: "a connection opened in run",
    source: `${head}import * as mongoose from "mongoose"
export const a = Node.make("a", { ${io}
  run: (n) => Effect.promise(async () => {
    await mongoose.connect("mongodb://localhost/app") // ⟵ client-in-run
    return n
  })
})`
  },
  {
    title: "a client's layer built in run",
    source: `${head}import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
export const a = Node.make("a", { ${io}
  run: (n) => SqlClient.SqlClient.use((sql) => Effect.as(sql\`SELECT 1\`, n)).pipe(
    Effect.provide(PgClient.layer({})) // ⟵ client-in-run
  )
})`
  },
  {
    title: "a client made by a loop's step",
    source: `${head}import { Loop } from "penguiflow"
import Anthropic from "@anthropic-ai/sdk"
export const a = Loop.make("a", { state: Schema.Number, output: Schema.Number, maxHops: 3,
  step: (n) => Effect.promise(() => new Anthropic().messages.create({})).pipe(Effect.as(Loop.done(n))) // ⟵ client-in-run
})`
  },
  {
    title: "a session in a variable of the module",
    source: `${head}import { Pool } from "pg"
let session: Pool | undefined
export const init = () => { session = new Pool() }
export const a = Node.make("a", { ${io}
  run: (n) => Effect.promise(async () => (await session!.query("SELECT 1")).rowCount ?? n) // ⟵ module-state
})`
  },
  {
    title: "a pool of the module",
    source: `${head}import { Pool } from "pg"
const pool = new Pool()
export const a = Node.make("a", { ${io}
  run: (n) => Effect.promise(async () => (await pool.query("SELECT 1")).rowCount ?? n) // ⟵ module-state
})`
  },
  {
    title: "a cache and a counter of the module",
    source: `${head}
const cache = new Map<number, number>()
const stats = { calls: 0 }
export const a = Node.make("a", { ${io}
  run: Effect.fnUntraced(function*(n) {
    stats.calls++ // ⟵ module-state
    cache.set(n, n * 2) // ⟵ module-state
    return n
  })
})`
  },
  {
    title: "a lock of the module",
    source: `${head}import { Semaphore } from "effect"
const lock = Semaphore.makeUnsafe(1)
export const a = Node.make("a", { ${io}
  run: (n) => lock.withPermits(1)(Effect.succeed(n)) // ⟵ module-state
})`
  },
  {
    title: "a client that another file makes is found where it is used",
    source: `${head}import { pool } from "./db.ts"
export const a = Node.make("a", { ${io}
  run: (n) => Effect.promise(async () => (await pool.query("SELECT 1")).rowCount ?? n) // ⟵ module-state
})`
  },
  {
    title: "a pool, a lock and a date in meta",
    source: `${head}import { Semaphore } from "effect"
import { Pool } from "pg"
export const send = (flow: Flow.Flow<string, number, number>) =>
  Effect.gen(function*() {
    const db = new Pool()
    const lock = yield* Semaphore.make(1)
    return yield* Flow.run(flow, 1, {
      meta: {
        user: "u1",
        db, // ⟵ meta-not-json
        lock, // ⟵ meta-not-json
        at: new Date() // ⟵ meta-not-json
      }
    })
  })`
  },
  {
    title: "a service and a function annotated",
    source: `${head}import { SqlClient } from "effect/sql"
export const a = Node.make("a", { ${io}
  run: Effect.fn(function*(n, { annotate }) {
    const sql = yield* SqlClient.SqlClient
    yield* annotate("sql", sql) // ⟵ meta-not-json
    yield* annotate("log", { f: () => n }) // ⟵ meta-not-json
    return n
  })
})`
  },
  {
    title: "an INSERT in a node that is retried",
    source: `${head}import { SqlClient } from "effect/sql"
export const a = Node.make("a", { ${io}
  policy: { retry: Schedule.recurs(3) },
  run: (n) => SqlClient.SqlClient.use((sql) =>
    Effect.as(sql\`INSERT INTO logs (n) VALUES (\${n})\`, n)) // ⟵ insert-not-idempotent
})`
  },
  {
    title: "an INSERT below a policy of another file, in a function of its own",
    source: `${head}import { SqlClient } from "effect/sql"
import { patient } from "./policies.ts"
const write = (n: number) => SqlClient.SqlClient.use((sql) =>
  sql\`insert into logs \${sql.insert({ n })} returning id\`) // ⟵ insert-not-idempotent
export const a = Node.make("a", { ${io} policy: { ...patient, timeout: "1 second" }, run: (n) => Effect.as(write(n), n) })`
  },
  {
    title: "an INSERT in a node given a retry later, and in one that a worker runs",
    source: `${head}import * as Worker from "penguiflow/Worker"
const first = Node.make("first", { ${io}
  run: (n) => Effect.promise(() => query("INSERT INTO a (n) VALUES (1)")).pipe(Effect.as(n)) // ⟵ insert-not-idempotent
})
const second = Node.make("second", { ${io}
  run: (n) => Effect.promise(() => query("INSERT INTO b (n) VALUES (1)")).pipe(Effect.as(n)) // ⟵ insert-not-idempotent
})
declare const query: (sql: string) => Promise<void>
export const one = Flow.make("one", [Node.withPolicy(first, { retry: Schedule.recurs(1) }).to()])
const two = Flow.make("two", [second.to()])
export const worker = Worker.layer(two, {})`
  },
  {
    title: "clock, chance and environment in a durable flow",
    source: `${head}import * as DurableFlow from "penguiflow/DurableFlow"
const a = Node.make("a", { ${io}
  run: (n) => Effect.sync(() => n + Date.now() + Math.random()) // ⟵ durable-nondeterminism ⟵ durable-nondeterminism
})
const b = Node.make("b", { ${io}
  run: (n) => Effect.sync(() => process.env["LIMIT"] === undefined ? n : new Date().getTime()) // ⟵ durable-nondeterminism ⟵ durable-nondeterminism
})
export const durable = DurableFlow.make(Flow.make("f", [a.to(b)]), {})`
  },
  {
    title: "keys and a password in literals",
    source: `const openai = { apiKey: "${key}" } // ⟵ credential
export const aws = "${awsKey}" // ⟵ credential
export const database = { host: "db", password: "hunter2!" } // ⟵ credential
export const use = () => openai`
  },
  {
    title: "a password in a URL, and one in Redacted",
    source: `${head}import { Redacted } from "effect"
export const url = "postgresql://app:s3cr3t@db.internal:5432/app" // ⟵ credential
export const dbPassword = Redacted.make("s3cr3t") // ⟵ credential`
  },
  {
    title: "suppressions without a reason, of no rule, and of nothing",
    source: `${head}import { Pool } from "pg"
export const a = Node.make("a", { ${io}
  // penguiflow-ignore client-in-run // ⟵ suppression
  run: (n) => Effect.promise(() => new Pool().end()).pipe(Effect.as(n)) // ⟵ client-in-run
})
// penguiflow-ignore no-such-rule: because // ⟵ suppression
// penguiflow-ignore credential: there was one once // ⟵ unused-suppression
export const b = 1`
  }
]

export const clean: ReadonlyArray<Snippet> = [
  {
    title: "a pool made by a Layer",
    source: `${head}import { Context, Layer } from "effect"
import { Pool } from "pg"
export class Db extends Context.Service<Db, Pool>()("app/Db") {
  static readonly layer = Layer.effect(Db, Effect.acquireRelease(Effect.sync(() => new Pool()), (p) => Effect.promise(() => p.end())))
}
export const a = Node.make("a", { ${io}
  run: Effect.fn(function*(n) {
    const pool = yield* Db
    return (yield* Effect.promise(() => pool.query("SELECT 1"))).rowCount ?? n
  })
})`
  },
  {
    title: "a layer provided to a node, outside of run",
    source: `${head}import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
const a = Node.make("a", { ${io} run: (n) => SqlClient.SqlClient.use((sql) => Effect.as(sql\`SELECT 1\`, n)) })
export const provided = Node.provide(a, PgClient.layer({}))`
  },
  {
    title: "connect as a word of other things",
    source: `${head}
const graph = { connect: (a: string, b: string) => [a, b] }
const connect = (a: number) => a + 1
export const a = Node.make("a", { ${io}
  run: (n) => Effect.sync(() => connect(n) + graph.connect("a", "b").length)
})`
  },
  {
    title: "classes of one's own that are named like clients",
    source: `${head}
class Pool { readonly size = 1 }
class Client { constructor(readonly name: string) {} }
export const a = Node.make("a", { ${io} run: (n) => Effect.sync(() => n + new Pool().size + new Client("x").name.length) })`
  },
  {
    title: "a client made at the module's top that no node uses",
    source: `${head}import { Pool } from "pg"
const pool = new Pool()
export const a = Node.make("a", { ${io} run: (n) => Effect.succeed(n) })
export const close = () => pool.end()`
  },
  {
    title: "constants of the module, read only",
    source: `${head}
const limits = { max: 10 }
const names = ["a", "b"]
const known = new Set(names)
const pattern = /a+/
export const a = Node.make("a", { ${io}
  run: (n) => Effect.sync(() => known.has("a") && pattern.test(names[0]!) ? Math.min(n, limits.max) : n)
})`
  },
  {
    title: "a local variable with the name of a module's",
    source: `${head}
let total = 0
export const add = (n: number) => { total += n }
export const a = Node.make("a", { ${io}
  run: Effect.fn(function*(n) {
    let total = 0
    const cache = new Map<number, number>()
    for (let i = 0; i < n; i++) { total += i; cache.set(i, total) }
    return total + cache.size
  })
})`
  },
  {
    title: "state in a Ref of a service",
    source: `${head}import { Context, Layer, Ref } from "effect"
export class Counter extends Context.Service<Counter, Ref.Ref<number>>()("app/Counter") {
  static readonly layer = Layer.effect(Counter, Ref.make(0))
}
export const a = Node.make("a", { ${io}
  run: Effect.fn(function*(n) {
    yield* Ref.update(yield* Counter, (x) => x + n)
    return n
  })
})`
  },
  {
    title: "JSON in meta",
    source: `${head}
export const send = (flow: Flow.Flow<string, number, number>, user: string) => {
  const startedAt = Date.now()
  const tags = ["a", "b"]
  return Flow.run(flow, 1, { meta: { user, startedAt, at: new Date().toISOString(), tags, nested: { ok: true, none: null } } })
}`
  },
  {
    title: "annotations of JSON, and annotate of something else",
    source: `${head}
const chart = { annotate: (key: string, f: () => number) => [key, f] }
export const a = Node.make("a", { ${io}
  run: Effect.fn(function*(n, { annotate }) {
    yield* annotate("tokens", n)
    yield* annotate("usage", { in: n, out: [1, 2] })
    return chart.annotate("x", () => 1).length
  })
})`
  },
  {
    title: "meta of other things",
    source: `
export const page = { meta: { render: () => "<p>", created: new Date() } }
export const route = (f: (o: object) => void) => f({ meta: { guard: () => true } })`
  },
  {
    title: "an INSERT with ON CONFLICT in a node that is retried",
    source: `${head}import { SqlClient } from "effect/sql"
export const a = Node.make("a", { ${io}
  policy: { retry: Schedule.recurs(3) },
  run: (n, { idempotencyKey }) => SqlClient.SqlClient.use((sql) => Effect.as(sql\`
    INSERT INTO logs (id, n) VALUES (\${idempotencyKey}, \${n})
    ON CONFLICT (id) DO NOTHING\`, n))
})`
  },
  {
    title: "an INSERT in a node that is not retried, and a policy without retry",
    source: `${head}import { SqlClient } from "effect/sql"
import { quick } from "./policies.ts"
const insert = (n: number) => SqlClient.SqlClient.use((sql) => sql\`INSERT INTO logs (n) VALUES (\${n})\`)
export const a = Node.make("a", { ${io} policy: quick, run: (n) => Effect.as(insert(n), n) })
export const b = Node.make("b", { ${io} policy: { timeout: "1 second" }, run: (n) => Effect.as(insert(n), n) })`
  },
  {
    title: "other words with insert in them, in a node that is retried",
    source: `${head}
export const a = Node.make("a", { ${io}
  policy: { retry: Schedule.recurs(3) },
  run: (n) => Effect.as(Effect.log("inserted into the list: insert coin"), n)
})`
  },
  {
    title: "clock and chance in a flow that is not durable",
    source: `${head}
const a = Node.make("a", { ${io} run: (n) => Effect.sync(() => n + Date.now() * Math.random()) })
export const flow = Flow.make("f", [a.to()])`
  },
  {
    title: "a durable flow that asks Clock and Random, and a clock outside of its nodes",
    source: `${head}import { Clock, Random } from "effect"
import * as DurableFlow from "penguiflow/DurableFlow"
const a = Node.make("a", { ${io}
  run: Effect.fn(function*(n) {
    return n + (yield* Clock.currentTimeMillis) + (yield* Random.next)
  })
})
export const durable = DurableFlow.make(Flow.make("f", [a.to()]), {})
export const started = Date.now()`
  },
  {
    title: "names of secrets without secrets",
    source: `${head}import { Config, Redacted } from "effect"
export const apiKey = Config.Redacted("OPENAI_API_KEY")
export const options = { password: "", token: "", apiKeyName: "OPENAI_API_KEY", secret: undefined, passwordField: "password" }
export const placeholder = { apiKey: "<your key>", password: "CHANGE_ME" }
export const hide = (text: string) => Redacted.make(text)`
  },
  {
    title: "URLs without passwords",
    source: `
export const local = "postgres://postgres@127.0.0.1:5432/postgres"
export const site = "https://example.org/a:b@c"
export const template = (user: string, password: string) => \`postgres://\${user}:\${password}@db/app\`
export const help = "write it as postgres://user:password@host:5432/database"`
  },
  {
    title: "suppressed, with reasons",
    source: `${head}import { Pool } from "pg"
const warm = new Map<number, number>()
export const a = Node.make("a", { ${io}
  // penguiflow-ignore client-in-run: this node is a probe that must open a connection of its own
  run: (n) => Effect.promise(() => new Pool().end()).pipe(Effect.as(n))
})
export const b = Node.make("b", { ${io}
  run: (n) => Effect.sync(() => {
    warm.set(n, n) // penguiflow-ignore module-state -- a memo of a pure function
    return n
  })
})`
  },
  {
    title: "no flow at all: a script with a client and a counter",
    source: `import { Pool } from "pg"
let calls = 0
const pool = new Pool()
export const run = async () => {
  calls++
  return { calls, rows: await pool.query("INSERT INTO calls DEFAULT VALUES") }
}`
  }
]

/** Files that snippets import. */
export const files: Readonly<Record<string, string>> = {
  "/snippets/db.ts": `import { Pool } from "pg"\nexport const pool = new Pool()`,
  "/snippets/policies.ts": `import { Schedule } from "effect"
export const patient = { retry: Schedule.recurs(3) }
export const quick = { timeout: "1 second" }`
}
