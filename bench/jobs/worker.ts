/** A contender's worker in a process of its own: `worker.ts NAME URL`. Tells when it is ready, and each job's start. */
import { contenders } from "./contenders.ts"
import { endWithParent, tell } from "./process.ts"
import { inThisProcess } from "./starts.ts"

const [name = "", url = ""] = process.argv.slice(2)
endWithParent()
const it = contenders[name]!.make(url)
await it.prepare()
await inThisProcess(it)(tell)
await tell({ ready: true })
