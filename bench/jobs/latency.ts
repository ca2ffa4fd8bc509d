/**
 * Time from enqueueing a job to its running, of all contenders of one server: `latency.ts here|elsewhere COUNT NAME URL …`.
 *
 * All of them wait for jobs at once, and get one after the other, in another order each time: what the machine does
 * meanwhile happens to each of them.
 */
import { setTimeout as pause } from "node:timers/promises"
import { quantile } from "../rounds.ts"
import { contenders } from "./contenders.ts"
import { endWithParent, tell } from "./process.ts"
import { progress } from "./progress.ts"
import { inAnotherProcess, inThisProcess } from "./starts.ts"

/** Milliseconds. */
export interface Latency {
  readonly median: number
  readonly p99: number
}

export type Latencies = Readonly<Record<string, Latency>>

/** A worker runs for days: how soon its code gets compiled is not what is compared. */
const warmUp = 2000

const waiting = async (where: string, name: string, url: string) => {
  const it = contenders[name]!.make(url)
  await it.prepare()
  let [expected, heard] = [Number.NaN, (_at: bigint) => {}]
  const starts = where === "here" ? inThisProcess(it) : inAnotherProcess(name, url)
  const stop = await starts(({ at, n }) => {
    if (n === expected) heard(at)
  })
  const times: Array<number> = []
  return {
    name,
    times,
    send: async (n: number) => {
      const started = new Promise<bigint>((resolve) => {
        ;[expected, heard] = [n, resolve]
      })
      const from = process.hrtime.bigint()
      await it.one(n)
      const ms = Number(await started - from) / 1e6
      if (n >= 0) times.push(ms)
    },
    stop: async () => {
      await stop()
      await it.close()
    }
  }
}

const shuffled = <A>(values: ReadonlyArray<A>): Array<A> =>
  values.map((value) => ({ value, key: Math.random() })).sort((a, b) => a.key - b.key).map(({ value }) => value)

const [where = "", count = "", ...places] = process.argv.slice(2)
endWithParent()
const all: Array<Awaited<ReturnType<typeof waiting>>> = []
for (let i = 0; i < places.length; i += 2) {
  all.push(await waiting(where, places[i]!, places[i + 1]!))
}
await pause(500)
for (let n = -warmUp; n < Number(count); n++) {
  if (n % 20 === 0) progress(`time to run, workers ${where}, ${all.length} queues: ${n} of ${count}`)
  for (const it of shuffled(all)) {
    await it.send(n)
    // Its outcome is being written: that is not the next one's load.
    await pause(3)
  }
}
for (const it of all) await it.stop()

const latencies: Latencies = Object.fromEntries(
  all.map(({ name, times }) => [
    name,
    { median: quantile(times, 0.5), p99: quantile(times, 0.99) }
  ])
)
await tell(latencies)
process.exit(0)
