/**
 * Jobs per second of one contender, alone in its process: `throughput.ts NAME URL JOBS ROUNDS`.
 *
 * A worker runs for days: eight rounds come first and are not counted, so that what is compared is not how soon each
 * one's code gets compiled.
 */
import { setTimeout as pause } from "node:timers/promises"
import { quantile } from "../rounds.ts"
import { contenders } from "./contenders.ts"
import { endWithParent, tell } from "./process.ts"
import { progress } from "./progress.ts"

export interface Throughput {
  readonly jobsPerSecond: number
}

const [name = "", url = "", jobs = "5000", rounds = "3"] = process.argv.slice(2)
const it = contenders[name]!.make(url)
const count = Number(jobs)

endWithParent()
await it.prepare()
const speeds: Array<number> = []
for (let round = -8; round < Number(rounds); round++) {
  progress(`throughput: ${name}: ${round} of ${rounds}`)
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
await it.close()

const measured: Throughput = { jobsPerSecond: quantile(speeds, 0.5) }
await tell(measured)
process.exit(0)
