/**
 * One contender, measured in a process of its own: `node child.ts NAME URL JOBS ROUNDS`. Prints one line of JSON.
 *
 * A worker runs for days: eight rounds and 500 single jobs come first and are not counted, so that what is compared is not
 * how soon each one's code gets compiled.
 */
import { contenders } from "./contenders.ts"

export interface Measured {
  readonly jobsPerSecond: number
  readonly medianMs: number
  readonly p99Ms: number
}

const [name = "", url = "", jobs = "5000", rounds = "3"] = process.argv.slice(2)
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const it = contenders[name]!.make(url)
const count = Number(jobs)

await it.prepare()
const speeds: Array<number> = []
for (let round = -8; round < Number(rounds); round++) {
  await it.fill(count)
  let done = 0
  const from = performance.now()
  const stop = await it.work(() => {
    done++
  })
  while (done < count) await pause(2)
  while (await it.left() > 0) await pause(5)
  if (round >= 0) speeds.push(count / ((performance.now() - from) / 1000))
  await stop()
}

let heard: (n: number) => void = () => {}
const stop = await it.work((n) => heard(n))
await pause(500)
const times: Array<number> = []
for (let n = 0; n < 1500; n++) {
  const ran = new Promise<void>((resolve) => {
    heard = (which) => {
      if (which === n) resolve()
    }
  })
  const from = performance.now()
  await it.one(n)
  await ran
  if (n >= 500) times.push(performance.now() - from)
  await pause(2)
}
await stop()
await it.close()

const at = (values: ReadonlyArray<number>, part: number) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * part)] ?? Number.NaN
const measured: Measured = {
  jobsPerSecond: at(speeds, 0.5),
  medianMs: at(times, 0.5),
  p99Ms: at(times, 0.99)
}
process.stdout.write(`${JSON.stringify(measured)}\n`)
process.exit(0)
