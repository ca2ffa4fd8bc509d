/**
 * The faults at full size, as a table of JSON lines: `node --conditions=source test/faults/worker/numbers.ts [name…]`.
 * Starts servers of its own. Takes some minutes, and ten more for the workers that are idle.
 */
import { Effect, Redacted } from "effect"
import * as Postgres from "../../utils/servers/postgres.ts"
import * as Scenarios from "./scenarios.ts"

const withServer = <A, E, R>(f: (url: string) => Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(Postgres.start({ settings: { fsync: "on" } }), ({ url }) => f(Redacted.value(url))))

const load = { jobs: 1500, ms: 100, lease: 4000 }
const all: Record<string, Effect.Effect<unknown>> = {
  "killed 15×, PostgreSQL": withServer((url) => Scenarios.killed(url, { jobs: 1500, kills: 15, ms: 100, lease: 3000 })),
  "killed 15×, SQLite": Scenarios.killed(undefined, { jobs: 1500, kills: 15, ms: 100, lease: 3000 }),
  "killed 15× what they enqueued themselves, PostgreSQL": withServer((url) =>
    Scenarios.feedersKilled(url, { kills: 15, feedMs: 20, lease: 3000 })
  ),
  "database stopped and started": Scenarios.restarted("stop", 3000, load),
  "database killed and started": Scenarios.restarted("kill", 1000, load),
  "link refuses for 5 s": Scenarios.linked("refuse", 5000, load),
  "link resets": Scenarios.linked("reset", 0, load),
  "link cut in mid-message for 5 s": Scenarios.linked("cut", 5000, load),
  "link dark for 15 s": Scenarios.linked("dark", 15_000, load),
  "old connections dark for good": Scenarios.linked("oldDark", 0, load),
  "SIGTERM in the dark, grace 3 s": Effect.scoped(Scenarios.terminatedInTheDark(3000)),
  "SIGSTOP for longer than the lease": withServer((url) => Scenarios.frozen(url, 2000)),
  "event loop blocked for two leases, 2 workers": withServer((url) => Scenarios.blocked(url, 2000, 2)),
  "event loop blocked for two leases, 3 workers": withServer((url) => Scenarios.blocked(url, 2000, 3)),
  "clocks ten minutes wrong": withServer((url) => Scenarios.clocks(url, 10, 1000)),
  "the only clock is set back": withServer((url) => Scenarios.clockAlone(url, 10)),
  "poison: kills itself": withServer((url) =>
    Scenarios.poison(url, "kill", { neighbours: 20, lease: 1500, workers: 2 })
  ),
  "poison: exits": withServer((url) => Scenarios.poison(url, "exit", { neighbours: 20, lease: 1500, workers: 2 })),
  "poison: overflows": withServer((url) =>
    Scenarios.poison(url, "overflow", { neighbours: 20, lease: 1500, workers: 2 })
  ),
  "idle for ten minutes": Scenarios.idle({ workers: 2, ms: 600_000, lookEvery: 15_000 }),
  "signals, grace 3 s": withServer((url) => Scenarios.terminated(url, 3000))
}

const wanted = process.argv.slice(2)
for (const [name, scenario] of Object.entries(all)) {
  if (wanted.length > 0 && !wanted.some((part) => name.includes(part))) continue
  const from = Date.now()
  const result = await Effect.runPromise(scenario)
  process.stdout.write(`${name} (${((Date.now() - from) / 1000).toFixed(0)} s): ${JSON.stringify(result)}\n`)
}
process.exit(0)
