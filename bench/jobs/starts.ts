/**
 * When jobs begin to run, in a worker of this process or of another.
 *
 * `process.hrtime` is one clock for all processes of a machine: the message's way back is not in what is measured.
 */
import { once } from "node:events"
import type { Contender } from "./contenders.ts"
import { start } from "./process.ts"

export interface Started {
  readonly n: number
  readonly at: bigint
}

/** Begins to work; returns how to stop. */
type Starts = (onStart: (started: Started) => void) => Promise<() => Promise<void>>

export const inThisProcess = (it: Contender): Starts => (onStart) =>
  it.work((n) => onStart({ n, at: process.hrtime.bigint() }))

export const inAnotherProcess = (name: string, url: string): Starts => async (onStart) => {
  const worker = start("worker.ts", [name, url])
  worker.once("exit", (code) => {
    if (code !== 0) throw new Error(`the worker of ${name} has ended with ${code}`)
  })
  await once(worker, "message")
  worker.on("message", onStart)
  return async () => {
    const ended = once(worker, "exit")
    worker.disconnect()
    await ended
  }
}
