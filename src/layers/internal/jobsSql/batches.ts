/**
 * Claims of this process, each with those of its jobs that have not ended: the row of one that is over can go.
 *
 * Only a help: rows that nobody forgets, as after a crash, are looked at and deleted when their lease has ended.
 */
import type * as JobStore from "../../../JobStore.ts"

/** Jobs that are remembered. */
const most = 100_000

export class Batches {
  readonly #jobs: Map<string, { readonly token: number; readonly batch: { readonly claim: number; left: number } }> =
    new Map()
  #over: Array<number> = []

  began(claim: number, jobs: ReadonlyArray<JobStore.Lease>): void {
    if (this.#jobs.size > most) this.#jobs.clear()
    const batch = { claim, left: jobs.length }
    for (const { id, token } of jobs) this.#jobs.set(id, { token, batch })
  }

  ended(jobs: ReadonlyArray<JobStore.Lease>): void {
    for (const { id, token } of jobs) {
      const job = this.#jobs.get(id)
      // One that was claimed again belongs to its last claim.
      if (job?.token !== token) continue
      this.#jobs.delete(id)
      if (--job.batch.left === 0) this.#over.push(job.batch.claim)
    }
  }

  /** Claims whose jobs have all ended, each given once. */
  over(): ReadonlyArray<number> {
    const over = this.#over
    if (over.length > 0) this.#over = []
    return over
  }
}
